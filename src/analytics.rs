//! The names of events' fields and of stats: the one place that has them.
//!
//! Labels of stats come only from the configuration, so that no caller can make new series.

use crate::json::Writer;
use crate::limit::counter::Crossed;
use crate::policy::Hit;
use crate::refusal::Fired;
use crate::reply::shortened;
use crate::spend::{Buckets, usd};
use crate::time::Timestamp;

/// What became of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Passed, and answered with less than 400.
    Allowed,
    /// Refused by the filter.
    Blocked,
    /// Passed and failed upstream, or failed in the filter.
    Error,
    /// Passed, though it would have been refused outside shadow mode.
    Flagged,
}

impl Outcome {
    /// The `result` of events and stats.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Blocked => "blocked",
            Self::Error => "error",
            Self::Flagged => "flagged",
        }
    }
}

/// Tokens as charged: no unknowns left.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Charged {
    /// All input.
    pub prompt: u64,
    /// All output.
    pub completion: u64,
    /// As the answer stated it, else the sum.
    pub total: u64,
    /// Part of `prompt`, read from a cache.
    pub cached: u64,
    /// What of it has which price.
    pub priced: Buckets,
    /// Part of `completion`.
    pub reasoning: u64,
    /// In millionths of a US dollar.
    pub cost: u64,
}

/// A share of a budget that a request has crossed: told of once a window.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Alert {
    /// The budget.
    pub fired: Fired,
    /// The share, and what is spent.
    pub crossed: Crossed,
}

/// One request, as the event log has it.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// When the request came.
    pub time: Timestamp,
    /// Absent where no key opened one.
    pub consumer_group: Option<&'a str>,
    /// The consumer that the configuration names.
    pub consumer: Option<&'a str>,
    /// Tags of the group and of the key.
    pub features: &'a [&'a str],
    /// The key's id, never the key.
    pub key_id: Option<&'a str>,
    /// The target's id.
    pub provider: Option<&'a str>,
    /// The endpoint's name.
    pub endpoint: Option<&'a str>,
    /// As the caller wrote them.
    pub models: &'a [String],
    /// As the client got it; 0 when it got none.
    pub status: u16,
    /// Whether the answer streamed.
    pub stream: bool,
    /// Whether `usage` is an estimate.
    pub estimated: bool,
    /// From the request's first byte to the answer's last.
    pub latency_ms: u64,
    /// From the request's first byte to the answer's first.
    pub ttft_ms: Option<u64>,
    /// What became of it.
    pub result: Outcome,
    /// The code, where there is one.
    pub reason: Option<&'a str>,
    /// What the caller must not be told.
    pub detail: Option<&'a str>,
    /// What policies had to say.
    pub policies: &'a [Hit],
    /// The same of its answer.
    pub answer_policies: &'a [Hit],
    /// Shares of budgets that it crossed.
    pub alerts: &'a [Alert],
    /// What was charged.
    pub usage: Charged,
}

impl Event<'_> {
    /// One line of JSON, without the line's end.
    pub fn to_json(&self) -> Vec<u8> {
        let mut line = Writer::with_capacity(640);
        // Names of members, and what stands between them, come in pieces that are as long as they can be.
        line.piece("{\"time\":\"").ascii(&self.time.rfc3339());
        let model = self.models.first().map(|model| shortened(model));
        line.text_behind("\",\"consumer_group\":", self.consumer_group)
            .text_behind(",\"consumer\":", self.consumer)
            .text_behind(",\"key_id\":", self.key_id)
            .text_behind(",\"provider\":", self.provider)
            .text_behind(",\"endpoint\":", self.endpoint)
            .text_behind(",\"model\":", model);
        if self.models.len() > 1 {
            line.key("models").open('[');
            for model in self.models {
                line.string(shortened(model));
            }
            line.close(']');
        }
        line.count_behind(",\"status\":", self.status.into());
        line.piece(match (self.stream, self.estimated) {
            (false, false) => ",\"stream\":false,\"estimated\":false,\"cost_usd\":",
            (false, true) => ",\"stream\":false,\"estimated\":true,\"cost_usd\":",
            (true, false) => ",\"stream\":true,\"estimated\":false,\"cost_usd\":",
            (true, true) => ",\"stream\":true,\"estimated\":true,\"cost_usd\":",
        });
        match self.usage.cost {
            0 => line.count(0),
            cost => line.piece(&usd(cost)),
        };
        line.count_behind(",\"latency_ms\":", self.latency_ms);
        match self.ttft_ms {
            Some(ttft) => line.count_behind(",\"ttft_ms\":", ttft),
            None => line.piece(",\"ttft_ms\":null"),
        };
        if self.policies.is_empty() && self.answer_policies.is_empty() && self.features.is_empty() {
            line.piece(",\"policies\":[],\"features\":[],\"result\":\"");
        } else {
            self.write_remarks(&mut line);
        }
        line.piece(self.result.name());
        line.text_behind("\",\"reason\":", self.reason);
        if self.detail.is_some() {
            line.text_behind(",\"detail\":", self.detail);
        }
        if !self.alerts.is_empty() {
            self.write_alerts(&mut line);
        }
        let usage = self.usage;
        line.count_behind(",\"usage\":{\"prompt_tokens\":", usage.prompt)
            .count_behind(",\"completion_tokens\":", usage.completion)
            .count_behind(",\"total_tokens\":", usage.total)
            .count_behind(",\"cached_tokens\":", usage.cached)
            .count_behind(",\"reasoning_tokens\":", usage.reasoning)
            .piece("}}");
        line.into_bytes()
    }

    #[cold]
    fn write_remarks(&self, line: &mut Writer) {
        line.piece(",\"policies\":");
        write_policies(self.policies, self.answer_policies, line);
        line.piece(",\"features\":").open('[');
        for feature in self.features {
            line.string(feature);
        }
        line.piece("],\"result\":\"");
    }

    #[cold]
    fn write_alerts(&self, line: &mut Writer) {
        line.key("alerts").open('[');
        for Alert { fired, crossed } in self.alerts {
            line.open('{').key("limit").string(&fired.limit);
            line.key("consumer_group").optional(fired.group.as_deref());
            line.key("scope").optional(fired.scope);
            // Thousandths are written as millionths of a thousand times as much.
            let share = u64::from(crossed.at).saturating_mul(1_000);
            line.key("at").verbatim(&usd(share));
            line.key("spent_usd").verbatim(&usd(crossed.used));
            line.key("amount_usd")
                .verbatim(&usd(fired.quota))
                .close('}');
        }
        line.close(']');
    }
}

/// A further line about a request, behind its event: what policies found, in its prompt or its answer, that did not hold it up. It begins as the event does;
/// `late` tells the two apart, and nothing in it is to be counted.
pub fn late(event: &str, hits: &[Hit], answer: bool) -> String {
    let mut line = Writer::with_capacity(event.len());
    // No text inside the event has this in it: quotes in texts are escaped.
    let head = event.find(",\"status\":").unwrap_or_default();
    line.piece(event.get(..head).unwrap_or_default());
    line.piece(",\"late\":true,\"policies\":");
    let (prompt, answer) = if answer {
        (&[][..], hits)
    } else {
        (hits, &[][..])
    };
    write_policies(prompt, answer, &mut line);
    line.piece(",\"result\":\"");
    line.piece(if hits.iter().any(|hit| hit.found.is_some()) {
        "flagged\",\"reason\":\"content_flagged\"}"
    } else {
        "allowed\",\"reason\":null}"
    });
    line.finish()
}

fn write_policies(prompt: &[Hit], answer: &[Hit], line: &mut Writer) {
    line.open('[');
    for hit in prompt {
        write_hit(hit, false, line);
    }
    for hit in answer {
        write_hit(hit, true, line);
    }
    line.close(']');
}

fn write_hit(hit: &Hit, answer: bool, line: &mut Writer) {
    line.open('{').key("name").string(&hit.policy);
    line.key("action").string(hit.action.name());
    if answer {
        line.key("on").string("answer");
    }
    if hit.shadow {
        line.key("mode").string("shadow");
    }
    match &hit.found {
        Some(found) => {
            line.key("entities").open('[');
            for name in found.names() {
                line.string(name);
            }
            line.close(']');
        }
        None => {
            line.key("unevaluated").bool(true);
        }
    }
    line.close('}');
}

/// The names of stats. Labels stand between delimiter words, so that Envoy's `stats_tags` can take them out even
/// where a model's name holds dots (`envoy/` shows the expressions).
pub mod stats {
    use super::Outcome;
    use std::fmt::Display;

    /// Where a label has no value.
    pub const NONE: &str = "(none)";

    /// A counter: requests by group, model and result.
    pub fn requests(group: Option<&str>, model: &str, result: Outcome) -> String {
        format!(
            "cohort.requests.group.{}.model.{model}.result.{}",
            group.unwrap_or(NONE),
            result.name()
        )
    }

    /// A counter: refused requests by group and code.
    pub fn refused(group: Option<&str>, code: &str) -> String {
        format!(
            "cohort.refused.group.{}.reason.{code}",
            group.unwrap_or(NONE)
        )
    }

    /// A counter: tokens by group, model and kind.
    pub fn tokens(group: Option<&str>, model: &str, kind: &str) -> String {
        format!(
            "cohort.tokens.group.{}.model.{model}.kind.{kind}",
            group.unwrap_or(NONE)
        )
    }

    /// A counter: millionths of a US dollar by group and model.
    pub fn cost(group: Option<&str>, model: &str) -> String {
        format!(
            "cohort.cost_micro_usd.group.{}.model.{model}.kind.total",
            group.unwrap_or(NONE)
        )
    }

    /// A counter: shares of budgets that were crossed, by the group whose request did it.
    pub fn alerts(group: Option<&str>) -> String {
        format!("cohort.budget_alerts.group.{}", group.unwrap_or(NONE))
    }

    /// A histogram: milliseconds from the request's first byte to the answer's last, by group.
    pub fn latency(group: Option<&str>) -> String {
        format!("cohort.latency_ms.group.{}", group.unwrap_or(NONE))
    }

    /// A histogram: milliseconds from the request's first byte to the answer's first, by group.
    pub fn time_to_first_token(group: Option<&str>) -> String {
        format!("cohort.ttft_ms.group.{}", group.unwrap_or(NONE))
    }

    /// A gauge: bytes that a worker's VM holds. Workers write the same gauge; the last that grew is what it shows.
    pub const MEMORY: &str = "cohort.vm_memory_bytes";

    /// A gauge: the first 32 bits of the SHA-256 of the configuration in force, as it was handed over.
    pub const CONFIG_VERSION: &str = "cohort.config_version";

    /// Of the ceilings, where a group's name stands.
    const CEILINGS: &str = "(ceilings)";

    /// A gauge, by group and limit: what is counted in the current window, what is reserved included. Of a budget in
    /// millionths of a US dollar.
    pub fn limit_used(group: Option<&str>, limit: impl Display) -> String {
        let group = group.unwrap_or(CEILINGS);
        format!("cohort.limit_used.group.{group}.limit.{limit}")
    }

    /// A gauge, by group and limit: how much there is in a window.
    pub fn limit_quota(group: Option<&str>, limit: impl Display) -> String {
        let group = group.unwrap_or(CEILINGS);
        format!("cohort.limit_quota.group.{group}.limit.{limit}")
    }

    /// A counter, by group: requests of which the rate-limit service holds no limit.
    pub fn unmatched(group: Option<&str>) -> String {
        format!("cohort.unmatched.group.{}", group.unwrap_or(NONE))
    }

    /// A counter, by group: requests of consumers that share their counters, because the file does not name them and there
    /// were too many of those.
    pub fn shared_counters(group: Option<&str>) -> String {
        format!("cohort.shared_counters.group.{}", group.unwrap_or(NONE))
    }

    /// A counter: updates of a counter that were given up, and questions to the rate-limit service without an answer.
    pub const STORE_ERRORS: &str = "cohort.store_errors";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_json() {
        let event = Event {
            time: Timestamp(0),
            consumer_group: Some("engineering"),
            consumer: None,
            features: &[],
            key_id: None,
            provider: None,
            endpoint: Some("chat"),
            models: &["a\"\\\n\u{2028}é".to_owned(), "b".to_owned()],
            status: 200,
            stream: true,
            estimated: false,
            latency_ms: 5,
            ttft_ms: None,
            result: Outcome::Allowed,
            reason: None,
            detail: None,
            policies: &[],
            answer_policies: &[],
            alerts: &[],
            usage: Charged {
                prompt: 1,
                completion: 2,
                total: 3,
                cached: 0,
                priced: Buckets::default(),
                cost: 2_500,
                reasoning: 0,
            },
        };
        let line = String::from_utf8(event.to_json()).unwrap();
        assert!(!line.contains(['\n', '\u{2028}']));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["time"], "1970-01-01T00:00:00.000Z");
        assert_eq!(value["model"], "a\"\\\n\u{2028}é");
        assert_eq!(value["models"][1], "b");
        assert_eq!(value["usage"]["total_tokens"], 3);
        assert_eq!(value["consumer"], serde_json::Value::Null);
    }
}
