//! What is told of a document while it is scanned.

use super::{Container, Scalar, Span, Text};

/// What a [`Scanner`](super::Scanner) reports to. `at` and spans are offsets into the document.
pub trait Sink {
    /// `{` or `[` at this byte.
    fn open(&mut self, container: Container, at: u64) {
        let _ = (container, at);
    }

    /// `}` or `]` at this byte.
    fn close(&mut self, container: Container, at: u64) {
        let _ = (container, at);
    }

    /// A key of the innermost object; the span includes the quotes.
    fn key(&mut self, key: Text<'_>, span: Span) {
        let _ = (key, span);
    }

    /// How much of the string value that comes now is read; the same as long as it goes on.
    fn reads(&self) -> Reads {
        Reads::All
    }

    /// A piece of a string that is a value, unescaped: all of it comes, in as many pieces as it takes, before it comes as a
    /// [`Scalar`].
    fn piece(&mut self, piece: &[u8]) {
        let _ = piece;
    }

    /// A string, number, boolean or null; the span of a string includes the quotes.
    fn scalar(&mut self, value: Scalar<'_>, span: Span) {
        let _ = (value, span);
    }
}

/// Reports to nobody: for validation alone.
impl Sink for () {
    fn reads(&self) -> Reads {
        Reads::Length
    }
}

/// How much of a string value a [`Sink`] reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reads {
    /// Every piece.
    All,
    /// What is captured of it.
    Beginning,
    /// How long it is. No pieces have to come, and its bytes are not to be looked at.
    Length,
}
