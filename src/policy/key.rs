//! Keys, and how one is found among a hundred thousand.

use super::consumer::{Dates, Owner};
use crate::config::ApiKey;
use crate::credential::KeyDigest;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

/// A key, by its digest.
#[derive(Debug)]
pub(super) struct Key {
    /// What events show.
    pub(super) id: Rc<str>,
    /// Tags that upstreams and events are told.
    pub(super) features: Rc<[String]>,
    pub(super) owner: Owner,
    digest: KeyDigest,
    pub(super) enabled: bool,
    pub(super) dates: Dates,
}

impl Key {
    pub(super) fn new(key: ApiKey, owner: &Owner) -> Self {
        Self {
            id: key.id.into(),
            features: key.features.into(),
            owner: owner.clone(),
            digest: key.digest,
            enabled: key.enabled,
            dates: Dates {
                not_before: key.not_before,
                not_after: key.not_after,
            },
        }
    }
}

/// All keys.
#[derive(Debug)]
pub(super) struct Keys {
    keys: Vec<Key>,
    /// Their positions, by the beginnings of their digests.
    index: HashMap<u64, Vec<u32>, BuildHasherDefault<DigestHasher>>,
}

impl Keys {
    pub(super) fn new(keys: Vec<Key>) -> Self {
        let mut index: HashMap<_, Vec<_>, _> =
            HashMap::with_capacity_and_hasher(keys.len(), BuildHasherDefault::new());
        for (at, key) in (0..).zip(&keys) {
            index.entry(key.digest.prefix()).or_default().push(at);
        }
        Self { keys, index }
    }

    /// Compares whole digests in constant time.
    pub(super) fn find(&self, digest: &KeyDigest) -> Option<&Key> {
        let candidates = self.index.get(&digest.prefix())?;
        let mut keys = candidates
            .iter()
            .filter_map(|at| self.keys.get(*at as usize));
        keys.find(|key| key.digest.matches(digest))
    }
}

/// Digests are uniform already: their first bytes are the hash.
#[derive(Debug, Default)]
struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}
