//! What the filter runs: a configuration compiled once, looked up per request without a search.
//!
//! Immutable, shared by every request of a VM. Knows no request and no Envoy.

mod counters;
mod group;
mod model;
mod provider;
mod screening;

pub use group::Group;
pub use model::{ModelPattern, ModelRules, OTHER_MODEL};
pub use provider::{Injection, Target};
pub use screening::{Found, Hit, Screening};

use crate::config::{Config, ConfigError, HeaderFamily, LimitService, Warning};
use crate::credential::KeyDigest;
use crate::limit::Clock;
use crate::limit::seed::Seed;
use crate::llm::endpoint::Endpoint;
use crate::time::{Timestamp, UtcOffset};
use counters::Scope;
use group::{Defaults, Level};
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
    keys: Vec<Key>,
    index: HashMap<u64, Vec<u32>, BuildHasherDefault<DigestHasher>>,
}

/// A key, by its digest.
#[derive(Debug)]
pub struct Key {
    /// What events show.
    pub id: Rc<str>,
    /// The group that it opens.
    pub group: Rc<Group>,
    digest: KeyDigest,
    enabled: bool,
    not_before: Option<Timestamp>,
    not_after: Option<Timestamp>,
}

/// Why a key does not open anything. One answer for all of them; events tell them apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyRefusal {
    /// `enabled: false`
    Disabled,
    /// Past `not_after`.
    Expired,
    /// Before `not_before`.
    NotYetValid,
    /// In no group.
    Unknown,
}

impl KeyRefusal {
    /// As events show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Unknown => "unknown",
        }
    }
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
        let mut targets = Vec::with_capacity(config.providers.len());
        for (at, target) in config.providers.into_iter().enumerate() {
            match Target::compile(target, &env) {
                Ok(target) => targets.push(Rc::new(target)),
                Err(message) => {
                    errors.push(ConfigError::new(
                        format!("providers.targets[{at}].secret_key_ref.env"),
                        message,
                    ));
                }
            }
        }
        let mut keys = Vec::new();
        let mut groups = Vec::with_capacity(config.consumer_groups.len());
        let ceilings = Rc::new(Scope::compile(None, config.ceilings));
        let defaults = Defaults {
            mode: config.mode,
            policies: config.policies,
            input_policies: config.input_policies,
        };
        let levels: Vec<_> = (config.consumer_groups.iter_mut())
            .map(|group| Rc::new(Level::compile(group)))
            .collect();
        let mut names: Vec<(&str, usize)> =
            (levels.iter()).map(|level| &*level.name).zip(0..).collect();
        names.sort_unstable();
        let above = |level: &Rc<Level>| {
            let parent = level.parent.as_deref()?;
            let found = names
                .binary_search_by(|(name, _)| (*name).cmp(parent))
                .ok()?;
            levels.get(names.get(found)?.1)
        };
        let entries = config.consumer_groups.into_iter().zip(&levels);
        for (index, (mut group, own)) in entries.enumerate() {
            let mut ancestors = Vec::new();
            // Bounded: a configuration that was built in code may have a circle.
            while let Some(level) = above(ancestors.last().unwrap_or(own))
                && ancestors.len() < levels.len()
            {
                ancestors.push(Rc::clone(level));
            }
            let own_keys = std::mem::take(&mut group.keys);
            let compiled = Rc::new(Group::compile(
                index,
                group,
                own,
                ancestors,
                &ceilings,
                &defaults,
                &mut errors,
            ));
            keys.extend(own_keys.into_iter().map(|key| Key {
                id: key.id.into(),
                group: Rc::clone(&compiled),
                digest: key.digest,
                enabled: key.enabled,
                not_before: key.not_before,
                not_after: key.not_after,
            }));
            groups.push(compiled);
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut index: HashMap<_, Vec<u32>, _> =
            HashMap::with_capacity_and_hasher(keys.len(), BuildHasherDefault::new());
        for (at, key) in (0..).zip(&keys) {
            index.entry(key.digest.prefix()).or_default().push(at);
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

    /// What is valid, and still not what its author may expect.
    pub fn warnings(&self) -> Vec<Warning> {
        self.groups
            .iter()
            .flat_map(|group| group.warnings())
            .collect()
    }

    /// The key with this digest, if it opens anything now.
    pub fn authenticate(&self, digest: &KeyDigest, now: Timestamp) -> Result<&Key, KeyRefusal> {
        let candidates = self
            .index
            .get(&digest.prefix())
            .map_or(&[][..], Vec::as_slice);
        let key = candidates
            .iter()
            .filter_map(|at| self.keys.get(*at as usize))
            .find(|key| key.digest.matches(digest))
            .ok_or(KeyRefusal::Unknown)?;
        if !key.enabled {
            Err(KeyRefusal::Disabled)
        } else if key.not_before.is_some_and(|start| now < start) {
            Err(KeyRefusal::NotYetValid)
        } else if key.not_after.is_some_and(|end| now >= end) {
            Err(KeyRefusal::Expired)
        } else {
            Ok(key)
        }
    }

    /// The first target, in file order, that serves all of these models; without `models` of its own a target serves
    /// its provider's API, the owner of a path before those whose API only has the same shape.
    pub fn target(&self, endpoint: &Endpoint, models: &[String]) -> Option<&Rc<Target>> {
        let first = |wanted: fn(&Target, &Endpoint, &[String]) -> bool| {
            let mut targets = self.targets.iter();
            targets.find(|target| wanted(target, endpoint, models))
        };
        if provider::owner(endpoint).is_some() {
            first(Target::owns).or_else(|| first(Target::serves))
        } else {
            first(Target::serves)
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
