//! `cohort run` as its users have it: a policy file, a real Envoy, and commands beside it.

mod support;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use support::client::Request;
use support::ratelimitd::{Dialect, Ratelimitd};
use support::run::{PAUSE, Place, text};
use support::upstream::{Answer, Gate, Upstream, chat};
use tokio::time::sleep;

const POLICY: &str = "\
version: '1'
providers:
  targets:
    - {id: openai, provider: openai, secret_key_ref: {env: COHORT_TEST_KEY}}
consumer_groups:
  # The people who sell.
  - name: marketing
    api_key: plain-key-of-marketing  # to be replaced
    allowed_models: [gpt-4o]
    rate_limits: {requests_per_day: 1000, tokens_per_day: 1M}
";

#[tokio::test]
async fn a_policy_file_is_followed() {
    let upstream = Upstream::start(chat).await;
    let place = Place::new(POLICY);
    let Some(gateway) = place.start(upstream.address()).await else {
        return;
    };
    // The provider's key comes from the environment, the caller's goes nowhere.
    assert_eq!(
        place.send("plain-key-of-marketing", "gpt-4o").await.status,
        200
    );
    assert_eq!(
        upstream.last().header("authorization"),
        Some(&b"Bearer sk-of-the-test"[..])
    );
    let host = upstream.address().to_string();
    assert_eq!(upstream.last().header("host"), Some(host.as_bytes()));
    assert_eq!(place.send("plain-key-of-marketing", "o3").await.status, 403);

    // A bad edit changes nothing, and is told of.
    place.write(
        &POLICY
            .replace("gpt-4o", "gpt-4o, o3")
            .replace("requests_per_day", "requests_per_dya"),
    );
    gateway.says("what was in force still is").await;
    let said = gateway.said();
    assert!(
        said.contains("requests_per_dya") && said.contains("policy-config.yaml:10:"),
        "{said}"
    );
    assert_eq!(place.send("plain-key-of-marketing", "o3").await.status, 403);
    let reload = place.cohort(&["reload"]);
    assert_eq!(reload.status.code(), Some(1));
    assert!(
        text(&reload.stderr).contains("requests_per_dya"),
        "{}",
        text(&reload.stderr)
    );
    assert!(
        place.status()["error"]
            .as_str()
            .unwrap()
            .contains("requests_per_dya")
    );

    // A good one is in force, with what was counted.
    place.write(
        &POLICY
            .replace("gpt-4o", "gpt-4o, o3")
            .replace("1000,", "500,"),
    );
    gateway.says("policy-config.yaml is in force").await;
    let answer = place.send("plain-key-of-marketing", "o3").await;
    assert_eq!(
        (answer.status, answer.header("ratelimit-limit")),
        (200, Some("500"))
    );
    assert_eq!(answer.header("ratelimit-remaining"), Some("498"));
    let reload = place.cohort(&["config", "reload"]);
    assert_eq!(reload.status.code(), Some(0));
    assert_eq!(
        text(&reload.stdout),
        "policy-config.yaml is in force already\n"
    );

    // Another comment is another file, and no other policy.
    place.write(&format!("# Mine.\n{}", place.policy()));
    let reload = place.cohort(&["reload"]);
    assert_eq!(reload.status.code(), Some(0));
    // It may have been seen by itself already.
    let said = text(&reload.stdout);
    assert!(said.starts_with("policy-config.yaml is in force"), "{said}");

    gateway.stop().await;

    // No key stands in any file but the policy.
    let found = Command::new("grep")
        .args(["-rlE", "plain-key|sk-of-the-test"])
        .arg(&place.dir)
        .output()
        .unwrap();
    assert_eq!(
        text(&found.stdout).lines().count(),
        1,
        "{}",
        text(&found.stdout)
    );
}

#[tokio::test]
async fn what_is_enforced_can_be_seen_and_nothing_else() {
    let upstream = Upstream::start(chat).await;
    let place = Place::new(POLICY);
    let Some(gateway) = place.start(upstream.address()).await else {
        return;
    };
    for _ in 0..2 {
        let answer = place.send("plain-key-of-marketing", "gpt-4o").await;
        assert_eq!(answer.status, 200);
    }
    for (path, expected) in [
        ("/zz", "404"),
        ("/", "404"),
        ("/6f74686572", "404"),
        ("/636f686f72742f31", "200"),
        ("/v1/chat/completions?key=plain-key-of-marketing", "404"),
    ] {
        let url = format!("http://counters{path}");
        let asked = Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-d", "body"])
            .args([
                "-H",
                "x-odd: \u{ff}\u{fe}",
                "--unix-socket",
                ".cohort/counters.sock",
                &url,
            ])
            .current_dir(&place.dir)
            .output()
            .unwrap();
        assert_eq!(text(&asked.stdout), expected, "{path}");
    }
    let reloads = place.admin("/stats?filter=vm_reload").await;
    assert!(
        reloads.lines().all(|line| line.ends_with(": 0")),
        "the filter's VM died: {reloads}"
    );
    let status = place.status();
    assert_eq!(status["error"], Value::Null);
    let limits: Vec<_> = (status["limits"].as_array().unwrap().iter())
        .map(|row| {
            json!([
                row["consumer_group"],
                row["limit"],
                row["used"],
                row["quota"],
                row["remaining"]
            ])
        })
        .collect();
    assert_eq!(
        limits,
        [
            json!(["marketing", "requests_per_day", 2, 1000, 998]),
            json!(["marketing", "tokens_per_day", 30, 1_000_000, 999_970]),
        ]
    );

    let shown = place.cohort(&["status", "--consumer-group", "marketing"]);
    let shown = text(&shown.stdout);
    let table: Vec<_> = shown.lines().skip(2).collect();
    assert_eq!(
        table[0],
        "CONSUMER GROUP  OF  LIMIT             USED    QUOTA    LEFT  RESETS"
    );
    assert!(
        table[1].starts_with("marketing           requests_per_day     2     1000     998  "),
        "{shown}"
    );
    assert_eq!(table.len(), 3, "{shown}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_provider_comes_with_its_cluster_and_its_route() {
    let (upstream, other) = (Upstream::start(chat).await, Upstream::start(chat).await);
    let place = Place::new(POLICY);
    // By a name that is looked up.
    let host = format!("localhost:{}", other.address().port());
    let local = format!("--upstream=local=http://{host}");
    let Some(gateway) = place.start_with(upstream.address(), &[&local]).await else {
        return;
    };
    let with = |targets: &str| {
        let policy = POLICY.replace("- {id: openai", &format!("{targets}\n    - {{id: openai"));
        place.write(&policy.replace("gpt-4o", "gpt-4o, llama3"));
        place.cohort(&["reload"])
    };
    // A route for a cluster that is there, and a cluster that was not.
    let targets = "- {id: local, provider: ollama, models: ['llama*'], secret_key_ref: {env: COHORT_OTHER_KEY}}\n    - {id: mistral, provider: mistral, models: ['mistral*']}";
    let reload = with(targets);
    assert!(reload.status.success(), "{}", text(&reload.stderr));
    for (model, counts) in [("llama3", (0, 1)), ("gpt-4o", (1, 1))] {
        let answer = place.send("plain-key-of-marketing", model).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!((upstream.count(), other.count()), counts);
    }
    // A key that the old policy had no use for has come along, and the counters are where they were.
    let sent = other.last();
    assert_eq!(
        sent.header("authorization"),
        Some(&b"Bearer sk-of-the-other"[..])
    );
    assert_eq!(sent.header("host"), Some(host.as_bytes()));
    assert_eq!(place.status()["limits"][0]["used"], 2);
    let clusters = place.admin("/clusters").await;
    assert!(clusters.contains("mistral::"), "{clusters}");

    let reload = with("- {id: east, provider: bedrock}");
    assert_eq!(reload.status.code(), Some(1));
    let said = text(&reload.stderr);
    assert!(
        said.contains("--upstream east=https://bedrock-runtime.REGION"),
        "{said}"
    );
    assert_eq!(
        place.send("plain-key-of-marketing", "llama3").await.status,
        200
    );
    gateway.stop().await;
}

#[tokio::test]
async fn a_rate_limit_service_is_an_upstream_too() {
    let policy = POLICY.to_owned()
        + "counters: {store: rate_limit_service, cluster: limits, failure_mode: deny, timeout: 2s}\n";
    let config = cohort::config::Config::from_yaml(&policy).unwrap();
    let limits = cohort::render::ratelimit(&config);
    let upstream = Upstream::start(chat).await;
    let place = Place::new(&policy);
    let Some(service) = Ratelimitd::start(Dialect::Envoy, &limits).await else {
        return;
    };
    let limits = format!("--upstream=limits=grpc://{}", service.address());
    let Some(gateway) = place.start_with(upstream.address(), &[&limits]).await else {
        return;
    };
    let answer = place.send("plain-key-of-marketing", "gpt-4o").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("ratelimit-remaining"), Some("999"));
    let note = place.status()["note"].to_string();
    assert!(
        note.contains("The rate-limit service 'limits' counts"),
        "{note}"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn one_gateway_a_folder() {
    let upstream = Upstream::start(chat).await;
    let place = Place::new(POLICY);
    let Some(gateway) = place.start(upstream.address()).await else {
        return;
    };
    // A second one in the same folder says why it does not start, and leaves the first alone.
    let second = place
        .run(upstream.address(), &[])
        .unwrap()
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(2));
    assert!(
        text(&second.stderr).contains("another gateway runs in this folder (process "),
        "{}",
        text(&second.stderr)
    );
    assert_eq!(
        place.send("plain-key-of-marketing", "gpt-4o").await.status,
        200
    );
    gateway.stop().await;
    assert_eq!(place.cohort(&["status"]).status.code(), Some(2));

    // A gateway that is killed leaves its Envoy behind; the next one says which.
    let gateway = place.start(upstream.address()).await.unwrap();
    let envoy = place.status()["envoy"].to_string();
    gateway.signal("-KILL");
    assert_eq!(gateway.ended().await.code(), None);
    let next = place
        .run(upstream.address(), &[])
        .unwrap()
        .output()
        .unwrap();
    assert_eq!(next.status.code(), Some(2));
    let hint = format!("still runs (process {envoy}): stop it with `kill {envoy}`");
    assert!(text(&next.stderr).contains(&hint), "{}", text(&next.stderr));
    let kill = Command::new("kill").arg(&envoy).status();
    assert!(kill.unwrap().success());
    while Path::new(&format!("/proc/{envoy}/exe")).exists() {
        sleep(PAUSE).await;
    }
    place.start(upstream.address()).await.unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_rotated_and_a_limit_changed_under_load() {
    let upstream = Upstream::start(chat).await;
    let place = Place::new(POLICY);
    let unlimited = POLICY
        .replace("1000,", "1M,")
        .replace("tokens_per_day: 1M", "tokens_per_day: 1000M");
    place.write(&unlimited);
    let Some(gateway) = place.start(upstream.address()).await else {
        return;
    };
    let (address, over) = (place.address(), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let over = Arc::clone(&over);
            tokio::spawn(async move {
                let mut sent = 0_u32;
                while !over.load(Ordering::Relaxed) {
                    let answer = Request::chat("plain-key-of-marketing", "gpt-4o")
                        .send(address)
                        .await;
                    assert_eq!(answer.expect("an answer").status, 200);
                    sent += 1;
                }
                sent
            })
        })
        .collect();
    let rotated = place.cohort(&["key", "rotate", "marketing"]);
    assert!(rotated.status.success(), "{}", text(&rotated.stderr));
    let key = text(&rotated.stdout).trim().to_owned();
    assert!(key.starts_with("ck_marketing_"), "{key}");
    assert!(
        !text(&rotated.stderr).contains("plain-key"),
        "{}",
        text(&rotated.stderr)
    );
    gateway.says("policy-config.yaml is in force").await;
    assert_eq!(place.send(&key, "gpt-4o").await.status, 200);
    let policy = place.policy();
    assert!(
        policy.contains("  # The people who sell.") && policy.contains("# to be replaced"),
        "{policy}"
    );
    assert!(
        !policy.contains("plain-key") && !policy.contains(&key),
        "{policy}"
    );

    for quota in ["900k", "800k", "700k"] {
        place.write(&policy.replace("1M,", &format!("{quota},")));
        let reload = place.cohort(&["reload"]);
        assert!(reload.status.success(), "{}", text(&reload.stderr));
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(
        place.send(&key, "gpt-4o").await.header("ratelimit-limit"),
        Some("700000")
    );
    over.store(true, Ordering::Relaxed);
    let mut sent = 0;
    for client in clients {
        sent += client.await.unwrap();
    }
    assert!(sent > 20, "{sent}");

    // Without an overlap the old key ends at once; now it is the new one that is rotated.
    let rotated = place.cohort(&["key", "rotate", "marketing", "--overlap", "0s"]);
    let newest = text(&rotated.stdout).trim().to_owned();
    assert!(place.cohort(&["reload"]).status.success());
    assert_eq!(place.send(&key, "gpt-4o").await.status, 401);
    assert_eq!(place.send(&newest, "gpt-4o").await.status, 200);
    assert_eq!(
        place.send("plain-key-of-marketing", "gpt-4o").await.status,
        200
    );
    gateway.stop().await;
}

/// One line of a log, as soon as it is there.
async fn line(log: &Path, at: usize) -> Option<String> {
    for _ in 0..100 {
        let text = fs::read_to_string(log).ok()?;
        if let Some(line) = text.lines().nth(at) {
            return Some(line.to_owned());
        }
        sleep(PAUSE).await;
    }
    None
}

#[tokio::test]
async fn it_stops_when_its_requests_have_ended_and_goes_on_where_it_was() {
    let gate = Gate::default();
    let upstream = Upstream::start({
        let gate = gate.clone();
        move |seen| {
            if seen.json()["stream"] == true {
                Answer::sse("data: {\"choices\":[]}\n\n")
                    .gate(&gate)
                    .bytes("data: [DONE]\n\n")
            } else {
                chat(seen)
            }
        }
    })
    .await;
    let place = Place::new(POLICY);
    let Some(gateway) = place.start(upstream.address()).await else {
        return;
    };
    for _ in 0..3 {
        assert_eq!(
            place.send("plain-key-of-marketing", "gpt-4o").await.status,
            200
        );
    }
    assert_eq!(place.send("plain-key-of-marketing", "o3").await.status, 403);
    let body = json!({"model": "gpt-4o", "stream": true, "messages": []});
    let request = Request::post("/v1/chat/completions")
        .bearer("plain-key-of-marketing")
        .json(&body);
    let address = place.address();
    let stream = tokio::spawn(async move { request.send(address).await.unwrap() });
    while upstream.count() < 4 {
        sleep(PAUSE).await;
    }
    gateway.signal("-TERM");
    gateway.says("Stopping").await;
    sleep(Duration::from_millis(500)).await;
    assert!(
        Request::get("/healthz").send(address).await.is_err(),
        "nobody new comes in"
    );
    assert!(!stream.is_finished());
    gate.open();
    let answer = stream.await.unwrap();
    assert!(
        answer.text().ends_with("data: [DONE]\n\n"),
        "{}",
        answer.text()
    );
    assert_eq!(gateway.ended().await.code(), Some(0));

    // The day's sums are those of the event log.
    let events = fs::read_to_string(place.dir.join(".cohort/events.jsonl")).unwrap();
    assert_eq!(events.lines().count(), 5, "{events}");
    let log = |name: &str| place.dir.join(".cohort").join(name);
    fs::rename(log("events.jsonl"), log("events.jsonl.1")).unwrap();
    // An Envoy that was killed in the middle of a line.
    fs::write(log("events.jsonl"), "{\"time\":\"20").unwrap();
    let gateway = place.start(upstream.address()).await.unwrap();
    let status = place.status();
    let used: Vec<_> = status["limits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["used"].clone())
        .collect();
    assert_eq!(used[0], 4);
    assert!(used[1].as_u64().unwrap() >= 45, "{used:?}");
    let answer = place.send("plain-key-of-marketing", "gpt-4o").await;
    assert_eq!(answer.header("ratelimit-remaining"), Some("995"));
    let event = line(&log("events.jsonl"), 1).await.unwrap();
    let event: Value = serde_json::from_str(&event).unwrap();
    assert_eq!(event["status"], 200);

    // SIGHUP reads the file again; SIGUSR1 lets a log be renamed.
    fs::rename(log("access.log"), log("access.log.1")).unwrap();
    gateway.signal("-USR1");
    gateway.signal("-HUP");
    gateway.says("is in force already").await;
    for _ in 0..100 {
        place.send("plain-key-of-marketing", "gpt-4o").await;
        if log("access.log").exists() {
            break;
        }
        sleep(PAUSE).await;
    }
    assert!(log("access.log").exists());

    // An Envoy that dies is not replaced in silence.
    let envoy = place.status()["envoy"].to_string();
    assert!(
        Command::new("kill")
            .args(["-KILL", &envoy])
            .status()
            .unwrap()
            .success()
    );
    let said = gateway.said.clone();
    assert_eq!(gateway.ended().await.code(), Some(2));
    let said = fs::read_to_string(said).unwrap();
    assert!(
        said.contains("Envoy stopped (signal: 9 (SIGKILL))"),
        "{said}"
    );
}

#[tokio::test]
async fn it_says_why_it_does_not_start() {
    let upstream = Upstream::start(chat).await;
    let place = Place::new(POLICY);
    let Some(mut command) = place.run(upstream.address(), &[]) else {
        return;
    };
    let output = command.env_remove("COHORT_TEST_KEY").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains("COHORT_TEST_KEY is not set") && said.contains("--demo-upstream"),
        "{said}"
    );
    assert!(!said.contains("vm_config"), "{said}");

    place.write("version: '1'\nconsumer_group: []\n");
    let output = place
        .run(upstream.address(), &[])
        .unwrap()
        .output()
        .unwrap();
    let lint = place.cohort(&["lint"]);
    assert_eq!(
        (output.status.code(), lint.status.code()),
        (Some(1), Some(1))
    );
    assert_eq!(text(&output.stderr), text(&lint.stderr));

    place.write(POLICY);
    let taken = TcpListener::bind(("127.0.0.1", place.port)).unwrap();
    let output = place
        .run(upstream.address(), &[])
        .unwrap()
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains(&format!("127.0.0.1:{} is taken", place.port)));
    drop(taken);

    let output = place
        .run(upstream.address(), &["--config", "nowhere.yaml"])
        .unwrap()
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("cannot read nowhere.yaml"));
}

/// Names that are the words between labels, and a model that has them inside.
#[tokio::test]
async fn labels_are_what_the_policy_calls_them() {
    let upstream = Upstream::start(chat).await;
    let odd = "a.model.b.result.c.kind.d";
    let groups = ["group", "model", "result", "kind", "limit", "reason"];
    let of_group = |name| {
        format!(
            "  - {{name: {name}, api_key: key-of-{name}, allowed_models: [{odd}], rate_limits: {{requests_per_day: 2}}}}\n"
        )
    };
    let price = "{input_per_million: 1000, output_per_million: 1000}";
    let policy = format!(
        "{POLICY}{}pricing: {{{odd}: {price}}}\n",
        groups.map(of_group).concat()
    );
    let place = Place::new(&policy);
    let Some(gateway) = place.start(upstream.address()).await else {
        return;
    };
    for name in groups {
        for (model, status) in [(odd, 200), ("o3", 403), (odd, 200), (odd, 429)] {
            let answer = place.send(&format!("key-of-{name}"), model).await;
            assert_eq!(answer.status, status, "{name} {model}: {}", answer.text());
        }
    }
    let said = place.admin("/stats/prometheus").await;
    for name in groups {
        for expected in [
            format!(
                "cohort_requests{{consumer_group=\"{name}\",model=\"{odd}\",result=\"allowed\"}} 2\n"
            ),
            format!(
                "cohort_requests{{consumer_group=\"{name}\",model=\"other\",result=\"blocked\"}} 1\n"
            ),
            format!("cohort_tokens{{consumer_group=\"{name}\",model=\"{odd}\",kind=\"prompt\"}} "),
            format!(
                "cohort_cost_micro_usd{{consumer_group=\"{name}\",model=\"{odd}\",kind=\"total\"}} "
            ),
            format!(
                "cohort_refused{{consumer_group=\"{name}\",reason=\"rate_limit_exceeded\"}} 1\n"
            ),
            format!("cohort_latency_ms_count{{consumer_group=\"{name}\"}}"),
        ] {
            assert!(said.contains(&expected), "{expected}: {said}");
        }
    }
    gateway.stop().await;
}
