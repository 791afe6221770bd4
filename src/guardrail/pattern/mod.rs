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
use self::parse::{Node, Parser};
pub(super) use self::scan::Scan;
use super::words::Words;
use std::fmt;

/// More characters, counted ones each time, are refused…
const MAX_POSITIONS: usize = 256;
/// … and so are more ways from one to another.
const MAX_WAYS: usize = 4096;

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
pub enum PatternError {
    /// It matches the empty text, which is everywhere.
    Empty,
    /// It is too large.
    Large,
    /// It matches more than [`Pattern::MAX`] bytes.
    Long,
    /// What is wrong, and at which byte.
    Syntax(&'static str, usize),
    /// It matches text of any length.
    Unbounded,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("matches the empty text, which is everywhere"),
            Self::Large => f.write_str("is too large: counted repetitions count each time"),
            Self::Long => write!(f, "can match more than {} bytes", Pattern::MAX),
            Self::Syntax(what, at) => write!(f, "{what}, at byte {at}"),
            Self::Unbounded => {
                f.write_str("can match text of any length: say how much at most, like `{1,20}`")
            }
        }
    }
}

impl Pattern {
    /// The longest match, in bytes.
    pub const MAX: usize = Words::MAX;

    /// From a regular expression.
    pub fn new(source: &str) -> Result<Self, PatternError> {
        let (node, bounded) = Parser::parse(source)?;
        if node.longest()? > Self::MAX {
            return Err(PatternError::Long);
        }
        let mut builder = Builder::default();
        let all = builder.add(&node)?;
        if all.empty {
            return Err(PatternError::Empty);
        }
        let mut positions = builder.positions;
        let mut starts = 0;
        for at in all.first {
            if let Some(position) = positions.get_mut(usize::from(at)) {
                position.first = true;
                starts |= position.class.ascii();
            }
        }
        for at in all.last {
            if let Some(position) = positions.get_mut(usize::from(at)) {
                position.last = true;
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

/// A part of the automaton.
#[derive(Default)]
struct Part {
    first: Vec<u16>,
    last: Vec<u16>,
    /// Whether it matches the empty text.
    empty: bool,
}

#[derive(Default)]
struct Builder {
    positions: Vec<Position>,
    ways: usize,
}

impl Builder {
    fn add(&mut self, node: &Node) -> Result<Part, PatternError> {
        match node {
            Node::Class(class) => {
                let at = u16::try_from(self.positions.len()).unwrap_or(u16::MAX);
                if self.positions.len() >= MAX_POSITIONS {
                    return Err(PatternError::Large);
                }
                self.positions.push(Position {
                    class: class.clone(),
                    before: Vec::new(),
                    first: false,
                    last: false,
                });
                Ok(Part {
                    first: vec![at],
                    last: vec![at],
                    empty: false,
                })
            }
            Node::Sequence(nodes) => {
                let mut all = Part::nothing();
                for node in nodes {
                    let next = self.add(node)?;
                    all = self.join(all, next)?;
                }
                Ok(all)
            }
            Node::Choice(nodes) => {
                let mut all = Part::default();
                for node in nodes {
                    let one = self.add(node)?;
                    all.first.extend(one.first);
                    all.last.extend(one.last);
                    all.empty |= one.empty;
                }
                Ok(all)
            }
            Node::Repeat(node, least, most) => {
                // `a{2,4}` is `aa(a(a)?)?`: from each there is one way on.
                let mut all = Part::nothing();
                for count in (0..*most).rev() {
                    let one = self.add(node)?;
                    all = self.join(one, all)?;
                    all.empty |= count >= *least;
                }
                Ok(all)
            }
        }
    }

    fn join(&mut self, one: Part, next: Part) -> Result<Part, PatternError> {
        for to in &next.first {
            let Some(position) = self.positions.get_mut(usize::from(*to)) else {
                continue;
            };
            for from in &one.last {
                if !position.before.contains(from) {
                    position.before.push(*from);
                    self.ways = self.ways.saturating_add(1);
                }
            }
            if self.ways > MAX_WAYS {
                return Err(PatternError::Large);
            }
        }
        let mut all = Part {
            first: one.first,
            last: next.last,
            empty: one.empty && next.empty,
        };
        if one.empty {
            all.first.extend(next.first);
        }
        if next.empty {
            all.last.extend(one.last);
        }
        Ok(all)
    }
}

impl Part {
    fn nothing() -> Self {
        Self {
            empty: true,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests;
