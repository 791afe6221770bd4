//! Patterns of text: regular expressions that match so many bytes at most, in time that grows with the text alone.
//!
//! A pattern becomes an automaton of positions (Glushkov's): each stands for a character of the pattern, and knows which
//! may come before it. The text goes through once, character by character, cut anywhere; for every position that the text
//! may have come to it is known where the match would have begun, so that nothing is ever looked at twice. A library's
//! engine wants the whole text at once, and is several times as large.

mod class;
mod parse;
mod scan;

use self::class::Class;
use self::parse::Parser;
pub(super) use self::scan::Scan;
use super::words::Words;
use std::fmt;

/// A regular expression of bounded length, whatever the case of ASCII letters.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: Box<str>,
    positions: Vec<Position>,
    /// The characters of ASCII that a match begins with.
    starts: u128,
    /// Whether it may only begin, and only end, where a word does.
    bounded: (bool, bool),
}

/// Of a match.
#[derive(Clone, Debug)]
struct Position {
    class: Class,
    /// The positions that may come before it.
    before: Vec<u16>,
    first: bool,
    last: bool,
}

/// Why a pattern is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PatternError(&'static str);

impl PatternError {
    const EMPTY: Self = Self("matches the empty text, which is everywhere");
    const LARGE: Self = Self("is too large: counted repetitions count each time");
    /// [`Pattern::MAX`]
    const LONG: Self = Self("can match more than 156 bytes");
    const UNBOUNDED: Self =
        Self("can match text of any length: say how much at most, like `{1,20}`");
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Pattern {
    /// The longest match, in bytes.
    pub const MAX: usize = Words::MAX;

    /// From a regular expression.
    pub fn new(source: &str) -> Result<Self, PatternError> {
        let (mut positions, all, bounded) = Parser::parse(source)?;
        if all.empty {
            return Err(PatternError::EMPTY);
        }
        let mut starts = 0;
        for (at, position) in (0..).zip(&mut positions) {
            position.first = all.first.contains(&at);
            position.last = all.last.contains(&at);
            if position.first {
                starts |= position.class.ascii();
            }
        }
        Ok(Self {
            source: source.into(),
            positions,
            starts,
            bounded,
        })
    }

    /// As it was written.
    pub(super) fn source(&self) -> &str {
        &self.source
    }
}

#[cfg(test)]
mod tests;
