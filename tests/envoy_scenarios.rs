//! Every scenario through a real Envoy, which tells the time itself: with the header held until the body is judged, and
//! as where Envoy cannot hold it.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::path::Path;
use std::sync::Arc;
#[allow(clippy::disallowed_types, reason = "tests have threads")]
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use support::client::Request;
use support::envoy::{Gateway, Running};
use support::scenario::{self, Outcome, Scenario, Seen};
use support::upstream::{Answer, Upstream};

fn run(path: &Path) -> datatest_stable::Result<()> {
    let scenario = Scenario::load(path)?;
    if scenario.core_only.is_some() {
        return Ok(());
    }
    let runtime = tokio::runtime::Runtime::new()?;
    let mut wrong = Vec::new();
    let holds = [true, false].into_iter();
    for hold in holds.filter(|hold| *hold || scenario.hold_only.is_none()) {
        wrong.extend(runtime.block_on(play(&scenario, hold))?);
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n").into())
    }
}

/// All that is not as expected.
async fn play(scenario: &Scenario, hold: bool) -> Result<Vec<String>, String> {
    #[allow(clippy::disallowed_types, reason = "tests have threads")]
    let answer = Arc::new(Mutex::new(scenario::Answer::default()));
    let upstream = Upstream::start({
        let answer = Arc::clone(&answer);
        move |_| from_scenario(&answer.lock().unwrap())
    })
    .await;
    let Some(gateway) = gateway(scenario, hold, &upstream)?.start().await else {
        return Ok(Vec::new());
    };
    // A window that ends in the middle of a scenario would let more pass than the scenario says.
    support::quiet_minute().await;

    let mut wrong = Vec::new();
    let mut sent = 0;
    for (number, step) in scenario.steps.iter().enumerate() {
        if step.at > 0 {
            return Err("a step with a time of its own is for the core: say core_only".to_owned());
        }
        let mut expect = step.expect.clone();
        if !hold {
            expect.status = expect.status_without_hold.unwrap_or(expect.status);
            if let Some(model) = expect.upstream_headers.get_mut("x-cohort-model") {
                // The header is gone by the time the model is known.
                *model = None;
            }
        }
        for time in 1..=step.times {
            answer.lock().unwrap().clone_from(&step.upstream);
            upstream.clear();
            sent += 1;
            let outcome = exchange(&gateway, &upstream, &step.request, sent).await;
            let differences = expect.differences(&outcome).into_iter();
            let place = format!(
                "step {} ({time} of {}), hold {hold}",
                number + 1,
                step.times
            );
            wrong.extend(differences.map(|difference| format!("{place}: {difference}")));
        }
    }
    gateway.assert_healthy().await;
    Ok(wrong)
}

fn gateway(scenario: &Scenario, hold: bool, upstream: &Upstream) -> Result<Gateway, String> {
    let mut config = scenario.config()?;
    config["hold_request_headers"] = json!(hold);
    let targets = config["providers"]["targets"].as_array().cloned();
    let mut gateway = Gateway::new(config).upgrades("websocket");
    for target in targets.iter().flatten() {
        let text = |pointer| target.pointer(pointer).and_then(Value::as_str);
        let id = text("/id").ok_or("a target has no id")?;
        gateway = gateway.cluster(text("/cluster").unwrap_or(id), upstream.address());
        if let Some(name) = text("/secret_key_ref/env") {
            gateway = gateway.environment(name, &format!("secret-of-{name}"));
        }
    }
    if targets.is_none() {
        gateway = gateway.cluster("upstream", upstream.address());
    }
    for (name, cluster) in &scenario.routes {
        gateway =
            gateway
                .cluster(cluster, upstream.address())
                .route(name, scenario::ROUTE, cluster);
    }
    Ok(if hold {
        gateway
    } else {
        gateway.without_header_hold()
    })
}

/// Sends a request, the `number`-th, and gathers what came of it.
async fn exchange(
    gateway: &Running,
    upstream: &Upstream,
    request: &scenario::Request,
    number: usize,
) -> Outcome {
    let mut sent = Request::new(&request.method, &request.path).body(request.bytes());
    for (name, value) in request.fields() {
        sent = sent.header(&name, value);
    }
    let answer = gateway.send(sent).await;
    assert!(answer.complete, "an answer was cut off");
    let event = gateway.events(number).await.swap_remove(number - 1);
    // Where the header is not held, that of a refused request may come, but nothing else of it.
    let reached = upstream.seen().into_iter().find_map(|seen| {
        let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
        let headers = seen.headers.into_iter();
        Some(Seen {
            path: seen.path,
            headers: headers.map(|(name, value)| (name, text(value))).collect(),
            body: seen.body?,
        })
    });
    Outcome {
        status: answer.status,
        headers: answer.headers,
        body: answer.body,
        upstream: reached,
        event,
        late: Vec::new(),
    }
}

fn from_scenario(answer: &scenario::Answer) -> Answer {
    let mut sent = Answer::new(answer.status);
    for (name, value) in answer.fields() {
        sent = sent.header(&name, &value);
    }
    for chunk in answer.chunks() {
        sent = sent.bytes(chunk).pause(Duration::ZERO);
    }
    sent
}

datatest_stable::harness! {
    { test = run, root = "testdata/scenarios", pattern = r"\.yaml$" },
}
