//! Budgets beside a rate-limit service: each Envoy keeps its own in shared data, whatever the service says or does not say.

use super::*;
use support::ratelimitd::Fault;

const REQUESTS: &str = "cohort|group=gold|limit=requests_per_day";

/// What each answer costs, in dollars: its 15 tokens, at one each.
const COST: u64 = 15;
const AMOUNT: u64 = 100;
/// So many fit.
const FIT: usize = 6;

fn gold(counters: &Value) -> Value {
    json!({
        "counters": counters,
        "pricing": {
            "free": {"input_per_million": 0, "output_per_million": 0},
            "m": {"input_per_million": 1_000_000, "output_per_million": 1_000_000},
        },
        "consumer_groups": [{
            "name": "gold",
            "api_key": "gold-key",
            "rate_limits": {"requests_per_day": 1_000, "tokens_per_day": 100_000},
            "budgets": [{"amount_usd": AMOUNT, "per": "total"}],
        }],
    })
}

/// A chat that may cost just what it will.
fn ask_bounded() -> Request {
    let messages = json!([{"role": "user", "content": "Hi"}]);
    Request::post("/v1/chat/completions")
        .bearer("gold-key")
        .json(&json!({"model": "m", "max_tokens": COST - 2, "messages": messages}))
}

/// All of the budget is spent by those that pass, and by nobody else.
async fn spend(gateway: &Running) {
    let mut clients = JoinSet::new();
    for _ in 0..48 {
        let address = gateway.address();
        clients.spawn(async move { ask_bounded().send(address).await.expect("an answer") });
    }
    let answers = clients.join_all().await;
    let reserved = statuses(&answers);
    assert_eq!(reserved, expected([(200, FIT), (429, 48 - FIT)]));
    for answer in answers.iter().filter(|answer| answer.status == 429) {
        let by = ["budget_exceeded", "budget_total", "gold", "consumer_group"];
        assert_eq!(fired(answer), by.map(Value::from));
        assert_eq!(answer.header("x-should-retry"), Some("false"));
    }
    assert_eq!(gateway.send(ask_bounded()).await.status, 429);
}

/// What the events have cost is what the budget has counted, in millionths.
async fn assert_counted(gateway: &Running, requests: usize) {
    let events = gateway.events(requests).await;
    let spent = events
        .iter()
        .map(|event| event["cost_usd"].as_u64().unwrap());
    assert_eq!(spent.sum::<u64>(), FIT as u64 * COST);
    let stats = gateway.stats().await;
    let cost = stats["wasmcustom.cohort.cost_micro_usd.group.gold.model.other.kind.total"];
    assert_eq!(cost, FIT as u64 * COST * 1_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_is_each_envoys_own() {
    for dialect in [Dialect::Envoy, Dialect::Limitador] {
        for lease in [Value::Null, json!({"requests": 20, "max_age": "20s"})] {
            let leases = !lease.is_null();
            let counters = if leases {
                json!({"lease": lease})
            } else {
                json!({})
            };
            let Some(world) = World::start(dialect, gold(&counters), 2).await else {
                return;
            };
            for gateway in &world.gateways {
                spend(gateway).await;
                assert_counted(gateway, 49).await;
            }
            // A budget is looked at first: the service has not heard of what it refuses.
            if !leases && dialect == Dialect::Envoy {
                let counts = world.counts(|counts| counts.hits(REQUESTS).asked > 0).await;
                assert_eq!(counts.hits(REQUESTS).asked, 2 * FIT as u64);
            }
            world.assert_sound().await;
        }
    }
}

/// Without the service a budget is what it was with it, and a request that the service's silence refuses has cost nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_holds_while_the_service_is_silent() {
    for mode in ["allow", "deny", "local"] {
        let counters = json!({"timeout": "300ms", "failure_mode": mode});
        let Some(world) = World::start(Dialect::Envoy, gold(&counters), 1).await else {
            return;
        };
        world.service.fault(Fault::Status(14)).await;
        let mut sent = 0;
        if mode == "deny" {
            for _ in 0..10 {
                let answer = world.send(&ask_bounded()).await;
                assert_eq!(answer.code(), "limiter_unavailable");
            }
            sent = 10;
            world.service.fault(Fault::None).await;
            // Until the breaker lets the service be asked again, on both workers.
            for _ in 0..100 {
                let answers = world.at_once(vec![free(); 8]).await;
                sent += 8;
                if answers.iter().all(|answer| answer.status == 200) {
                    break;
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        spend(world.envoy()).await;
        assert_counted(world.envoy(), sent + 49).await;
        world.envoy().assert_healthy().await;
    }
}

/// A chat with a model that costs nothing.
fn free() -> Request {
    Request::chat("gold-key", "free")
}
