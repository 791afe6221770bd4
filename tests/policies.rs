//! Policies on text, each kind in every place where an API has text: prompts, whole answers, streams cut anywhere.
//!
//! A place that is not looked at is a leak: whoever adds an API adds its places here.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

#[path = "policies/answers.rs"]
mod answers;
#[path = "policies/envoy.rs"]
mod in_envoy;
#[path = "policies/places.rs"]
mod places;
#[path = "policies/prompts.rs"]
mod prompts;
#[path = "policies/streams.rs"]
mod streams;

use serde_json::{Value, json};
use support::core::Core;
use support::scenario::{Answer, Outcome, Request};

/// A kind of thing, one of it, and what stands in its place.
#[derive(Clone, Copy, Debug)]
struct Kind {
    name: &'static str,
    thing: &'static str,
    label: &'static str,
}

const fn kind(name: &'static str, thing: &'static str, label: &'static str) -> Kind {
    Kind { name, thing, label }
}

const KINDS: [Kind; 9] = [
    kind(
        "credit_card",
        "4111 1111 1111 1111",
        "[REDACTED_CREDIT_CARD]",
    ),
    kind("ssn", "536-90-4399", "[REDACTED_SSN]"),
    kind("email", "jane.doe@example.com", "[REDACTED_EMAIL]"),
    kind("phone", "+44 20 7946 0958", "[REDACTED_PHONE]"),
    kind("iban", "DE89 3704 0044 0532 0130 00", "[REDACTED_IBAN]"),
    kind("ip_address", "10.20.30.40", "[REDACTED_IP_ADDRESS]"),
    kind(
        "secret",
        "sk-abcdefghijklmnopqrstuvwx1234567890",
        "[REDACTED_SECRET]",
    ),
    kind("keyword", "Käsekuchen", "[REDACTED_KEYWORD]"),
    kind("pattern", "proj-1234", "[REDACTED_KEYWORD]"),
];

const ACTIONS: [&str; 2] = ["block", "redact"];

impl Kind {
    /// A policy on this kind.
    fn policy(self, action: &str) -> Value {
        let (kind, config) = match self.name {
            "keyword" => ("keyword_filter", json!({"words": [self.thing]})),
            "pattern" => ("keyword_filter", json!({"patterns": [r"\bproj-\d{4}\b"]})),
            entity => ("pii_detector", json!({"entities": [entity]})),
        };
        json!({"name": "p", "type": kind, "action": action, "config": config})
    }

    /// What the policy calls it.
    fn found(self) -> &'static str {
        if self.name == "pattern" {
            "keyword"
        } else {
            self.name
        }
    }

    /// The key of the group that has this policy.
    fn key(self, action: &str) -> String {
        format!("key-of-{}-{action}", self.name)
    }

    /// A text with it in it, and what is left of that.
    fn texts(self) -> [String; 2] {
        [self.thing, self.label].map(|it| format!("see {it}, please"))
    }
}

/// A group for each kind and action, with the policy in this list.
fn configuration(list: &str) -> Value {
    let mut groups = Vec::new();
    for kind in KINDS {
        for action in ACTIONS {
            let key = kind.key(action);
            groups.push(json!({"name": format!("{}-{action}", kind.name), "api_key": key, list: [kind.policy(action)]}));
        }
    }
    json!({"version": "1", "consumer_groups": groups})
}

/// A template with a text in place of each `@`.
fn filled(template: &Value, text: &str) -> Value {
    match template {
        Value::String(string) => Value::from(string.replace('@', text)),
        Value::Array(items) => items.iter().map(|item| filled(item, text)).collect(),
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(name, item)| (name.clone(), filled(item, text)));
            Value::Object(members.collect())
        }
        other => other.clone(),
    }
}

fn post(kind: Kind, action: &str, path: &str, body: &Value) -> Request {
    serde_json::from_value(json!({"key": kind.key(action), "path": path, "json": body})).unwrap()
}

fn answer(content_type: &str, body: &str) -> Answer {
    serde_json::from_value(json!({"headers": {"content-type": content_type}, "body": body}))
        .unwrap()
}

/// That the event says what was found.
fn assert_found(kind: Kind, outcome: &Outcome, place: &str) {
    let found = &outcome.event["policies"][0]["entities"];
    assert_eq!(
        found,
        &json!([kind.found()]),
        "{kind:?} {place}: {}",
        outcome.event
    );
}
