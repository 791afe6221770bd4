//! In a real Envoy: a moderation endpoint that is good, slow, down, odd, or not there at all.

use super::{content, policy, support, verdict};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use support::client::{Request, Response};
use support::crowd::{all_at_once, statuses};
use support::envoy::{Gateway, Running};
use support::upstream::{Answer, Gate, Seen, Upstream, chat, nobody};

/// Long enough for an Envoy on a busy machine, short enough to be waited for.
pub(crate) const TIMEOUT: &str = "1s";

pub(crate) fn ask(text: &str) -> Request {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": text}]});
    Request::post("/v1/chat/completions")
        .bearer("key-of-a")
        .json(&body)
}

/// Finds what is `awful`; of other words it does as they say.
pub(crate) fn moderate(seen: &Seen, gate: &Gate) -> Answer {
    let text = seen.json()["input"].as_str().unwrap().to_owned();
    let said = |word: &str| text.contains(word);
    let good = Answer::json(&verdict(if said("awful") { 0.9 } else { 0.01 }));
    if said("hang") {
        good.late(gate)
    } else if said("trickle") {
        Answer::new(200).bytes("{\"results\":[").gate(gate)
    } else if said("reset") {
        Answer::new(200).bytes("{").reset()
    } else if said("drop") {
        Answer::none()
    } else if said("error") {
        good.status(500)
    } else if said("html") {
        Answer::new(200).bytes("<html>sorry</html>")
    } else if said("empty") {
        Answer::new(200).bytes("")
    } else if said("huge") {
        Answer::new(200).bytes(vec![b' '; 3_000_000])
    } else if said("binary") {
        Answer::new(200).bytes(vec![0xff; 1_000])
    } else {
        good
    }
}

pub(crate) struct World {
    pub(crate) upstream: Upstream,
    pub(crate) moderation: Upstream,
    pub(crate) gate: Gate,
    pub(crate) gateway: Running,
}

impl World {
    async fn start(policy: Value) -> Option<Self> {
        Self::answering(policy, chat).await
    }

    /// With an upstream that answers like this.
    pub(crate) async fn answering(
        policy: Value,
        answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Option<Self> {
        let upstream = Upstream::start(answer).await;
        let gate = Gate::default();
        let moderation = Upstream::start({
            let gate = gate.clone();
            move |seen| moderate(seen, &gate)
        })
        .await;
        let gateway = Gateway::new(policy)
            .cluster("openai", upstream.address())
            .cluster("moderation", moderation.address())
            .workers(1);
        Some(Self {
            gateway: gateway.start().await?,
            upstream,
            moderation,
            gate,
        })
    }
}

/// Sends a request whose answer must not take much longer than a second.
pub(crate) async fn soon(gateway: &Running, request: Request) -> Response {
    let answer = tokio::time::timeout(Duration::from_secs(8), gateway.send(request));
    answer.await.expect("it hung")
}

/// Everything that is no verdict, and what a caller would see of it.
pub(crate) const FAILURES: [&str; 9] = [
    "hang", "trickle", "reset", "drop", "error", "html", "empty", "huge", "binary",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn block_waits_for_the_answer() {
    let config = json!({"categories": ["hate"], "threshold": "medium", "timeout": TIMEOUT});
    let Some(world) = World::start(policy(&json!([content("block", &config)]))).await else {
        return;
    };
    let answer = world.gateway.send(ask("nice")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(world.upstream.count(), 1);
    let question = world.moderation.last();
    assert_eq!(
        (&*question.method, &*question.path),
        ("POST", "/v1/moderations")
    );
    assert_eq!(question.header("host"), Some(&b"moderation"[..]));
    assert_eq!(
        question.header("content-type"),
        Some(&b"application/json"[..])
    );
    assert_eq!(question.header("authorization"), None, "nobody's key");
    assert_eq!(question.json(), json!({"input": "nice\nuser"}));

    let answer = world.gateway.send(ask("awful")).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"]["code"], "content_blocked");
    assert_eq!(answer.json()["error"]["entities"], json!(["hate"]));
    assert_eq!(world.upstream.count(), 1, "it never left");
    // A body that comes in pieces, and stays whole over the wait.
    let long = format!("nice {}", "\u{e9}x".repeat(30_000));
    let answer = world.gateway.send(ask(&long).chunked(5_000)).await;
    assert_eq!(answer.status, 200);
    let sent = world.upstream.last().json();
    assert_eq!(sent["messages"][0]["content"], long.as_str());
    let asked = world.moderation.last().json();
    assert_eq!(asked["input"], format!("{long}\nuser"));

    // Each answer is for the request that it was asked for.
    let crowd = [ask("nice"), ask("awful")].into_iter().cycle().take(64);
    let answers = all_at_once(world.gateway.address(), crowd).await;
    assert_eq!(statuses(&answers), BTreeMap::from([(200, 32), (400, 32)]));
    for seen in world.upstream.seen() {
        assert_ne!(seen.json()["messages"][0]["content"], "awful");
    }

    // The client goes while it waits; the answer that comes then is nobody's.
    let hang = ask("hang");
    let (address, before) = (world.gateway.address(), world.moderation.count());
    let leave = hang.leave_when(address, async {
        while world.moderation.count() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    leave.await.unwrap();
    let events = world.gateway.events(4 + 64).await;
    assert_eq!(events[3 + 64]["reason"], "request_incomplete");
    world.gate.open();
    assert_eq!(events[0]["policies"], json!([]));
    assert_eq!(events[1]["result"], "blocked");
    for _ in 0..3 {
        assert_eq!(world.gateway.send(ask("nice")).await.status, 200);
    }
    world.gateway.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failure_mode_holds_for_whatever_is_no_answer() {
    for mode in ["allow", "deny"] {
        let config = json!({"failure_mode": mode, "timeout": TIMEOUT});
        let Some(world) = World::start(policy(&json!([content("block", &config)]))).await else {
            return;
        };
        for failure in FAILURES {
            let answer = soon(&world.gateway, ask(failure)).await;
            if mode == "allow" {
                assert_eq!(answer.status, 200, "{failure}: {}", answer.text());
            } else {
                assert_eq!(answer.status, 503, "{failure}");
                let code = &answer.json()["error"]["code"];
                assert_eq!(code, "content_filter_unavailable", "{failure}");
                assert_eq!(answer.header("retry-after"), Some("1"));
            }
        }
        let passed = if mode == "allow" { FAILURES.len() } else { 0 };
        assert_eq!(world.upstream.count(), passed);
        for event in world.gateway.events(FAILURES.len()).await {
            assert_eq!(event["policies"][0]["unevaluated"], true, "{event}");
        }
        // What is judged is judged as before.
        assert_eq!(world.gateway.send(ask("nice")).await.status, 200);
        assert_eq!(world.gateway.send(ask("awful")).await.status, 400);
        world.gateway.assert_healthy().await;
    }
}

/// Nobody listens; Envoy has no endpoint of the cluster; Envoy has no such cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_not_there_holds_nobody() {
    let upstream = Upstream::start(chat).await;
    let (_socket, down) = nobody();
    for mode in ["allow", "deny"] {
        let filters = ["down", "bare", "unknown"].map(|cluster| {
            let config = json!({"cluster": cluster, "failure_mode": mode, "timeout": "20s"});
            json!({"name": cluster, "type": "content_filter", "config": config})
        });
        let mut aside = content("flag", &json!({}));
        aside["config"]["cluster"] = json!("unknown");
        let lists = [
            json!([filters[0]]),
            json!([filters[1]]),
            json!([filters[2]]),
            json!(filters),
        ];
        for policies in lists {
            let mut policies = policies;
            policies.as_array_mut().unwrap().push(aside.clone());
            let gateway = Gateway::new(policy(&policies))
                .cluster("openai", upstream.address())
                .cluster("down", down)
                .edit(|bootstrap| {
                    let clusters = bootstrap.pointer_mut("/static_resources/clusters").unwrap();
                    let mut bare = clusters[0].clone();
                    bare["name"] = json!("bare");
                    bare["load_assignment"] = json!({"cluster_name": "bare", "endpoints": []});
                    clusters.as_array_mut().unwrap().push(bare);
                });
            let Some(gateway) = gateway.start().await else {
                return;
            };
            let answer = soon(&gateway, ask("nice")).await;
            let status = if mode == "allow" { 200 } else { 503 };
            assert_eq!(answer.status, status, "{policies}: {}", answer.text());
            let event = &gateway.events(1).await[0];
            let waiting = policies.as_array().unwrap().len() - 1;
            let told = event["policies"].as_array().unwrap();
            // With the one that nobody waits for, if the request went on.
            assert_eq!(
                told.len(),
                waiting + usize::from(mode == "allow"),
                "{event}"
            );
            assert!(told.iter().all(|hit| hit["unevaluated"] == true));
            gateway.assert_healthy().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flag_holds_nothing_and_tells_when_it_knows() {
    let config = json!({"categories": ["hate"], "timeout": "20s"});
    let Some(world) = World::start(policy(&json!([content("flag", &config)]))).await else {
        return;
    };
    let World {
        gateway,
        gate,
        moderation,
        ..
    } = &world;
    let hit = json!([{"name": "flag-content", "action": "flag", "entities": ["hate"]}]);

    // The endpoint has not answered when the client has its answer.
    let late = gateway.send(ask("hang awful")).await;
    assert_eq!(late.status, 200);
    let first = gateway.events(1).await.remove(0);
    assert_eq!(first["policies"], json!([]));
    assert_eq!(first["result"], "allowed");
    assert_eq!(moderation.count(), 1);
    gate.open();
    // It goes with the next event of the worker that is written after it has come.
    let mut lines = Vec::new();
    for sent in 2..200 {
        assert_eq!(gateway.send(ask("nice")).await.status, 200);
        lines = gateway.events(sent).await;
        if lines.len() > sent {
            break;
        }
    }
    let late: Vec<_> = lines.iter().filter(|line| line["late"] == true).collect();
    let [line] = late[..] else {
        panic!("{lines:?}")
    };
    assert_eq!(line["policies"], hit);
    assert_eq!(line["result"], "flagged");
    assert_eq!(line["time"], first["time"]);
    assert_eq!(line["consumer_group"], "a");

    gateway.assert_healthy().await;
}

/// An answer of the model that takes its time: then the finding is in the request's own event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flag_is_in_the_event_when_it_comes_first() {
    let gate = Gate::default();
    let upstream = Upstream::start({
        let gate = gate.clone();
        move |seen| chat(seen).late(&gate)
    })
    .await;
    let moderation = Upstream::start(|_| Answer::json(&verdict(0.9))).await;
    let gateway = Gateway::new(policy(&json!([content(
        "flag",
        &json!({"timeout": "20s"})
    )])))
    .cluster("openai", upstream.address())
    .cluster("moderation", moderation.address())
    .workers(1);
    let Some(gateway) = gateway.start().await else {
        return;
    };
    let address = gateway.address();
    let held = tokio::spawn(async move { ask("awful").send(address).await.unwrap() });
    for _ in 0..400 {
        let answered = gateway.stat("cluster.moderation.upstream_rq_200").await;
        if answered > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    gate.open();
    assert_eq!(held.await.unwrap().status, 200);
    let event = &gateway.events(1).await[0];
    assert_eq!(event["policies"][0]["entities"], json!(["hate"]));
    assert_eq!(event["result"], "flagged");
    assert_eq!(event["reason"], "content_flagged");
    gateway.assert_healthy().await;
}

/// The tutorial's policy names no cluster: `OpenAI`'s own endpoint is asked, with its key, through the target's cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_cluster_the_first_openai_target_is_asked() {
    let upstream = Upstream::start(chat).await;
    let mut document = policy(&json!([
        {"name": "filter", "type": "content_filter", "config": {"categories": ["hate"]}},
    ]));
    document["providers"] = json!({"targets": [
        {"id": "openai", "provider": "openai", "secret_key_ref": {"env": "OPENAI_API_KEY"}},
    ]});
    let gateway = Gateway::new(document)
        .environment("OPENAI_API_KEY", "sk-of-the-provider")
        .cluster("openai", upstream.address());
    let Some(gateway) = gateway.start().await else {
        return;
    };
    assert_eq!(gateway.send(ask("nice")).await.status, 200);
    let questions = upstream.questions();
    assert_eq!(questions.len(), 1);
    let key = questions[0].header("authorization");
    assert_eq!(key, Some(&b"Bearer sk-of-the-provider"[..]));
    assert_eq!(upstream.count(), 1);
    assert!(
        !gateway
            .everything_said()
            .await
            .contains("sk-of-the-provider")
    );
    gateway.assert_healthy().await;
}

/// Calls that are under way when their configuration goes: one that a request waits for, and one that nobody does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_configuration_comes_while_it_is_asked() {
    let upstream = Upstream::start(chat).await;
    let gate = Gate::default();
    let moderation = Upstream::start({
        let gate = gate.clone();
        move |seen| moderate(seen, &gate)
    })
    .await;
    let config = json!({"timeout": "20s"});
    let block = policy(&json!([content("block", &config)]));
    let flag = policy(&json!([content("flag", &config)]));
    let gateway = Gateway::new(block.clone())
        .cluster("openai", upstream.address())
        .cluster("moderation", moderation.address())
        .workers(1)
        .reloadable();
    let Some(mut gateway) = gateway.start().await else {
        return;
    };
    let address = gateway.address();
    // Under `block` the first one waits until the configuration is another one; under `flag` the second one does not.
    for next in [&flag, &block] {
        gate.close();
        let before = moderation.count();
        let asked = tokio::spawn(async move { ask("hang").send(address).await.unwrap() });
        while moderation.count() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        gateway.reload(next).await.unwrap();
        gate.open();
        assert_eq!(asked.await.unwrap().status, 200);
        for _ in 0..5 {
            assert_eq!(gateway.send(ask("nice")).await.status, 200);
        }
    }
    assert_eq!(gateway.send(ask("awful")).await.status, 400);
    gateway.assert_healthy().await;
}

/// An Envoy that cannot hold a request's header.
pub(super) async fn unheld(
    mut document: Value,
    upstream: &Upstream,
    moderation: &Upstream,
) -> Option<Running> {
    document["hold_request_headers"] = json!(false);
    let gateway = Gateway::new(document)
        .cluster("openai", upstream.address())
        .cluster("moderation", moderation.address())
        .without_header_hold();
    gateway.start().await
}

/// Where the header cannot be held only the body waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_waits_without_header_hold_as_well() {
    let upstream = Upstream::start(chat).await;
    let moderation = Upstream::start(|seen| moderate(seen, &Gate::default())).await;
    let document = policy(&json!([content("block", &json!({}))]));
    let Some(gateway) = unheld(document, &upstream, &moderation).await else {
        return;
    };
    assert_eq!(gateway.send(ask("nice")).await.status, 200);
    let refused = gateway.send(ask("awful")).await;
    assert_eq!(refused.status, 400);
    let whole = upstream.seen();
    let whole = whole.iter().filter(|seen| seen.body.is_some());
    assert_eq!(whole.count(), 1, "the refused body never came");
    gateway.assert_healthy().await;
}
