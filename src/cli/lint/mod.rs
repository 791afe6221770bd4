//! `cohort lint`: would the filter take this configuration, would its author be surprised, and does the Envoy around it fit?

mod advice;
mod closed;
mod envoy;
mod finding;
mod never;
mod reach;
mod removed;
mod replicas;
mod spend;

use super::document::Document;
use super::{Failure, Format, clock, print, say};
use crate::config::{Config, Places};
use finding::{Finding, Level};
use replicas::Apart;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(clap::Args)]
#[command(after_help = CODES)]
pub(super) struct Args {
    /// YAML, or JSON if it is called `*.json`; `-` reads stdin
    #[arg(default_value = "policy-config.yaml")]
    file: PathBuf,
    /// The same
    #[arg(long = "file", value_name = "FILE", conflicts_with = "file")]
    named: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

const CODES: &str = "\
Exit codes: 0 valid, perhaps with warnings; 1 invalid, or an Envoy that does not fit; 2 it could not be read";

#[derive(clap::Args)]
pub(super) struct Options {
    /// An Envoy configuration that runs the filter with this policy: does it fit?
    ///
    /// A bootstrap, what xDS delivers, or manifests for Istio or Envoy Gateway; several times where it is in several files.
    #[arg(long, value_name = "FILE")]
    envoy: Vec<PathBuf>,
    /// How many Envoys there are; default: what the manifests in --envoy say
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    replicas: Option<u64>,
    /// For people, or for a program
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(clap::Subcommand)]
pub(super) enum Policy {
    /// Check a configuration
    Lint(Args),
}

impl Args {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        lint(self.named.as_ref().unwrap_or(&self.file), &self.options)
    }
}

impl Policy {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let Self::Lint(args) = self;
        args.run()
    }
}

fn lint(file: &Path, options: &Options) -> Result<ExitCode, Failure> {
    let name = file.display().to_string();
    let (config, mut findings) = match Document::read(file)? {
        Ok(document) => {
            let findings = warnings(&name, &document);
            (Some(document.config), findings)
        }
        Err(errors) => {
            let errors = errors.into_iter();
            (
                None,
                errors.map(|error| Finding::of(&name, error)).collect(),
            )
        }
    };
    let apart = config.as_ref().map(Apart::of).unwrap_or_default();
    if let Some(count) = options.replicas.filter(|count| *count > 1) {
        findings.extend(apart.finding(&name, "", Some(count)));
    }
    let policy = envoy::Linted {
        holds: config.as_ref().is_none_or(|it| it.hold_request_headers),
        apart: if options.replicas.is_none() {
            apart
        } else {
            Apart::Nothing
        },
    };
    findings.extend(envoy::check(&options.envoy, policy)?);
    let wrong = findings.iter().any(|finding| finding.level == Level::Error);
    match options.format {
        Format::Json => print(|out| {
            let document = object(&name, config.as_ref(), &findings);
            serde_json::to_writer_pretty(&mut *out, &document)?;
            writeln!(out)
        })?,
        Format::Text => {
            say(&finding::render(&findings));
            let config = config.as_ref();
            print(|out| {
                config.map_or(Ok(()), |config| summary(config, &options.envoy, wrong, out))
            })?
        }
    };
    Ok(if wrong {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn warnings(name: &str, document: &Document) -> Vec<Finding> {
    let Document {
        text,
        config,
        policy,
    } = document;
    let mut warnings = config.warnings();
    warnings.extend(policy.warnings());
    let places = Places::of_policy(text);
    let known = warnings.into_iter().map(advice::with_help);
    let own = spend::warnings(config, policy);
    let own = own.into_iter().chain(never::warnings(config));
    let own = own.chain(reach::warnings(config));
    let own = own.chain(closed::warnings(config, clock::now()));
    let own = own.chain(removed::warnings(config));
    let found = known.chain(own).map(|mut warning| {
        // What the top level says is a default, too.
        let places = places.as_ref();
        if let Some(above) = warning.path.strip_prefix("defaults.")
            && places.is_some_and(|places| !places.has(&warning.path))
        {
            warning.path = above.into();
        }
        let mut finding = Finding::warning(name, warning);
        finding.locate(places);
        finding
    });
    found.collect()
}

fn summary(
    config: &Config,
    envoy: &[PathBuf],
    wrong: bool,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    writeln!(out, "✓ Configuration is valid")?;
    for (what, names) in names(config) {
        match names.len() {
            0 => writeln!(out, "{what}: 0"),
            count => writeln!(out, "{what}: {count} ({})", names.join(", ")),
        }?;
    }
    if !envoy.is_empty() && !wrong {
        let files: Vec<_> = envoy
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        writeln!(out, "✓ Envoy fits: {}", files.join(", "))?;
    }
    Ok(())
}

fn names(config: &Config) -> [(&'static str, Vec<&str>); 3] {
    let providers = config.providers.iter().map(|target| target.id.as_str());
    let groups = config.consumer_groups.iter();
    let policies = config
        .defaults
        .policies
        .iter()
        .map(|policy| policy.name.as_str());
    [
        ("Providers", providers.collect()),
        (
            "Consumer groups",
            groups.map(|group| group.name.as_str()).collect(),
        ),
        ("Policies", policies.collect()),
    ]
}

fn object(name: &str, config: Option<&Config>, findings: &[Finding]) -> Value {
    let count = |level| {
        let of_level = findings.iter().filter(|finding| finding.level == level);
        of_level.count()
    };
    let mut object = json!({
        "file": name,
        "valid": count(Level::Error) == 0,
        "errors": count(Level::Error),
        "warnings": count(Level::Warning),
        "findings": findings.iter().map(Finding::object).collect::<Vec<_>>(),
    });
    if let (Some(config), Some(members)) = (config, object.as_object_mut()) {
        let [providers, groups, policies] = names(config);
        members.insert("providers".to_owned(), providers.1.into());
        members.insert("consumer_groups".to_owned(), groups.1.into());
        members.insert("policies".to_owned(), policies.1.into());
    }
    object
}
