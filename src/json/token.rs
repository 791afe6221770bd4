//! What the scanner hands to its sink, and the bounded buffer a string or number is gathered in.

use super::CAPTURE;
use super::path::{MAX_KEY, fold};
use super::string::unescaped;

/// What holds other values.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Container {
    /// `[…]`
    Array,
    /// `{…}`
    Object,
}

/// A value without parts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// `true`, `false`
    Bool(bool),
    /// `null`
    Null,
    /// As written.
    Number(Text<'a>),
    /// Unescaped.
    String(Text<'a>),
}

/// The text of a string, unescaped, or of a number, as written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Text<'a> {
    /// The first [`CAPTURE`] bytes. Valid UTF-8 if `whole`; else the last character may be cut.
    pub bytes: &'a [u8],
    /// Whether `bytes` is all of it.
    pub whole: bool,
    /// The length in bytes of all of it.
    pub len: u64,
}

impl<'a> Text<'a> {
    /// The text, if all of it was captured.
    pub fn as_str(&self) -> Option<&'a str> {
        if !self.whole {
            return None;
        }
        std::str::from_utf8(self.bytes).ok()
    }

    /// All of the text, out of the document that it stands in.
    pub fn complete(&self, document: &[u8], span: Span) -> String {
        self.as_str()
            .map_or_else(|| unescaped(span.of(document)), str::to_owned)
    }

    /// Whether this is exactly `text`.
    pub fn is(&self, text: &str) -> bool {
        self.whole && self.bytes == text.as_bytes()
    }

    /// The text in lower case as the laxest reader folds it, if it is short enough to be a known key.
    pub fn folded(&self) -> Option<String> {
        let mut buffer = [0; MAX_KEY];
        let folded = std::str::from_utf8(fold(*self, &mut buffer)?).ok()?;
        Some(folded.to_ascii_lowercase())
    }
}

/// Where a token is in the document: from `start` up to but not including `end`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Span {
    /// The first byte.
    pub start: u64,
    /// The byte after the last.
    pub end: u64,
}

impl Span {
    /// What a string or a number says that stands there in a document; the scanner has accepted it.
    pub fn says(self, document: &[u8]) -> String {
        let text = self.of(document);
        if text.starts_with('"') {
            unescaped(text)
        } else {
            text.to_owned()
        }
    }

    /// What stands there in a document; nothing if the document ends before, or is not UTF-8.
    pub fn of(self, document: &[u8]) -> &str {
        std::str::from_utf8(self.bytes_of(document)).unwrap_or_default()
    }

    /// The bytes that stand there in a document; none if the document ends before.
    pub fn bytes_of(self, document: &[u8]) -> &[u8] {
        let bounds =
            usize::try_from(self.start).and_then(|start| Ok(start..usize::try_from(self.end)?));
        let bytes = bounds.ok().and_then(|bounds| document.get(bounds));
        bytes.unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Literal {
    False,
    Null,
    True,
}

impl Literal {
    /// Of `t`, `f` and `n`.
    pub(super) const fn beginning_with(first: u8) -> Self {
        match first {
            b't' => Self::True,
            b'f' => Self::False,
            _ => Self::Null,
        }
    }

    pub(super) const fn text(self) -> &'static [u8] {
        match self {
            Self::False => b"false",
            Self::Null => b"null",
            Self::True => b"true",
        }
    }

    pub(super) const fn scalar(self) -> Scalar<'static> {
        match self {
            Self::False => Scalar::Bool(false),
            Self::Null => Scalar::Null,
            Self::True => Scalar::Bool(true),
        }
    }
}

/// The beginning of the string or number being read.
#[derive(Debug)]
pub(super) struct Token {
    /// At most [`CAPTURE`] of them. Most tokens are read where they stand, and in most documents all of them are.
    bytes: Vec<u8>,
    pub(super) len: u64,
}

impl Token {
    pub(super) const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            len: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.len = 0;
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.len = self.len.saturating_add(bytes.len() as u64);
        // Most of a long text comes when there is no room left.
        if self.is_full() {
            return;
        }
        let room = CAPTURE.saturating_sub(self.bytes.len());
        self.bytes.reserve_exact(room);
        self.bytes
            .extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    /// There is no room left.
    pub(super) const fn is_full(&self) -> bool {
        self.bytes.len() == CAPTURE
    }

    /// What comes of it is of no use, but for its length.
    pub(super) fn skip(&mut self, len: usize) {
        self.len = self.len.saturating_add(len as u64);
    }

    pub(super) fn text(&self) -> Text<'_> {
        Text {
            bytes: &self.bytes,
            whole: self.bytes.len() as u64 == self.len,
            len: self.len,
        }
    }
}
