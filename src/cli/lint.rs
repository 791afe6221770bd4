//! `cohort lint`: would the filter take this configuration, and would its author be surprised?

use super::document::Document;
use super::{Failure, diagnostics, print, say};
use crate::config::Config;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(clap::Args)]
pub(super) struct Args {
    /// YAML, or JSON if it is called `*.json`
    #[arg(default_value = "policy-config.yaml")]
    file: PathBuf,
}

#[derive(clap::Subcommand)]
pub(super) enum Policy {
    /// Check a configuration
    Lint {
        /// YAML, or JSON if it is called `*.json`
        #[arg(long, default_value = "policy-config.yaml")]
        file: PathBuf,
    },
}

impl Args {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        lint(&self.file)
    }
}

impl Policy {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let Self::Lint { file } = self;
        lint(&file)
    }
}

fn lint(file: &Path) -> Result<ExitCode, Failure> {
    let document = match Document::read_valid(file)? {
        Ok(document) => document,
        Err(code) => return Ok(code),
    };
    let mut warnings = document.config.warnings();
    warnings.extend(document.policy.warnings());
    say(&diagnostics::render_warnings(&warnings));
    print(|out| summary(&document.config, out))?;
    Ok(ExitCode::SUCCESS)
}

fn summary(config: &Config, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "✓ Configuration is valid")?;
    let mut count = |what: &str, names: Vec<&str>| match names.len() {
        0 => writeln!(out, "{what}: 0"),
        count => writeln!(out, "{what}: {count} ({})", names.join(", ")),
    };
    count(
        "Providers",
        config
            .providers
            .iter()
            .map(|target| target.id.as_str())
            .collect(),
    )?;
    count(
        "Consumer groups",
        config
            .consumer_groups
            .iter()
            .map(|group| group.name.as_str())
            .collect(),
    )?;
    count(
        "Policies",
        config
            .defaults
            .policies
            .iter()
            .map(|policy| policy.name.as_str())
            .collect(),
    )
}
