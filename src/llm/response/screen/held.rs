//! The events that are held, and the texts that go on in them.

use super::super::super::base64;
use super::event::{Changes, Event, Piece};
use super::texts::{self, Document, Found};
use super::{Course, Framing, Order};
use crate::guardrail::{Findings, Prompt, Redactor};
use crate::json::Span;
use std::collections::VecDeque;

/// More than this is not held for a text that does not go on: it is over, then.
pub(super) const MAX_HELD: usize = 64 << 10;

/// More texts than this do not go on side by side.
const MAX_TEXTS: usize = 256;

/// What is part of nothing that is looked for.
const NOTHING: &[u8] = b"\0";

#[derive(Debug)]
pub(super) struct Held {
    pub(super) order: Order,
    events: VecDeque<Event>,
    pub(super) bytes: usize,
    pub(super) texts: Vec<Running>,
    pub(super) findings: Findings,
    pub(super) course: Course,
    /// What is said by texts that are over, where it is kept.
    pub(super) text: Prompt,
    /// Bytes of what is kept of others.
    kept: usize,
}

/// A text that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Running {
    pub(super) key: u64,
    pub(super) len: u64,
    pub(super) redactor: Redactor,
    pub(super) changes: Changes,
    pub(super) over: bool,
    /// Itself, where it is kept.
    said: Vec<u8>,
}

impl Held {
    #[inline(never)]
    pub(super) fn new(order: Order) -> Self {
        Self {
            order,
            events: VecDeque::new(),
            bytes: 0,
            texts: Vec::new(),
            findings: Findings::default(),
            course: Course::On,
            text: Prompt::default(),
            kept: 0,
        }
    }

    /// The one that came last, where it is still there.
    pub(super) fn last(&mut self) -> Option<&mut Event> {
        self.events.back_mut()
    }

    #[inline(never)]
    pub(super) fn event(
        &mut self,
        raw: Vec<u8>,
        mut data: Vec<u8>,
        mut framing: Framing,
        out: &mut Vec<u8>,
    ) {
        if self.course == Course::Stopped {
            return;
        }
        let document = raw.trim_ascii();
        if framing == Framing::Events && matches!(document, [b'{' | b'[', ..]) {
            // A document that is called a stream: no line of it is a field.
            data = document.to_vec();
            framing = Framing::Lines;
        }
        let mut event = Event {
            raw,
            data,
            pieces: Vec::new(),
            logprobs: Vec::new(),
            framing,
        };
        let over = self.read(&mut event);
        self.bytes = self.bytes.saturating_add(event.raw.len());
        self.events.push_back(event);
        if over || self.bytes > MAX_HELD || self.texts.len() > MAX_TEXTS {
            self.end_texts();
        }
        self.release(out);
    }

    /// Takes an event's texts in; whether they are over with it.
    fn read(&mut self, event: &mut Event) -> bool {
        let data = std::mem::take(&mut event.data);
        let over = match texts::read(&data) {
            Some(document) => {
                let Document {
                    ends,
                    logprobs,
                    wrapped,
                    texts,
                } = document;
                event.logprobs = logprobs;
                for found in texts {
                    let piece = self.found(&data, &found, Some(found.span));
                    event.pieces.push(piece);
                }
                wrapped.map_or(ends, |span| self.read_wrapped(&data, span, event) || ends)
            }
            // `[DONE]`, a comment, or what nobody can read: a text that cannot be changed.
            None if data.is_empty() => false,
            None => {
                if data != b"[DONE]" {
                    let piece = self.piece(0, &data, None);
                    self.keep(&piece, &data);
                    event.pieces.push(piece);
                }
                true
            }
        };
        event.data = data;
        over
    }

    /// A document in base64 inside of one.
    fn read_wrapped(&mut self, data: &[u8], span: Span, event: &mut Event) -> bool {
        let mut inner = Vec::new();
        base64::decode(span.says(data).as_bytes(), |part| {
            inner.extend_from_slice(part);
        });
        let Some(document) = texts::read(&inner) else {
            let piece = self.piece(1, &inner, None);
            self.keep(&piece, &inner);
            event.pieces.push(piece);
            return true;
        };
        for found in document.texts {
            let piece = self.found(&inner, &found, None);
            event.pieces.push(piece);
        }
        document.ends
    }

    /// A string or a number of a document.
    #[inline(never)]
    fn found(&mut self, document: &[u8], found: &Found, span: Option<Span>) -> Piece {
        let text = found.span.says(document);
        let piece = self.piece(found.key, text.as_bytes(), span);
        if found.span.of(document).starts_with('"') {
            self.keep(&piece, text.as_bytes());
        } else {
            // None goes on in the next number at its place: a count that each event says again is no longer number.
            self.piece(found.key, NOTHING, None);
        }
        piece
    }

    /// The text with this key goes on.
    #[inline(never)]
    fn piece(&mut self, key: u64, bytes: &[u8], span: Option<Span>) -> Piece {
        let known = self
            .texts
            .iter()
            .position(|text| text.key == key && !text.over);
        let at = known.unwrap_or_else(|| {
            self.texts.push(Running {
                key,
                ..Running::default()
            });
            self.texts.len().saturating_sub(1)
        });
        let mut piece = Piece {
            text: at,
            start: 0,
            end: 0,
            span,
        };
        if let Some(text) = self.texts.get_mut(at) {
            piece.start = text.len;
            text.len = text.len.saturating_add(bytes.len() as u64);
            piece.end = text.len;
            (text.redactor).push(&self.order.redaction, bytes, &mut text.changes);
        }
        piece
    }

    /// Keeps what a piece of text says: numbers say nothing.
    #[inline(never)]
    fn keep(&mut self, piece: &Piece, bytes: &[u8]) {
        if !self.order.keep {
            return;
        }
        self.kept = self.kept.saturating_add(bytes.len());
        if self.kept > Prompt::MAX {
            self.text.lack();
            self.order.keep = false;
        } else if let Some(text) = self.texts.get_mut(piece.text) {
            text.said.extend_from_slice(bytes);
        }
    }

    /// What was said so far; what goes on now is not taken in.
    pub(super) fn take_text(&mut self) -> Prompt {
        for text in &mut self.texts {
            self.text.add(&std::mem::take(&mut text.said));
        }
        self.order.keep = false;
        std::mem::take(&mut self.text)
    }

    /// No text goes on: all that is left of them is decided.
    pub(super) fn end_texts(&mut self) {
        for text in self.texts.iter_mut().filter(|text| !text.over) {
            text.over = true;
            text.redactor.end(&self.order.redaction, &mut text.changes);
            let said = std::mem::take(&mut text.said);
            self.kept = self.kept.saturating_sub(said.len());
            self.text.add(&said);
        }
    }

    /// Lets go of what is decided.
    pub(super) fn release(&mut self, out: &mut Vec<u8>) {
        let stops = &self.order.stops;
        if self
            .texts
            .iter()
            .any(|text| text.redactor.findings().meets(stops))
        {
            self.course = Course::Stopped;
            return;
        }
        let decided = |texts: &[Running], piece: &Piece| {
            let text = texts.get(piece.text);
            text.is_none_or(|text| text.over || piece.end <= text.redactor.decided())
        };
        let looks = self.order.only_looks();
        while let Some(event) = self.events.front()
            && (looks || event.pieces.iter().all(|piece| decided(&self.texts, piece)))
            && let Some(event) = self.events.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(event.raw.len());
            if !looks && !event.write(&self.texts, out) {
                self.course = Course::Stopped;
                return;
            }
            if looks {
                out.extend_from_slice(&event.raw);
            }
            for piece in &event.pieces {
                if let Some(text) = self.texts.get_mut(piece.text) {
                    text.changes.forget(piece.end);
                }
            }
        }
        if self.events.is_empty() {
            for text in self.texts.extract_if(.., |text| text.over) {
                self.findings.add(text.redactor.findings());
            }
        }
    }
}
