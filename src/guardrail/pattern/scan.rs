//! Patterns at work: one pass over a text that comes in pieces.

use super::Pattern;
use crate::guardrail::Search;
use crate::guardrail::words::is_inside;

/// No match is under way.
const NONE: usize = usize::MAX;

/// What a text that goes on has come to.
#[derive(Debug, Default)]
pub(in crate::guardrail) struct Scan {
    /// The text in the window was read up to here.
    at: usize,
    /// For each pattern of each list in turn: for each position where a match began that has come to it.
    states: Vec<State>,
    /// Whether one of them has a match under way.
    live: bool,
    /// Matches by their beginning, of which not all may be visited yet.
    matches: Vec<Match>,
}

#[derive(Debug, Default)]
struct State {
    began: Vec<usize>,
    next: Vec<usize>,
    live: bool,
}

#[derive(Clone, Copy, Debug)]
struct Match {
    start: usize,
    end: usize,
    /// Whose pattern it was: the place of the list.
    list: usize,
}

impl Scan {
    /// Reads on in the text of the window.
    pub(in crate::guardrail) fn read(&mut self, search: &Search, text: &[u8], end: bool) {
        let starts = patterns(search).fold(0, |starts, (_, pattern)| starts | pattern.starts);
        if starts == 0 && patterns(search).next().is_none() {
            return;
        }
        while let Some(rest) = text.get(self.at..) {
            if !self.live {
                // Most characters begin nothing.
                let begins = |byte: &u8| !byte.is_ascii() || starts >> byte & 1 != 0;
                let skipped = rest.iter().position(begins).unwrap_or(rest.len());
                self.at = self.at.saturating_add(skipped);
            }
            let Some((char, len)) = character(text.get(self.at..).unwrap_or_default(), end) else {
                break;
            };
            let behind = self.at.saturating_add(len);
            self.live = false;
            for (place, (list, pattern)) in patterns(search).enumerate() {
                if self.states.len() <= place {
                    self.states.push(State::default());
                }
                let Some(state) = self.states.get_mut(place) else {
                    continue;
                };
                if let Some(start) = state.step(pattern, char, text, (self.at, behind)) {
                    let end = behind;
                    note(&mut self.matches, Match { start, end, list });
                }
                self.live |= state.live;
            }
            self.at = behind;
        }
    }

    /// The text has come to the end of what is read as one: no match reaches over its last byte.
    pub(in crate::guardrail) fn cut(&mut self, search: &Search, text: &[u8]) {
        let last = text.len().saturating_sub(1);
        self.read(search, text.get(..last).unwrap_or_default(), true);
        self.at = text.len();
        self.live = false;
        for state in &mut self.states {
            state.live = false;
        }
    }

    /// Whether all matches that begin at a place are known, whatever follows.
    pub(in crate::guardrail) fn is_settled(&self, at: usize) -> bool {
        let mut live = self.states.iter().filter(|state| state.live);
        self.at > at && !live.any(|state| state.began.contains(&at))
    }

    /// Whether no match is known that is not visited.
    pub(in crate::guardrail) const fn is_empty(&self) -> bool {
        self.matches.is_empty()
    }

    /// The matches that begin at a place: list and length.
    pub(in crate::guardrail) fn at(&self, at: usize) -> impl Iterator<Item = (usize, usize)> {
        let first = self.matches.partition_point(|known| known.start < at);
        let here = self.matches.get(first..).unwrap_or_default().iter();
        let here = here.take_while(move |known| known.start == at);
        here.map(move |known| (known.list, known.end.saturating_sub(at)))
    }

    /// The places before this one were visited, and so many bytes are gone at the beginning.
    pub(in crate::guardrail) fn forget(&mut self, visited: usize, gone: usize) {
        self.matches.retain(|known| known.start >= visited);
        if gone == 0 {
            return;
        }
        self.at = self.at.saturating_sub(gone);
        for known in &mut self.matches {
            known.start = known.start.saturating_sub(gone);
            known.end = known.end.saturating_sub(gone);
        }
        for state in &mut self.states {
            for began in state.began.iter_mut().filter(|began| **began != NONE) {
                *began = began.saturating_sub(gone);
            }
        }
    }

    /// The text is over.
    pub(in crate::guardrail) fn clear(&mut self) {
        self.at = 0;
        self.live = false;
        self.matches.clear();
        for state in &mut self.states {
            state.live = false;
        }
    }
}

impl State {
    /// Takes a character in; where the longest match began that ends with it.
    fn step(
        &mut self,
        pattern: &Pattern,
        char: char,
        text: &[u8],
        (at, behind): (usize, usize),
    ) -> Option<usize> {
        let positions = &pattern.positions;
        if !self.live {
            if char.is_ascii() && pattern.starts >> u32::from(char) & 1 == 0 {
                return None;
            }
            self.began.clear();
            self.began.resize(positions.len(), NONE);
        }
        let (begins, ends) = pattern.bounded;
        let begins = !(begins && is_inside(text, at));
        let ends = !(ends && is_inside(text, behind));
        self.next.clear();
        self.live = false;
        let mut found = NONE;
        for position in positions {
            let mut start = NONE;
            if position.class.has(char) {
                for before in &position.before {
                    let began = self.began.get(usize::from(*before));
                    start = start.min(began.copied().unwrap_or(NONE));
                }
                if position.first && begins {
                    start = start.min(at);
                }
            }
            self.live |= start != NONE;
            if position.last && ends {
                found = found.min(start);
            }
            self.next.push(start);
        }
        std::mem::swap(&mut self.began, &mut self.next);
        (found != NONE).then_some(found)
    }
}

/// All patterns, with the places of their lists.
fn patterns(search: &Search) -> impl Iterator<Item = (usize, &Pattern)> {
    let lists = search.words.iter().enumerate();
    lists.flat_map(|(list, words)| words.patterns.iter().map(move |pattern| (list, pattern)))
}

/// Of what begins at one place in one list, the longest is kept.
fn note(matches: &mut Vec<Match>, new: Match) {
    let key = |known: &Match| (known.start, known.list);
    match matches.binary_search_by_key(&key(&new), key) {
        Ok(place) => {
            if let Some(known) = matches.get_mut(place) {
                known.end = known.end.max(new.end);
            }
        }
        Err(place) => matches.insert(place, new),
    }
}

/// The next character and its length, once what follows it is there too; what is not UTF-8 is read byte by byte.
fn character(text: &[u8], end: bool) -> Option<(char, usize)> {
    let len = match text.first()? {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    if text.len() <= len && !end {
        return None;
    }
    let bytes = text.get(..len).unwrap_or_default();
    let whole = std::str::from_utf8(bytes).ok();
    let char = whole.and_then(|whole| whole.chars().next());
    Some(char.map_or((char::REPLACEMENT_CHARACTER, 1), |char| (char, len)))
}
