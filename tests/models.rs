//! Lists of models, cut down to the group's own, and the endpoints beside them.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::io::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use support::client::{Request, Response};
use support::envoy::{Gateway, Running};
use support::upstream::{Answer, Seen, Upstream};

const POLICY: &str = "
version: '1'
max_response_bytes: 20k
providers:
  targets:
    - {id: openai, provider: openai, secret_key_ref: {env: OPENAI_API_KEY}}
    - {id: anthropic, provider: anthropic, secret_key_ref: {env: ANTHROPIC_API_KEY}}
consumer_groups:
  - name: marketing
    api_key: marketing-key
    allowed_models: [gpt-4o-mini, claude-haiku-*]
    denied_models: [claude-haiku-3]
  - name: engineering
    api_key: engineering-key
";
const ANTHROPIC: &str = "2023-06-01";

fn openai() -> Value {
    let models = ["gpt-4o", "gpt-4o-mini", "o3"].map(|id| json!({"id": id, "object": "model"}));
    json!({"object": "list", "data": models, "extra": "kept"})
}

fn anthropic() -> Value {
    let models = ["claude-opus-5", "claude-haiku-5", "claude-haiku-3"]
        .map(|id| json!({"type": "model", "id": id}));
    json!({"data": models, "has_more": false, "first_id": "claude-opus-5", "last_id": "claude-haiku-3"})
}

fn gzip(list: &Value) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(list.to_string().as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn respond(seen: &Seen) -> Answer {
    match seen.header("x-mode").unwrap_or_default() {
        b"unreadable" => Answer::new(200).bytes("<html>gpt-4o</html>").sized(),
        b"cut" => Answer::new(200).bytes(&openai().to_string()[..60]).sized(),
        b"unknown" => Answer::json(&json!({"page": 1})),
        b"empty" => Answer::new(200).sized(),
        b"encoded" => Answer::new(200)
            .header("content-encoding", "gzip")
            .bytes(gzip(&openai()))
            .sized(),
        b"large" => Answer::json(&json!({"data": [{"id": "gpt-4o", "text": "x".repeat(30_000)}]})),
        b"chunks" => Answer::new(200)
            .bytes(openai().to_string())
            .split(7, Duration::from_millis(1)),
        b"error" => Answer::json(&json!({"error": {"message": "gpt-4o is down"}})).status(500),
        _ if seen.header("anthropic-version").is_some() => Answer::json(&anthropic()),
        _ => Answer::json(&openai()),
    }
}

async fn start(hold: bool) -> Option<(Upstream, Running)> {
    let upstream = Upstream::start(respond).await;
    let mut policy = support::yaml(POLICY);
    policy["hold_request_headers"] = json!(hold);
    let mut gateway = Gateway::new(policy)
        .environment("ANTHROPIC_API_KEY", "sk-ant-of-the-test")
        .cluster("openai", upstream.address())
        .cluster("anthropic", upstream.address());
    if !hold {
        gateway = gateway.without_header_hold();
    }
    Some((upstream, gateway.start().await?))
}

fn list(mode: &str) -> Request {
    Request::get("/v1/models")
        .bearer("marketing-key")
        .header("x-mode", mode)
}

fn ids(answer: &Response) -> Vec<String> {
    let list = answer.json();
    let models = list["data"].as_array().unwrap().iter();
    models
        .map(|model| model["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_list_shows_what_the_group_may_use() {
    for hold in [true, false] {
        let Some((upstream, gateway)) = start(hold).await else {
            return;
        };
        for mode in ["", "chunks"] {
            let answer = gateway
                .send(list(mode).header("accept-encoding", "gzip"))
                .await;
            assert_eq!(answer.status, 200);
            assert!(answer.complete, "{answer:?}");
            assert_eq!(ids(&answer), ["gpt-4o-mini"]);
            assert_eq!(answer.json()["extra"], "kept");
            assert_eq!(answer.header("x-consumer-group"), Some("marketing"));
            assert_eq!(upstream.last().header("accept-encoding"), None);
        }
        let of_anthropic = list("").header("anthropic-version", ANTHROPIC);
        let answer = gateway.send(of_anthropic).await;
        assert_eq!(ids(&answer), ["claude-haiku-5"]);
        assert_eq!(answer.json()["first_id"], "claude-haiku-5");
        assert_eq!(answer.json()["last_id"], "claude-haiku-5");
        let answer = list("chunks")
            .send_http2(gateway.address(), &[])
            .await
            .unwrap();
        assert_eq!(ids(&answer), ["gpt-4o-mini"]);
        // Who may use everything gets it as it is.
        let all = Request::get("/v1/models").bearer("engineering-key");
        assert_eq!(gateway.send(all).await.json(), openai());
        gateway.assert_healthy().await;
    }
}

#[tokio::test]
async fn what_cannot_be_filtered_does_not_pass() {
    for hold in [true, false] {
        let Some((_upstream, gateway)) = start(hold).await else {
            return;
        };
        for (mode, code) in [
            ("unreadable", "response_unreadable"),
            ("cut", "response_unreadable"),
            ("unknown", "response_unreadable"),
            ("encoded", "response_unreadable"),
            ("large", "response_too_large"),
        ] {
            let answer = gateway.send(list(mode)).await;
            assert!(!answer.text().contains("gpt-4o"), "{mode}: {answer:?}");
            // The status has gone out already where headers are not held.
            if hold {
                assert_eq!(
                    (answer.status, answer.code().as_str()),
                    (502, code),
                    "{mode}"
                );
            }
        }
        let answer = gateway.send(list("error")).await;
        assert_eq!((answer.status, answer.complete), (500, true));
        assert_eq!(gateway.send(list("")).await.status, 200);
        gateway.assert_healthy().await;
    }
}

#[tokio::test]
async fn one_model_is_shown_to_who_may_use_it() {
    let Some((upstream, gateway)) = start(true).await else {
        return;
    };
    for (id, status) in [
        ("gpt-4o-mini", 200),
        ("claude-haiku-5", 200),
        ("gpt-4o", 403),
        ("gpt-4o%2Dmini-2", 403),
        ("claude-haiku-3", 403),
    ] {
        let request = Request::get(&format!("/v1/models/{id}")).bearer("marketing-key");
        let answer = gateway.send(request).await;
        assert_eq!(answer.status, status, "{id}: {}", answer.text());
        if status == 403 {
            assert_eq!(answer.code(), "model_not_allowed");
        }
    }
    assert_eq!(upstream.count(), 2);
    gateway.assert_healthy().await;
}
