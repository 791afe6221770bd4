//! Admission and settlement, exact however many workers do it at the same time.
//!
//! One compare-and-swap judges and charges all limits of a record. Where a request has several counters all are judged before
//! any is charged, and what was charged is undone if a later one refuses after all.

use super::judge::{self, Wait};
use super::standing::{self, Standing};
use super::{Check, Counter, Demand, Kind, Over, Refused, Tallied, Tokens};
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
        let mut read = self.read(true);
        let mut worst = longest_wait(&read, demand, check);
        if worst.is_some() && read.iter().any(|read| read.loaded.remembered) {
            // Nobody is refused for what may be out of date.
            read = self.read(false);
            worst = longest_wait(&read, demand, check);
        }
        if let Some((counter, wait)) = worst {
            return Err(refused(counter, &wait, standings_in(&read)));
        }
        let admitted_before = permit.lines.len();
        let mut standings = Vec::new();
        for (at, read) in read.into_iter().enumerate() {
            match self.charge(at, read, demand, check) {
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
        standings_in(&self.read(false))
    }

    /// What the records have of all limits; `recall`: as far as they are remembered.
    fn read(&self, recall: bool) -> Vec<Read> {
        let mut all = Vec::with_capacity(self.counters.len());
        for counter in self.counters {
            let mut loaded = if recall {
                Loaded::recall(self.shared, &counter.record)
            } else {
                Loaded::read(self.shared, &counter.record)
            };
            let tallied = counter.tally(&Record::open(&mut loaded.value), self.clock);
            all.push(Read { loaded, tallied });
        }
        all
    }

    /// Gives back what was held and counts what was used, over the quota too: the window pays an overdraft back.
    pub fn settle(&mut self, permit: &Permit, ending: Ending) -> Settled {
        let mut outcome = Settled::default();
        for (at, counter) in self.counters.iter().enumerate().rev() {
            let mut released = Vec::new();
            let mut changes = Vec::with_capacity(permit.lines.len());
            let mut holds = self.holds.of(&counter.record);
            for line in permit.lines.iter().filter(|line| line.counter == at) {
                let first = released.len();
                if let Some(holds) = &mut holds {
                    holds.take(line.key, line.held, &mut released);
                }
                let (count, uncount) = match ending {
                    Ending::Undone => (0, line.counted),
                    Ending::Used(tokens) => (tokens.of(line.unit), (0, 0)),
                };
                if count > 0 || uncount.1 > 0 || released.len() > first {
                    changes.push((line.key, count, uncount, first..released.len()));
                }
            }
            self.holds.tidy(&counter.record);
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

    /// Charges one counter; judges it anew if it is not as it was read. `Err(None)`: contended.
    fn charge(
        &mut self,
        at: usize,
        read: Read,
        demand: Demand,
        check: Check,
    ) -> Result<(Vec<Line>, Vec<Standing>), Option<Wait>> {
        let Some(counter) = self.counters.get(at).cloned() else {
            return Ok(Default::default());
        };
        let clock = self.clock;
        let mut judged = Some(read.tallied);
        let charged = update_from(self.shared, &counter.record, read.loaded, |bytes| {
            let mut record = Record::open(bytes);
            let mut tallied = if let Some(tallied) = judged.take() {
                tallied
            } else {
                let tallied = counter.tally(&record, clock);
                if let Some(wait) = judge::wait(&tallied, demand, check) {
                    return shared_data::Change::Keep(Err(wait));
                }
                tallied
            };
            let mut changed = false;
            let mut lines: Vec<Line> = Vec::with_capacity(tallied.len());
            let mut after = Vec::with_capacity(counter.limits.len());
            for Tallied { limit, kind, tally } in &mut tallied {
                let key = tally.key;
                if lines.iter().any(|earlier| earlier.key == key) {
                    *tally = record.tally(limit, clock);
                } else {
                    let change = Change {
                        count: u64::from(limit.unit == Unit::Requests),
                        hold: demand.reserves(limit),
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
                        let place = record.charge(tally, &change, &counter.limits, clock);
                        line.counted.0 = place.counted;
                        line.bucket = place.held;
                        changed = true;
                    }
                    lines.push(line);
                }
                if *kind == Kind::Limit {
                    after.push(standing::of(limit, at, tally, demand));
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
                if lines.iter().any(|line| line.held > 0)
                    && let Some(holds) = self.holds.make(&counter.record)
                {
                    for line in &lines {
                        holds.add(line.key, line.bucket, line.held);
                    }
                }
                Ok((lines, after))
            }
            Ok(Err(wait)) => Err(Some(wait)),
            Err(Contended) => Err(None),
        }
    }
}

/// A counter's record, and what it has of each limit.
struct Read {
    loaded: Loaded,
    tallied: Vec<Tallied>,
}

/// What a request has to wait for longest, and the position of its counter.
fn longest_wait(read: &[Read], demand: Demand, check: Check) -> Option<(usize, Wait)> {
    let mut worst: Option<(usize, Wait)> = None;
    for (at, read) in read.iter().enumerate() {
        if let Some(wait) = judge::wait(&read.tallied, demand, check)
            && worst.as_ref().is_none_or(|(_, other)| wait > *other)
        {
            worst = Some((at, wait));
        }
    }
    worst
}

/// Where the limits stand, as nobody asks for anything.
fn standings_in(read: &[Read]) -> Vec<Standing> {
    let mut standings = Vec::new();
    for (at, read) in read.iter().enumerate() {
        for Tallied { limit, kind, tally } in &read.tallied {
            if *kind == Kind::Limit {
                standings.push(standing::of(limit, at, tally, Demand::default()));
            }
        }
    }
    standings
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
