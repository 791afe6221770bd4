//! A service that does not answer, or not as it should: what its Envoys do meanwhile, and how long anyone waits.

use super::*;
use support::ratelimitd::{Fault, SHOULD_RATE_LIMIT};

const UNMATCHED: &str = "wasmcustom.cohort.unmatched.group.gold";

fn gold(counters: &Value, rate_limits: &Value) -> Value {
    json!({
        "counters": counters,
        "consumer_groups": [{"name": "gold", "api_key": "gold-key", "rate_limits": rate_limits}],
    })
}

/// Waits until both workers of an Envoy ask the service again: eight requests in a row, each of which it is asked about.
/// Reports of tokens are calls too, and go out while nobody asks: what counts is hits on a limit on requests.
async fn until_it_is_asked(world: &World, gateway: &Running) {
    let asked = async || {
        let counts = world.service.counts().await;
        counts
            .hits("cohort|group=gold|limit=requests_per_day")
            .asked
    };
    for _ in 0..400 {
        let before = asked().await;
        for _ in 0..8 {
            gateway.send(ask("gold-key")).await;
        }
        if asked().await == before + 8 {
            return;
        }
        sleep(Duration::from_millis(25)).await;
    }
    panic!("the service is not asked again");
}

/// No answers in either dialect.
fn faults() -> Vec<Fault> {
    vec![
        Fault::Hang,
        Fault::Delay(Duration::from_secs(2)),
        Fault::Garbage,
        Fault::NotGrpc,
        Fault::Status(14),
        Fault::Drop,
    ]
}

/// Three Envoys, one for each mode, and one service that fails in every way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_of_failing_is_met_as_configured() {
    let limits = json!({"requests_per_day": 100_000, "tokens_per_day": "1000M"});
    let counters = json!({"timeout": "300ms"});
    let Some(mut world) = World::start(Dialect::Envoy, gold(&counters, &limits), 0).await else {
        return;
    };
    for mode in ["allow", "deny", "local"] {
        let counters = json!({"timeout": "300ms", "failure_mode": mode});
        let gateway = world.gateway(policy(Dialect::Envoy, gold(&counters, &limits)));
        let Some(gateway) = gateway.start().await else {
            return;
        };
        world.gateways.push(gateway);
    }
    let mut answered = [0_u64; 3];
    let mut refused = 0;
    let mut faults: Vec<_> = faults().into_iter().map(Some).collect();
    // Codes that no statuses go with. Last, the service is gone.
    faults.extend([1, 2].map(|code| Some(Fault::Message(vec![0x08, code]))));
    faults.push(None);
    for fault in faults {
        match &fault {
            Some(fault) => world.service.fault(fault.clone()).await,
            None => world.service.kill().await,
        }
        for (at, gateway) in world.gateways.iter().enumerate() {
            for _ in 0..3 {
                let answer = gateway.send(ask("gold-key")).await;
                answered[at] += 1;
                if at == 1 {
                    assert_eq!(
                        (answer.status, answer.code().as_str()),
                        (503, "limiter_unavailable"),
                        "{fault:?}"
                    );
                    assert_eq!(answer.header("retry-after"), Some("1"));
                    refused += 1;
                } else {
                    assert_eq!(answer.status, 200, "{fault:?}, {}", answer.text());
                    assert_eq!(answer.json()["usage"]["total_tokens"], 15);
                }
            }
        }
        if fault.is_some() {
            world.service.fault(Fault::None).await;
        } else {
            world.service.restart().await;
        }
        for gateway in &world.gateways {
            until_it_is_asked(&world, gateway).await;
        }
    }
    for (at, gateway) in world.gateways.iter().enumerate() {
        let errors = gateway.stat(STORE_ERRORS).await;
        // The breaker spares the later ones the question, and a trial may fail as well.
        assert!((10..=answered[at] * 2).contains(&errors), "{errors}");
        gateway.assert_healthy().await;
    }
    let stats = world.gateways[1].stats().await;
    let of_group = |name: &str| {
        let names = stats.iter().filter(|(known, _)| {
            known.contains("cohort.requests.group.gold") && known.contains(name)
        });
        names.map(|(_, count)| count).sum::<u64>()
    };
    assert!(of_group("error") >= refused, "{refused}");
}

/// What passed before counts, in one Envoy.
async fn local_counters_take_over_within_one_request(dialect: Dialect) {
    let counters = json!({"timeout": "400ms", "failure_mode": "local"});
    let limits = json!({"requests_per_day": 20});
    let world = World::start(dialect, gold(&counters, &limits), 1).await;
    let Some(mut world) = world else { return };
    let gone = world.at_once(vec![ask("gold-key"); 8]).await;
    assert_eq!(statuses(&gone), expected([(200, 8)]));
    world.service.kill().await;
    let answers = world.at_once(vec![ask("gold-key"); 40]).await;
    assert_eq!(statuses(&answers), expected([(200, 12), (429, 28)]));
    let refused = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!(
        fired(refused),
        [
            "rate_limit_exceeded",
            "requests_per_day",
            "gold",
            "consumer_group"
        ]
    );
    assert_eq!(refused.header("ratelimit-remaining"), Some("0"));
    assert_eq!(world.send(&ask("gold-key")).await.status, 429);
    // It comes back without a memory, and is believed.
    world.service.restart().await;
    let mut back = None;
    for _ in 0..400 {
        let answer = world.send(&ask("gold-key")).await;
        if answer.status == 200 {
            back = Some(answer);
            break;
        }
        sleep(Duration::from_millis(25)).await;
    }
    let back = back.expect("the service is asked again");
    if dialect != Dialect::Limitador {
        assert_eq!(back.header("ratelimit-remaining"), Some("19"));
    }
    world.envoy().assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_counters_take_over_from_either_service() {
    for dialect in [Dialect::Envoy, Dialect::Limitador] {
        local_counters_take_over_within_one_request(dialect).await;
    }
}

/// The time a request takes.
async fn timed(world: &World) -> Duration {
    #[expect(clippy::disallowed_methods, reason = "the gateway's clock is real")]
    let start = std::time::Instant::now();
    world.send(&ask("gold-key")).await;
    start.elapsed()
}

fn sorted(mut times: Vec<Duration>) -> Vec<Duration> {
    times.sort_unstable();
    times
}

const TIMEOUT: Duration = Duration::from_millis(400);

/// Nobody waits longer than the timeout, and after the first few nobody waits at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_down_makes_few_wait_and_none_for_long() {
    let counters = json!({"timeout": "400ms", "failure_mode": "allow"});
    let limits = json!({"requests_per_day": 100_000});
    let world = World::start(Dialect::Envoy, gold(&counters, &limits), 1).await;
    let Some(mut world) = world else { return };
    let usual = {
        let mut times = Vec::new();
        for _ in 0..100 {
            times.push(timed(&world).await);
        }
        sorted(times)[98]
    };
    for fault in [
        Some(Fault::Hang),
        Some(Fault::Delay(Duration::from_secs(2))),
        None,
    ] {
        match &fault {
            Some(fault) => world.service.fault(fault.clone()).await,
            None => world.service.kill().await,
        }
        #[expect(clippy::disallowed_methods, reason = "the gateway's clock is real")]
        let start = std::time::Instant::now();
        let mut times = Vec::new();
        for _ in 0..150 {
            times.push(timed(&world).await);
        }
        let spent = start.elapsed();
        let times = sorted(times);
        // Three to open each worker's breaker, and a try now and then: less often each time, at most once a second.
        let waited = times
            .iter()
            .filter(|time| **time >= TIMEOUT / 2 + usual)
            .count();
        let tries = usize::try_from(2 * (3 + spent.as_secs())).unwrap();
        assert!(
            waited <= tries,
            "{fault:?}: {waited} of 150 waited, {tries} may: {times:?}"
        );
        let p99 = times[147];
        assert!(
            p99 <= TIMEOUT + Duration::from_millis(50) + usual,
            "{fault:?}: {p99:?}, else {usual:?}"
        );
        if fault.is_some() {
            world.service.fault(Fault::None).await;
            until_it_is_asked(&world, world.envoy()).await;
        }
    }
    world.envoy().assert_healthy().await;
}

/// Whatever happens to the service while they wait: each request is answered once and sent on once, or refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_or_sent_twice() {
    for dialect in [Dialect::Envoy, Dialect::LimitadorWithHeaders] {
        let counters = json!({"timeout": "200ms", "failure_mode": "allow"});
        // Two calls for each request: one may fail and the other not.
        let limits = json!({"requests_per_day": 100_000, "tokens_per_day": "1000M"});
        let world = World::start(dialect, gold(&counters, &limits), 1).await;
        let Some(mut world) = world else { return };
        let address = world.envoy().address();
        let mut clients = JoinSet::new();
        for client in 0..30 {
            clients.spawn(async move {
                for n in 0..20 {
                    let id = format!("{client}-{n}");
                    let request = ask("gold-key").header("x-id", &id);
                    let answer = request.send(address).await.expect("an answer");
                    assert_eq!(
                        (answer.status, answer.complete),
                        (200, true),
                        "{}",
                        answer.text()
                    );
                    assert_eq!(answer.json()["object"], "chat.completion");
                }
            });
        }
        let mut round = 0;
        while !clients.is_empty() && round < 1_000 {
            let all = faults();
            world.service.fault(all[round % all.len()].clone()).await;
            sleep(Duration::from_millis(15)).await;
            world.service.fault(Fault::None).await;
            sleep(Duration::from_millis(15)).await;
            if round % 20 == 10 {
                world.service.restart().await;
            }
            round += 1;
            while let Some(client) = clients.try_join_next() {
                client.unwrap();
            }
        }
        assert!(clients.is_empty());
        let seen = world.upstream.seen();
        let mut ids: Vec<_> = seen
            .iter()
            .map(|seen| seen.header("x-id").unwrap())
            .collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!((ids.len(), seen.len()), (600, 600));
        assert_eq!(world.envoy().events(600).await.len(), 600);
        world.envoy().assert_healthy().await;
    }
}

/// What it has no limit for, envoyproxy/ratelimit lets pass: here that is no answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_that_the_service_does_not_know_are_counted_and_logged_once() {
    for (mode, passed) in [("deny", 0), ("local", 5)] {
        let counters = json!({"failure_mode": mode, "domain": "elsewhere"});
        let policy = policy(
            Dialect::Envoy,
            gold(&counters, &json!({"requests_per_day": 5})),
        );
        let known = "domain: cohort\ndescriptors: []\n";
        let Some(service) = Ratelimitd::start(Dialect::Envoy, known).await else {
            return;
        };
        let upstream = Upstream::start(chat).await;
        let mut world = World {
            upstream,
            service,
            gateways: Vec::new(),
        };
        let gateway = world.gateway(policy).workers(1);
        let Some(gateway) = gateway.start().await else {
            return;
        };
        world.gateways.push(gateway);
        let answers = world.at_once(vec![ask("gold-key"); 12]).await;
        let refused = if mode == "deny" { 503 } else { 429 };
        assert_eq!(
            statuses(&answers),
            expected([(200, passed), (refused, 12 - passed)])
        );
        world.envoy().events(12).await;
        assert_eq!(world.envoy().stat(UNMATCHED).await, 12);
        let log = world.envoy().log();
        let told = log
            .lines()
            .filter(|line| line.contains("has no limit for some descriptors"));
        assert_eq!(told.count(), 1, "{log}");
        assert!(log.contains("domain 'elsewhere'"));
        // It answered, so it is asked each time.
        assert_eq!(world.service.counts().await.calls(SHOULD_RATE_LIMIT), 12);
        world.assert_sound().await;
    }
}

/// Nothing to ask: Envoy says so at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_cluster_or_an_endpoint_nobody_waits() {
    // Not only a name: Envoy can read `empty` as a message.
    let cases = [("nowhere", "local", 5, 429), ("empty", "deny", 0, 503)];
    for (cluster, mode, passed, refused) in cases {
        let counters = json!({"failure_mode": mode, "cluster": cluster, "timeout": "9s"});
        let own = gold(&counters, &json!({"requests_per_day": 5}));
        let world = World::with(Dialect::Envoy, own, 1, chat, |gateway| {
            gateway.edit(|bootstrap| {
                let clusters = bootstrap.pointer_mut("/static_resources/clusters").unwrap();
                let clusters = clusters.as_array_mut().unwrap();
                let mut empty = clusters.last().unwrap().clone();
                empty["name"] = json!("empty");
                empty["load_assignment"] = json!({"cluster_name": "empty"});
                clusters.push(empty);
            })
        });
        let Some(world) = world.await else { return };
        let all = async {
            let answers = world.at_once(vec![ask("gold-key"); 20]).await;
            assert_eq!(
                statuses(&answers),
                expected([(200, passed), (refused, 20 - passed)]),
                "{cluster}"
            );
            let get = Request::get("/v1/models").bearer("gold-key");
            assert_eq!(world.send(&get).await.status, refused);
        };
        tokio::time::timeout(Duration::from_secs(8), all)
            .await
            .expect("nobody waits");
        assert_eq!(world.upstream.count(), passed);
        assert!(world.envoy().stat(STORE_ERRORS).await > 0);
        world.envoy().assert_healthy().await;
    }
}
