//! One owner's counters as the bytes that shared data keeps, read and changed in place.
//!
//! A version byte, then entries of 56 bytes, little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | what is counted over which buckets: unit, span, two zeros, seconds (`u32`) |
//! | 8 | number of the current bucket (`i64`) |
//! | 8, 8 | counted in it, and in the bucket before (`u64` each) |
//! | 8, 8, 8 | the same of what requests under way hold: slots, or tokens that are reserved |
//!
//! Entries are found by their first field, never by quota or position: a changed quota judges what was counted already,
//! and so does a change between sliding and fixed, which have the same buckets. While a configuration is reloaded the
//! old and the new one write the same record, so what only the other counts is kept while it is live.
//!
//! What is held is renewed by moving it into the current bucket. What nobody renews, because its worker is gone, weighs
//! until the bucket after its own is over, and heals without anyone's doing.

use super::window::{Bucket, Buckets, Clock};
use super::{Limit, Unit, Window};

const VERSION: u8 = 2;
const ENTRY_LEN: usize = size_of::<Entry>();
/// More entries than this are only kept if the configuration has as many limits.
const MAX_ENTRIES: usize = 32;

/// A slot heals within twice this many seconds.
const SLOT: Window = Window::Sliding(30);
/// Reserved tokens heal within twice this many.
const RESERVATION: Window = Window::Sliding(300);

/// The seven fields.
type Entry = [[u8; 8]; 7];

/// What an entry counts, over which buckets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Key([u8; 8]);

impl Key {
    pub(super) fn of(limit: &Limit) -> Self {
        let unit = match limit.unit {
            Unit::Requests => 1,
            Unit::Tokens => 2,
            Unit::PromptTokens => 3,
            Unit::CompletionTokens => 4,
            Unit::ConcurrentRequests => 5,
            Unit::Cost => 6,
        };
        let (span, seconds) = match limit.window {
            Window::Fixed(seconds) | Window::Sliding(seconds) => (1, seconds),
            Window::Day => (2, 0),
            Window::Month => (3, 0),
            Window::InFlight => (4, 0),
            Window::Week => (5, 0),
            Window::Total => (6, 0),
        };
        let [a, b, c, d] = seconds.to_le_bytes();
        Self([unit, span, 0, 0, a, b, c, d])
    }

    /// A window with these buckets, sliding if it may be: so that nothing is taken for dead too early. `None` for what a
    /// newer version counts.
    const fn window(self) -> Option<Window> {
        match self.0 {
            [_, 1, 0, 0, a, b, c, d] => Some(Window::Sliding(u32::from_le_bytes([a, b, c, d]))),
            [_, 2, 0, 0, ..] => Some(Window::Day),
            [_, 3, 0, 0, ..] => Some(Window::Month),
            [_, 4, 0, 0, ..] => Some(Window::InFlight),
            [_, 5, 0, 0, ..] => Some(Window::Week),
            [_, 6, 0, 0, ..] => Some(Window::Total),
            _ => None,
        }
    }

    /// The bucket into which what is held goes now.
    pub(super) fn hold_bucket(self, clock: Clock) -> i64 {
        let mut now = Buckets::default();
        now.roll(self.hold(), clock);
        now.index
    }

    /// The buckets of what is held.
    const fn hold(self) -> Window {
        match self.0 {
            [_, 4, ..] => SLOT,
            _ => RESERVATION,
        }
    }
}

/// A change to one entry. Buckets are named by number: an amount leaves the one that it entered.
#[derive(Debug, Default)]
pub(super) struct Change<'a> {
    /// Counted now.
    pub(super) count: u64,
    /// Held from now on.
    pub(super) hold: u64,
    /// Not to have been counted: a bucket, and how much of it.
    pub(super) uncount: (i64, u64),
    /// Held no more: so much of what these buckets hold, one after the other.
    pub(super) release: (u64, &'a [(i64, u64)]),
}

/// The buckets into which a [`Change`] has counted and held.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Place {
    pub(super) counted: i64,
    pub(super) held: i64,
}

/// What a record has of a limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    pub(super) key: Key,
    pub(super) counted: Buckets,
    window: Window,
    bucket: Bucket,
    holds: Buckets,
}

impl Tally {
    /// See [`Buckets::used`].
    pub(super) fn used(&self) -> u64 {
        self.counted.used(self.window, self.bucket)
    }

    /// What requests under way hold.
    pub(super) const fn held(&self) -> u64 {
        self.holds.current.saturating_add(self.holds.previous)
    }

    /// See [`Buckets::wait_for`].
    pub(super) fn wait_for(&self, amount: u64, quota: u64) -> Option<u64> {
        self.counted
            .wait_for(amount, quota, self.window, self.bucket)
    }

    /// See [`Buckets::clears_in`].
    pub(super) fn clears_in(&self) -> u64 {
        self.counted.clears_in(self.window, self.bucket)
    }
}

/// The bytes of a record that is well formed.
pub(super) struct Record<'a>(&'a mut Vec<u8>);

impl<'a> Record<'a> {
    /// Anything but a record of this version is replaced by an empty one.
    pub(super) fn open(bytes: &'a mut Vec<u8>) -> Self {
        match bytes.split_first() {
            Some((&VERSION, entries)) if entries.len().is_multiple_of(ENTRY_LEN) => {}
            _ => {
                bytes.clear();
                bytes.push(VERSION);
            }
        }
        Self(bytes)
    }

    /// What a limit has counted up to `clock`, and what requests under way hold of it.
    pub(super) fn tally(&self, limit: &Limit, clock: Clock) -> Tally {
        self.read(Key::of(limit), Some(limit.window), clock)
    }

    fn read(&self, key: Key, window: Option<Window>, clock: Clock) -> Tally {
        let mut entries = self.entries().iter();
        let entry = entries.find(|entry| key_of(entry) == key);
        let entry = entry.unwrap_or(&[[0; 8]; 7]);
        let (mut counted, mut holds) = (counted_in(entry), held_in(entry));
        let bucket = window.map(|window| counted.roll(window, clock));
        if holds.weighs() {
            holds.roll(key.hold(), clock);
        }
        Tally {
            key,
            counted,
            window: window.unwrap_or(Window::Total),
            bucket: bucket.unwrap_or_default(),
            holds,
        }
    }

    /// Changes an entry, or makes it. `limits` are those of the configuration: their entries are not dropped for it.
    pub(super) fn change(
        &mut self,
        key: Key,
        change: &Change<'_>,
        limits: &[Limit],
        clock: Clock,
    ) -> Place {
        let mut tally = self.read(key, key.window(), clock);
        self.charge(&mut tally, change, limits, clock)
    }

    /// The same of an entry that was tallied just now; the tally changes with it.
    pub(super) fn charge(
        &mut self,
        tally: &mut Tally,
        change: &Change<'_>,
        limits: &[Limit],
        clock: Clock,
    ) -> Place {
        let Tally {
            key,
            counted,
            holds,
            ..
        } = tally;
        if change.hold > 0 && !holds.weighs() {
            holds.roll(key.hold(), clock);
        }
        counted.current = counted.current.saturating_add(change.count);
        holds.current = holds.current.saturating_add(change.hold);
        let (uncounted, amount) = change.uncount;
        if amount > 0 {
            counted.take(uncounted, amount);
        }
        let (mut left, buckets) = change.release;
        for &(bucket, amount) in buckets {
            let part = amount.min(left);
            holds.take(bucket, part);
            left = left.saturating_sub(part);
        }
        let mut entries = self.entries_mut().iter_mut();
        if let Some(entry) = entries.find(|entry| key_of(entry) == *key) {
            put(entry, *counted, *holds);
        } else if counted.weighs() || holds.weighs() {
            self.make_room(limits, clock);
            let mut entry = [[0; 8]; 7];
            let [first, ..] = &mut entry;
            *first = key.0;
            put(&mut entry, *counted, *holds);
            self.0.extend_from_slice(entry.as_flattened());
        }
        Place {
            counted: counted.index,
            held: holds.index,
        }
    }

    /// Drops all that is dead and, if that does not do, the eldest of what only others count.
    #[cold]
    fn make_room(&mut self, limits: &[Limit], clock: Clock) {
        self.retain(|entry| {
            let (mut counted, mut held) = (counted_in(entry), held_in(entry));
            let key = key_of(entry);
            held.roll(key.hold(), clock);
            held.weighs()
                || key.window().is_none_or(|window| {
                    counted.roll(window, clock);
                    counted.is_live(window)
                })
        });
        let with_the_new = self.entries().len().saturating_add(1);
        let mut excess = with_the_new.saturating_sub(MAX_ENTRIES);
        self.retain(|entry| {
            let foreign = || !limits.iter().any(|limit| Key::of(limit) == key_of(entry));
            let dropped = excess > 0 && foreign();
            excess = excess.saturating_sub(usize::from(dropped));
            !dropped
        });
    }

    fn retain(&mut self, mut keep: impl FnMut(&Entry) -> bool) {
        let mut kept = Vec::with_capacity(self.0.len().saturating_add(ENTRY_LEN));
        kept.push(VERSION);
        for entry in self.entries().iter().filter(|entry| keep(entry)) {
            kept.extend_from_slice(entry.as_flattened());
        }
        *self.0 = kept;
    }

    fn entries(&self) -> &[Entry] {
        self.0
            .split_first()
            .map_or(&[], |(_, entries)| entries.as_chunks().0.as_chunks().0)
    }

    fn entries_mut(&mut self) -> &mut [Entry] {
        self.0.split_first_mut().map_or(&mut [], |(_, entries)| {
            entries.as_chunks_mut().0.as_chunks_mut().0
        })
    }
}

const fn key_of(entry: &Entry) -> Key {
    let [key, ..] = *entry;
    Key(key)
}

const fn counted_in(entry: &Entry) -> Buckets {
    let [_, index, current, previous, ..] = *entry;
    buckets(index, current, previous)
}

const fn held_in(entry: &Entry) -> Buckets {
    let [.., index, current, previous] = *entry;
    buckets(index, current, previous)
}

const fn buckets(index: [u8; 8], current: [u8; 8], previous: [u8; 8]) -> Buckets {
    Buckets {
        index: i64::from_le_bytes(index),
        current: u64::from_le_bytes(current),
        previous: u64::from_le_bytes(previous),
    }
}

const fn put(entry: &mut Entry, counted: Buckets, held: Buckets) {
    let key = key_of(entry).0;
    *entry = [
        key,
        counted.index.to_le_bytes(),
        counted.current.to_le_bytes(),
        counted.previous.to_le_bytes(),
        held.index.to_le_bytes(),
        held.current.to_le_bytes(),
        held.previous.to_le_bytes(),
    ];
}

#[cfg(test)]
mod tests;
