//! What the filter runs: a configuration compiled once, looked up per request without a search.
//!
//! Immutable, shared by every request of a VM. Knows no request and no Envoy.

mod compile;
mod consumer;
mod content;
mod counters;
mod group;
mod inherit;
mod key;
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

use crate::config::{HeaderFamily, IdentitySource, LimitService, Warning};
use crate::guardrail::Search;
use crate::limit::Clock;
use crate::limit::counter::Counter;
use crate::limit::seed::Seed;
use crate::llm::endpoint::Endpoint;
use crate::time::{Timestamp, UtcOffset};
use inherit::Inheritance;
use key::Keys;
use members::Names;
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
    keys: Keys,
}

impl Policy {
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

#[cfg(test)]
mod tests;
