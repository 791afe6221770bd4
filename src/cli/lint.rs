//! `cohort lint`: would the filter take this configuration, and would its author be surprised?

use super::{Failure, diagnostics, print};
use crate::config::{Config, ConfigError};
use crate::policy::Policy as Compiled;
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
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure(format!("cannot read {name}: {error}")))?;
    let config = if file
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        from_json(&text)
    } else {
        Config::from_yaml(&text)
    };
    let checked = config.and_then(|config| {
        // The secrets are Envoy's to have, not the author's.
        let policy = Compiled::compile(config.clone(), |_| Some("secret".to_owned()))?;
        let mut warnings = config.warnings();
        warnings.extend(policy.warnings());
        Ok((config, warnings))
    });
    match checked {
        Ok((config, warnings)) => {
            say(&diagnostics::render_warnings(&warnings));
            print(|out| summary(&config, out))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(errors) => {
            say(&diagnostics::render_errors_styled(&name, &errors));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// As strict as the filter; every JSON document is nearly YAML, whose reader knows where things stand.
pub(super) fn from_json(text: &str) -> Result<Config, Vec<ConfigError>> {
    Config::from_json(text.as_bytes()).map_err(|errors| {
        let located = Config::from_yaml(text).err();
        located
            .filter(|located| located.len() == errors.len())
            .unwrap_or(errors)
    })
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

fn say(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes()); // nowhere left to say it
}
