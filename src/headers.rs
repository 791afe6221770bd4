//! Header fields as they come in, and the changes that go out.
//!
//! Names are lower case, as Envoy keeps them; values are bytes, because a peer may send anything.

use std::borrow::Cow;

/// The fields of one message, in order. Pseudo-headers (`:path`, `:status`) are among them.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a>(&'a [(&'a [u8], &'a [u8])]);

impl<'a> Headers<'a> {
    /// Wraps the fields in the order in which they stand in the message.
    pub const fn new(fields: &'a [(&'a [u8], &'a [u8])]) -> Self {
        Self(fields)
    }

    /// The first value of a field.
    pub fn first(self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// Every value of a field that came more than once.
    pub fn all(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(move |(n, _)| *n == name.as_bytes())
            .map(|(_, value)| value)
    }

    /// All fields.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.0.iter().copied()
    }
}

/// What to change in a message's header.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HeaderEdits {
    /// Fields to take out, every value of them.
    pub remove: Vec<String>,
    /// Fields to put in, in place of whatever had the name.
    pub set: Vec<(Cow<'static, str>, Vec<u8>)>,
}

impl HeaderEdits {
    /// Takes a field out.
    pub fn remove(&mut self, name: &str) {
        if !self.remove.iter().any(|n| n == name) {
            self.remove.push(name.to_owned());
        }
    }

    /// Puts a field in, in place of every value it had.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Vec<u8>>) {
        self.set.push((name.into(), value.into()));
    }
}

/// Whether a value can stand in a header without being read as something else (RFC 9110 5.5, without `obs-text`).
pub fn is_safe_value(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|b| (0x20..0x7f).contains(&b)) && value.trim() == value
}
