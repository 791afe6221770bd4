//! What the filter runs: a configuration compiled once, looked up per request without a search.
//!
//! Immutable, shared by every request of a VM. Knows no request and no Envoy.

mod consumer;
mod content;
mod counters;
mod group;
mod inherit;
mod members;
mod model;
mod opening;
mod pricing;
mod provider;
mod screening;

pub use consumer::{Consumer, Dates};
pub use content::Moderator;
pub use group::Group;
pub use inherit::Place;
pub use model::{ModelPattern, ModelRules, OTHER_MODEL};
pub use opening::{KeyRefusal, Opened};
pub use pricing::Pricing;
pub use provider::{Injection, Target};
pub use screening::{Found, Hit, Screening};

use crate::config::{
    ApiKey, Config, ConfigError, HeaderFamily, IdentitySource, LimitService, ProviderTarget, Rules,
    ScopeLimits, Warning,
};
use crate::credential::KeyDigest;
use crate::guardrail::Search;
use crate::limit::Clock;
use crate::limit::counter::Counter;
use crate::limit::seed::Seed;
use crate::llm::endpoint::{self, Endpoint};
use crate::time::{Timestamp, UtcOffset};
use consumer::Owner;
use inherit::Inheritance;
use members::{Members, Names};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

/// A compiled configuration.
#[derive(Debug)]
pub struct Policy {
    /// The groups, in file order.
    pub groups: Vec<Rc<Group>>,
    /// The providers, in file order.
    pub targets: Vec<Rc<Target>>,
    /// Header fields in which a key may come, lower case.
    pub credential_headers: Vec<String>,
    /// What may stand before an endpoint's own path.
    pub path_prefixes: Vec<String>,
    /// Failed credentials per source address and minute; 0 = off.
    pub failed_auth_per_minute: u32,
    /// Which rate-limit headers answers carry.
    pub header_families: Vec<HeaderFamily>,
    /// Upper bound in seconds of what is added to `Retry-After`.
    pub retry_after_jitter: u32,
    /// Whether the host holds the request's header until the body is judged.
    pub hold_request_headers: bool,
    /// Whether compressed request bodies are inflated rather than refused.
    pub decompress_requests: bool,
    /// Cap for answers that are held whole.
    pub max_response_bytes: u64,
    /// For day and month windows.
    pub offset: UtcOffset,
    /// The rate-limit service that keeps the counters; `None`: shared data does.
    pub service: Option<LimitService>,
    /// What was counted before this Envoy started.
    pub seed: Vec<Seed>,
    /// The consumers, in file order.
    pub consumers: Vec<Rc<Consumer>>,
    /// What prompts are looked through for.
    pub search: Rc<Search>,
    /// Where a filter before this one says who asks.
    pub identity: Option<IdentitySource>,
    /// How many consumers that the file does not name have counters of their own.
    pub max_unlisted: u32,
    /// The group of requests without a credential.
    anonymous: Option<Rc<Group>>,
    /// The group of consumers that are in none.
    default: Option<Rc<Group>>,
    inheritance: Inheritance,
    names: Names,
    keys: Vec<Key>,
    index: Index,
}

/// Positions of keys, by the beginnings of their digests.
type Index = HashMap<u64, Vec<u32>, BuildHasherDefault<DigestHasher>>;

/// A key, by its digest.
#[derive(Debug)]
pub struct Key {
    /// What events show.
    pub id: Rc<str>,
    /// Tags that upstreams and events are told.
    pub features: Rc<[String]>,
    owner: Owner,
    digest: KeyDigest,
    enabled: bool,
    dates: Dates,
}

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
        let index = index(&keys);
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
            keys,
            index,
        })
    }

    /// The moment of a decision, for windows that begin with a day.
    pub const fn clock(&self, now: Timestamp) -> Clock {
        Clock {
            now,
            offset: self.offset,
        }
    }

    /// The counters that all requests of a group have in common, in file order, and that of the ceilings.
    pub fn shared_counters(&self) -> impl Iterator<Item = &Rc<Counter>> {
        let own = self.groups.iter().filter_map(|group| group.own_counter());
        let ceilings = self
            .groups
            .first()
            .and_then(|group| group.topmost_counter());
        own.chain(ceilings)
    }

    /// What is valid, and still not what its author may expect.
    pub fn warnings(&self) -> Vec<Warning> {
        self.groups
            .iter()
            .flat_map(|group| group.warnings())
            .collect()
    }

    /// Whether it matters where a request comes in.
    pub const fn has_places(&self) -> bool {
        self.inheritance.has_places()
    }

    /// Where a request comes in, by the names that Envoy has of its route and of its cluster.
    pub fn place(&self, route: &[u8], service: &[u8]) -> Place {
        self.inheritance.place(route, service)
    }

    /// The group as a consumer has it at a place.
    pub fn resolve(
        &self,
        group: &Rc<Group>,
        consumer: Option<&Consumer>,
        place: Place,
    ) -> Rc<Group> {
        (self.inheritance).resolve(group, consumer, place, &self.search)
    }

    /// The first target, in file order, that serves all of these models; without `models` of its own a target serves
    /// its provider's API, one whose API only has the same shape after all others.
    pub fn target(&self, endpoint: &Endpoint, models: &[String]) -> Option<&Rc<Target>> {
        let first = |wanted: fn(&Target, &Endpoint, &[String]) -> bool| {
            let mut targets = self.targets.iter();
            targets.find(|target| wanted(target, endpoint, models))
        };
        first(Target::owns).or_else(|| first(Target::serves))
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
    consumers: &[crate::config::Consumer],
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

fn index(keys: &[Key]) -> Index {
    let mut index = Index::with_capacity_and_hasher(keys.len(), BuildHasherDefault::new());
    for (at, key) in (0..).zip(keys) {
        index.entry(key.digest.prefix()).or_default().push(at);
    }
    index
}

impl Key {
    fn new(key: ApiKey, owner: &Owner) -> Self {
        Self {
            id: key.id.into(),
            features: key.features.into(),
            owner: owner.clone(),
            digest: key.digest,
            enabled: key.enabled,
            dates: Dates {
                not_before: key.not_before,
                not_after: key.not_after,
            },
        }
    }
}

/// Digests are uniform already: their first bytes are the hash.
#[derive(Debug, Default)]
struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(document: &serde_json::Value, secret: Option<&str>) -> Vec<String> {
        let config = Config::from_json(document.to_string().as_bytes()).unwrap();
        let compiled = Policy::compile(config, |_| secret.map(str::to_owned));
        compiled
            .err()
            .into_iter()
            .flatten()
            .map(|error| format!("{}: {}", error.path, error.message))
            .collect()
    }

    #[test]
    fn what_could_never_take_effect_is_an_error() {
        let document = serde_json::json!({
            "version": "1",
            "consumer_groups": [{
                "name": "a",
                "api_key": "key-of-a",
                "allowed_endpoints": ["chat", "/v1/files", "chatt"],
            }],
        });
        assert_eq!(
            errors(&document, None),
            ["consumer_groups[0].allowed_endpoints[2]: no endpoint is called 'chatt'",]
        );
    }

    #[test]
    fn models_that_are_put_in_only_to_be_refused_are_warned_of() {
        let document = serde_json::json!({
            "version": "1",
            "consumer_groups": [{
                "name": "a",
                "api_key": "key-of-a",
                "allowed_models": ["gpt-*"],
                "denied_models": ["gpt-5"],
                "default_model": "gpt-5",
                "model_aliases": {"fast": "gpt-4o-mini", "other": "claude"},
            }],
        });
        let config = Config::from_json(document.to_string().as_bytes()).unwrap();
        let warnings = Policy::compile(config, |_| None).unwrap().warnings();
        let paths: Vec<_> = warnings
            .iter()
            .map(|warning| warning.path.as_str())
            .collect();
        assert_eq!(
            paths,
            [
                "consumer_groups[0].default_model",
                "consumer_groups[0].model_aliases.other"
            ]
        );
    }

    #[test]
    fn a_secret_must_be_there_and_fit_a_header() {
        let document = serde_json::json!({
            "version": "1",
            "providers": {"targets": [{"id": "a", "provider": "openai", "secret_key_ref": {"env": "KEY"}}]},
        });
        assert_eq!(errors(&document, Some("sk-1")), [""; 0]);
        for secret in [None, Some(""), Some(" "), Some("sk-1\n"), Some("sk\u{e9}")] {
            let errors = errors(&document, secret);
            assert_eq!(errors.len(), 1, "{secret:?}");
            assert!(
                errors[0].starts_with("providers.targets[0].secret_key_ref.env: the "),
                "{errors:?}"
            );
        }
    }
}
