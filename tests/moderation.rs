//! `content_filter`: in the pure core, and in a real Envoy beside moderation endpoints that are good, slow, down and odd.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

#[path = "moderation/answers.rs"]
mod answers_in_core;
#[path = "moderation/answers_envoy.rs"]
mod answers_in_envoy;
#[path = "moderation/core.rs"]
mod in_core;
#[path = "moderation/envoy.rs"]
mod in_envoy;

use serde_json::{Value, json};
use support::core::Core;

/// What a moderation endpoint answers to a question; `None`: nothing.
type Endpoint = fn(&str) -> Option<Vec<u8>>;

/// What says nothing about a text.
const UNJUDGED: [Endpoint; 3] = [
    |_| None,
    |_| Some(b"{\"results\":[]}".to_vec()),
    |_| Some(vec![0xff; 100]),
];

/// The pure core, beside an endpoint that hates what is awful.
fn core_of(document: &Value) -> Core {
    let mut core = Core::new(document).unwrap();
    core.moderation.answer = |question| {
        let awful = question.contains("awful");
        let hate = if awful { 0.9 } else { 0.01 };
        Some(verdict(hate).to_string().into_bytes())
    };
    core
}

/// A group of one key, `key-of-a`, with these policies.
fn policy(policies: &Value) -> Value {
    json!({
        "version": "1",
        "consumer_groups": [{
            "name": "a",
            "api_key": "key-of-a",
            "rate_limits": {"requests_per_minute": 1_000},
            "input_policies": policies,
        }],
    })
}

/// A group of one key, `key-of-a`, with these policies on answers.
fn on_answers(policies: &Value) -> Value {
    let mut policy = policy(&json!([]));
    policy["consumer_groups"][0]["output_policies"] = policies.clone();
    policy
}

/// A chat stream that says these pieces, one an event, and then what it used.
fn stream(pieces: &[&str]) -> String {
    let event = |choices: Value, usage: Value| json!({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": choices, "usage": usage});
    let mut events: Vec<Value> = (pieces.iter())
        .map(|piece| {
            event(
                json!([{"index": 0, "delta": {"content": piece}}]),
                json!(null),
            )
        })
        .collect();
    let usage = json!({"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12});
    events.push(event(json!([]), usage));
    let data = events.iter().map(|event| format!("data: {event}\n\n"));
    data.collect::<String>() + "data: [DONE]\n\n"
}

/// One `content_filter` that asks the cluster `moderation`.
fn content(action: &str, config: &Value) -> Value {
    let mut config = config.clone();
    config["cluster"] = json!("moderation");
    json!({"name": format!("{action}-content"), "type": "content_filter", "action": action, "config": config})
}

/// As `omni-moderation-latest` answers.
fn verdict(hate: f64) -> Value {
    json!({"id": "modr-1", "model": "omni-moderation-latest", "results": [{
        "flagged": hate > 0.5,
        "categories": {"hate": hate > 0.5, "hate/threatening": false, "violence": false},
        "category_scores": {"hate": hate, "hate/threatening": 0.0002, "violence": 1.5e-6},
        "category_applied_input_types": {"hate": ["text"]},
    }]})
}
