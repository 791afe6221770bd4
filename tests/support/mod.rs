//! A real Envoy, an upstream that records, and clients that misbehave: what the tests in Envoy share.
//!
//! ```ignore
//! let upstream = Upstream::start(|_| Answer::json(&json!({"usage": {}}))).await;
//! let Some(gateway) = Gateway::new(policy).cluster("openai", upstream.address()).start().await else { return };
//! let answer = gateway.send(Request::post("/v1/chat/completions").json(&json!({"model": "gpt-4o"}))).await;
//! assert_eq!((answer.status, upstream.count()), (200, 1));
//! gateway.assert_healthy().await;
//! ```

#![allow(dead_code, reason = "each test file uses a part of this")]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

pub(crate) mod accuracy;
pub(crate) mod client;
pub(crate) mod core;
pub(crate) mod counted;
pub(crate) mod crowd;
pub(crate) mod demo;
pub(crate) mod endings;
pub(crate) mod envoy;
pub(crate) mod fixture;
pub(crate) mod limit_service;
pub(crate) mod ratelimitd;
pub(crate) mod run;
pub(crate) mod scenario;
pub(crate) mod tokens;
pub(crate) mod upstream;
pub(crate) mod vm;

/// JSON from YAML: policies in tests read as operators write them.
pub(crate) fn yaml(text: &str) -> serde_json::Value {
    serde_saphyr::from_str(text).expect("the test's YAML is valid")
}

/// Milliseconds since the epoch, as the gateway under test has them.
pub(crate) fn now_ms() -> u64 {
    #[allow(
        clippy::disallowed_methods,
        reason = "the gateway under test has a real clock"
    )]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(now.unwrap().as_millis()).unwrap()
}

/// Waits for the next minute if this one is about to end: for tests that count to a limit exactly.
pub(crate) async fn quiet_minute() {
    let second = now_ms() / 1_000 % 60;
    if second >= 50 {
        tokio::time::sleep(std::time::Duration::from_secs(60 - second)).await;
    }
}

/// A Python script of `tests/sdk`, with the gateway's address as its argument; false when there is no Python.
pub(crate) async fn python(script: &str, address: std::net::SocketAddr) -> bool {
    let Some(python) = envoy::required("PYTHON") else {
        return false;
    };
    run(&python, script, address).await;
    true
}

/// The same for a script in JavaScript; false when the packages that it needs are not there.
pub(crate) async fn node(script: &str, address: std::net::SocketAddr) -> bool {
    if envoy::required("NODE_PATH").is_none() {
        return false;
    }
    run("node", script, address).await;
    true
}

async fn run(program: &str, script: &str, address: std::net::SocketAddr) {
    let path = format!("{}/tests/sdk/{script}", env!("CARGO_MANIFEST_DIR"));
    let status = tokio::process::Command::new(program)
        .arg(path)
        .arg(format!("http://{address}"))
        .kill_on_drop(true)
        .status();
    let status = tokio::time::timeout(std::time::Duration::from_mins(2), status).await;
    let status = status.expect("the script ends").expect("it starts");
    assert!(status.success(), "{script} failed");
}
