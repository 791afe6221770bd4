//! Which shares of its budgets a request crosses.

use crate::limit::counter::Counter;
use crate::limit::record::Record;
use crate::limit::{Clock, Limit};

/// A share of a budget that was crossed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Crossed {
    /// Position of the counter.
    pub counter: usize,
    /// The budget's limit.
    pub limit: Limit,
    /// The share, in thousandths.
    pub at: u32,
    /// What is spent by now.
    pub used: u64,
}

/// What is spent of each budget.
#[inline(never)]
pub(super) fn spent(counter: &Counter, record: &Record<'_>, clock: Clock) -> Vec<u64> {
    let budgets = counter.budgets.iter();
    let spent = budgets.map(|budget| record.tally(&budget.limit, clock).used());
    spent.collect()
}

/// The shares of budgets that were crossed since so much was spent.
#[inline(never)]
pub(super) fn since(
    before: &[u64],
    at: usize,
    counter: &Counter,
    record: &Record<'_>,
    clock: Clock,
) -> Vec<Crossed> {
    let mut all = Vec::new();
    for (budget, before) in counter.budgets.iter().zip(before) {
        let after = record.tally(&budget.limit, clock).used();
        let thousandths = |spent: u64| u128::from(spent).saturating_mul(1_000);
        let spent = thousandths(*before)..thousandths(after);
        let share = |at: u32| u128::from(at).saturating_mul(budget.limit.quota.into());
        let shares = budget.alert_at.iter().copied();
        let crossed = shares.filter(|at| spent.contains(&share(*at).saturating_sub(1)));
        all.extend(crossed.map(|share| Crossed {
            counter: at,
            limit: budget.limit,
            at: share,
            used: after,
        }));
    }
    all
}
