//! Whether one counter has room for a request, and how long until it has.

use super::{Counter, Demand, Part, Room};
use crate::limit::record::Record;
use crate::limit::{Clock, Limit, Unit};
use std::cmp::Ordering;

/// How long what other requests hold may last: nobody knows, so the caller is asked to try again soon.
pub(super) const HELD_MS: u64 = 1_000;

/// What a request has to wait for. Ordered by how much it stands in the way: slots before windows, then the longest.
#[derive(Debug)]
pub(super) struct Wait {
    pub(super) limit: Limit,
    /// `None`: it would never pass.
    pub(super) ms: Option<u64>,
}

impl Wait {
    fn rank(&self) -> (bool, u64) {
        let slot = self.limit.unit == Unit::ConcurrentRequests;
        (slot, self.ms.unwrap_or(u64::MAX))
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

/// The limit of a counter that makes a request wait longest; `None` if all have room for it. `at` is the counter's
/// position, for [`Room::Stated`].
pub(super) fn wait(
    counter: &Counter,
    at: usize,
    record: &Record<'_>,
    demand: Demand,
    part: Part,
    room: Room<'_>,
    clock: Clock,
) -> Option<Wait> {
    if matches!(room, Room::Unlimited) {
        return None;
    }
    let mut worst: Option<Wait> = None;
    for (position, limit) in counter.limits.iter().enumerate() {
        if !part.has(limit) {
            continue;
        }
        let need = demand.of(limit);
        let ms = match room {
            Room::Stated(left) if limit.unit != Unit::ConcurrentRequests => {
                let Some(left) = left(at, position) else {
                    continue;
                };
                let held = record.held(limit, clock);
                if need.saturating_add(held) <= left {
                    Some(0)
                } else {
                    Some(HELD_MS)
                }
            }
            _ => wait_for(record, limit, need, record.held(limit, clock), clock),
        };
        let wait = Wait { limit: *limit, ms };
        if wait.ms != Some(0) && worst.as_ref().is_none_or(|worst| wait > *worst) {
            worst = Some(wait);
        }
    }
    worst
}

/// Milliseconds until a limit has room for `need` beside what others hold.
pub(super) fn wait_for(
    record: &Record<'_>,
    limit: &Limit,
    need: u64,
    held: u64,
    clock: Clock,
) -> Option<u64> {
    let with_held = need.saturating_add(held);
    if limit.unit == Unit::ConcurrentRequests {
        return match limit.quota {
            0 => None,
            quota if with_held <= quota => Some(0),
            _ => Some(HELD_MS),
        };
    }
    let buckets = record.buckets(limit, clock);
    match buckets.wait_for(need, limit.quota, limit.window, clock) {
        Some(0) if held > 0 => {
            let wait = buckets.wait_for(with_held, limit.quota, limit.window, clock);
            Some(if wait == Some(0) { 0 } else { HELD_MS })
        }
        wait => wait,
    }
}
