//! A sample of the places, in a real Envoy: what the upstream gets, what the client gets.

use super::support::client::Request;
use super::support::envoy::Gateway;
use super::support::upstream::{Answer, Seen, Upstream};
use super::{KINDS, Value, configuration, filled, json};
use std::time::Duration;

fn post(key: &str, path: &str, body: &Value) -> Request {
    Request::post(path).bearer(key).json(body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prompts_are_blocked_or_rewritten() {
    let upstream = Upstream::start(|_| Answer::json(&json!({"choices": []}))).await;
    let gateway =
        Gateway::new(configuration("input_policies")).cluster("openai", upstream.address());
    let Some(gateway) = gateway.start().await else {
        return;
    };
    // Every seventh place, each with another kind: all of them run in the core.
    for (at, (path, template)) in super::places::places().into_iter().enumerate().step_by(7) {
        let kind = KINDS[at % KINDS.len()];
        let [text, left] = kind.texts();
        let body = filled(&template, &text);
        let before = upstream.count();
        let answer = gateway.send(post(&kind.key("block"), path, &body)).await;
        assert_eq!(
            (answer.status, upstream.count()),
            (400, before),
            "{path} {template}"
        );
        let answer = gateway
            .send(post(&kind.key("redact"), path, &body).chunked(11))
            .await;
        assert_eq!(answer.status, 200, "{path} {template}: {}", answer.text());
        assert_eq!(upstream.last().json(), filled(&template, &left), "{path}");
    }
    gateway.assert_healthy().await;
}

/// The arguments of a tool in a stream, cut at every byte of the stream somewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_in_a_stream_stay_documents() {
    let kind = KINDS[0];
    let arguments = format!(
        "{{\"n\":4111111111111111,\"q\":\"a\\n{} \\\"b\\\"\"}}",
        kind.thing
    );
    let event = json!({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "@"}}]}}]});
    let pieces: Vec<String> = arguments.chars().map(String::from).collect();
    let events = pieces
        .iter()
        .map(|piece| format!("data: {}\n\n", filled(&event, piece)));
    let body = events.collect::<String>() + "data: [DONE]\n\n";
    let upstream = Upstream::start(move |seen: &Seen| {
        let size = seen.json()["max_tokens"].as_u64().unwrap();
        Answer::sse(body.clone()).split(usize::try_from(size).unwrap(), Duration::from_micros(200))
    })
    .await;
    let gateway =
        Gateway::new(configuration("output_policies")).cluster("openai", upstream.address());
    let Some(gateway) = gateway.start().await else {
        return;
    };
    for size in [50, 173, 4_096] {
        let request = json!({"model": "m", "stream": true, "max_tokens": size, "messages": []});
        let path = "/v1/chat/completions";
        let answer = gateway
            .send(post(&kind.key("redact"), path, &request))
            .await;
        let text = answer.text();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        let events = data.filter_map(|data| serde_json::from_str::<Value>(data).ok());
        let joined: String = events
            .map(|event| {
                event["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        let document: Value = serde_json::from_str(&joined).expect(&joined);
        assert_eq!(
            document,
            json!({"n": kind.label, "q": format!("a\n{} \"b\"", kind.label)})
        );
        assert!(text.ends_with("data: [DONE]\n\n"));
        let answer = gateway.send(post(&kind.key("block"), path, &request)).await;
        assert!(answer.text().contains("content_blocked") && !answer.text().contains("[DONE]"));
    }
    gateway.assert_healthy().await;
}
