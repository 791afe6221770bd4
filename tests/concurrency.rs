//! What the workers of one Envoy share: a limit holds for all of them together, exactly.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};
use support::client::Request;
use support::envoy::Gateway;
use support::upstream::{Upstream, chat};
use tokio::task::JoinSet;

const CLIENTS: usize = 64;
const ROUNDS: usize = 10;

/// How often each status came, when everyone asks at once.
async fn all_at_once(address: SocketAddr, request: &Request) -> BTreeMap<u16, usize> {
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let request = request.clone();
        clients.spawn(async move { request.send(address).await.unwrap().status });
    }
    let mut statuses = BTreeMap::new();
    for status in clients.join_all().await {
        *statuses.entry(status).or_default() += 1;
    }
    statuses
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_as_many_pass_as_the_limit_says() {
    let groups: Vec<Value> = (0..ROUNDS)
        .map(|round| {
            json!({
                "name": format!("group-{round}"),
                "api_key": format!("key-{round}"),
                "rate_limits": {"requests_per_minute": 30},
            })
        })
        .collect();
    let upstream = Upstream::start(chat).await;
    let gateway = Gateway::new(json!({"version": "1", "consumer_groups": groups}))
        .cluster("openai", upstream.address())
        .start();
    let Some(gateway) = gateway.await else { return };
    support::quiet_minute().await;
    for round in 0..ROUNDS {
        let request = Request::chat(&format!("key-{round}"), "gpt-4o");
        let statuses = all_at_once(gateway.address(), &request).await;
        assert_eq!(
            statuses,
            BTreeMap::from([(200, 30), (429, 34)]),
            "round {round}"
        );
        assert_eq!(upstream.count(), 30 * (round + 1));
    }
    // Both workers took part, or this test has shown nothing.
    let stats = gateway.stats().await;
    let busy = |worker| {
        stats.iter().any(|(name, &count)| {
            name.contains(&format!("worker_{worker}.downstream_cx_total")) && count > 0
        })
    };
    assert!(busy(0) && busy(1), "{stats:#?}");
    assert!(!stats.contains_key("wasmcustom.cohort.store_errors"));
    gateway.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_guessed_at_one_rate() {
    let policy = json!({
        "version": "1",
        "failed_auth_per_minute": 20,
        "consumer_groups": [{"name": "engineering", "api_key": "engineering-key"}],
    });
    let upstream = Upstream::start(chat).await;
    let gateway = Gateway::new(policy)
        .cluster("openai", upstream.address())
        .start();
    let Some(gateway) = gateway.await else { return };
    support::quiet_minute().await;
    let guess = Request::chat("a-guess", "gpt-4o");
    assert_eq!(
        all_at_once(gateway.address(), &guess).await,
        BTreeMap::from([(401, 20), (429, 44)])
    );
    let refused = gateway.send(guess).await;
    assert_eq!(refused.json()["error"]["limit"], "failed_auth_per_minute");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(upstream.count(), 0);
    // Who knows a key is not kept out by who does not.
    let known = Request::chat("engineering-key", "gpt-4o");
    assert_eq!(
        all_at_once(gateway.address(), &known).await,
        BTreeMap::from([(200, CLIENTS)])
    );
    gateway.assert_healthy().await;
}
