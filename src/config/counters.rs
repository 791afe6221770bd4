//! `counters`: where they are kept, and what was counted before.
//!
//! Does not judge the limits that are counted; those of Envoy's protocol are judged where they stand.

use super::ConsumerGroup;
use super::decode::{Decoder, Fields, Map};
use super::document::cluster;
use super::group;
use super::limits;
use super::node::{Node, Value};
use crate::limit::Descriptor;
use crate::limit::seed::Seed;
use std::rc::Rc;

/// `counters`.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// The rate-limit service that keeps them; `None`: `store: shared_data`.
    pub service: Option<LimitService>,
    /// `seed[]`: what was counted before this Envoy started, for records that are not there.
    pub seed: Vec<Seed>,
}

/// `counters` with `store: rate_limit_service`.
#[derive(Clone, Debug)]
pub struct LimitService {
    /// The Envoy cluster.
    pub cluster: String,
    /// The service's namespace for our descriptors.
    pub domain: String,
    /// Which protocol it speaks.
    pub dialect: ServiceDialect,
    /// How long a request waits for it, in milliseconds.
    pub timeout_ms: u32,
    /// What holds while it does not answer.
    pub failure_mode: FailureMode,
    /// Hits to be asked for in advance.
    pub lease: Option<Lease>,
}

/// `counters.dialect`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ServiceDialect {
    /// `envoy.service.ratelimit.v3`, as envoyproxy/ratelimit answers it.
    #[default]
    Envoy,
    /// `kuadrant.service.ratelimit.v1` beside it, as Limitador answers them.
    Kuadrant,
}

/// `failure_mode` of `counters` and of a `content_filter`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum FailureMode {
    /// Requests pass unlimited.
    Allow,
    /// Requests are refused with 503.
    Deny,
    /// This Envoy's own counters hold.
    #[default]
    Local,
}

/// `counters.lease`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lease {
    /// At most so many hits at a time.
    pub requests: u32,
    /// Unused ones are given up after so many milliseconds.
    pub max_age_ms: u32,
}

pub(super) const COUNTERS: Fields = Fields {
    known: &[
        "store",
        "cluster",
        "domain",
        "dialect",
        "timeout",
        "failure_mode",
        "lease",
        "seed",
    ],
    ..Fields::NONE
};

pub(super) const LEASE: Fields = Fields {
    known: &["requests", "max_age"],
    ..Fields::NONE
};

pub(super) const SEED: Fields = Fields {
    known: &["consumer_group", "consumer", "models", "time", "counted"],
    ..Fields::NONE
};

pub(super) const SERVICE: &str = "rate_limit_service";
pub(super) const STORES: [(&str, bool); 2] = [("shared_data", false), (SERVICE, true)];

pub(super) const DIALECTS: [(&str, ServiceDialect); 2] = [
    ("envoy", ServiceDialect::Envoy),
    ("kuadrant", ServiceDialect::Kuadrant),
];

pub(super) const FAILURE_MODES: [(&str, FailureMode); 3] = [
    ("allow", FailureMode::Allow),
    ("deny", FailureMode::Deny),
    ("local", FailureMode::Local),
];

const DEFAULT_DOMAIN: &str = "cohort";
const DEFAULT_TIMEOUT_MS: u32 = 100;
const DEFAULT_MAX_AGE_MS: u32 = 1_000;

/// Ahead of decoding: whether limits go to a service that speaks Envoy's protocol.
pub(super) fn is_envoy(counters: Option<&Node>) -> bool {
    let Some(Value::Map(members)) = counters.map(|node| &node.value) else {
        return false;
    };
    let is = |name: &str, value: &str, absent: bool| {
        let mut members = members.iter();
        members.find(|member| member.key == name).map_or(
            absent,
            |member| matches!(&member.node.value, Value::Text(text) if text == value),
        )
    };
    is("store", SERVICE, false) && is("dialect", "envoy", true)
}

pub(super) fn counters(d: &mut Decoder, node: &Node, groups: &[ConsumerGroup]) -> Option<Counters> {
    let map = d.map(node, &COUNTERS)?;
    let store = match map.get("store") {
        None => Some(false),
        Some(_) => d.field(&map, "store", |d, node| d.choice(node, &STORES)),
    };
    let service = match store {
        Some(true) => service(d, &map),
        Some(false) => {
            reject_service(d, &map);
            None
        }
        None => None,
    };
    d.envoy_limits = false; // what was counted is no limit
    let seed = d.field(&map, "seed", |d, node| {
        d.list(node, |d, item| seed(d, item, groups))
    });
    Some(Counters {
        service,
        seed: seed.unwrap_or_default(),
    })
}

/// A service that nobody asks would be taken for one that is asked.
fn reject_service(d: &mut Decoder, map: &Map<'_>) {
    let fields = COUNTERS.known.iter();
    for name in fields.filter(|name| !["store", "seed"].contains(name)) {
        if let Some(node) = map.get(name) {
            d.within(name, |d| {
                d.error(node.span, "only with `store: rate_limit_service`");
            });
        }
    }
}

fn service(d: &mut Decoder, map: &Map<'_>) -> Option<LimitService> {
    let cluster = d.required(map, "cluster", cluster);
    let domain = d.field(map, "domain", |d, node| {
        let rule = |text: &str| {
            (1..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        d.checked(node, rule, "1 to 256 characters without spaces")
    });
    let dialect = d.field(map, "dialect", |d, node| d.choice(node, &DIALECTS));
    let timeout = d.field(map, "timeout", |d, node| d.milliseconds(node, 1..=10_000));
    let failure_mode = d.field(map, "failure_mode", |d, node| {
        d.choice(node, &FAILURE_MODES)
    });
    let lease = d.field(map, "lease", lease);
    Some(LimitService {
        cluster: cluster?,
        domain: domain.unwrap_or_else(|| DEFAULT_DOMAIN.to_owned()),
        dialect: dialect.unwrap_or_default(),
        timeout_ms: timeout.unwrap_or(DEFAULT_TIMEOUT_MS),
        failure_mode: failure_mode.unwrap_or_default(),
        lease,
    })
}

fn lease(d: &mut Decoder, node: &Node) -> Option<Lease> {
    let map = d.map(node, &LEASE)?;
    let requests = d.required(&map, "requests", |d, node| {
        let requests = d.number32(node, 1_000_000)?;
        if requests == 0 {
            d.error(node.span, "must be at least 1");
        }
        Some(requests)
    });
    let max_age = d.field(&map, "max_age", |d, node| d.milliseconds(node, 10..=60_000));
    Some(Lease {
        requests: requests?,
        max_age_ms: max_age.unwrap_or(DEFAULT_MAX_AGE_MS),
    })
}

fn seed(d: &mut Decoder, node: &Node, groups: &[ConsumerGroup]) -> Option<Seed> {
    let map = d.map(node, &SEED)?;
    let group = d.field(&map, "consumer_group", |d, node| {
        let name = d.name(node)?;
        group::check_known(d, node.span, &name, groups);
        Some(Rc::from(name))
    });
    let consumer = d.field(&map, "consumer", |d, node| d.id(node).map(Rc::from));
    let models = d.field(&map, "models", |d, node| {
        Some(limits::models(d, node)?.join(",").into())
    });
    let time = d.required(&map, "time", Decoder::date);
    let counted = d.required(&map, "counted", limits::counted);
    Some(Seed {
        descriptor: Descriptor {
            group,
            consumer,
            models,
        },
        time: time?,
        counted: counted?,
    })
}
