//! Takes out of an answer what must not be in it, or stops it there.
//!
//! Of a stream, events are held until all of their text is known to stay or to go: what begins in one may end in a later
//! one. What stays keeps its bytes. Knows no policy: what is looked for, and what of it goes, is given.

mod event;
mod frame;
mod held;
mod texts;

use super::super::sse;
use super::MAX_EVENT;
use crate::guardrail::{Findings, Prompt, Redaction, redact};
pub use frame::exception;
use held::Held;

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
        let is = |known: &[&[u8]]| known.contains(&essence.as_slice());
        let begins = |kind: &&[u8]| essence.starts_with(kind);
        if is(&[b"text/event-stream"]) {
            Some(Self::Events)
        } else if is(&[b"application/vnd.amazon.eventstream"]) {
            Some(Self::Frames)
        } else if is(&[b"application/octet-stream"]) {
            None
        } else if essence.ends_with(b"jsonl")
            || essence.ends_with(b"ndjson")
            || is(&[
                b"application/jsonlines",
                b"application/x-jsonlines",
                b"application/stream+json",
            ])
        {
            Some(Self::Lines)
        } else if [&b"audio/"[..], b"image/", b"video/"].iter().any(begins) {
            None
        } else {
            Some(Self::Whole)
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
    /// Whether its text is kept.
    pub keep: bool,
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
    held: Held,
}

/// Whether the answer goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Course {
    /// It does.
    On,
    /// Something that stops it was found, or it cannot be read: nothing more of it may go out.
    Stopped,
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
            held: Held::new(order),
        }
    }

    /// How the answer comes.
    pub const fn framing(&self) -> Framing {
        self.framing
    }

    /// What was found so far.
    pub fn findings(&self) -> Findings {
        let mut findings = self.held.findings.clone();
        for text in &self.held.texts {
            findings.add(text.redactor.findings());
        }
        findings
    }

    /// What was said so far, where it is kept.
    pub fn take_text(&mut self) -> Prompt {
        self.held.take_text()
    }

    /// Takes the next bytes, and gives out what goes on. Once stopped, it stays so.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Course {
        if self.held.course == Course::Stopped {
            return Course::Stopped;
        }
        match self.framing {
            Framing::Events => {
                let mut feed = Feed {
                    chunk,
                    from: 0,
                    raw: &mut self.raw,
                    data: &mut self.data,
                    held: &mut self.held,
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
                    self.held.event(raw, payload, Framing::Frames, out);
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
            self.held.course = Course::Stopped;
        }
        self.held.course
    }

    /// The stream is over.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Course {
        if self.held.course == Course::Stopped {
            return Course::Stopped;
        }
        match self.framing {
            Framing::Events => {
                let mut feed = Feed {
                    chunk: b"",
                    from: 0,
                    raw: &mut self.raw,
                    data: &mut self.data,
                    held: &mut self.held,
                    out,
                };
                self.lexer.finish(&mut feed);
            }
            Framing::Lines if !self.raw.is_empty() => self.line(out),
            Framing::Whole => {
                let raw = std::mem::take(&mut self.raw);
                if raw.len() <= self.cap
                    && let Some(whole) = whole(&raw, &self.held.order)
                {
                    self.held.findings.add(&whole.findings);
                    self.held.text = whole.text;
                } else {
                    self.held.text.lack();
                }
            }
            _ => {}
        }
        self.held.end_texts();
        self.held.release(out);
        // Of an event that broke off nothing can be said.
        if self.held.course == Course::On && self.held.order.only_looks() {
            out.append(&mut self.raw);
        }
        self.held.course
    }

    fn line(&mut self, out: &mut Vec<u8>) {
        let raw = std::mem::take(&mut self.raw);
        let data = raw.trim_ascii().to_vec();
        self.held.event(raw, data, Framing::Lines, out);
    }
}

/// Cuts an event stream into its events.
struct Feed<'a> {
    chunk: &'a [u8],
    from: usize,
    raw: &'a mut Vec<u8>,
    data: &'a mut Vec<u8>,
    held: &'a mut Held,
    out: &'a mut Vec<u8>,
}

impl sse::Sink for Feed<'_> {
    fn data(&mut self, part: &[u8]) {
        self.data.extend_from_slice(part);
    }

    fn event(&mut self, _: &[u8]) {}

    fn end(&mut self, at: usize, _event: &[u8]) {
        let part = self.chunk.get(self.from..at).unwrap_or_default();
        self.raw.extend_from_slice(part);
        self.from = at.max(self.from);
        let (raw, data) = (std::mem::take(self.raw), std::mem::take(self.data));
        self.held.event(raw, data, Framing::Events, self.out);
    }

    fn end_line_feed(&mut self) {
        self.from = 1;
        if let Some(event) = self.held.last() {
            event.raw.push(b'\n');
        } else if self.held.course == Course::On {
            self.out.push(b'\n');
        }
    }
}

/// What came of an answer that was screened as a whole.
#[derive(Debug)]
pub struct Whole {
    /// What was found in it.
    pub findings: Findings,
    /// What goes on in its place; `None`: it goes on as it is.
    pub body: Option<Vec<u8>>,
    /// What it says, where that is kept.
    pub text: Prompt,
}

/// Screens a whole answer; `None` if it cannot be read.
pub fn whole(body: &[u8], order: &Order) -> Option<Whole> {
    // What stops the answer is for the caller to see: here it is looked through to its end.
    let order = Order {
        stops: Findings::default(),
        ..order.clone()
    };
    let trimmed = body.trim_ascii_start();
    // A stream that is not called one: what is in its events may go on from one to the next.
    let fields = [&b"data:"[..], b"event:", b"id:", b"retry:", b":"];
    if fields.iter().any(|field| trimmed.starts_with(field)) {
        let mut screened = Screened::new(Framing::Events, order, 0);
        let mut left = Vec::with_capacity(body.len());
        screened.push(body, &mut left);
        return (screened.finish(&mut left) == Course::On).then(|| Whole {
            findings: screened.findings(),
            body: (left != body).then_some(left),
            text: screened.take_text(),
        });
    }
    if !trimmed.starts_with(b"{") && !trimmed.starts_with(b"[") {
        // Plain text, as of a transcript.
        std::str::from_utf8(body).ok()?;
        let mut text = Prompt::default();
        if order.keep {
            text.push(body);
            text.end();
        }
        let (body, findings) = redact(&order.redaction, body);
        return Some(Whole {
            findings,
            body,
            text,
        });
    }
    texts::read(body)?;
    let mut held = Held::new(order);
    let mut left = Vec::with_capacity(body.len());
    held.event(body.to_vec(), body.to_vec(), Framing::Whole, &mut left);
    held.end_texts();
    held.release(&mut left);
    let text = held.take_text();
    (held.course == Course::On).then(|| Whole {
        findings: held.findings,
        body: (left != body).then_some(left),
        text,
    })
}

#[cfg(test)]
mod tests;
