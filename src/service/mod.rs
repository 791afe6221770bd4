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

mod answer;
pub mod breaker;
pub mod lease;
mod proto;
use proto::framed;
#[cfg(test)]
pub(crate) use proto::tests as wire;
pub use proto::unframed;

use crate::config::{LimitService, ServiceDialect};
use crate::limit::counter::{Counter, Standing, Tokens};
use crate::limit::{Descriptor, Limit, Unit, Window};
use crate::time::Timestamp;
use std::rc::Rc;

const ASK: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
const LOOK: &str = "/kuadrant.service.ratelimit.v1.RateLimitService/CheckRateLimit";
const REPORT: &str = "/kuadrant.service.ratelimit.v1.RateLimitService/Report";

/// More than an answer has: a few dozen bytes for each limit.
pub const MAX_ANSWER: usize = 1 << 20;

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
    /// Of the service's method.
    pub path: &'static str,
    /// The encoded message in its frame.
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
                    _ => Some(unreported.of(unit)), // 0 only looks
                };
                self.envoy(&hits).into_iter().collect()
            }
            ServiceDialect::Kuadrant => self
                .units()
                .map(|unit| match unit {
                    Unit::Requests => self.kuadrant(ASK, unit, hits.into()),
                    _ => self.kuadrant(LOOK, unit, estimate.of(unit)),
                })
                .collect(),
        }
    }

    /// Calls that count tokens, all to be sent at once; their answers say nothing.
    pub fn report(&self, tokens: &Tokens) -> Vec<Call> {
        let hits = |unit: Unit| Some(tokens.of(unit)).filter(|tokens| *tokens > 0);
        match self.service.dialect {
            ServiceDialect::Envoy => self.envoy(&hits).into_iter().collect(),
            ServiceDialect::Kuadrant => self
                .units()
                .filter_map(|unit| Some(self.kuadrant(REPORT, unit, hits(unit)?)))
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
            ServiceDialect::Envoy => answer::envoy(self, answers, now),
            ServiceDialect::Kuadrant => answer::kuadrant(self, answers),
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

    /// The limits that the service counts.
    fn asked(&self) -> Vec<Asked<'a>> {
        let most = self.counters.iter().map(|of| of.limits.len()).sum();
        let mut asked = Vec::with_capacity(most);
        for (counter, of) in self.counters.iter().enumerate() {
            for (at, limit) in of.limits.iter().enumerate() {
                if counts(self.service.dialect, limit) {
                    asked.push(Asked {
                        counter,
                        at,
                        descriptor: &of.descriptor,
                        limit,
                    });
                }
            }
        }
        asked
    }

    /// The units that are limited.
    fn units(&self) -> impl Iterator<Item = Unit> {
        let asked = self.asked();
        let is_limited = move |unit: &Unit| asked.iter().any(|asked| asked.limit.unit == *unit);
        UNITS.into_iter().filter(is_limited)
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
        let mut name = String::with_capacity(32);
        for Asked {
            descriptor, limit, ..
        } in self.asked()
        {
            let Some(hits) = hits(limit.unit) else {
                continue;
            };
            name.clear();
            limit.push_name(&mut name);
            let entries = [
                Some(match &descriptor.group {
                    Some(group) => ("group", &**group),
                    None => ("scope", "ceilings"),
                }),
                descriptor.consumer.as_deref().map(|id| ("consumer", id)),
                descriptor.models.as_deref().map(|names| ("model", names)),
                Some(("limit", &*name)),
            ];
            let own = unit_of_time(limit).map(|(unit, _)| (self.quota(limit), unit));
            proto::add_descriptor(&mut message, entries, own, Some(hits));
            asked = true;
        }
        asked.then(|| Call {
            path: ASK,
            message: framed(message),
        })
    }

    /// One call with the one descriptor of the request.
    fn kuadrant(&self, path: &'static str, unit: Unit, hits: u64) -> Call {
        let (mut group, mut consumer, mut models) = (None, None, String::new());
        for counter in self.counters {
            let descriptor = &counter.descriptor;
            group = group.or(descriptor.group.as_deref());
            consumer = consumer.or(descriptor.consumer.as_deref());
            if let Some(names) = &descriptor.models {
                models.push(MODEL_SEPARATOR);
                models.push_str(names);
            }
        }
        if !models.is_empty() {
            models.push(MODEL_SEPARATOR);
        }
        let entries = [
            group.map(|name| ("group", name)),
            consumer.map(|id| ("consumer", id)),
            Some(("model", &*models)).filter(|_| !models.is_empty()),
            Some(("limit", unit.name())),
        ];
        let mut message = proto::request(&self.service.domain);
        proto::add_descriptor(&mut message, entries, None, None);
        // To Limitador 0 is 1, so 1 is also the least.
        let hits = u32::try_from(hits).unwrap_or(u32::MAX);
        proto::add_hits(&mut message, hits);
        Call {
            path,
            message: framed(message),
        }
    }
}

/// A limit that the service counts, and its place.
#[derive(Clone, Copy, Debug)]
struct Asked<'a> {
    counter: usize,
    at: usize,
    descriptor: &'a Descriptor,
    limit: &'a Limit,
}

/// What a limit on `unit` must have left: all of it for what is larger, so that an idle limit admits everything.
fn needed(estimate: &Tokens, unit: Unit, quota: u64) -> u64 {
    estimate.of(unit).min(quota).max(1)
}

#[cfg(test)]
pub(crate) mod tests;
