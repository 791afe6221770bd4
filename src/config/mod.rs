//! What operators write, after it was read and before it is compiled.
//!
//! Plain data: every number is in range and every name well formed, but nothing is resolved yet.
//! Knows nothing of requests, and never holds an API key in plain text.
//!
//! JSON (what Envoy hands over) and YAML (what people write; the command line only) become one tree, and one decoder
//! reads it, so that the filter and `cohort lint` cannot disagree.

mod consumer;
mod counters;
mod decode;
mod document;
mod error;
mod group;
mod identity;
mod json;
mod limits;
mod node;
#[cfg(feature = "cli")]
mod places;
mod policies;
mod protobuf;
mod providers;
#[cfg(feature = "cli")]
mod publish;
mod rules;
#[cfg(feature = "cli")]
mod said;
mod scalar;
#[cfg(feature = "cli")]
mod schema;
mod spend;
mod suggest;
mod warning;
#[cfg(feature = "cli")]
mod yaml;

pub(crate) use consumer::is_name as is_consumer_name;
pub use consumer::{Consumer, Membership};
pub use counters::{Counters, FailureMode, Lease, LimitService, ServiceDialect};
pub use document::{HeaderFamily, Mode};
pub use error::{ConfigError, Location};
pub use group::{ApiKey, ConsumerGroup};
pub use identity::IdentitySource;
#[cfg(feature = "cli")]
pub(crate) use limits::is_counted;
pub use limits::{ModelLimits, ScopeLimits};
#[cfg(feature = "cli")]
pub use places::Places;
pub use policies::{Moderation, PolicyAction, PolicyKind, PolicyRule};
pub use providers::{Provider, ProviderTarget};
#[cfg(feature = "cli")]
pub use publish::{Additions, json_from_yaml, publish};
pub(crate) use rules::merged;
pub use rules::{ClampOrReject, RequestLimits, Rules, Scope};
#[cfg(feature = "cli")]
pub use schema::schema;
pub use spend::{Spend, Unpriced};
#[cfg(feature = "cli")]
pub(crate) use suggest::nearest;
#[cfg(feature = "cli")]
pub(crate) use warning::NOT_KEPT;
pub use warning::Warning;

use crate::limit::Window;
use crate::time::UtcOffset;

/// One whole configuration document.
#[derive(Clone, Debug)]
pub struct Config {
    /// Enforce, or only say what would have been done.
    pub mode: Mode,
    /// `providers.targets[]`.
    pub providers: Vec<ProviderTarget>,
    /// `consumer_groups[]`, in file order.
    pub consumer_groups: Vec<ConsumerGroup>,
    /// `consumers[]`, in file order.
    pub consumers: Vec<Consumer>,
    /// `default_group`: of consumers that are in none.
    pub default_group: Option<String>,
    /// `anonymous_group`: of requests without a credential.
    pub anonymous_group: Option<String>,
    /// `ceilings`: what no other scope can raise or take away; its limits count over all groups together.
    pub ceilings: Rules,
    /// `defaults`, and below them what the top level itself says.
    pub defaults: Rules,
    /// `services[]`, by the names of Envoy's clusters.
    pub services: Vec<Scope>,
    /// `routes[]`, by the names of Envoy's routes.
    pub routes: Vec<Scope>,
    /// `identity`: who asks, where a filter before this one has settled it.
    pub identity: Option<IdentitySource>,
    /// `identity.max_consumers`: how many that the file does not name have counters of their own.
    pub max_unlisted: u32,
    /// `counters`: where they are kept.
    pub counters: Counters,
    /// Header names, lower case, in which a key may come.
    pub credential_headers: Vec<String>,
    /// What may stand before an endpoint's own path.
    pub path_prefixes: Vec<String>,
    /// Failed credentials per source address and minute before 401 becomes 429; 0 = off.
    pub failed_auth_per_minute: u32,
    /// Which families of rate-limit headers answers carry.
    pub rate_limit_headers: Vec<HeaderFamily>,
    /// Upper bound of the random seconds added to `Retry-After`.
    pub retry_after_jitter: u32,
    /// Mirrors Envoy's `allow_on_headers_stop_iteration`.
    pub hold_request_headers: bool,
    /// Inflate gzip and zstd request bodies instead of refusing them.
    pub decompress_requests: bool,
    /// Cap for answers that must be held whole.
    pub max_response_bytes: u64,
    /// For day and month windows.
    pub timezone: UtcOffset,
}

impl Config {
    /// Reads a document as JSON. All that is wrong is reported at once.
    pub fn from_json(document: &[u8]) -> Result<Self, Vec<ConfigError>> {
        match json::decode(document) {
            Ok(root) => document::decode(&root).0,
            Err(message) => {
                let mut error = ConfigError::new("", message);
                error.help = Some("YAML is for the command line; the filter reads JSON".to_owned());
                Err(vec![error])
            }
        }
    }

    /// Reads a document as Envoy hands it over: JSON (a `StringValue`, Istio's `pluginConfig`), or the bytes of a
    /// `google.protobuf.Struct`. As [`Self::from_json`].
    ///
    /// Takes the bytes, which are given up before what they say is put together: a large document is the most that a VM
    /// ever holds.
    pub fn from_plugin(document: impl AsRef<[u8]>) -> Result<Self, Vec<ConfigError>> {
        let bytes = document.as_ref();
        // A `Struct` begins with a line feed, which JSON may also do: what is JSON is taken as that.
        let root = match json::decode(bytes) {
            Err(_) if bytes.first() == Some(&b'\n') => protobuf::decode(bytes),
            root => root.ok(),
        };
        let Some(root) = root else {
            return Self::from_json(bytes);
        };
        drop(document);
        document::decode(&root).0
    }

    /// Reads a document as people write it. As [`Self::from_json`], and every error knows its place in the text.
    #[cfg(feature = "cli")]
    pub fn from_yaml(document: &str) -> Result<Self, Vec<ConfigError>> {
        yaml::decode(document)
    }

    /// Makes sliding windows fixed ones.
    pub(crate) fn fix_windows(&mut self) {
        for scope in self.all_rules().map(|rules| &mut rules.limits) {
            let of_models = scope.model_rate_limits.iter_mut().flatten();
            let lists = [&mut scope.rate_limits, &mut scope.consumer_rate_limits];
            let lists = lists
                .into_iter()
                .chain(of_models.map(|entry| &mut entry.rate_limits));
            for limit in lists.flatten() {
                if let Window::Sliding(seconds) = limit.window {
                    limit.window = Window::Fixed(seconds);
                }
            }
        }
    }

    /// What holds for a group, on whatever route.
    pub fn rules_of(&self, group: &ConsumerGroup) -> Rules {
        group.rules.over(&self.defaults)
    }

    /// What each scope says, and where: the wider ones first, and the ceilings at the end.
    #[cfg(feature = "cli")]
    pub(crate) fn scopes(&self) -> Vec<(String, &Rules)> {
        let mut scopes = vec![("defaults".to_owned(), &self.defaults)];
        let mut add = |list: &str, rules: &mut dyn Iterator<Item = _>| {
            let named = rules.enumerate();
            scopes.extend(named.map(|(at, rules)| (format!("{list}[{at}]"), rules)));
        };
        add("services", &mut self.services.iter().map(|it| &it.rules));
        add("routes", &mut self.routes.iter().map(|it| &it.rules));
        let groups = &mut self.consumer_groups.iter();
        add("consumer_groups", &mut groups.map(|it| &it.rules));
        add("consumers", &mut self.consumers.iter().map(|it| &it.rules));
        scopes.push(("ceilings".to_owned(), &self.ceilings));
        scopes
    }

    /// Those of every scope.
    fn all_rules(&mut self) -> impl Iterator<Item = &mut Rules> {
        let groups = self.consumer_groups.iter_mut();
        let consumers = self.consumers.iter_mut();
        let scopes = self.services.iter_mut().chain(&mut self.routes);
        groups
            .map(|group| &mut group.rules)
            .chain(consumers.map(|consumer| &mut consumer.rules))
            .chain(scopes.map(|scope| &mut scope.rules))
            .chain([&mut self.defaults, &mut self.ceilings])
    }

    /// What is valid, and still not what its author may expect.
    pub fn warnings(&self) -> Vec<Warning> {
        warning::of(self)
    }
}

#[cfg(test)]
mod tests;
