//! Admission and settlement, exact however many workers do it at the same time.
//!
//! One compare-and-swap judges and charges all limits of a record. Where a request has several counters all are judged before
//! any is charged, and what was charged is undone if a later one refuses after all.

mod crossed;

pub use crossed::Crossed;

use super::judge::{self, Wait};
use super::standing::{self, Standing};
use super::{Check, Counter, Demand, Kind, Over, Refused, Tallied, Tokens};
use crate::limit::holds::Holds;
use crate::limit::record::{Change, Key, Record};
use crate::limit::shared_data::{self, Loaded, update, update_from};
use crate::limit::{Clock, Contended, SharedData, Unit};
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
    /// counts nothing. Answers also where all limits stand after it.
    pub fn admit(
        &mut self,
        demand: Demand,
        check: Check,
    ) -> Result<(Permit, Vec<Standing>), Refused> {
        // A single one is judged as it is charged.
        let mut judged = if let [] | [_] = self.counters {
            Vec::new()
        } else {
            self.judge(demand, check)?
        }
        .into_iter();
        let (mut permit, mut standings) = (Permit::default(), Vec::new());
        for at in 0..self.counters.len() {
            let lines = &mut permit.lines;
            if let Err(wait) =
                self.charge(at, judged.next(), (&demand, check), lines, &mut standings)
            {
                return Err(self.undo(at, wait, &permit, standings));
            }
        }
        Ok((permit, standings))
    }

    /// What was read of all counters, if they have room for a request.
    #[inline(never)]
    fn judge(&mut self, demand: Demand, check: Check) -> Result<Vec<Read>, Refused> {
        let mut read = self.read(true);
        let mut worst = longest_wait(&read, demand, check);
        if worst.is_some() && read.iter().any(|read| read.loaded.remembered) {
            // Nobody is refused for what may be out of date.
            read = self.read(false);
            worst = longest_wait(&read, demand, check);
        }
        match worst {
            Some((counter, wait)) => Err(refused(counter, &wait, standings_in(&read))),
            None => Ok(read),
        }
    }

    /// Undoes what was charged before a counter that refuses after all.
    #[cold]
    fn undo(
        &mut self,
        at: usize,
        wait: Option<Wait>,
        permit: &Permit,
        standings: Vec<Standing>,
    ) -> Refused {
        self.settle(permit, Ending::Undone);
        match wait {
            None => Refused::Contended,
            Some(wait) if self.counters.len() == 1 => refused(at, &wait, standings),
            Some(wait) => refused(at, &wait, self.standings()),
        }
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
        let clock = self.clock;
        let counters = permit.lines.chunk_by(|a, b| a.counter == b.counter);
        // The widest first.
        for lines in counters.rev() {
            let at = lines.first().map_or(0, |line| line.counter);
            let Some(counter) = self.counters.get(at) else {
                continue;
            };
            if !lines.iter().any(|line| line.changes(ending)) {
                continue;
            }
            let mut holds = self.holds.of(&counter.record);
            let mut crossed = Vec::new();
            let settled = update(self.shared, &counter.record, |bytes| {
                let mut record = Record::open(bytes);
                let budgets = !counter.budgets.is_empty();
                let before = budgets.then(|| crossed::spent(counter, &record, clock));
                for line in lines.iter().filter(|line| line.changes(ending)) {
                    let held = holds.as_ref().map_or(&[][..], |holds| holds.get(line.key));
                    let change = line.change(ending, held);
                    record.change(line.key, &change, &counter.limits, clock);
                }
                if let Some(before) = before {
                    crossed = crossed::since(&before, at, counter, &record, clock);
                }
                shared_data::Change::Write(())
            });
            if let Some(holds) = &mut holds {
                for line in lines {
                    holds.take(line.key, line.held);
                }
            }
            self.holds.tidy(&counter.record);
            if settled.is_err() {
                outcome.errors = outcome.errors.saturating_add(1);
            } else if !crossed.is_empty() {
                // The narrowest is told of first.
                crossed.append(&mut outcome.crossed);
                outcome.crossed = crossed;
            }
        }
        outcome
    }

    /// Charges one counter, and notes what with and where its limits stand then. Judges it if it was not, or if it is not as
    /// it was read. `Err(None)`: contended.
    fn charge(
        &mut self,
        at: usize,
        judged: Option<Read>,
        (demand, check): (&Demand, Check),
        lines: &mut Vec<Line>,
        standings: &mut Vec<Standing>,
    ) -> Result<(), Option<Wait>> {
        let Some(counter) = self.counters.get(at) else {
            return Ok(());
        };
        let clock = self.clock;
        let (loaded, mut judged) = match judged {
            Some(Read { loaded, tallied }) => (loaded, Some(tallied)),
            None => (Loaded::recall(self.shared, &counter.record), None),
        };
        let (before, stood) = (lines.len(), standings.len());
        let charge = update_from(self.shared, &counter.record, loaded, |bytes| {
            lines.truncate(before);
            standings.truncate(stood);
            let mut record = Record::open(bytes);
            let mut tallied = if let Some(tallied) = judged.take() {
                tallied
            } else {
                let tallied = counter.tally(&record, clock);
                if let Some(wait) = judge::wait(&tallied, demand, check) {
                    stand(at, &tallied, &Demand::default(), standings);
                    return shared_data::Change::Keep(Err(wait));
                }
                tallied
            };
            let mut changed = false;
            lines.reserve(tallied.len());
            for Tallied { limit, tally, .. } in &mut tallied {
                let key = tally.key;
                let mut earlier = lines.iter().skip(before);
                if earlier.any(|earlier| earlier.key == key) {
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
            }
            stand(at, &tallied, demand, standings);
            if changed {
                shared_data::Change::Write(Ok(()))
            } else {
                shared_data::Change::Keep(Ok(()))
            }
        });
        match charge {
            Ok(Ok(())) => {}
            Ok(Err(wait)) => return Err(Some(wait)),
            Err(Contended) => {
                lines.truncate(before);
                return Err(None);
            }
        }
        let lines = lines.get(before..).unwrap_or_default();
        if lines.iter().any(|line| line.held > 0)
            && let Some(holds) = self.holds.make(&counter.record)
        {
            for line in lines {
                holds.add(line.key, line.bucket, line.held);
            }
        }
        Ok(())
    }
}

impl Line {
    /// Whether an ending changes anything of it.
    fn changes(&self, ending: Ending) -> bool {
        let Change { count, uncount, .. } = self.change(ending, &[]);
        self.held > 0 || count > 0 || uncount.1 > 0
    }

    /// What an ending changes of it, where so much of the limit is held.
    fn change<'a>(&self, ending: Ending, held: &'a [(i64, u64)]) -> Change<'a> {
        let (count, uncount) = match ending {
            Ending::Undone => (0, self.counted),
            Ending::Used(tokens) => (tokens.of(self.unit), (0, 0)),
        };
        Change {
            count,
            hold: 0,
            uncount,
            release: (self.held, held),
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
        if let Some(wait) = judge::wait(&read.tallied, &demand, check)
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
        stand(at, &read.tallied, &Demand::default(), &mut standings);
    }
    standings
}

/// Where those of one counter stand for a request.
fn stand(at: usize, tallied: &[Tallied], own: &Demand, standings: &mut Vec<Standing>) {
    standings.reserve(tallied.len());
    for Tallied { limit, kind, tally } in tallied {
        if *kind == Kind::Limit {
            standings.push(standing::of(limit, at, tally, own));
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
