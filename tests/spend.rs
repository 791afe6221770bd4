//! Budgets in a real Envoy: never overdrawn where bounds are stated, and what events add up to.

mod support;

use serde_json::json;
use support::client::Request;
use support::crowd::all_at_once;
use support::envoy::Gateway;
use support::upstream::{Upstream, chat};

/// What the upstream says that a chat costs; at a dollar a token.
const COST: u64 = 15;

/// A chat whose prompt is two tokens, with a bound on its answer.
fn ask(max_tokens: u64) -> Request {
    let messages = json!([{"role": "user", "content": "Hi"}]);
    let body = json!({"model": "m", "max_tokens": max_tokens, "messages": messages});
    Request::post("/v1/chat/completions")
        .bearer("key-of-a")
        .json(&body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_holds_whoever_asks_at_the_same_time() {
    let upstream = Upstream::start(chat).await;
    let policy = json!({
        "version": "1",
        "pricing": {"m": {"input_per_million": 1_000_000, "output_per_million": 1_000_000}},
        "consumer_groups": [{
            "name": "a",
            "api_key": "key-of-a",
            "budgets": [{"amount_usd": 100, "per": "month", "alert_at": [0.5]}],
        }],
    });
    let Some(gateway) = Gateway::new(policy)
        .cluster("openai", upstream.address())
        .start()
        .await
    else {
        return;
    };
    // The roles and the text are five bytes or so: two tokens, and thirteen more.
    let mut passed = 0;
    for _ in 0..4 {
        let answers = all_at_once(gateway.address(), vec![ask(13); 64]).await;
        for answer in &answers {
            match answer.status {
                200 => passed += 1,
                429 => assert_eq!(answer.json()["error"]["code"], "budget_exceeded"),
                other => panic!("{other}: {}", answer.text()),
            }
        }
    }
    assert_eq!(passed, 100 / COST);
    let left = 100 % COST;
    assert_eq!(gateway.send(ask(left)).await.status, 429);

    let events = gateway.events(4 * 64 + 1).await;
    let spent = events
        .iter()
        .map(|event| event["cost_usd"].as_u64().unwrap());
    assert_eq!(spent.sum::<u64>(), passed * COST);
    let alerts = events.iter().filter(|event| event["alerts"].is_array());
    assert_eq!(
        alerts.count(),
        1,
        "of the one request that crossed the half"
    );
    let stats = gateway.stats().await;
    let stat = |name: &str| stats.get(&format!("wasmcustom.cohort.{name}")).copied();
    assert_eq!(
        stat("cost_micro_usd.group.a.model.other.kind.total"),
        Some(passed * COST * 1_000_000)
    );
    assert_eq!(stat("budget_alerts.group.a"), Some(1));
    gateway.assert_healthy().await;
}
