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
pub use error::{ConfigError, Location};
#[cfg(feature = "cli")]
pub(crate) use limits::is_counted;
#[cfg(feature = "cli")]
pub use places::Places;
#[cfg(feature = "cli")]
pub use publish::{Additions, json_from_yaml, publish};
pub(crate) use rules::merged;
#[cfg(feature = "cli")]
pub use schema::schema;
#[cfg(feature = "cli")]
pub(crate) use suggest::nearest;
#[cfg(feature = "cli")]
pub(crate) use warning::NOT_KEPT;
pub use warning::Warning;

use crate::credential::KeyDigest;
use crate::guardrail::{Criteria, Entities};
use crate::limit::counter::Budget;
use crate::limit::seed::Seed;
use crate::limit::{Limit, Window};
use crate::spend::Price;
use crate::time::{Timestamp, UtcOffset};

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

/// What any scope can say. A scope that says nothing of a field leaves it to the next wider one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// Exact names or globs; `None`: every model.
    pub allowed_models: Option<Vec<String>>,
    /// Exact names or globs; wins over `allowed_models`.
    pub denied_models: Option<Vec<String>>,
    /// Written into a body that names no model.
    pub default_model: Option<String>,
    /// `alias: target`, in file order.
    pub model_aliases: Option<Vec<(String, String)>>,
    /// Endpoint names or path prefixes; `None`: every endpoint that names its models.
    pub allowed_endpoints: Option<Vec<String>>,
    /// What may be used up.
    pub limits: ScopeLimits,
    /// What it costs, and how much may be spent.
    pub spend: Spend,
    /// What one request may ask for.
    pub request_limits: Option<RequestLimits>,
    /// `policies[]`: for prompts and answers.
    pub policies: Vec<PolicyRule>,
    /// `input_policies[]`: for prompts.
    pub input_policies: Vec<PolicyRule>,
    /// `output_policies[]`: for answers.
    pub output_policies: Vec<PolicyRule>,
}

/// An entry of `services` or `routes`.
#[derive(Clone, Debug)]
pub struct Scope {
    /// As Envoy names it.
    pub name: String,
    /// What it says.
    pub rules: Rules,
}

/// `request_limits`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestLimits {
    /// Output tokens of one answer.
    pub max_output_tokens: Option<u64>,
    /// What becomes of a request for more.
    pub on_exceeded: ClampOrReject,
    /// Bytes of its body, inflated.
    pub max_body_bytes: Option<u64>,
    /// How many answers at once.
    pub max_n: Option<u64>,
    /// Whether the answer may come as a stream.
    pub stream: bool,
    /// Whether the model may be given tools.
    pub tools: bool,
}

/// `request_limits.on_exceeded`
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ClampOrReject {
    /// It goes on with the bound as its own.
    Clamp,
    /// It is refused.
    #[default]
    Reject,
}

/// `identity`
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum IdentitySource {
    /// Fields of the request's header, which only a filter before this one can have written.
    Headers {
        /// `consumer_header`, lower case.
        consumer: Option<String>,
        /// `group_header`, lower case.
        group: Option<String>,
    },
    /// The dynamic metadata of a filter.
    Metadata {
        /// Its name there.
        filter: String,
        /// Where in it the consumer's name stands.
        consumer: Vec<String>,
        /// Where the group's name stands.
        group: Vec<String>,
    },
}

/// `mode`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Mode {
    /// Refusals are sent.
    #[default]
    Enforce,
    /// Refusals of groups and policies are only counted and logged.
    Shadow,
}

/// `providers.targets[]`.
#[derive(Clone, Debug)]
pub struct ProviderTarget {
    /// Name of the target; also the value of `x-cohort-provider`.
    pub id: String,
    /// Which API it speaks.
    pub provider: Provider,
    /// The environment variable that holds its secret, if one is to be put in.
    pub secret_env: Option<String>,
    /// Model globs it serves; `None`: every model of its own dialect.
    pub models: Option<Vec<String>>,
    /// The Envoy cluster; default `id`.
    pub cluster: String,
}

/// `providers.targets[].provider`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Provider {
    /// `anthropic`
    Anthropic,
    /// `azure-openai`
    AzureOpenAi,
    /// `bedrock`
    Bedrock,
    /// `cohere`
    Cohere,
    /// `gemini`
    Gemini,
    /// `mistral`
    Mistral,
    /// `ollama`
    Ollama,
    /// `openai`
    OpenAi,
    /// `vllm`
    Vllm,
}

/// `consumer_groups[]`.
#[derive(Clone, Debug)]
pub struct ConsumerGroup {
    /// 1 to 64 of letters, digits, `-`, `_`.
    pub name: String,
    /// Free text for people.
    pub description: Option<String>,
    /// Overrides the document's mode.
    pub mode: Option<Mode>,
    /// `api_key` and `api_keys[]`, digested.
    pub keys: Vec<ApiKey>,
    /// Consumers that are in it, besides those that say so themselves.
    pub consumers: Vec<String>,
    /// `false` closes it.
    pub enabled: bool,
    /// Open from, inclusive.
    pub not_before: Option<Timestamp>,
    /// Open until, exclusive.
    pub not_after: Option<Timestamp>,
    /// Of a consumer's groups the one with the highest is taken first.
    pub priority: u32,
    /// Tags that upstreams and events are told.
    pub features: Vec<String>,
    /// The group above, whose limits and allow-list hold for this one too.
    pub parent: Option<String>,
    /// What holds for it.
    pub rules: Rules,
}

/// What a scope says of money.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spend {
    /// `pricing`: model globs and prices, in file order.
    pub pricing: Option<Vec<(String, Price)>>,
    /// `budgets[]`
    pub budgets: Option<Vec<Budget>>,
    /// `unpriced`
    pub unpriced: Option<Unpriced>,
}

/// `unpriced`: what becomes of a model without a price where there is a budget.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Unpriced {
    /// It may be used, at no cost.
    Allow,
    /// It may not be used.
    #[default]
    Deny,
}

/// The limits that a scope sets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScopeLimits {
    /// `rate_limits`: one counter for all of the scope.
    pub rate_limits: Vec<Limit>,
    /// `consumer_rate_limits`: one counter for each of its consumers.
    pub consumer_rate_limits: Vec<Limit>,
    /// `model_rate_limits[]`: a further counter for some of its models.
    pub model_rate_limits: Option<Vec<ModelLimits>>,
}

/// One entry of `model_rate_limits`.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelLimits {
    /// Exact names or globs.
    pub models: Vec<String>,
    /// `rate_limits`.
    pub rate_limits: Vec<Limit>,
}

/// `counters`.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// The rate-limit service that keeps them; `None`: `store: shared_data`.
    pub service: Option<LimitService>,
    /// `seed[]`: what was counted before this Envoy started, for records that are not there.
    pub seed: Vec<Seed>,
}

/// `counters` with `store: rate_limit_service`.
#[derive(Clone, Debug)]
pub struct LimitService {
    /// The Envoy cluster.
    pub cluster: String,
    /// The service's namespace for our descriptors.
    pub domain: String,
    /// Which protocol it speaks.
    pub dialect: ServiceDialect,
    /// How long a request waits for it, in milliseconds.
    pub timeout_ms: u32,
    /// What holds while it does not answer.
    pub failure_mode: FailureMode,
    /// Hits to be asked for in advance.
    pub lease: Option<Lease>,
}

/// `counters.dialect`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ServiceDialect {
    /// `envoy.service.ratelimit.v3`, as envoyproxy/ratelimit answers it.
    #[default]
    Envoy,
    /// `kuadrant.service.ratelimit.v1` beside it, as Limitador answers them.
    Kuadrant,
}

/// `failure_mode` of `counters` and of a `content_filter`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum FailureMode {
    /// Requests pass unlimited.
    Allow,
    /// Requests are refused with 503.
    Deny,
    /// This Envoy's own counters hold.
    #[default]
    Local,
}

/// `counters.lease`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lease {
    /// At most so many hits at a time.
    pub requests: u32,
    /// Unused ones are given up after so many milliseconds.
    pub max_age_ms: u32,
}

/// `consumers[]`.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// 1 to 64 of letters, digits, `-`, `_`, `.`, `@`, `+`.
    pub name: String,
    /// `false` refuses its keys as if they were unknown.
    pub enabled: bool,
    /// `api_key` and `api_keys[]`, digested.
    pub keys: Vec<ApiKey>,
    /// `groups[]`
    pub groups: Vec<Membership>,
    /// What holds for it; its `rate_limits` stand in place of its groups' `consumer_rate_limits`.
    pub rules: Rules,
}

/// One entry of a consumer's `groups`.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The group's name.
    pub group: String,
    /// From, inclusive.
    pub not_before: Option<Timestamp>,
    /// Until, exclusive.
    pub not_after: Option<Timestamp>,
}

/// One key of a group or a consumer.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// What events show; default: the first 12 hex digits of the digest.
    pub id: String,
    /// SHA-256 of the key.
    pub digest: KeyDigest,
    /// Whether the file held the key itself rather than its digest.
    pub plain: bool,
    /// `false` refuses the key as if it were unknown.
    pub enabled: bool,
    /// Valid from, inclusive.
    pub not_before: Option<Timestamp>,
    /// Valid until, exclusive.
    pub not_after: Option<Timestamp>,
    /// Tags that upstreams and events are told.
    pub features: Vec<String>,
}

/// One entry of `policies`, `input_policies` or `output_policies`.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyRule {
    /// Unique within its list.
    pub name: String,
    /// What it looks for.
    pub kind: PolicyKind,
    /// `false` takes the one of this name out that stands further up.
    pub enabled: bool,
    /// What it does then.
    pub action: PolicyAction,
    /// Overrides the mode of what it stands in.
    pub mode: Option<Mode>,
}

/// `type` of a policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PolicyKind {
    /// `content_filter`: what a moderation endpoint says.
    ContentFilter(Box<Moderation>),
    /// `keyword_filter`: words and patterns of them.
    KeywordFilter {
        /// `config.words`
        words: Vec<String>,
        /// `config.patterns`
        patterns: Vec<String>,
    },
    /// `pii_detector`: kinds of personal data.
    PiiDetector(Entities),
}

/// `config` of a `content_filter`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Moderation {
    /// The Envoy cluster; `None`: that of the first target of provider `openai`.
    pub cluster: Option<String>,
    /// Where in it the endpoint is.
    pub path: String,
    /// How long its answer is waited for, in milliseconds.
    pub timeout_ms: u32,
    /// What holds where there is none: [`FailureMode::Allow`] or [`FailureMode::Deny`].
    pub failure_mode: FailureMode,
    /// What of it is a finding.
    pub criteria: Criteria,
}

impl Default for Moderation {
    fn default() -> Self {
        Self {
            cluster: None,
            path: "/v1/moderations".to_owned(),
            timeout_ms: 1_000,
            failure_mode: FailureMode::Allow,
            criteria: Criteria::default(),
        }
    }
}

/// `action` of a policy.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum PolicyAction {
    /// Refuse the request.
    #[default]
    Block,
    /// Let it pass and say so.
    Flag,
    /// Take the finding out.
    Redact,
}

impl PolicyAction {
    /// As the configuration writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Flag => "flag",
            Self::Redact => "redact",
        }
    }
}

/// `rate_limit_headers[]`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HeaderFamily {
    /// `RateLimit-Policy`, `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10).
    Ietf,
    /// `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` as OpenAI sends them.
    OpenAi,
    /// `RateLimit-Limit`, `RateLimit-Remaining`, `RateLimit-Reset`.
    Standard,
}

#[cfg(test)]
mod tests;
