//! A configuration becomes a policy: names are resolved, and what could never take effect is an error.

use super::consumer::{Consumer, Owner};
use super::inherit::{Inheritance, Place};
use super::key::{Key, Keys};
use super::members::{Members, Names};
use super::{Policy, Target, screening};
use crate::config::{self, ApiKey, Config, ConfigError, ProviderTarget, Rules, ScopeLimits};
use crate::guardrail::Search;
use crate::llm::endpoint;
use std::rc::Rc;

impl Policy {
    /// Resolves a configuration. `env` gives the secrets that `secret_key_ref.env` names.
    pub fn compile(
        mut config: Config,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<ConfigError>> {
        if config.counters.service.is_some() {
            // A service's windows are fixed ones; so are those that stand in for them.
            config.fix_windows();
        }
        let mut errors = Vec::new();
        let targets = targets(config.providers, &env, &mut errors);
        let mut group_keys: Vec<Vec<ApiKey>> = Vec::with_capacity(config.consumer_groups.len());
        for group in &mut config.consumer_groups {
            group_keys.push(std::mem::take(&mut group.keys));
        }
        let inheritance = Inheritance::new(
            config.mode,
            config.consumer_groups,
            (config.defaults, config.ceilings),
            (config.services, config.routes),
            targets.clone(),
        );
        let search = gather(&inheritance, &config.consumers, &mut errors);
        let compile = |(index, entry)| {
            let at = Place::default();
            let group = inheritance.compile(index, None, at, &search)?;
            Some(group.labelled(inheritance.labels(entry)))
        };
        let groups: Vec<_> = (inheritance.groups.iter().enumerate())
            .filter_map(compile)
            .collect();
        let mut keys = Vec::new();
        for (own, group) in group_keys.into_iter().zip(&groups) {
            let owner = Owner::Group(Rc::clone(group));
            keys.extend(own.into_iter().map(|key| Key::new(key, &owner)));
        }
        let default = config.default_group.as_deref();
        let mut members = Members::new(&groups, &inheritance.groups, default);
        let mut consumers = Vec::with_capacity(config.consumers.len());
        for (index, mut consumer) in config.consumers.into_iter().enumerate() {
            let memberships = members.of(&consumer);
            let several = memberships.len() > 1 && !config.hold_request_headers;
            let unknown = config.counters.service.is_some() && limits(&consumer.rules.limits);
            errors.extend(conflicts(index, several, unknown));
            let own_keys = std::mem::take(&mut consumer.keys);
            let own = Rc::new(Consumer::new(index, consumer, memberships));
            consumers.push(Rc::clone(&own));
            let owner = Owner::Consumer(own);
            keys.extend(own_keys.into_iter().map(|key| Key::new(key, &owner)));
        }
        errors.extend(members.unknown());
        if config.counters.service.is_some() {
            errors.extend(inheritance.placed_limits());
        }
        let named = |name: &Option<String>| {
            let mut groups = groups.iter();
            groups
                .find(|group| Some(&group.name) == name.as_ref())
                .cloned()
        };
        let (anonymous, default) = (named(&config.anonymous_group), named(&config.default_group));
        let by_name = if config.identity.is_some() {
            Names::new(&groups, &consumers)
        } else {
            Names::default()
        };
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            groups,
            targets,
            credential_headers: config.credential_headers,
            path_prefixes: config.path_prefixes,
            failed_auth_per_minute: config.failed_auth_per_minute,
            header_families: config.rate_limit_headers,
            retry_after_jitter: config.retry_after_jitter,
            hold_request_headers: config.hold_request_headers,
            decompress_requests: config.decompress_requests,
            max_response_bytes: config.max_response_bytes,
            offset: config.timezone,
            service: config.counters.service,
            seed: config.counters.seed,
            consumers,
            search: Rc::new(search),
            identity: config.identity,
            max_unlisted: config.max_unlisted,
            anonymous,
            default,
            inheritance,
            names: by_name,
            keys: Keys::new(keys),
        })
    }
}

fn targets(
    providers: Vec<ProviderTarget>,
    env: &impl Fn(&str) -> Option<String>,
    errors: &mut Vec<ConfigError>,
) -> Vec<Rc<Target>> {
    let mut targets = Vec::with_capacity(providers.len());
    for (at, target) in providers.into_iter().enumerate() {
        match Target::compile(target, env) {
            Ok(target) => targets.push(Rc::new(target)),
            Err(message) => {
                errors.push(ConfigError::new(
                    format!("providers.targets[{at}].secret_key_ref.env"),
                    message,
                ));
            }
        }
    }
    targets
}

/// Looks through what all scopes say, for what all look for in prompts and for what could never take effect.
fn gather(
    inheritance: &Inheritance,
    consumers: &[config::Consumer],
    errors: &mut Vec<ConfigError>,
) -> Search {
    let mut search = Search::default();
    let mut take = |path: &dyn Fn() -> String, rules: &Rules| {
        for list in [
            &rules.policies,
            &rules.input_policies,
            &rules.output_policies,
        ] {
            screening::gather(list, &mut search);
        }
        check_endpoints(path, rules, errors);
    };
    for (at, group) in inheritance.groups.iter().enumerate() {
        take(&|| format!("consumer_groups[{at}]"), &group.rules);
    }
    for (at, consumer) in consumers.iter().enumerate() {
        take(&|| format!("consumers[{at}]"), &consumer.rules);
    }
    for (path, rules) in inheritance.shared_rules() {
        take(&|| path.clone(), rules);
    }
    search
}

fn check_endpoints(path: &dyn Fn() -> String, rules: &Rules, errors: &mut Vec<ConfigError>) {
    let known = endpoint::names();
    for (at, entry) in rules.allowed_endpoints.iter().flatten().enumerate() {
        if !entry.starts_with('/') && !known.contains(&entry.as_str()) {
            let mut error = ConfigError::new(
                format!("{}.allowed_endpoints[{at}]", path()),
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

/// Whether a scope sets any.
fn limits(of: &ScopeLimits) -> bool {
    *of != ScopeLimits::default()
}

/// What of a consumer's entry does not go with the rest of the document.
fn conflicts(index: usize, several: bool, unknown: bool) -> impl Iterator<Item = ConfigError> {
    let cases = [
        (
            several,
            "groups",
            "is in several groups, and which one is charged depends on the model: `hold_request_headers: false` cannot wait for it",
        ),
        (
            unknown,
            "rate_limits",
            "a consumer's own limits are kept in shared data only: `counters.store: rate_limit_service` would not know them",
        ),
    ];
    let wrong = cases.into_iter().filter(|(wrong, ..)| *wrong);
    wrong.map(move |(_, field, message)| {
        ConfigError::new(format!("consumers[{index}].{field}"), message)
    })
}
