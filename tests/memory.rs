//! Large prompts pass through the filter; none of them stays in it.

mod support;

use serde_json::json;
use support::client::Request;
use support::envoy::{Gateway, Running};
use support::upstream::{Answer, Upstream};

const PROMPT: usize = 256 * 1024;
const GROWTH: u64 = 1 << 20;

async fn send(gateway: &Running, request: &Request, times: usize) {
    for _ in 0..times {
        assert_eq!(gateway.send(request.clone()).await.status, 200);
    }
}

async fn memory(gateway: &Running) -> u64 {
    gateway.stat("wasmcustom.cohort.vm_memory_bytes").await
}

#[tokio::test]
async fn no_copy_of_a_prompt_is_kept() {
    let upstream = Upstream::start(|_| Answer::json(&json!({"usage": {"prompt_tokens": 1}}))).await;
    let policy = json!({
        "version": "1",
        "consumer_groups": [{"name": "a", "api_key": "key-of-a", "allowed_models": ["m"]}],
    });
    let gateway = Gateway::new(policy)
        .cluster("openai", upstream.address())
        .workers(1);
    let Some(gateway) = gateway.start().await else {
        return;
    };
    let text = "Zwölf \\\"Boxkämpfer\\\" jagen Viktor.\\n ".repeat(PROMPT / 40);
    let body =
        format!("{{\"messages\":[{{\"role\":\"user\",\"content\":\"{text}\"}}],\"model\":\"m\"}}");
    let request = Request::post("/v1/chat/completions")
        .bearer("key-of-a")
        .header("content-type", "application/json")
        .body(body);

    // The first ones fill what is filled once.
    send(&gateway, &request, 50).await;
    let before = memory(&gateway).await;
    send(&gateway, &request, 1_000).await;
    let after = memory(&gateway).await;
    assert!(before > 0);
    assert!(
        after - before < GROWTH,
        "the VM grew from {before} to {after} bytes"
    );
    gateway.assert_healthy().await;
}
