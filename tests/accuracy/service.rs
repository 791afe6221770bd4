//! The rows of the rate-limit-service store. envoyproxy/ratelimit is a model of it, Limitador its own library.
#![expect(clippy::indexing_slicing, reason = "JSON that is known")]

use super::*;
use support::limit_service::World;
use support::ratelimitd::Dialect;

const DIALECTS: [(Dialect, &str); 2] = [
    (Dialect::Envoy, "`rate_limit_service`: `envoy`"),
    (
        Dialect::LimitadorWithHeaders,
        "`rate_limit_service`: `kuadrant`",
    ),
];

pub(crate) async fn rows() -> Option<Vec<Row>> {
    let mut rows = Vec::new();
    for (dialect, store) in DIALECTS {
        for room in [0, 1, 30] {
            rows.push(requests(dialect, store, room).await?);
        }
        rows.push(tokens(dialect, store).await?);
        rows.push(local(dialect, store).await?);
        rows.push(leased(dialect, store).await?);
    }
    Some(rows)
}

/// As many groups as there are rounds.
fn policy(counters: &Value, rounds: usize, limits: &Value) -> Value {
    let mut policy = groups(rounds, &json!({"rate_limits": limits}));
    policy["counters"] = counters.clone();
    policy
}

async fn requests(dialect: Dialect, store: &'static str, room: u64) -> Option<Row> {
    let limit = format!("`requests_per_day: {room}`, two Envoys");
    let mut row = Row::new(&limit, 64, "answered", store);
    row.allow(room);
    let rounds = times(1, 40);
    let policy = policy(&json!({}), rounds, &json!({"requests_per_day": room}));
    let world = World::start(dialect, policy, 2).await?;
    for round in 0..rounds {
        let before = world.upstream.count();
        world.at_once(chats(&format!("round-{round}"), 64)).await;
        row.admit(world.upstream.count() - before);
    }
    world.assert_sound().await;
    Some(row)
}

/// Calls that state how much they use at most, and use half of it.
async fn tokens(dialect: Dialect, store: &'static str) -> Option<Row> {
    let limit = format!("`tokens_per_day: {LIMIT}`, `max_tokens` stated, one Envoy");
    let mut row = Row::new(&limit, 50, "answered", store);
    row.allow_up_to(LIMIT, "");
    let costly = |seen: &support::upstream::Seen| {
        let used = seen.json()["max_tokens"].as_u64().unwrap_or_default() / 2;
        let usage = json!({"prompt_tokens": 0, "completion_tokens": used, "total_tokens": used});
        Answer::json(&json!({"usage": usage})).split(20, Duration::from_millis(5))
    };
    let rounds = times(1, 20);
    let policy = policy(&json!({}), rounds, &json!({"tokens_per_day": LIMIT}));
    let world = World::with(dialect, policy, 1, costly, |gateway| gateway).await?;
    for round in 0..rounds {
        let mut used = 0;
        for _ in 0..5 {
            let requests = (0..50).map(|n| {
                let body = json!({"model": "m", "max_tokens": 100 + 4 * n, "messages": []});
                let request = Request::post("/v1/chat/completions").json(&body);
                request.bearer(&format!("round-{round}"))
            });
            for answer in world.at_once(requests).await {
                let tokens = &answer.json()["usage"]["total_tokens"];
                used += tokens.as_u64().unwrap_or_default();
            }
        }
        row.admit_u64(used);
    }
    world.assert_sound().await;
    Some(row)
}

/// The service is killed when some have passed.
async fn local(dialect: Dialect, store: &'static str) -> Option<Row> {
    let limit =
        "`requests_per_day: 30`, the service killed after 10, `failure_mode: local`, one Envoy";
    let mut row = Row::new(limit, 64, "answered", store);
    row.allow(30);
    let counters = json!({"failure_mode": "local", "timeout": "500ms"});
    for _ in 0..times(1, 20) {
        let policy = policy(&counters, 1, &json!({"requests_per_day": 30}));
        let mut world = World::start(dialect, policy, 1).await?;
        world.at_once(chats("round-0", 10)).await;
        world.service.kill().await;
        world.at_once(chats("round-0", 64)).await;
        row.admit(world.upstream.count());
    }
    Some(row)
}

/// Clients that come again until nothing is left.
async fn leased(dialect: Dialect, store: &'static str) -> Option<Row> {
    let limit = "`requests_per_day: 300`, `lease: {requests: 20, max_age: 20s}`, two Envoys";
    let mut row = Row::new(limit, 8, "answered", store);
    row.allow_up_to(300, ", and at least 260");
    let counters = json!({"lease": {"requests": 20, "max_age": "20s"}});
    let rounds = times(1, 20);
    let policy = policy(&counters, rounds, &json!({"requests_per_day": 300}));
    let world = World::start(dialect, policy, 2).await?;
    for round in 0..rounds {
        let before = world.upstream.count();
        for _ in 0..60 {
            world.at_once(chats(&format!("round-{round}"), 8)).await;
        }
        let passed = world.upstream.count() - before;
        assert!(passed >= 260, "{passed}");
        row.admit(passed);
    }
    world.assert_sound().await;
    Some(row)
}
