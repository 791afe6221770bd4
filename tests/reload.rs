//! New policies under traffic: a good one takes over without a lost request, a bad one changes nothing.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "a handful of requests is counted"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cohort::time::Timestamp;
use serde_json::{Value, json};
use support::client::Request;
use support::envoy::{Gateway, Running};
use support::upstream::{Gate, Upstream, chat};
use tokio::time::sleep;

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
async fn a_limit_changes_under_load_and_what_is_counted_stays() {
    let daily = |requests: u64| {
        let limits = json!({"requests_per_day": requests});
        json!({
            "version": "1",
            "consumer_groups": [{"name": "marketing", "api_key": "marketing-key", "rate_limits": limits}],
        })
    };
    let upstream = Upstream::start(chat).await;
    let gateway = Gateway::new(daily(30)).cluster("openai", upstream.address());
    let Some(mut gateway) = gateway.reloadable().start().await else {
        return;
    };
    let (address, over) = (gateway.address(), Arc::new(AtomicBool::new(false)));
    let refused = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (over, refused) = (Arc::clone(&over), Arc::clone(&refused));
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let request = Request::chat("marketing-key", "gpt-4o");
                    if request.send(address).await.unwrap().status == 429 {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    // 30 at first; less than is counted already changes nothing.
    for (limit, passed) in [(30, 30), (50, 50), (40, 50), (50, 50), (51, 51), (120, 120)] {
        if limit != 30 {
            gateway.reload(&daily(limit)).await.unwrap();
        }
        // All who asked before the limit changed, and as many after.
        let enough = refused.load(Ordering::Relaxed) + 40;
        while refused.load(Ordering::Relaxed) < enough {
            sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(upstream.count(), passed, "with a limit of {limit}");
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    gateway.assert_healthy().await;
}

#[tokio::test]
async fn what_began_under_one_policy_is_let_go_under_the_next() {
    let policy = |concurrent_requests: u32| {
        let limits = json!({"concurrent_requests": concurrent_requests, "tokens_per_day": 1000});
        json!({
            "version": "1",
            "consumer_groups": [{"name": "marketing", "api_key": "marketing-key", "rate_limits": limits}],
        })
    };
    let gate = Gate::default();
    let upstream = Upstream::start({
        let gate = gate.clone();
        move |seen| chat(seen).late(&gate)
    })
    .await;
    let gateway = Gateway::new(policy(1)).cluster("openai", upstream.address());
    let Some(mut gateway) = gateway.reloadable().start().await else {
        return;
    };
    let request = |max_tokens: u32| {
        let body = json!({"model": "gpt-4o", "max_tokens": max_tokens, "messages": []});
        Request::post("/v1/chat/completions")
            .bearer("marketing-key")
            .json(&body)
    };
    let (address, slow) = (gateway.address(), request(600));
    let slow = tokio::spawn(async move { slow.send(address).await.unwrap() });
    while upstream.count() == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    gateway.reload(&json!({"version": "2"})).await.unwrap_err();
    for (slots, code) in [
        (1, "concurrency_limit_exceeded"),
        (2, "rate_limit_exceeded"),
    ] {
        gateway.reload(&policy(slots)).await.unwrap();
        let answer = gateway.send(request(600)).await;
        assert_eq!((answer.status, answer.code().as_str()), (429, code));
    }
    gate.open();
    assert_eq!(slow.await.unwrap().status, 200);
    // 15 of 1,000 are gone, and nothing is held.
    gateway.events(3).await;
    gateway.reload(&policy(1)).await.unwrap();
    assert_eq!(gateway.send(request(986)).await.status, 429);
    assert_eq!(gateway.send(request(985)).await.status, 200);
    gateway.assert_healthy().await;
}

#[tokio::test]
async fn seeds_fill_what_is_not_there_and_nothing_else() {
    let day = 86_400_000;
    let seeded = |seeds: &[(&str, u64, u64)]| {
        let group = |name: &str| json!({"name": name, "api_key": format!("{name}-key"), "rate_limits": {"requests_per_day": 1000}});
        let seed = |(group, ago, requests): &(&str, u64, u64)| {
            let time = Timestamp(support::now_ms() - ago).to_string();
            json!({"consumer_group": group, "time": time, "counted": {"requests_per_day": requests}})
        };
        json!({
            "version": "1",
            "counters": {"seed": seeds.iter().map(seed).collect::<Vec<_>>()},
            "consumer_groups": [group("a"), group("b"), group("c")],
        })
    };
    let upstream = Upstream::start(chat).await;
    let first = seeded(&[("a", 0, 300), ("c", day, 300)]);
    let gateway = Gateway::new(first).cluster("openai", upstream.address());
    let Some(mut gateway) = gateway.reloadable().start().await else {
        return;
    };
    let left = async |gateway: &Running, group: &str| -> u64 {
        let answer = gateway
            .send(Request::chat(&format!("{group}-key"), "gpt-4o"))
            .await;
        answer
            .header("ratelimit-remaining")
            .unwrap()
            .parse()
            .unwrap()
    };
    assert_eq!(left(&gateway, "a").await, 699);
    assert_eq!(left(&gateway, "c").await, 999, "of yesterday");
    // A refused policy's seeds are not taken either, though it names them first.
    let mut refused = seeded(&[("b", 0, 7)]);
    refused["mod"] = json!("shadow");
    gateway.reload(&refused).await.unwrap_err();
    gateway
        .reload(&seeded(&[("a", 0, 0), ("b", 0, 50), ("c", 0, 900)]))
        .await
        .unwrap();
    assert_eq!(left(&gateway, "a").await, 698);
    assert_eq!(left(&gateway, "b").await, 949, "nobody had used it");
    assert_eq!(left(&gateway, "c").await, 998);
    gateway.reload(&seeded(&[("b", 0, 1000)])).await.unwrap();
    assert_eq!(left(&gateway, "b").await, 948);
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
