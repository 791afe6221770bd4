//! The SDKs of every API through a real Envoy, against an upstream that cuts its answers into pieces of any size.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use serde_json::{Value, json};
use support::envoy::{Gateway, Running};
use support::upstream;

/// With limits on tokens, so that usage is asked for and taken out again.
const POLICY: &str = "
version: '1'
providers:
  targets:
    - {id: openai, provider: openai, secret_key_ref: {env: OPENAI_API_KEY}}
    - {id: anthropic, provider: anthropic, secret_key_ref: {env: ANTHROPIC_API_KEY}}
    - {id: gemini, provider: gemini, secret_key_ref: {env: GEMINI_API_KEY}}
consumer_groups:
  - {name: team, api_key: team, rate_limits: {tokens_per_minute: 900M}}
  - {name: mini, api_key: mini, allowed_models: [gpt-4o-mini]}
  - {name: spent, api_key: spent, rate_limits: {requests_per_minute: 1}}
  - {name: dry, api_key: dry, rate_limits: {requests_per_month: 1}}
";

async fn gateway(upstream: std::net::SocketAddr) -> Option<Running> {
    Gateway::new(support::yaml(POLICY))
        .environment("ANTHROPIC_API_KEY", "sk-ant-of-the-test")
        .environment("GEMINI_API_KEY", "sk-gemini-of-the-test")
        .cluster("openai", upstream)
        .cluster("anthropic", upstream)
        .cluster("gemini", upstream)
        .start()
        .await
}

#[tokio::test]
async fn python() {
    let Some((_mock, address)) = upstream::mock().await else {
        return;
    };
    let Some(gateway) = gateway(address).await else {
        return;
    };
    assert!(support::python("apis.py", gateway.address()).await);
    check_events(&gateway, &[(401, 3), (403, 3), (429, 5)]).await;
    gateway.assert_healthy().await;
}

#[tokio::test]
async fn node() {
    let Some((_mock, address)) = upstream::mock().await else {
        return;
    };
    let Some(gateway) = gateway(address).await else {
        return;
    };
    if support::node("apis.cjs", gateway.address()).await {
        check_events(&gateway, &[(401, 1), (403, 2), (429, 2)]).await;
        gateway.assert_healthy().await;
    }
}

/// Everything was counted as the upstream said it, and nothing that was refused was tried again.
async fn check_events(gateway: &Running, refused: &[(u16, usize)]) {
    let sent = gateway.stat("http.llm.downstream_rq_total").await;
    let events = gateway.events(sent.try_into().unwrap()).await;
    for (status, times) in refused {
        let found = events.iter().filter(|event| event["status"] == *status);
        assert_eq!(found.count(), *times, "requests that got {status}");
    }
    let passed: Vec<&Value> = events
        .iter()
        .filter(|event| event["status"] == 200)
        .collect();
    assert!(passed.len() > 30, "only {} requests passed", passed.len());
    for event in passed {
        let (prompt, completion) = match event["endpoint"].as_str() {
            Some("count_tokens" | "models") => (0, 0),
            Some("embeddings") => (21, 0),
            _ => (21, 9),
        };
        let usage = &event["usage"];
        let found = [
            &usage["prompt_tokens"],
            &usage["completion_tokens"],
            &event["estimated"],
        ];
        assert_eq!(
            found,
            [&json!(prompt), &json!(completion), &json!(false)],
            "{event}"
        );
    }
}
