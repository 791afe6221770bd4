//! Admission: whether a request may be counted. Shared data says so, or a rate-limit service that is asked.
//!
//! Whoever says so, the request is counted in shared data first, where its slot is taken and its tokens are reserved: that
//! can be undone, and if the service fails this Envoy's own counters know what went before.

use super::Exchange;
use super::service::Inquiry;
use crate::config::Mode;
use crate::limit::counter::{Check, Counter, Demand, Ending, Ledger, Over, Permit, Refused};
use crate::limit::{Descriptor, Limit, SharedData, Unit};
use crate::refusal::{Fired, Refusal};
use crate::reply::NEVER_MS;
use crate::time::Timestamp;
use std::rc::Rc;

impl Exchange {
    /// Counts the request and reserves the tokens that it is expected to cost. If it is for a service to say whether there
    /// is room, answers what to ask.
    pub(super) fn admit(
        &mut self,
        demand: Demand,
        now: Timestamp,
        shared: &mut impl SharedData,
    ) -> Result<Option<Inquiry>, Refusal> {
        if self.policy.service.is_some() {
            return self.admit_with(demand, now, shared);
        }
        self.count(demand, Check::All, now, shared)?;
        Ok(None)
    }

    /// Counts the request in shared data.
    pub(super) fn count(
        &mut self,
        demand: Demand,
        check: Check,
        now: Timestamp,
        shared: &mut impl SharedData,
    ) -> Result<(), Refusal> {
        self.standings_at = now;
        let mut ledger = Ledger {
            shared: &mut self.worker.remembering(shared),
            holds: &mut self.worker.holds.borrow_mut(),
            counters: &self.counters,
            clock: self.policy.clock(now),
        };
        match ledger.admit(demand, check) {
            Ok((permit, standings)) => {
                self.permit = permit;
                self.standings = standings;
            }
            Err(Refused::Contended) => {
                self.store_errors = self.store_errors.saturating_add(1);
                return Err(Refusal::LimiterUnavailable);
            }
            Err(Refused::Over(mut over)) => {
                over.tell_wait();
                let refusal = over_limit(&over, &self.counters);
                self.standings = over.standings;
                if self.group().is_none_or(|group| group.mode == Mode::Enforce) {
                    return Err(refusal);
                }
                self.shadowed = self.shadowed.or_else(|| Some(refusal.code()));
                if let Ok((permit, standings)) = ledger.admit(demand, Check::Nothing) {
                    self.permit = permit;
                    self.standings = standings;
                }
            }
        }
        Ok(())
    }

    /// Takes back what was counted for the request.
    pub(super) fn undo(&mut self, now: Timestamp, shared: &mut impl SharedData) {
        let permit: Permit = std::mem::take(&mut self.permit);
        let mut ledger = Ledger {
            shared: &mut self.worker.remembering(shared),
            holds: &mut self.worker.holds.borrow_mut(),
            counters: &self.counters,
            clock: self.policy.clock(now),
        };
        let errors = ledger.settle(&permit, Ending::Undone).errors;
        self.store_errors = self.store_errors.saturating_add(errors);
    }
}

pub(super) fn over_limit(over: &Over, counters: &[Rc<Counter>]) -> Refusal {
    let limit = over.limit;
    let fired = fired(limit, counters.get(over.counter).map(|counter| &**counter));
    match limit.unit {
        Unit::ConcurrentRequests => return Refusal::TooManyAtOnce(fired),
        Unit::Cost => {
            return Refusal::BudgetExceeded {
                fired,
                wait_ms: over.retry_after_ms.unwrap_or(NEVER_MS),
            };
        }
        _ => {}
    }
    Refusal::RateLimited {
        fired,
        requests: limit.unit == Unit::Requests,
        wait_ms: over.retry_after_ms.unwrap_or(NEVER_MS),
    }
}

/// A limit as a refusal tells of it.
pub(super) fn fired(limit: Limit, counter: Option<&Counter>) -> Fired {
    let descriptor = counter.map(|counter| &counter.descriptor);
    Fired {
        limit: limit.name().to_string(),
        quota: limit.quota,
        scope: descriptor.map(Descriptor::scope),
        group: descriptor.and_then(|descriptor| descriptor.group.clone()),
    }
}
