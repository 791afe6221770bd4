//! The real OpenAI and Anthropic SDKs for Python, through a real Envoy, against the demo upstream.

mod support;

use support::envoy::Gateway;
use support::upstream;

const POLICY: &str = "
version: '1'
providers:
  targets:
    - {id: openai, provider: openai, secret_key_ref: {env: OPENAI_API_KEY}}
    - {id: anthropic, provider: anthropic, secret_key_ref: {env: ANTHROPIC_API_KEY}}
consumer_groups:
  - name: engineering
    api_key: engineering-key
    rate_limits: {requests_per_minute: 1000, tokens_per_minute: 100000}
  - name: marketing
    api_key: marketing-key
    allowed_models: [gpt-4o-mini]
  - name: spent
    api_key: spent-key
    rate_limits: {requests_per_minute: 1}
";

#[tokio::test]
async fn openai() {
    run("openai_sdk.py").await;
}

#[tokio::test]
async fn anthropic() {
    run("anthropic_sdk.py").await;
}

async fn run(script: &str) {
    let (_demo, address) = upstream::demo().await;
    let gateway = Gateway::new(support::yaml(POLICY))
        .environment("ANTHROPIC_API_KEY", "sk-ant-of-the-test")
        .cluster("openai", address)
        .cluster("anthropic", address);
    let Some(gateway) = gateway.start().await else {
        return;
    };
    if support::python(script, gateway.address()).await {
        gateway.assert_healthy().await;
    }
}
