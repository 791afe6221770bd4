//! The tutorial's configuration, line by line, in a real Envoy.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use support::client::{Request, Response};
use support::envoy::{Gateway, Running};
use support::upstream::{Upstream, chat};
use tokio::time::sleep;

const TUTORIAL: &str = include_str!("../testdata/config/valid/tutorial.yaml");
const ENGINEERING: &str = "kt_cg_engineering_abc123";
const MARKETING: &str = "kt_cg_marketing_def456";
const RESEARCH: &str = "kt_cg_research_ghi789";

async fn start() -> Option<(Upstream, Running)> {
    let upstream = Upstream::start(|seen| {
        chat(seen)
            .header("openai-organization", "org-of-the-provider")
            .header("x-ratelimit-limit-requests", "9999")
    })
    .await;
    let gateway = Gateway::new(support::yaml(TUTORIAL))
        .cluster("openai", upstream.address())
        .environment("OPENAI_API_KEY", "sk-of-the-provider")
        .start()
        .await?;
    Some((upstream, gateway))
}

fn stream(key: &str, model: &str) -> Request {
    let body =
        json!({"model": model, "stream": true, "messages": [{"role": "user", "content": "Hello"}]});
    Request::post("/v1/chat/completions")
        .bearer(key)
        .json(&body)
}

#[track_caller]
fn assert_headers(answer: &Response, expected: &[(&str, Option<&str>)]) {
    for (name, value) in expected {
        assert_eq!(answer.header(name), *value, "{name} of {answer:?}");
    }
}

#[tokio::test]
async fn engineering_may_use_gpt_4o() {
    let Some((upstream, gateway)) = start().await else {
        return;
    };
    let request = Request::chat(ENGINEERING, "gpt-4o")
        .header("openai-organization", "org-of-the-caller")
        .header("x-cohort-provider", "elsewhere")
        .header("x-consumer", "someone-else");
    let answer = gateway.send(request).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["model"], "gpt-4o");
    assert_headers(
        &answer,
        &[
            ("x-consumer-group", Some("engineering")),
            ("ratelimit-limit", Some("60")),
            ("ratelimit-remaining", Some("59")),
            ("ratelimit-reset", Some("0")),
            ("x-ratelimit-limit-requests", Some("60")),
            ("x-ratelimit-remaining-requests", Some("59")),
            ("x-ratelimit-limit-tokens", Some("100000")),
            ("x-ratelimit-remaining-tokens", Some("100000")),
            ("x-ratelimit-reset-tokens", Some("0s")),
            ("openai-organization", None),
        ],
    );

    let seen = upstream.last();
    let header = |name| seen.header(name).map(String::from_utf8_lossy);
    assert_eq!(
        header("authorization").as_deref(),
        Some("Bearer sk-of-the-provider")
    );
    assert_eq!(header("x-consumer-group").as_deref(), Some("engineering"));
    assert_eq!(header("x-cohort-provider").as_deref(), Some("openai"));
    assert_eq!(header("x-cohort-model").as_deref(), Some("gpt-4o"));
    assert_eq!(header("x-consumer"), None);
    assert_eq!(header("openai-organization"), None);
    assert!(!format!("{seen:?}").contains(ENGINEERING));
    assert_eq!(
        seen.json(),
        json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]})
    );
    // What the answer cost stands in the next one's header.
    let answer = gateway.send(Request::chat(ENGINEERING, "gpt-4o")).await;
    assert_headers(
        &answer,
        &[
            ("x-ratelimit-remaining-requests", Some("58")),
            ("x-ratelimit-remaining-tokens", Some("99985")),
        ],
    );
    gateway.assert_healthy().await;
}

#[tokio::test]
async fn marketing_may_not() {
    let Some((upstream, gateway)) = start().await else {
        return;
    };
    let answer = gateway.send(Request::chat(MARKETING, "gpt-4o")).await;
    assert_eq!(answer.status, 403);
    let error = answer.json()["error"].take();
    assert_eq!(error["code"], "model_not_allowed");
    assert_eq!(
        error["message"],
        "Consumer group 'marketing' does not have access to model 'gpt-4o'"
    );
    assert_eq!(error["allowed_models"], json!(["gpt-4o-mini"]));
    assert_headers(
        &answer,
        &[
            ("content-type", Some("application/json")),
            ("x-consumer-group", Some("marketing")),
        ],
    );
    let streamed = gateway.send(stream(MARKETING, "gpt-4o")).await;
    assert_eq!((streamed.status, streamed.code()), (403, answer.code()));
    assert_eq!(upstream.count(), 0);
    // A refused request consumes nothing.
    let answer = gateway.send(Request::chat(MARKETING, "gpt-4o-mini")).await;
    assert_headers(&answer, &[("ratelimit-remaining", Some("29"))]);
    gateway.assert_healthy().await;
}

#[tokio::test]
async fn marketing_sends_no_card_number_out() {
    let Some((upstream, gateway)) = start().await else {
        return;
    };
    let ask = |key: &str, text: &str| {
        let messages = json!([{"role": "user", "content": text}]);
        Request::post("/v1/chat/completions")
            .bearer(key)
            .json(&json!({"model": "gpt-4o-mini", "messages": messages}))
    };
    for text in ["charge 4111 1111 1111 1111", "my SSN is 123-45-6789"] {
        let answer = gateway.send(ask(MARKETING, text)).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert_eq!(answer.json()["error"]["code"], "content_blocked");
        assert_eq!(answer.json()["error"]["policy"], "marketing-pii-filter");
    }
    assert_eq!(upstream.count(), 0);
    // Others have no such policy, and other numbers are none.
    let others = ask(ENGINEERING, "charge 4111 1111 1111 1111");
    assert_eq!(gateway.send(others).await.status, 200);
    let number = ask(MARKETING, "order 4111 1111 1111 1112");
    assert_eq!(gateway.send(number).await.status, 200);
    gateway.assert_healthy().await;
}

#[tokio::test]
async fn marketing_has_30_requests_a_minute() {
    let Some((upstream, gateway)) = start().await else {
        return;
    };
    support::quiet_minute().await;
    for sent in 0..35 {
        let answer = gateway.send(Request::chat(MARKETING, "gpt-4o-mini")).await;
        if sent < 30 {
            assert_eq!(answer.status, 200, "request {sent}");
            let left = (29 - sent).to_string();
            assert_headers(&answer, &[("ratelimit-remaining", Some(left.as_str()))]);
            continue;
        }
        assert_eq!(answer.status, 429, "request {sent}");
        let error = answer.json()["error"].take();
        assert_eq!(error["code"], "rate_limit_exceeded");
        assert_eq!(error["limit"], "requests_per_minute");
        assert_eq!(error["consumer_group"], "marketing");
        let wait: u32 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=62).contains(&wait), "{wait}");
        let reset = wait.to_string();
        assert_headers(
            &answer,
            &[
                ("ratelimit-limit", Some("30")),
                ("ratelimit-remaining", Some("0")),
                ("ratelimit-reset", Some(reset.as_str())),
            ],
        );
    }
    assert_eq!(upstream.count(), 30);

    let answer = gateway.send(Request::chat(ENGINEERING, "gpt-4o")).await;
    assert_eq!(answer.status, 200);
    assert_headers(&answer, &[("ratelimit-remaining", Some("59"))]);
    gateway.assert_healthy().await;
}

/// Waits for the end of a minute: what was used up before it frees bit by bit after it, one request every two seconds.
#[tokio::test]
async fn thirty_requests_a_minute_are_so_across_the_edge_of_one() {
    let Some((upstream, gateway)) = start().await else {
        return;
    };
    let request = || gateway.send(Request::chat(MARKETING, "gpt-4o-mini"));
    // Ten seconds before the end: of this minute, or of the next if they have begun.
    let to_go = (110_000 - support::now_ms() % 60_000) % 60_000;
    sleep(Duration::from_millis(to_go)).await;
    let edge = support::now_ms() / 60_000 * 60_000 + 60_000;
    for _ in 0..30 {
        assert_eq!(request().await.status, 200);
    }
    let refused = request().await;
    let told = support::now_ms();
    assert!(told < edge, "too slow to be before the edge");
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    // Two seconds after the edge, rounded up to whole ones.
    let due = (edge + 2_000 - told).div_ceil(1_000);
    assert!((due..=due + 1).contains(&wait), "{wait} and not {due} s");
    let freed = |now: u64| usize::try_from(now.saturating_sub(edge) / 2_000).unwrap();
    while support::now_ms() < edge + 10_900 {
        let mut asked = support::now_ms();
        while request().await.status == 200 {
            asked = support::now_ms();
        }
        let passed = upstream.count() - 30;
        let expected = freed(asked)..=freed(support::now_ms());
        assert!(expected.contains(&passed), "{passed} and not {expected:?}");
        sleep(Duration::from_millis(150)).await;
    }
    assert!((35..=36).contains(&upstream.count()));
    gateway.assert_healthy().await;
}

#[tokio::test]
async fn without_a_valid_key_nothing_passes() {
    let Some((upstream, gateway)) = start().await else {
        return;
    };
    let body = json!({"model": "gpt-4o-mini", "messages": []});
    let keyless = Request::post("/v1/chat/completions").json(&body);
    let cases = [
        (keyless.clone(), "missing_api_key"),
        (
            keyless.clone().header("authorization", "Basic dTpw"),
            "missing_api_key",
        ),
        (keyless.clone().bearer("kt_cg_sales_000"), "invalid_api_key"),
        (
            keyless.clone().bearer(&MARKETING.to_uppercase()),
            "invalid_api_key",
        ),
        (
            keyless
                .clone()
                .bearer(MARKETING)
                .header("x-api-key", RESEARCH),
            "ambiguous_credentials",
        ),
    ];
    for (request, code) in cases {
        let answer = gateway.send(request).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, code));
        assert_headers(
            &answer,
            &[
                ("www-authenticate", Some("Bearer")),
                ("x-consumer-group", None),
            ],
        );
    }
    assert_eq!(upstream.count(), 0);
    for header in ["x-api-key", "api-key", "x-goog-api-key", "apikey"] {
        let answer = gateway
            .send(keyless.clone().header(header, MARKETING))
            .await;
        assert_eq!(answer.status, 200, "{header}");
        assert_eq!(upstream.last().header(header), None);
    }
    gateway.assert_healthy().await;
}

#[tokio::test]
async fn a_stream_tells_its_usage_to_the_gateway_alone() {
    let Some((upstream, gateway)) = start().await else {
        return;
    };
    let answer = gateway.send(stream(RESEARCH, "gpt-4o-mini")).await;
    assert_eq!(answer.status, 200);
    assert_headers(
        &answer,
        &[
            ("content-type", Some("text/event-stream")),
            ("x-consumer-group", Some("research")),
        ],
    );
    assert!(answer.complete);
    assert_eq!(
        upstream.last().json()["stream_options"],
        json!({"include_usage": true})
    );
    let unasked = answer.text();
    assert!(!unasked.contains("usage"), "{unasked}");
    assert_eq!(unasked.matches("data: ").count(), 3, "{unasked}");
    assert!(unasked.ends_with("data: [DONE]\n\n"), "{unasked}");

    // Who asks, gets it.
    let body = json!({"model": "gpt-4o", "stream": true, "stream_options": {"include_usage": true}, "messages": []});
    let request = Request::post("/v1/chat/completions").bearer(RESEARCH);
    let answer = gateway.send(request.json(&body)).await;
    assert!(answer.text().contains(r#""total_tokens":15"#));
    assert_eq!(upstream.last().json(), body);

    for event in gateway.events(2).await {
        assert_eq!(event["stream"], true);
        assert_eq!(event["estimated"], false);
        assert_eq!(event["usage"]["total_tokens"], 15);
    }
    gateway.assert_healthy().await;
}

/// As SPEC 7 and the README have it.
const PIPELINE: &str = r#"group_by(.consumer_group) | map({group: .[0].consumer_group, requests: length, total_tokens: (map(.usage.total_tokens) | add), blocked: (map(select(.result == "blocked")) | length)})"#;

#[tokio::test]
async fn events_add_up() {
    let Some((_upstream, gateway)) = start().await else {
        return;
    };
    let requests = [
        (Request::chat(ENGINEERING, "gpt-4o"), 3),
        (Request::chat(MARKETING, "gpt-4o-mini"), 2),
        (Request::chat(MARKETING, "gpt-4o"), 4),
        (stream(RESEARCH, "gpt-4o"), 1),
        (Request::chat("kt_cg_sales_000", "gpt-4o"), 1),
    ];
    let mut sent = 0;
    for (request, times) in requests {
        for _ in 0..times {
            gateway.send(request.clone()).await;
            sent += 1;
        }
    }
    gateway.events(sent).await;

    let tail = Command::new(env!("CARGO_BIN_EXE_cohort"))
        .args(["events", "tail", "--last", "50", "--format", "json"])
        .arg("--file")
        .arg(gateway.events_path())
        .output()
        .unwrap();
    assert!(tail.status.success());
    let lines = String::from_utf8(tail.stdout).unwrap();
    let expected = json!([
        {"group": "engineering", "requests": 3, "total_tokens": 45, "blocked": 0},
        {"group": "marketing", "requests": 6, "total_tokens": 30, "blocked": 4},
        {"group": "research", "requests": 1, "total_tokens": 15, "blocked": 0},
    ]);
    assert_eq!(summary(&lines), expected);
    if let Some(by_jq) = jq(&lines) {
        assert_eq!(by_jq, expected);
    }
    gateway.assert_healthy().await;
}

/// What the pipeline computes, for machines without `jq`.
fn summary(lines: &str) -> Value {
    let events: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let sums = ["engineering", "marketing", "research"].map(|group| {
        let of_group = || events.iter().filter(|event| event["consumer_group"] == group);
        json!({
            "group": group,
            "requests": of_group().count(),
            "total_tokens": of_group().map(|event| event["usage"]["total_tokens"].as_u64().unwrap()).sum::<u64>(),
            "blocked": of_group().filter(|event| event["result"] == "blocked").count(),
        })
    });
    assert!(
        events
            .iter()
            .all(|event| event["consumer_group"].is_string())
    );
    json!(sums)
}

fn jq(lines: &str) -> Option<Value> {
    let mut child = Command::new("jq")
        .args(["--slurp", PIPELINE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}
