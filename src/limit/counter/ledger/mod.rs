//! Admission and settlement, exact however many workers do it at the same time.
//!
//! One compare-and-swap judges and charges all limits of a record. Where a request has several counters all are judged before
//! any is charged, and what was charged is undone if a later one refuses after all.

use super::judge::{self, Wait};
use super::standing::{self, Standing};
use super::{Check, Counter, Demand, Over, Refused, Tokens};
use crate::limit::holds::Holds;
use crate::limit::record::{Change, Key, Record};
use crate::limit::shared_data::{self, Loaded, update, update_from};
use crate::limit::{Clock, Contended, Limit, SharedData, Unit};
use std::rc::Rc;

/// What a request was admitted with: what of it can be given back, and from where.
#[derive(Debug, Default)]
pub struct Permit {
    lines: Vec<Line>,
}

impl Permit {
    /// Whether nothing was admitted with it, or it is settled.
    pub const fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// One limit's part of a permit.
#[derive(Clone, Copy, Debug)]
struct Line {
    counter: usize,
    unit: Unit,
    key: Key,
    /// The bucket that counts it, and how much it does.
    counted: (i64, u64),
    /// The bucket that holds it, at first: to be renewed moves it. And how much it does.
    bucket: i64,
    held: u64,
}

/// How an admitted request ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// As if it had never been there.
    Undone,
    /// It counts, and used these tokens.
    Used(Tokens),
}

/// What a settlement came to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Settled {
    /// How many records could not be written; what they hold goes out of date.
    pub errors: u32,
    /// Shares of budgets that it crossed.
    pub crossed: Vec<Crossed>,
}

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

/// The counters of one request, and all that is needed to change them.
#[derive(Debug)]
pub struct Ledger<'a, S> {
    /// Where they are kept.
    pub shared: &'a mut S,
    /// What this worker's requests hold.
    pub holds: &'a mut Holds,
    /// The narrowest first.
    pub counters: &'a [Rc<Counter>],
    /// The moment.
    pub clock: Clock,
}

impl<S: SharedData> Ledger<'_, S> {
    /// Checks a request, counts it and reserves its tokens; or finds it refused and
    /// counts nothing. Answers where all limits stand after it.
    pub fn admit(
        &mut self,
        demand: Demand,
        check: Check,
        permit: &mut Permit,
    ) -> Result<Vec<Standing>, Refused> {
        let counters = self.counters.iter();
        let mut loaded: Vec<Loaded> = (counters.clone())
            .map(|counter| Loaded::recall(self.shared, &counter.record))
            .collect();
        let mut worst = self.worst(&mut loaded, demand, check);
        if worst.is_some() && loaded.iter().any(|loaded| loaded.remembered) {
            // Nobody is refused for what may be out of date.
            loaded = (counters.map(|counter| Loaded::read(self.shared, &counter.record))).collect();
            worst = self.worst(&mut loaded, demand, check);
        }
        if let Some((counter, wait)) = worst {
            let standings = self.standings_in(&mut loaded);
            return Err(refused(counter, &wait, standings));
        }
        let admitted_before = permit.lines.len();
        let mut standings = Vec::new();
        for (at, loaded) in loaded.into_iter().enumerate() {
            match self.charge(at, loaded, demand, check) {
                Ok((lines, after)) => {
                    append(&mut permit.lines, lines);
                    append(&mut standings, after);
                }
                Err(wait) => {
                    let undone = Permit {
                        lines: permit.lines.split_off(admitted_before),
                    };
                    self.settle(&undone, Ending::Undone);
                    let wait = wait.ok_or(Refused::Contended)?;
                    return Err(refused(at, &wait, self.standings()));
                }
            }
        }
        Ok(standings)
    }

    /// Where all limits stand.
    pub fn standings(&self) -> Vec<Standing> {
        let mut loaded: Vec<Loaded> = (self.counters.iter())
            .map(|counter| Loaded::read(self.shared, &counter.record))
            .collect();
        self.standings_in(&mut loaded)
    }

    /// What the request has to wait for longest, and the position of its counter.
    fn worst(&self, loaded: &mut [Loaded], demand: Demand, check: Check) -> Option<(usize, Wait)> {
        let mut worst: Option<(usize, Wait)> = None;
        for (at, (counter, loaded)) in self.counters.iter().zip(loaded).enumerate() {
            let record = Record::open(&mut loaded.value);
            if let Some(wait) = judge::wait(counter, &record, demand, check, self.clock)
                && worst.as_ref().is_none_or(|(_, other)| wait > *other)
            {
                worst = Some((at, wait));
            }
        }
        worst
    }

    /// Gives back what was held and counts what was used, over the quota too: the window pays an overdraft back.
    pub fn settle(&mut self, permit: &Permit, ending: Ending) -> Settled {
        let mut outcome = Settled::default();
        for (at, counter) in self.counters.iter().enumerate().rev() {
            let mut released = Vec::new();
            let mut changes = Vec::with_capacity(permit.lines.len());
            for line in permit.lines.iter().filter(|line| line.counter == at) {
                let first = released.len();
                let (record, held) = (&counter.record, line.held);
                self.holds.take(record, line.key, held, &mut released);
                let (count, uncount) = match ending {
                    Ending::Undone => (0, line.counted),
                    Ending::Used(tokens) => (tokens.of(line.unit), (0, 0)),
                };
                if count > 0 || uncount.1 > 0 || released.len() > first {
                    changes.push((line.key, count, uncount, first..released.len()));
                }
            }
            if changes.is_empty() {
                continue;
            }
            let settled = update(self.shared, &counter.record, |bytes| {
                let mut record = Record::open(bytes);
                let before = spent(counter, &record, self.clock);
                for (key, count, uncount, range) in &changes {
                    let change = Change {
                        count: *count,
                        uncount: *uncount,
                        release: released.get(range.clone()).unwrap_or_default(),
                        hold: 0,
                    };
                    record.change(*key, &change, &counter.limits, self.clock);
                }
                let after = spent(counter, &record, self.clock);
                shared_data::Change::Write((before, after))
            });
            match settled {
                Ok((before, after)) => outcome.cross(at, counter, &before, &after),
                Err(Contended) => outcome.errors = outcome.errors.saturating_add(1),
            }
        }
        outcome
    }

    fn standings_in(&self, loaded: &mut [Loaded]) -> Vec<Standing> {
        let mut standings = Vec::new();
        for (at, (counter, loaded)) in self.counters.iter().zip(loaded).enumerate() {
            let record = Record::open(&mut loaded.value);
            standings.extend(standing::of(
                counter,
                at,
                &record,
                Demand::default(),
                self.clock,
            ));
        }
        standings
    }

    /// Charges one counter; judges it anew if it is not as it was read. `Err(None)`: contended.
    fn charge(
        &mut self,
        at: usize,
        loaded: Loaded,
        demand: Demand,
        check: Check,
    ) -> Result<(Vec<Line>, Vec<Standing>), Option<Wait>> {
        let Some(counter) = self.counters.get(at).cloned() else {
            return Ok(Default::default());
        };
        let clock = self.clock;
        let mut fresh = true;
        let judge = |record: &Record<'_>| judge::wait(&counter, record, demand, check, clock);
        let charged = update_from(self.shared, &counter.record, loaded, |bytes| {
            let mut record = Record::open(bytes);
            if !std::mem::take(&mut fresh)
                && let Some(wait) = judge(&record)
            {
                return shared_data::Change::Keep(Err(wait));
            }
            let mut changed = false;
            let mut lines: Vec<Line> = Vec::with_capacity(counter.limits.len());
            let mut after = Vec::with_capacity(counter.limits.len());
            for (position, (limit, _)) in counter.all().enumerate() {
                let key = Key::of(&limit);
                let mut tally = None;
                if !lines.iter().any(|earlier| earlier.key == key) {
                    let change = Change {
                        count: u64::from(limit.unit == Unit::Requests),
                        hold: demand.reserves(&limit),
                        ..Change::default()
                    };
                    let mut line = Line {
                        counter: at,
                        unit: limit.unit,
                        key,
                        counted: (0, change.count),
                        bucket: 0,
                        held: change.hold,
                    };
                    if change.count > 0 || change.hold > 0 {
                        let (place, then) = record.charge(&limit, &change, &counter.limits, clock);
                        line.counted.0 = place.counted;
                        line.bucket = place.held;
                        changed = true;
                        tally = Some(then);
                    }
                    lines.push(line);
                }
                if position < counter.limits.len() {
                    let tally = tally.unwrap_or_else(|| record.tally(&limit, clock));
                    after.push(standing::of_tally(&limit, at, &tally, demand));
                }
            }
            if changed {
                shared_data::Change::Write(Ok((lines, after)))
            } else {
                shared_data::Change::Keep(Ok((lines, after)))
            }
        });
        match charged {
            Ok(Ok((lines, after))) => {
                for line in &lines {
                    self.holds
                        .add(&counter.record, line.key, line.bucket, line.held);
                }
                Ok((lines, after))
            }
            Ok(Err(wait)) => Err(Some(wait)),
            Err(Contended) => Err(None),
        }
    }
}

/// Appends a list to another, which as a rule is empty.
fn append<T>(list: &mut Vec<T>, mut more: Vec<T>) {
    if list.is_empty() {
        *list = more;
    } else {
        list.append(&mut more);
    }
}

/// What is spent of each budget.
fn spent(counter: &Counter, record: &Record<'_>, clock: Clock) -> Vec<u64> {
    let budgets = counter.budgets.iter().map(|budget| budget.limit);
    budgets
        .map(|limit| record.tally(&limit, clock).used())
        .collect()
}

impl Settled {
    fn cross(&mut self, counter: usize, of: &Counter, before: &[u64], after: &[u64]) {
        for (budget, (before, after)) in of.budgets.iter().zip(before.iter().zip(after)) {
            let thousandths = |spent: &u64| u128::from(*spent).saturating_mul(1_000);
            let share = |at: u32| u128::from(at).saturating_mul(budget.limit.quota.into());
            let crossed = |at: &&u32| {
                (thousandths(before)..thousandths(after)).contains(&share(**at).saturating_sub(1))
            };
            let crossed = budget.alert_at.iter().filter(crossed).map(|at| Crossed {
                counter,
                limit: budget.limit,
                at: *at,
                used: *after,
            });
            // The widest counter is settled first, and the narrowest is told of first.
            let own = self
                .crossed
                .iter()
                .take_while(|known| known.counter == counter);
            let place = own.count();
            self.crossed.splice(place..place, crossed);
        }
    }
}

fn refused(counter: usize, wait: &Wait, standings: Vec<Standing>) -> Refused {
    Refused::Over(Over {
        counter,
        limit: wait.limit,
        retry_after_ms: wait.ms,
        standings,
    })
}

#[cfg(test)]
mod tests;
