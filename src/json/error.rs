//! What can be wrong with a document, and where.

use super::{Scanner, State};
use std::fmt;

/// Why a document was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct JsonError {
    /// The offset of the byte that could not be.
    pub at: u64,
    /// What was wrong with it.
    pub kind: JsonErrorKind,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.kind.what(), self.at)
    }
}

impl std::error::Error for JsonError {}

/// What can be wrong with a document.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum JsonErrorKind {
    /// A byte order mark; some parsers take it, some do not.
    ByteOrderMark,
    /// A control character inside a string that is not escaped.
    Control,
    /// An escape that JSON does not have.
    Escape,
    /// The document ends too early.
    Incomplete,
    /// Half of a surrogate pair.
    LoneSurrogate,
    /// A zero byte: UTF-16 or UTF-32 most likely.
    Nul,
    /// A number outside the range of a double.
    NumberOutOfRange,
    /// A byte that cannot stand here.
    Syntax,
    /// More than [`super::MAX_DEPTH`] containers inside each other.
    TooDeep,
    /// Something after the document.
    TrailingBytes,
    /// Bytes that are not UTF-8.
    Utf8,
}

impl JsonErrorKind {
    /// For messages.
    pub const fn what(self) -> &'static str {
        match self {
            Self::ByteOrderMark => "byte order mark",
            Self::Control => "unescaped control character in a string",
            Self::Escape => "unknown escape in a string",
            Self::Incomplete => "unexpected end",
            Self::LoneSurrogate => "unpaired surrogate escape",
            Self::Nul => "zero byte (the body must be UTF-8)",
            Self::NumberOutOfRange => "number out of range",
            Self::Syntax => "unexpected byte",
            Self::TooDeep => "nesting deeper than 128 levels",
            Self::TrailingBytes => "bytes after the end of the document",
            Self::Utf8 => "invalid UTF-8",
        }
    }

    pub(super) const fn after(self, used: usize) -> Fault {
        Fault {
            kind: self,
            used,
            back: 0,
        }
    }
}

/// An error, `used` bytes into the step that found it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) kind: JsonErrorKind,
    pub(super) used: usize,
    /// How far before that the cause began, perhaps in an earlier piece.
    pub(super) back: usize,
}

impl Fault {
    pub(super) const fn here(kind: JsonErrorKind) -> Self {
        kind.after(0)
    }

    /// The same, in a step that this is a part of.
    pub(super) const fn behind(self, used: usize) -> Self {
        Self {
            used: self.used.saturating_add(used),
            ..self
        }
    }
}

impl Scanner {
    /// What is wrong with a byte that cannot stand here.
    #[cold]
    pub(super) fn unexpected(&self, byte: u8) -> Fault {
        Fault::here(match (self.state, byte) {
            (State::Done, _) => JsonErrorKind::TrailingBytes,
            (_, 0) => JsonErrorKind::Nul,
            (State::Value, 0xEF | 0xFE | 0xFF) if self.offset == 0 => JsonErrorKind::ByteOrderMark,
            _ => JsonErrorKind::Syntax,
        })
    }

    /// Stays at what is wrong.
    pub(super) fn fail(&mut self, fault: Fault) -> JsonError {
        if let State::Failed(error) = self.state {
            return error;
        }
        let at = self
            .offset
            .saturating_add(fault.used as u64)
            .saturating_sub(fault.back as u64);
        let error = JsonError {
            at,
            kind: fault.kind,
        };
        self.state = State::Failed(error);
        error
    }
}
