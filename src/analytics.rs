//! The names of events' fields and of stats: the one place that has them.
//!
//! Labels of stats come only from the configuration, so that no caller can make new series.

use crate::time::Timestamp;
use std::fmt::Write;

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
    /// Part of `prompt`.
    pub cached: u64,
    /// Part of `completion`.
    pub reasoning: u64,
}

/// One request, as the event log has it.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// When the request came.
    pub time: Timestamp,
    /// Absent where no key opened one.
    pub consumer_group: Option<&'a str>,
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
    /// What was charged.
    pub usage: Charged,
}

impl Event<'_> {
    /// One line of JSON, without the line's end.
    pub fn to_json(&self) -> String {
        let mut line = String::with_capacity(512);
        // Writing into a `String` cannot fail.
        let _ = self.write(&mut line);
        line
    }

    fn write(&self, line: &mut String) -> std::fmt::Result {
        write!(line, "{{\"time\":\"{}\"", self.time)?;
        text(line, "consumer_group", self.consumer_group);
        text(line, "consumer", None);
        text(line, "key_id", self.key_id);
        text(line, "provider", self.provider);
        text(line, "endpoint", self.endpoint);
        text(
            line,
            "model",
            self.models
                .first()
                .map(|model| crate::reply::shortened(model)),
        );
        if self.models.len() > 1 {
            line.push_str(",\"models\":[");
            for (at, model) in self.models.iter().enumerate() {
                if at > 0 {
                    line.push(',');
                }
                string(line, crate::reply::shortened(model));
            }
            line.push(']');
        }
        write!(
            line,
            ",\"status\":{},\"stream\":{},\"estimated\":{}",
            self.status, self.stream, self.estimated
        )?;
        write!(
            line,
            ",\"cost_usd\":0,\"latency_ms\":{},\"ttft_ms\":",
            self.latency_ms
        )?;
        match self.ttft_ms {
            Some(ttft) => write!(line, "{ttft}")?,
            None => line.push_str("null"),
        }
        line.push_str(",\"policies\":[],\"features\":[]");
        text(line, "result", Some(self.result.name()));
        text(line, "reason", self.reason);
        if self.detail.is_some() {
            text(line, "detail", self.detail);
        }
        let Charged {
            prompt,
            completion,
            total,
            cached,
            reasoning,
        } = self.usage;
        write!(
            line,
            ",\"usage\":{{\"prompt_tokens\":{prompt},\"completion_tokens\":{completion},\"total_tokens\":{total},\"cached_tokens\":{cached},\"reasoning_tokens\":{reasoning}}}}}"
        )
    }
}

fn text(line: &mut String, name: &str, value: Option<&str>) {
    line.push_str(",\"");
    line.push_str(name);
    line.push_str("\":");
    match value {
        Some(value) => string(line, value),
        None => line.push_str("null"),
    }
}

/// RFC 8259 7.
fn string(line: &mut String, value: &str) {
    line.push('"');
    for char in value.chars() {
        match char {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            // U+2028 and U+2029 are legal in JSON, but some readers of JSON lines split there.
            '\0'..='\x1f' | '\x7f' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(line, "\\u{:04x}", u32::from(char));
            }
            _ => line.push(char),
        }
    }
    line.push('"');
}

/// The names of stats. Labels stand between delimiter words, so that Envoy's `stats_tags` can take them out even
/// where a model's name holds dots (`envoy/` shows the expressions).
pub mod stats {
    use super::Outcome;

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

    /// A counter: tokens by group, model and kind.
    pub fn tokens(group: Option<&str>, model: &str, kind: &str) -> String {
        format!(
            "cohort.tokens.group.{}.model.{model}.kind.{kind}",
            group.unwrap_or(NONE)
        )
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

    /// A counter: updates of a counter that were given up.
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
            usage: Charged {
                prompt: 1,
                completion: 2,
                total: 3,
                cached: 0,
                reasoning: 0,
            },
        };
        let line = event.to_json();
        assert!(!line.contains(['\n', '\u{2028}']));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["time"], "1970-01-01T00:00:00.000Z");
        assert_eq!(value["model"], "a\"\\\n\u{2028}é");
        assert_eq!(value["models"][1], "b");
        assert_eq!(value["usage"]["total_tokens"], 3);
        assert_eq!(value["consumer"], serde_json::Value::Null);
    }
}
