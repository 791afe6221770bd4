//! Admission and settlement, exact however many workers do it at the same time.
//!
//! All limits of a [`Counter`] are in one record, so one compare-and-swap judges and charges them. Where a request has
//! several counters all are judged before any is charged, and what was charged is undone if a later one refuses after all.
//! Knows nothing of groups: the caller says which counters apply, the narrowest first.

mod judge;
mod standing;

pub use standing::Standing;

use super::holds::Holds;
use super::record::{Change, Key, Record};
use super::shared_data::{self, Loaded, update, update_from};
use super::{Clock, Contended, Descriptor, Limit, SharedData, Unit};
use judge::Wait;
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
    /// What may be spent.
    pub budgets: Rc<[Budget]>,
}

/// A limit on what is spent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Budget {
    /// On [`Unit::Cost`].
    pub limit: Limit,
    /// Whether it refuses requests, or only tells.
    pub blocks: bool,
    /// Shares of it in thousandths; each is told of when it is crossed.
    pub alert_at: Vec<u32>,
}

impl Counter {
    /// A counter in the record that its descriptor names.
    pub fn new(descriptor: Descriptor, limits: Vec<Limit>) -> Self {
        Self {
            record: descriptor.record().into(),
            descriptor,
            limits: limits.into(),
            budgets: Rc::default(),
        }
    }

    /// Everything that it counts, and whether that can refuse a request.
    fn all(&self) -> impl Iterator<Item = (Limit, bool)> {
        let limits = self.limits.iter().map(|limit| (*limit, true));
        let budgets = self.budgets.iter();
        limits.chain(budgets.map(|budget| (budget.limit, budget.blocks)))
    }
}

/// Where the limits and budgets of a counter stand, by what shared data has of it.
pub fn standings(counter: &Counter, record: Option<Vec<u8>>, clock: Clock) -> Vec<Standing> {
    let mut bytes = record.unwrap_or_default();
    let record = Record::open(&mut bytes);
    let limits = standing::of(counter, 0, &record, Demand::default(), clock);
    let budgets = counter.budgets.iter();
    let budgets = budgets.map(|budget| standing::of_budget(&budget.limit, &record, clock));
    limits.chain(budgets).collect()
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
    /// What they cost, in millionths of a US dollar.
    pub cost: u64,
}

impl Tokens {
    /// How many of them a limit on `unit` counts.
    pub const fn of(&self, unit: Unit) -> u64 {
        match unit {
            Unit::CompletionTokens => self.completion,
            Unit::ConcurrentRequests | Unit::Requests => 0,
            Unit::Cost => self.cost,
            Unit::PromptTokens => self.prompt,
            Unit::Tokens => self.total,
        }
    }
}

/// What a request wants to use up: itself, and the tokens it is expected to cost.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Demand {
    /// Reserved until they are settled; with zeros there is only to be room for one.
    pub tokens: Tokens,
}

impl Demand {
    /// What it needs of a limit. Never more than there is of it at all: an idle limit admits every request.
    pub fn of(&self, limit: &Limit) -> u64 {
        match limit.unit {
            Unit::ConcurrentRequests | Unit::Requests => 1,
            unit => self.tokens.of(unit).clamp(1, limit.quota.max(1)),
        }
    }

    /// What of that is reserved.
    fn reserves(&self, limit: &Limit) -> u64 {
        match limit.unit {
            Unit::Requests => 0,
            Unit::ConcurrentRequests => 1,
            unit => self.tokens.of(unit).min(limit.quota),
        }
    }
}

/// Which limits can refuse a request. All of them count it, whatever they can.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Check {
    /// All.
    All,
    /// None: the request passes anyway.
    Nothing,
    /// Those that no rate-limit service counts: on concurrent requests, and budgets.
    Own,
}

/// Why a request was not admitted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refused {
    /// Other workers wrote first every time we tried.
    Contended,
    /// At least one limit has no room.
    Over(Over),
}

/// The limit that makes a request wait longest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Over {
    /// Position of its counter.
    pub counter: usize,
    /// The limit.
    pub limit: Limit,
    /// Milliseconds until the request would pass, if nothing else does meanwhile; `None`: never.
    pub retry_after_ms: Option<u64>,
    /// Where all limits stand, counter by counter.
    pub standings: Vec<Standing>,
}

impl Over {
    /// Has the limit stand as this request finds it: with room for a smaller one, but not for this one.
    pub fn tell_wait(&mut self) {
        let (counter, limit) = (self.counter, self.limit);
        let mut standings = self.standings.iter_mut();
        let fired = standings.find(|own| (own.counter, own.limit) == (counter, limit));
        if let Some(fired) = fired.filter(|_| limit.unit != Unit::ConcurrentRequests) {
            fired.reset_ms = self.retry_after_ms;
        }
    }
}

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
