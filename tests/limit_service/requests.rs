//! Requests: how many pass, in whatever form they come, and what their callers are told.

use super::*;
use support::ratelimitd::{CHECK_RATE_LIMIT, Fault, SHOULD_RATE_LIMIT};

/// Room for so many, asked for by so many.
const CROWDS: [(usize, usize); 5] = [(0, 32), (1, 64), (30, 64), (30, 64), (30, 256)];

/// Two Envoys share one service, two workers each of them.
async fn exactly_as_many_pass_as_there_is_room_for(dialect: Dialect) {
    let groups = CROWDS.iter().enumerate().map(|(at, (room, _))| {
        json!({"name": format!("group-{at}"), "api_key": format!("key-{at}"), "rate_limits": {"requests_per_day": room}})
    });
    let groups: Vec<Value> = groups.collect();
    let world = World::start(dialect, json!({"consumer_groups": groups}), 2).await;
    let Some(world) = world else { return };
    for (at, (room, clients)) in CROWDS.into_iter().enumerate() {
        world.upstream.clear();
        let answers = world
            .at_once(vec![ask(&format!("key-{at}")); clients])
            .await;
        let (passed, refused): (Vec<_>, Vec<_>) =
            answers.iter().partition(|answer| answer.status == 200);
        assert_eq!(
            statuses(&answers),
            expected([(200, room), (429, clients - room)]),
            "{room} of {clients}"
        );
        assert_eq!(world.upstream.count(), room);
        // Each of those who passed was told another number, where anything is told.
        if dialect != Dialect::Limitador {
            let left = passed
                .iter()
                .map(|answer| answer.header("ratelimit-remaining"));
            let mut left: Vec<usize> = left.map(|left| left.unwrap().parse().unwrap()).collect();
            left.sort_unstable();
            assert_eq!(left, (0..room).collect::<Vec<_>>());
        }
        for answer in refused {
            let group = format!("group-{at}");
            assert_eq!(
                fired(answer),
                [
                    "rate_limit_exceeded",
                    "requests_per_day",
                    &group,
                    "consumer_group"
                ]
            );
            assert_eq!(answer.header("ratelimit-remaining"), Some("0"));
            assert!(answer.header("retry-after").is_some());
        }
        // What it refused, Limitador does not count.
        let (limit, counted) = match dialect {
            Dialect::Envoy => ("requests_per_day", clients),
            _ => ("requests", room),
        };
        let descriptor = format!("cohort|group=group-{at}|limit={limit}");
        let [calls, asked, counted] = [clients, clients, counted].map(|count| count as u64);
        let hits = Hits {
            calls,
            asked,
            counted,
        };
        world.assert_hits(&descriptor, hits).await;
    }
    assert_eq!(world.service.counts().await.calls(CHECK_RATE_LIMIT), 0);
    world.assert_both_workers().await;
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_as_many_pass_as_the_model_of_envoyproxy_ratelimit_says() {
    exactly_as_many_pass_as_there_is_room_for(Dialect::Envoy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_as_many_pass_as_limitador_says() {
    exactly_as_many_pass_as_there_is_room_for(Dialect::Limitador).await;
    exactly_as_many_pass_as_there_is_room_for(Dialect::LimitadorWithHeaders).await;
}

/// One caller, one Envoy after the other: what it is told can only come from the service.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_tell_where_the_service_stands() {
    for dialect in [Dialect::Envoy, Dialect::LimitadorWithHeaders] {
        let policy = json!({
            "rate_limit_headers": ["standard", "openai", "ietf"],
            "consumer_groups": [{
                "name": "gold",
                "api_key": "gold-key",
                "rate_limits": {"requests_per_day": 3, "tokens_per_day": 1000},
            }],
        });
        let Some(world) = World::start(dialect, policy, 2).await else {
            return;
        };
        for n in 0..4_u64 {
            let tokens = match dialect {
                Dialect::Envoy => "cohort|group=gold|limit=tokens_per_day",
                _ => "cohort|group=gold|limit=tokens",
            };
            world
                .counts(|counts| counts.hits(tokens).counted == n * 15)
                .await;
            let answer = world.gateways[usize::from(n % 2 == 1)]
                .send(ask("gold-key"))
                .await;
            let header = |name: &str| {
                answer
                    .header(name)
                    .unwrap_or_else(|| panic!("{name}: {answer:?}"))
            };
            let requests = 2_u64.saturating_sub(n).to_string();
            let tokens = (1000 - 15 * n).to_string();
            assert_eq!(answer.status, if n < 3 { 200 } else { 429 });
            assert_eq!(header("ratelimit-limit"), "3");
            assert_eq!(header("ratelimit-remaining"), requests);
            assert_eq!(header("x-ratelimit-limit-requests"), "3");
            assert_eq!(header("x-ratelimit-limit-tokens"), "1000");
            assert_eq!(header("x-ratelimit-remaining-requests"), requests);
            assert_eq!(header("x-ratelimit-remaining-tokens"), tokens);
            assert_eq!(
                header("ratelimit-policy"),
                "\"requests_per_day\";q=3;w=86400, \"tokens_per_day\";q=1000;w=86400;qu=\"tokens\""
            );
            let state = header("ratelimit");
            let told = [
                format!("\"requests_per_day\";r={requests};t="),
                format!("\"tokens_per_day\";r={tokens};t="),
            ];
            assert!(told.iter().all(|told| state.contains(told)), "{state}");
            let reset: u64 = header("ratelimit-reset").parse().unwrap();
            assert!(header("x-ratelimit-reset-requests").ends_with('s'));
            if n < 2 {
                assert_eq!(reset, 0);
                assert_eq!(answer.header("retry-after"), None);
                continue;
            }
            assert!((1..=86_400).contains(&reset), "{reset}");
            if n == 3 {
                let wait: u64 = header("retry-after").parse().unwrap();
                assert!(wait.abs_diff(reset) <= 1, "{wait} {reset}");
                // As long as that no client should sleep.
                assert_eq!(
                    answer.header("x-should-retry"),
                    (wait > 120).then_some("false")
                );
            }
        }
        world.assert_sound().await;
    }
}

const SHAPES: &str = "
consumer_groups:
  - name: gold
    api_key: gold-key
    default_model: gpt-4o
    model_aliases: {fast: gpt-4o-mini}
    rate_limits: {requests_per_day: 1000, tokens_per_day: 100M}
  - name: spent
    api_key: spent-key
    default_model: gpt-4o
    rate_limits: {requests_per_day: 0, tokens_per_day: 100M}
";

/// A large body, so that it comes in several parts.
fn rewritten(key: &str, text: &str) -> (Request, Value) {
    let mut body =
        json!({"model": "fast", "messages": [{"role": "user", "content": text}], "stream": true});
    let request = Request::post("/v1/chat/completions")
        .bearer(key)
        .json(&body);
    body["model"] = json!("gpt-4o-mini");
    body["stream_options"] = json!({"include_usage": true});
    (request, body)
}

/// While the service thinks, requests of every form are held whole, and go on as they should.
async fn whatever_its_form_a_request_waits(dialect: Dialect, hold: bool) {
    let mut policy = support::yaml(SHAPES);
    policy["hold_request_headers"] = json!(hold);
    let models = |seen: &Seen| match seen.method.as_str() {
        "GET" => support::upstream::Answer::json(&json!({"object": "list", "data": []})),
        _ => chat(seen),
    };
    let world = World::with(dialect, policy, 1, models, |gateway| {
        if hold {
            gateway
        } else {
            gateway.without_header_hold()
        }
    });
    let Some(world) = world.await else { return };
    world
        .service
        .fault(Fault::Delay(Duration::from_millis(60)))
        .await;
    let address = world.envoy().address();
    let trailers = [("x-end", "1")];
    let long = "A word or two. ".repeat(20_000);
    for (key, status) in [("gold-key", 200), ("spent-key", 429)] {
        for text in ["Hello", &long] {
            let (request, body) = rewritten(key, text);
            for answer in [
                request.send(address).await,
                request.clone().chunked(5_000).send(address).await,
                request.send_http2(address, &[]).await,
                request.send_http2(address, &trailers).await,
                request
                    .clone()
                    .chunked(1_000)
                    .send_http2(address, &trailers)
                    .await,
            ] {
                let answer = answer.unwrap();
                assert_eq!(answer.status, status, "{}", answer.text());
                assert!(answer.complete);
                if status == 200 {
                    // The usage that nobody asked for is taken out again.
                    assert!(answer.text().ends_with("data: [DONE]\n\n"));
                    assert!(!answer.text().contains("usage"));
                    let seen = world.upstream.last();
                    assert!(seen.json() == body, "{} bytes", text.len());
                    assert_eq!(seen.header("x-consumer-group"), Some(&b"gold"[..]));
                }
            }
        }
        // No body, so no part of it after which one could wait.
        for (method, path) in [("GET", "/v1/models"), ("GET", "/v1/models/gpt-4o")] {
            let request = Request::new(method, path).bearer(key);
            for answer in [
                request.send(address).await,
                request.send_http2(address, &[]).await,
            ] {
                let answer = answer.unwrap();
                assert_eq!(answer.status, status, "{}", answer.text());
                if status == 200 {
                    let seen = world.upstream.last();
                    assert_eq!(seen.path, path);
                    assert_eq!(seen.header("x-consumer-group"), Some(&b"gold"[..]));
                    assert_eq!(seen.header("authorization"), None);
                }
            }
        }
        // Without a model in it, one is written in.
        let bare = Request::post("/v1/chat/completions").bearer(key);
        let bare = bare.json(&json!({"messages": []}));
        assert_eq!(world.send(&bare).await.status, status);
        if status == 200 {
            assert_eq!(world.upstream.last().json()["model"], "gpt-4o");
        }
    }
    // At the most headers of those that were refused.
    let seen = world.upstream.seen();
    let whole = seen.iter().filter(|seen| seen.body.is_some());
    assert_eq!(whole.clone().count(), 15);
    assert!(
        whole
            .clone()
            .all(|seen| seen.header("x-consumer-group") == Some(b"gold"))
    );
    assert!(!hold || seen.len() == 15);
    // 30 requests, each asked about once.
    let calls = world.service.counts().await.calls(SHOULD_RATE_LIMIT);
    assert_eq!(
        calls,
        if dialect == Dialect::Envoy {
            30 + 11
        } else {
            30
        }
    );
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_its_form_a_request_waits_for_the_service() {
    whatever_its_form_a_request_waits(Dialect::Envoy, true).await;
    whatever_its_form_a_request_waits(Dialect::LimitadorWithHeaders, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_header_can_be_held_the_body_waits() {
    whatever_its_form_a_request_waits(Dialect::Envoy, false).await;
    whatever_its_form_a_request_waits(Dialect::Limitador, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_shadow_mode_everything_passes_and_is_counted() {
    for dialect in [Dialect::Envoy, Dialect::Limitador] {
        let policy = json!({
            "mode": "shadow",
            "consumer_groups": [{
                "name": "gold",
                "api_key": "gold-key",
                "rate_limits": {"requests_per_day": 5, "tokens_per_day": 1_000_000},
            }],
        });
        let Some(world) = World::start(dialect, policy, 1).await else {
            return;
        };
        let answers = world.at_once(vec![ask("gold-key"); 12]).await;
        assert_eq!(statuses(&answers), expected([(200, 12)]));
        let events = world.envoy().events(12).await;
        let flagged = events.iter().filter(|event| event["result"] == "flagged");
        assert!(
            flagged
                .clone()
                .all(|event| event["reason"] == "rate_limit_exceeded")
        );
        assert_eq!(flagged.count(), 7, "{dialect:?}");
        let tokens = if dialect == Dialect::Envoy {
            "tokens_per_day"
        } else {
            "tokens"
        };
        let descriptor = format!("cohort|group=gold|limit={tokens}");
        world
            .counts(|counts| counts.hits(&descriptor).counted == 12 * 15)
            .await;
        world.assert_sound().await;
        // Nor does a service that is not there keep anything out.
        world.service.fault(Fault::Status(14)).await;
        assert_eq!(world.send(&ask("gold-key")).await.status, 200);
        let event = world.envoy().events(13).await.pop().unwrap();
        assert_eq!(
            [&event["result"], &event["reason"]],
            ["flagged", "limiter_unavailable"]
        );
    }
}

/// The protocol cannot count what is under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_are_each_envoys_own() {
    let policy = json!({"consumer_groups": [{
        "name": "gold",
        "api_key": "gold-key",
        "rate_limits": {"concurrent_requests": 3, "requests_per_day": 1000},
    }]});
    let slow = |seen: &Seen| chat(seen).split(200, Duration::from_millis(700));
    let world = World::with(Dialect::Envoy, policy, 2, slow, |gateway| gateway).await;
    let Some(world) = world else { return };
    for round in 1..=2 {
        let answers = world.at_once(vec![ask("gold-key"); 20]).await;
        assert_eq!(
            statuses(&answers),
            expected([(200, 6), (429, 14)]),
            "round {round}"
        );
        let mut refused = answers.iter().filter(|answer| answer.status == 429);
        let named = [
            "concurrency_limit_exceeded",
            "concurrent_requests",
            "gold",
            "consumer_group",
        ];
        assert!(refused.all(|answer| fired(answer) == named));
        // Who finds no slot is no business of the service.
        let hits = world
            .service
            .counts()
            .await
            .hits("cohort|group=gold|limit=requests_per_day");
        assert_eq!(hits.asked, 6 * round);
    }
    world.assert_sound().await;
}
