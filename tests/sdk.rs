//! The real OpenAI and Anthropic SDKs for Python, through a real Envoy, against the demo upstream.

mod support;

use std::net::SocketAddr;
use std::process::Stdio;

use support::envoy::Gateway;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

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
    let (_demo, upstream) = demo_upstream().await;
    let gateway = Gateway::new(support::yaml(POLICY))
        .environment("ANTHROPIC_API_KEY", "sk-ant-of-the-test")
        .cluster("openai", upstream)
        .cluster("anthropic", upstream);
    let Some(gateway) = gateway.start().await else {
        return;
    };
    if support::python(script, gateway.address()).await {
        gateway.assert_healthy().await;
    }
}

/// The one that `cohort demo` starts, on a port of its own.
async fn demo_upstream() -> (Child, SocketAddr) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cohort"))
        .args(["demo", "upstream", "--port", "0"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = child.stdout.as_mut().unwrap();
    BufReader::new(stdout).read_line(&mut line).await.unwrap();
    let address = line.trim().rsplit("http://").next().unwrap();
    (child, address.parse().unwrap())
}
