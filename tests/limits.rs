//! What the workers of one Envoy share: limits on every level hold for all of them together, exactly.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use support::client::{Request, Response};
use support::crowd::{all_at_once, held_at_once, race_for_one, statuses};
use support::envoy::{Gateway, Running};
use support::upstream::{Answer, Gate, Upstream, chat};

async fn start(policy: Value, upstream: &Upstream) -> Option<Running> {
    Gateway::new(policy)
        .cluster("openai", upstream.address())
        .start()
        .await
}

/// Answers that end when the gate opens.
async fn behind(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::start(move |seen| {
        let answer = json!({"model": seen.json()["model"], "usage": {"total_tokens": 15}});
        Answer::new(200)
            .header("content-type", "application/json")
            .gate(&gate)
            .bytes(answer.to_string())
    })
    .await
}

fn chats(key: &str, count: usize) -> Vec<Request> {
    vec![Request::chat(key, "gpt-4o"); count]
}

/// Both workers took part, or a test of what they share has shown nothing.
async fn assert_both_workers(gateway: &Running) {
    let stats = gateway.stats().await;
    for worker in 0..2 {
        let name = format!("worker_{worker}.downstream_cx_total");
        assert!(
            stats
                .iter()
                .any(|(n, count)| n.contains(&name) && *count > 0),
            "{name}: {stats:#?}"
        );
    }
    assert!(!stats.contains_key("wasmcustom.cohort.store_errors"));
    gateway.assert_healthy().await;
}

/// Room for so many, asked for by so many.
const CROWDS: [(usize, usize); 8] = [
    (0, 64),
    (1, 64),
    (30, 64),
    (30, 64),
    (30, 64),
    (0, 256),
    (1, 256),
    (30, 256),
];

fn groups(limit: &str) -> Value {
    let groups = CROWDS.iter().enumerate().map(|(at, (room, _))| {
        json!({"name": format!("group-{at}"), "api_key": format!("key-{at}"), "rate_limits": {limit: room}})
    });
    json!({"version": "1", "consumer_groups": groups.collect::<Vec<_>>()})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_as_many_requests_pass_as_there_is_room_for() {
    let upstream = Upstream::start(chat).await;
    let Some(gateway) = start(groups("requests_per_minute"), &upstream).await else {
        return;
    };
    for (at, (room, clients)) in CROWDS.into_iter().enumerate() {
        support::quiet_minute().await;
        upstream.clear();
        let answers = all_at_once(gateway.address(), chats(&format!("key-{at}"), clients)).await;
        let mut expected = BTreeMap::from([(200, room), (429, clients - room)]);
        expected.retain(|_, count| *count > 0);
        assert_eq!(statuses(&answers), expected, "{room} of {clients}");
        assert_eq!(upstream.count(), room);
        // Each of those who passed was told another number.
        let left = |answer: &Response| answer.header("ratelimit-remaining").unwrap().parse();
        let passed = answers.iter().filter(|answer| answer.status == 200);
        let mut left: Vec<usize> = passed.map(|answer| left(answer).unwrap()).collect();
        left.sort_unstable();
        assert_eq!(left, (0..room).collect::<Vec<_>>());
    }
    assert_both_workers(&gateway).await;
}

/// Of every group the last request that fits is the first one, and all workers are asked for it at the same moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_workers_that_see_room_for_one_one_is_right() {
    let Some((gateway, passed)) = race_for_one(1_000).await else {
        return;
    };
    assert_eq!(passed, vec![1; 1_000]);
    assert_both_workers(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_as_many_requests_are_under_way_as_there_is_room_for() {
    let gate = Gate::default();
    let upstream = behind(&gate).await;
    let Some(gateway) = start(groups("concurrent_requests"), &upstream).await else {
        return;
    };
    for (at, (room, clients)) in CROWDS.into_iter().enumerate() {
        let requests = chats(&format!("key-{at}"), clients);
        // Twice: those of the first time have left their slots.
        for _ in 0..2 {
            let (passed, refused) =
                held_at_once(gateway.address(), requests.clone(), room, &upstream, &gate).await;
            assert!(passed.iter().all(|answer| answer.status == 200));
            for answer in refused {
                let error = answer.json()["error"].take();
                assert_eq!(answer.status, 429);
                assert_eq!(answer.header("retry-after"), Some("1"));
                assert_eq!(error["code"], "concurrency_limit_exceeded");
                assert_eq!(error["limit"], "concurrent_requests");
                assert_eq!(error["consumer_group"], format!("group-{at}"));
            }
        }
    }
    assert_both_workers(&gateway).await;
}

/// One level of limits: a policy in which `LIMIT` stands for a limit with room for 5, whose requests it counts, and what
/// a refusal says.
struct Level {
    policy: &'static str,
    keys: &'static [&'static str],
    scope: &'static str,
    group: Option<&'static str>,
}

const LEVELS: [Level; 7] = [
    Level {
        policy: "
            consumer_groups:
              - {name: web, api_keys: [key-of-ann, key-of-bob], rate_limits: LIMIT}",
        keys: &["key-of-ann", "key-of-bob"],
        scope: "consumer_group",
        group: Some("web"),
    },
    Level {
        policy: "
            consumer_groups:
              - {name: web, api_keys: [key-of-ann, key-of-bob], consumer_rate_limits: LIMIT}",
        keys: &["key-of-bob"],
        scope: "consumer",
        group: Some("web"),
    },
    Level {
        policy: "
            consumer_groups:
              - name: web
                api_keys: [key-of-ann, key-of-bob]
                model_rate_limits: [{models: [o3, gpt-*], rate_limits: LIMIT}]",
        keys: &["key-of-ann", "key-of-bob"],
        scope: "model",
        group: Some("web"),
    },
    Level {
        policy: "
            consumer_groups:
              - {name: web, parent: product, api_key: key-of-web}
              - {name: app, parent: product, api_key: key-of-app}
              - {name: product, parent: company, api_key: key-of-product}
              - {name: company, rate_limits: LIMIT}",
        keys: &["key-of-web", "key-of-app", "key-of-product"],
        scope: "consumer_group",
        group: Some("company"),
    },
    Level {
        policy: "
            ceilings: {rate_limits: LIMIT}
            consumer_groups:
              - {name: web, api_key: key-of-web}
              - {name: app, api_key: key-of-app}",
        keys: &["key-of-web", "key-of-app"],
        scope: "ceilings",
        group: None,
    },
    Level {
        policy: "
            ceilings: {model_rate_limits: [{models: ['*-4o'], rate_limits: LIMIT}]}
            consumer_groups:
              - {name: web, api_key: key-of-web}
              - {name: app, api_key: key-of-app}",
        keys: &["key-of-web", "key-of-app"],
        scope: "model",
        group: None,
    },
    // All of them, and the one in the middle is the narrow one.
    Level {
        policy: "
            ceilings: {rate_limits: {requests_per_day: 60, concurrent_requests: 60}}
            consumer_groups:
              - name: web
                parent: product
                api_keys: [key-of-ann, key-of-bob]
                rate_limits: {requests_per_day: 30, concurrent_requests: 40}
                consumer_rate_limits: {requests_per_day: 25, concurrent_requests: 30}
                model_rate_limits: [{models: [gpt-4o], rate_limits: {requests_per_day: 20, concurrent_requests: 20}}]
              - {name: app, parent: product, api_key: key-of-app}
              - {name: product, parent: company, rate_limits: LIMIT}
              - {name: company, rate_limits: {requests_per_day: 50, concurrent_requests: 50}}",
        keys: &["key-of-ann", "key-of-app", "key-of-bob"],
        scope: "consumer_group",
        group: Some("product"),
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_level_is_exact_and_says_that_it_fired() {
    for level in LEVELS {
        for limit in ["requests_per_day", "concurrent_requests"] {
            let gate = Gate::default();
            let upstream = behind(&gate).await;
            let policy = level.policy.replace("LIMIT", &format!("{{{limit}: 5}}"));
            let policy = format!(
                "version: '1'\nrate_limit_headers: [ietf]\n{}",
                undent(&policy)
            );
            let Some(gateway) = start(support::yaml(&policy), &upstream).await else {
                return;
            };
            let requests = level.keys.iter().cycle().take(48);
            let requests: Vec<_> = requests.map(|key| Request::chat(key, "gpt-4o")).collect();
            let (passed, refused) =
                held_at_once(gateway.address(), requests, 5, &upstream, &gate).await;
            assert_eq!(statuses(&passed), BTreeMap::from([(200, 5)]), "{policy}");
            for answer in &refused {
                assert_eq!(answer.status, 429, "{policy}");
                let error = answer.json()["error"].take();
                // A ceiling has no group of its own: the caller's is told.
                let group = level
                    .group
                    .map_or_else(|| answer.header("x-consumer-group"), Some);
                assert_eq!(
                    (
                        &error["limit"],
                        &error["scope"],
                        error["consumer_group"].as_str()
                    ),
                    (&json!(limit), &json!(level.scope), group),
                    "{policy}"
                );
            }
            // The refused ones have taken nothing from anyone: each counter holds the five and the one that asks.
            for key in level.keys {
                let answer = gateway.send(Request::chat(key, "o1")).await;
                for (name, quota, left) in standings(&answer) {
                    let requests = name.ends_with("requests_per_day");
                    let most = if requests {
                        5 + level.keys.len() as u64
                    } else {
                        1
                    };
                    assert!(
                        quota - left <= most,
                        "{name} has {left} of {quota}: {policy}"
                    );
                }
            }
            gateway.assert_healthy().await;
        }
    }
}

/// Every limit of an answer's `RateLimit-Policy` and `RateLimit`: name, quota, what is left.
fn standings(answer: &Response) -> Vec<(String, u64, u64)> {
    let (Some(policy), Some(state)) = (
        answer.header("ratelimit-policy"),
        answer.header("ratelimit"),
    ) else {
        return Vec::new();
    };
    let item = |item: &str, name: &str| -> (String, u64) {
        let (limit, rest) = item.trim().trim_start_matches('"').split_once('"').unwrap();
        let mut parameters = rest.split(';').filter_map(|part| part.split_once('='));
        let value = parameters.find(|(n, _)| *n == name).unwrap().1;
        (limit.to_owned(), value.parse().unwrap())
    };
    let both = policy.split(", ").zip(state.split(", "));
    both.map(|(policy, state)| {
        let ((name, quota), (same, left)) = (item(policy, "q"), item(state, "r"));
        assert_eq!(name, same);
        (name, quota, left)
    })
    .collect()
}

fn undent(yaml: &str) -> String {
    yaml.replace("\n            ", "\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_consumers_of_a_group_have_a_counter_each() {
    let policy = support::yaml(
        "
version: '1'
consumer_groups:
  - name: web
    api_keys: [key-of-ann, key-of-bob]
    consumer_rate_limits: {requests_per_minute: 10}
",
    );
    let upstream = Upstream::start(chat).await;
    let Some(gateway) = start(policy, &upstream).await else {
        return;
    };
    support::quiet_minute().await;
    for key in ["key-of-ann", "key-of-bob"] {
        let answer = gateway.send(Request::chat(key, "gpt-4o")).await;
        assert_eq!(answer.header("ratelimit-limit"), Some("10"));
        assert_eq!(answer.header("ratelimit-remaining"), Some("9"));
    }
    let both = [chats("key-of-ann", 30), chats("key-of-bob", 30)].concat();
    let answers = all_at_once(gateway.address(), both).await;
    assert_eq!(statuses(&answers), BTreeMap::from([(200, 18), (429, 42)]));
    let of_ann = answers.iter().filter(|answer| answer.status == 429);
    for answer in of_ann {
        assert_eq!(answer.json()["error"]["scope"], "consumer");
        assert_eq!(answer.header("ratelimit-limit"), Some("10"));
        assert_eq!(answer.header("ratelimit-remaining"), Some("0"));
    }
    assert_both_workers(&gateway).await;
}

#[tokio::test]
async fn what_is_refused_takes_nothing_on_any_level() {
    let policy = support::yaml(
        "
version: '1'
rate_limit_headers: [ietf]
ceilings: {rate_limits: {requests_per_day: 60, concurrent_requests: 9, tokens_per_day: 60k}}
consumer_groups:
  - name: web
    parent: company
    api_keys: [key-of-ann, key-of-bob]
    rate_limits: {requests_per_day: 40, tokens_per_day: 40k}
    consumer_rate_limits: {requests_per_day: 30, tokens_per_day: 30k}
    model_rate_limits: [{models: [o3], rate_limits: {requests_per_day: 3}}]
  - {name: company, rate_limits: {requests_per_day: 50, tokens_per_day: 50k}}
",
    );
    let upstream = Upstream::start(chat).await;
    let Some(gateway) = start(policy, &upstream).await else {
        return;
    };
    let answers = all_at_once(
        gateway.address(),
        vec![Request::chat("key-of-ann", "o3"); 10],
    )
    .await;
    assert_eq!(statuses(&answers), BTreeMap::from([(200, 3), (429, 7)]));
    // Refused before anything is counted, for reasons that have nothing to do with counters.
    let too_much = json!({"model": "gpt-4o", "max_tokens": 30_001, "messages": []});
    for (request, status) in [
        (
            Request::post("/v1/chat/completions")
                .bearer("key-of-ann")
                .json(&json!([])),
            400,
        ),
        (
            Request::post("/v1/chat/completions")
                .bearer("key-of-ann")
                .json(&too_much),
            400,
        ),
        (Request::get("/v1/files").bearer("key-of-ann"), 403),
    ] {
        assert_eq!(gateway.send(request).await.status, status);
    }
    gateway.events(13).await;
    let answer = gateway.send(Request::chat("key-of-ann", "gpt-4o")).await;
    let used: Vec<_> = (standings(&answer).into_iter())
        .map(|(name, quota, left)| (name, quota - left))
        .collect();
    let used: Vec<_> = used
        .iter()
        .map(|(name, used)| (name.as_str(), *used))
        .collect();
    // Three that passed at 15 tokens each, and this one, whose tokens nobody knows yet.
    let expected = [
        ("consumer.requests_per_day", 4),
        ("consumer.tokens_per_day", 45),
        ("requests_per_day", 4),
        ("tokens_per_day", 45),
        ("company.requests_per_day", 4),
        ("company.tokens_per_day", 45),
        ("ceilings.requests_per_day", 4),
        ("ceilings.tokens_per_day", 45),
        ("ceilings.concurrent_requests", 1),
    ];
    assert_eq!(used, expected);
    let answer = gateway.send(Request::chat("key-of-bob", "o3")).await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.json()["error"]["scope"], "model");
    // Of another consumer, so its own counters are untouched.
    let left: BTreeMap<_, _> = (standings(&answer).into_iter())
        .map(|(name, _, left)| (name, left))
        .collect();
    assert_eq!(left["model.requests_per_day"], 0);
    assert_eq!(left["consumer.requests_per_day"], 30);
    assert_eq!(left["requests_per_day"], 36);
    gateway.assert_healthy().await;
}

#[tokio::test]
async fn headers_tell_in_three_families_where_a_caller_stands() {
    let mut policy = support::yaml(
        "
version: '1'
rate_limit_headers: [standard, openai, ietf]
consumer_groups:
  - name: web
    api_key: key-of-web
    rate_limits: {requests_per_hour: 3, tokens_per_day: 1000, concurrent_requests: 1}
",
    );
    // Where it is noon: the day must not end before the hour does.
    let hours = 12 - (support::now_ms() / 3_600_000 % 24).cast_signed();
    policy["timezone"] = json!(format!("{hours:+03}:00"));
    let gate = Gate::default();
    gate.open();
    let upstream = Upstream::start({
        let gate = gate.clone();
        move |seen| {
            let answer = chat(seen).late(&gate);
            // Of the account that all groups share.
            [
                "ratelimit-limit",
                "ratelimit",
                "x-ratelimit-remaining-tokens",
            ]
            .into_iter()
            .fold(answer, |answer, name| answer.header(name, "9999"))
        }
    })
    .await;
    let Some(gateway) = start(policy, &upstream).await else {
        return;
    };
    let mut sent = 0;
    let told = async |max_tokens: u32| -> Response {
        let body = json!({"model": "gpt-4o", "max_tokens": max_tokens, "messages": []});
        let request = Request::post("/v1/chat/completions").bearer("key-of-web");
        gateway.send(request.json(&body)).await
    };
    // (max_tokens, status, requests left, tokens left, slots left, what refuses)
    for (max_tokens, status, requests, tokens, slots, limit) in [
        (10, 200, 2, 1000, 0, ""),
        (990, 429, 2, 985, 1, "tokens_per_day"),
        (985, 200, 1, 985, 0, ""),
        (10, 200, 0, 970, 0, ""),
        (10, 429, 0, 955, 1, "requests_per_hour"),
        (990, 429, 0, 955, 1, "tokens_per_day"),
    ] {
        let answer = told(max_tokens).await;
        sent += 1;
        gateway.events(sent).await;
        let shown = answer.text();
        assert_eq!(answer.status, status, "{shown}");
        if status == 429 {
            assert_eq!(answer.json()["error"]["limit"], limit);
            let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!(wait > 1, "{wait}");
        }
        let number = |name: &str| -> u64 {
            let value = answer
                .header(name)
                .unwrap_or_else(|| panic!("{name}: {answer:?}"));
            value.parse().unwrap_or_else(|_| panic!("{name}: {value}"))
        };
        assert_eq!(number("ratelimit-limit"), 3);
        assert_eq!(number("ratelimit-remaining"), requests);
        assert_eq!(number("ratelimit-reset") > 0, requests == 0);
        if limit == "requests_per_hour" {
            assert_eq!(number("ratelimit-reset"), number("retry-after"));
        }
        assert_eq!(number("x-ratelimit-limit-requests"), 3);
        assert_eq!(number("x-ratelimit-remaining-requests"), requests);
        assert_eq!(number("x-ratelimit-limit-tokens"), 1000);
        assert_eq!(number("x-ratelimit-remaining-tokens"), tokens);
        assert_eq!(
            answer.header("ratelimit-policy"),
            Some(
                "\"requests_per_hour\";q=3;w=3600, \"tokens_per_day\";q=1000;w=86400;qu=\"tokens\", \
                 \"concurrent_requests\";q=1;qu=\"concurrent-requests\""
            )
        );
        let left: Vec<_> = standings(&answer)
            .iter()
            .map(|(_, _, left)| *left)
            .collect();
        assert_eq!(left, [requests, tokens, slots]);
        for name in ["x-ratelimit-reset-requests", "x-ratelimit-reset-tokens"] {
            assert!(answer.header(name).unwrap().ends_with('s'), "{answer:?}");
        }
    }
    gateway.assert_healthy().await;
}

#[tokio::test]
async fn more_output_than_the_whole_limit_is_refused_for_good() {
    let policy = support::yaml(
        "
version: '1'
consumer_groups:
  - name: web
    parent: company
    api_key: key-of-web
    rate_limits: {requests_per_day: 5}
  - {name: company, rate_limits: {tokens_per_day: 1000, completion_tokens_per_minute: 500}}
",
    );
    let upstream = Upstream::start(chat).await;
    let Some(gateway) = start(policy, &upstream).await else {
        return;
    };
    for (max_tokens, n, status, limit) in [
        (501, 1, 400, "completion_tokens_per_minute"),
        (126, 4, 400, "completion_tokens_per_minute"),
        (1_001, 1, 400, "tokens_per_day"),
        (500, 1, 200, ""),
        // Five of them are gone.
        (123, 4, 200, ""),
    ] {
        let body = json!({"model": "gpt-4o", "max_tokens": max_tokens, "n": n, "messages": []});
        let request = Request::post("/v1/chat/completions").bearer("key-of-web");
        let answer = gateway.send(request.json(&body)).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
        if status == 400 {
            assert_eq!(answer.code(), "request_exceeds_limit");
            let error = answer.json()["error"].take();
            assert_eq!(error["limit"], limit, "{body}");
            assert_eq!(error["consumer_group"], "company");
            assert_eq!(error["scope"], "consumer_group");
            assert_eq!(answer.header("retry-after"), None);
        }
    }
    gateway.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_guessed_at_one_rate() {
    let policy = json!({
        "version": "1",
        "failed_auth_per_minute": 20,
        "consumer_groups": [{"name": "engineering", "api_key": "engineering-key"}],
    });
    let upstream = Upstream::start(chat).await;
    let Some(gateway) = start(policy, &upstream).await else {
        return;
    };
    support::quiet_minute().await;
    let guesses = all_at_once(gateway.address(), chats("a-guess", 64)).await;
    assert_eq!(statuses(&guesses), BTreeMap::from([(401, 20), (429, 44)]));
    let refused = gateway.send(Request::chat("a-guess", "gpt-4o")).await;
    assert_eq!(refused.json()["error"]["limit"], "failed_auth_per_minute");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(upstream.count(), 0);
    // Who knows a key is not kept out by who does not.
    let known = all_at_once(gateway.address(), chats("engineering-key", 64)).await;
    assert_eq!(statuses(&known), BTreeMap::from([(200, 64)]));
    gateway.assert_healthy().await;
}
