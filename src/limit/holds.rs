//! What the requests of one worker hold, slots and reserved tokens: so that they are renewed while those requests live.
//!
//! One entry a record and limit, not one a request: what is held is fungible. Knows nothing of requests.

use super::record::{Change, Key, Record};
use super::shared_data::{self, update};
use super::{Clock, SharedData};
use std::rc::Rc;

/// Call [`Holds::renew`] at least this often, in milliseconds: a third of what the shortest-lived of them lives.
pub const RENEW_EVERY_MS: u64 = 10_000;

/// So many records keep their place when nothing is held in them any more: the next request for one finds it made.
const KEPT: usize = 32;

/// Everything that one worker's requests hold.
#[derive(Debug, Default)]
pub struct Holds {
    /// Sorted by their names.
    records: Vec<(Rc<str>, InRecord)>,
}

/// What is held of the limits of one record.
#[derive(Debug, Default)]
pub(super) struct InRecord(Vec<Held>);

/// What is held of one limit, by the buckets of its record that it is in.
#[derive(Debug)]
struct Held {
    key: Key,
    buckets: Vec<(i64, u64)>,
}

impl Holds {
    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.records.iter().all(|(_, held)| held.is_empty())
    }

    /// What is held in a record, if it has a place.
    pub(super) fn of(&mut self, record: &str) -> Option<&mut InRecord> {
        let at = self.find(record).ok()?;
        self.records.get_mut(at).map(|(_, held)| held)
    }

    /// The same, with a place made where there is none.
    pub(super) fn make(&mut self, record: &Rc<str>) -> Option<&mut InRecord> {
        let at = self.find(record).unwrap_or_else(|at| {
            let new = (Rc::clone(record), InRecord::default());
            self.records.insert(at, new);
            at
        });
        self.records.get_mut(at).map(|(_, held)| held)
    }

    /// Gives a record's place up if there are many and nothing is held in it.
    pub(super) fn tidy(&mut self, record: &str) {
        if self.records.len() > KEPT
            && let Ok(at) = self.find(record)
            && let Some((_, held)) = self.records.get(at)
            && held.is_empty()
        {
            self.records.remove(at);
        }
    }

    fn find(&self, record: &str) -> Result<usize, usize> {
        self.records
            .binary_search_by(|(name, _)| (**name).cmp(record))
    }

    /// Moves everything that is held into the current buckets, so that it does not go out of date. Answers how many records
    /// could not be written.
    pub fn renew(&mut self, shared: &mut impl SharedData, clock: Clock) -> u32 {
        let mut errors = 0_u32;
        for (record, InRecord(all)) in &mut self.records {
            let stale = |held: &Held| {
                let now = held.key.hold_bucket(clock);
                held.buckets.iter().any(|(bucket, _)| *bucket < now)
            };
            if !all.iter().any(stale) {
                continue;
            }
            let renewed = update(shared, record, |bytes| {
                let mut record = Record::open(bytes);
                let places = all.iter().map(|held| {
                    let change = Change {
                        hold: held.sum(),
                        release: (u64::MAX, &held.buckets),
                        ..Change::default()
                    };
                    record.change(held.key, &change, &[], clock).held
                });
                shared_data::Change::Write(places.collect::<Vec<_>>())
            });
            match renewed {
                Ok(places) => {
                    for (held, bucket) in all.iter_mut().zip(places) {
                        if !held.buckets.is_empty() {
                            held.buckets = vec![(bucket, held.sum())];
                        }
                    }
                }
                Err(_) => errors = errors.saturating_add(1),
            }
        }
        errors
    }
}

impl InRecord {
    fn is_empty(&self) -> bool {
        self.0.iter().all(|held| held.buckets.is_empty())
    }

    /// What is held of a limit: buckets, and how much in each, the eldest first.
    pub(super) fn get(&self, key: Key) -> &[(i64, u64)] {
        let held = self.0.iter().find(|held| held.key == key);
        held.map_or(&[], |held| &held.buckets)
    }

    /// Notes that an amount went into a bucket.
    pub(super) fn add(&mut self, key: Key, bucket: i64, amount: u64) {
        if amount == 0 {
            return;
        }
        let at = self.0.iter().position(|held| held.key == key);
        let at = at.unwrap_or_else(|| {
            let buckets = Vec::new();
            self.0.push(Held { key, buckets });
            self.0.len().saturating_sub(1)
        });
        let Some(held) = self.0.get_mut(at) else {
            return;
        };
        match held.buckets.iter_mut().find(|(index, _)| *index == bucket) {
            Some((_, sum)) => *sum = sum.saturating_add(amount),
            None => held.buckets.push((bucket, amount)),
        }
    }

    /// Takes an amount out, the eldest first.
    pub(super) fn take(&mut self, key: Key, mut amount: u64) {
        if amount == 0 {
            return;
        }
        let Some(held) = self.0.iter_mut().find(|held| held.key == key) else {
            return;
        };
        held.buckets.retain_mut(|(_, sum)| {
            let part = amount.min(*sum);
            *sum = sum.saturating_sub(part);
            amount = amount.saturating_sub(part);
            *sum > 0
        });
    }
}

impl Held {
    fn sum(&self) -> u64 {
        self.buckets
            .iter()
            .fold(0, |sum, (_, amount)| sum.saturating_add(*amount))
    }
}
