//! From a request's headers to the digest of the key it carries.

use sha2::{Digest, Sha256};
use std::fmt;

/// The SHA-256 of an API key: the only form in which a key outlives the call that read it.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyDigest(pub [u8; 32]);

impl KeyDigest {
    /// Digests a key as it came over the wire or from a configuration file.
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(…)")
    }
}
