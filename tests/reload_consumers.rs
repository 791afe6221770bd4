//! Consumers, keys and groups that change under load: no request fails, and each is judged by one whole configuration.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use support::client::Request;
use support::envoy::{Gateway, Running};
use support::upstream::{Upstream, chat};
use tokio::time::sleep;

/// What the limit of generation 0 is.
const QUOTA: u64 = 1_000_000;
const GROUPS: [&str; 2] = ["even", "odd"];

/// Ann is in the one group, then in the other; each generation tells itself by the limit, by a tag, and by its models.
fn generation(number: u64, keys: &Value) -> Value {
    let group = |name: &str| {
        json!({
            "name": name,
            "features": [format!("generation-{number}")],
            "allowed_models": ["always", format!("model-{number}")],
            "rate_limits": {"requests_per_hour": QUOTA + number},
        })
    };
    let own = GROUPS[usize::try_from(number % 2).unwrap()];
    json!({
        "version": "1",
        "failed_auth_per_minute": 0,
        "consumer_groups": [group("even"), group("odd")],
        "consumers": [{"name": "ann", "groups": [own], "api_keys": keys}],
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_is_judged_by_one_whole_configuration() {
    let upstream = Upstream::start(|seen| {
        let mut fields = seen.headers.iter();
        let tags = fields
            .find(|(name, _)| name == "x-cohort-features")
            .unwrap();
        chat(seen).header("x-seen", &String::from_utf8_lossy(&tags.1))
    })
    .await;
    let steady = json!(["key-that-stays"]);
    let gateway = Gateway::new(generation(0, &steady)).cluster("openai", upstream.address());
    let Some(mut gateway) = gateway.reloadable().start().await else {
        return;
    };
    let (address, over) = (gateway.address(), Arc::new(AtomicBool::new(false)));
    let newest = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (over, newest) = (Arc::clone(&over), Arc::clone(&newest));
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let model = format!("model-{}", newest.load(Ordering::Relaxed));
                    for model in ["always", &model] {
                        let request = Request::chat("key-that-stays", model);
                        let answer = request.send(address).await.unwrap();
                        let number = match answer.status {
                            200 => {
                                let limit = answer.header("ratelimit-limit").unwrap();
                                limit.parse::<u64>().unwrap() - QUOTA
                            }
                            // The model of another generation.
                            403 if model != "always" => {
                                let allowed = answer.json()["error"]["allowed_models"][1].clone();
                                let number = allowed.as_str().unwrap().strip_prefix("model-");
                                number.unwrap().parse().unwrap()
                            }
                            status => panic!("{status}: {}", answer.text()),
                        };
                        let group = GROUPS[usize::try_from(number % 2).unwrap()];
                        assert_eq!(answer.header("x-consumer-group"), Some(group));
                        if answer.status == 200 {
                            let tag = format!("generation-{number}");
                            assert_eq!(answer.header("x-seen"), Some(&*tag));
                        }
                        seen.push(number);
                    }
                }
                seen
            })
        })
        .collect();
    for number in 1..=6 {
        gateway.reload(&generation(number, &steady)).await.unwrap();
        newest.store(number, Ordering::Relaxed);
        sleep(Duration::from_millis(150)).await;
    }
    over.store(true, Ordering::Relaxed);
    let mut seen = Vec::new();
    for client in clients {
        seen.extend(client.await.unwrap());
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6]);
    gateway.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_added_rotated_with_overlap_and_disabled_under_load() {
    let upstream = Upstream::start(chat).await;
    let keys = [
        json!(["key-one"]),
        // Both, for as long as clients take to change.
        json!(["key-one", "key-two"]),
        json!(["key-two"]),
    ];
    let gateway = Gateway::new(generation(0, &keys[0])).cluster("openai", upstream.address());
    let Some(mut gateway) = gateway.reloadable().start().await else {
        return;
    };
    let (address, over) = (gateway.address(), Arc::new(AtomicBool::new(false)));
    let rotated = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (over, rotated) = (Arc::clone(&over), Arc::clone(&rotated));
            tokio::spawn(async move {
                let mut sent = [0_u32; 2];
                while !over.load(Ordering::Relaxed) {
                    let second = usize::from(rotated.load(Ordering::Relaxed));
                    let request = Request::chat(["key-one", "key-two"][second], "always");
                    let answer = request.send(address).await.unwrap();
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    sent[second] += 1;
                }
                sent
            })
        })
        .collect();
    sleep(Duration::from_millis(100)).await;
    gateway.reload(&generation(0, &keys[1])).await.unwrap();
    rotated.store(true, Ordering::Relaxed);
    // Until every client has had its answer to the old one.
    sleep(Duration::from_millis(300)).await;
    gateway.reload(&generation(0, &keys[2])).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    over.store(true, Ordering::Relaxed);
    for client in clients {
        let sent = client.await.unwrap();
        assert!(sent[0] > 0 && sent[1] > 0, "{sent:?}");
    }
    let status = async |key: &str| gateway.send(Request::chat(key, "always")).await.status;
    for _ in 0..4 {
        assert_eq!(
            (status("key-one").await, status("key-two").await),
            (401, 200)
        );
    }
    // Off, by the key and by the consumer.
    let digest = "2f7e0d3b8f5a7a3f5b0f7fb6b0a1e5de5ac9d1c0b6f2f7c0e8d9a6b5c4d3e2f1";
    let off = json!(["key-two", {"id": "other", "sha256": digest, "enabled": false}]);
    gateway.reload(&generation(0, &off)).await.unwrap();
    assert_eq!(
        gateway
            .send(Request::chat("key-two", "always"))
            .await
            .status,
        200
    );
    let mut gone = generation(0, &keys[2]);
    gone["consumers"][0]["enabled"] = json!(false);
    gateway.reload(&gone).await.unwrap();
    for _ in 0..4 {
        let answer = gateway.send(Request::chat("key-two", "always")).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (401, "invalid_api_key")
        );
    }
    gateway.assert_healthy().await;
}

/// Kong's tiers: a limit of 10 in the one, of 5 in the other, each consumer with a counter of its own.
#[tokio::test]
async fn a_consumer_that_is_moved_has_the_other_groups_limit() {
    let tiers = |of_ann: &str| {
        let tier = |name: &str, limit: u64| json!({"name": name, "consumer_rate_limits": {"requests_per_day": limit}});
        let consumer = |name: &str, tier: &str| json!({"name": name, "api_key": format!("key-of-{name}"), "groups": [tier]});
        json!({
            "version": "1",
            "consumer_groups": [tier("gold", 10), tier("silver", 5)],
            "consumers": [consumer("ann", of_ann), consumer("bob", "gold")],
        })
    };
    let upstream = Upstream::start(chat).await;
    let gateway = Gateway::new(tiers("gold")).cluster("openai", upstream.address());
    let Some(mut gateway) = gateway.reloadable().start().await else {
        return;
    };
    let ask = async |gateway: &Running, consumer: &str| {
        let request = Request::chat(&format!("key-of-{consumer}"), "m");
        let answer = gateway.send(request).await;
        let field = |name: &str| answer.header(name).unwrap_or_default().to_owned();
        let of = [field("ratelimit-limit"), field("ratelimit-remaining")];
        (answer.status, field("x-consumer-group"), of.join("/"))
    };
    let passes = |group: &str, left: &str| (200, group.to_owned(), left.to_owned());
    for consumer in ["ann", "bob"] {
        assert_eq!(ask(&gateway, consumer).await, passes("gold", "10/9"));
    }
    assert_eq!(ask(&gateway, "ann").await, passes("gold", "10/8"));

    gateway.reload(&tiers("silver")).await.unwrap();
    for left in ["5/4", "5/3", "5/2", "5/1", "5/0"] {
        assert_eq!(ask(&gateway, "ann").await, passes("silver", left));
    }
    let (status, _, left) = ask(&gateway, "ann").await;
    assert_eq!((status, &*left), (429, "5/0"));
    assert_eq!(ask(&gateway, "bob").await, passes("gold", "10/8"));

    // What was counted in a group stays counted there.
    gateway.reload(&tiers("gold")).await.unwrap();
    assert_eq!(ask(&gateway, "ann").await, passes("gold", "10/7"));
    gateway.assert_healthy().await;
}
