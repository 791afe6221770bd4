//! What an event log tells of requests, in the order in which they came.

use super::super::{Failure, NO_EVENTS, log};
use crate::time::{Timestamp, UtcOffset};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

/// One line of the log.
#[derive(Deserialize)]
struct Line {
    time: String,
    consumer_group: Option<String>,
    consumer: Option<String>,
    key_id: Option<String>,
    provider: Option<String>,
    endpoint: Option<String>,
    model: Option<String>,
    models: Option<Vec<String>>,
    #[serde(default)]
    status: u16,
    #[serde(default)]
    latency_ms: u64,
    cost_usd: Option<f64>,
    result: String,
    reason: Option<String>,
    usage: Usage,
}

/// Tokens as they were charged.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Usage {
    #[serde(rename = "prompt_tokens")]
    pub(super) prompt: u64,
    #[serde(rename = "completion_tokens")]
    pub(super) completion: u64,
    #[serde(rename = "total_tokens")]
    pub(super) total: u64,
    #[serde(default, rename = "cached_tokens")]
    pub(super) cached: u64,
}

/// What became of a request.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Fate {
    /// It went upstream, and the upstream or the way there failed.
    Failed,
    Passed,
    Refused(String),
    /// It passed, and would not have outside shadow mode.
    Spared(String),
}

/// A request that came.
pub(super) struct Request {
    pub(super) time: Timestamp,
    pub(super) group: Option<String>,
    pub(super) consumer: Option<String>,
    pub(super) key_id: Option<String>,
    pub(super) provider: Option<String>,
    pub(super) endpoint: String,
    pub(super) models: Vec<String>,
    pub(super) fate: Fate,
    /// As the upstream answered, or would have; 0: it did not.
    pub(super) status: u16,
    pub(super) latency_ms: u64,
    /// In millionths of a US dollar.
    pub(super) cost: u64,
    pub(super) usage: Usage,
    /// Whether the log says enough to judge it again.
    pub(super) known: bool,
}

/// Requests of a group, or of all, for a model.
type Kind = (Option<String>, Option<String>);

/// How many, and what they used and how long they took in all.
type Sums = (u64, Usage, u64);

/// A log.
#[derive(Default)]
pub(super) struct Past {
    pub(super) requests: Vec<Request>,
    /// What passed, by group and model.
    averages: BTreeMap<Kind, Sums>,
}

impl Past {
    /// Lines that are no events are skipped.
    pub(super) fn read(files: &[PathBuf], since: Option<Timestamp>) -> Result<Self, Failure> {
        let mut past = Self::default();
        for path in files {
            let cannot = |error: io::Error| Failure::reading(path, &error, NO_EVENTS);
            let mut lines = log::open(path)?;
            let mut bytes = Vec::new();
            while log::next_line(&mut *lines, &mut bytes).map_err(cannot)? {
                let line = serde_json::from_slice::<Line>(&bytes).ok();
                let request = line.and_then(Request::of);
                let late = |request: &Request| since.is_none_or(|since| request.time >= since);
                past.requests.extend(request.filter(late));
            }
        }
        // Envoy writes them when they end.
        past.requests.sort_by_key(|request| request.time);
        for request in &past.requests {
            if matches!(request.fate, Fate::Passed | Fate::Spared(_)) {
                let model = request.models.first().cloned();
                // Once for its group, once for whoever else asks for that model.
                for group in [request.group.clone(), None] {
                    let key = (group, model.clone());
                    let (count, sum, latency) = past.averages.entry(key).or_default();
                    *count = count.saturating_add(1);
                    sum.add(request.usage);
                    *latency = latency.saturating_add(request.latency_ms);
                }
            }
        }
        Ok(past)
    }

    /// What a request used, or would have: that of an average one of its group and model, or of its model.
    pub(super) fn usage(&self, request: &Request) -> (Usage, u64) {
        if !matches!(request.fate, Fate::Refused(_)) || request.was_answered() {
            return (request.usage, request.latency_ms);
        }
        let of = |group: Option<String>| {
            let (count, sum, latency) = self
                .averages
                .get(&(group, request.models.first().cloned()))?;
            let each = |sum: u64| sum.checked_div(*count).unwrap_or(0);
            let usage = Usage {
                prompt: each(sum.prompt),
                completion: each(sum.completion),
                total: each(sum.total),
                cached: each(sum.cached),
            };
            Some((usage, each(*latency)))
        };
        let own = of(request.group.clone());
        own.or_else(|| of(None)).unwrap_or_default()
    }
}

impl Usage {
    fn add(&mut self, other: Self) {
        for (sum, more) in [
            (&mut self.prompt, other.prompt),
            (&mut self.completion, other.completion),
            (&mut self.total, other.total),
            (&mut self.cached, other.cached),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

impl Request {
    /// Whether it was let through and answered, whatever became of the answer: its policies may have refused that.
    pub(super) const fn was_answered(&self) -> bool {
        self.usage.total > 0
    }

    fn of(line: Line) -> Option<Self> {
        let time = Timestamp::parse_rfc3339(&line.time, UtcOffset(0))?;
        let reason = line.reason.unwrap_or_default();
        let content = reason.starts_with("content_");
        let fate = match &*line.result {
            "allowed" => Fate::Passed,
            "flagged" if content => Fate::Passed,
            "flagged" => Fate::Spared(reason.clone()),
            "blocked" => Fate::Refused(reason.clone()),
            // Ours, and none of the policy's doing.
            "error" => Fate::Failed,
            _ => return None,
        };
        let judged = match &fate {
            Fate::Passed | Fate::Failed | Fate::Spared(_) => true,
            Fate::Refused(code) => JUDGED.contains(&&**code) || line.usage.total > 0,
        };
        let status = match &fate {
            Fate::Failed => line.status,
            _ => 200,
        };
        let models = line.models.or_else(|| line.model.map(|model| vec![model]));
        let named = line.key_id.is_some() || reason == "missing_api_key";
        let incomplete = matches!(&*reason, "request_incomplete" | "internal_error");
        Some(Self {
            time,
            known: judged && named && !incomplete && line.endpoint.is_some(),
            group: line.consumer_group,
            consumer: line.consumer,
            key_id: line.key_id,
            provider: line.provider,
            endpoint: line.endpoint.unwrap_or_default(),
            models: models.unwrap_or_default(),
            fate,
            status,
            latency_ms: line.latency_ms,
            cost: line.cost_usd.map_or(0, log::micro_usd),
            usage: line.usage,
        })
    }
}

/// Refusals for which the log has all that they hang on.
const JUDGED: [&str; 10] = [
    "budget_exceeded",
    "concurrency_limit_exceeded",
    "consumer_group_not_allowed",
    "endpoint_not_allowed",
    "limiter_unavailable",
    "missing_api_key",
    "model_not_allowed",
    "model_unpriced",
    "no_provider_for_model",
    "rate_limit_exceeded",
];
