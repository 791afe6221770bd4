//! What may not be in a prompt: personal data, secrets, words. Text in, findings out.
//!
//! Text comes in pieces, cut anywhere, and is looked at once in a small window that moves with it: no copy of a prompt is
//! kept. A finding says which kind of thing was there, never what: nobody downstream could tell it on. Knows no API of the
//! caller's and no request.
//!
//! Only where a moderation endpoint is to be asked a copy of the text is kept, a bounded one.

mod card;
mod email;
mod entity;
mod iban;
mod keywords;
mod moderation;
mod nested;
mod number;
mod pattern;
mod prompt;
mod redact;
mod secret;
mod settled;
mod window;
mod words;

pub use entity::{Entities, Entity};
pub use keywords::Keywords;
pub use moderation::{Criteria, MAX_ANSWER, question};
pub use pattern::{Pattern, PatternError};
pub use prompt::Prompt;
pub use redact::{Out, Redaction, Redactor, redact};
pub use words::Words;

use entity::Extent;
use nested::{Nested, Part};
use pattern::Scan;
use window::Window;

/// What a set of policies looks for, all of it at once.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Kinds that any of them looks for.
    pub entities: Entities,
    /// Lists of words and patterns, each by its place.
    pub words: Vec<Keywords>,
}

impl Search {
    /// Whether nothing is looked for.
    pub const fn is_empty(&self) -> bool {
        self.entities.is_empty() && self.words.is_empty()
    }
}

/// Kinds of what was found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Findings {
    /// Of personal data and secrets.
    pub entities: Entities,
    /// Places of the lists of words and patterns that had one there, in order.
    pub words: Vec<usize>,
}

impl Findings {
    /// Where nothing was found.
    pub const NONE: Self = Self {
        entities: Entities::NONE,
        words: Vec::new(),
    };

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.entities.is_empty() && self.words.is_empty()
    }

    /// Puts all of others in.
    pub fn add(&mut self, other: &Self) {
        self.entities.add(other.entities);
        for list in &other.words {
            self.insert(Kind::Words(*list));
        }
    }

    /// Whether one of them is in both.
    pub fn meets(&self, other: &Self) -> bool {
        let mut words = self.words.iter();
        self.entities.meets(other.entities) || words.any(|list| other.words.contains(list))
    }

    fn insert(&mut self, kind: Kind) {
        match kind {
            Kind::Entity(entity) => self.entities.insert(entity),
            Kind::Words(list) => {
                if let Err(at) = self.words.binary_search(&list) {
                    self.words.insert(at, list);
                }
            }
        }
    }

    fn contains(&self, kind: Kind) -> bool {
        match kind {
            Kind::Entity(entity) => self.entities.contains(entity),
            Kind::Words(list) => self.words.contains(&list),
        }
    }
}

/// What can be found.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Entity(Entity),
    /// One of the words and patterns of the list at this place.
    Words(usize),
}

/// Looks through text.
#[derive(Debug, Default)]
pub struct Screen {
    nested: Nested,
    window: Window,
    scan: Scan,
    findings: Findings,
    /// What is to be known of each text.
    wanted: Findings,
    /// What this text has of that.
    here: Findings,
}

impl Screen {
    /// One that also tells of each text whether it has one of these kinds in it.
    pub fn telling(wanted: Findings) -> Self {
        Self {
            wanted,
            ..Self::default()
        }
    }

    /// Takes the next piece of a text.
    pub fn push(&mut self, search: &Search, piece: &[u8]) {
        if self.nested.is_prose(piece) {
            return self.take(search, Part::plain(piece));
        }
        let mut nested = std::mem::take(&mut self.nested);
        nested.read(piece, &mut |_, part| self.take(search, part));
        self.nested = nested;
    }

    fn take(&mut self, search: &Search, part: Part<'_>) {
        let mut text = part.text;
        while !text.is_empty() {
            text = self.window.take(text);
            if part.quote && text.is_empty() {
                self.scan.cut(search, self.window.text());
            }
            self.look(search, false);
        }
    }

    /// The text is over: what follows is another one, and nothing reaches from one into the other. Whether it had in it
    /// what is to be known of each.
    pub fn end(&mut self, search: &Search) -> bool {
        let mut nested = std::mem::take(&mut self.nested);
        nested.finish(&mut |_, part| self.take(search, part));
        self.look(search, true);
        self.window.clear();
        self.scan.clear();
        let here = std::mem::take(&mut self.here);
        self.findings.add(&here);
        here.meets(&self.wanted)
    }

    /// What all the texts had in them.
    pub fn into_findings(self) -> Findings {
        self.findings
    }

    /// Looks at every place of the window behind which enough is there, or the text's end.
    fn look(&mut self, search: &Search, end: bool) {
        let Self {
            window,
            scan,
            findings,
            wanted,
            here,
            ..
        } = self;
        scan.read(search, window.text(), end);
        let known = findings.entities.without(wanted.entities);
        let held = |_: &[u8], _| false;
        window.each(end, held, |text, at| {
            let missing = search.entities.without(known).without(here.entities);
            visit(search, missing, scan, text, at, &mut |kind, _| {
                here.insert(kind);
            });
        });
        scan.forget(window.seen().len(), window.forget());
    }
}

/// Tells of what begins at a place.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "comes for every byte of every text, and as a rule there is nothing to do"
)]
fn visit(
    search: &Search,
    entities: Entities,
    scan: &Scan,
    text: &[u8],
    at: usize,
    found: &mut dyn FnMut(Kind, Extent),
) {
    if entity::may_begin(text, at) {
        entity::at(text, at, entities, &mut |entity, extent| {
            found(Kind::Entity(entity), extent);
        });
    }
    for (list, words) in search.words.iter().enumerate() {
        if let Some(len) = words.words.at(text, at) {
            found(Kind::Words(list), Extent::of(len));
        }
    }
    if !scan.is_empty() {
        for (list, len) in scan.at(at) {
            found(Kind::Words(list), Extent::of(len));
        }
    }
}

#[cfg(test)]
mod tests;
