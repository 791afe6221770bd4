//! One JSON document of an answer after another: the whole answer, or an event, a line, a frame of it.
//!
//! Every document is [walked](Walk) in full, unless it has the shape of the last one: a search for `"usage"` first would have to hold what it searches, and in the streams
//! that matter every event has that key. Knows nothing of how documents are told apart, nor of any API's names.

use super::place::Place;
use super::shape::Shape;
use super::shapes::Shapes;
use super::usage::{Count, Usage, UsageFormat};
use super::walk::{Chunk, End, Walk};
use crate::json::{JsonErrorKind, Scanner, Span};
use std::rc::Rc;

/// No document, and no text either.
const MARKER: &[u8] = b"[DONE]";

/// Reads documents, and keeps what they say of the answer.
#[derive(Debug)]
pub(crate) struct Documents {
    scanner: Scanner,
    /// The scanner refused the document: the rest of it is not read.
    refused: bool,
    /// Length of the document so far.
    len: u64,
    /// Length of the text before the document.
    text: u64,
    walk: Walk,
    shape: Shape,
    /// What [`Walk`] learnt of the document that the shape is of.
    chunk: Chunk,
    /// What is known of other answers.
    shapes: Option<Rc<Shapes>>,
}

impl Documents {
    pub(crate) const NEW: Self = Self {
        scanner: Scanner::new(),
        refused: false,
        len: 0,
        text: 0,
        walk: Walk::NEW,
        shape: Shape::NEW,
        chunk: Chunk::NONE,
        shapes: None,
    };

    /// Has what counts in this format count.
    pub(crate) fn expect(&mut self, format: UsageFormat) {
        self.walk.expect(format);
    }

    /// Has documents of a shape that is known from other answers not read.
    pub(crate) fn recall(&mut self, shapes: Rc<Shapes>) {
        self.shapes = Some(shapes);
    }

    /// Takes the next bytes of a document.
    pub(crate) fn push(&mut self, part: &[u8]) {
        let begins = self.len == 0;
        if begins && part == MARKER {
            return self.refuse(part);
        }
        if begins && let Some(text) = self.shape.text_of(part) {
            self.len = part.len() as u64;
            self.scanner.skip_to_end(self.len);
            self.walk.text = text;
            self.walk.chunk = self.chunk;
            return;
        }
        if begins && self.recognise(part) {
            self.learn(part);
            return;
        }
        if let Some(rest) = self.scan(part) {
            self.refuse(rest);
        } else if begins && self.remember(part) {
            self.learn(part);
        }
    }

    /// How many bytes of a stream, from the beginning of an event on, are events that say no more than the last one did:
    /// they are taken for read.
    pub(crate) fn skip_events(&mut self, stream: &[u8]) -> usize {
        let (used, text) = self.shape.events_of(stream);
        self.text = self.text.saturating_add(text);
        used
    }

    /// Takes the next bytes of documents that stand one behind the other.
    pub(crate) fn push_all(&mut self, mut part: &[u8]) {
        let begins = self.len == 0;
        if begins && self.recognise(part) {
            return;
        }
        let whole = part;
        while let Some(next) = self.scan(part) {
            self.end();
            self.walk.list = true;
            part = next;
        }
        if begins && part.len() == whole.len() {
            self.remember(whole);
        }
    }

    /// Takes a document that has a known shape for read.
    fn recognise(&mut self, document: &[u8]) -> bool {
        let Some(shapes) = &self.shapes else {
            return false;
        };
        let Walk { counts, holes, .. } = &mut self.walk;
        let Some((chunk, text)) = shapes.read(document, counts, holes) else {
            holes.clear();
            return false;
        };
        self.walk.chunk = chunk;
        self.walk.text = text;
        self.len = document.len() as u64;
        self.scanner.skip_to_end(self.len);
        true
    }

    /// Keeps the shape of a document that was read, if it has one.
    fn remember(&self, document: &[u8]) -> bool {
        let has = self.walk.ordinary && self.scanner.is_complete();
        if has && let Some(shapes) = &self.shapes {
            let Walk {
                counts,
                holes,
                chunk,
                ..
            } = &self.walk;
            shapes.learn(counts.format(), document, holes, *chunk);
        }
        has
    }

    /// Keeps it for the next document of this answer. One that counts is followed by none that counts the same.
    fn learn(&mut self, document: &[u8]) {
        let holes = &self.walk.holes;
        if !holes.is_empty() && !holes.iter().any(|hole| hole.kind.counts()) {
            self.chunk = self.walk.chunk;
            self.shape.learn(document, holes);
        }
    }

    /// Takes bytes of no document.
    pub(crate) fn refuse(&mut self, part: &[u8]) {
        self.refused = true;
        self.len = self.len.saturating_add(part.len() as u64);
    }

    /// The document is over.
    pub(crate) fn end(&mut self) {
        if self.len > 0 {
            if self.refused && self.len == MARKER.len() as u64 {
                self.walk.end = End::Last;
            }
            self.text = self.text_bytes();
            self.len = 0;
            self.scanner.restart();
            self.refused = false;
            self.walk.begin();
        }
    }

    /// The document is over, and so is the event that it came in; no bytes if not all of them are there.
    pub(crate) fn end_event(&mut self, event: &[u8]) {
        if self.len > 0 && self.scanner.is_complete() && !self.is_usage_only() {
            self.shape.learn_event(event, self.len);
        }
        self.end();
    }

    /// Returns what follows behind the document's end.
    fn scan<'a>(&mut self, part: &'a [u8]) -> Option<&'a [u8]> {
        let before = self.scanner.offset();
        let result = if self.refused {
            Ok(())
        } else {
            self.scanner.push(part, &mut self.walk)
        };
        let rest = match result {
            Err(error) if error.kind == JsonErrorKind::TrailingBytes => {
                let at = usize::try_from(error.at.saturating_sub(before)).ok()?;
                part.get(at..)
            }
            Err(_) => {
                self.refused = true;
                None
            }
            Ok(()) => None,
        };
        let read = part.len().saturating_sub(rest.map_or(0, <[u8]>::len));
        self.len = self.len.saturating_add(read as u64);
        rest
    }

    /// Takes a count that no document states.
    pub(crate) fn state(&mut self, count: Count, number: &[u8]) {
        self.walk.counts.state(count, number);
    }

    pub(crate) fn usage(&self) -> Option<Usage> {
        self.walk.counts.usage()
    }

    /// Length of the answer's text in all documents, without what frames it. What cannot be read might
    /// all be text.
    pub(crate) fn text_bytes(&self) -> u64 {
        let own = match self.refused {
            true if self.len == MARKER.len() as u64 => 0,
            true => self.len,
            // A text that breaks off was answered as far as it goes.
            false if self.walk.place() == Place::Text => {
                self.walk.text.saturating_add(self.scanner.open_string())
            }
            false => self.walk.text,
        };
        self.text.saturating_add(own)
    }

    /// A document was an error instead of an answer.
    pub(crate) fn saw_error(&self) -> bool {
        self.walk.error
    }

    /// The stream said that it was over.
    pub(crate) fn is_over(&self) -> bool {
        self.walk.end == End::Over
    }

    pub(crate) fn set_error(&mut self) {
        self.walk.error = true;
    }

    /// Further documents followed, or one was a list of what else are documents.
    pub(crate) fn saw_list(&self) -> bool {
        self.walk.list
    }

    /// The document, as far as it came, is the chunk of a chat stream that `stream_options.include_usage`
    /// adds: no choices, a usage, and nothing else that a client could miss.
    pub(crate) fn is_usage_only(&self) -> bool {
        let Chunk {
            choices,
            usage,
            other,
        } = self.walk.chunk;
        choices && usage && !other && !self.refused && self.scanner.is_complete()
    }

    /// Where in the document a string holds a further document in base64, quotes included.
    pub(crate) fn wrapped(&self) -> Option<Span> {
        self.walk.wrapped
    }
}
