//! Budgets in a real Envoy: never overdrawn where bounds are stated, and what events add up to.

mod support;

use serde_json::{Value, json};
use std::time::Duration;
use support::client::Request;
use support::crowd::{all_at_once, statuses};
use support::endings::Endings;
use support::envoy::Gateway;
use support::tokens::{Calls, LIMIT, Tokens};
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

/// In millionths of a dollar: an event's number has no more digits.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few dollars"
)]
fn micro(event: &Value) -> u64 {
    let cost = event["cost_usd"].as_f64().unwrap_or(f64::NAN) * 1e6;
    assert!((cost - cost.round()).abs() < 1e-6, "{event}");
    cost.round() as u64
}

/// Answers, streams, refusals, failures, resets, clients that hang up, all at once and over both workers: what the events
/// say is what the budget's own record has, to the millionth.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_events_add_up_to_what_the_budget_has_counted() {
    // Prices at which nothing comes out even.
    let price = json!({"input_per_million": 7.37, "output_per_million": 23.91});
    let budgets = json!([{"amount_usd": 1_000_000, "per": "total"}]);
    let defaults = json!({"pricing": {"*": price}, "budgets": budgets});
    let Some(endings) = Endings::start_under(&["all".to_owned()], defaults).await else {
        return;
    };
    endings.end_many(900, "key-of-all").await;
    let log = endings.gateway.events_path();
    let sum = || -> u64 {
        let log = std::fs::read_to_string(&log).unwrap();
        let events = log.lines().map(|line| serde_json::from_str(line).unwrap());
        events.map(|event| micro(&event)).sum()
    };
    // The record as a worker's timer tells it, within ten seconds; then nothing is held any more.
    let mut told = (0, 0, 0);
    for _ in 0..300 {
        let stats = endings.gateway.stats().await;
        let costs = stats
            .iter()
            .filter(|(name, _)| name.starts_with("wasmcustom.cohort.cost_micro_usd.group.all."));
        let gauge = "wasmcustom.cohort.limit_used.group.all.limit.budget_total";
        let counted = stats.get(gauge).copied().unwrap_or_default();
        told = (sum(), counted, costs.map(|(_, cost)| cost).sum::<u64>());
        if told.0 == told.1 && told.0 == told.2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (events, budget, stat) = told;
    assert_eq!((events, events), (budget, stat), "events, budget, stat");
    assert!(events > 500_000, "{events}");
    endings.gateway.assert_healthy().await;
}

/// As limits on tokens, `tests/reservations.rs`: over by what the estimates were short of, and not by what else was asked
/// at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_overdraws_a_budget_by_what_the_estimates_were_short_of() {
    let Some(tokens) = Tokens::start_with_budgets().await else {
        return;
    };
    for stream in [false, true] {
        for bounded in [false, true] {
            let key = format!("{}-{stream}", if bounded { "bounded" } else { "unbounded" });
            let answers = tokens
                .held_at_once(&key, Calls { stream, bounded }, 64)
                .await;
            let reserved = |actual| if bounded { actual } else { tokens.prompt + 256 };
            let (used, short) = tokens.used_and_short(&key, reserved);
            assert!(used <= LIMIT + short, "{used} of {LIMIT}, {short} short");
            assert!(short == 0 || !bounded, "{short}");
            let passed = statuses(&answers)[&200];
            // Nothing was learned yet: three fit beside each other, a fourth would be over.
            assert!(if bounded { passed > 3 } else { passed == 3 }, "{passed}");
            tokens.assert_nothing_is_reserved(&key, used).await;
        }
    }
    tokens.gateway.assert_healthy().await;
}
