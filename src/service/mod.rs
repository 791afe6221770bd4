//! The rate-limit-service store: what is asked of the service, what its answer means, and when not to ask.
//!
//! Two dialects. `envoy` is `envoy.service.ratelimit.v3` as envoyproxy/ratelimit answers it: one call with a descriptor
//! for each limit, hits and limit in the descriptor, so the numbers stay in our configuration. Its release must know
//! `hits_addend` in descriptors. `kuadrant` is Limitador: one call for each unit that is limited, with one descriptor that
//! says all there is to know of a request; which limits it falls under is for the service's own configuration to say,
//! which `render` writes. Only the tightest limit of a unit is told there, and only with `--rate-limit-headers
//! DRAFT_VERSION_03`. Its `CheckRateLimit` looks whether one more token fits, not whether the estimate does.
//!
//! Pure: no clock, no connection; who calls is told what to send and hands in what came back. Concurrent requests and
//! reservations are nothing that the protocol can count: the caller keeps them.

pub mod breaker;
pub mod lease;
mod proto;

use crate::config::{LimitService, ServiceDialect};
use crate::limit::counter::{Counter, Standing, Tokens};
use crate::limit::{Limit, Unit, Window};
use crate::time::Timestamp;
use proto::{OK, OVER_LIMIT, Response};
use std::rc::Rc;

const ENVOY: &str = "envoy.service.ratelimit.v3.RateLimitService";
const KUADRANT: &str = "kuadrant.service.ratelimit.v1.RateLimitService";

/// In the order of the calls of dialect `kuadrant`.
const UNITS: [Unit; 4] = [
    Unit::Requests,
    Unit::Tokens,
    Unit::PromptTokens,
    Unit::CompletionTokens,
];

/// The highest limit that dialect `envoy` has room for; a higher one is counted as this.
pub const MAX_QUOTA: u64 = u32::MAX as u64;

/// Between and around the `models` of the counters of a request, in one entry of a descriptor.
pub const MODEL_SEPARATOR: char = '|';

/// One gRPC call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Call {
    /// Full name of the service.
    pub service: &'static str,
    /// Name of the method.
    pub method: &'static str,
    /// The encoded message.
    pub message: Vec<u8>,
}

/// What the service says to a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It may pass; requests are counted already.
    Within(Vec<Status>),
    /// At least one limit has no room.
    Over {
        /// The counter that makes the request wait longest.
        counter: usize,
        /// Its limit.
        limit: usize,
        /// How long; `None`: for ever.
        retry_after_ms: Option<u64>,
        /// Where the limits stand.
        statuses: Vec<Status>,
    },
    /// The service knows no such limit, and would let everything pass.
    Unmatched,
    /// Not an answer to what was asked.
    Malformed,
}

/// Where one limit stands in the service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Status {
    /// Which of the counters.
    pub counter: usize,
    /// Which of its limits.
    pub limit: usize,
    /// As the service counts it: in dialect `envoy` at most [`MAX_QUOTA`].
    pub quota: u64,
    /// What is left.
    pub remaining: u64,
    /// Milliseconds until the window ends.
    pub ends_in_ms: u64,
    /// Whether the service said so; else `remaining` is the most it can be, and `ends_in_ms` the window's length.
    pub known: bool,
}

impl Status {
    /// Puts it in place of what this Envoy alone has counted.
    pub const fn tell(&self, standing: &mut Standing) {
        let remaining = self.remaining.saturating_sub(standing.reserved);
        standing.used = self.quota.saturating_sub(self.remaining);
        standing.remaining = remaining;
        standing.reset_ms = match (remaining, self.quota) {
            (1.., _) => Some(0),
            (0, 0) => None,
            (0, _) => Some(self.ends_in_ms),
        };
        standing.clear_ms = if standing.used == 0 {
            0
        } else {
            self.ends_in_ms
        };
    }
}

/// Whether the service counts a limit; other ones are for the caller.
pub const fn counts(dialect: ServiceDialect, limit: &Limit) -> bool {
    match dialect {
        ServiceDialect::Envoy => unit_of_time(limit).is_some(),
        ServiceDialect::Kuadrant => !matches!(limit.window, Window::InFlight),
    }
}

/// `envoy.type.v3.RateLimitUnit`, and what envoyproxy/ratelimit calls it; its months have 30 days.
pub const fn unit_of_time(limit: &Limit) -> Option<(u8, &'static str)> {
    Some(match limit.window.seconds() {
        1 => (1, "second"),
        60 => (2, "minute"),
        3_600 => (3, "hour"),
        86_400 => (4, "day"),
        2_592_000 => (5, "month"),
        _ => return None,
    })
}

/// The counters of a request, as the service is asked about them.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Whom.
    pub service: &'a LimitService,
    /// Narrowest first. Those of one request, always the same for the same record names: nothing else of the request is
    /// told, so whoever has them can report for it.
    pub counters: &'a [Rc<Counter>],
}

impl<'a> Question<'a> {
    /// Calls that ask whether a request may pass, all to be sent at once; none if the service counts nothing for it.
    ///
    /// `hits` are counted as requests, in advance if it is more than one. `unreported` tokens are counted along the way
    /// in dialect `envoy`; in `kuadrant` that takes a [`report`](Self::report).
    pub fn ask(&self, hits: u32, estimate: &Tokens, unreported: &Tokens) -> Vec<Call> {
        match self.service.dialect {
            ServiceDialect::Envoy => {
                let hits = |unit| match unit {
                    Unit::Requests => Some(u64::from(hits)),
                    _ => Some(of(unreported, unit)), // 0 only looks
                };
                self.envoy(&hits).into_iter().collect()
            }
            ServiceDialect::Kuadrant => self
                .units()
                .map(|unit| match unit {
                    Unit::Requests => self.kuadrant(ENVOY, "ShouldRateLimit", unit, hits.into()),
                    _ => self.kuadrant(KUADRANT, "CheckRateLimit", unit, of(estimate, unit)),
                })
                .collect(),
        }
    }

    /// Calls that count tokens, all to be sent at once; their answers say nothing.
    pub fn report(&self, tokens: &Tokens) -> Vec<Call> {
        let hits = |unit: Unit| Some(of(tokens, unit)).filter(|tokens| *tokens > 0);
        match self.service.dialect {
            ServiceDialect::Envoy => self.envoy(&hits).into_iter().collect(),
            ServiceDialect::Kuadrant => self
                .units()
                .filter_map(|unit| Some(self.kuadrant(KUADRANT, "Report", unit, hits(unit)?)))
                .collect(),
        }
    }

    /// Reads the answers, in the order of the calls.
    ///
    /// A token limit must have room for the estimate (one token at least, the whole limit at most) and for what
    /// `reserved` says that other requests of this Envoy will use of it. The service itself would let pass what only
    /// looks until more than the limit is used.
    pub fn read(
        &self,
        answers: &[Vec<u8>],
        estimate: &Tokens,
        reserved: &dyn Fn(usize, usize) -> u64,
        now: Timestamp,
    ) -> Verdict {
        let read = match self.service.dialect {
            ServiceDialect::Envoy => self.read_envoy(answers, now),
            ServiceDialect::Kuadrant => self.read_kuadrant(answers),
        };
        let Some(read) = read else {
            return Verdict::Malformed;
        };
        let lacks_room = |status: &Status| {
            self.limit(status).is_some_and(|limit| {
                (status.known && limit.unit.is_tokens())
                    && status.remaining
                        < needed(estimate, limit.unit, status.quota)
                            .saturating_add(reserved(status.counter, status.limit))
            })
        };
        let wait = |status: &Status| match status.quota {
            0 => u64::MAX,
            _ => status.ends_in_ms,
        };
        let over = (read.statuses.iter().zip(&read.over))
            .filter(|(status, over)| **over || lacks_room(status))
            .map(|(status, _)| *status)
            .rev()
            .max_by_key(wait);
        let statuses = read.statuses;
        match over {
            Some(status) => Verdict::Over {
                counter: status.counter,
                limit: status.limit,
                retry_after_ms: (status.quota > 0).then_some(status.ends_in_ms),
                statuses,
            },
            None if read.unmatched => Verdict::Unmatched,
            None => Verdict::Within(statuses),
        }
    }

    /// The limits that the service counts, each with its place.
    fn limits(self) -> impl Iterator<Item = (usize, usize, &'a Counter, &'a Limit)> {
        let dialect = self.service.dialect;
        self.counters
            .iter()
            .enumerate()
            .flat_map(move |(at, counter)| {
                let limits = counter.limits.iter().enumerate();
                let counted = limits.filter(move |(_, limit)| counts(dialect, limit));
                counted.map(move |(limit_at, limit)| (at, limit_at, &**counter, limit))
            })
    }

    /// The units that are limited.
    fn units(self) -> impl Iterator<Item = Unit> {
        UNITS.into_iter().filter(move |unit| {
            let mut limits = self.limits();
            limits.any(|(_, _, _, limit)| limit.unit == *unit)
        })
    }

    /// As the service counts it.
    fn quota(&self, limit: &Limit) -> u64 {
        match self.service.dialect {
            ServiceDialect::Envoy => limit.quota.min(MAX_QUOTA),
            ServiceDialect::Kuadrant => limit.quota,
        }
    }

    fn limit(&self, status: &Status) -> Option<&'a Limit> {
        self.counters.get(status.counter)?.limits.get(status.limit)
    }

    /// One call with a descriptor for each limit that has hits.
    fn envoy(&self, hits: &dyn Fn(Unit) -> Option<u64>) -> Option<Call> {
        let mut message = proto::request(&self.service.domain);
        let mut asked = false;
        for (_, _, counter, limit) in self.limits() {
            let Some(hits) = hits(limit.unit) else {
                continue;
            };
            let name = limit.name().to_string();
            let descriptor = &counter.descriptor;
            let group = descriptor.group.as_deref();
            let mut entries = vec![group.map_or(("scope", "ceilings"), |group| ("group", group))];
            entries.extend(
                descriptor
                    .consumer
                    .as_deref()
                    .map(|name| ("consumer", name)),
            );
            entries.extend(descriptor.models.as_deref().map(|models| ("model", models)));
            entries.push(("limit", &name));
            let own = unit_of_time(limit).map(|(unit, _)| (self.quota(limit), unit));
            proto::add_descriptor(&mut message, &entries, own, Some(hits));
            asked = true;
        }
        asked.then_some(Call {
            service: ENVOY,
            method: "ShouldRateLimit",
            message,
        })
    }

    /// One call with the one descriptor of the request.
    fn kuadrant(&self, service: &'static str, method: &'static str, unit: Unit, hits: u64) -> Call {
        let mut descriptors = self.counters.iter().map(|counter| &counter.descriptor);
        let group = descriptors.clone().find_map(|of| of.group.as_deref());
        let consumer = descriptors.clone().find_map(|of| of.consumer.as_deref());
        let mut models = String::new();
        for name in descriptors.by_ref().filter_map(|of| of.models.as_deref()) {
            models.push(MODEL_SEPARATOR);
            models.push_str(name);
        }
        let unit = unit.to_string();
        let mut entries = Vec::with_capacity(4);
        entries.extend(group.map(|name| ("group", name)));
        entries.extend(consumer.map(|name| ("consumer", name)));
        if !models.is_empty() {
            models.push(MODEL_SEPARATOR);
            entries.push(("model", &models));
        }
        entries.push(("limit", &unit));
        let mut message = proto::request(&self.service.domain);
        proto::add_descriptor(&mut message, &entries, None, None);
        // To Limitador 0 is 1, so 1 is also the least.
        let hits = u32::try_from(hits).unwrap_or(u32::MAX);
        proto::add_hits(&mut message, hits);
        Call {
            service,
            method,
            message,
        }
    }

    fn read_envoy(&self, answers: &[Vec<u8>], now: Timestamp) -> Option<Read> {
        let mut read = Read::default();
        let asked = self.limits().count();
        let Some(answer) = answers.first() else {
            return (asked == 0).then_some(read);
        };
        let response = proto::response(answer, asked)?;
        if response.statuses.len() != asked {
            return None;
        }
        for ((counter, at, _, limit), status) in self.limits().zip(response.statuses) {
            let unmatched = !status.limited && status.code == OK;
            read.unmatched |= unmatched;
            read.statuses.push(Status {
                counter,
                limit: at,
                quota: self.quota(limit),
                remaining: status.remaining.min(limit.quota),
                ends_in_ms: status.reset_ms.unwrap_or_else(|| ends_in(limit, now)),
                known: !unmatched,
            });
            read.over.push(over(status.code)?);
        }
        // A code that no status accounts for is no answer to us.
        (over(response.code)? == read.over.contains(&true)).then_some(read)
    }

    fn read_kuadrant(&self, answers: &[Vec<u8>]) -> Option<Read> {
        let mut read = Read::default();
        if answers.len() != self.units().count() {
            return None;
        }
        for (unit, answer) in self.units().zip(answers) {
            let response = proto::response(answer, usize::MAX)?;
            let over = over(response.code)?;
            let limits = || self.limits().filter(|(.., limit)| limit.unit == unit);
            let tightest = Tightest::read(&response);
            // Who asked for it without its name is told of the one that frees first.
            let fired = limits()
                .position(|(.., limit)| tightest.is(limit))
                .or_else(|| {
                    let by_length = |(.., limit): &(_, _, _, &Limit)| limit.window.seconds();
                    let soonest = limits().map(|limit| by_length(&limit)).min()?;
                    limits().position(|limit| by_length(&limit) == soonest)
                });
            for (position, (counter, at, _, limit)) in limits().enumerate() {
                let quota = limit.quota;
                let is_fired = fired == Some(position);
                let told = if is_fired && tightest.is(limit) {
                    tightest.remaining
                } else {
                    None
                };
                let length_ms = u64::from(limit.window.seconds()).saturating_mul(1_000);
                let reset_ms = tightest.reset_ms.filter(|_| told.is_some());
                let most = match unit {
                    Unit::Requests => quota.saturating_sub(1),
                    _ => quota,
                };
                read.statuses.push(Status {
                    counter,
                    limit: at,
                    quota,
                    remaining: told.map_or(if over && is_fired { 0 } else { most }, |left| {
                        left.min(quota)
                    }),
                    ends_in_ms: reset_ms.unwrap_or(length_ms),
                    known: told.is_some(),
                });
                read.over.push(over && is_fired);
            }
        }
        Some(read)
    }
}

/// What the answers say, a flag for each status.
#[derive(Default)]
struct Read {
    statuses: Vec<Status>,
    over: Vec<bool>,
    unmatched: bool,
}

/// `None` for what is neither.
const fn over(code: u64) -> Option<bool> {
    match code {
        OK => Some(false),
        OVER_LIMIT => Some(true),
        _ => None,
    }
}

/// The limit with the least left, as Limitador's headers tell it: `X-RateLimit-Limit: 5, 5;w=60;name="a", 9;w=3600`.
#[derive(Default)]
struct Tightest {
    quota_and_seconds: Option<(u64, u64)>,
    remaining: Option<u64>,
    reset_ms: Option<u64>,
}

impl Tightest {
    fn read(response: &Response<'_>) -> Self {
        let [limit, remaining, reset] = response.headers;
        let number = |text: &str| text.parse::<u64>().ok();
        let quota_and_seconds = limit.and_then(|limit| {
            let (quota, policies) = limit.split_once(',')?;
            let mut parameters = policies.split(';').skip(1);
            let seconds = parameters.next()?.strip_prefix("w=")?.split(',').next()?;
            Some((number(quota)?, number(seconds)?))
        });
        Self {
            quota_and_seconds,
            remaining: remaining.and_then(number),
            reset_ms: reset
                .and_then(number)
                .map(|seconds| seconds.saturating_mul(1_000)),
        }
    }

    fn is(&self, limit: &Limit) -> bool {
        self.quota_and_seconds == Some((limit.quota, u64::from(limit.window.seconds())))
    }
}

/// What a limit on `unit` must have left: all of it for what is larger, so that an idle limit admits everything.
fn needed(estimate: &Tokens, unit: Unit, quota: u64) -> u64 {
    of(estimate, unit).min(quota).max(1)
}

/// When the window of `now` ends that begins at multiples of its length; milliseconds.
fn ends_in(limit: &Limit, now: Timestamp) -> u64 {
    let length = u64::from(limit.window.seconds().max(1)).saturating_mul(1_000);
    length.saturating_sub(now.0.checked_rem(length).unwrap_or(0))
}

const fn of(tokens: &Tokens, unit: Unit) -> u64 {
    match unit {
        Unit::CompletionTokens => tokens.completion,
        Unit::PromptTokens => tokens.prompt,
        Unit::ConcurrentRequests | Unit::Requests => 0,
        Unit::Tokens => tokens.total,
    }
}

#[cfg(test)]
pub(crate) mod tests;
