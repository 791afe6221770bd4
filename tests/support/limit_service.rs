//! A rate-limit service and the Envoys that share it.

use std::time::Duration;

use cohort::config::Config;
use cohort::render::{limitador, ratelimit};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::client::{Request, Response};
use super::envoy::{Gateway, Running};
use super::ratelimitd::{Counts, Dialect, Hits, Ratelimitd};
use super::upstream::{Answer, Seen, Upstream, chat};

/// An upstream, a service, and Envoys that share both.
pub(crate) struct World {
    pub(crate) upstream: Upstream,
    pub(crate) service: Ratelimitd,
    pub(crate) gateways: Vec<Running>,
}

/// What is not said otherwise in `counters`: a wait that no busy machine exceeds, and nothing in the service's place.
pub(crate) fn policy(dialect: Dialect, mut policy: Value) -> Value {
    policy["version"] = json!("1");
    let own = policy["counters"].take();
    let mut counters = json!({
        "store": "rate_limit_service",
        "cluster": "limits",
        "dialect": if dialect == Dialect::Envoy { "envoy" } else { "kuadrant" },
        "timeout": "5s",
        "failure_mode": "deny",
    });
    for (name, value) in own.as_object().into_iter().flatten() {
        counters[name] = value.clone();
    }
    policy["counters"] = counters;
    policy
}

/// What the service is started with for that.
pub(crate) fn rendered(dialect: Dialect, policy: &Value) -> String {
    let config = Config::from_json(policy.to_string().as_bytes()).unwrap();
    match dialect {
        Dialect::Envoy => ratelimit(&config),
        _ => limitador(&config),
    }
}

impl World {
    /// A service that is configured with what is rendered from the policy.
    pub(crate) async fn start(dialect: Dialect, own: Value, gateways: usize) -> Option<Self> {
        Self::with(dialect, own, gateways, chat, |gateway| gateway).await
    }

    pub(crate) async fn with(
        dialect: Dialect,
        own: Value,
        gateways: usize,
        answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
        edit: impl Fn(Gateway) -> Gateway,
    ) -> Option<Self> {
        let policy = policy(dialect, own);
        let service = Ratelimitd::start(dialect, &rendered(dialect, &policy)).await?;
        let upstream = Upstream::start(answer).await;
        let mut world = Self {
            upstream,
            service,
            gateways: Vec::new(),
        };
        for _ in 0..gateways {
            let gateway = edit(world.gateway(policy.clone()));
            world.gateways.push(gateway.start().await?);
        }
        Some(world)
    }

    pub(crate) fn gateway(&self, policy: Value) -> Gateway {
        Gateway::new(policy)
            .cluster("openai", self.upstream.address())
            .grpc_cluster("limits", self.service.address())
    }

    pub(crate) fn envoy(&self) -> &Running {
        &self.gateways[0]
    }

    pub(crate) async fn send(&self, request: &Request) -> Response {
        self.envoy().send(request.clone()).await
    }

    /// All at the same time, to one Envoy after the other.
    pub(crate) async fn at_once(
        &self,
        requests: impl IntoIterator<Item = Request>,
    ) -> Vec<Response> {
        let mut clients = JoinSet::new();
        let addresses = self.gateways.iter().map(Running::address).cycle();
        for (request, address) in requests.into_iter().zip(addresses) {
            clients.spawn(async move { request.send(address).await.expect("an answer") });
        }
        clients.join_all().await
    }

    /// Waits until the service has been asked what it should have been.
    pub(crate) async fn counts(&self, until: impl Fn(&Counts) -> bool) -> Counts {
        for _ in 0..500 {
            let counts = self.service.counts().await;
            if until(&counts) {
                return counts;
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!(
            "the service was asked this: {:#?}",
            self.service.counts().await
        );
    }

    pub(crate) async fn assert_hits(&self, descriptor: &str, hits: Hits) {
        self.counts(|counts| counts.hits(descriptor).asked >= hits.asked)
            .await;
        // Time for one too many.
        sleep(Duration::from_millis(50)).await;
        assert_eq!(
            self.service.counts().await.hits(descriptor),
            hits,
            "{descriptor}"
        );
    }

    /// Both workers of all Envoys took part, or a test of what they share has shown nothing.
    pub(crate) async fn assert_both_workers(&self) {
        for gateway in &self.gateways {
            let stats = gateway.stats().await;
            for worker in 0..2 {
                let name = format!("worker_{worker}.downstream_cx_total");
                let mut stats = stats.iter();
                assert!(
                    stats.any(|(known, count)| known.contains(&name) && *count > 0),
                    "{name}"
                );
            }
        }
    }

    /// All Envoys are well, and nothing failed on the way.
    pub(crate) async fn assert_sound(&self) {
        for gateway in &self.gateways {
            assert_eq!(gateway.stats().await.get(STORE_ERRORS), None);
            gateway.assert_healthy().await;
        }
    }
}

pub(crate) const STORE_ERRORS: &str = "wasmcustom.cohort.store_errors";
