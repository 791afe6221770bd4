//! Regular expressions as they are written: what all engines read alike, and nothing that would need more than one look.

use super::PatternError;
use super::class::Class;

/// Groups in groups.
const MAX_DEPTH: usize = 16;

/// A part of a pattern.
#[derive(Debug)]
pub(super) enum Node {
    Choice(Vec<Self>),
    Class(Class),
    Repeat(Box<Self>, usize, usize),
    Sequence(Vec<Self>),
}

impl Node {
    /// The most bytes that it can match.
    pub(super) fn longest(&self) -> Result<usize, PatternError> {
        let mut longest = 0_usize;
        match self {
            Self::Choice(nodes) => {
                for node in nodes {
                    longest = longest.max(node.longest()?);
                }
            }
            Self::Class(class) => longest = class.longest(),
            Self::Repeat(_, _, usize::MAX) => return Err(PatternError::Unbounded),
            Self::Repeat(node, _, most) => longest = node.longest()?.saturating_mul(*most),
            Self::Sequence(nodes) => {
                for node in nodes {
                    longest = longest.saturating_add(node.longest()?);
                }
            }
        }
        Ok(longest)
    }
}

/// Reads a pattern.
pub(super) struct Parser<'a> {
    rest: &'a str,
    /// Where the end of `rest` is in the source.
    end: usize,
    depth: usize,
}

impl Parser<'_> {
    /// The pattern, and whether it may only begin, and only end, where a word does.
    pub(super) fn parse(source: &str) -> Result<(Node, (bool, bool)), PatternError> {
        // Said of every pattern anyway.
        let rest = source.strip_prefix("(?i)").unwrap_or(source);
        let begins = rest.strip_prefix(r"\b");
        let rest = begins.unwrap_or(rest);
        let ends = rest
            .strip_suffix(r"\b")
            .filter(|rest| !rest.ends_with('\\'));
        let rest = ends.unwrap_or(rest);
        let cut = if ends.is_some() { r"\b".len() } else { 0 };
        let mut parser = Parser {
            rest,
            end: source.len().saturating_sub(cut),
            depth: 0,
        };
        let node = parser.choice()?;
        if !parser.rest.is_empty() {
            return Err(parser.wrong("has a `)` too many"));
        }
        // `\ba|b\b` would be bound at one end of each.
        let bounded = (begins.is_some(), ends.is_some());
        if bounded != (false, false) && matches!(node, Node::Choice(_)) {
            return Err(parser.wrong("needs a group around `|` beside `\\b`"));
        }
        Ok((node, bounded))
    }

    fn choice(&mut self) -> Result<Node, PatternError> {
        let mut nodes = vec![self.sequence()?];
        while self.eat('|') {
            nodes.push(self.sequence()?);
        }
        match nodes.pop() {
            Some(only) if nodes.is_empty() => Ok(only),
            last => {
                nodes.extend(last);
                Ok(Node::Choice(nodes))
            }
        }
    }

    fn sequence(&mut self) -> Result<Node, PatternError> {
        let mut nodes = Vec::new();
        while !self.rest.is_empty() && !self.rest.starts_with(['|', ')']) {
            let node = self.one()?;
            nodes.push(self.repeated(node)?);
        }
        Ok(Node::Sequence(nodes))
    }

    fn one(&mut self) -> Result<Node, PatternError> {
        let before = self.rest;
        let Some(char) = self.next() else {
            return Err(self.wrong("ends too early"));
        };
        let class = match char {
            '(' => return self.group(),
            '[' => self.class()?,
            '.' => Class::any(),
            '\\' => self.escape()?,
            '*' | '+' | '?' | '{' => {
                self.rest = before;
                return Err(
                    self.wrong("has nothing to repeat (a character itself has a `\\` before it)")
                );
            }
            '^' | '$' => {
                self.rest = before;
                return Err(self.wrong(
                    "has `^` or `$`, and a text that arrives in pieces has no lines; `\\b` is where a word begins or ends",
                ));
            }
            char => Class::of(char),
        };
        Ok(Node::Class(class))
    }

    fn group(&mut self) -> Result<Node, PatternError> {
        if self.depth >= MAX_DEPTH {
            return Err(PatternError::Large);
        }
        if self.eat('?') && !self.eat(':') {
            return Err(self.wrong("has a group of a kind that is not known; `(?:…)` is"));
        }
        self.depth = self.depth.saturating_add(1);
        let node = self.choice()?;
        self.depth = self.depth.saturating_sub(1);
        if self.eat(')') {
            Ok(node)
        } else {
            Err(self.wrong("has a `(` too many"))
        }
    }

    /// With how often it may come.
    fn repeated(&mut self, mut node: Node) -> Result<Node, PatternError> {
        loop {
            let (least, most) = match self.rest.chars().next() {
                Some('*') => (0, usize::MAX),
                Some('+') => (1, usize::MAX),
                Some('?') => (0, 1),
                Some('{') => {
                    self.next();
                    let least = self.number();
                    let most = match (least, self.eat(',')) {
                        (least, false) => least,
                        (_, true) if self.rest.starts_with('}') => Some(usize::MAX),
                        (_, true) => self.number(),
                    };
                    let (Some(least), Some(most)) = (least, most) else {
                        return Err(self.wrong("has no number between `{` and `}`"));
                    };
                    if !self.rest.starts_with('}') || least > most {
                        return Err(self.wrong("has a `{…}` that is not `{2}` or `{2,4}`"));
                    }
                    (least, most)
                }
                _ => return Ok(node),
            };
            self.next();
            // Lazy or not: what is found is the longest.
            self.eat('?');
            if most > super::MAX_POSITIONS && most != usize::MAX {
                return Err(PatternError::Large);
            }
            node = Node::Repeat(Box::new(node), least, most);
        }
    }

    /// `[a-z_]`, whose bracket is behind.
    fn class(&mut self) -> Result<Class, PatternError> {
        let mut class = Class::default();
        let inverted = self.eat('^');
        let mut empty = true;
        loop {
            let one = match self.next() {
                None => return Err(self.wrong("has a `[` too many")),
                Some(']') if !empty => break,
                Some('[') => return Err(self.wrong("has a `[` inside of `[…]`: write `\\[`")),
                Some('\\') => match self.escaped()? {
                    Escape::Char(char) => char,
                    Escape::Class(named) => {
                        empty = false;
                        if !class.merge(named) {
                            return Err(self.wrong("has a class that cannot be joined with others"));
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
                        Escape::Class(_) => return Err(self.wrong("has a range without an end")),
                    },
                    last => last.unwrap_or(one),
                };
            }
            if last < one {
                return Err(self.wrong("has a range from high to low"));
            }
            class.add(one, last);
        }
        Ok(if inverted { class.inverted() } else { class })
    }

    fn escape(&mut self) -> Result<Class, PatternError> {
        Ok(match self.escaped()? {
            Escape::Char(char) => Class::of(char),
            Escape::Class(class) => class,
        })
    }

    /// What stands for itself behind a backslash, and what does not.
    fn escaped(&mut self) -> Result<Escape, PatternError> {
        Ok(match self.next() {
            Some('n') => Escape::Char('\n'),
            Some('r') => Escape::Char('\r'),
            Some('t') => Escape::Char('\t'),
            Some('b') => {
                return Err(
                    self.wrong("has a `\\b` inside: it may stand at the beginning and at the end")
                );
            }
            Some(char) if char.is_ascii_punctuation() || char == ' ' => Escape::Char(char),
            Some(char) => match Class::named(char) {
                Some(class) => Escape::Class(class),
                None => return Err(self.wrong("has an escape that is not known")),
            },
            None => return Err(self.wrong("ends with a backslash")),
        })
    }

    fn number(&mut self) -> Option<usize> {
        let digit = |char: char| !char.is_ascii_digit();
        let end = self.rest.find(digit).unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        number.parse().ok().filter(|number| *number < usize::MAX)
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

    fn wrong(&self, what: &'static str) -> PatternError {
        PatternError::Syntax(what, self.end.saturating_sub(self.rest.len()))
    }
}

enum Escape {
    Char(char),
    Class(Class),
}
