//! What is valid, and still not what its author may expect.

use super::{Config, ConsumerGroup};
use crate::limit::Window;
use std::fmt;

/// One thing to think about again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Warning {
    /// What it is about; empty: the document as a whole.
    pub path: String,
    /// What to know.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

pub(super) fn of(config: &Config) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |path: String, message: &str| {
        warnings.push(Warning {
            path,
            message: message.to_owned(),
        });
    };
    if config.consumer_groups.is_empty() {
        warn(
            "consumer_groups".to_owned(),
            "there are none: every request is refused",
        );
    }
    for (index, group) in config.consumer_groups.iter().enumerate() {
        of_group(group, |field, message| {
            warn(format!("consumer_groups[{index}]{field}"), message);
        });
    }
    if !config.policies.is_empty() {
        warn("policies".to_owned(), NOT_ENFORCED);
    }
    let mut limits = config
        .consumer_groups
        .iter()
        .flat_map(|group| &group.limits.rate_limits);
    if limits.any(|limit| matches!(limit.window, Window::Day | Window::Month)) {
        warn(
            String::new(),
            "limits per day and month are counted in Envoy's memory: a restart of Envoy starts them anew",
        );
    }
    warnings
}

const NOT_ENFORCED: &str = "NOT ENFORCED YET: this version checks these policies for mistakes and does nothing else with them";

fn of_group(group: &ConsumerGroup, mut warn: impl FnMut(&str, &str)) {
    if group.keys.is_empty() {
        warn("", "has no key: nobody can use it");
    }
    if group.keys.iter().any(|key| key.plain) {
        warn(
            "",
            "has a key in plain text; `api_keys: [{sha256: …}]` keeps it out of the file",
        );
    }
    match &group.allowed_models {
        None => warn("", "has no `allowed_models`: every model is allowed"),
        Some(models) if models.is_empty() => {
            warn(".allowed_models", "is empty: no model is allowed");
        }
        Some(_) => {}
    }
    let models = group.allowed_models.iter().flatten();
    if models
        .chain(&group.denied_models)
        .any(|model| model.trim_ascii() != model)
    {
        warn(
            "",
            "has a model with a space at an end: names are compared byte for byte",
        );
    }
    if !group.policies.is_empty() {
        warn(".policies", NOT_ENFORCED);
    }
    if !group.input_policies.is_empty() {
        warn(".input_policies", NOT_ENFORCED);
    }
}
