//! A MODEL of envoyproxy/ratelimit with Redis and its settings as they come, for the rules that a client can see.
//!
//! The server was read, not run: `src/service/ratelimit.go`, `src/config/config_impl.go`,
//! `src/limiter/{base_limiter,cache_key}.go`, `src/redis/fixed_cache_impl.go` and `src/utils/utilities.go` of
//! <https://github.com/envoyproxy/ratelimit>. From there:
//!
//! - An addend: the descriptor's own, where 0 only looks; else the request's, where 0 counts as 1.
//! - A counter grows by the addend whatever comes of it (INCRBY), and over limit is more than the limit *after* that:
//!   a look at a used up limit is OK, with nothing remaining.
//! - Windows are aligned to the Unix epoch, in UTC: a week is 7 days from a Thursday, a month 30 days, a year 365. (Newer
//!   servers have a setting for calendar months.)
//! - The counter's name has the domain, the entries and the start of the window, and not the limit's unit.
//! - No limit for a descriptor, or for its domain: OK without `current_limit`. An override counts if the domain exists.
//! - No domain, or no descriptors: an error of status 2 (a Go error without a status).
//!
//! Not modelled: `replaces` and newer keys (refused at start); `*` at the end of a value as more than itself; the local
//! cache, jitter, response headers (off by default); `is_negative_hits`, which servers before 2026 read as a plain addend
//! and this one does too.

mod config;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt::Write as _;

use self::config::{Domains, Limit};
use crate::grpc::Status;
use crate::proto::{
    Code, Descriptor, DescriptorStatus, Duration, RateLimit, RateLimitRequest, Unit,
};
use crate::server::Answer;

pub(crate) struct Envoy {
    domains: Domains,
    /// Never cleared but by `reset`: the server lives as long as a test.
    counters: HashMap<String, u64>,
}

impl Envoy {
    /// Loads the limits, a file for each domain.
    pub(crate) fn load(files: &[String]) -> Result<Self, String> {
        Ok(Self {
            domains: Domains::load(files)?,
            counters: HashMap::new(),
        })
    }

    pub(crate) fn reset(&mut self) {
        self.counters.clear();
    }

    /// `now` is in seconds since the epoch.
    pub(crate) fn should_rate_limit(
        &mut self,
        request: &RateLimitRequest,
        now: u64,
    ) -> Result<Answer, Status> {
        if request.domain.is_empty() {
            return Err(Status::unknown("rate limit domain must not be empty"));
        }
        if request.descriptors.is_empty() {
            return Err(Status::unknown(
                "rate limit descriptor list must not be empty",
            ));
        }
        let mut answer = Answer::default();
        for descriptor in &request.descriptors {
            let addend = descriptor
                .hits_addend
                .unwrap_or_else(|| u64::from(request.hits_addend.max(1)));
            let limit = self.domains.limit(&request.domain, descriptor);
            let status = match limit {
                None => DescriptorStatus {
                    code: Code::Ok.into(),
                    ..DescriptorStatus::default()
                },
                Some(limit) if limit.unlimited => DescriptorStatus {
                    code: Code::Ok.into(),
                    limit_remaining: u32::MAX,
                    ..DescriptorStatus::default()
                },
                Some(limit) => self.count(&request.domain, descriptor, limit, addend, now)?,
            };
            let counted = status.current_limit.map_or(0, |_| addend);
            answer.hits.push((addend, counted));
            answer.response.statuses.push(status);
        }
        let codes = answer.response.statuses.iter().map(|status| status.code);
        // OVER_LIMIT is the largest.
        answer.response.overall_code = codes.max().unwrap_or_default();
        Ok(answer)
    }

    fn count(
        &mut self,
        domain: &str,
        descriptor: &Descriptor,
        limit: Limit,
        addend: u64,
        now: u64,
    ) -> Result<DescriptorStatus, Status> {
        // The server's own words, in a panic that ends it.
        let window = seconds(limit.unit).ok_or_else(|| Status::internal("should not get here"))?;
        let passed = now.checked_rem(window).unwrap_or_default();
        let mut name = format!("{domain}_");
        for entry in &descriptor.entries {
            let _ = write!(name, "{}_{}_", entry.key, entry.value);
        }
        let _ = write!(name, "{}", now.saturating_sub(passed));

        // Redis has signed numbers.
        let counter = self.counters.entry(name).or_default();
        let after = counter
            .checked_add(addend)
            .filter(|after| i64::try_from(*after).is_ok())
            .ok_or_else(|| Status::unknown("ERR increment or decrement would overflow"))?;
        *counter = after;

        let remaining = u64::from(limit.requests_per_unit).checked_sub(after);
        let over = remaining.is_none() && !limit.shadow_mode;
        let until_reset = window.saturating_sub(passed);
        Ok(DescriptorStatus {
            code: if over { Code::OverLimit } else { Code::Ok }.into(),
            current_limit: Some(RateLimit {
                requests_per_unit: limit.requests_per_unit,
                unit: limit.unit.into(),
            }),
            limit_remaining: remaining
                .and_then(|left| left.try_into().ok())
                .unwrap_or_default(),
            duration_until_reset: Some(Duration {
                seconds: until_reset.try_into().unwrap_or(i64::MAX),
            }),
        })
    }
}

/// How long a unit's window is.
fn seconds(unit: Unit) -> Option<u64> {
    const DAY: u64 = 86_400;
    match unit {
        Unit::Unknown => None,
        Unit::Second => Some(1),
        Unit::Minute => Some(60),
        Unit::Hour => Some(3_600),
        Unit::Day => Some(DAY),
        Unit::Week => Some(7 * DAY),
        Unit::Month => Some(30 * DAY),
        Unit::Year => Some(365 * DAY),
    }
}
