//! Header fields as they come in, and the changes that go out.
//!
//! Names are lower case, as Envoy keeps them; values are bytes, because a peer may send anything.

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
    /// Names of fields to put in, and where in `values` each one's value ends.
    set: Vec<(&'static str, usize)>,
    /// One behind the other: an answer gets a dozen of them, and no memory for each.
    values: Vec<u8>,
}

impl HeaderEdits {
    /// With room for so many fields that are put in.
    pub fn with_capacity(fields: usize) -> Self {
        Self {
            remove: Vec::new(),
            set: Vec::with_capacity(fields),
            values: Vec::with_capacity(fields.saturating_mul(16)),
        }
    }

    /// Takes a field out.
    pub fn remove(&mut self, name: &str) {
        if !self.remove.iter().any(|n| n == name) {
            self.remove.push(name.to_owned());
        }
    }

    /// Puts a field in, in place of every value it had.
    pub fn set(&mut self, name: &'static str, value: impl AsRef<[u8]>) {
        self.set_to(name, |text| text.extend_from_slice(value.as_ref()));
    }

    /// The same of a value that is yet to be written, at the end of what is there.
    pub fn set_to(&mut self, name: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.values);
        self.set.push((name, self.values.len()));
    }

    /// The fields to put in, in place of whatever had their names.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &[u8])> + Clone {
        let mut start = 0;
        self.set.iter().map(move |(name, end)| {
            let value = self.values.get(start..*end).unwrap_or_default();
            start = *end;
            (*name, value)
        })
    }
}

/// Whether a value can stand in a header without being read as something else (RFC 9110 5.5, without `obs-text`).
pub fn is_safe_value(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|b| (0x20..0x7f).contains(&b)) && value.trim() == value
}
