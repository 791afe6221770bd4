//! A consumer group with everything that holds for it.

use super::ModelRules;
use crate::config::{ConfigError, ConsumerGroup, Mode, Warning};
use crate::limit::Limit;
use crate::llm::endpoint;

/// A consumer group with everything that holds for it.
#[derive(Debug)]
pub struct Group {
    /// Its position in the file.
    pub index: usize,
    /// As the file has it.
    pub name: String,
    /// Whether its refusals are sent.
    pub mode: Mode,
    /// Which models it may use.
    pub models: ModelRules,
    /// `allowed_endpoints`; `None`: every endpoint that names its models.
    pub allowed_endpoints: Option<Vec<String>>,
    /// The limits of the group's one shared counter.
    pub limits: Vec<Limit>,
    /// Under which the counter's record is kept.
    pub record: String,
}

impl Group {
    /// Compiles a group; what could never take effect is an error.
    pub(super) fn compile(
        index: usize,
        group: ConsumerGroup,
        mode: Mode,
        errors: &mut Vec<ConfigError>,
    ) -> Self {
        let path = format!("consumer_groups[{index}]");
        let compiled = Self {
            index,
            record: format!("cohort/1/group/{}", group.name),
            name: group.name,
            mode: group.mode.unwrap_or(mode),
            models: ModelRules::compile(
                group.allowed_models,
                group.denied_models,
                group.default_model,
                group.model_aliases,
            ),
            allowed_endpoints: group.allowed_endpoints,
            limits: group.limits.rate_limits,
        };
        compiled.check(&path, errors);
        compiled
    }

    /// Whether anything depends on how many tokens are used.
    pub fn counts_tokens(&self) -> bool {
        self.limits.iter().any(|limit| limit.unit.is_tokens())
    }

    fn check(&self, path: &str, errors: &mut Vec<ConfigError>) {
        let known = endpoint::names();
        for (at, entry) in self.allowed_endpoints.iter().flatten().enumerate() {
            if !entry.starts_with('/') && !known.contains(&entry.as_str()) {
                let mut error = ConfigError::new(
                    format!("{path}.allowed_endpoints[{at}]"),
                    format!("no endpoint is called '{entry}'"),
                );
                error.help = Some(format!(
                    "a path prefix begins with '/'; the names are {}",
                    known.join(", ")
                ));
                errors.push(error);
            }
        }
    }

    /// A model that is put into requests is judged like any other: one that the group may not use only ever refuses.
    pub(super) fn warnings(&self) -> Vec<Warning> {
        let models = &self.models;
        let default = models
            .default
            .iter()
            .map(|model| ("default_model".to_owned(), model));
        let aliases = models
            .aliases
            .iter()
            .map(|(alias, model)| (format!("model_aliases.{alias}"), model));
        let idle = default
            .chain(aliases)
            .filter(|(_, model)| !models.allow(model));
        idle.map(|(field, model)| Warning {
            path: format!("consumer_groups[{}].{field}", self.index),
            message: format!("the group may not use '{model}'; requests with it are refused"),
        })
        .collect()
    }
}
