//! The rate-limit servers of the tests behave as those they stand for, on the wire: asked directly, and by the client
//! that Envoy itself has. The model's rules have tests of their own, in `tests/ratelimitd/`.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::client::Request;
use support::envoy::{Gateway, HCM};
use support::ratelimitd::proto::{Code, Descriptor, Entry, RateLimitRequest};
use support::ratelimitd::{
    CHECK_RATE_LIMIT, Dialect, Failed, Fault, Hits, REPORT, Ratelimitd, SHOULD_RATE_LIMIT,
};
use support::upstream::{Upstream, chat};
use tokio::time::timeout;

const ENVOY_LIMITS: &str = "
domain: cohort
descriptors:
  - key: group
    descriptors:
      - {key: limit, value: requests_per_hour, rate_limit: {unit: hour, requests_per_unit: 5}}
---
domain: other
descriptors:
  - {key: group, rate_limit: {unit: year, requests_per_unit: 1}}
";
const LIMITADOR_LIMITS: &str = "
- namespace: cohort
  name: tokens
  max_value: 1000
  seconds: 3600
  conditions: [\"descriptors[0].limit == 'tokens'\", \"descriptors[0].group == 'gold'\"]
  variables: ['descriptors[0].group']
";
const REQUESTS: &str = "cohort|group=gold|limit=requests_per_hour";
const TOKENS: &str = "cohort|group=gold|limit=tokens";

/// One descriptor, written as in the counts.
fn request(descriptor: &str, hits_addend: u32) -> RateLimitRequest {
    let mut parts = descriptor.split('|');
    let domain = parts.next().unwrap().to_owned();
    let entries = parts.map(|part| {
        let (key, value) = part.split_once('=').unwrap();
        let (key, value) = (key.to_owned(), value.to_owned());
        Entry { key, value }
    });
    let descriptor = Descriptor {
        entries: entries.collect(),
        ..Descriptor::default()
    };
    RateLimitRequest {
        domain,
        descriptors: vec![descriptor],
        hits_addend,
    }
}

#[tokio::test]
async fn the_model_of_envoyproxy_ratelimit_counts_past_the_limit() {
    let Some(server) = Ratelimitd::start(Dialect::Envoy, ENVOY_LIMITS).await else {
        return;
    };
    support::quiet_minute().await;
    let mut remaining = Vec::new();
    for addend in [0, 2, 2, 9] {
        let request = request(REQUESTS, addend);
        let answer = server.call(SHOULD_RATE_LIMIT, &request).await.unwrap();
        let status = &answer.statuses[0];
        assert_eq!(status.code(), answer.overall_code());
        assert_eq!(status.current_limit.unwrap().requests_per_unit, 5);
        remaining.push((status.code(), status.limit_remaining));
    }
    let (ok, over) = (Code::Ok, Code::OverLimit);
    assert_eq!(remaining, [(ok, 4), (ok, 2), (ok, 0), (over, 0)]);

    // An addend of the descriptor's own goes before the request's.
    let mut look = request(REQUESTS, 7);
    look.descriptors[0].hits_addend = Some(0);
    let answer = server.call(SHOULD_RATE_LIMIT, &look).await.unwrap();
    assert_eq!(answer.overall_code(), over);
    let unknown = "cohort|team=gold";
    for (key, limited) in [("other|group=gold", true), (unknown, false)] {
        let answer = server.call(SHOULD_RATE_LIMIT, &request(key, 1)).await;
        let answer = answer.unwrap();
        assert_eq!(answer.overall_code(), ok);
        assert_eq!(answer.statuses[0].current_limit.is_some(), limited, "{key}");
    }
    let nowhere = RateLimitRequest::default();
    let answer = server.call(SHOULD_RATE_LIMIT, &nowhere).await;
    assert_eq!(answer.unwrap_err(), Failed::Status(2));
    let answer = server.call(REPORT, &request(REQUESTS, 1)).await;
    assert_eq!(answer.unwrap_err(), Failed::Status(12));

    let counts = server.counts().await;
    assert_eq!(counts.calls(SHOULD_RATE_LIMIT), 8);
    let (calls, asked, counted) = (5, 14, 14);
    assert_eq!(
        counts.hits(REQUESTS),
        Hits {
            calls,
            asked,
            counted
        }
    );
    assert_eq!(
        (counts.hits(unknown).asked, counts.hits(unknown).counted),
        (1, 0)
    );
    server.reset().await;
    let answer = server.call(SHOULD_RATE_LIMIT, &request(REQUESTS, 1)).await;
    assert_eq!(answer.unwrap().statuses[0].limit_remaining, 4);
    assert_eq!(server.counts().await.calls(SHOULD_RATE_LIMIT), 1);
}

#[tokio::test]
async fn limitador_drops_what_does_not_fit_unless_it_is_reported() {
    let Some(server) = Ratelimitd::start(Dialect::Limitador, LIMITADOR_LIMITS).await else {
        return;
    };
    let steps = [
        (SHOULD_RATE_LIMIT, 900, Code::Ok),
        (SHOULD_RATE_LIMIT, 500, Code::OverLimit),
        (SHOULD_RATE_LIMIT, 99, Code::Ok),
        // Asks for 1, whatever the addend; the 1 is not counted.
        (CHECK_RATE_LIMIT, 500, Code::Ok),
        (CHECK_RATE_LIMIT, 0, Code::Ok),
        // 0 is 1.
        (REPORT, 0, Code::Ok),
        (CHECK_RATE_LIMIT, 0, Code::OverLimit),
        (REPORT, 500, Code::Ok),
    ];
    for (index, (path, addend, code)) in steps.into_iter().enumerate() {
        let answer = server.call(path, &request(TOKENS, addend)).await.unwrap();
        assert_eq!(answer.overall_code(), code, "step {index}");
        assert_eq!(
            (answer.statuses, answer.response_headers_to_add),
            (vec![], vec![])
        );
    }
    let counts = server.counts().await;
    assert_eq!(counts.calls(CHECK_RATE_LIMIT), 3);
    let (calls, asked, counted) = (8, 2000, 1500);
    assert_eq!(
        counts.hits(TOKENS),
        Hits {
            calls,
            asked,
            counted
        }
    );
    let unknown = server.call(REPORT, &request("cohort|a=b", 5)).await;
    assert_eq!(unknown.unwrap().overall_code(), Code::Ok);
    assert_eq!(server.counts().await.hits("cohort|a=b").counted, 0);
    let nowhere = RateLimitRequest::default();
    let answer = server.call(SHOULD_RATE_LIMIT, &nowhere).await.unwrap();
    assert_eq!(answer.overall_code(), Code::Unknown);
    // The conditions ask for descriptors[0]: the library panics, and the call breaks off.
    let mut empty = request(TOKENS, 1);
    empty.descriptors.clear();
    let answer = server.call(SHOULD_RATE_LIMIT, &empty).await;
    assert_eq!(answer.unwrap_err(), Failed::NotGrpc);
    server.reset().await;
    let answer = server.call(CHECK_RATE_LIMIT, &request(TOKENS, 1)).await;
    assert_eq!(answer.unwrap().overall_code(), Code::Ok);
}

#[tokio::test]
async fn limitador_tells_its_limits_in_headers_when_told_to() {
    let server = Ratelimitd::start(Dialect::LimitadorWithHeaders, LIMITADOR_LIMITS);
    let Some(server) = server.await else { return };
    for (path, remaining) in [
        (SHOULD_RATE_LIMIT, Some("900")),
        (REPORT, None),
        (CHECK_RATE_LIMIT, Some("800")),
    ] {
        let answer = server.call(path, &request(TOKENS, 100)).await.unwrap();
        let headers = &answer.response_headers_to_add;
        let names: Vec<_> = headers.iter().map(|header| header.key.as_str()).collect();
        if remaining.is_none() {
            assert!(headers.is_empty(), "{path}: {headers:?}");
            continue;
        }
        assert_eq!(
            names,
            [
                "X-RateLimit-Limit",
                "X-RateLimit-Remaining",
                "X-RateLimit-Reset"
            ]
        );
        assert_eq!(headers[0].value, "1000, 1000;w=3600;name=\"tokens\"");
        assert_eq!(Some(headers[1].value.as_str()), remaining, "{path}");
    }
}

#[tokio::test]
async fn faults_come_and_go_while_it_serves() {
    let Some(mut server) = Ratelimitd::start(Dialect::Envoy, ENVOY_LIMITS).await else {
        return;
    };
    let one = request(REQUESTS, 1);
    for (fault, failed) in [
        (Fault::Garbage, Failed::NotGrpc),
        (Fault::Message(vec![0x0a]), Failed::NotGrpc),
        (Fault::NotGrpc, Failed::NotGrpc),
        (Fault::Status(14), Failed::Status(14)),
        (Fault::Drop, Failed::NotGrpc),
    ] {
        server.fault(fault.clone()).await;
        let answer = server.call(SHOULD_RATE_LIMIT, &one).await;
        assert_eq!(answer.unwrap_err(), failed, "{fault:?}");
    }
    server.fault(Fault::Message(vec![0x08, 2])).await;
    let answer = server.call(SHOULD_RATE_LIMIT, &one).await.unwrap();
    assert_eq!(answer.overall_code(), Code::OverLimit);

    server.fault(Fault::Hang).await;
    let call = server.call(SHOULD_RATE_LIMIT, &one);
    timeout(Duration::from_millis(300), call).await.unwrap_err();
    assert_eq!(server.counts().await.hits(REQUESTS).calls, 0);

    // What is late is counted all the same, also when nobody waits for it.
    let delay = Duration::from_millis(600);
    server.fault(Fault::Delay(delay)).await;
    let call = server.call(SHOULD_RATE_LIMIT, &one);
    timeout(Duration::from_millis(300), call).await.unwrap_err();
    assert_eq!(server.counts().await.hits(REQUESTS).counted, 1);
    #[expect(clippy::disallowed_methods, reason = "the server's clock is real")]
    let start = Instant::now();
    server.call(SHOULD_RATE_LIMIT, &one).await.unwrap();
    assert!(start.elapsed() >= delay);

    let counts = server.counts().await;
    assert_eq!(counts.calls(SHOULD_RATE_LIMIT), 9);
    server.kill().await;
    let answer = server.call(SHOULD_RATE_LIMIT, &one).await;
    assert_eq!(answer.unwrap_err(), Failed::NotGrpc);
    let address = server.address();
    server.restart().await;
    assert_eq!(server.address(), address);
    let answer = server.call(SHOULD_RATE_LIMIT, &one).await.unwrap();
    assert_eq!(answer.statuses[0].limit_remaining, 4);
}

/// Envoy's own filter in front of ours, which has no limit of its own here.
fn gateway(upstream: &Upstream, server: &Ratelimitd, limit: &str) -> Gateway {
    let policy = json!({
        "version": "1",
        "consumer_groups": [{"name": "engineering", "api_key": "engineering-key"}],
    });
    let limit = limit.to_owned();
    Gateway::new(policy)
        .cluster("openai", upstream.address())
        .grpc_cluster("ratelimit", server.address())
        .edit(move |bootstrap: &mut Value| {
            let hcm = bootstrap.pointer_mut(HCM).unwrap();
            let filters = hcm["http_filters"].as_array_mut().unwrap();
            filters.insert(0, json!({
                "name": "envoy.filters.http.ratelimit",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit",
                    "domain": "cohort",
                    "failure_mode_deny": true,
                    "timeout": "0.3s",
                    "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
                    "rate_limit_service": {
                        "transport_api_version": "V3",
                        "grpc_service": {"envoy_grpc": {"cluster_name": "ratelimit"}},
                    },
                },
            }));
            let entry = |key, value: &str| json!({"generic_key": {"descriptor_key": key, "descriptor_value": value}});
            let actions = json!({"actions": [entry("group", "gold"), entry("limit", &limit)]});
            let host = &mut hcm["route_config"]["virtual_hosts"][0];
            host["rate_limits"] = json!([actions]);
        })
}

#[tokio::test]
async fn envoys_own_filter_takes_both_for_rate_limit_services() {
    let requests = "
- namespace: cohort
  max_value: 5
  seconds: 3600
  conditions: [\"descriptors[0].limit == 'requests_per_hour'\"]
  variables: ['descriptors[0].group']
";
    let upstream = Upstream::start(chat).await;
    for (dialect, limits) in [
        (Dialect::Envoy, ENVOY_LIMITS),
        (Dialect::Limitador, requests),
    ] {
        let Some(mut server) = Ratelimitd::start(dialect, limits).await else {
            return;
        };
        let gateway = gateway(&upstream, &server, "requests_per_hour").start();
        let Some(gateway) = gateway.await else { return };
        support::quiet_minute().await;
        let ask = Request::chat("engineering-key", "gpt-4o");
        let mut statuses = Vec::new();
        for call in 0..7_u64 {
            let answer = gateway.send(ask.clone()).await;
            statuses.push(answer.status);
            // Only Envoy's own reading of the statuses makes these, and Limitador has none.
            let remaining = answer.header("x-ratelimit-remaining");
            let left = 4_u64.saturating_sub(call).to_string();
            let told = (dialect == Dialect::Envoy).then_some(left);
            assert_eq!(remaining, told.as_deref(), "{dialect:?}, call {call}");
        }
        assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429], "{dialect:?}");
        let hits = server.counts().await.hits(REQUESTS);
        let counted = if dialect == Dialect::Envoy { 7 } else { 5 };
        assert_eq!((hits.calls, hits.asked, hits.counted), (7, 7, counted));

        for fault in [Fault::Hang, Fault::Garbage, Fault::NotGrpc, Fault::Drop] {
            server.fault(fault.clone()).await;
            let answer = gateway.send(ask.clone()).await;
            assert_eq!(answer.status, 500, "{dialect:?}: {fault:?}");
        }
        server.kill().await;
        assert_eq!(gateway.send(ask.clone()).await.status, 500);
        server.restart().await;
        for _ in 0..50 {
            if gateway.send(ask.clone()).await.status == 200 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(server.counts().await.hits(REQUESTS).counted > 0);
        gateway.assert_healthy().await;
    }
}
