//! What others need for a policy: Envoy, the control planes that configure Envoys, and the rate-limit services.
//!
//! The services' files are made for the descriptors that `service` sends. Knows nothing of requests; what it writes holds
//! digests of keys, and no secrets.

pub(crate) mod envoy;
pub(crate) mod envoy_gateway;
pub(crate) mod istio;
mod limitador;
mod ratelimit;
mod yaml;

pub use limitador::limitador;
pub use ratelimit::ratelimit;

use crate::config::{Config, ScopeLimits};
use crate::limit::{Descriptor, Limit};
use std::rc::Rc;

const DEFAULT_DOMAIN: &str = "cohort";

fn domain(config: &Config) -> &str {
    let service = config.counters.service.as_ref();
    service.map_or(DEFAULT_DOMAIN, |service| &service.domain)
}

/// Limits with the same descriptor.
pub(crate) struct Level {
    /// Without a consumer, also where it is for each of them.
    pub(crate) descriptor: Descriptor,
    pub(crate) per_consumer: bool,
    pub(crate) limits: Vec<Limit>,
}

impl Level {
    /// Those of all groups in file order, then the ceilings'; empty ones left out.
    pub(crate) fn all(config: &Config) -> impl Iterator<Item = Self> {
        let groups = config.consumer_groups.iter();
        let groups = groups.map(|group| (Some(&*group.name), config.rules_of(group).limits));
        let scopes = groups.chain([(None, config.ceilings.limits.clone())]);
        scopes.flat_map(|(group, limits)| Self::of(group.map(Rc::from), limits))
    }

    fn of(group: Option<Rc<str>>, limits: ScopeLimits) -> impl Iterator<Item = Self> {
        let level = move |models: Option<String>, per_consumer, limits: Vec<Limit>| Self {
            descriptor: Descriptor {
                group: group.clone(),
                consumer: None,
                models: models.map(Rc::from),
            },
            per_consumer,
            limits,
        };
        let models = limits.model_rate_limits.into_iter().flatten();
        let models: Vec<_> = models
            .map(|entry| level(Some(entry.models.join(",")), false, entry.rate_limits))
            .collect();
        let shared = level(None, false, limits.rate_limits);
        let consumer = level(None, true, limits.consumer_rate_limits);
        let all = [shared, consumer].into_iter().chain(models);
        all.filter(|level| !level.limits.is_empty())
    }
}

/// A scalar that YAML reads as this text, whatever it is: JSON's strings are YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
