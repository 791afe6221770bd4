//! Admission and settlement against one owner's limits, exact however many workers do it at the same time.
//!
//! All limits of an owner are in one record, so all are judged and charged by one compare-and-swap.
//! Knows nothing of who the owner is: the caller chooses the key.

use super::record::Record;
use super::shared_data::{Change, update};
use super::{Clock, Contended, Descriptor, Limit, SharedData, Unit};
use std::rc::Rc;

/// Limits that are counted together, and whose they are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Counter {
    /// Whose.
    pub descriptor: Descriptor,
    /// Where they are kept in shared data.
    pub record: Rc<str>,
    /// What may be counted.
    pub limits: Rc<[Limit]>,
}

impl Counter {
    /// A counter in the record that its descriptor names.
    pub fn new(descriptor: Descriptor, limits: Vec<Limit>) -> Self {
        Self {
            record: descriptor.record().into(),
            descriptor,
            limits: limits.into(),
        }
    }
}

/// Tokens by kind, as the three token units count them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tokens {
    /// For `prompt_tokens`.
    pub prompt: u64,
    /// For `completion_tokens`.
    pub completion: u64,
    /// For `tokens`.
    pub total: u64,
}

/// What a request wants to use up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Demand {
    /// Counted at admission.
    pub requests: u64,
    /// There must be room for them, and for one at least; they are counted when settled.
    pub tokens: Tokens,
}

impl Demand {
    /// One request of which no more is known.
    pub const REQUEST: Self = Self {
        requests: 1,
        tokens: Tokens {
            prompt: 0,
            completion: 0,
            total: 0,
        },
    };

    /// What is counted at admission already.
    const fn counted(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Requests => self.requests,
            _ => 0,
        }
    }

    /// The room that a limit on `unit` must have.
    fn room(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Requests => self.requests,
            _ => self.tokens.of(unit).max(1),
        }
    }
}

impl Tokens {
    const fn of(&self, unit: Unit) -> u64 {
        match unit {
            Unit::CompletionTokens => self.completion,
            Unit::PromptTokens => self.prompt,
            Unit::ConcurrentRequests | Unit::Requests => 0,
            Unit::Tokens => self.total,
        }
    }
}

/// Where one limit stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Standing {
    /// Its position in the configured list.
    pub index: usize,
    /// As configured.
    pub quota: u64,
    /// Counted in the window; more than the quota after an overdraft of tokens.
    pub used: u64,
    /// What is left of the quota.
    pub remaining: u64,
    /// Milliseconds until one more would pass, 0 if it would now, `None` if it never will (a quota of 0).
    pub reset_ms: Option<u64>,
    /// Milliseconds until nothing that was counted weighs any more.
    pub clear_ms: u64,
}

/// Why a request was not admitted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refused {
    /// Other workers wrote first every time we tried.
    Contended,
    /// At least one limit has no room.
    Over {
        /// The position of the one that makes the request wait longest.
        limit: usize,
        /// Milliseconds until the request would pass, if nothing else does meanwhile; `None`: never.
        retry_after_ms: Option<u64>,
        /// Where all limits stand, in the order of the configuration.
        standings: Vec<Standing>,
    },
}

/// Checks a request against all limits of `key` and counts it, or finds it refused and counts nothing.
///
/// Answers where all limits stand after it, in the order of the configuration.
pub fn admit(
    shared: &mut impl SharedData,
    key: &str,
    limits: &[Limit],
    demand: Demand,
    clock: Clock,
) -> Result<Vec<Standing>, Refused> {
    if limits.is_empty() {
        return Ok(Vec::new());
    }
    let counted = limits.iter().any(|limit| limit.unit == Unit::Requests) && demand.requests > 0;
    let outcome = update(shared, key, |bytes| {
        let mut record = Record::open(bytes);
        if let Some((limit, retry_after_ms)) = longest_wait(&record, limits, demand, clock) {
            let standings = standings(&record, limits, clock);
            return Change::Keep(Err(Refused::Over {
                limit,
                retry_after_ms,
                standings,
            }));
        }
        if !counted {
            return Change::Keep(Ok(standings(&record, limits, clock)));
        }
        record.add(limits, |unit| demand.counted(unit), clock);
        Change::Write(Ok(standings(&record, limits, clock)))
    });
    outcome.unwrap_or(Err(Refused::Contended))
}

/// Counts a request without asking whether there is room: it passes anyway, as in shadow mode.
pub fn count(
    shared: &mut impl SharedData,
    key: &str,
    limits: &[Limit],
    demand: Demand,
    clock: Clock,
) -> Result<Vec<Standing>, Contended> {
    update(shared, key, |bytes| {
        let mut record = Record::open(bytes);
        record.add(limits, |unit| demand.counted(unit), clock);
        Change::Write(standings(&record, limits, clock))
    })
}

/// Counts the tokens that a request turned out to use, over the quota too: the window pays an overdraft back.
pub fn settle(
    shared: &mut impl SharedData,
    key: &str,
    limits: &[Limit],
    tokens: Tokens,
    clock: Clock,
) -> Result<(), Contended> {
    if limits.iter().all(|limit| tokens.of(limit.unit) == 0) {
        return Ok(());
    }
    update(shared, key, |bytes| {
        Record::open(bytes).add(limits, |unit| tokens.of(unit), clock);
        Change::Write(())
    })
}

/// Where the limits of `key` stand, in the order of the configuration.
pub fn peek(shared: &impl SharedData, key: &str, limits: &[Limit], clock: Clock) -> Vec<Standing> {
    if limits.is_empty() {
        return Vec::new();
    }
    let mut bytes = shared.get(key).0.unwrap_or_default();
    standings(&Record::open(&mut bytes), limits, clock)
}

/// The limit that makes a request wait longest, and how long; `None` if all have room for it.
fn longest_wait(
    record: &Record<'_>,
    limits: &[Limit],
    demand: Demand,
    clock: Clock,
) -> Option<(usize, Option<u64>)> {
    let wait = |limit: &Limit| {
        record.buckets(limit, clock).wait_for(
            demand.room(limit.unit),
            limit.quota,
            limit.window,
            clock,
        )
    };
    limits
        .iter()
        .map(wait)
        .enumerate()
        .filter(|(_, wait)| *wait != Some(0))
        .rev()
        .max_by_key(|(_, wait)| wait.unwrap_or(u64::MAX))
}

fn standings(record: &Record<'_>, limits: &[Limit], clock: Clock) -> Vec<Standing> {
    let standing = |(index, limit): (usize, &Limit)| {
        let buckets = record.buckets(limit, clock);
        let used = buckets.used(limit.window, clock);
        Standing {
            index,
            quota: limit.quota,
            used,
            remaining: limit.quota.saturating_sub(used),
            reset_ms: buckets.wait_for(1, limit.quota, limit.window, clock),
            clear_ms: buckets.clears_in(limit.window, clock),
        }
    };
    limits.iter().enumerate().map(standing).collect()
}

#[cfg(test)]
mod tests;
