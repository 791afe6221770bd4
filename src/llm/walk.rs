//! One walk over the tokens of a document, from place to place: the counts, the length of its text, and what else it says.

use super::place::Place;
use super::shape::{Hole, HoleKind, MAX_HOLES};
use super::usage::{Counts, UsageFormat};
use crate::json::{Container, Reads, Scalar, Sink, Span, Text};

/// The `type` of what ends a stream of Responses, of Anthropic, of Cohere.
const LAST: [&str; 5] = [
    "response.completed",
    "response.incomplete",
    "response.failed",
    "message_stop",
    "message-end",
];

/// How far a stream is, by its own account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// In a document that says that it is the last.
    Last,
    /// Before it.
    Open,
    /// Behind it.
    Over,
}

/// No count and no text of interest is deeper.
const DEPTH: usize = 10;

/// What the walk has come by: of the answer its counts, of the document the rest.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) counts: Counts,
    /// Length of the document's text.
    pub(super) text: u64,
    pub(super) error: bool,
    pub(super) list: bool,
    pub(super) end: End,
    pub(super) chunk: Chunk,
    pub(super) wrapped: Option<Span>,
    /// The document says nothing but text and counts so far.
    pub(super) ordinary: bool,
    /// Its values that could be others without saying more.
    pub(super) holes: Vec<Hole>,
    /// How many containers are open.
    depth: usize,
    /// The place of the current value, behind those of the containers around it.
    places: [Place; DEPTH],
}

/// What a chunk of a chat stream has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chunk {
    /// `choices`, with or without any.
    pub(super) choices: bool,
    /// A `usage` that is not null.
    pub(super) usage: bool,
    /// A choice, or anything else that is not bookkeeping.
    pub(super) other: bool,
}

impl Chunk {
    pub(super) const NONE: Self = Self {
        choices: false,
        usage: false,
        other: false,
    };
}

impl Walk {
    /// At the beginning of an answer of which nothing counts.
    pub(super) const NEW: Self = Self {
        counts: Counts::new(UsageFormat::None),
        text: 0,
        error: false,
        list: false,
        end: End::Open,
        chunk: Chunk::NONE,
        wrapped: None,
        ordinary: true,
        holes: Vec::new(),
        depth: 0,
        places: [Place::Root(UsageFormat::None); DEPTH],
    };

    /// Has what counts in this format count.
    pub(super) fn expect(&mut self, format: UsageFormat) {
        self.counts.format = format;
        if let Some(root) = self.places.first_mut() {
            *root = Place::Root(format);
        }
    }

    /// At the beginning of a document.
    pub(super) fn begin(&mut self) {
        if self.end == End::Last {
            self.end = End::Over;
        }
        self.text = 0;
        self.chunk = Chunk::default();
        self.wrapped = None;
        self.ordinary = true;
        self.holes.clear();
        self.depth = 0;
    }

    /// The place of the current value.
    pub(super) fn place(&self) -> Place {
        self.at(self.depth)
    }

    /// The place at a depth. What is too deep is what is around it.
    fn at(&self, depth: usize) -> Place {
        self.places
            .get(depth)
            .or_else(|| self.places.last())
            .copied()
            .unwrap_or(Place::Other)
    }

    fn set_place(&mut self, place: Place) {
        if let Some(current) = self.places.get_mut(self.depth) {
            *current = place;
        }
    }

    /// A value other than null begins.
    fn value(&mut self) -> Place {
        let place = self.place();
        match (self.depth, place) {
            (1, Place::Usage) => self.chunk.usage = true,
            (1, Place::Choices) => self.chunk.choices = true,
            (1, Place::Error) => self.chunk.other = true,
            (2, _)
                if !matches!(
                    self.at(1),
                    Place::Bookkeeping | Place::Usage | Place::Wrapper
                ) =>
            {
                self.chunk.other = true;
            }
            _ => {}
        }
        place
    }
}

impl Sink for Walk {
    fn open(&mut self, container: Container, _at: u64) {
        let place = self.value();
        self.error |= place == Place::Error;
        self.ordinary &= place != Place::Error;
        self.depth = self.depth.saturating_add(1);
        let inside = match container {
            Container::Array => place.element(),
            Container::Object => place,
        };
        if self.depth == 1 && container == Container::Array {
            self.list |= inside == place;
            self.ordinary = false;
        }
        self.set_place(inside);
    }

    fn close(&mut self, _container: Container, _at: u64) {
        self.depth = self.depth.saturating_sub(1);
    }

    fn key(&mut self, key: Text<'_>, _span: Span) {
        let around = self.at(self.depth.saturating_sub(1));
        let place = if key.whole {
            around.member(key.bytes)
        } else {
            around.member(b"")
        };
        self.set_place(place);
    }

    fn reads(&self) -> Reads {
        if self.place() == Place::Type {
            Reads::Beginning
        } else {
            Reads::Length
        }
    }

    fn scalar(&mut self, value: Scalar<'_>, span: Span) {
        if value == Scalar::Null {
            return;
        }
        let place = self.value();
        let kind = match (place, value) {
            (Place::Count(count), Scalar::Number(number)) if number.whole => {
                self.counts.state(count, number.bytes);
                Some(HoleKind::Count(count))
            }
            (Place::Text, Scalar::String(text)) => {
                self.text = self.text.saturating_add(text.len);
                Some(HoleKind::Text)
            }
            (Place::Error, Scalar::String(text)) => {
                self.error |= text.len > 0;
                None
            }
            (Place::Type, Scalar::String(text)) => {
                let last = LAST.iter().any(|last| text.is(last));
                if last {
                    self.end = End::Last;
                }
                self.error |= text.is("error");
                // Of another type it could be the last.
                self.ordinary &= !last && !text.is("error");
                return;
            }
            (Place::Wrapped, Scalar::String(_)) => {
                self.wrapped = Some(span);
                None
            }
            (Place::Other | Place::Bookkeeping, Scalar::String(_)) => Some(HoleKind::String),
            (Place::Other | Place::Bookkeeping | Place::Text, Scalar::Number(_)) => {
                Some(HoleKind::Number)
            }
            (_, Scalar::Bool(_)) => return,
            _ => None,
        };
        match kind {
            Some(kind) if self.ordinary && self.holes.len() < MAX_HOLES => {
                self.holes.push(Hole { span, kind });
            }
            _ => self.ordinary = false,
        }
    }
}
