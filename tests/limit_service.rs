//! Limits that a rate-limit service holds, for any number of Envoys.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::client::Request;
use support::envoy::Gateway;
use support::ratelimitd::{Dialect, Ratelimitd};
use support::upstream::{Upstream, chat};

fn policy(counters: Value) -> Value {
    json!({
        "version": "1",
        "counters": counters,
        "consumer_groups": [{
            "name": "gold",
            "api_key": "gold-key",
            "rate_limits": {"requests_per_minute": 5, "tokens_per_minute": 1000},
        }],
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_says_how_many_pass() {
    let Some(service) =
        Ratelimitd::start(Dialect::Envoy, "domain: cohort\ndescriptors: []\n").await
    else {
        return;
    };
    let upstream = Upstream::start(chat).await;
    let gateway = Gateway::new(policy(
        json!({"store": "rate_limit_service", "cluster": "limits", "failure_mode": "deny"}),
    ))
    .cluster("openai", upstream.address())
    .grpc_cluster("limits", service.address())
    .start();
    let Some(gateway) = gateway.await else { return };
    support::quiet_minute().await;
    for n in 0..7 {
        let answer = gateway.send(Request::chat("gold-key", "gpt-4o")).await;
        println!("{n} {} {:?}", answer.status, answer);
    }
    println!("{:?}", service.counts().await);
    println!("{:#?}", gateway.events(7).await);
}
