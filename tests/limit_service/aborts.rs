//! Callers that leave while the service is asked, and configurations that go while a stream lasts.

use super::*;
use std::net::SocketAddr;
use support::ratelimitd::{Fault, SHOULD_RATE_LIMIT};
use support::upstream::Answer;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// As in the policy.
const SLOTS: usize = 64;

const POLICY: &str = "
counters: {timeout: 3s}
consumer_groups:
  - name: gold
    api_key: gold-key
    rate_limits: {concurrent_requests: 64, requests_per_day: 1M, tokens_per_day: 1000M}
";

/// A request whose caller reads no answer.
async fn open(address: SocketAddr, large: bool) -> TcpStream {
    let text = if large {
        "x".repeat(20_000)
    } else {
        "Hello".to_owned()
    };
    let body =
        json!({"model": "gpt-4o", "messages": [{"role": "user", "content": text}]}).to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer gold-key\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    stream
}

/// So many in all, a few at a time, each gone while it waits.
async fn leave_while_waiting(world: &World, times: u64) {
    let calls = |counts: &Counts| counts.calls(SHOULD_RATE_LIMIT);
    for round in 0..times / 8 {
        let before = calls(&world.service.counts().await);
        let mut waiting = Vec::new();
        for n in 0..8 {
            waiting.push(open(world.envoy().address(), (round + n) % 4 == 0).await);
        }
        world.counts(|counts| calls(counts) >= before + 8).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_while_waiting_leaves_nothing_behind() {
    let world = World::start(Dialect::Envoy, support::yaml(POLICY), 1).await;
    let Some(world) = world else { return };
    let memory = || world.envoy().stat("wasmcustom.cohort.vm_memory_bytes");
    let delay = Duration::from_millis(300);
    // On a busy machine a few are answered before they can leave.
    let mut slipped = 0;
    let tokens = "cohort|group=gold|limit=tokens_per_day";
    let asked = |counts: &Counts| usize::try_from(counts.hits(tokens).asked).unwrap();
    for (round, fault) in (1..).zip([Fault::Delay(delay), Fault::Hang]) {
        world.service.fault(fault.clone()).await;
        leave_while_waiting(&world, 80).await;
        let before = memory().await;
        leave_while_waiting(&world, 400).await;
        let after = memory().await;
        assert!(
            before > 0 && after - before < 1 << 20,
            "{fault:?}: from {before} to {after} bytes"
        );
        assert!(fault != Fault::Hang || world.upstream.count() == 0);
        slipped += world.upstream.count();
        world.upstream.clear();
        world.service.fault(Fault::None).await;
        // No slot is taken, and no answer that came too late is anybody's.
        let answers = world.at_once(vec![ask("gold-key"); SLOTS]).await;
        assert_eq!(statuses(&answers), expected([(200, SLOTS)]), "{fault:?}");
        assert_eq!(world.upstream.count(), SLOTS);
        world.upstream.clear();
        // Reports are on their way when their answers are there; the next fault is not for them.
        let reported = round * SLOTS * 15;
        world.counts(|counts| asked(counts) >= reported).await;
    }
    // All that left were blocked by nobody, and used nothing.
    let events = world.envoy().events(2 * (480 + SLOTS)).await;
    let left = events
        .iter()
        .filter(|event| event["reason"] == "request_incomplete");
    let left = left.count();
    assert!(
        (2 * 480 - 100..=2 * 480 - slipped).contains(&left),
        "{left}, {slipped} slipped through"
    );
    let tokens = world.service.counts().await.hits(tokens);
    assert!(
        (2 * SLOTS * 15..=(2 * SLOTS + slipped) * 15)
            .contains(&usize::try_from(tokens.asked).unwrap()),
        "{tokens:?}"
    );
    world.assert_both_workers().await;
    world.assert_sound().await;
}

/// Its old configuration serves a stream to the end, which is when its tokens are reported.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_outlives_its_configuration_is_reported() {
    let slow = |seen: &Seen| match seen.json()["model"].as_str() {
        Some("slow") => chat(seen).split(40, Duration::from_millis(150)),
        _ => chat(seen),
    };
    let own = support::yaml(POLICY);
    let world = World::with(Dialect::Envoy, own.clone(), 1, slow, Gateway::reloadable).await;
    let Some(mut world) = world else { return };
    let address = world.envoy().address();
    let stream = tokio::spawn(async move { Request::chat("gold-key", "slow").send(address).await });
    world
        .counts(|counts| counts.calls(SHOULD_RATE_LIMIT) == 1)
        .await;
    let mut own = policy(Dialect::Envoy, own);
    own["consumer_groups"][0]["rate_limits"]["requests_per_day"] = json!(3);
    world.gateways[0].reload(&own).await.unwrap();
    assert!(!stream.is_finished());
    assert_eq!(stream.await.unwrap().unwrap().status, 200);
    let tokens = "cohort|group=gold|limit=tokens_per_day";
    world
        .counts(|counts| counts.hits(tokens).counted == 15)
        .await;
    // What was counted before holds under the new limit.
    let mut passed = 0;
    while world.send(&ask("gold-key")).await.status == 200 {
        passed += 1;
    }
    assert_eq!(passed, 2);
    world.assert_sound().await;
}

/// Answers of an upstream that never come, too: what is told to the service is what was used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_while_the_upstream_thinks_has_used_nothing() {
    let late = |seen: &Seen| {
        let _ = seen;
        Answer::new(200).pause(Duration::from_secs(9)).bytes("{}")
    };
    let world = World::with(
        Dialect::Limitador,
        support::yaml(POLICY),
        1,
        late,
        |gateway| gateway,
    )
    .await;
    let Some(world) = world else { return };
    let waiting = open(world.envoy().address(), false).await;
    while world.upstream.count() == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    drop(waiting);
    world.envoy().events(1).await;
    sleep(Duration::from_millis(100)).await;
    let counts = world.service.counts().await;
    assert_eq!(counts.hits("cohort|group=gold|limit=requests").counted, 1);
    assert!(counts.hits("cohort|group=gold|limit=tokens").counted <= 10);
    world.assert_sound().await;
}
