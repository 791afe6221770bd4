//! What the answers say of each limit, in either dialect.
//!
//! `None` for what is no answer to what was asked. Whether what is left is enough is not judged here.

use super::proto::{self, OK, OVER_LIMIT, Response};
use super::{Question, Status};
use crate::limit::{Limit, Unit};
use crate::time::Timestamp;

/// What the answers say, a flag for each status.
#[derive(Default)]
pub(super) struct Read {
    pub(super) statuses: Vec<Status>,
    pub(super) over: Vec<bool>,
    pub(super) unmatched: bool,
}

/// Dialect `envoy`: a status for each limit.
pub(super) fn envoy(question: &Question<'_>, answers: &[Vec<u8>], now: Timestamp) -> Option<Read> {
    let mut read = Read::default();
    let asked = question.asked();
    let Some(answer) = answers.first() else {
        return asked.is_empty().then_some(read);
    };
    let response = proto::response(answer, asked.len())?;
    if response.statuses.len() != asked.len() {
        return None;
    }
    for (asked, status) in asked.iter().zip(response.statuses) {
        let limit = asked.limit;
        let unmatched = !status.limited && status.code == OK;
        read.unmatched |= unmatched;
        read.statuses.push(Status {
            counter: asked.counter,
            limit: asked.at,
            quota: question.quota(limit),
            remaining: status.remaining.min(limit.quota),
            ends_in_ms: status.reset_ms.unwrap_or_else(|| ends_in(limit, now)),
            known: !unmatched,
        });
        read.over.push(over(status.code)?);
    }
    // A code that no status accounts for is no answer to us.
    (over(response.code)? == read.over.contains(&true)).then_some(read)
}

/// Dialect `kuadrant`: a code for each unit, and perhaps headers.
pub(super) fn kuadrant(question: &Question<'_>, answers: &[Vec<u8>]) -> Option<Read> {
    let mut read = Read::default();
    if answers.len() != question.units().count() {
        return None;
    }
    for (unit, answer) in question.units().zip(answers) {
        let mut asked = question.asked();
        asked.retain(|asked| asked.limit.unit == unit);
        let response = proto::response(answer, asked.len())?;
        let over = over(response.code)?;
        let tightest = Tightest::read(&response);
        // Where it has no name, the one that frees first.
        let by_name = |at: &usize| {
            let limit = asked.get(*at).map(|asked| asked.limit);
            limit.map(|limit| (!tightest.is(limit), limit.window.seconds()))
        };
        let fired = (0..asked.len()).min_by_key(by_name);
        for (at, asked) in asked.iter().enumerate() {
            let limit = asked.limit;
            let over = over && fired == Some(at);
            let known = fired == Some(at) && tightest.is(limit);
            let (left, reset_ms) = match &tightest {
                tightest if known => (tightest.remaining, tightest.reset_ms),
                _ => (None, None),
            };
            let most = match unit {
                _ if over => 0,
                Unit::Requests => limit.quota.saturating_sub(1),
                _ => limit.quota,
            };
            let length_ms = u64::from(limit.window.seconds()).saturating_mul(1_000);
            read.statuses.push(Status {
                counter: asked.counter,
                limit: asked.at,
                quota: limit.quota,
                remaining: left.unwrap_or(most).min(limit.quota),
                ends_in_ms: reset_ms.unwrap_or(length_ms),
                known: over || left.is_some(),
            });
            read.over.push(over);
        }
    }
    Some(read)
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

/// When the window of `now` ends that begins at multiples of its length; milliseconds.
fn ends_in(limit: &Limit, now: Timestamp) -> u64 {
    let length = u64::from(limit.window.seconds().max(1)).saturating_mul(1_000);
    length.saturating_sub(now.0.checked_rem(length).unwrap_or(0))
}
