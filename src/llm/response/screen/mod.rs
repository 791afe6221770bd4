//! Takes out of an answer what must not be in it, or stops it there.
//!
//! Of a stream, events are held until all of their text is known to stay or to go: what begins in one may end in a later
//! one. What stays keeps its bytes. Knows no policy: what is looked for, and what of it goes, is given.

mod frame;
mod texts;

use super::super::base64;
use super::super::sse;
use super::MAX_EVENT;
use crate::guardrail::{Findings, Out, Redaction, Redactor};
use crate::json::{Span, edited};
use crate::llm::request::{quoted, redacted};
pub use frame::exception;
use std::collections::VecDeque;
use texts::Document;

/// More than this is not held for a text that does not go on: it is over, then.
const MAX_HELD: usize = 64 << 10;

/// More texts than this do not go on side by side.
const MAX_TEXTS: usize = 256;

/// How an answer comes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// `text/event-stream`
    Events,
    /// `application/vnd.amazon.eventstream`
    Frames,
    /// A JSON document a line.
    Lines,
    /// As one whole.
    Whole,
}

impl Framing {
    /// Of an answer with this content type; `None` where it holds no text: sound, pictures, files.
    pub fn of(content_type: Option<&[u8]>) -> Option<Self> {
        let content_type = content_type.unwrap_or_default();
        let essence = content_type.split(|byte| *byte == b';').next();
        let essence = essence
            .unwrap_or_default()
            .trim_ascii()
            .to_ascii_lowercase();
        let media = [&b"audio/"[..], b"image/", b"video/"];
        match essence.as_slice() {
            b"text/event-stream" => Some(Self::Events),
            b"application/vnd.amazon.eventstream" => Some(Self::Frames),
            b"application/octet-stream" => None,
            lines if lines.ends_with(b"jsonl") || lines.ends_with(b"ndjson") => Some(Self::Lines),
            b"application/jsonlines" | b"application/x-jsonlines" | b"application/stream+json" => {
                Some(Self::Lines)
            }
            media_type if media.iter().any(|kind| media_type.starts_with(kind)) => None,
            _ => Some(Self::Whole),
        }
    }
}

/// What is to be done about an answer.
#[derive(Clone, Debug)]
pub struct Order {
    /// What is looked for, and what of it is taken out.
    pub redaction: Redaction,
    /// What stops the answer.
    pub stops: Findings,
}

impl Order {
    /// Whether nothing is to be done but to look.
    pub const fn only_looks(&self) -> bool {
        self.redaction.kinds.is_empty() && self.stops.is_empty()
    }
}

/// Screens one stream.
#[derive(Debug)]
pub struct Screened {
    framing: Framing,
    /// So much of a whole answer is looked at.
    cap: usize,
    lexer: sse::Lexer,
    /// The event that is not complete, and its data.
    raw: Vec<u8>,
    data: Vec<u8>,
    core: Core,
}

/// Whether the answer goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Course {
    /// It does.
    On,
    /// Something that stops it was found, or it cannot be read: nothing more of it may go out.
    Stopped,
}

#[derive(Debug)]
struct Core {
    order: Order,
    held: VecDeque<Event>,
    held_bytes: usize,
    texts: Vec<Running>,
    findings: Findings,
    course: Course,
}

/// An event, a line or a frame.
#[derive(Debug)]
struct Event {
    raw: Vec<u8>,
    data: Vec<u8>,
    pieces: Vec<Piece>,
    logprobs: Vec<Span>,
    framing: Framing,
}

/// A piece of a text.
#[derive(Debug)]
struct Piece {
    /// By its position.
    text: usize,
    start: u64,
    end: u64,
    /// Where it stands in the event's data; `None`: it cannot be changed.
    span: Option<Span>,
}

/// A text that comes in pieces.
#[derive(Debug, Default)]
struct Running {
    key: u64,
    len: u64,
    redactor: Redactor,
    changes: Changes,
    over: bool,
}

/// What of a text stays, and what comes in place of the rest.
#[derive(Debug, Default)]
struct Changes {
    kept: VecDeque<(u64, u64)>,
    labels: VecDeque<(u64, Vec<u8>)>,
}

impl Out for Changes {
    fn keep(&mut self, at: u64, text: &[u8]) {
        let end = at.saturating_add(text.len() as u64);
        match self.kept.back_mut() {
            Some(last) if last.1 == at => last.1 = end,
            _ => self.kept.push_back((at, end)),
        }
    }

    fn label(&mut self, at: u64, label: &[u8]) {
        self.labels.push_back((at, label.to_vec()));
    }
}

impl Changes {
    /// What is left of a piece; `None` if all of it is.
    fn of(&self, start: u64, end: u64, text: &[u8]) -> Option<Vec<u8>> {
        let labels = || {
            self.labels
                .iter()
                .filter(|(at, _)| (start..end).contains(at))
        };
        let whole = |kept: &(u64, u64)| kept.0 <= start && end <= kept.1;
        if start == end || (labels().next().is_none() && self.kept.iter().any(whole)) {
            return None;
        }
        let mut left = Vec::new();
        let mut labels = labels().peekable();
        for (from, to) in &self.kept {
            let (from, to) = ((*from).max(start), (*to).min(end));
            if from >= to {
                continue;
            }
            while let Some((_, label)) = labels.next_if(|(at, _)| *at <= from) {
                left.extend_from_slice(label);
            }
            let within = |at: u64| usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX);
            left.extend_from_slice(text.get(within(from)..within(to)).unwrap_or_default());
        }
        for (_, label) in labels {
            left.extend_from_slice(label);
        }
        Some(left)
    }

    /// Nobody will ask for what stands before this.
    fn forget(&mut self, before: u64) {
        while self.kept.front().is_some_and(|(_, end)| *end < before) {
            self.kept.pop_front();
        }
        while self.labels.front().is_some_and(|(at, _)| *at < before) {
            self.labels.pop_front();
        }
    }
}

impl Screened {
    /// For an answer that is screened as it comes. Of one that comes as a whole `cap` bytes are looked at, at the most.
    pub fn new(framing: Framing, order: Order, cap: usize) -> Self {
        Self {
            framing,
            cap,
            lexer: sse::Lexer::default(),
            raw: Vec::new(),
            data: Vec::new(),
            core: Core::new(order),
        }
    }

    /// How the answer comes.
    pub const fn framing(&self) -> Framing {
        self.framing
    }

    /// What was found so far.
    pub fn findings(&self) -> Findings {
        let mut findings = self.core.findings.clone();
        for text in &self.core.texts {
            findings.add(text.redactor.findings());
        }
        findings
    }

    /// Takes the next bytes, and gives out what goes on. Once stopped, it stays so.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Course {
        if self.core.course == Course::Stopped {
            return Course::Stopped;
        }
        match self.framing {
            Framing::Events => {
                let mut feed = Feed {
                    chunk,
                    from: 0,
                    raw: &mut self.raw,
                    data: &mut self.data,
                    core: &mut self.core,
                    out,
                };
                self.lexer.push(chunk, &mut feed);
                let rest = chunk.get(feed.from..).unwrap_or_default();
                self.raw.extend_from_slice(rest);
            }
            Framing::Lines => {
                for line in chunk.split_inclusive(|byte| *byte == b'\n') {
                    self.raw.extend_from_slice(line);
                    if line.ends_with(b"\n") {
                        self.line(out);
                    }
                }
            }
            Framing::Frames => {
                self.raw.extend_from_slice(chunk);
                while let Some(len) = frame::len(&self.raw).filter(|len| *len <= self.raw.len()) {
                    let rest = self.raw.split_off(len);
                    let raw = std::mem::replace(&mut self.raw, rest);
                    let payload = frame::payload(&raw).to_vec();
                    self.core.event(raw, payload, Framing::Frames, out);
                }
            }
            Framing::Whole => {
                if self.raw.len() <= self.cap {
                    self.raw.extend_from_slice(chunk);
                }
                out.extend_from_slice(chunk);
                return Course::On;
            }
        }
        if self.raw.len() > MAX_EVENT {
            self.core.course = Course::Stopped;
        }
        self.core.course
    }

    /// The stream is over.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Course {
        if self.core.course == Course::Stopped {
            return Course::Stopped;
        }
        match self.framing {
            Framing::Events => {
                let mut feed = Feed {
                    chunk: b"",
                    from: 0,
                    raw: &mut self.raw,
                    data: &mut self.data,
                    core: &mut self.core,
                    out,
                };
                self.lexer.finish(&mut feed);
            }
            Framing::Lines if !self.raw.is_empty() => self.line(out),
            Framing::Whole => {
                let raw = std::mem::take(&mut self.raw);
                if raw.len() <= self.cap
                    && let Some(whole) = whole(&raw, &self.core.order)
                {
                    self.core.findings.add(&whole.findings);
                }
            }
            _ => {}
        }
        self.core.end_texts();
        self.core.release(out);
        // Of an event that broke off nothing can be said.
        if self.core.course == Course::On && self.core.order.only_looks() {
            out.append(&mut self.raw);
        }
        self.core.course
    }

    fn line(&mut self, out: &mut Vec<u8>) {
        let raw = std::mem::take(&mut self.raw);
        let data = raw.trim_ascii().to_vec();
        self.core.event(raw, data, Framing::Lines, out);
    }
}

/// Cuts an event stream into its events.
struct Feed<'a> {
    chunk: &'a [u8],
    from: usize,
    raw: &'a mut Vec<u8>,
    data: &'a mut Vec<u8>,
    core: &'a mut Core,
    out: &'a mut Vec<u8>,
}

impl sse::Sink for Feed<'_> {
    fn data(&mut self, part: &[u8]) {
        self.data.extend_from_slice(part);
    }

    fn event(&mut self, _: &[u8]) {}

    fn end(&mut self, at: usize) {
        let part = self.chunk.get(self.from..at).unwrap_or_default();
        self.raw.extend_from_slice(part);
        self.from = at.max(self.from);
        let (raw, data) = (std::mem::take(self.raw), std::mem::take(self.data));
        self.core.event(raw, data, Framing::Events, self.out);
    }

    fn end_line_feed(&mut self) {
        self.from = 1;
        match self.core.held.back_mut() {
            Some(event) => event.raw.push(b'\n'),
            None if self.core.course == Course::On => self.out.push(b'\n'),
            None => {}
        }
    }
}

impl Core {
    fn new(order: Order) -> Self {
        Self {
            order,
            held: VecDeque::new(),
            held_bytes: 0,
            texts: Vec::new(),
            findings: Findings::default(),
            course: Course::On,
        }
    }

    fn event(&mut self, raw: Vec<u8>, data: Vec<u8>, framing: Framing, out: &mut Vec<u8>) {
        if self.course == Course::Stopped {
            return;
        }
        let mut event = Event {
            raw,
            data,
            pieces: Vec::new(),
            logprobs: Vec::new(),
            framing,
        };
        let over = self.read(&mut event);
        self.held_bytes = self.held_bytes.saturating_add(event.raw.len());
        self.held.push_back(event);
        if over || self.held_bytes > MAX_HELD || self.texts.len() > MAX_TEXTS {
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
                    let text = found.span.says(&data);
                    let piece = self.piece(found.key, text.as_bytes(), Some(found.span));
                    event.pieces.push(piece);
                }
                wrapped.map_or(ends, |span| self.read_wrapped(&data, span, event) || ends)
            }
            // `[DONE]`, a comment, or what nobody can read: a text that cannot be changed.
            None if data.is_empty() => false,
            None => {
                if data != b"[DONE]" {
                    event.pieces.push(self.piece(0, &data, None));
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
            event.pieces.push(self.piece(1, &inner, None));
            return true;
        };
        for found in document.texts {
            let text = found.span.says(&inner);
            let piece = self.piece(found.key, text.as_bytes(), None);
            event.pieces.push(piece);
        }
        document.ends
    }

    /// The text with this key goes on.
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

    /// No text goes on: all that is left of them is decided.
    fn end_texts(&mut self) {
        for text in self.texts.iter_mut().filter(|text| !text.over) {
            text.over = true;
            text.redactor.end(&self.order.redaction, &mut text.changes);
        }
    }

    /// Lets go of what is decided.
    fn release(&mut self, out: &mut Vec<u8>) {
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
        while let Some(event) = self.held.front()
            && (looks || event.pieces.iter().all(|piece| decided(&self.texts, piece)))
            && let Some(event) = self.held.pop_front()
        {
            self.held_bytes = self.held_bytes.saturating_sub(event.raw.len());
            if !looks && !event.write(&self.texts, &self.order.redaction, out) {
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
        if self.held.is_empty() {
            for text in self.texts.extract_if(.., |text| text.over) {
                self.findings.add(text.redactor.findings());
            }
        }
    }
}

impl Event {
    /// Writes what is left of it; `false` where something would have to be taken out and cannot be.
    fn write(&self, texts: &[Running], redaction: &Redaction, out: &mut Vec<u8>) -> bool {
        let mut changes = Vec::new();
        for piece in &self.pieces {
            let text = piece
                .span
                .map(|span| span.says(&self.data))
                .unwrap_or_default();
            let left = texts
                .get(piece.text)
                .and_then(|running| (running.changes).of(piece.start, piece.end, text.as_bytes()));
            match (left, piece.span) {
                (None, _) => {}
                (Some(_), None) => return false,
                (Some(left), Some(span)) => {
                    let new = self.document(span, redaction);
                    changes.push((
                        span,
                        new.unwrap_or_else(|| quoted(&String::from_utf8_lossy(&left))),
                    ));
                }
            }
        }
        if changes.is_empty() {
            out.extend_from_slice(&self.raw);
            return true;
        }
        // They spell the text once more.
        changes.extend(self.logprobs.iter().map(|span| (*span, "null".to_owned())));
        let Some(data) = edited(&self.data, changes) else {
            return false;
        };
        match self.framing {
            Framing::Lines => {
                out.extend_from_slice(&data);
                out.push(b'\n');
            }
            Framing::Events => self.write_lines(&data, out),
            Framing::Whole => out.extend_from_slice(&data),
            Framing::Frames => return false,
        }
        true
    }

    /// A text of a whole answer that is a document itself, as the arguments of a tool are, stays one.
    fn document(&self, span: Span, redaction: &Redaction) -> Option<String> {
        if self.framing != Framing::Whole {
            return None;
        }
        redacted(&self.data, span, redaction)
    }

    /// The event's lines, with other data: line ends in them stand between tokens.
    fn write_lines(&self, data: &[u8], out: &mut Vec<u8>) {
        let mut written = false;
        for line in self.raw.split(|byte| matches!(byte, b'\n' | b'\r')) {
            let is_data = line
                .strip_prefix(b"data")
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(b":"));
            if line.is_empty() || (is_data && written) {
                continue;
            }
            if is_data {
                written = true;
                out.extend_from_slice(b"data: ");
                out.extend(
                    data.iter()
                        .map(|byte| if *byte == b'\n' { b' ' } else { *byte }),
                );
            } else {
                out.extend_from_slice(line);
            }
            out.push(b'\n');
        }
        out.push(b'\n');
    }
}

/// What came of an answer that was screened as a whole.
#[derive(Debug)]
pub struct Whole {
    /// What was found in it.
    pub findings: Findings,
    /// What goes on in its place; `None`: it goes on as it is.
    pub body: Option<Vec<u8>>,
}

/// Screens a whole answer; `None` if it cannot be read.
pub fn whole(body: &[u8], order: &Order) -> Option<Whole> {
    let redaction = &order.redaction;
    let trimmed = body.trim_ascii_start();
    if !trimmed.starts_with(b"{") && !trimmed.starts_with(b"[") {
        // Plain text, as of a transcript.
        std::str::from_utf8(body).ok()?;
        let mut redactor = Redactor::default();
        let mut left = Vec::with_capacity(body.len());
        redactor.push(redaction, body, &mut left);
        redactor.end(redaction, &mut left);
        return Some(Whole {
            body: (left != body).then_some(left),
            findings: redactor.into_findings(),
        });
    }
    texts::read(body)?;
    let mut core = Core::new(Order {
        stops: Findings::default(),
        ..order.clone()
    });
    let mut left = Vec::with_capacity(body.len());
    core.event(body.to_vec(), body.to_vec(), Framing::Whole, &mut left);
    core.end_texts();
    core.release(&mut left);
    (core.course == Course::On).then(|| Whole {
        findings: core.findings,
        body: (left != body).then_some(left),
    })
}

#[cfg(test)]
mod tests;
