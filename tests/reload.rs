//! New policies under traffic: a good one takes over without a lost request, a bad one changes nothing.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "a handful of requests is counted"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use support::client::Request;
use support::envoy::{Gateway, Running};
use support::upstream::{Upstream, chat};

fn policy(requests_per_minute: u32) -> Value {
    json!({
        "version": "1",
        "consumer_groups": [
            {"name": "marketing", "api_key": "marketing-key", "rate_limits": {"requests_per_minute": requests_per_minute}},
            {"name": "engineering", "api_key": "engineering-key"},
        ],
    })
}

async fn start() -> Option<(Upstream, Running)> {
    let upstream = Upstream::start(chat).await;
    let gateway = Gateway::new(policy(5)).cluster("openai", upstream.address());
    Some((upstream, gateway.reloadable().start().await?))
}

/// How many of `sent` requests the limit let through.
async fn passed(gateway: &Running, sent: usize) -> usize {
    let mut passed = 0;
    for _ in 0..sent {
        let answer = gateway.send(Request::chat("marketing-key", "gpt-4o")).await;
        passed += usize::from(answer.status == 200);
    }
    passed
}

#[tokio::test]
async fn a_refused_policy_leaves_the_old_one_serving() {
    let Some((_upstream, mut gateway)) = start().await else {
        return;
    };
    let with = |key: &str, value: Value| {
        let mut policy = policy(1000);
        policy[key] = value;
        policy
    };
    let unset = json!({"targets": [{"id": "openai", "provider": "openai", "secret_key_ref": {"env": "NOT_SET"}}]});
    let twice = json!([{"name": "a", "api_key": "plain-key-of-a"}, {"name": "b", "api_key": "plain-key-of-a"}]);
    for (policy, words) in [
        (with("consumer_group", json!([])), "consumer_groups"),
        (with("providers", unset), "NOT_SET"),
        (with("consumer_groups", twice), "consumer_groups[1].api_key"),
        (with("version", json!("2")), "version"),
        (json!({}), "configuration refused"),
    ] {
        let said = gateway.reload(&policy).await.unwrap_err();
        assert!(said.contains(words), "{words}: {said}");
        assert!(!said.contains("plain-key-of-a"));
        let answer = gateway.send(Request::chat("marketing-key", "gpt-4o")).await;
        assert_eq!(answer.header("ratelimit-limit"), Some("5"));
    }
    // And all errors are told at once.
    let mut bad = with("version", json!("2"));
    bad["mod"] = json!("shadow");
    let said = gateway.reload(&bad).await.unwrap_err();
    assert!(said.contains("version") && said.contains("mod"), "{said}");
    gateway.assert_healthy().await;
}

#[tokio::test]
async fn counters_outlive_a_policy() {
    let Some((_upstream, mut gateway)) = start().await else {
        return;
    };
    support::quiet_minute().await;
    assert_eq!(passed(&gateway, 8).await, 5);
    gateway.reload(&policy(7)).await.unwrap();
    assert_eq!(passed(&gateway, 4).await, 2);
    gateway.reload(&policy(6)).await.unwrap();
    assert_eq!(passed(&gateway, 2).await, 0);
    // A key that is gone opens nothing any more, on any worker.
    let mut less = policy(100);
    less["consumer_groups"].as_array_mut().unwrap().remove(0);
    gateway.reload(&less).await.unwrap();
    for _ in 0..8 {
        let answer = gateway.send(Request::chat("marketing-key", "gpt-4o")).await;
        assert_eq!(answer.status, 401);
    }
    gateway.reload(&policy(8)).await.unwrap();
    assert_eq!(passed(&gateway, 4).await, 1);
    gateway.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_in_a_reload() {
    let Some((_upstream, mut gateway)) = start().await else {
        return;
    };
    let (address, over) = (gateway.address(), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let over = Arc::clone(&over);
            tokio::spawn(async move {
                let mut sent = 0_u32;
                while !over.load(Ordering::Relaxed) {
                    let answer = Request::chat("engineering-key", "gpt-4o")
                        .send(address)
                        .await;
                    assert_eq!(answer.unwrap().status, 200);
                    sent += 1;
                }
                sent
            })
        })
        .collect();
    for limit in 10..15 {
        gateway.reload(&policy(limit)).await.unwrap();
        gateway.reload(&json!({})).await.unwrap_err();
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.await.unwrap() > 10);
    }
    let answer = gateway.send(Request::chat("marketing-key", "gpt-4o")).await;
    assert_eq!(answer.header("ratelimit-limit"), Some("14"));
    gateway.assert_healthy().await;
}
