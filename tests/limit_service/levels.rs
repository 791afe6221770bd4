//! Limits on every level, by what is rendered from the policy: those that fire are those of the policy.

use super::*;

/// Each with room for fewer requests than the next; all have their own name.
const LEVELS: &str = "
ceilings:
  rate_limits: {requests_per_month: 16, tokens_per_month: 1000M}
  consumer_rate_limits: {tokens_per_hour: 90M}
consumer_groups:
  - name: web
    parent: product
    api_keys: [ann, bob, cid, dan]
    rate_limits: {requests_per_day: 8, tokens_per_minute: 20M}
    consumer_rate_limits: {requests_per_hour: 3}
    model_rate_limits:
      - models: ['dear-*', o3]
        rate_limits: {requests_per_day: 2, completion_tokens_per_day: 5M}
  - name: product
    parent: company
    rate_limits: {prompt_tokens_per_day: 50M}
  - {name: app, parent: product, api_key: eve}
  - name: company
    rate_limits: {requests_per_day: 12}
  - {name: guests, api_key: guest}
";

/// Who asks, how many of 20 pass if a limit has room for `room` and `gone` of it are gone, and what the others are told.
struct Step {
    keys: &'static [&'static str],
    model: &'static str,
    room: usize,
    told: [&'static str; 3],
}

const STEPS: [Step; 5] = [
    Step {
        keys: &["ann"],
        model: "dear-4",
        room: 2,
        told: ["requests_per_day", "web", "model"],
    },
    Step {
        keys: &["bob"],
        model: "gpt-4o",
        room: 3,
        told: ["requests_per_hour", "web", "consumer"],
    },
    Step {
        keys: &["cid", "dan"],
        model: "gpt-4o",
        room: 8,
        told: ["requests_per_day", "web", "consumer_group"],
    },
    Step {
        keys: &["eve"],
        model: "o3",
        room: 12,
        told: ["requests_per_day", "company", "consumer_group"],
    },
    Step {
        keys: &["guest"],
        model: "o3",
        room: 16,
        told: ["requests_per_month", "guests", "ceilings"],
    },
];

async fn each_level_holds(dialect: Dialect, gateways: usize) {
    let world = World::start(dialect, support::yaml(LEVELS), gateways).await;
    let Some(world) = world else { return };
    // The envoy dialect counts what another limit refuses; Limitador does not.
    let mut counted = 0;
    for (at, step) in STEPS.iter().enumerate() {
        let room = if at < 2 {
            step.room
        } else {
            step.room - counted
        };
        let mut passed = 0;
        let refused = loop {
            let key = step.keys[passed % step.keys.len()];
            let gateway = &world.gateways[passed % gateways];
            let answer = gateway.send(Request::chat(key, step.model)).await;
            counted += usize::from(answer.status == 200 || dialect == Dialect::Envoy);
            if answer.status != 200 {
                break answer;
            }
            passed += 1;
            assert!(passed <= room, "{}", step.told[2]);
        };
        assert_eq!((passed, refused.status), (room, 429), "{}", step.told[2]);
        // Without headers Limitador does not say which limit it was.
        if dialect != Dialect::Limitador {
            let [limit, group, scope] = step.told;
            assert_eq!(
                fired(&refused),
                ["rate_limit_exceeded", limit, group, scope]
            );
            assert_eq!(refused.header("ratelimit-remaining"), Some("0"));
        }
        assert_eq!(refused.code(), "rate_limit_exceeded");
    }
    world.assert_sound().await;

    if dialect != Dialect::Envoy {
        return;
    }
    // Each limit has its own counter, which takes the tokens of all that passed under it.
    let seen = world.upstream.seen();
    let passed = |groups: &[&str], model: &str| {
        let seen = seen.iter().filter(|seen| {
            let group = seen.header("x-consumer-group").unwrap_or_default();
            groups.contains(&std::str::from_utf8(group).unwrap())
                && (model.is_empty() || seen.json()["model"] == model)
        });
        seen.count() as u64
    };
    for (descriptor, tokens) in [
        (
            "scope=ceilings|limit=tokens_per_month",
            15 * passed(&["web", "app", "guests"], ""),
        ),
        (
            "group=product|limit=prompt_tokens_per_day",
            10 * passed(&["web", "app"], ""),
        ),
        (
            "group=web|limit=tokens_per_minute",
            15 * passed(&["web"], ""),
        ),
        (
            "group=web|model=dear-*,o3|limit=completion_tokens_per_day",
            5 * passed(&["web"], "dear-4"),
        ),
    ] {
        let descriptor = format!("cohort|{descriptor}");
        assert!(tokens > 0, "{descriptor}");
        world
            .counts(|counts| counts.hits(&descriptor).counted == tokens)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_level_holds_in_envoyproxy_ratelimit() {
    each_level_holds(Dialect::Envoy, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_level_holds_in_limitador() {
    each_level_holds(Dialect::Limitador, 1).await;
    each_level_holds(Dialect::LimitadorWithHeaders, 1).await;
}

const TUTORIAL: &str = include_str!("../../testdata/config/valid/tutorial.yaml");
const EXAMPLES: [(Dialect, &str); 2] = [
    (Dialect::Envoy, include_str!("../../envoy/ratelimit.yaml")),
    (
        Dialect::LimitadorWithHeaders,
        include_str!("../../envoy/limitador.yaml"),
    ),
];

/// The files in `envoy/` hold the tutorial's limits, in two Envoys as in one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_examples_hold_the_tutorials_limits() {
    for (dialect, example) in EXAMPLES {
        let Some(service) = Ratelimitd::start(dialect, example).await else {
            return;
        };
        let upstream = Upstream::start(chat).await;
        let mut world = World {
            upstream,
            service,
            gateways: Vec::new(),
        };
        for _ in 0..2 {
            let gateway = world.gateway(policy(dialect, support::yaml(TUTORIAL)));
            let gateway = gateway.environment("OPENAI_API_KEY", "sk-of-the-provider");
            let Some(gateway) = gateway.start().await else {
                return;
            };
            world.gateways.push(gateway);
        }
        support::quiet_minute().await;
        for (key, group, limit, tokens) in [
            ("kt_cg_marketing_def456", "marketing", 30, "50000"),
            ("kt_cg_engineering_abc123", "engineering", 60, "100000"),
        ] {
            let request = Request::chat(key, "gpt-4o-mini");
            let answers = world.at_once(vec![request; limit + 20]).await;
            assert_eq!(
                statuses(&answers),
                expected([(200, limit), (429, 20)]),
                "{dialect:?}"
            );
            for answer in &answers {
                assert_eq!(
                    answer.header("x-ratelimit-limit-requests"),
                    Some(&*limit.to_string())
                );
                assert_eq!(answer.header("x-ratelimit-limit-tokens"), Some(tokens));
            }
            let refused = answers.iter().find(|answer| answer.status == 429);
            let named = [
                "rate_limit_exceeded",
                "requests_per_minute",
                group,
                "consumer_group",
            ];
            assert_eq!(fired(refused.unwrap()), named);
            // What passed has used its tokens, of the minute and of the day.
            let (of_minute, of_day) = match dialect {
                Dialect::Envoy => ("tokens_per_minute", "tokens_per_day"),
                _ => ("tokens", "tokens"),
            };
            for limit_name in [of_minute, of_day] {
                let descriptor = format!("cohort|group={group}|limit={limit_name}");
                let used = 15 * limit as u64;
                world
                    .counts(|counts| counts.hits(&descriptor).counted == used)
                    .await;
            }
        }
        world.assert_sound().await;
    }
}
