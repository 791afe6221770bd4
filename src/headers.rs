//! Header fields as they come in, and the changes that go out.
//!
//! Names are lower case, as Envoy keeps them; values are bytes, because a peer may send anything.

/// The fields of one message, in order. Pseudo-headers (`:path`, `:status`) are among them.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    fields: &'a [(&'a [u8], &'a [u8])],
    /// A bit for each name: most fields that are asked for are not there, and that takes no search.
    names: u64,
}

impl<'a> Headers<'a> {
    /// Wraps the fields in the order in which they stand in the message.
    pub fn new(fields: &'a [(&'a [u8], &'a [u8])]) -> Self {
        let names = fields.iter().fold(0, |bits, (name, _)| bits | bit(name));
        Self { fields, names }
    }

    /// Whether a field of this name came.
    pub fn has(self, name: &[u8]) -> bool {
        self.names & bit(name) != 0 && self.find(name).is_some()
    }

    /// The first value of a field.
    #[expect(clippy::inline_always, reason = "see `bit`")]
    #[inline(always)]
    pub fn first(self, name: &str) -> Option<&'a [u8]> {
        let name = name.as_bytes();
        if self.names & bit(name) == 0 {
            return None;
        }
        self.find(name)
    }

    fn find(self, name: &[u8]) -> Option<&'a [u8]> {
        let mut fields = self.fields.iter();
        fields.find(|(n, _)| *n == name).map(|(_, value)| *value)
    }

    /// Every value of a field that came more than once.
    #[expect(clippy::inline_always, reason = "see `bit`")]
    #[inline(always)]
    pub fn all(self, name: &str) -> Values<'a, '_> {
        let name = name.as_bytes();
        let there = self.names & bit(name) != 0;
        Values {
            fields: if there { self.fields } else { &[] },
            name,
        }
    }

    /// All fields.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.fields.iter().copied()
    }
}

/// The bit that stands for a name. Of what clients of the known APIs send, none has one that we look for in vain.
#[expect(
    clippy::inline_always,
    reason = "most names are constants, of which the compiler works it out"
)]
#[inline(always)]
fn bit(name: &[u8]) -> u64 {
    let [first, .., last] = name else { return 1 };
    let mixed = (name.len().wrapping_mul(5))
        .wrapping_add(usize::from(*first).wrapping_mul(2))
        .wrapping_add(usize::from(*last));
    1 << (mixed & 63)
}

/// The values of a field.
#[derive(Clone, Debug)]
pub struct Values<'a, 'n> {
    fields: &'a [(&'a [u8], &'a [u8])],
    name: &'n [u8],
}

impl<'a> Iterator for Values<'a, '_> {
    type Item = &'a [u8];

    #[expect(
        clippy::inline_always,
        reason = "most fields that are asked for are not there"
    )]
    #[inline(always)]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.fields.is_empty() {
            return None;
        }
        self.search()
    }
}

impl<'a> Values<'a, '_> {
    fn search(&mut self) -> Option<&'a [u8]> {
        let mut fields = self.fields.iter();
        let found = fields.find(|(name, _)| *name == self.name);
        self.fields = fields.as_slice();
        found.map(|(_, value)| *value)
    }
}

/// What to change in a message's header.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HeaderEdits {
    /// In their order, and where in `text` each one's text ends.
    edits: Vec<(Kind, usize)>,
    /// Names to take out and values to put in, one behind the other: a message gets a dozen of them, and no memory for
    /// each.
    text: Vec<u8>,
}

/// What is done, and for what is put in the field's name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Remove,
    Set(&'static str),
}

/// One change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Edit<'a> {
    /// Takes a field out, every value of it.
    Remove(&'a [u8]),
    /// Puts a field in, in place of whatever had its name.
    Set(&'static str, &'a [u8]),
}

impl HeaderEdits {
    /// With room for so many edits.
    pub fn with_capacity(edits: usize) -> Self {
        Self {
            edits: Vec::with_capacity(edits),
            text: Vec::with_capacity(edits.saturating_mul(16)),
        }
    }

    /// Takes a field out.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) {
        let name = name.as_ref();
        if !self.removed().any(|known| known == name) {
            self.text.extend_from_slice(name);
            self.edits.push((Kind::Remove, self.text.len()));
        }
    }

    /// Puts a field in, in place of every value it had.
    pub fn set(&mut self, name: &'static str, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        self.set_to(name, |text| text.extend_from_slice(value));
    }

    /// The same of a value that is yet to be written, at the end of what is there.
    pub fn set_to(&mut self, name: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.text);
        self.edits.push((Kind::Set(name), self.text.len()));
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Edit<'_>> + Clone {
        let mut start = 0;
        self.edits.iter().map(move |(kind, end)| {
            let text = self.text.get(start..*end).unwrap_or_default();
            start = *end;
            match kind {
                Kind::Remove => Edit::Remove(text),
                Kind::Set(name) => Edit::Set(name, text),
            }
        })
    }

    /// The fields to take out.
    pub fn removed(&self) -> impl Iterator<Item = &[u8]> {
        self.iter().filter_map(|edit| match edit {
            Edit::Remove(name) => Some(name),
            Edit::Set(..) => None,
        })
    }

    /// The fields to put in.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &[u8])> + Clone {
        self.iter().filter_map(|edit| match edit {
            Edit::Remove(_) => None,
            Edit::Set(name, value) => Some((name, value)),
        })
    }
}

/// Whether a value can stand in a header without being read as something else (RFC 9110 5.5, without `obs-text`).
pub fn is_safe_value(value: &str) -> bool {
    let bytes = value.as_bytes();
    let at_ends = [bytes.first(), bytes.last()];
    bytes.iter().all(|byte| matches!(byte, b' '..=b'~'))
        && at_ends
            .iter()
            .all(|end| end.is_some_and(|byte| *byte != b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_names_and_no_others_are() {
        let fields: Vec<_> = [("accept", "a"), ("x-a", "1"), ("", "e"), ("x-a", "2")]
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .into();
        let headers = Headers::new(&fields);
        let all = |name| headers.all(name).collect::<Vec<_>>();
        assert_eq!(all("x-a"), [b"1", b"2"]);
        assert_eq!(all(""), [b"e"]);
        assert_eq!(headers.first("accept"), Some(&b"a"[..]));
        // Of the same length and with the same ends, so with the same bit.
        assert_eq!(bit(b"x-a"), bit(b"x_a"));
        assert_eq!(all("x_a"), [] as [&[u8]; 0]);
        assert!(headers.has(b"x-a") && !headers.has(b"x_a") && !headers.has(b"host"));
    }

    #[test]
    fn edits_are_kept_in_their_order_and_apart() {
        let mut edits = HeaderEdits::with_capacity(2);
        edits.set("a", "1");
        edits.remove("b");
        edits.set_to("c", |text| text.extend_from_slice(b"23"));
        edits.remove("b");
        edits.remove("d");
        let fields: Vec<_> = edits.fields().collect();
        assert_eq!(fields, [("a", &b"1"[..]), ("c", b"23")]);
        assert_eq!(edits.removed().collect::<Vec<_>>(), [b"b", b"d"]);
    }
}
