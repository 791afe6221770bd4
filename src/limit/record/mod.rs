//! One owner's counters as the bytes that shared data keeps, read and changed in place.
//!
//! A version byte, then entries of 48 bytes, little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | what is counted over which buckets: unit, span, two zeros, seconds (`u32`) |
//! | 8 | number of the current bucket (`i64`) |
//! | 8, 8 | counted in it, and in the bucket before (`u64` each) |
//! | 8, 8 | reserved by requests under way, and until when (zeros so far; kept as they are) |
//!
//! Entries are found by their first field, never by quota or position: a changed quota judges what was counted already,
//! and so does a change between sliding and fixed, which have the same buckets. While a configuration is reloaded the
//! old and the new one write the same record, so what only the other counts is kept while it is live.

use super::window::{Buckets, Clock};
use super::{Limit, Unit, Window};

const VERSION: u8 = 1;
const ENTRY_LEN: usize = size_of::<Entry>();
/// More entries than this are only kept if the configuration has as many limits.
const MAX_ENTRIES: usize = 32;

/// The six fields.
type Entry = [[u8; 8]; 6];

/// What an entry counts, over which buckets.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) struct Key([u8; 8]);

impl Key {
    pub(super) fn of(limit: &Limit) -> Self {
        let unit = match limit.unit {
            Unit::Requests => 1,
            Unit::Tokens => 2,
            Unit::PromptTokens => 3,
            Unit::CompletionTokens => 4,
            Unit::ConcurrentRequests => 5,
        };
        let (span, seconds) = match limit.window {
            Window::Fixed(seconds) | Window::Sliding(seconds) => (1, seconds),
            Window::Day => (2, 0),
            Window::Month => (3, 0),
            Window::InFlight => (4, 0),
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
            _ => None,
        }
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

    /// What a limit has counted up to `clock`.
    pub(super) fn buckets(&self, limit: &Limit, clock: Clock) -> Buckets {
        let key = Key::of(limit);
        let entry = self.entries().iter().find(|entry| key_of(entry) == key);
        let mut buckets = entry.map_or_else(Buckets::default, buckets_of);
        buckets.roll(limit.window, clock);
        buckets
    }

    /// Counts what `amount` says for each of the limits, once for those that share an entry.
    pub(super) fn add(&mut self, limits: &[Limit], amount: impl Fn(Unit) -> u64, clock: Clock) {
        for (position, limit) in limits.iter().enumerate() {
            let key = Key::of(limit);
            let amount = amount(limit.unit);
            let mut earlier = limits.iter().take(position);
            if amount == 0 || earlier.any(|earlier| Key::of(earlier) == key) {
                continue;
            }
            let mut buckets = self.buckets(limit, clock);
            buckets.current = buckets.current.saturating_add(amount);
            let mut entries = self.entries_mut().iter_mut();
            if let Some(entry) = entries.find(|entry| key_of(entry) == key) {
                put_buckets(entry, buckets);
            } else {
                self.make_room(limits, clock);
                let mut entry = [key.0, [0; 8], [0; 8], [0; 8], [0; 8], [0; 8]];
                put_buckets(&mut entry, buckets);
                self.0.extend_from_slice(entry.as_flattened());
            }
        }
    }

    /// Drops all that is dead and, if that does not do, the eldest of what only others count.
    fn make_room(&mut self, limits: &[Limit], clock: Clock) {
        self.retain(|entry| {
            let mut buckets = buckets_of(entry);
            key_of(entry).window().is_none_or(|window| {
                buckets.roll(window, clock);
                buckets.is_live(window)
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

const fn buckets_of(entry: &Entry) -> Buckets {
    let [_, index, current, previous, ..] = *entry;
    Buckets {
        index: i64::from_le_bytes(index),
        current: u64::from_le_bytes(current),
        previous: u64::from_le_bytes(previous),
    }
}

const fn put_buckets(entry: &mut Entry, buckets: Buckets) {
    let [_, index, current, previous, ..] = entry;
    *index = buckets.index.to_le_bytes();
    *current = buckets.current.to_le_bytes();
    *previous = buckets.previous.to_le_bytes();
}

#[cfg(test)]
mod tests;
