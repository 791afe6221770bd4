//! `content_filter` on answers, in a real Envoy: beside an endpoint that is good, slow, down and odd.

use super::in_envoy::{FAILURES, TIMEOUT, World, moderate, soon, unheld};
use super::{content, on_answers, stream, support};
use serde_json::{Value, json};
use std::time::Duration;
use support::client::{Request, Response};
use support::envoy::{Gateway, Running};
use support::upstream::{Answer, Gate, Seen, Upstream, nobody};

/// A request for an answer that says `text`, whole or as a stream.
fn say(text: &str, stream: bool) -> Request {
    let body =
        json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": text}]});
    Request::post("/v1/chat/completions")
        .bearer("key-of-a")
        .json(&body)
}

/// Says what it is told to; a stream in two events and many small pieces.
fn echo(seen: &Seen) -> Answer {
    let request = seen.json();
    let text = request["messages"][0]["content"].as_str().unwrap();
    if request["stream"] == true {
        let (head, tail) = text.split_at(text.len() / 2);
        return Answer::sse(stream(&[head, tail])).split(97, Duration::from_millis(1));
    }
    Answer::json(&json!({
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
    }))
}

/// What the answer says, put together.
fn said(answer: &Response) -> String {
    let text = answer.text();
    if !text.starts_with("data: ") {
        return answer.json()["choices"][0]["message"]["content"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
    }
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events = data.filter_map(|data| serde_json::from_str::<Value>(data).ok());
    events
        .filter_map(|event| Some(event["choices"][0]["delta"]["content"].as_str()?.to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn block_waits_for_the_verdict_on_an_answer() {
    let config = json!({"categories": ["hate"], "threshold": "medium", "timeout": TIMEOUT});
    let document = on_answers(&json!([content("block", &config)]));
    let Some(world) = World::answering(document, echo).await else {
        return;
    };
    let gateway = &world.gateway;
    // Longer than what Envoy buffers of an answer.
    let long = "a nice word \u{e9} ".repeat(7_000);
    for streams in [false, true] {
        for text in ["nice to meet you", &long] {
            let answer = gateway.send(say(text, streams)).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert!(said(&answer) == text && answer.complete, "{streams}");
            assert_eq!(world.moderation.last().json(), json!({"input": text}));
        }
        let asked = world.moderation.count();
        let answer = gateway.send(say("an awful thing", streams)).await;
        assert_eq!((answer.status, &*answer.code()), (400, "content_blocked"));
        assert_eq!(answer.json()["error"]["entities"], json!(["hate"]));
        assert!(!answer.text().contains("awful"));
        assert_eq!(world.moderation.count(), asked + 1);
    }
    let events = gateway.events(6).await;
    for (event, blocked) in events.iter().zip([false, false, true].into_iter().cycle()) {
        assert_eq!(event["usage"]["total_tokens"], 12, "{event}");
        assert_eq!(event["result"] == "blocked", blocked, "{event}");
    }
    gateway.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failure_mode_holds_for_whatever_is_no_verdict() {
    for mode in ["allow", "deny"] {
        let config = json!({"failure_mode": mode, "timeout": "300ms"});
        let document = on_answers(&json!([content("block", &config)]));
        let Some(world) = World::answering(document, echo).await else {
            return;
        };
        let mut sent = 0;
        for failure in FAILURES {
            for streams in [false, true] {
                sent += 1;
                let answer = soon(&world.gateway, say(failure, streams)).await;
                if mode == "allow" {
                    assert_eq!((answer.status, &*said(&answer)), (200, failure));
                } else {
                    assert_eq!(
                        (answer.status, &*answer.code()),
                        (503, "content_filter_unavailable")
                    );
                    assert_eq!(answer.header("retry-after"), Some("1"));
                    assert_eq!(said(&answer), "", "nothing went out");
                }
            }
        }
        for event in world.gateway.events(sent).await {
            assert_eq!(event["policies"][0]["unevaluated"], true, "{event}");
            assert_eq!(event["policies"][0]["on"], "answer");
            assert_eq!(event["usage"]["total_tokens"], 12, "it was used: {event}");
        }
        assert_eq!(soon(&world.gateway, say("nice", true)).await.status, 200);
        assert_eq!(soon(&world.gateway, say("awful", true)).await.status, 400);
        world.gateway.assert_healthy().await;
    }
}

/// Nobody listens; Envoy has no such cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_not_there_holds_no_answer() {
    let upstream = Upstream::start(echo).await;
    let (_socket, down) = nobody();
    for (mode, status) in [("allow", 200), ("deny", 503)] {
        for cluster in ["down", "unknown"] {
            let filter = |action: &str| {
                let config = json!({"cluster": cluster, "failure_mode": mode, "timeout": "20s"});
                json!({"name": action, "type": "content_filter", "action": action, "config": config})
            };
            let mut aside = filter("flag");
            aside["config"] = json!({"cluster": "unknown"});
            let document = on_answers(&json!([filter("block"), aside]));
            let gateway = Gateway::new(document)
                .cluster("openai", upstream.address())
                .cluster("down", down);
            let Some(gateway) = gateway.workers(1).start().await else {
                return;
            };
            for streams in [false, true] {
                let answer = soon(&gateway, say("nice", streams)).await;
                assert_eq!(answer.status, status, "{cluster}: {}", answer.text());
            }
            let lines = gateway.events(2).await;
            assert_eq!(lines[0]["policies"][0]["unevaluated"], true);
            gateway.assert_healthy().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flag_holds_no_answer_and_tells_behind_it() {
    let config = json!({"categories": ["hate"], "timeout": "20s"});
    let document = on_answers(&json!([content("flag", &config)]));
    let Some(world) = World::answering(document, echo).await else {
        return;
    };
    let gateway = &world.gateway;
    for streams in [false, true] {
        let before = world.moderation.count();
        world.gate.close();
        // The endpoint says nothing until the client has all of its answer.
        let answer = soon(gateway, say("hang awful", streams)).await;
        assert_eq!((answer.status, &*said(&answer)), (200, "hang awful"));
        world.gate.open();
        while world.moderation.count() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let late = late_lines(gateway, 2).await;
    let hit =
        json!([{"name": "flag-content", "action": "flag", "on": "answer", "entities": ["hate"]}]);
    for line in &late {
        assert_eq!(line["policies"], hit);
        assert_eq!(line["result"], "flagged");
        assert_eq!(line["consumer_group"], "a");
    }
    // What of a stream came before its client went is asked about, too.
    let asked = world.moderation.count();
    let request = say(&format!("nice {}", "x".repeat(3_000)), true);
    request.leave_at(gateway.address(), b"nice").await.unwrap();
    for _ in 0..400 {
        if world.moderation.count() > asked {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let question = world.moderation.last().json();
    assert!(question["input"].as_str().unwrap().starts_with("nice x"));
    gateway.assert_healthy().await;
}

/// Sends requests until so many late lines are there.
async fn late_lines(gateway: &Running, count: usize) -> Vec<Value> {
    for sent in 3..200 {
        assert_eq!(gateway.send(say("nice", false)).await.status, 200);
        let lines = gateway.events(sent).await;
        let late: Vec<_> = lines
            .into_iter()
            .filter(|line| line["late"] == true)
            .collect();
        if late.len() >= count {
            return late;
        }
    }
    panic!("they never came");
}

/// The client goes while its answer is judged, and while it is held; what was used is charged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_a_held_answer_has_used_it() {
    let upstream_gate = Gate::default();
    let gate = upstream_gate.clone();
    let answer = move |seen: &Seen| {
        let answer = echo(seen);
        if seen.json()["messages"][0]["content"] == "stall" {
            let body = stream(&["some text", " and more"]);
            return Answer::sse(&body.as_bytes()[..300]).gate(&gate);
        }
        answer
    };
    let document = on_answers(&json!([content("block", &json!({"timeout": "20s"}))]));
    let Some(world) = World::answering(document, answer).await else {
        return;
    };
    let address = world.gateway.address();
    for streams in [false, true] {
        world.gate.close();
        let before = world.moderation.count();
        let leave = say("hang", streams);
        let leave = leave.leave_when(address, async {
            while world.moderation.count() == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        leave.await.unwrap();
    }
    let request = say("stall", true);
    let leave = request.leave_when(address, async {
        while world.upstream.count() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    });
    leave.await.unwrap();
    let events = world.gateway.events(3).await;
    world.gate.open();
    upstream_gate.open();
    for event in &events[..2] {
        assert_eq!(event["usage"]["total_tokens"], 12, "{event}");
    }
    assert!(
        events[2]["usage"]["completion_tokens"].as_u64().unwrap() > 0,
        "{}",
        events[2]
    );
    assert_eq!(world.gateway.send(say("nice", true)).await.status, 200);
    world.gateway.assert_healthy().await;
}

/// Where the header cannot be held, the answer's body waits all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_header_hold_an_answer_waits_as_well() {
    let upstream = Upstream::start(echo).await;
    let moderation = Upstream::start(|seen| moderate(seen, &Gate::default())).await;
    let document = on_answers(&json!([content("block", &json!({}))]));
    let Some(gateway) = unheld(document, &upstream, &moderation).await else {
        return;
    };
    for streams in [false, true] {
        let answer = soon(&gateway, say("nice one", streams)).await;
        assert_eq!((answer.status, &*said(&answer)), (200, "nice one"));
        let answer = soon(&gateway, say("awful one", streams)).await;
        assert_eq!(answer.status, 200, "it has gone out");
        let text = answer.text();
        assert!(
            text.contains("content_blocked") && !text.contains("awful"),
            "{text}"
        );
        assert_eq!(text.starts_with("data: {\"error\""), streams, "{text}");
    }
    for event in gateway.events(4).await {
        assert_eq!(event["usage"]["total_tokens"], 12, "{event}");
    }
    gateway.assert_healthy().await;
}

/// What is held has a bound, and Envoy's own buffers are none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_held_up_to_the_bound() {
    for (bound, mode, status) in [
        (4_000_000, "deny", 200),
        (200_000, "allow", 200),
        (200_000, "deny", 502),
    ] {
        let long = move |_: &Seen| {
            let pieces = vec!["nice "; 12_000];
            Answer::sse(stream(&pieces)).split(60_000, Duration::from_millis(1))
        };
        let mut document = on_answers(&json!([content("block", &json!({"failure_mode": mode}))]));
        document["max_response_bytes"] = json!(bound);
        let Some(world) = World::answering(document, long).await else {
            return;
        };
        let answer = soon(&world.gateway, say("tell", true)).await;
        assert_eq!(answer.status, status, "{bound} {mode}");
        let event = world.gateway.events(1).await.remove(0);
        let judged = usize::from(bound > 1_000_000);
        assert_eq!(world.moderation.count(), judged);
        if status == 200 {
            assert!(said(&answer) == "nice ".repeat(12_000));
            assert_eq!(event["usage"]["total_tokens"], 12);
        } else {
            assert_eq!(answer.code(), "response_too_large");
            assert!(event["usage"]["total_tokens"].as_u64().unwrap() > 0);
        }
        world.gateway.assert_healthy().await;
    }
}
