//! A worker that several requests pass, and counters for them.

use super::*;
use crate::limit::written::{Remembering, Written};

/// One worker of an Envoy, and the counters of its requests.
#[derive(Default)]
pub(super) struct Worker {
    pub(super) holds: Holds,
    written: RefCell<Written>,
}

impl Worker {
    pub(super) fn ledger<'a>(
        &'a mut self,
        shared: &'a mut Fake,
        counters: &'a [Rc<Counter>],
        ms: u64,
    ) -> Ledger<'a, Remembering<'a, Fake>> {
        let written = &self.written;
        Ledger {
            shared: Box::leak(Box::new(Remembering { shared, written })),
            holds: &mut self.holds,
            counters,
            clock: at(ms),
        }
    }

    pub(super) fn admit(
        &mut self,
        shared: &mut Fake,
        counters: &[Rc<Counter>],
        tokens: Tokens,
        ms: u64,
    ) -> Result<Permit, Refused> {
        self.ledger(shared, counters, ms)
            .admit(Demand { tokens }, Check::All)
            .map(|(permit, _)| permit)
    }

    pub(super) fn renew(&mut self, shared: &mut Fake, clock: Clock) -> u32 {
        let written = &self.written;
        (self.holds).renew(&mut Remembering { shared, written }, clock)
    }

    pub(super) fn settle(
        &mut self,
        shared: &mut Fake,
        counters: &[Rc<Counter>],
        permit: &Permit,
        ending: Ending,
        ms: u64,
    ) {
        let errors = self
            .ledger(shared, counters, ms)
            .settle(permit, ending)
            .errors;
        assert_eq!(errors, 0);
    }
}

pub(super) fn of(group: &str, limits: &[Limit]) -> Rc<Counter> {
    let descriptor = Descriptor {
        group: Some(group.into()),
        consumer: None,
        models: None,
    };
    Rc::new(Counter::new(descriptor, limits.to_vec()))
}

pub(super) fn slots(quota: u64) -> Limit {
    limit(Unit::ConcurrentRequests, Window::InFlight, quota)
}

pub(super) fn tokens_per_day(quota: u64) -> Limit {
    limit(Unit::Tokens, Window::Day, quota)
}

pub(super) fn held(shared: &mut Fake, counter: &Rc<Counter>, ms: u64) -> u64 {
    let mut bytes = shared
        .value(&counter.record)
        .map(<[u8]>::to_vec)
        .unwrap_or_default();
    let record = Record::open(&mut bytes);
    let held = counter
        .limits
        .iter()
        .map(|limit| record.tally(limit, at(ms)).held());
    held.sum()
}
