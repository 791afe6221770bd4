use super::difference::Difference;
use super::keys::Keys;
use super::past::{Past, Usage};
use super::replay::Replay;
use super::request::{Message, answer};
use super::show;
use super::store::Store;
use crate::config::Config;
use crate::exchange::{Exchange, Inbound, Step, Worker};
use crate::headers::Headers;
use crate::llm::endpoint::{Body, ENDPOINTS, Endpoint};
use crate::llm::usage::UsageFormat;
use crate::policy::Policy;
use crate::time::Timestamp;
use serde_json::{Value, json};
use std::fs;
use std::rc::Rc;

const OPEN: &str = "
version: '1'
consumer_groups:
  - {name: a, api_key: key-of-a, allowed_endpoints: [/], rate_limits: {tokens_per_day: 1000M}}
";

/// 2026-01-01T00:00:00Z
const START: Timestamp = Timestamp(1_767_225_600_000);

/// One request to an endpoint, as it would be replayed; the event that comes of it.
fn event(row: &'static Endpoint, model: &str, usage: Usage) -> Value {
    let config = Config::from_yaml(OPEN).unwrap();
    let policy = Rc::new(Policy::compile(config, |_| None).unwrap());
    let mut store = Store::default();
    let mut exchange = Exchange::new(policy, Rc::<Worker>::default());
    let message = Message::new(row, "", &[model.to_owned()], usage.prompt, Some("key-of-a"));
    let fields: Vec<_> = message
        .fields
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    let inbound = Inbound {
        headers: Headers::new(&fields),
        end: message.body.is_empty(),
        property: &|_| Vec::new(),
    };
    let now = START;
    let (_, mut step) = exchange.request_headers(inbound, now, &mut store);
    if matches!(step, Step::NeedBody) {
        step = exchange.request_body(&message.body, true, now, &mut store);
    }
    assert!(
        matches!(step, Step::Continue(_)),
        "{} {}: {step:?}",
        row.method,
        row.path
    );
    let fields = [
        (&b":status"[..], &b"200"[..]),
        (b"content-type", b"application/json"),
    ];
    exchange.response_headers(Headers::new(&fields), false, &|| true, now);
    if exchange.reads_response() {
        exchange.response_body(&answer(row.usage, usage), true, now);
    }
    serde_json::from_slice(&exchange.finish(&|| true, now, &mut store).event).unwrap()
}

#[test]
fn every_endpoint_is_asked_as_it_was_and_answers_what_it_used() {
    let usage = Usage {
        prompt: 40,
        completion: 9,
        total: 49,
        cached: 8,
    };
    for row in ENDPOINTS {
        let event = event(row, "m-1", usage);
        let of = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        assert_eq!(of("endpoint"), row.name, "{} {}", row.method, row.path);
        if row.needs_model() {
            assert_eq!(of("model"), "m-1", "{} {}", row.method, row.path);
        }
        let charged = row.charged() && row.usage != UsageFormat::None && row.body != Body::None;
        if charged {
            let found = &event["usage"];
            let cached = if matches!(row.usage, UsageFormat::Cohere | UsageFormat::Ollama) {
                0
            } else {
                8
            };
            let expected = json!({"prompt_tokens": 40, "completion_tokens": 9, "total_tokens": 49,
                "cached_tokens": cached, "reasoning_tokens": 0});
            assert_eq!(*found, expected, "{} {}", row.method, row.path);
            assert_eq!(event["estimated"], false);
        }
    }
}

/// Where an answer does not say what was used, the prompt's estimate is charged.
#[test]
fn prompts_are_as_large_as_they_were() {
    let mut rows = ENDPOINTS.iter();
    let silent = rows.find(|row| row.name == "batches" && row.usage == UsageFormat::None);
    for tokens in [0, 1, 999, 1_000, 36_789] {
        let usage = Usage {
            prompt: tokens,
            ..Usage::default()
        };
        let event = event(silent.unwrap(), "m", usage);
        assert_eq!(event["usage"]["prompt_tokens"], tokens);
        assert_eq!(event["estimated"], true);
    }
}

#[test]
fn models_are_named_where_they_were() {
    let chat = ENDPOINTS.iter().find(|row| row.name == "chat").unwrap();
    let several = ["a".to_owned(), "b/c".to_owned(), "d".to_owned()];
    let message = Message::new(chat, "/openai", &several, 0, None);
    assert!(
        message
            .fields
            .contains(&(":path".to_owned(), "/openai/v1/chat/completions".to_owned()))
    );
    let body: Value = serde_json::from_slice(&message.body).unwrap();
    assert_eq!(
        body,
        json!({"model": "a", "models": ["b/c", "d"], "prompt": [""]})
    );
    for (name, model) in [
        ("converse", "arn:aws:x/us.claude:0"),
        ("generate_content", "gemini 2"),
    ] {
        let row = ENDPOINTS.iter().find(|row| row.name == name).unwrap();
        assert_eq!(
            event(row, model, Usage::default())["model"],
            model,
            "{name}"
        );
    }
}

/// What is said of a log under a policy.
fn simulated(name: &str, log: &[Value], policy: &str, by_name: bool) -> Value {
    let path = std::env::temp_dir().join(format!("cohort-simulate-{}-{name}", std::process::id()));
    let log: Vec<_> = log.iter().map(Value::to_string).collect();
    let log = log.join("\n");
    fs::write(&path, log).unwrap();
    let past = Past::read(std::slice::from_ref(&path), None).ok().unwrap();
    fs::remove_file(&path).unwrap();
    let keys = Keys::new(Config::from_yaml(policy).unwrap(), &past.requests, by_name);
    let mut replay = Replay::new(keys).ok().unwrap();
    let mut difference = Difference::default();
    for request in &past.requests {
        replay.start(request, &past, &mut difference);
    }
    replay.finish(&mut difference);
    let mut out = Vec::new();
    show::json(&past, &difference, &mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

fn past(second: u64, model: &str, result: &str, reason: Option<&str>) -> Value {
    let [prompt, completion, total] = if result == "blocked" {
        [0; 3]
    } else {
        [80, 20, 100]
    };
    let time = Timestamp(START.0.saturating_add(second.saturating_mul(1_000)));
    json!({
        "time": time.to_string(),
        "consumer_group": "a", "consumer": null, "key_id": "id-a", "provider": null, "endpoint": "chat",
        "model": model, "status": 200, "latency_ms": 1_500, "cost_usd": 0.5, "result": result, "reason": reason,
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, "cached_tokens": 0},
    })
}

fn policy(more: &str) -> String {
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    format!(
        "version: '1'\nconsumer_groups:\n  - {{name: a, api_keys: [{{id: id-a, sha256: {digest}}}], {more}}}\n"
    )
}

/// What is different, in words.
fn changes(document: &Value) -> Vec<String> {
    let changes = document["changes"].as_array().unwrap().iter();
    changes
        .map(|change| {
            let of = |name: &str| {
                change[name]["reason"]
                    .as_str()
                    .or_else(|| change[name]["result"].as_str())
            };
            let limit = change["limit"].as_str().unwrap_or("-");
            format!(
                "{} {} {} > {} {limit}",
                change["requests"],
                change["model"].as_str().unwrap(),
                of("before").unwrap(),
                of("after").unwrap(),
            )
        })
        .collect()
}

#[test]
fn limits_hold_at_the_times_of_the_log() {
    let log: Vec<_> = (0..10).map(|at| past(at, "m", "allowed", None)).collect();
    let say = |more: &str| changes(&simulated("limits", &log, &policy(more), false));
    assert_eq!(say(""), [""; 0]);
    assert_eq!(
        say("rate_limits: {requests_per_minute: 4}"),
        ["6 m allowed > rate_limit_exceeded requests_per_minute"]
    );
    let document = simulated(
        "first",
        &log,
        &policy("rate_limits: {requests_per_minute: 4}"),
        false,
    );
    let change = &document["changes"][0];
    assert_eq!(
        (&change["first"], &change["last"]),
        (
            &json!("2026-01-01T00:00:04.000Z"),
            &json!("2026-01-01T00:00:09.000Z")
        )
    );
    // A second later each has ended, but for one.
    assert_eq!(say("rate_limits: {concurrent_requests: 2}"), [""; 0]);
    assert_eq!(
        say("rate_limits: {concurrent_requests: 1}"),
        ["5 m allowed > concurrency_limit_exceeded concurrent_requests"]
    );
    // Those that were there twenty minutes later find a new window.
    let mut later = log.clone();
    later.extend((1_200..1_203).map(|at| past(at, "m", "allowed", None)));
    let document = simulated(
        "later",
        &later,
        &policy("rate_limits: {tokens_per_minute: 500}"),
        false,
    );
    assert_eq!(document["after"]["requests"], 13);
    assert_eq!(document["after"]["total_tokens"], 800, "five, and three");
}

#[test]
fn models_and_prices_are_those_of_the_other_policy() {
    let log = [
        past(0, "m", "allowed", None),
        past(1, "n", "allowed", None),
        past(2, "o", "blocked", Some("model_not_allowed")),
        past(3, "m", "blocked", Some("model_not_allowed")),
    ];
    let prices = "pricing: {m: {input_per_million: 10000, output_per_million: 5000}}";
    let document = simulated(
        "models",
        &log,
        &policy(&format!("allowed_models: [m], {prices}")),
        false,
    );
    assert_eq!(
        changes(&document),
        [
            "1 m model_not_allowed > allowed -",
            "1 n allowed > model_not_allowed -",
        ]
    );
    // The one that passes now uses what the other one did: 80 in, 20 out.
    let after = json!({"requests": 4, "passed": 2, "shadow": 0, "refused": 2, "failed": 0, "total_tokens": 200, "cost_usd": 1.8});
    assert_eq!(document["after"], after);
    assert_eq!(document["before"]["cost_usd"], 2);
    assert_eq!(
        document["reasons"],
        json!([{"reason": "model_not_allowed", "before": 2, "after": 2}])
    );
    let shadow = simulated(
        "shadow",
        &log,
        &policy("mode: shadow, allowed_models: [m]"),
        false,
    );
    assert_eq!(shadow["after"]["shadow"], 2);
    let budget = format!("budgets: [{{amount_usd: 1, per: day}}], {prices}");
    let document = simulated("budget", &log[..1], &policy(&budget), false);
    assert_eq!(changes(&document), [""; 0]);
    let unpriced = simulated("unpriced", &log[1..2], &policy(&budget), false);
    assert_eq!(changes(&unpriced), ["1 n allowed > model_unpriced -"]);
}

#[test]
fn what_cannot_be_judged_again_stays() {
    let mut log: Vec<_> = [
        "content_blocked",
        "invalid_body",
        "request_exceeds_limit",
        "invalid_api_key",
    ]
    .map(|reason| past(0, "m", "blocked", Some(reason)))
    .into();
    let mut failed = past(1, "m", "error", Some("upstream_error"));
    failed["status"] = json!(502);
    let mut gone = past(2, "m", "error", Some("no_response"));
    gone["status"] = json!(0);
    let mut missing = past(3, "m", "blocked", Some("missing_api_key"));
    missing["key_id"] = Value::Null;
    missing["consumer_group"] = Value::Null;
    log.extend([failed, gone, missing, json!({"time": "?"}), json!("-")]);
    let document = simulated("kept", &log, &policy(""), false);
    assert_eq!(changes(&document), [""; 0], "{document}");
    assert_eq!(document["kept"], 4);
    assert_eq!(document["after"]["failed"], 2);
    let open = format!("{}anonymous_group: a\n", policy(""));
    let document = simulated("anonymous", &log, &open, false);
    assert_eq!(changes(&document), ["1 m missing_api_key > allowed -"]);
}

/// An answer that a policy held back was paid for all the same.
#[test]
fn answers_that_did_not_get_through_count() {
    let mut blocked = past(0, "m", "allowed", None);
    blocked["result"] = json!("blocked");
    blocked["reason"] = json!("content_blocked");
    let mut cut = past(10, "m", "allowed", None);
    cut["result"] = json!("error");
    cut["reason"] = json!("response_too_large");
    cut["status"] = json!(502);
    let redacted = past(20, "m", "flagged", Some("content_redacted"));
    let log = [blocked, cut, redacted, past(60, "m", "allowed", None)];
    let document = simulated("answers", &log, &policy(""), false);
    assert_eq!(changes(&document), [""; 0]);
    assert_eq!(document["before"], with_cost(&document["after"], 2));
    assert_eq!(document["after"]["total_tokens"], 400);
    assert_eq!(document["kept"], 0);
    let limits = "rate_limits: {tokens_per_hour: 350}";
    let document = simulated("answered", &log, &policy(limits), false);
    assert_eq!(
        changes(&document),
        ["1 m allowed > rate_limit_exceeded tokens_per_hour"]
    );
}

/// The policy has no prices.
fn with_cost(side: &Value, cost: u64) -> Value {
    let mut side = side.clone();
    side["cost_usd"] = json!(cost);
    side
}

/// Whatever told the filter then; one of them is in two groups.
#[test]
fn who_asks_may_be_what_a_filter_before_has_said() {
    let mut event = past(0, "m", "allowed", None);
    event["key_id"] = json!("identity");
    event["consumer"] = json!("ann");
    event["consumer_group"] = json!("b");
    let policy = |identity: &str| {
        format!(
            "version: '1'\n{identity}\nconsumer_groups: [{{name: a}}, {{name: b, rate_limits: {{requests_per_day: 0}}}}]\nconsumers: [{{name: ann, groups: [a, b]}}]\n"
        )
    };
    let log = [event];
    for identity in [
        "identity: {consumer_header: x-user, group_header: x-team, trusted: true}",
        "identity: {metadata: {filter: envoy.filters.http.jwt_authn, consumer: [jwt, sub], group: [jwt, team]}}",
    ] {
        let document = simulated("identity", &log, &policy(identity), false);
        assert_eq!(
            changes(&document),
            ["1 m allowed > rate_limit_exceeded requests_per_day"]
        );
    }
    let without = simulated("identity", &log, &policy(""), false);
    assert_eq!(changes(&without), ["1 m allowed > invalid_api_key -"]);
}

#[test]
fn keys_are_known_by_their_ids_or_by_whose_they_are() {
    let mut old = past(0, "m", "allowed", None);
    old["key_id"] = json!("rotated");
    let mut consumer = past(1, "m", "allowed", None);
    consumer["key_id"] = json!("laptop");
    consumer["consumer"] = json!("ann");
    let mut lost = past(2, "m", "allowed", None);
    lost["key_id"] = json!("lost");
    lost["consumer_group"] = json!("gone");
    let log = [old, consumer, lost];
    let policy = format!(
        "{}consumers: [{{name: ann, groups: [a], rate_limits: {{requests_per_day: 0}}}}]\n",
        policy("")
    );
    let refused = simulated("keys", &log, &policy, false);
    assert_eq!(
        changes(&refused),
        [
            "2 m allowed > invalid_api_key -",
            "1 m allowed > invalid_api_key -"
        ],
        "those of `a`, and that of `gone`"
    );
    let by_name = simulated("names", &log, &policy, true);
    assert_eq!(
        changes(&by_name),
        [
            "1 m allowed > rate_limit_exceeded requests_per_day",
            "1 m allowed > invalid_api_key -",
        ]
    );
}
