//! From a request's headers to the digest of the key it carries.
//!
//! The key itself never leaves this module; what goes on is its digest, and the changes that take every trace of
//! it out of the request. Knows no group and no policy.

use crate::headers::{HeaderEdits, Headers};
use memchr::memchr;
use sha2::{Digest, Sha256};
use std::fmt;

/// The header fields in which the SDKs of the known APIs send their key.
pub const DEFAULT_HEADERS: [&str; 5] = [
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "apikey",
];

/// What browsers prefix their key with in `Sec-WebSocket-Protocol` (OpenAI's realtime reference).
const WEBSOCKET_PREFIX: &str = "openai-insecure-api-key.";

/// The SHA-256 of an API key: the only form in which a key outlives the call that read it.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyDigest(pub [u8; 32]);

impl KeyDigest {
    /// Digests a key as it came over the wire or from a configuration file.
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Compares without telling by its time how much was equal.
    pub fn matches(&self, other: &Self) -> bool {
        let [a, b] = [self, other].map(|digest| digest.0.as_chunks::<8>().0);
        let pairs = a.iter().zip(b);
        let difference = pairs.fold(0, |difference, (a, b)| {
            difference | (u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b))
        });
        std::hint::black_box(difference) == 0
    }

    /// The first eight bytes, for hash lookup.
    pub fn prefix(&self) -> u64 {
        self.0.first_chunk().copied().map_or(0, u64::from_le_bytes)
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(…)")
    }
}

/// What a request presents itself with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Credential {
    /// Two different keys.
    Ambiguous,
    /// One key, perhaps in several places.
    Key(KeyDigest),
    /// No key.
    Missing,
}

impl Credential {
    /// Finds the key of a request, and notes in `edits` what takes it out of the request again.
    pub fn take(headers: Headers<'_>, names: &[String], edits: &mut HeaderEdits) -> Self {
        let mut found = Self::Missing;
        for name in names {
            for value in headers.all(name) {
                edits.remove(name);
                if name == "authorization" {
                    found.add_authorization(value);
                } else {
                    found.add(Some(value.trim_ascii()));
                }
            }
        }
        if let Some(target) = headers.first(":path")
            && let Some(stripped) = take_query_key(target, &mut found)
        {
            edits.set(":path", stripped);
        }
        for value in headers.all("sec-websocket-protocol") {
            if let Some(stripped) = take_websocket_key(value, &mut found) {
                if stripped.is_empty() {
                    edits.remove("sec-websocket-protocol");
                } else {
                    edits.set("sec-websocket-protocol", stripped);
                }
            }
        }
        found
    }

    /// Envoy joins several `Authorization` fields with commas, as RFC 9110 5.3 has it for lists. A key that holds a comma
    /// is still one: all that is between the commas must be a credential of its own to count as such.
    fn add_authorization(&mut self, value: &[u8]) {
        if memchr(b',', value).is_none() {
            return self.add(bearer(value));
        }
        let fields = value.split(|byte| *byte == b',');
        if fields.clone().all(|field| bearer(field).is_some()) {
            fields.for_each(|field| self.add(bearer(field)));
        } else {
            self.add(bearer(value));
        }
    }

    fn add(&mut self, key: Option<&[u8]>) {
        let Some(key) = key.filter(|key| !key.is_empty()) else {
            return;
        };
        let digest = KeyDigest::of(key);
        *self = match self {
            Self::Missing => Self::Key(digest),
            Self::Key(other) if other.matches(&digest) => return,
            _ => Self::Ambiguous,
        };
    }
}

/// The token of `Authorization: Bearer TOKEN`; the scheme is case-insensitive (RFC 9110 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    // In lower case letters have this bit; of what is none of them nothing becomes one of these.
    const LETTERS: u64 = u64::from_le_bytes(*b"      \0\0");
    let (scheme, token) = value.trim_ascii().split_at_checked(6)?;
    let [b, e, a, r, e2, r2] = *scheme.first_chunk()?;
    let scheme = u64::from_le_bytes([b, e, a, r, e2, r2, 0, 0]) | LETTERS;
    let is_bearer = scheme == u64::from_le_bytes(*b"bearer\0\0");
    let (space, _) = token.split_first()?;
    (is_bearer && space.is_ascii_whitespace()).then(|| token.trim_ascii())
}

/// Takes `key=…` (Google's APIs) out of a request target; `None` when there is none.
fn take_query_key(target: &[u8], found: &mut Credential) -> Option<Vec<u8>> {
    let question_mark = memchr(b'?', target)?;
    let (path, query) = target.split_at(question_mark);
    let mut kept = path.to_vec();
    let mut taken = false;
    let mut separator = b'?';
    for pair in query.get(1..)?.split(|b| *b == b'&') {
        let (name, value) = match pair.iter().position(|b| *b == b'=') {
            Some(at) => (pair.get(..at)?, pair.get(at.saturating_add(1)..)?),
            None => (pair, &b""[..]),
        };
        if percent_decoded(name) == b"key" {
            taken = true;
            found.add(Some(&percent_decoded(value)));
        } else {
            kept.push(separator);
            kept.extend_from_slice(pair);
            separator = b'&';
        }
    }
    taken.then_some(kept)
}

/// As the receivers of a query read it: `+` is a space, and an escape that is none stands for itself.
fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        decoded.push(match (byte, tail) {
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    rest = after;
                    high << 4 | low
                }
                _ => b'%',
            },
            (b'+', _) => b' ',
            (byte, _) => *byte,
        });
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// Takes the key out of the list of sub-protocols; `None` when there is none.
fn take_websocket_key(value: &[u8], found: &mut Credential) -> Option<Vec<u8>> {
    let mut kept = Vec::with_capacity(value.len());
    let mut taken = false;
    for item in value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
        if let Some(key) = item.strip_prefix(WEBSOCKET_PREFIX.as_bytes()) {
            taken = true;
            found.add(Some(key));
        } else {
            if !kept.is_empty() {
                kept.extend_from_slice(b", ");
            }
            kept.extend_from_slice(item);
        }
    }
    taken.then_some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(fields: &[(&str, &str)]) -> (Credential, HeaderEdits) {
        let fields: Vec<_> = fields
            .iter()
            .map(|(n, v)| (n.as_bytes(), v.as_bytes()))
            .collect();
        let names: Vec<_> = DEFAULT_HEADERS.iter().map(|n| (*n).to_owned()).collect();
        let mut edits = HeaderEdits::default();
        let credential = Credential::take(Headers::new(&fields), &names, &mut edits);
        (credential, edits)
    }

    fn key(text: &str) -> Credential {
        Credential::Key(KeyDigest::of(text.as_bytes()))
    }

    #[test]
    fn keys_are_found_wherever_the_sdks_put_them() {
        let cases = [
            (&[("authorization", "Bearer k1")][..], key("k1")),
            (&[("authorization", "bEaReR   k1 ")], key("k1")),
            (&[("authorization", "Bearerk1")], Credential::Missing),
            (&[("authorization", "Basic azE=")], Credential::Missing),
            (&[("authorization", "Bearer ")], Credential::Missing),
            (&[("authorization", "Bearer k1,Bearer k1")], key("k1")),
            (
                &[("authorization", "Bearer k1, bearer k2")],
                Credential::Ambiguous,
            ),
            (&[("authorization", "Bearer k,1")], key("k,1")),
            (&[("x-api-key", "k1")], key("k1")),
            (&[("api-key", "k1"), ("x-api-key", "k1")], key("k1")),
            (
                &[("x-goog-api-key", "k1"), ("authorization", "Bearer k1")],
                key("k1"),
            ),
            (
                &[("apikey", "k1"), ("authorization", "Bearer k2")],
                Credential::Ambiguous,
            ),
            (
                &[("x-api-key", "k1"), ("x-api-key", "k2"), ("apikey", "k1")],
                Credential::Ambiguous,
            ),
            (
                &[(":path", "/v1beta/models/m:generateContent?key=k%31&alt=sse")],
                key("k1"),
            ),
            (&[(":path", "/x?%6Bey=k1")], key("k1")),
            (&[(":path", "/x?key=k1&key=k2")], Credential::Ambiguous),
            (
                &[(":path", "/x?monkey=k1"), ("host", "k1")],
                Credential::Missing,
            ),
            (
                &[(
                    "sec-websocket-protocol",
                    "realtime, openai-insecure-api-key.k1",
                )],
                key("k1"),
            ),
        ];
        for (fields, expected) in cases {
            assert_eq!(take(fields).0, expected, "{fields:?}");
        }
    }

    #[test]
    fn every_trace_of_the_key_is_taken_out() {
        let (_, edits) = take(&[
            (":path", "/v1/x?a=1&key=k1&b=2"),
            ("authorization", "Basic azE="),
            ("x-api-key", "k1"),
            (
                "sec-websocket-protocol",
                "realtime, openai-insecure-api-key.k1, beta",
            ),
        ]);
        assert!(edits.removed().eq([&b"authorization"[..], b"x-api-key"]));
        let set: Vec<_> = edits.fields().collect();
        let expected: [(_, &[u8]); 2] = [
            (":path", b"/v1/x?a=1&b=2"),
            ("sec-websocket-protocol", b"realtime, beta"),
        ];
        assert_eq!(set, expected);
        let (_, edits) = take(&[(":path", "/v1/x?key=k1")]);
        let set: Vec<_> = edits.fields().collect();
        assert_eq!(set, [(":path", &b"/v1/x"[..])]);
        let (_, edits) = take(&[("sec-websocket-protocol", "openai-insecure-api-key.k")]);
        assert!(edits.removed().eq([b"sec-websocket-protocol"]));
    }

    #[test]
    fn digests_do_not_print() {
        assert_eq!(format!("{:?}", KeyDigest::of(b"k1")), "KeyDigest(…)");
        assert!(KeyDigest::of(b"k1").matches(&KeyDigest::of(b"k1")));
        assert!(!KeyDigest::of(b"k1").matches(&KeyDigest::of(b"k2")));
    }
}
