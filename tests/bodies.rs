//! Request bodies in every size and framing, and those that never end.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::net::SocketAddr;

use serde_json::{Value, json};
use support::client::{self, Request, Response};
use support::envoy::{Gateway, Running};
use support::upstream::{Upstream, chat};

const POLICY: &str = "
version: '1'
consumer_groups:
  - name: marketing
    api_key: marketing-key
    allowed_models: [gpt-4o-mini]
    rate_limits: {tokens_per_minute: 100M}
";
const CHAT: &str = "/v1/chat/completions";

async fn start(buffer_limit: Option<u32>) -> Option<(Upstream, Running)> {
    let upstream = Upstream::start(chat).await;
    let mut gateway = Gateway::new(support::yaml(POLICY)).cluster("openai", upstream.address());
    if let Some(limit) = buffer_limit {
        gateway = gateway.buffer_limit(limit);
    }
    Some((upstream, gateway.start().await?))
}

fn post(body: impl Into<Vec<u8>>) -> Request {
    Request::post(CHAT)
        .bearer("marketing-key")
        .header("content-type", "application/json")
        .body(body)
}

/// A request of `size` bytes and some.
fn large(model: &str, size: usize) -> Value {
    let text = "A word or two. ".repeat(size / 15 + 1);
    json!({"messages": [{"role": "user", "content": text}], "model": model})
}

/// Over HTTP/1.1 in one piece and in chunks, and over HTTP/2.
async fn each_way(address: SocketAddr, request: &Request) -> [Response; 3] {
    [
        request.send(address).await.unwrap(),
        request.clone().chunked(60_000).send(address).await.unwrap(),
        request.send_http2(address, &[]).await.unwrap(),
    ]
}

#[tokio::test]
async fn no_body_names_no_model() {
    let Some((upstream, gateway)) = start(None).await else {
        return;
    };
    for request in [
        post(""),
        post("").chunked(1),
        post("{}"),
        post("{}").chunked(1),
        post(" \r\n"),
    ] {
        let answer = gateway.send(request).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
    let headers_only = post("").send_http2(gateway.address(), &[]).await.unwrap();
    assert_eq!(headers_only.status, 400);
    assert_eq!(upstream.count(), 0);
    gateway.assert_serves("marketing-key", "gpt-4o-mini").await;
}

#[tokio::test]
async fn a_body_may_come_byte_by_byte() {
    let Some((upstream, gateway)) = start(None).await else {
        return;
    };
    let body =
        r#"{"stream":true,"mod\u0065l":"gpt-4o-mini","messages":[{"content":"\ud83d\ude00 é"}]}"#;
    let request = post(body).chunked(1);
    for answer in [
        gateway.send(request.clone()).await,
        request.send_http2(gateway.address(), &[]).await.unwrap(),
    ] {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut expected: Value = serde_json::from_str(body).unwrap();
        expected["stream_options"] = json!({"include_usage": true});
        assert_eq!(upstream.last().json(), expected);
    }
    upstream.clear();
    let request = post(body.replace("-mini", "")).chunked(1);
    for answer in [
        gateway.send(request.clone()).await,
        request.send_http2(gateway.address(), &[]).await.unwrap(),
    ] {
        assert_eq!(answer.code(), "model_not_allowed");
    }
    assert_eq!(upstream.count(), 0);
    gateway.assert_serves("marketing-key", "gpt-4o-mini").await;
}

#[tokio::test]
async fn a_body_of_two_megabytes_passes_whole() {
    let Some((upstream, gateway)) = start(None).await else {
        return;
    };
    let mut body = large("gpt-4o-mini", 2_000_000);
    for _ in 0..2 {
        for answer in each_way(gateway.address(), &post(body.to_string())).await {
            assert_eq!(answer.status, 200);
        }
        // Once as it is, once rewritten.
        for seen in upstream.seen() {
            assert!(seen.json()["messages"] == body["messages"]);
            assert_eq!(
                seen.json()["stream_options"].is_object(),
                body["stream"] == true
            );
        }
        assert_eq!(upstream.count(), 3);
        upstream.clear();
        body["stream"] = json!(true);
    }
    // The model stands at the end.
    let body = large("gpt-4o", 2_000_000);
    for answer in each_way(gateway.address(), &post(body.to_string())).await {
        assert_eq!(answer.code(), "model_not_allowed");
    }
    assert_eq!(upstream.count(), 0);
    gateway.assert_serves("marketing-key", "gpt-4o-mini").await;
}

#[tokio::test]
async fn a_body_over_the_buffer_limit_is_413_in_the_callers_dialect() {
    let Some((upstream, gateway)) = start(Some(65_536)).await else {
        return;
    };
    let body = large("gpt-4o-mini", 2_000_000).to_string();
    for (path, pointer, code) in [
        (CHAT, "/error/code", json!("request_too_large")),
        ("/v1/messages", "/error/type", json!("request_too_large")),
        (
            "/v1beta/models/gpt-4o-mini:generateContent",
            "/error/code",
            json!(413),
        ),
    ] {
        let request = Request::post(path)
            .header("x-api-key", "marketing-key")
            .header("content-type", "application/json")
            .body(body.clone());
        // Not over HTTP/2: there Envoy takes as much as its stream window, 16 MiB, whatever the limit.
        for request in [request.clone(), request.chunked(60_000)] {
            let answer = gateway.send(request).await;
            assert_eq!(answer.status, 413, "{path}");
            assert_eq!(answer.json().pointer(pointer), Some(&code), "{path}");
            assert_eq!(answer.header("content-type"), Some("application/json"));
        }
    }
    // Nothing is held for who has no key.
    let stranger = Request::post(CHAT).bearer("another-key").body(body);
    assert_eq!(gateway.send(stranger).await.status, 401);
    assert_eq!(upstream.count(), 0);
    let fits = large("gpt-4o-mini", 60_000).to_string();
    assert_eq!(gateway.send(post(fits)).await.status, 200);
    let events = gateway.events(8).await;
    let too_large = events.iter().filter(|event| {
        event["status"] == 413
            && event["reason"] == "request_too_large"
            && event["result"] == "blocked"
    });
    assert_eq!(too_large.count(), 6);
    gateway.assert_serves("marketing-key", "gpt-4o-mini").await;
}

/// What the filter puts in can be what is too much.
#[tokio::test]
async fn a_body_that_outgrows_the_buffer_limit_is_413_too() {
    let Some((upstream, gateway)) = start(Some(65_536)).await else {
        return;
    };
    let body = |size: usize| {
        let body = r#"{"model":"gpt-4o-mini","stream":true,"messages":[]}"#;
        body.replace("[]", &format!("[]{}", " ".repeat(size - body.len())))
    };
    assert_eq!(gateway.send(post(body(65_400))).await.status, 200);
    assert_eq!(upstream.count(), 1);
    let answer = gateway.send(post(body(65_530))).await;
    assert_eq!((answer.status, &*answer.code()), (413, "request_too_large"));
    assert_eq!(upstream.count(), 1);
    let events = gateway.events(2).await;
    assert_eq!(events[1]["result"], "blocked");
    assert_eq!(events[1]["reason"], "request_too_large");
}

#[tokio::test]
async fn an_upload_may_break_off_anywhere() {
    let Some((upstream, gateway)) = start(None).await else {
        return;
    };
    let body = large("gpt-4o-mini", 200_000).to_string();
    let mut broken = 0;
    for at in [0, 1, 100, 70_000, body.len() - 1] {
        for request in [post(body.clone()), post(body.clone()).chunked(10_000)] {
            let answer = request.stop_after(at).send(gateway.address()).await;
            answer.expect_err("who goes away gets no answer");
            broken += 1;
        }
    }
    // The end of a chunked body is part of it.
    let unended = post(body.clone()).chunked(10_000).stop_after(body.len());
    let answer = unended.send(gateway.address()).await;
    answer.expect_err("who goes away gets no answer");
    broken += 1;

    for event in gateway.events(broken).await {
        assert_eq!(
            (&event["status"], &event["result"], &event["reason"]),
            (&json!(0), &json!("error"), &json!("request_incomplete"))
        );
        assert_eq!(event["consumer_group"], "marketing");
        assert_eq!(event["usage"]["total_tokens"], 0);
    }
    assert_eq!(upstream.count(), 0);
    gateway.assert_serves("marketing-key", "gpt-4o-mini").await;
}

#[tokio::test]
async fn who_expects_100_continue_gets_it() {
    let Some((upstream, gateway)) = start(None).await else {
        return;
    };
    for (model, status) in [("gpt-4o-mini", 200), ("gpt-4o", 403)] {
        let body = json!({"model": model}).to_string();
        let raw = format!(
            "POST {CHAT} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer marketing-key\r\ncontent-type: application/json\r\n\
             expect: 100-continue\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = client::send_raw(gateway.address(), raw.as_bytes()).await;
        assert_eq!(answer.unwrap().status, status);
    }
    assert_eq!(upstream.count(), 1);
    gateway.assert_serves("marketing-key", "gpt-4o-mini").await;
}
