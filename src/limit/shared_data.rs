//! The one way to change what all workers share: read, change, write back if nobody else wrote meanwhile.
//!
//! Knows nothing of what is stored. Keys can never be deleted, so callers use a bounded set of them.

/// Key-value memory that all workers of one Envoy share, with compare-and-swap.
pub trait SharedData {
    /// The value of a key and the version it has; [`Cas::ABSENT`] if there is none.
    fn get(&self, key: &str) -> (Option<Vec<u8>>, Cas);

    /// What a key held when this worker last wrote it, and the version that it has if it still holds that. Good enough to
    /// try a write: if another worker wrote meanwhile that fails. `None` if nothing is known.
    fn recall(&self, key: &str) -> Option<(Vec<u8>, Cas)> {
        let _ = key;
        None
    }

    /// Writes a value if the key still has that version.
    fn set(&mut self, key: &str, value: &[u8], cas: Cas) -> Result<(), CasMismatch>;

    /// The same of a value that is not needed any more, so that it can be kept without a copy.
    fn give(&mut self, key: &str, value: Vec<u8>, cas: Cas) -> Result<(), CasMismatch> {
        self.set(key, &value, cas)
    }
}

/// The version of a value in shared data.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cas(pub u32);

impl Cas {
    /// Writes only if the key does not exist yet. Not 0: to Envoy 0 means whatever the version, and loses updates.
    pub const ABSENT: Self = Self(u32::MAX);
}

/// Another worker wrote first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CasMismatch;

/// Other workers wrote first every time we tried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Contended;

/// What to do with a value that was read, and what to tell the caller.
pub(crate) enum Change<T> {
    /// Leave it as it is.
    Keep(T),
    /// Write the changed value.
    Write(T),
}

/// Far more than the other workers can write between our `get` and our `set`, yet an end.
const MAX_TRIES: usize = 1_000;

/// A value as it was read, or as it is remembered.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) value: Vec<u8>,
    version: Cas,
    /// Perhaps out of date: no decision may rest on it but one that is written.
    pub(super) remembered: bool,
}

impl Loaded {
    pub(super) fn read(shared: &impl SharedData, key: &str) -> Self {
        let (value, version) = shared.get(key);
        Self {
            value: value.unwrap_or_default(),
            version,
            remembered: false,
        }
    }

    /// Reads only what is not remembered.
    pub(super) fn recall(shared: &impl SharedData, key: &str) -> Self {
        match shared.recall(key) {
            Some((value, version)) => Self {
                value,
                version,
                remembered: true,
            },
            None => Self::read(shared, key),
        }
    }
}

/// Changes one value; `change` runs again on the new value each time another worker wrote first.
pub(crate) fn update<T>(
    shared: &mut impl SharedData,
    key: &str,
    change: impl FnMut(&mut Vec<u8>) -> Change<T>,
) -> Result<T, Contended> {
    let loaded = Loaded::recall(shared, key);
    update_from(shared, key, loaded, change)
}

/// The same, of a value that was loaded already.
pub(super) fn update_from<T>(
    shared: &mut impl SharedData,
    key: &str,
    mut loaded: Loaded,
    mut change: impl FnMut(&mut Vec<u8>) -> Change<T>,
) -> Result<T, Contended> {
    for _ in 0..MAX_TRIES {
        match change(&mut loaded.value) {
            Change::Keep(answer) if !loaded.remembered => return Ok(answer),
            Change::Write(answer) if shared.give(key, loaded.value, loaded.version).is_ok() => {
                return Ok(answer);
            }
            _ => {}
        }
        loaded = Loaded::read(shared, key);
    }
    Err(Contended)
}

#[cfg(test)]
pub(crate) mod fake {
    //! Shared data in memory, with other workers that write between a `get` and its `set`.
    #![expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]

    use super::{Cas, CasMismatch, SharedData};
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;

    /// Behaves as Envoy's, versions included.
    #[derive(Default)]
    pub(crate) struct Fake {
        values: BTreeMap<String, (Vec<u8>, u32)>,
        version: u32,
        pub(crate) gets: Cell<usize>,
        pub(crate) sets: usize,
    }

    impl SharedData for Fake {
        fn get(&self, key: &str) -> (Option<Vec<u8>>, Cas) {
            self.gets.set(self.gets.get() + 1);
            match self.values.get(key) {
                // As Envoy's SDK has it: an empty value reads back as none, with a version.
                Some((value, version)) => {
                    (Some(value.clone()).filter(|v| !v.is_empty()), Cas(*version))
                }
                None => (None, Cas::ABSENT),
            }
        }

        fn set(&mut self, key: &str, value: &[u8], cas: Cas) -> Result<(), CasMismatch> {
            self.sets += 1;
            assert_ne!(cas, Cas(0), "unconditional");
            if self
                .values
                .get(key)
                .is_some_and(|(_, version)| *version != cas.0)
            {
                return Err(CasMismatch);
            }
            self.put(key, value);
            Ok(())
        }
    }

    impl Fake {
        /// What is stored, without counting as a call.
        pub(crate) fn value(&self, key: &str) -> Option<&[u8]> {
            self.values.get(key).map(|(value, _)| value.as_slice())
        }

        pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
            self.values.keys().map(String::as_str)
        }

        /// Stores without a condition.
        pub(crate) fn put(&mut self, key: &str, value: &[u8]) {
            self.version += 1;
            self.values
                .insert(key.to_owned(), (value.to_vec(), self.version));
        }
    }

    /// Lets others act before each of our writes.
    pub(crate) struct Contended<'a, F> {
        pub(crate) shared: &'a RefCell<Fake>,
        pub(crate) others: F,
    }

    impl<F: FnMut(&mut Fake)> SharedData for Contended<'_, F> {
        fn get(&self, key: &str) -> (Option<Vec<u8>>, Cas) {
            self.shared.borrow().get(key)
        }

        fn set(&mut self, key: &str, value: &[u8], cas: Cas) -> Result<(), CasMismatch> {
            let mut shared = self.shared.borrow_mut();
            (self.others)(&mut shared);
            shared.set(key, value, cas)
        }
    }
}
