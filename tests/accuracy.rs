//! How exact limits are, row by row: what was allowed, and what came through.
//!
//! `make test` runs every row a few times; `make accuracy` (`ACCURACY=full`) the whole, prints the table and writes it
//! into `docs/limits.md`. A further row is a function that answers [`Row`], and its line in [`rows`].
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "accuracy/service.rs"]
mod service;
mod support;

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use support::accuracy::{Row, full, times};
use support::client::Request;
use support::crowd::{all_at_once, held_at_once, race_for_one};
use support::endings::Endings;
use support::envoy::{Gateway, Running};
use support::tokens::{Calls, LIMIT, Tokens};
use support::upstream::{Answer, Gate, Upstream, chat};
use tokio::time::{Instant, sleep, sleep_until};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/limits.md");
const BEGIN: &str = "<!-- accuracy: written by `make accuracy` -->\n";
const END: &str = "<!-- /accuracy -->\n";

/// The whole table; `None` where there is no Envoy.
async fn rows() -> Option<Vec<Row>> {
    let mut rows = Vec::new();
    for (room, clients) in [(0, 64), (1, 64), (30, 64), (30, 256)] {
        rows.push(requests(room, clients).await?);
    }
    rows.push(race().await?);
    rows.push(consumers().await?);
    rows.push(levels().await?);
    for (room, clients) in [(0, 64), (1, 64), (30, 64), (30, 256)] {
        rows.push(slots(room, clients).await?);
    }
    rows.extend(endings().await?);
    for bounded in [false, true] {
        for stream in [false, true] {
            rows.push(tokens(Calls { stream, bounded }).await?);
        }
    }
    rows.extend(long_streams().await?);
    rows.extend(service::rows().await?);
    Some(rows)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_in_the_docs_is_what_comes_out() {
    let Some(rows) = rows().await else { return };
    let mut table = String::from(Row::HEADER);
    for row in &rows {
        writeln!(table, "{row}").unwrap();
    }
    println!("{table}");
    for row in &rows {
        row.assert_exact();
    }
    let page = fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page
        .split_once(BEGIN)
        .expect("docs/limits.md has the marker");
    let (known, after) = rest
        .split_once(END)
        .expect("docs/limits.md has the end's marker");
    if full() {
        fs::write(PAGE, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    for row in &rows {
        assert!(
            known.contains(&row.name()),
            "not in docs/limits.md: {}; run `make accuracy`",
            row.name()
        );
    }
}

async fn start(policy: Value, upstream: &Upstream) -> Option<Running> {
    Gateway::new(policy)
        .cluster("openai", upstream.address())
        .start()
        .await
}

/// As many groups as there are rounds, each with these limits; the group is the key.
fn groups(rounds: usize, limits: &Value) -> Value {
    let groups = (0..rounds).map(|round| {
        let name = format!("round-{round}");
        let mut group = limits.clone();
        group["name"] = json!(name);
        group["api_key"] = json!(name);
        group
    });
    json!({"version": "1", "consumer_groups": groups.collect::<Vec<_>>()})
}

fn chats(key: &str, count: usize) -> Vec<Request> {
    vec![Request::chat(key, "gpt-4o"); count]
}

async fn requests(room: u64, clients: usize) -> Option<Row> {
    let mut row = Row::shared_data(
        &format!("`requests_per_minute: {room}`"),
        clients,
        "answered",
    );
    row.allow(room);
    let upstream = Upstream::start(chat).await;
    let rounds = times(2, 40);
    let limits = json!({"rate_limits": {"requests_per_minute": room}});
    let gateway = start(groups(rounds, &limits), &upstream).await?;
    for round in 0..rounds {
        support::quiet_minute().await;
        let before = upstream.count();
        all_at_once(gateway.address(), chats(&format!("round-{round}"), clients)).await;
        row.admit(upstream.count() - before);
    }
    gateway.assert_healthy().await;
    Some(row)
}

async fn race() -> Option<Row> {
    let limit = "`requests_per_day: 1` of each of 1,000 groups, both workers at the same moment";
    let mut row = Row::shared_data(limit, 4, "answered");
    row.allow(1_000);
    for _ in 0..times(1, 30) {
        let (gateway, passed) = race_for_one(1_000).await?;
        row.admit(passed.iter().sum());
        gateway.assert_healthy().await;
    }
    Some(row)
}

async fn consumers() -> Option<Row> {
    let limit = "`requests_per_minute: 10` of two consumers";
    let mut row = Row::shared_data(limit, 64, "answered");
    row.allow(20);
    let upstream = Upstream::start(chat).await;
    for _ in 0..times(1, 10) {
        let policy = json!({"version": "1", "consumer_groups": [{
            "name": "web",
            "api_keys": ["key-of-ann", "key-of-bob"],
            "consumer_rate_limits": {"requests_per_minute": 10},
        }]});
        let gateway = start(policy, &upstream).await?;
        support::quiet_minute().await;
        let before = upstream.count();
        let requests = [chats("key-of-ann", 32), chats("key-of-bob", 32)].concat();
        all_at_once(gateway.address(), requests).await;
        row.admit(upstream.count() - before);
    }
    Some(row)
}

async fn levels() -> Option<Row> {
    let limit = "`requests_per_day` of a model 9, a group 20, the one above 25, the ceiling 30";
    let mut row = Row::shared_data(limit, 96, "answered");
    // Of each group's own only 20 fit, of both 25.
    row.allow(25);
    let upstream = Upstream::start(chat).await;
    for _ in 0..times(1, 20) {
        let group = |name: &str| {
            json!({
                "name": name,
                "parent": "company",
                "api_key": name,
                "rate_limits": {"requests_per_day": 20},
                "model_rate_limits": [{"models": ["o3"], "rate_limits": {"requests_per_day": 9}}],
            })
        };
        let company = json!({"name": "company", "rate_limits": {"requests_per_day": 25}});
        let policy = json!({
            "version": "1",
            "ceilings": {"rate_limits": {"requests_per_day": 30}},
            "consumer_groups": [group("web"), group("app"), company],
        });
        let gateway = start(policy, &upstream).await?;
        let before = upstream.count();
        let requests = (0..96).map(|at| {
            let (group, model) = [("web", "o3"), ("web", "gpt-4o"), ("app", "gpt-4o")][at % 3];
            Request::chat(group, model)
        });
        all_at_once(gateway.address(), requests).await;
        row.admit(upstream.count() - before);
    }
    Some(row)
}

async fn slots(room: usize, clients: usize) -> Option<Row> {
    let limit = format!("`concurrent_requests: {room}`");
    let mut row = Row::shared_data(&limit, clients, "answered");
    row.allow(room as u64);
    let gate = Gate::default();
    let upstream = behind(&gate).await;
    let limits = json!({"rate_limits": {"concurrent_requests": room}});
    let gateway = start(groups(1, &limits), &upstream).await?;
    for _ in 0..times(2, 40) {
        let crowd = chats("round-0", clients);
        let (passed, _) = held_at_once(gateway.address(), crowd, room, &upstream, &gate).await;
        row.admit(passed.len());
    }
    gateway.assert_healthy().await;
    Some(row)
}

/// Answers that end when the gate opens.
async fn behind(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::start(move |_| {
        Answer::new(200)
            .header("content-type", "application/json")
            .gate(&gate)
            .bytes(r#"{"usage":{"total_tokens":15}}"#)
    })
    .await
}

async fn endings() -> Option<[Row; 2]> {
    let count = times(500, 10_000);
    let ending = "every one of the table above, mixed";
    let mut requests = Row::shared_data("`requests_per_day`, counted", 30, ending);
    let mut tokens = Row::shared_data("`tokens_per_day`, counted", 30, ending);
    let endings = Endings::start(&["all".to_owned()]).await?;
    let (due, used) = endings.end_many(count, "key-of-all").await;
    requests
        .of(count)
        .allow(due.requests)
        .admit_u64(used.requests);
    tokens.of(count).allow(due.tokens).admit_u64(used.tokens);
    Some([requests, tokens])
}

async fn tokens(calls: Calls) -> Option<Row> {
    let (bound, kind) = match (calls.bounded, calls.stream) {
        (false, false) => ("no bound stated", "answered"),
        (false, true) => ("no bound stated", "streamed"),
        (true, false) => ("`max_tokens` stated", "answered"),
        (true, true) => ("`max_tokens` stated", "streamed"),
    };
    let mut row = Row::shared_data(&format!("`tokens_per_day: {LIMIT}`, {bound}"), 50, kind);
    let key = format!(
        "{}bounded-{}",
        if calls.bounded { "" } else { "un" },
        calls.stream
    );
    let mut over = 0;
    for _ in 0..times(1, 20) {
        let tokens = Tokens::start().await?;
        tokens.until_used_up(&key, calls, 50).await;
        let least = tokens.prompt + tokens.shortest;
        let reserved = |actual| if calls.bounded { actual } else { least };
        let (used, short) = tokens.used_and_short(&key, reserved);
        assert!(used <= LIMIT + short, "{used} of {LIMIT}, {short} short");
        over = over.max(short);
        row.admit_u64(used);
    }
    if calls.bounded {
        row.allow_up_to(LIMIT, "");
    } else {
        row.allow_up_to(LIMIT + over, " with what the estimates were short of");
    }
    Some(row)
}

/// What a stream holds is renewed for as long as it lives, whatever configurations come meanwhile: under one that
/// replaced its own, and when its own comes back. Takes longer than a slot that nobody renews.
async fn long_streams() -> Option<Option<Row>> {
    if !full() {
        return Some(None);
    }
    let limit = "`concurrent_requests: 1` of three groups";
    let mut row = Row::shared_data(limit, 6, "streams of 150 s, over three reloads");
    row.allow(3);
    let gate = Gate::default();
    let upstream = behind(&gate).await;
    let policy = |jitter: u32| {
        let mut policy = groups(3, &json!({"rate_limits": {"concurrent_requests": 1}}));
        policy["retry_after_jitter"] = json!(jitter);
        policy
    };
    let gateway = Gateway::new(policy(0)).cluster("openai", upstream.address());
    let mut gateway = gateway.reloadable().start().await?;
    let began = Instant::now();
    let mut streams = Vec::new();
    // The first stream's configuration comes back, the second one's does not, the third one's stays.
    for (round, jitter) in [(0, 0), (1, 1), (2, 0)] {
        if round > 0 {
            gateway.reload(&policy(jitter)).await.unwrap();
        }
        let address = gateway.address();
        streams.push(tokio::spawn(async move {
            Request::chat(&format!("round-{round}"), "gpt-4o")
                .stay(address)
                .await
        }));
        while upstream.count() <= round {
            sleep(Duration::from_millis(5)).await;
        }
    }
    gateway.reload(&policy(2)).await.unwrap();
    gateway.reload(&policy(0)).await.unwrap();
    for second in (10..150).step_by(5) {
        sleep_until(began + Duration::from_secs(second)).await;
        for round in 0..3 {
            let answer = Request::chat(&format!("round-{round}"), "gpt-4o");
            let answer = answer.stay(gateway.address());
            let answer = tokio::time::timeout(Duration::from_secs(1), answer).await;
            let status = answer.map(|answer| answer.unwrap().status);
            assert_eq!(status, Ok(429), "group {round} after {second} s");
        }
    }
    row.admit(upstream.count());
    gate.open();
    for stream in streams {
        assert_eq!(stream.await.unwrap().unwrap().status, 200);
    }
    for round in 0..3 {
        let answer = gateway
            .send(Request::chat(&format!("round-{round}"), "gpt-4o"))
            .await;
        assert_eq!(answer.status, 200);
    }
    gateway.assert_healthy().await;
    Some(Some(row))
}
