//! How often each source address showed a bad credential this minute, in a table that cannot grow.
//!
//! A fixed number of records: a version byte, then a fixed number of entries of three little-endian `u64`: a digest of
//! the address, the minute, the failures in it. Knows neither the credential nor the answer that is sent.

use super::shared_data::{Change, SharedData, update};
use crate::time::Timestamp;
use sha2::{Digest, Sha256};

const VERSION: u8 = 1;
const RECORDS: u8 = 64;
const ENTRIES_PER_RECORD: usize = 64;
const MS_PER_MINUTE: u64 = 60_000;

/// What the table says of one more failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The address had as many failures this minute as it may; this one was not counted.
    Over {
        /// Milliseconds until the minute is over.
        retry_after_ms: u64,
    },
    /// The failure was counted.
    Within,
}

/// Counts a failure of `address` (without its port) unless it had `limit` of them this minute. 0 switches it off.
///
/// When too many addresses fail at once the one with the fewest failures is forgotten, so that a flood of fresh
/// addresses does not wash out those that guess in earnest.
pub fn check_and_count(
    shared: &mut impl SharedData,
    address: &[u8],
    limit: u32,
    now: Timestamp,
) -> Verdict {
    if limit == 0 {
        return Verdict::Within;
    }
    // A digest that nobody can steer: else an address could be found that counts against another one.
    let [slot, digest @ ..] = <[u8; 32]>::from(Sha256::digest(address));
    let mut id = [0; 8];
    id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    let key = format!("cohort/1/auth/{}", slot % RECORDS);
    let minute = now.0 / MS_PER_MINUTE;
    let counted = update(shared, &key, |bytes| {
        let entries = open(bytes);
        let known = entries.iter().find(|[entry_id, ..]| *entry_id == id);
        let (minute, failures) = known.map_or((minute, 0), |entry| failures_of(entry, minute));
        if failures >= u64::from(limit) {
            let end = minute.saturating_add(1).saturating_mul(MS_PER_MINUTE);
            let retry_after_ms = end.saturating_sub(now.0);
            return Change::Keep(Verdict::Over { retry_after_ms });
        }
        let place = entries.iter_mut().min_by_key(|entry| match entry {
            [entry_id, ..] if *entry_id == id => (false, 0),
            entry => (true, failures_of(entry, minute).1),
        });
        if let Some(entry) = place {
            *entry = [
                id,
                minute.to_le_bytes(),
                failures.saturating_add(1).to_le_bytes(),
            ];
        }
        Change::Write(Verdict::Within)
    });
    // Only if the shared data cannot be written at all: the failure is answered as such either way.
    counted.unwrap_or(Verdict::Within)
}

/// Digest, minute, failures.
type Entry = [[u8; 8]; 3];

/// The entries of a record; anything but one of this version is replaced by an empty one.
fn open(bytes: &mut Vec<u8>) -> &mut [Entry] {
    const LEN: usize = 1 + ENTRIES_PER_RECORD * size_of::<Entry>();
    if bytes.len() != LEN || bytes.first() != Some(&VERSION) {
        bytes.clear();
        bytes.push(VERSION);
        bytes.resize(LEN, 0);
    }
    bytes.split_first_mut().map_or(&mut [], |(_, entries)| {
        entries.as_chunks_mut().0.as_chunks_mut().0
    })
}

/// The minute and the failures of an entry, or none in the minute `now` if its own is over.
///
/// Another worker may have seen the next minute begin before we did: that one then goes on.
fn failures_of(entry: &Entry, now: u64) -> (u64, u64) {
    let [_, minute, failures] = *entry;
    let minute = u64::from_le_bytes(minute);
    match minute.checked_sub(now) {
        Some(0 | 1) => (minute, u64::from_le_bytes(failures)),
        _ => (now, 0),
    }
}

#[cfg(test)]
mod tests;
