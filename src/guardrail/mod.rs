//! What may not be in a prompt: personal data, secrets, words. Text in, findings out.
//!
//! Text comes in pieces, cut anywhere, and is looked at once in a small window that moves with it: no copy of a prompt is
//! kept. A finding says which kind of thing was there, never what: nobody downstream could tell it on. Knows no API and no
//! request.

mod entity;
mod luhn;
mod number;
mod secret;
mod window;
mod words;

pub use entity::{Entities, Entity};
pub use words::Words;

use window::{REACH, Window};

/// What a set of policies looks for, all of it at once.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Kinds that any of them looks for.
    pub entities: Entities,
    /// Lists of words, each by its place.
    pub words: Vec<Words>,
}

impl Search {
    /// Whether nothing is looked for.
    pub const fn is_empty(&self) -> bool {
        self.entities.is_empty() && self.words.is_empty()
    }
}

/// What was found so far.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Findings {
    /// Kinds that were there.
    pub entities: Entities,
    /// Places of the lists of words that had one there, in order.
    pub words: Vec<usize>,
}

impl Findings {
    fn word(&mut self, list: usize) {
        if let Err(at) = self.words.binary_search(&list) {
            self.words.insert(at, list);
        }
    }
}

/// Looks through text.
#[derive(Debug, Default)]
pub struct Screen {
    window: Window,
    findings: Findings,
}

impl Screen {
    /// Takes the next piece of a text.
    pub fn push(&mut self, search: &Search, mut piece: &[u8]) {
        while !piece.is_empty() {
            piece = self.window.take(piece);
            self.look(search, false);
        }
    }

    /// The text is over: what follows is another one, and nothing reaches from one into the other.
    pub fn end(&mut self, search: &Search) {
        self.look(search, true);
        self.window.clear();
    }

    /// What all the texts had in them.
    pub fn into_findings(self) -> Findings {
        self.findings
    }

    /// Looks at every place of the window behind which enough is there, or the text's end.
    fn look(&mut self, search: &Search, end: bool) {
        let Self { window, findings } = self;
        window.each(end, |text, at| {
            // No further than can be seen wherever the text was cut: a finding must not hang on that.
            let text = text.get(..at.saturating_add(REACH)).unwrap_or(text);
            let missing = search.entities.without(findings.entities);
            findings.entities.add(entity::at(text, at, missing));
            for (list, words) in search.words.iter().enumerate() {
                if words.at(text, at) {
                    findings.word(list);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests;
