//! `content_filter` on answers, without an Envoy: what waits, what is stopped, what events say, what was used.

use super::{UNJUDGED, content, core_of, on_answers, stream, support, verdict};
use serde_json::{Value, json};
use support::core::Core;
use support::scenario::{Answer, Outcome, Request};

fn core(policies: &Value) -> Core {
    core_of(&on_answers(policies))
}

fn chat(stream: bool) -> Request {
    let body =
        json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hello"}]});
    serde_json::from_value(json!({"key": "key-of-a", "path": "/v1/chat/completions", "json": body}))
        .unwrap()
}

fn whole(text: &str) -> Answer {
    let body = json!({
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
    });
    serde_json::from_value(json!({"json": body})).unwrap()
}

fn streamed(pieces: &[&str]) -> Answer {
    typed("text/event-stream", &stream(pieces))
}

fn typed(content_type: &str, body: &str) -> Answer {
    serde_json::from_value(json!({"headers": {"content-type": content_type}, "body": body}))
        .unwrap()
}

/// The same answer whole and as a stream, in pieces of a few bytes too.
fn each_way(core: &mut Core, text: &str, check: impl Fn(&mut Core, &Outcome, bool)) {
    for chunk in [usize::MAX, 11] {
        core.chunk = chunk;
        let outcome = core.run(&chat(false), &whole(text), 0);
        check(core, &outcome, false);
        let (head, tail) = text.split_at(text.len() / 2);
        let outcome = core.run(&chat(true), &streamed(&[head, tail]), 0);
        check(core, &outcome, true);
    }
}

fn code(outcome: &Outcome) -> Value {
    let body: Value = serde_json::from_slice(&outcome.body).unwrap();
    body["error"]["code"].clone()
}

/// What it cost, whatever became of it.
fn used(outcome: &Outcome) -> (&Value, &Value) {
    (
        &outcome.event["usage"]["total_tokens"],
        &outcome.event["estimated"],
    )
}

#[test]
fn block_waits_for_the_verdict_and_stops_what_is_found() {
    let mut core = core(&json!([content("block", &json!({"categories": ["hate"]}))]));
    each_way(&mut core, "a nice answer", |core, passed, streams| {
        assert_eq!(passed.status, 200);
        assert_eq!(passed.event["policies"], json!([]));
        assert_eq!(passed.event["result"], "allowed");
        let text = String::from_utf8_lossy(&passed.body);
        if streams {
            assert_eq!(text, stream(&["a nice", " answer"]));
        } else {
            assert!(text.contains("a nice answer"));
        }
        assert_eq!(used(passed), (&json!(12), &json!(false)));
        let asked = core.moderation.asked.pop().unwrap();
        assert_eq!(
            asked,
            ("moderation".to_owned(), json!({"input": "a nice answer"}))
        );
    });
    each_way(&mut core, "an awful answer", |_, blocked, _| {
        assert_eq!(
            (blocked.status, code(blocked)),
            (400, json!("content_blocked"))
        );
        let body: Value = serde_json::from_slice(&blocked.body).unwrap();
        assert_eq!(body["error"]["policy"], "block-content");
        assert_eq!(body["error"]["entities"], json!(["hate"]));
        let hit = json!([{"name": "block-content", "action": "block", "on": "answer", "entities": ["hate"]}]);
        assert_eq!(blocked.event["policies"], hit);
        assert_eq!(blocked.event["result"], "blocked");
        assert_eq!(blocked.event["reason"], "content_blocked");
        assert_eq!(blocked.event["status"], 400);
        assert_eq!(used(blocked), (&json!(12), &json!(false)), "it was used");
    });
}

/// Where the header cannot be held it has gone out when the verdict comes.
#[test]
fn without_header_hold_a_stream_ends_with_an_error() {
    let mut document = on_answers(&json!([content("block", &json!({}))]));
    document["hold_request_headers"] = json!(false);
    let mut core = Core::new(&document).unwrap();
    core.moderation.answer = |_| Some(verdict(0.9).to_string().into_bytes());
    let outcome = core.run(&chat(true), &streamed(&["an awful", " one"]), 0);
    assert_eq!(outcome.status, 200);
    let text = String::from_utf8(outcome.body.clone()).unwrap();
    let error: Value = serde_json::from_str(text.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(error["error"]["code"], "content_blocked");
    assert!(!text.contains("awful"));
    assert_eq!(outcome.event["result"], "blocked");
    assert_eq!(used(&outcome), (&json!(12), &json!(false)));
}

#[test]
fn flag_holds_nothing_and_tells_behind_the_event() {
    let mut core = core(&json!([content("flag", &json!({"threshold": "high"}))]));
    each_way(&mut core, "an awful answer", |core, flagged, _| {
        assert_eq!(flagged.status, 200);
        assert_eq!(flagged.event["policies"], json!([]));
        assert_eq!(flagged.event["result"], "allowed");
        // It goes with the next event.
        let next = core.run(&chat(false), &whole("nice"), 9);
        let [line] = &next.late[..] else {
            panic!("{:?}", next.late)
        };
        let hit = json!([{"name": "flag-content", "action": "flag", "on": "answer", "entities": ["hate"]}]);
        assert_eq!(line["policies"], hit);
        assert_eq!(
            (&line["late"], &line["result"]),
            (&json!(true), &json!("flagged"))
        );
        assert_eq!(line["time"], flagged.event["time"]);
        assert_eq!(line["usage"], Value::Null);
        assert_eq!(
            core.run(&chat(false), &whole("nice"), 9).late,
            [] as [Value; 0]
        );
    });
}

#[test]
fn failure_mode_decides_what_is_not_judged() {
    for answer in UNJUDGED {
        for (mode, action, status) in [
            (None, "block", 200),
            (Some("allow"), "redact", 200),
            (Some("deny"), "block", 503),
            (Some("deny"), "redact", 503),
            (Some("deny"), "flag", 200),
        ] {
            let config = mode.map_or_else(|| json!({}), |mode| json!({"failure_mode": mode}));
            let mut core = core(&json!([content(action, &config)]));
            core.moderation.answer = answer;
            each_way(&mut core, "an awful answer", |core, outcome, _| {
                assert_eq!(outcome.status, status, "{mode:?} {action}");
                assert_eq!(used(outcome), (&json!(12), &json!(false)));
                if action == "flag" {
                    let next = core.run(&chat(false), &whole("nice"), 9);
                    assert_eq!(next.late[0]["policies"][0]["unevaluated"], true);
                    assert_eq!(next.late[0]["result"], "allowed");
                    return;
                }
                let hit = &outcome.event["policies"][0];
                assert_eq!(
                    (&hit["unevaluated"], &hit["on"]),
                    (&json!(true), &json!("answer"))
                );
                if status == 503 {
                    assert_eq!(code(outcome), "content_filter_unavailable");
                    assert_eq!(outcome.event["reason"], "content_filter_unavailable");
                    assert_eq!(outcome.event["result"], "error");
                } else {
                    assert_eq!(outcome.event["result"], "allowed");
                }
            });
        }
    }
}

#[test]
fn shadow_mode_holds_nothing_and_stops_nothing() {
    let mut document = on_answers(&json!([content("block", &json!({"failure_mode": "deny"}))]));
    document["mode"] = json!("shadow");
    let mut core = Core::new(&document).unwrap();
    core.moderation.answer = |_| Some(verdict(0.9).to_string().into_bytes());
    each_way(&mut core, "an awful answer", |core, outcome, _| {
        assert_eq!(outcome.status, 200);
        let next = core.run(&chat(false), &whole(""), 9);
        let hit = json!([{"name": "block-content", "action": "block", "on": "answer", "mode": "shadow", "entities": ["hate"]}]);
        assert_eq!(next.late[0]["policies"], hit);
    });
}

/// `policies` ask twice: about the prompt before it goes, about the answer before that does.
#[test]
fn both_sides_are_asked_about() {
    let mut document = on_answers(&json!([]));
    document["policies"] = json!([content("block", &json!({}))]);
    let mut core = Core::new(&document).unwrap();
    core.moderation.answer = |_| Some(verdict(0.0).to_string().into_bytes());
    assert_eq!(
        core.run(&chat(true), &streamed(&["good", " day"]), 0)
            .status,
        200
    );
    let asked: Vec<_> = core
        .moderation
        .asked
        .iter()
        .map(|(_, asked)| &asked["input"])
        .collect();
    assert_eq!(asked, [&json!("hello\nuser"), &json!("good day")]);
}

#[test]
fn what_another_policy_stops_is_not_asked_about_and_what_it_takes_out_is_not_sent() {
    let words = json!({"name": "words", "type": "keyword_filter", "config": {"words": ["secret"]}});
    let mail = json!({"name": "mail", "type": "pii_detector", "action": "redact", "config": {"entities": ["email"]}});
    for action in ["block", "flag"] {
        let mut core = core(&json!([words, mail, content(action, &json!({}))]));
        each_way(
            &mut core,
            "a secret of a@example.com",
            |core, outcome, streams| {
                // Of what was held for a verdict nothing has gone out.
                let header = !streams || action == "block";
                assert_eq!(outcome.status, if header { 400 } else { 200 });
                assert_eq!(outcome.event["policies"][0]["name"], "words");
                assert_eq!(outcome.event["result"], "blocked");
                assert_eq!(core.moderation.asked, []);
            },
        );
        each_way(
            &mut core,
            "mail a@example.com please",
            |core, outcome, _| {
                assert_eq!(outcome.status, 200);
                let text = String::from_utf8_lossy(&outcome.body).into_owned();
                assert!(
                    !text.contains("example.com") && text.contains("[REDACTED_EMAIL]"),
                    "{text}"
                );
                let (_, asked) = core.moderation.asked.pop().unwrap();
                assert_eq!(asked["input"], "mail [REDACTED_EMAIL] please");
            },
        );
    }
}

/// What is too long to be held is not judged; `deny` then lets nothing of it out.
#[test]
fn a_long_answer_is_not_held_for_ever() {
    let long = ["word "; 400];
    for (mode, status) in [("allow", 200), ("deny", 502)] {
        let mut document = on_answers(&json!([content("block", &json!({"failure_mode": mode}))]));
        document["max_response_bytes"] = json!(4096);
        let mut core = Core::new(&document).unwrap();
        core.chunk = 500;
        for (request, answer) in [
            (chat(true), streamed(&long)),
            (chat(false), whole(&long.concat().repeat(4))),
        ] {
            let outcome = core.run(&request, &answer, 0);
            assert_eq!(outcome.status, status, "{mode}");
            assert_eq!(core.moderation.asked, []);
            assert_eq!(outcome.event["policies"][0]["unevaluated"], true);
            if status == 200 {
                assert_eq!(outcome.body, answer.chunks().concat());
                assert_eq!(used(&outcome), (&json!(12), &json!(false)));
            } else {
                assert_eq!(code(&outcome), "response_too_large");
                assert!(outcome.event["usage"]["total_tokens"].as_u64().unwrap() > 0);
            }
        }
    }
    // More text than is sent to anybody.
    let mut core = core(&json!([content("block", &json!({"failure_mode": "deny"}))]));
    each_way(&mut core, &"x".repeat(131_073), |core, outcome, _| {
        assert_eq!(outcome.status, 503);
        assert_eq!(core.moderation.asked, []);
    });
}

#[test]
fn all_that_is_said_is_sent_once_and_nothing_else() {
    let said = "the very same words, long enough to be told from other ones, are said again";
    let responses = format!(
        "data: {}\n\ndata: {}\n\ndata: {}\n\n",
        json!({"type": "response.output_text.delta", "item_id": "i", "output_index": 0, "content_index": 0, "delta": said}),
        json!({"type": "response.output_text.done", "item_id": "i", "output_index": 0, "content_index": 0, "text": said}),
        json!({"type": "response.completed", "response": {"id": "r", "instructions": "x", "output": [{"type": "message", "content": [{"type": "output_text", "text": said}]}]}}),
    );
    let two = [0, 1, 0, 1].map(|index| {
        let piece = ["left ", "right "][index];
        format!(
            "data: {}\n\n",
            json!({"choices": [{"index": index, "delta": {"content": piece}}]})
        )
    });
    let ollama = "{\"message\":{\"role\":\"assistant\",\"content\":\"one \"},\"done\":false}\n{\"message\":{\"content\":\"two\"},\"done\":false}\n{\"done\":true,\"total_duration\":12345,\"eval_count\":3}\n";
    let cases = [
        ("text/event-stream", responses, "completed\n", said.to_owned()),
        ("text/event-stream", two.concat(), "", "left left \nright right ".to_owned()),
        ("application/x-ndjson", ollama.to_owned(), "", "one two".to_owned()),
        ("text/plain", "as it is".to_owned(), "", "as it is".to_owned()),
        (
            "application/json",
            json!({"choices": [{"message": {"role": "assistant", "content": "hi", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}]}, "logprobs": {"content": [{"token": "hi"}]}}], "usage": {"total_tokens": 2}}).to_string(),
            "",
            "hi\n{\"a\":1}\nf".to_owned(),
        ),
    ];
    for (content_type, body, _, text) in &cases {
        for chunk in [usize::MAX, 7] {
            let mut core = core(&json!([content("block", &json!({"failure_mode": "deny"}))]));
            core.chunk = chunk;
            let outcome = core.run(&chat(true), &typed(content_type, body), 0);
            assert_eq!(outcome.status, 200, "{body}");
            let (_, asked) = core.moderation.asked.pop().unwrap();
            assert_eq!(asked, json!({"input": text}), "{body}");
            assert_eq!(core.moderation.asked, []);
        }
    }
    // No text, no question; nor about sound, errors, and answers without a body.
    let quiet: [(u16, &str, &str); 4] = [
        (
            200,
            "application/json",
            "{\"object\":\"list\",\"usage\":{\"total_tokens\":2}}",
        ),
        (200, "audio/mpeg", "awful"),
        (
            500,
            "application/json",
            "{\"error\":{\"message\":\"awful\"}}",
        ),
        (200, "application/json", ""),
    ];
    for (status, content_type, body) in quiet {
        let mut core = core(&json!([content("block", &json!({"failure_mode": "deny"}))]));
        let mut answer = typed(content_type, body);
        answer.status = status;
        let outcome = core.run(&chat(false), &answer, 0);
        assert_eq!(
            (outcome.status, &core.moderation.asked[..]),
            (status, &[][..]),
            "{content_type} {body}"
        );
    }
}

/// What comes compressed cannot be judged.
#[test]
fn what_cannot_be_read_is_not_judged() {
    for (mode, action, status) in [
        ("allow", "block", 200),
        ("deny", "block", 503),
        ("deny", "flag", 200),
    ] {
        let mut core = core(&json!([content(action, &json!({"failure_mode": mode}))]));
        let zipped = json!({"headers": {"content-type": "application/json", "content-encoding": "gzip"}, "body": "\u{1f}awful"});
        let outcome = core.run(&chat(false), &serde_json::from_value(zipped).unwrap(), 0);
        assert_eq!(outcome.status, status, "{mode} {action}");
        assert_eq!(outcome.event["policies"][0]["unevaluated"], true);
        let outcome = core.run(&chat(false), &typed("application/json", "{\"choices\":"), 0);
        assert_eq!(outcome.status, status, "{mode} {action}");
        assert_eq!(core.moderation.asked, []);
    }
}

/// A filter with nobody to ask says so, also of an answer.
#[test]
fn nobody_to_ask_is_told() {
    let filter = json!([{"name": "p", "type": "content_filter"}]);
    let mut core = Core::new(&on_answers(&filter)).unwrap();
    let outcome = core.run(&chat(true), &streamed(&["hello"]), 0);
    assert_eq!(outcome.status, 200);
    let hit = json!([{"name": "p", "action": "block", "on": "answer", "unevaluated": true}]);
    assert_eq!(outcome.event["policies"], hit);
    assert_eq!(outcome.event["result"], "allowed");
}
