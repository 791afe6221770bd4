//! Tokens: looked at before, reported after, whatever the ending.

use super::*;
use support::ratelimitd::{CHECK_RATE_LIMIT, REPORT, SHOULD_RATE_LIMIT};
use support::upstream::Answer;

const KINDS: &str = "
consumer_groups:
  - name: gold
    api_key: gold-key
    rate_limits:
      requests_per_day: 1000
      tokens_per_day: 1M
      tokens_per_hour: 1M
      prompt_tokens_per_day: 1M
      completion_tokens_per_day: 1M
";

/// Ends as the model's name says.
fn ending(seen: &Seen) -> Answer {
    if seen.method == "GET" {
        return Answer::json(&json!({"object": "list", "data": []}));
    }
    let model = seen.json()["model"].clone();
    match model.as_str().unwrap() {
        "fails" => Answer::json(&json!({"error": {}})).status(500),
        "resets" => Answer::new(200).reset(),
        "breaks" => Answer::json(&json!({})).bytes("x").reset(),
        "stays" => chat(seen).split(80, Duration::from_millis(100)),
        _ => chat(seen),
    }
}

fn of(model: &str, stream: bool) -> Request {
    let body = json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": "Hello"}]});
    Request::post("/v1/chat/completions")
        .bearer("gold-key")
        .json(&body)
}

/// Every limit is asked about once before, with nothing, and is told afterwards what was used.
async fn tokens_are_looked_at_and_reported(dialect: Dialect) {
    let world = World::with(dialect, support::yaml(KINDS), 1, ending, |gateway| gateway).await;
    let Some(world) = world else { return };
    let (answers, mut sent) = (&mut Vec::new(), 0_u64);
    for (request, reports) in [
        (of("gpt-4o", false), true),
        (of("gpt-4o", true), true),
        (of("fails", false), false),
        (of("resets", false), false),
        (Request::get("/v1/models").bearer("gold-key"), false),
        (of("gpt-4o", true), true),
    ] {
        answers.push((world.send(&request).await.status, reports));
        sent += 1;
    }
    let reported = answers.iter().filter(|(_, reports)| *reports).count() as u64;
    let [requests, tokens, prompt, completion] = match dialect {
        Dialect::Envoy => [
            "requests_per_day",
            "tokens_per_day",
            "prompt_tokens_per_day",
            "completion_tokens_per_day",
        ],
        _ => ["requests", "tokens", "prompt_tokens", "completion_tokens"],
    }
    .map(|limit| format!("cohort|group=gold|limit={limit}"));
    let hits = |calls, asked| Hits {
        calls,
        asked,
        counted: asked,
    };
    world.assert_hits(&requests, hits(sent, sent)).await;
    for (descriptor, each) in [(tokens, 15), (prompt, 10), (completion, 5)] {
        world
            .assert_hits(&descriptor, hits(sent + reported, reported * each))
            .await;
    }
    let counts = world.service.counts().await;
    let calls = [SHOULD_RATE_LIMIT, CHECK_RATE_LIMIT, REPORT].map(|path| counts.calls(path));
    match dialect {
        Dialect::Envoy => {
            assert_eq!(calls, [sent + reported, 0, 0]);
            let hour = counts.hits("cohort|group=gold|limit=tokens_per_hour");
            assert_eq!(hour, hits(sent + reported, reported * 15));
        }
        _ => assert_eq!(calls, [sent, 3 * sent, 3 * reported]),
    }
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_looked_at_before_and_reported_after() {
    for dialect in [Dialect::Envoy, Dialect::Limitador] {
        tokens_are_looked_at_and_reported(dialect).await;
    }
}

/// A stream that its caller leaves, and one that its upstream breaks off, cost what came of them: an estimate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_early_is_reported_too() {
    let world = World::with(Dialect::Envoy, support::yaml(KINDS), 1, ending, |gateway| {
        gateway
    })
    .await;
    let Some(world) = world else { return };
    let tokens = "cohort|group=gold|limit=tokens_per_day";
    let stays = of("stays", true);
    let leaving = stays.send(world.envoy().address());
    // Something of it has come by then, and the rest takes longer.
    let left = tokio::time::timeout(Duration::from_millis(350), leaving).await;
    assert!(left.is_err(), "{left:?}");
    let event = world.envoy().events(1).await.remove(0);
    assert_eq!(event["estimated"], true);
    let used = event["usage"]["total_tokens"].as_u64().unwrap();
    assert!(used > 0);
    world
        .assert_hits(
            tokens,
            Hits {
                calls: 2,
                asked: used,
                counted: used,
            },
        )
        .await;

    let _ = of("breaks", false).send(world.envoy().address()).await;
    let event = world.envoy().events(2).await.remove(1);
    let used = used + event["usage"]["total_tokens"].as_u64().unwrap();
    world
        .assert_hits(
            tokens,
            Hits {
                calls: 4,
                asked: used,
                counted: used,
            },
        )
        .await;
    world.assert_sound().await;
}

/// The first Envoy uses, the second refuses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_envoy_sees_what_the_other_used() {
    for dialect in [Dialect::Envoy, Dialect::LimitadorWithHeaders] {
        let policy = json!({"consumer_groups": [{
            "name": "gold",
            "api_key": "gold-key",
            "rate_limits": {"tokens_per_day": 1000},
        }]});
        let costly = |seen: &Seen| {
            let used = seen.json()["max_tokens"].as_u64().unwrap();
            Answer::json(
                &json!({"usage": {"prompt_tokens": 0, "completion_tokens": used, "total_tokens": used}}),
            )
        };
        let world = World::with(dialect, policy, 2, costly, |gateway| gateway).await;
        let Some(world) = world else { return };
        let limit = if dialect == Dialect::Envoy {
            "tokens_per_day"
        } else {
            "tokens"
        };
        let descriptor = format!("cohort|group=gold|limit={limit}");
        let used = |used| {
            let (world, descriptor) = (&world, &descriptor);
            async move {
                world
                    .counts(|counts| counts.hits(descriptor).counted == used)
                    .await
            }
        };
        let of = |tokens: u64| {
            let body = json!({"model": "m", "max_tokens": tokens, "messages": []});
            Request::post("/v1/chat/completions")
                .bearer("gold-key")
                .json(&body)
        };
        let [first, second] = &world.gateways[..] else {
            panic!("two Envoys")
        };
        assert_eq!(first.send(of(900)).await.status, 200);
        used(900).await;
        // What does not fit in is refused before it is sent.
        let large = second.send(of(200)).await;
        let named = [
            "rate_limit_exceeded",
            "tokens_per_day",
            "gold",
            "consumer_group",
        ];
        assert_eq!(fired(&large), named, "{dialect:?}");
        assert_eq!(large.header("x-ratelimit-remaining-tokens"), Some("100"));
        assert_eq!(second.send(of(90)).await.status, 200);
        used(990).await;
        assert_eq!(first.send(of(5)).await.status, 200);
        used(995).await;
        assert_eq!(first.send(of(500)).await.status, 429);
        assert_eq!(second.send(of(5)).await.status, 200);
        used(1000).await;
        for gateway in [first, second] {
            let refused = gateway.send(of(1)).await;
            assert_eq!(refused.status, 429, "{dialect:?}");
            assert_eq!(refused.json()["error"]["limit"], "tokens_per_day");
        }
        world.assert_sound().await;
    }
}

/// Calls that say how many tokens they will use at most, all at once and again and again: reservations keep them in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_one_envoy_a_limit_on_tokens_holds_for_calls_at_the_same_time() {
    for dialect in [Dialect::Envoy, Dialect::LimitadorWithHeaders] {
        let policy = json!({"consumer_groups": [{
            "name": "gold",
            "api_key": "gold-key",
            "rate_limits": {"tokens_per_day": 1000},
        }]});
        // Half of what was announced: so that room comes back while others ask.
        let costly = |seen: &Seen| {
            let used = seen.json()["max_tokens"].as_u64().unwrap() / 2;
            Answer::json(&json!({"usage": {"prompt_tokens": 0, "completion_tokens": used, "total_tokens": used}}))
                .split(20, Duration::from_millis(5))
        };
        let world = World::with(dialect, policy, 1, costly, |gateway| gateway).await;
        let Some(mut world) = world else { return };
        let of = |tokens: u64| {
            let body = json!({"model": "m", "max_tokens": tokens, "messages": []});
            Request::post("/v1/chat/completions")
                .bearer("gold-key")
                .json(&body)
        };
        let mut used = 0;
        for round in 0..4 {
            let costs: Vec<u64> = (0..50).map(|n| 100 + 4 * n).collect();
            let answers = world.at_once(costs.iter().map(|cost| of(*cost))).await;
            assert!(
                answers
                    .iter()
                    .all(|answer| [200, 429].contains(&answer.status))
            );
            let passed = answers.iter().filter(|answer| answer.status == 200);
            let spent =
                passed.map(|answer| answer.json()["usage"]["total_tokens"].as_u64().unwrap());
            let spent: Vec<u64> = spent.collect();
            assert!(round > 0 || spent.len() >= 3, "{spent:?}");
            used += spent.iter().sum::<u64>();
            assert!(used <= 1000, "{dialect:?}, round {round}: {used}");
        }
        assert!(used > 700, "{dialect:?}: {used}");
        let limit = if dialect == Dialect::Envoy {
            "tokens_per_day"
        } else {
            "tokens"
        };
        let descriptor = format!("cohort|group=gold|limit={limit}");
        world
            .counts(|counts| counts.hits(&descriptor).counted == used)
            .await;
        world.assert_both_workers().await;
        world.assert_sound().await;
        // A service that has lost its memory does not make this Envoy forget what it used.
        if dialect == Dialect::Envoy {
            world.service.restart().await;
            let refused = world.send(&of(900)).await;
            let wait: Option<u64> = refused
                .header("retry-after")
                .map(|wait| wait.parse().unwrap());
            assert_eq!(refused.status, 429);
            assert!(wait > Some(1), "{wait:?}: it is over with the day");
        }
    }
}
