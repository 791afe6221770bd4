//! What this worker has just written, so that it need not be read again before the next write.
//!
//! Envoy does not say which version a write has got. It numbers all writes of a process in one row (proxy-wasm-cpp-host,
//! `SharedData::nextCas`), so a write got at least the number behind the greatest that was known before it, and exactly
//! that one if nobody else wrote anything in between. That number is tried: it fits only as long as the value is still the
//! one that was written, because any other write, before it or since, has given the key a greater one.
//!
//! Where other workers write too it hardly ever fits, and is soon not tried any more. Knows nothing of what is stored.

use super::shared_data::{Cas, CasMismatch, SharedData};
use std::cell::RefCell;

/// So many values are kept: those of the groups that are asked for most.
const KEPT: usize = 16;
/// After so many failures to recall something in a row, at most, it is tried again.
const MAX_PAUSE: u32 = 4_096;

/// What one worker remembers.
#[derive(Debug, Default)]
pub struct Written {
    /// The greatest number of a write that is known.
    newest: u32,
    values: Vec<Value>,
    /// The next one to give up.
    eldest: usize,
    /// How often nothing is to be recalled, and how long the last time was.
    pause: u32,
    last_pause: u32,
}

#[derive(Debug)]
struct Value {
    key: Box<str>,
    bytes: Vec<u8>,
    /// As far as can be told; `None` if it is not to be recalled.
    version: Option<u32>,
    /// Whether it was recalled, and not written or read since.
    tried: bool,
}

/// Shared data, and what is remembered of it.
#[derive(Debug)]
pub struct Remembering<'a, S> {
    /// Where it is kept.
    pub shared: &'a mut S,
    /// What this worker has written.
    pub written: &'a RefCell<Written>,
}

impl<S: SharedData> SharedData for Remembering<'_, S> {
    fn get(&self, key: &str) -> (Option<Vec<u8>>, Cas) {
        let read = self.shared.get(key);
        self.written.borrow_mut().read(key, read.1);
        read
    }

    fn set(&mut self, key: &str, value: &[u8], cas: Cas) -> Result<(), CasMismatch> {
        self.give(key, value.to_vec(), cas)
    }

    fn give(&mut self, key: &str, value: Vec<u8>, cas: Cas) -> Result<(), CasMismatch> {
        let written = self.shared.set(key, &value, cas);
        self.written.borrow_mut().wrote(key, value, written.is_ok());
        written
    }

    fn recall(&self, key: &str) -> Option<(Vec<u8>, Cas)> {
        self.written.borrow_mut().recall(key)
    }
}

impl Written {
    fn recall(&mut self, key: &str) -> Option<(Vec<u8>, Cas)> {
        if self.pause > 0 {
            self.pause = self.pause.saturating_sub(1);
            return None;
        }
        let Some(known) = self.find(key) else {
            // The next time there will be something.
            self.make(key);
            return None;
        };
        let version = known.version.take()?;
        known.tried = true;
        Some((std::mem::take(&mut known.bytes), Cas(version)))
    }

    fn read(&mut self, key: &str, version: Cas) {
        // Numbers come round again, so it is the difference that tells.
        let ahead = version.0.wrapping_sub(self.newest).cast_signed() > 0;
        if version != Cas::ABSENT && (ahead || self.newest == 0) {
            self.newest = version.0;
        }
        if let Some(known) = self.find(key) {
            known.version = None;
            known.tried = false;
        }
    }

    fn wrote(&mut self, key: &str, value: Vec<u8>, done: bool) {
        if done {
            // Of all numbers only 0 is none.
            self.newest = self.newest.wrapping_add(1).max(1);
        }
        let (newest, keeps) = (self.newest, done && self.pause == 0);
        let Some(known) = self.find(key) else { return };
        known.version = None;
        if keeps {
            known.version = Some(newest);
            known.bytes = value;
        }
        match (std::mem::take(&mut known.tried), done) {
            (true, true) => self.last_pause /= 2,
            (true, false) => {
                self.last_pause = self.last_pause.saturating_mul(2).clamp(4, MAX_PAUSE);
                self.pause = self.last_pause;
            }
            (false, _) => {}
        }
    }

    fn make(&mut self, key: &str) {
        let new = Value {
            key: key.into(),
            bytes: Vec::new(),
            version: None,
            tried: false,
        };
        match self.values.get_mut(self.eldest) {
            Some(eldest) => *eldest = new,
            None => self.values.push(new),
        }
        self.eldest = self.eldest.saturating_add(1) % KEPT;
    }

    fn find(&mut self, key: &str) -> Option<&mut Value> {
        self.values.iter_mut().find(|known| *known.key == *key)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]

    use super::super::shared_data::{Change, fake::Fake, update};
    use super::*;
    use proptest::prelude::*;

    /// Adds to a number, as counters do.
    fn add(shared: &mut impl SharedData, key: &str, amount: u64) -> u64 {
        let sum = |bytes: &mut Vec<u8>| {
            let sum = amount + bytes.as_slice().try_into().map_or(0, u64::from_le_bytes);
            *bytes = sum.to_le_bytes().to_vec();
            Change::Write(sum)
        };
        update(shared, key, sum).unwrap()
    }

    fn worker(shared: &mut Fake) -> Remembering<'_, Fake> {
        let written = Box::leak(Box::default());
        Remembering { shared, written }
    }

    #[test]
    fn what_nobody_else_writes_is_read_once() {
        let mut fake = Fake::default();
        let mut alone = worker(&mut fake);
        for round in 1..=100 {
            for key in ["a", "b", "c"] {
                assert_eq!(add(&mut alone, key, 2), round * 2);
            }
        }
        assert_eq!(alone.shared.gets.get(), 3);
        assert_eq!(alone.shared.sets, 300);
    }

    #[test]
    fn where_others_write_it_is_soon_not_tried_any_more() {
        let mut fake = Fake::default();
        let mut one = worker(&mut fake);
        for round in 1..=10_000 {
            one.shared.put("other", b"");
            assert_eq!(add(&mut one, "a", 1), round);
        }
        let in_vain = one.shared.sets - 10_000;
        assert!(in_vain <= 15, "{in_vain}");
        // When they stop it is tried again, and holds.
        for _ in 0..=MAX_PAUSE {
            add(&mut one, "a", 1);
        }
        let before = one.shared.gets.get();
        for _ in 0..1_000 {
            add(&mut one, "a", 1);
        }
        assert_eq!(one.shared.gets.get(), before);
    }

    #[test]
    fn no_more_is_kept_than_a_few_values() {
        let mut fake = Fake::default();
        let mut one = worker(&mut fake);
        for round in 1..4 {
            for key in 0..100 {
                assert_eq!(add(&mut one, &key.to_string(), 1), round);
            }
        }
        assert_eq!(one.written.borrow().values.len(), KEPT);
    }

    /// A decision to write nothing rests on what is there.
    #[test]
    fn what_is_kept_is_read() {
        let mut fake = Fake::default();
        let mut one = worker(&mut fake);
        add(&mut one, "a", 1);
        one.shared.put("a", b"new");
        let seen = update(&mut one, "a", |bytes| Change::Keep(bytes.clone()));
        assert_eq!(seen.unwrap(), b"new");
    }

    proptest! {
        /// Whoever writes what in whatever order, with or without remembering: nothing is lost, nothing counted twice.
        #[test]
        fn every_addition_counts_once(
            steps in proptest::collection::vec((0..4_usize, 0..3_usize, 1..100_u64), 0..300)
        ) {
            let mut fake = Fake::default();
            let written: [RefCell<Written>; 3] = Default::default();
            let mut sums = [0; 3];
            for (who, which, amount) in steps {
                let key = ["a", "b", "c"][which];
                sums[which] += amount;
                let sum = match written.get(who) {
                    Some(written) => {
                        let mut remembering = Remembering { shared: &mut fake, written };
                        add(&mut remembering, key, amount)
                    }
                    None => add(&mut fake, key, amount),
                };
                prop_assert_eq!(sum, sums[which]);
            }
        }
    }
}
