//! Where Envoy cannot hold headers (`hold_request_headers: false`): the header may go ahead, a refused body never does.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::client::{Request, Response};
use support::envoy::{Gateway, Running};
use support::upstream::{Seen, Upstream, chat};

const POLICY: &str = "
version: '1'
hold_request_headers: false
decompress_requests: true
providers:
  targets:
    - {id: openai, provider: openai, secret_key_ref: {env: OPENAI_API_KEY}}
consumer_groups:
  - name: marketing
    api_key: marketing-key
    allowed_models: [gpt-4o-mini]
    rate_limits: {requests_per_minute: 1000, tokens_per_minute: 100M}
  - name: research
    api_key: research-key
    rate_limits: {requests_per_minute: 1}
";

async fn start() -> Option<(Upstream, Running)> {
    let upstream = Upstream::start(chat).await;
    let gateway = Gateway::new(support::yaml(POLICY))
        .environment("OPENAI_API_KEY", "sk-of-the-provider")
        .cluster("openai", upstream.address())
        .without_header_hold();
    Some((upstream, gateway.start().await?))
}

fn post(body: &Value) -> Request {
    Request::post("/v1/chat/completions")
        .bearer("marketing-key")
        .json(body)
}

/// Over HTTP/1.1 in one piece, in chunks of which the first goes ahead, and over HTTP/2 with trailers.
async fn each_way(gateway: &Running, request: &Request) -> [Response; 3] {
    let http2 = request.send_http2(gateway.address(), &[("x-end", "1")]);
    [
        gateway.send(request.clone()).await,
        gateway.send(request.clone().chunked(7)).await,
        http2.await.unwrap(),
    ]
}

fn assert_introduced(seen: &Seen) {
    assert_eq!(
        seen.header("authorization"),
        Some(&b"Bearer sk-of-the-provider"[..])
    );
    assert_eq!(seen.header("x-consumer-group"), Some(&b"marketing"[..]));
    assert_eq!(seen.header("x-cohort-provider"), Some(&b"openai"[..]));
    assert_eq!(seen.header("x-cohort-model"), None);
    assert_eq!(seen.header("x-consumer"), None);
}

#[tokio::test]
async fn what_is_allowed_arrives_whole_and_introduced() {
    let Some((upstream, gateway)) = start().await else {
        return;
    };
    let usage = json!({"include_usage": true});
    let text = "A word or two. ".repeat(20_000);
    for (body, changes) in [
        (json!({"model": "gpt-4o-mini", "messages": []}), json!({})),
        (
            json!({"model": "gpt-4o-mini", "stream": true}),
            json!({"stream_options": usage}),
        ),
    ] {
        let request = post(&body)
            .header("x-consumer", "someone")
            .header("x-cohort-model", "o3");
        let answers = each_way(&gateway, &request).await;
        for (answer, seen) in answers.iter().zip(upstream.seen()) {
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert!(answer.complete && !answer.text().contains("include_usage"));
            assert_eq!(answer.header("x-consumer-group"), Some("marketing"));
            assert_introduced(&seen);
            let mut expected = body.clone();
            for (key, value) in changes.as_object().unwrap() {
                expected[key] = value.clone();
            }
            assert_eq!(seen.json(), expected);
            // The header left before anyone knew how long the body would be.
            assert_eq!(seen.header("content-length"), None);
        }
        assert_eq!(upstream.count(), 3);
        upstream.clear();
    }
    let large = json!({"messages": [{"content": text}], "model": "gpt-4o-mini", "stream": true});
    assert_eq!(gateway.send(post(&large)).await.status, 200);
    assert!(upstream.last().json()["messages"] == large["messages"]);
    gateway.assert_healthy().await;
}

#[tokio::test]
async fn what_is_refused_loses_its_body_on_the_way() {
    let Some((upstream, gateway)) = start().await else {
        return;
    };
    let forbidden = json!({"model": "gpt-4o", "messages": [{"content": "x".repeat(5_000)}]});
    for (request, status, code) in [
        (post(&forbidden), 403, "model_not_allowed"),
        (
            post(&forbidden).header("x-api-key", "another-key"),
            401,
            "ambiguous_credentials",
        ),
        (post(&json!([])), 400, "invalid_body"),
        (
            post(&forbidden).header("content-encoding", "br"),
            415,
            "unsupported_content_encoding",
        ),
        (
            post(&forbidden).header("content-encoding", "gzip"),
            400,
            "invalid_body",
        ),
    ] {
        for _ in 0..3 {
            for answer in each_way(&gateway, &request).await {
                assert_eq!((answer.status, answer.code().as_str()), (status, code));
            }
        }
    }
    let keyless = Request::post("/v1/chat/completions").json(&forbidden);
    for answer in each_way(&gateway, &keyless).await {
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (401, "missing_api_key")
        );
    }
    let limited = Request::chat("research-key", "gpt-4o");
    assert_eq!(gateway.send(limited.clone()).await.status, 200);
    assert_eq!(gateway.send(limited).await.status, 429);
    // At the most a header, without the caller's key.
    for seen in upstream.seen() {
        let own = seen.body.is_some();
        assert!(!own || seen.header("x-consumer-group") == Some(b"research"));
        assert!(!format!("{seen:?}").contains("marketing-key"));
    }
    for _ in 0..4 {
        let answer = gateway
            .send(Request::chat("marketing-key", "gpt-4o-mini"))
            .await;
        assert_eq!(answer.status, 200);
        assert_introduced(&upstream.last());
    }
    gateway.assert_healthy().await;
}
