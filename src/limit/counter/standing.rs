//! Where limits stand, as answers tell it.

use super::{Demand, judge};
use crate::limit::record::Tally;
use crate::limit::{Limit, Unit};

/// Where one limit stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Standing {
    /// Position of its counter.
    pub counter: usize,
    /// As configured.
    pub limit: Limit,
    /// Counted in the window, or under way; more than the quota after an overdraft of tokens.
    pub used: u64,
    /// Reserved by other requests under way.
    pub reserved: u64,
    /// What is left of the quota.
    pub remaining: u64,
    /// Milliseconds until one more would pass, 0 if it would now, `None` if it never will (a quota of 0).
    pub reset_ms: Option<u64>,
    /// Milliseconds until nothing that was counted weighs any more.
    pub clear_ms: u64,
}

/// Where a limit stands by what its record has of it. What the request itself reserves (`own`) is left out: of its tokens
/// nothing is known yet, and a caller that sends one request after the other is told what it has really used.
pub(super) fn of(limit: &Limit, at: usize, tally: &Tally, own: &Demand) -> Standing {
    let tokens = limit.unit.is_tokens();
    let own = if tokens { own.reserves(limit) } else { 0 };
    let held = tally.held().saturating_sub(own);
    let (used, clear_ms) = match limit.unit {
        Unit::ConcurrentRequests => (held, 0),
        _ => (tally.used(), tally.clears_in()),
    };
    let reserved = if tokens { held } else { 0 };
    Standing {
        counter: at,
        limit: *limit,
        used,
        reserved,
        remaining: limit.quota.saturating_sub(used.saturating_add(reserved)),
        reset_ms: judge::wait_for(tally, limit, 1, held),
        clear_ms,
    }
}

/// The same of a budget, when there is no request.
pub(super) fn of_budget(limit: &Limit, tally: &Tally) -> Standing {
    let (used, reserved) = (tally.used(), tally.held());
    Standing {
        counter: 0,
        limit: *limit,
        used,
        reserved,
        remaining: limit.quota.saturating_sub(used.saturating_add(reserved)),
        reset_ms: judge::wait_for(tally, limit, 1, reserved),
        clear_ms: tally.clears_in(),
    }
}
