//! The policy: read, judged as the filter judges it, and watched.

use super::super::{diagnostics, document};
use crate::config::{self, Additions, Config, ConfigError, NOT_KEPT};
use crate::policy::Policy;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Where the policy comes from.
pub(crate) enum Source {
    File(PathBuf),
    /// Part of the program.
    Text(&'static str, &'static str),
}

/// A policy that the filter would take.
pub(crate) struct Loaded {
    pub(super) text: String,
    pub(crate) config: Config,
    pub(super) policy: Policy,
    /// As `lint` shows them.
    pub(super) warnings: String,
}

/// What tells that a file is another one.
pub(super) type Stamp = Option<(u64, i64, i64, u64)>;

impl Source {
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Text(name, _) => (*name).to_owned(),
        }
    }

    /// Reads and judges it. The error is what `lint` would say.
    pub(crate) fn load(&self, secret: impl Fn(&str) -> Option<String>) -> Result<Loaded, String> {
        let name = self.name();
        let (text, json) = match self {
            Self::File(path) => {
                let text = document::text(path)
                    .map_err(|error| format!("error: cannot read {name}: {error}\n"))?;
                (
                    text,
                    path.extension()
                        .is_some_and(|extension| extension == "json"),
                )
            }
            Self::Text(_, text) => ((*text).to_owned(), false),
        };
        let parsed = if json {
            document::from_json(&text)
        } else {
            Config::from_yaml(&text)
        };
        let compiled = parsed.and_then(|config| {
            let policy = Policy::compile(config.clone(), secret).map_err(help_with_secrets)?;
            Ok((config, policy))
        });
        let (config, policy) =
            compiled.map_err(|errors| diagnostics::render_errors_styled(&name, &errors))?;
        let mut warnings = config.warnings();
        warnings.extend(policy.warnings());
        // What `run` takes care of.
        warnings.retain(|warning| warning.message != NOT_KEPT);
        Ok(Loaded {
            warnings: diagnostics::render_warnings(&warnings),
            text,
            config,
            policy,
        })
    }

    /// What the file is like now; a file is read again when this has changed and stays so.
    pub(super) fn stamp(&self) -> Stamp {
        let Self::File(path) = self else {
            return None;
        };
        stamp(path)
    }
}

impl Loaded {
    /// For the filter: JSON, digests in place of keys.
    pub(crate) fn document(&self, seeds: &[crate::limit::seed::Seed]) -> String {
        let additions = Additions {
            seeds,
            ..Additions::default()
        };
        config::publish(&self.text, &additions).unwrap_or_default()
    }
}

/// Here it is not Envoy's configuration that passes them on.
fn help_with_secrets(mut errors: Vec<ConfigError>) -> Vec<ConfigError> {
    for error in &mut errors {
        if error.path.ends_with("secret_key_ref.env") {
            let end = error.message.find(';').unwrap_or(error.message.len());
            error.message.truncate(end);
            error.help = Some(
                "set it before `cohort run` starts, or try it without a provider: --demo-upstream"
                    .to_owned(),
            );
        }
    }
    errors
}

fn stamp(path: &Path) -> Stamp {
    let data = fs::metadata(path).ok()?;
    Some((data.ino(), data.mtime(), data.mtime_nsec(), data.len()))
}
