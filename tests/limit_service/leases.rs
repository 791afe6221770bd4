//! Leases: most requests ask nobody, and the limit holds all the same.

use super::*;
use support::ratelimitd::{CHECK_RATE_LIMIT, Fault, REPORT, SHOULD_RATE_LIMIT};

const REQUESTS: &str = "cohort|group=gold|limit=requests_per_day";
const TOKENS: &str = "cohort|group=gold|limit=tokens_per_day";

fn leased(lease: &Value, rate_limits: &Value) -> Value {
    json!({
        "counters": {"lease": lease},
        "consumer_groups": [{"name": "gold", "api_key": "gold-key", "rate_limits": rate_limits}],
    })
}

/// So many clients at a time, until all have been sent; how often each status came.
async fn stream_of(world: &World, requests: usize) -> BTreeMap<u16, usize> {
    const CLIENTS: usize = 4;
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let address = world.gateways[client % world.gateways.len()].address();
        clients.spawn(async move {
            let mut answers = Vec::new();
            for _ in 0..requests / CLIENTS {
                answers.push(ask("gold-key").send(address).await.expect("an answer"));
            }
            answers
        });
    }
    let answers = clients.join_all().await.concat();
    for answer in answers.iter().filter(|answer| answer.status == 429) {
        let named = [
            "rate_limit_exceeded",
            "requests_per_day",
            "gold",
            "consumer_group",
        ];
        assert_eq!(fired(answer), named);
    }
    statuses(&answers)
}

/// Never one too many, few too few, and few calls; the service has counted all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_holds_and_few_requests_ask() {
    for gateways in [1, 2] {
        let lease = json!({"requests": 50, "max_age": "20s"});
        let policy = leased(&lease, &json!({"requests_per_day": 600}));
        let Some(world) = World::start(Dialect::Envoy, policy, gateways).await else {
            return;
        };
        let first = stream_of(&world, 400).await;
        assert_eq!(first, expected([(200, 400)]));
        let counts = world.service.counts().await;
        let calls = counts.calls(SHOULD_RATE_LIMIT);
        assert!(
            calls <= 130,
            "{gateways} Envoys: {calls} calls for 400 requests"
        );
        // More are bought than spent, by less than is bought at a time.
        let bought = counts.hits(REQUESTS).asked;
        let ahead = 50 * gateways as u64;
        assert!((400..400 + ahead).contains(&bought), "{bought}");
        let rest = stream_of(&world, 400).await;
        let passed = 400 + rest.get(&200).copied().unwrap_or_default();
        assert!(passed <= 600, "{passed}");
        // Both went on asking until nothing was left: nothing that was bought has gone out of date.
        assert!(passed >= 590, "{gateways} Envoys: {passed}");
        assert_eq!(passed, world.upstream.count());
        let hits = world.service.counts().await.hits(REQUESTS);
        assert!(hits.asked >= passed as u64);
        world.assert_both_workers().await;
        world.assert_sound().await;
    }
}

/// What an Envoy buys and does not spend in time is lost, to all of them: less than was spent before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_spent_in_time_stays_counted() {
    let lease = json!({"requests": 40, "max_age": "500ms"});
    let policy = leased(&lease, &json!({"requests_per_day": 400}));
    let Some(world) = World::start(Dialect::Envoy, policy, 2).await else {
        return;
    };
    let mut passed = 0;
    // Bursts with pauses between them, in which all leases go out of date.
    for _ in 0..4 {
        passed += stream_of(&world, 60)
            .await
            .get(&200)
            .copied()
            .unwrap_or_default();
        sleep(Duration::from_millis(600)).await;
    }
    assert_eq!(passed, 240);
    let bought = world.service.counts().await.hits(REQUESTS).asked;
    // After each burst less than a batch in each Envoy.
    assert!((240..240 + 4 * 2 * 40).contains(&bought), "{bought}");
    passed += stream_of(&world, 400)
        .await
        .get(&200)
        .copied()
        .unwrap_or_default();
    let lost = usize::try_from(bought).unwrap() - 240;
    assert!(
        (400 - lost - 2 * 40..=400).contains(&passed),
        "{passed}, {lost} lost"
    );
    world.assert_sound().await;
}

/// With the next batch, and by the clock where none comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_reported_in_time() {
    for dialect in DIALECTS {
        let lease = json!({"requests": 50, "max_age": "1s"});
        let limits = json!({"requests_per_day": 100_000, "tokens_per_day": "1000M"});
        let gateways = if dialect == Dialect::Envoy { 2 } else { 1 };
        let world = World::start(dialect, leased(&lease, &limits), gateways).await;
        let Some(world) = world else { return };
        assert_eq!(stream_of(&world, 120).await, expected([(200, 120)]));
        let tokens = if dialect == Dialect::Envoy {
            TOKENS
        } else {
            "cohort|group=gold|limit=tokens"
        };
        // No request comes any more.
        let counts = world
            .counts(|counts| counts.hits(tokens).counted >= 120 * 15)
            .await;
        assert_eq!(counts.hits(tokens).counted, 120 * 15, "{dialect:?}");
        sleep(Duration::from_millis(1_500)).await;
        let later = world.service.counts().await;
        assert_eq!(later.hits(tokens), counts.hits(tokens), "{dialect:?}: once");
        let calls = [SHOULD_RATE_LIMIT, CHECK_RATE_LIMIT, REPORT].map(|path| later.calls(path));
        match dialect {
            // What is left is unknown, so each request asks.
            Dialect::Limitador => assert_eq!(calls[..2], [120, 120]),
            Dialect::Envoy => assert!(calls[0] < 100, "{calls:?}"),
            Dialect::LimitadorWithHeaders => {
                assert!(calls[0] < 100 && calls[0] == calls[1], "{calls:?}");
            }
        }
        assert!(calls[2] < 100, "{dialect:?}: {calls:?}");
        world.assert_sound().await;
    }
}

/// An Envoy misses what others use for twice the age of a lease, and nothing of what it uses itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_on_tokens_holds_under_leases() {
    let lease = json!({"requests": 50, "max_age": "1s"});
    let limits = json!({"requests_per_day": 100_000, "tokens_per_day": 1500});
    let policy = leased(&lease, &limits);
    let Some(world) = World::start(Dialect::Envoy, policy, 2).await else {
        return;
    };
    let of = || {
        let body = json!({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "Hello"}]});
        Request::post("/v1/chat/completions")
            .bearer("gold-key")
            .json(&body)
    };
    let (first, second) = (&world.gateways[0], &world.gateways[1]);
    let mut used = 0;
    // One alone: the limit holds as if it asked each time.
    while used < 1200 {
        let answer = first.send(of()).await;
        assert_eq!(answer.status, 200, "{used}");
        used += 15;
    }
    world
        .counts(|counts| counts.hits(TOKENS).counted == used)
        .await;
    // The other sees it with its first question.
    let answer = second.send(of()).await;
    assert_eq!(
        (answer.status, answer.header("x-ratelimit-remaining-tokens")),
        (200, Some("300"))
    );
    used += 15;
    while second.send(of()).await.status == 200 {
        used += 15;
        assert!(used <= 1500);
    }
    assert!(used > 1500 - 15 - 15, "{used}");
    world
        .counts(|counts| counts.hits(TOKENS).counted == used)
        .await;
    // The first looks again when its lease is over.
    sleep(Duration::from_millis(1_100)).await;
    assert_eq!(first.send(of()).await.status, 429);
    world.assert_sound().await;
}

/// A batch that was asked for in vain is nobody's, its tokens are still to be told, and the breaker spares the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_survives_a_service_that_fails() {
    let lease = json!({"requests": 20, "max_age": "20s"});
    let mut policy = leased(
        &lease,
        &json!({"requests_per_day": 200, "tokens_per_day": "1000M"}),
    );
    policy["counters"]["failure_mode"] = json!("local");
    policy["counters"]["timeout"] = json!("300ms");
    let Some(world) = World::start(Dialect::Envoy, policy, 1).await else {
        return;
    };
    assert_eq!(stream_of(&world, 100).await, expected([(200, 100)]));
    for fault in [Fault::Status(14), Fault::Hang] {
        world.service.fault(fault).await;
        assert_eq!(stream_of(&world, 40).await, expected([(200, 40)]));
    }
    let rest = stream_of(&world, 60).await;
    assert_eq!(
        rest,
        expected([(200, 20), (429, 40)]),
        "this Envoy's own counters"
    );
    world.service.fault(Fault::None).await;
    for _ in 0..400 {
        if world.send(&ask("gold-key")).await.status == 200 {
            break;
        }
        sleep(Duration::from_millis(25)).await;
    }
    // The service knows less of what passed than this Envoy does, and it is the service that is asked.
    let counted = world.service.counts().await.hits(REQUESTS).counted;
    assert!((101..=100 + 3 * 20).contains(&counted), "{counted}");
    world.envoy().assert_healthy().await;
}

/// A window that is too short for leases is asked about each time, and nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_per_second_buys_nothing_in_advance() {
    let lease = json!({"requests": 50, "max_age": "1s"});
    let policy = leased(&lease, &json!({"requests_per_second": 100_000}));
    let Some(world) = World::start(Dialect::Envoy, policy, 1).await else {
        return;
    };
    for _ in 0..60 {
        assert_eq!(world.send(&ask("gold-key")).await.status, 200);
    }
    let asked = world
        .service
        .counts()
        .await
        .hits("cohort|group=gold|limit=requests_per_second")
        .asked;
    assert_eq!(asked, 60);
    world.assert_sound().await;
}
