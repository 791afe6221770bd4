//! `cohort simulate`, held against the core itself: what it says of a log is what the core did.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::core::Core;
use support::scenario::{Answer, Request};

const REASONS: [&str; 3] = [
    "model_not_allowed",
    "rate_limit_exceeded",
    "budget_exceeded",
];

/// Two groups, one of which has consumers, below ceilings; and a day in which each limit is reached.
fn policy(requests: u64, tokens: u64, models: &[&str]) -> Value {
    json!({
        "version": "1",
        "ceilings": {"rate_limits": {"requests_per_day": 400}},
        "pricing": {
            "mini": {"input_per_million": 1000, "cached_input_per_million": 100, "output_per_million": 4000},
            "*": {"input_per_million": 3000, "output_per_million": 12000},
        },
        "consumer_groups": [
            {
                "name": "web",
                "api_keys": ["key-of-web"],
                "allowed_models": models,
                "rate_limits": {"requests_per_minute": requests, "tokens_per_hour": tokens},
            },
            {
                "name": "lab",
                "consumer_rate_limits": {"requests_per_hour": 30},
                "model_rate_limits": [{"models": ["large"], "rate_limits": {"requests_per_minute": 2}}],
                "budgets": [{"amount_usd": 30, "per": "day"}],
            },
        ],
        "consumers": [
            {"name": "ann", "groups": ["lab"], "api_keys": ["key-of-ann"]},
            {"name": "bob", "groups": ["lab"], "api_keys": ["key-of-bob"], "rate_limits": {"requests_per_hour": 10}},
        ],
    })
}

/// The same requests, whatever the policy: some of each key, model and API, at odd times.
fn requests() -> impl Iterator<Item = (Request, Answer, u64)> {
    let mut at = 0;
    (0..600_u64).map(move |turn| {
        let random = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        at += random % 20_000;
        let key = ["key-of-web", "key-of-ann", "key-of-bob"][(random % 3) as usize];
        let model = ["mini", "large", "other"][(random / 3 % 3) as usize];
        let prompt = 10 + random % 200;
        let text = "word".repeat(prompt as usize);
        let mut body = json!({"model": model, "max_tokens": 40, "messages": [{"role": "user", "content": text}]});
        let usage = json!({"prompt_tokens": prompt, "completion_tokens": 40, "total_tokens": prompt + 40,
            "prompt_tokens_details": {"cached_tokens": prompt / 2}});
        let (path, usage) = if turn % 4 == 0 {
            body["system"] = json!("");
            let anthropic = json!({"input_tokens": prompt - prompt / 2, "cache_read_input_tokens": prompt / 2, "output_tokens": 40});
            ("/v1/messages", anthropic)
        } else {
            ("/v1/chat/completions", usage)
        };
        let request = json!({"path": path, "key": key, "json": body});
        let status = if turn % 29 == 0 { 500 } else { 200 };
        let answer = json!({"status": status, "json": {"usage": usage}});
        (serde_json::from_value(request).unwrap(), serde_json::from_value(answer).unwrap(), at)
    })
}

/// The events that the core writes under a policy.
fn log(policy: &Value) -> Vec<Value> {
    let mut core = Core::new(policy).unwrap();
    let events = requests().map(|(request, answer, at)| core.run(&request, &answer, at).event);
    events.collect()
}

fn write(name: &str, text: &str) -> PathBuf {
    let name = format!("simulate-{}-{name}", std::process::id());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).unwrap();
    path
}

fn simulate(name: &str, events: &[Value], policy: &Value) -> Value {
    let lines: Vec<_> = events.iter().map(Value::to_string).collect();
    let lines = lines.join("\n");
    let (events, policy) = (
        write(&format!("{name}.jsonl"), &lines),
        write(&format!("{name}.json"), &policy.to_string()),
    );
    let output = Command::new(env!("CARGO_BIN_EXE_cohort"))
        .args(["simulate", "--format", "json", "--config"])
        .arg(policy)
        .arg("--events")
        .arg(events)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Requests, refusals, tokens and millionths of a dollar, as the events have them.
fn sums(events: &[Value]) -> (u64, u64, u64, u64) {
    let refused = events
        .iter()
        .filter(|event| event["result"] == "blocked")
        .count() as u64;
    let tokens = events
        .iter()
        .map(|event| event["usage"]["total_tokens"].as_u64().unwrap())
        .sum();
    let cost = events
        .iter()
        .map(|event| (event["cost_usd"].as_f64().unwrap() * 1e6).round() as u64)
        .sum();
    (events.len() as u64, refused, tokens, cost)
}

fn side(side: &Value) -> (u64, u64, u64, u64) {
    let of = |name: &str| side[name].as_u64().unwrap();
    let cost = (side["cost_usd"].as_f64().unwrap() * 1e6).round() as u64;
    (of("requests"), of("refused"), of("total_tokens"), cost)
}

fn refusals(events: &[Value], reason: &str) -> u64 {
    events
        .iter()
        .filter(|event| event["reason"] == reason)
        .count() as u64
}

#[test]
fn a_log_replayed_under_its_own_policy_is_the_same() {
    let policy = policy(5, 10_000_000, &["mini", "large"]);
    let events = log(&policy);
    for reason in REASONS {
        assert!(
            refusals(&events, reason) > 5,
            "{reason}: nothing to compare"
        );
    }
    let said = simulate("same", &events, &policy);
    assert_eq!(side(&said["before"]), sums(&events));
    assert_eq!(said["changes"], json!([]));
    assert_eq!(said["before"], said["after"]);
}

/// `max_tokens` is in no log: requests reserve what others of their kind used, and which of them are refused at the very
/// edge of a limit on tokens differs. How much passes does not.
#[test]
fn limits_on_tokens_let_as_much_pass_as_they_do_in_the_core() {
    let policy = policy(1_000, 9_000, &["mini", "large"]);
    let events = log(&policy);
    assert!(refusals(&events, "rate_limit_exceeded") > 20);
    let said = simulate("tokens", &events, &policy);
    let tokens = |side: &Value| side["total_tokens"].as_u64().unwrap();
    let (before, after) = (tokens(&said["before"]), tokens(&said["after"]));
    assert!(
        before.abs_diff(after) * 50 < before,
        "{before} {after} {said:#}"
    );
}

#[test]
fn what_would_be_different_is_what_the_core_does_differently() {
    let loose = policy(1_000, 10_000_000, &["*"]);
    let tight = policy(3, 10_000_000, &["mini", "large"]);
    let (before, after) = (log(&loose), log(&tight));
    let said = simulate("different", &before, &tight);
    assert_eq!(side(&said["before"]), sums(&before));
    assert_eq!(side(&said["after"]), sums(&after), "{said:#}");
    for reason in [
        "model_not_allowed",
        "rate_limit_exceeded",
        "budget_exceeded",
    ] {
        let mut reasons = said["reasons"].as_array().unwrap().iter();
        let found = reasons.find(|row| row["reason"] == reason).unwrap();
        assert_eq!(found["before"], refusals(&before, reason), "{reason}");
        assert_eq!(found["after"], refusals(&after, reason), "{reason}");
    }
}
