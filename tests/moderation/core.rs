//! The decision, without an Envoy: who waits, who is refused, and what events say.

use super::{UNJUDGED, content, core_of, policy, support, verdict};
use serde_json::{Value, json};
use support::core::Core;
use support::scenario::{Answer, Outcome, Request};

fn core(policies: &Value) -> Core {
    core_of(&policy(policies))
}

fn request(path: &str, body: &Value) -> Request {
    serde_json::from_value(json!({"key": "key-of-a", "path": path, "json": body})).unwrap()
}

fn chat(text: &str) -> Request {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": text}]});
    request("/v1/chat/completions", &body)
}

fn send(core: &mut Core, text: &str) -> Outcome {
    core.run(&chat(text), &Answer::default(), 0)
}

fn code(outcome: &Outcome) -> Value {
    let body: Value = serde_json::from_slice(&outcome.body).unwrap();
    body["error"]["code"].clone()
}

#[test]
fn block_refuses_what_the_endpoint_finds() {
    // The objects' members come in the order of their names here.
    let mut core = core(&json!([content("block", &json!({"categories": ["hate"]}))]));
    let passed = send(&mut core, "nice");
    assert_eq!(passed.status, 200);
    assert_eq!(passed.event["policies"], json!([]));
    assert_eq!(passed.event["result"], "allowed");
    let (cluster, question) = core.moderation.asked.remove(0);
    assert_eq!(cluster, "moderation");
    assert_eq!(question, json!({"input": "nice\nuser"}));

    let refused = send(&mut core, "awful");
    assert_eq!(
        (refused.status, code(&refused)),
        (400, json!("content_blocked"))
    );
    let body: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(body["error"]["policy"], "block-content");
    assert_eq!(body["error"]["entities"], json!(["hate"]));
    assert!(refused.upstream.is_none());
    let hit = json!([{"name": "block-content", "action": "block", "entities": ["hate"]}]);
    assert_eq!(refused.event["policies"], hit);
    assert_eq!(refused.event["reason"], "content_blocked");
    // Only what passed is counted.
    let third = send(&mut core, "nice");
    let left = third
        .headers
        .iter()
        .find(|(name, _)| name == "ratelimit-remaining");
    assert_eq!(left.unwrap().1, "998");
}

#[test]
fn flag_tells_in_the_event_or_behind_it() {
    let mut core = core(&json!([content("flag", &json!({"threshold": "high"}))]));
    let hit = json!([{"name": "flag-content", "action": "flag", "entities": ["hate"]}]);
    let flagged = send(&mut core, "awful");
    assert_eq!(flagged.status, 200);
    assert_eq!(flagged.event["policies"], hit);
    assert_eq!(flagged.event["result"], "flagged");
    assert_eq!(flagged.event["reason"], "content_flagged");

    core.moderation.late = true;
    let late = core.run(&chat("awful"), &Answer::default(), 5_000);
    assert_eq!(late.status, 200);
    assert_eq!(late.event["policies"], json!([]));
    assert_eq!(late.event["result"], "allowed");
    // Nothing to say, no line.
    let next = send(&mut core, "nice");
    let [line] = &next.late[..] else {
        panic!("{:?}", next.late)
    };
    for same in [
        "time",
        "consumer_group",
        "consumer",
        "key_id",
        "endpoint",
        "model",
    ] {
        assert_eq!(line[same], late.event[same], "{same}");
    }
    assert_eq!(line["late"], true);
    assert_eq!(line["policies"], hit);
    assert_eq!(line["result"], "flagged");
    assert_eq!(line["reason"], "content_flagged");
    assert_eq!(line["usage"], Value::Null, "nothing in it is counted twice");
    assert_eq!(send(&mut core, "nice").late, [] as [Value; 0]);

    core.moderation.answer = |_| None;
    send(&mut core, "nice");
    let next = send(&mut core, "nice");
    let unevaluated = json!([{"name": "flag-content", "action": "flag", "unevaluated": true}]);
    assert_eq!(next.late[0]["policies"], unevaluated);
    assert_eq!(next.late[0]["result"], "allowed");
}

#[test]
fn failure_mode_decides_what_is_not_judged() {
    for answer in UNJUDGED {
        for (mode, action, status) in [
            (None, "block", 200),
            (Some("allow"), "block", 200),
            (Some("deny"), "block", 503),
            (Some("deny"), "redact", 503),
            (Some("allow"), "redact", 200),
            (Some("deny"), "flag", 200),
        ] {
            let config = mode.map_or_else(|| json!({}), |mode| json!({"failure_mode": mode}));
            let mut core = core(&json!([content(action, &config)]));
            core.moderation.answer = answer;
            let outcome = send(&mut core, "awful");
            assert_eq!(outcome.status, status, "{mode:?} {action}");
            let hit = &outcome.event["policies"][0];
            assert_eq!(hit["unevaluated"], true, "{mode:?} {action}");
            if status == 503 {
                assert_eq!(code(&outcome), "content_filter_unavailable");
                let retry = outcome
                    .headers
                    .iter()
                    .find(|(name, _)| name == "retry-after");
                assert_eq!(retry.unwrap().1, "1");
                assert_eq!(outcome.event["reason"], "content_filter_unavailable");
                assert_eq!(outcome.event["result"], "error");
            } else {
                assert_eq!(outcome.event["result"], "allowed");
            }
        }
    }
}

#[test]
fn shadow_mode_holds_nothing_and_refuses_nothing() {
    let mut policy = policy(&json!([content("block", &json!({"failure_mode": "deny"}))]));
    policy["mode"] = json!("shadow");
    let mut core = Core::new(&policy).unwrap();
    assert_eq!(send(&mut core, "awful").status, 200);
    core.moderation.answer = |_| Some(verdict(0.9).to_string().into_bytes());
    let outcome = send(&mut core, "awful");
    assert_eq!(outcome.status, 200);
    assert_eq!(outcome.event["result"], "flagged");
    assert_eq!(outcome.event["reason"], "content_blocked");
    assert_eq!(outcome.event["policies"][0]["mode"], "shadow");
}

#[test]
fn one_question_serves_all_policies_of_an_endpoint() {
    let mut other = content("block", &json!({"categories": ["hate"]}));
    other["name"] = json!("other");
    other["config"]["cluster"] = json!("elsewhere");
    let mut core = core(&json!([
        content("flag", &json!({"categories": ["violence"], "threshold": 0})),
        content("block", &json!({"categories": ["hate"]})),
        other,
    ]));
    let refused = send(&mut core, "awful");
    assert_eq!(refused.status, 400);
    let asked: Vec<&str> = core
        .moderation
        .asked
        .iter()
        .map(|(name, _)| &**name)
        .collect();
    assert_eq!(asked, ["elsewhere", "moderation"], "each once");
    let policies = refused.event["policies"].as_array().unwrap();
    let mut names: Vec<_> = policies
        .iter()
        .map(|hit| hit["name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["block-content", "flag-content", "other"]);
}

#[test]
fn what_is_refused_anyway_is_not_asked_about() {
    let words = json!({"name": "words", "type": "keyword_filter", "config": {"words": ["secret"]}});
    let mut document = policy(&json!([words, content("block", &json!({})), {
        "name": "aside", "type": "content_filter", "action": "flag", "config": {"cluster": "aside"},
    }]));
    document["consumer_groups"][0]["rate_limits"] = json!({"requests_per_minute": 1});
    let mut core = Core::new(&document).unwrap();
    assert_eq!(send(&mut core, "a secret").status, 400);
    assert_eq!(core.moderation.asked, []);
    // Limits come behind: what holds is asked first, what does not is not asked at all.
    assert_eq!(send(&mut core, "one").status, 200);
    assert_eq!(core.moderation.asked.len(), 2);
    assert_eq!(send(&mut core, "two").status, 429);
    assert_eq!(core.moderation.asked.len(), 3);
}

/// What the model is not told, the endpoint is not told either.
#[test]
fn what_is_redacted_is_not_sent() {
    let redact = json!({"name": "mail", "type": "pii_detector", "action": "redact", "config": {"entities": ["email"]}});
    let mut core = core(&json!([redact, content("block", &json!({}))]));
    let outcome = send(&mut core, "write to a@example.com");
    assert_eq!(outcome.status, 200);
    let label = "write to [REDACTED_EMAIL]";
    let asked = &core.moderation.asked[0].1["input"];
    assert_eq!(asked, &format!("{label}\nuser"));
    let sent: Value = serde_json::from_slice(&outcome.upstream.unwrap().body).unwrap();
    assert_eq!(sent["messages"][0]["content"], label);
}

#[test]
fn all_the_text_is_sent_and_nothing_else() {
    let picture = format!("data:image/png;base64,{}", "iVBORw0KGgo".repeat(40_000));
    let cases = [
        (
            "/v1/chat/completions",
            json!({"model": "m", "messages": [{"role": "user", "content": [
                {"type": "text", "text": "what is \"this\"?"},
                {"type": "image_url", "image_url": {"url": picture}},
                {"type": "text", "text": "\u{e9}\u{1f600}"},
            ]}]}),
            Some("what is \"this\"?\ntext\nimage_url\n\u{e9}\u{1f600}\ntext\nuser"),
        ),
        (
            "/v1/messages",
            json!({"model": "m", "max_tokens": 5, "system": "be nice", "messages": [{"role": "user", "content": "hi"}]}),
            Some("hi\nuser\nbe nice"),
        ),
        (
            "/v1/embeddings",
            json!({"model": "m", "input": ["one", "two"]}),
            Some("one\ntwo"),
        ),
        // Nobody here can read tokens.
        (
            "/v1/embeddings",
            json!({"model": "m", "input": [1, 2]}),
            None,
        ),
        (
            "/v1/embeddings",
            json!({"model": "m", "input": [[1], [2]]}),
            None,
        ),
        (
            "/v1/responses",
            json!({"model": "m", "input": [{"type": "computer_call", "action": {"type": "click", "x": 5}}]}),
            Some("click\n5\ncomputer_call"),
        ),
        (
            "/v1/embeddings",
            json!({"model": "m", "input": "x".repeat(131_073)}),
            None,
        ),
    ];
    for chunk in [usize::MAX, 7] {
        for (path, body, text) in &cases {
            let mut core = core(&json!([content("block", &json!({"failure_mode": "deny"}))]));
            core.chunk = chunk;
            let outcome = core.run(&request(path, body), &Answer::default(), 0);
            let asked: Vec<_> = core
                .moderation
                .asked
                .iter()
                .map(|(_, asked)| asked)
                .collect();
            if let Some(text) = text {
                assert_eq!(asked, [&json!({"input": text})]);
                assert_eq!(outcome.status, 200);
            } else {
                assert_eq!(asked, [] as [&Value; 0]);
                assert_eq!(outcome.status, 503);
                assert_eq!(outcome.event["policies"][0]["unevaluated"], true);
            }
        }
    }
    // No text, no question.
    let mut core = core(&json!([content("block", &json!({"failure_mode": "deny"}))]));
    let list: Request =
        serde_json::from_value(json!({"key": "key-of-a", "path": "/v1/models", "method": "GET"}))
            .unwrap();
    let answer: Answer =
        serde_json::from_value(json!({"json": {"object": "list", "data": []}})).unwrap();
    assert_eq!(core.run(&list, &answer, 0).status, 200);
    assert_eq!(core.moderation.asked, []);
}
