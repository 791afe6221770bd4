//! Regular expressions as they are written: what all engines read alike, and nothing that would need more than one look.
//! The automaton comes of it at once: what is repeated is read so many times.

use super::class::Class;
use super::{Pattern, PatternError, Position};

/// Groups in groups.
const MAX_DEPTH: usize = 16;
/// More characters, counted ones each time, are refused…
const MAX_POSITIONS: usize = 256;
/// … and so are more ways from one to another, and more to read.
const MAX_STEPS: usize = 2048;

/// A part of the automaton.
#[derive(Default)]
pub(super) struct Part {
    /// Where it may begin…
    pub(super) first: Vec<u16>,
    /// … and end.
    pub(super) last: Vec<u16>,
    /// Whether it matches the empty text.
    pub(super) empty: bool,
    /// The most bytes that it can match.
    longest: usize,
}

impl Part {
    const NOTHING: Self = Self {
        first: Vec::new(),
        last: Vec::new(),
        empty: true,
        longest: 0,
    };
}

/// Reads a pattern.
pub(super) struct Parser<'a> {
    rest: &'a str,
    depth: usize,
    positions: Vec<Position>,
    steps: usize,
    /// There are alternatives outside of all groups.
    splits: bool,
}

/// Whether a match may only begin, and only end, where a word does.
type Bounded = (bool, bool);

impl Parser<'_> {
    /// The automaton.
    pub(super) fn parse(source: &str) -> Result<(Vec<Position>, Part, Bounded), PatternError> {
        // Said of every pattern anyway.
        let rest = source.strip_prefix("(?i)").unwrap_or(source);
        let begins = rest.strip_prefix(r"\b");
        let rest = begins.unwrap_or(rest);
        let ends = rest
            .strip_suffix(r"\b")
            .filter(|rest| !rest.ends_with('\\'));
        let rest = ends.unwrap_or(rest);
        let mut parser = Parser {
            rest,
            depth: 0,
            positions: Vec::new(),
            steps: 0,
            splits: false,
        };
        let all = parser.choice()?;
        if !parser.rest.is_empty() {
            return Err(PatternError("has a `)` too many"));
        }
        // `\ba|b\b` would be bound at one end of each.
        let bounded = (begins.is_some(), ends.is_some());
        if bounded != (false, false) && parser.splits {
            return Err(PatternError("needs a group around `|` beside `\\b`"));
        }
        Ok((parser.positions, all, bounded))
    }

    fn choice(&mut self) -> Result<Part, PatternError> {
        let mut all = self.sequence()?;
        while self.eat('|') {
            self.splits |= self.depth == 0;
            let one = self.sequence()?;
            all.first.extend(one.first);
            all.last.extend(one.last);
            all.empty |= one.empty;
            all.longest = all.longest.max(one.longest);
        }
        Ok(all)
    }

    fn sequence(&mut self) -> Result<Part, PatternError> {
        let mut all = Part::NOTHING;
        while !self.rest.is_empty() && !self.rest.starts_with(['|', ')']) {
            let start = self.rest;
            let one = self.one()?;
            let (least, most) = self.times()?;
            let behind = self.rest;
            // `a{2,4}` is `aa(a(a)?)?`: from each there is one way on.
            let mut one = Some(one);
            let mut part = Part::NOTHING;
            for count in (0..most).rev() {
                let next = if let Some(one) = one.take() {
                    one
                } else {
                    self.rest = start;
                    self.one()?
                };
                part = self.join(next, part)?;
                part.empty |= count >= least;
            }
            self.rest = behind;
            all = self.join(all, part)?;
        }
        Ok(all)
    }

    fn join(&mut self, one: Part, next: Part) -> Result<Part, PatternError> {
        for to in &next.first {
            let Some(position) = self.positions.get_mut(usize::from(*to)) else {
                continue;
            };
            for from in &one.last {
                if !position.before.contains(from) {
                    position.before.push(*from);
                    self.steps = self.steps.saturating_add(1);
                }
            }
        }
        let mut all = Part {
            first: one.first,
            last: next.last,
            empty: one.empty && next.empty,
            longest: one.longest.saturating_add(next.longest),
        };
        if one.empty {
            all.first.extend(next.first);
        }
        if next.empty {
            all.last.extend(one.last);
        }
        if all.longest > Pattern::MAX {
            Err(PatternError::LONG)
        } else if self.steps > MAX_STEPS {
            Err(PatternError::LARGE)
        } else {
            Ok(all)
        }
    }

    /// A character, a set of them, or a group.
    fn one(&mut self) -> Result<Part, PatternError> {
        self.steps = self.steps.saturating_add(1);
        let class = match self.next() {
            Some('(') => return self.group(),
            Some('[') => self.class()?,
            Some('.') => Class::any(),
            Some('\\') => match self.escaped()? {
                Escape::Char(char) => Class::of(char),
                Escape::Class(class) => class,
            },
            Some('*' | '+' | '?' | '{') => {
                return Err(PatternError(
                    "has nothing to repeat (a character itself has a `\\` before it)",
                ));
            }
            Some('^' | '$') => {
                return Err(PatternError(
                    "has `^` or `$`, and a text that arrives in pieces has no lines; `\\b` is where a word begins or ends",
                ));
            }
            Some(char) => Class::of(char),
            None => return Ok(Part::NOTHING),
        };
        let at = vec![u16::try_from(self.positions.len()).unwrap_or(u16::MAX)];
        let longest = class.longest();
        self.positions.push(Position {
            class,
            before: Vec::new(),
            first: false,
            last: false,
        });
        if self.positions.len() > MAX_POSITIONS {
            return Err(PatternError::LARGE);
        }
        Ok(Part {
            first: at.clone(),
            last: at,
            empty: false,
            longest,
        })
    }

    fn group(&mut self) -> Result<Part, PatternError> {
        if self.depth >= MAX_DEPTH {
            return Err(PatternError::LARGE);
        }
        if self.eat('?') && !self.eat(':') {
            return Err(PatternError(
                "has a group of a kind that is not known; `(?:…)` is",
            ));
        }
        self.depth = self.depth.saturating_add(1);
        let part = self.choice()?;
        self.depth = self.depth.saturating_sub(1);
        if self.eat(')') {
            Ok(part)
        } else {
            Err(PatternError("has a `(` too many"))
        }
    }

    /// How often what was read may come.
    fn times(&mut self) -> Result<(usize, usize), PatternError> {
        let (least, most) = if self.eat('?') {
            (0, 1)
        } else if self.eat('{') {
            let least = self.number();
            let most = if self.eat(',') {
                if self.rest.starts_with('}') {
                    return Err(PatternError::UNBOUNDED);
                }
                self.number()
            } else {
                least
            };
            match (least, most) {
                (Some(least), Some(most)) if least <= most && self.eat('}') => (least, most),
                _ => return Err(PatternError("has a `{…}` that is not `{2}` or `{2,4}`")),
            }
        } else if self.rest.starts_with(['*', '+']) {
            return Err(PatternError::UNBOUNDED);
        } else {
            return Ok((1, 1));
        };
        // Lazy or not: what is found is the longest.
        self.eat('?');
        Ok((least, most))
    }

    /// `[a-z_]`, whose bracket is behind.
    fn class(&mut self) -> Result<Class, PatternError> {
        let mut class = Class::default();
        let inverted = self.eat('^');
        let mut empty = true;
        loop {
            let one = match self.next() {
                None => return Err(PatternError("has a `[` too many")),
                Some(']') if !empty => break,
                Some('[') => return Err(PatternError("has a `[` inside of `[…]`: write `\\[`")),
                Some('\\') => match self.escaped()? {
                    Escape::Char(char) => char,
                    Escape::Class(named) => {
                        empty = false;
                        if !class.merge(named) {
                            return Err(PatternError(
                                "has a class that cannot be joined with others",
                            ));
                        }
                        continue;
                    }
                },
                Some(char) => char,
            };
            empty = false;
            let mut last = one;
            let mut ahead = self.rest.chars();
            if ahead.next() == Some('-') && ahead.next().is_some_and(|char| char != ']') {
                self.next();
                last = match self.next() {
                    Some('\\') => match self.escaped()? {
                        Escape::Char(char) => char,
                        Escape::Class(_) => return Err(PatternError("has a range without an end")),
                    },
                    last => last.unwrap_or(one),
                };
            }
            if last < one {
                return Err(PatternError("has a range from high to low"));
            }
            class.add(one, last);
        }
        Ok(if inverted { class.inverted() } else { class })
    }

    /// What stands for itself behind a backslash, and what does not.
    fn escaped(&mut self) -> Result<Escape, PatternError> {
        Ok(match self.next() {
            Some('n') => Escape::Char('\n'),
            Some('r') => Escape::Char('\r'),
            Some('t') => Escape::Char('\t'),
            Some('b') => {
                return Err(PatternError(
                    "has a `\\b` inside: it may stand at the beginning and at the end",
                ));
            }
            Some(char) if char.is_ascii_punctuation() || char == ' ' => Escape::Char(char),
            Some(char) => match Class::named(char) {
                Some(class) => Escape::Class(class),
                None => return Err(PatternError("has an escape that is not known")),
            },
            None => return Err(PatternError("ends with a backslash")),
        })
    }

    fn number(&mut self) -> Option<usize> {
        let digit = |char: char| !char.is_ascii_digit();
        let end = self.rest.find(digit).unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        number.parse().ok()
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let char = chars.next();
        self.rest = chars.as_str();
        char
    }

    fn eat(&mut self, wanted: char) -> bool {
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

enum Escape {
    Char(char),
    Class(Class),
}
