//! A policy file as commands read it: judged as the filter judges it.

use super::{Failure, NO_POLICY, diagnostics, log};
use crate::config::{Config, ConfigError, Places};
use crate::policy::Policy;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::process::ExitCode;

/// A policy file that the filter would take.
pub(super) struct Document {
    pub(super) text: String,
    pub(super) config: Config,
    pub(super) policy: Policy,
}

impl Document {
    /// Reads YAML, or JSON if it is called `*.json`; `-` is stdin.
    pub(super) fn read(path: &Path) -> Result<Result<Self, Vec<ConfigError>>, Failure> {
        let text = text(path).map_err(|error| Failure::reading(path, &error, NO_POLICY))?;
        let parsed = if is_json(path) {
            from_json(&text)
        } else {
            Config::from_yaml(&text)
        };
        Ok(parsed.and_then(|config| {
            // The secrets are Envoy's to have, not the author's.
            let policy = Policy::compile(config.clone(), |_| Some("secret".to_owned()));
            let policy = policy.map_err(|errors| located(errors, &text))?;
            Ok(Self {
                text,
                config,
                policy,
            })
        }))
    }

    /// As [`Self::read`]; what is wrong is said on stderr, and the exit code is what is left.
    pub(super) fn read_valid(path: &Path) -> Result<Result<Self, ExitCode>, Failure> {
        Ok(Self::read(path)?.map_err(|errors| {
            let name = path.display().to_string();
            super::say(&diagnostics::render_errors_styled(&name, &errors));
            ExitCode::FAILURE
        }))
    }
}

/// What a file says; `-` is stdin.
pub(super) fn text(path: &Path) -> io::Result<String> {
    let bytes = if log::is_stdin(path) {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes)?;
        bytes
    } else {
        fs::read(path)?
    };
    String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().get(..error.utf8_error().valid_up_to());
        let lines = before.unwrap_or_default().split(|byte| *byte == b'\n');
        let line = lines.count();
        io::Error::other(format!("line {line} is not UTF-8: save it as UTF-8"))
    })
}

/// Errors of what was read already, with their places.
pub(super) fn located(mut errors: Vec<ConfigError>, text: &str) -> Vec<ConfigError> {
    if let Some(places) = Places::of_policy(text) {
        for error in errors.iter_mut().filter(|error| !error.path.is_empty()) {
            error.location = places.find(&error.path);
        }
    }
    errors
}

/// As strict as the filter; every JSON document is nearly YAML, whose reader knows where things stand, if it takes it for
/// the same.
pub(super) fn from_json(text: &str) -> Result<Config, Vec<ConfigError>> {
    Config::from_json(text.as_bytes()).map_err(|errors| {
        let located = Config::from_yaml(text).err();
        located
            .filter(|located| same(located, &errors))
            .unwrap_or(errors)
    })
}

/// Whether both say the same, in whatever order.
fn same(a: &[ConfigError], b: &[ConfigError]) -> bool {
    let sorted = |errors: &[ConfigError]| {
        let mut said: Vec<_> = errors.iter().map(ToString::to_string).collect();
        said.sort_unstable();
        said
    };
    sorted(a) == sorted(b)
}

pub(super) fn is_json(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "json")
}
