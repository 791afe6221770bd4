//! Compressed request bodies: refused, or made plain, judged and sent on plain.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::io::Write as _;

use serde_json::json;
use support::client::Request;
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

async fn start(decompress: bool) -> Option<(Upstream, Running)> {
    let upstream = Upstream::start(chat).await;
    let mut policy = support::yaml(POLICY);
    policy["decompress_requests"] = json!(decompress);
    let gateway = Gateway::new(policy).cluster("openai", upstream.address());
    Some((upstream, gateway.start().await?))
}

fn post(body: impl Into<Vec<u8>>) -> Request {
    Request::post("/v1/chat/completions")
        .bearer("marketing-key")
        .header("content-type", "application/json")
        .body(body)
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(plain, ruzstd::encoding::CompressionLevel::Fastest)
}

#[tokio::test]
async fn compressed_bodies_are_refused() {
    let Some((upstream, gateway)) = start(false).await else {
        return;
    };
    let body = gzip(br#"{"model":"gpt-4o-mini"}"#);
    for coding in ["gzip", "x-gzip", "deflate", "br", "zstd", "identity, gzip"] {
        let answer = gateway
            .send(post(body.clone()).header("content-encoding", coding))
            .await;
        assert_eq!(answer.code(), "unsupported_content_encoding", "{coding}");
        assert_eq!(answer.status, 415);
    }
    // And what does not say so is no JSON.
    assert_eq!(gateway.send(post(body)).await.code(), "invalid_body");
    assert_eq!(upstream.count(), 0);
    gateway.assert_serves("marketing-key", "gpt-4o-mini").await;
}

#[tokio::test]
async fn compressed_bodies_are_judged_and_go_on_plain() {
    let Some((upstream, gateway)) = start(true).await else {
        return;
    };
    let small = json!({"model": "gpt-4o-mini", "messages": []});
    let stream = json!({"model": "gpt-4o-mini", "stream": true});
    let text = "A word or two. ".repeat(20_000);
    let large = json!({"messages": [{"role": "user", "content": text}], "model": "gpt-4o-mini"});
    for body in [&small, &stream, &large] {
        for (coding, packed) in [
            ("gzip", gzip(body.to_string().as_bytes())),
            ("zstd", zstd(body.to_string().as_bytes())),
        ] {
            let request = post(packed).header("content-encoding", coding);
            let answers = [
                gateway.send(request.clone()).await,
                gateway.send(request.clone().chunked(1_000)).await,
                request.send_http2(gateway.address(), &[]).await.unwrap(),
                request
                    .send_http2(gateway.address(), &[("x-end", "1")])
                    .await
                    .unwrap(),
            ];
            for (answer, seen) in answers.iter().zip(upstream.seen()) {
                assert_eq!(answer.status, 200, "{}", answer.text());
                assert_eq!(seen.header("content-encoding"), None);
                assert!(seen.json()["messages"] == body["messages"]);
                assert_eq!(
                    seen.json()["stream_options"].is_object(),
                    body["stream"] == true
                );
                if let Some(length) = seen.header("content-length") {
                    let length: usize = std::str::from_utf8(length).unwrap().parse().unwrap();
                    assert_eq!(Some(length), seen.body.map(|body| body.len()));
                }
            }
            assert_eq!(upstream.count(), answers.len());
            upstream.clear();
        }
    }

    let bomb = gzip(&vec![b' '; 64 << 20]);
    assert!(bomb.len() < 1 << 20);
    let forbidden = br#"{"model":"gpt-4o"}"#;
    let cut = gzip(forbidden).split_off(1);
    for (coding, packed, status, code) in [
        ("gzip", gzip(forbidden), 403, "model_not_allowed"),
        ("zstd", zstd(forbidden), 403, "model_not_allowed"),
        ("gzip", bomb, 413, "request_too_large"),
        (
            "zstd",
            zstd(&vec![b' '; 16 << 20]),
            413,
            "request_too_large",
        ),
        ("gzip", cut, 400, "invalid_body"),
        ("gzip", small.to_string().into_bytes(), 400, "invalid_body"),
        ("gzip", Vec::new(), 400, "invalid_body"),
        ("br", gzip(forbidden), 415, "unsupported_content_encoding"),
        (
            "gzip, gzip",
            gzip(forbidden),
            415,
            "unsupported_content_encoding",
        ),
    ] {
        let answer = gateway
            .send(post(packed).header("content-encoding", coding))
            .await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{coding}"
        );
    }
    assert_eq!(upstream.count(), 0);
    gateway.assert_serves("marketing-key", "gpt-4o-mini").await;
}
