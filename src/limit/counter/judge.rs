//! Whether one counter has room for a request, and how long until it has.

use super::{Check, Demand, Kind, Tallied};
use crate::limit::record::Tally;
use crate::limit::{Limit, Unit};
use std::cmp::Ordering;

/// How long what other requests hold may last: nobody knows, so the caller is asked to try again soon.
pub(super) const HELD_MS: u64 = 1_000;

/// What a request has to wait for. Ordered by how much it stands in the way: budgets, slots, windows, then the longest.
#[derive(Debug)]
pub(super) struct Wait {
    pub(super) limit: Limit,
    /// `None`: it would never pass.
    pub(super) ms: Option<u64>,
}

impl Wait {
    fn rank(&self) -> (u8, u64) {
        let class = match self.limit.unit {
            Unit::Cost => 2,
            Unit::ConcurrentRequests => 1,
            _ => 0,
        };
        (class, self.ms.unwrap_or(u64::MAX))
    }
}

impl PartialEq for Wait {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl PartialOrd for Wait {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.rank().cmp(&other.rank()))
    }
}

/// The limit of a counter that makes a request wait longest; `None` if all that can refuse it have room for it.
pub(super) fn wait(tallied: &[Tallied], demand: &Demand, check: Check) -> Option<Wait> {
    let mut worst: Option<Wait> = None;
    for Tallied { limit, kind, tally } in tallied {
        let checked = match check {
            Check::All => true,
            Check::Nothing => false,
            Check::Own => matches!(limit.unit, Unit::ConcurrentRequests | Unit::Cost),
        };
        if !checked || *kind == (Kind::Budget { blocks: false }) {
            continue;
        }
        let ms = wait_for(tally, limit, demand.of(limit), tally.held());
        if ms == Some(0) {
            continue;
        }
        let wait = Wait { limit: *limit, ms };
        if worst.as_ref().is_none_or(|worst| wait > *worst) {
            worst = Some(wait);
        }
    }
    worst
}

/// Milliseconds until a limit has room for `need` beside what others hold.
pub(super) fn wait_for(tally: &Tally, limit: &Limit, need: u64, held: u64) -> Option<u64> {
    let used = match limit.unit {
        Unit::ConcurrentRequests => 0,
        _ => tally.used(),
    };
    let beside = limit.quota.checked_sub(used.saturating_add(held));
    if beside.is_some_and(|left| need <= left) {
        return Some(0);
    }
    wait_longer(tally, limit, need)
}

/// The same where it has none now.
#[cold]
#[inline(never)]
fn wait_longer(tally: &Tally, limit: &Limit, need: u64) -> Option<u64> {
    if limit.unit == Unit::ConcurrentRequests {
        return (limit.quota > 0).then_some(HELD_MS);
    }
    match tally.wait_for(need, limit.quota) {
        // Only what others hold is in the way.
        Some(0) => Some(HELD_MS),
        wait => wait,
    }
}
