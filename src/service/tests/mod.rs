//! Questions and answers against a model of envoyproxy/ratelimit, and against answers as limitador-server gives them.

#![expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]

mod answers;
mod limitador;
mod questions;

use super::wire::{Answer, CurrentLimit, Duration, Header, Request, Status as WireStatus};
use super::*;
use crate::config::{FailureMode, Lease};
use crate::limit::Descriptor;
use prost::Message;
use std::collections::BTreeMap;

pub(crate) fn service(dialect: ServiceDialect) -> LimitService {
    LimitService {
        cluster: "ratelimit".to_owned(),
        domain: "cohort".to_owned(),
        dialect,
        timeout_ms: 100,
        failure_mode: FailureMode::Local,
        lease: Some(Lease {
            requests: 8,
            max_age_ms: 30_000,
        }),
    }
}

pub(crate) fn limit(unit: Unit, window: Window, quota: u64) -> Limit {
    Limit {
        unit,
        window,
        quota,
    }
}

pub(crate) fn counter(
    group: Option<&str>,
    consumer: Option<&str>,
    models: Option<&str>,
    limits: Vec<Limit>,
) -> Rc<Counter> {
    let rc = |text: Option<&str>| text.map(Rc::from);
    Rc::new(Counter::new(
        Descriptor {
            group: rc(group),
            consumer: rc(consumer),
            models: rc(models),
        },
        limits,
    ))
}

pub(crate) const MINUTE: Window = Window::Sliding(60);

pub(crate) fn total(total: u64) -> Tokens {
    Tokens {
        total,
        ..Tokens::default()
    }
}

/// All levels at once.
fn everything() -> Vec<Rc<Counter>> {
    vec![
        counter(
            Some("child"),
            None,
            Some("gpt-4*,o1"),
            vec![limit(Unit::Requests, MINUTE, 5)],
        ),
        counter(
            Some("child"),
            Some("ann"),
            None,
            vec![limit(Unit::Requests, Window::Sliding(1), 2)],
        ),
        counter(
            Some("child"),
            None,
            None,
            vec![
                limit(Unit::Requests, MINUTE, 60),
                limit(Unit::Tokens, Window::Day, 1_000),
                limit(Unit::ConcurrentRequests, Window::InFlight, 4),
            ],
        ),
        counter(
            Some("parent"),
            None,
            Some("gpt-*"),
            vec![limit(Unit::PromptTokens, Window::Month, 1 << 40)],
        ),
        counter(
            None,
            None,
            None,
            vec![limit(Unit::CompletionTokens, Window::Fixed(3_600), 70)],
        ),
    ]
}

/// A descriptor as `key=value …; quota per unit; hits`.
fn descriptors(call: &Call) -> Vec<String> {
    let request = Request::decode(&*unframed(call.message.clone()).unwrap()).unwrap();
    assert_eq!(request.domain, "cohort");
    let shown = request.descriptors.iter().map(|descriptor| {
        let entries = descriptor.entries.iter();
        let entries: Vec<_> = entries.map(|e| format!("{}={}", e.key, e.value)).collect();
        let limit = descriptor
            .limit
            .map(|limit| format!("; {} per {}", limit.requests_per_unit, limit.unit));
        let hits = descriptor.hits_addend;
        let hits = hits.map_or_else(
            || format!("; all {}", request.hits_addend),
            |hits| format!("; {hits}"),
        );
        entries.join(" ") + &limit.unwrap_or_default() + &hits
    });
    shown.collect()
}

/// envoyproxy/ratelimit's fixed window counters, as its source has them: a descriptor's own limit and hits, over when
/// more than the limit is used, everything counted. It is a model, not the server.
#[derive(Default)]
pub(crate) struct Model(BTreeMap<(String, u64), u64>);

impl Model {
    /// What was counted in the window of `now`.
    pub(crate) fn counted(&self, descriptor: &str, now: u64) -> u64 {
        let key = (descriptor.to_owned(), now / 60_000);
        self.0.get(&key).copied().unwrap_or(0)
    }

    pub(crate) fn answer(&mut self, call: &Call, now: u64) -> Vec<u8> {
        assert_eq!(call.path, ASK);
        let request = Request::decode(&*unframed(call.message.clone()).unwrap()).unwrap();
        let statuses = request.descriptors.iter().map(|descriptor| {
            let limit = descriptor.limit.unwrap();
            let length =
                [1, 60, 3_600, 86_400, 2_592_000][usize::try_from(limit.unit).unwrap() - 1];
            let entries = descriptor.entries.iter();
            let name: Vec<_> = entries.map(|e| format!("{}={}", e.key, e.value)).collect();
            let used = self
                .0
                .entry((name.join(" "), now / (length * 1_000)))
                .or_default();
            *used += descriptor.hits_addend.unwrap();
            let quota = u64::from(limit.requests_per_unit);
            WireStatus {
                code: if *used > quota { 2 } else { 1 },
                current_limit: Some(CurrentLimit::default()),
                limit_remaining: u32::try_from(quota.saturating_sub(*used)).unwrap(),
                duration_until_reset: Some(Duration {
                    seconds: i64::try_from(length - now / 1_000 % length).unwrap(),
                    nanos: 0,
                }),
            }
        });
        let statuses: Vec<_> = statuses.collect();
        let over = statuses.iter().any(|status| status.code == 2);
        Answer {
            overall_code: if over { 2 } else { 1 },
            statuses,
            ..Answer::default()
        }
        .encode_to_vec()
    }
}

const NOBODY: &dyn Fn(usize, usize) -> u64 = &|_, _| 0;
const NOW: Timestamp = Timestamp(1_764_201_599_000); // 2025-11-26 23:59:59

/// One group with `requests_per_minute: 2`, `tokens_per_minute: 100`, `requests_per_hour: 3`.
fn small() -> Vec<Rc<Counter>> {
    let limits = vec![
        limit(Unit::Requests, MINUTE, 2),
        limit(Unit::Tokens, MINUTE, 100),
        limit(Unit::Requests, Window::Fixed(3_600), 3),
    ];
    vec![counter(Some("a"), None, None, limits)]
}

fn over(verdict: &Verdict) -> Option<(usize, Option<u64>)> {
    match verdict {
        Verdict::Over {
            limit,
            retry_after_ms,
            ..
        } => Some((*limit, *retry_after_ms)),
        Verdict::Within(_) => None,
        _ => panic!("{verdict:?}"),
    }
}
