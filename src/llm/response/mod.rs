//! The answer to a request: passed on as it comes, and read on the way for what it cost.
//!
//! Nothing is held but, where the chunk is to be removed that only says the usage, the event that is not
//! complete yet. An answer that cannot be read has no usage; its bytes pass all the same. Knows no limit:
//! what an answer without usage is charged is for others to say.

pub mod screen;
mod strip;

use self::strip::{Edit, Strip};
use super::base64;
use super::document::Documents;
use super::event_stream;
use super::shapes::Shapes;
use super::sse;
use super::usage::{Count, Usage, UsageFormat};
use std::rc::Rc;

/// Larger events pass as they come, and larger frames are not looked into.
const MAX_EVENT: usize = 1 << 20;

/// Reads one answer. Any cut of its bytes into chunks gives the same usage and the same bytes.
#[derive(Debug)]
pub struct Reader {
    body: Body,
    documents: Documents,
    stream: bool,
    /// Removes the chunk that only says the usage.
    strip: Option<Strip>,
}

/// What goes to the client in place of a chunk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Forward<'a> {
    /// These bytes.
    Replace(&'a [u8]),
    /// The chunk.
    Unchanged,
}

/// How documents stand in the body.
#[derive(Debug)]
enum Body {
    Events(sse::Lexer),
    Frames {
        lexer: event_stream::Lexer,
        /// The payload as far as it came, in case that it wraps a document.
        payload: Vec<u8>,
    },
    /// One behind the other; one, as a rule.
    Json,
    /// One a line.
    Lines,
    /// Sound and pictures.
    Opaque,
    /// No documents.
    Text,
    /// To be told by the first byte that says it, what may stand before it being this.
    Untold(&'static [u8]),
}

impl Reader {
    const NEW: Self = Self {
        body: Body::Opaque,
        documents: Documents::NEW,
        stream: false,
        strip: None,
    };

    /// For an answer with this status and content type, to a request in `format`.
    /// `strip_usage_chunk`: usage was asked for in the client's name, who is not to see the chunk that a
    /// chat stream then has more. `"usage":null` in its other chunks stays.
    pub fn new(
        format: UsageFormat,
        status: u16,
        content_type: Option<&[u8]>,
        strip_usage_chunk: bool,
    ) -> Box<Self> {
        // It is large, and so not moved.
        let mut reader = Box::new(Self::NEW);
        let (body, stream) = Body::of(content_type.unwrap_or_default());
        if (200..300).contains(&status) && format != UsageFormat::None {
            reader.body = body;
        }
        reader.documents.expect(format);
        reader.stream = stream;
        if strip_usage_chunk && format == UsageFormat::OpenAi {
            reader.strip = Some(Strip::default());
        }
        reader
    }

    /// Has documents of a shape that is known from other answers not read.
    pub fn recall(&mut self, shapes: Rc<Shapes>) {
        self.documents.recall(shapes);
    }

    /// Takes a header of the answer, its name in lower case. Some of Bedrock's say what the body may not;
    /// what the body says goes before.
    pub fn header(&mut self, name: &[u8], value: &[u8]) {
        // Looked up in a table: a `match` compares every byte by itself.
        const COUNTS: [(&[u8], Count); 4] = [
            (b"cache-read-input-token-count", Count::CacheRead),
            (b"cache-write-input-token-count", Count::CacheWrite),
            (b"input-token-count", Count::Input),
            (b"output-token-count", Count::Output),
        ];
        // Most names begin otherwise.
        let bedrock = Some(name).filter(|name| name.first() == Some(&b'x'));
        let Some(name) = bedrock.and_then(|name| name.strip_prefix(b"x-amzn-bedrock-")) else {
            return;
        };
        let Some((_, count)) = COUNTS.iter().find(|(known, _)| *known == name) else {
            return;
        };
        if !matches!(self.body, Body::Opaque) && value.iter().all(u8::is_ascii_digit) {
            self.documents.state(*count, value);
        }
    }

    /// Takes the next bytes of the body, and says what goes to the client in their place.
    pub fn push(&mut self, chunk: &[u8]) -> Forward<'_> {
        let read = self.tell(chunk);
        let documents = &mut self.documents;
        match &mut self.body {
            Body::Events(lexer) => {
                let skipped = chunk.len().saturating_sub(read.len());
                let mut edit = self.strip.as_mut().map(|strip| strip.edit(chunk, skipped));
                lexer.push(
                    read,
                    &mut Events {
                        documents,
                        edit: edit.as_mut(),
                    },
                );
                return edit.map_or(Forward::Unchanged, Edit::finish);
            }
            Body::Frames { lexer, payload } => lexer.push(read, &mut Frames { documents, payload }),
            Body::Json => documents.push_all(read),
            Body::Lines => {
                let mut lines = read.split(|byte| *byte == b'\n');
                if let Some(line) = lines.next() {
                    documents.push(line);
                }
                for line in lines {
                    documents.end();
                    documents.push(line);
                }
            }
            Body::Text => documents.refuse(read),
            Body::Opaque | Body::Untold(_) => {}
        }
        Forward::Unchanged
    }

    /// The body is over: returns what was still held.
    pub fn finish(&mut self) -> Forward<'_> {
        let Body::Events(lexer) = &mut self.body else {
            return Forward::Unchanged;
        };
        let documents = &mut self.documents;
        let mut edit = self.strip.as_mut().map(|strip| strip.edit(b"", 0));
        lexer.finish(&mut Events {
            documents,
            edit: edit.as_mut(),
        });
        edit.map_or(Forward::Unchanged, Edit::release)
    }

    /// What the answer cost, as far as it came: of each count the last that was stated. `None` if none was.
    pub fn usage(&self) -> Option<Usage> {
        self.documents.usage()
    }

    /// Length of the answer's text, without what frames it; of a body that cannot be read, the body's.
    /// Sound and pictures have none.
    pub fn text_bytes(&self) -> u64 {
        self.documents.text_bytes()
    }

    /// The answer comes in parts.
    pub fn is_stream(&self) -> bool {
        self.stream || self.documents.saw_list()
    }

    /// The stream said that it was over: clients may leave then, and do, before the connection ends.
    pub fn is_over(&self) -> bool {
        self.documents.is_over()
    }

    /// The answer is or ends in an error, whatever its status said.
    pub fn saw_error(&self) -> bool {
        self.documents.saw_error()
    }

    /// Finds out what the body is, if that is not known. Returns the part of the chunk that is to be read.
    fn tell<'a>(&mut self, chunk: &'a [u8]) -> &'a [u8] {
        let Body::Untold(skip) = self.body else {
            return chunk;
        };
        let start = chunk.iter().position(|byte| !skip.contains(byte));
        let Some(rest) = start.and_then(|start| chunk.get(start..)) else {
            return b"";
        };
        self.body = match rest.first() {
            Some(b'{' | b'[') => Body::Json,
            _ if self.stream => Body::Events(sse::Lexer::default()),
            // The fields of an event stream, and its comments.
            Some(b'd' | b'e' | b'i' | b'r' | b':') => Body::Events(sse::Lexer::default()),
            _ => Body::Text,
        };
        self.stream = matches!(self.body, Body::Events(_));
        rest
    }
}

impl Body {
    /// What may turn out to be JSON: some servers stream what they call JSON, and some call it nothing.
    const JSON: (Self, bool) = (Self::Untold(b"\xef\xbb\xbf \t\r\n"), false);
    const EVENTS: (Self, bool) = (Self::Untold(b""), true);

    /// By the content type, and whether that means a stream.
    fn of(content_type: &[u8]) -> (Self, bool) {
        // As nearly all answers write it.
        let is = |known: &[u8]| {
            let behind = content_type.strip_prefix(known);
            behind.is_some_and(|behind| matches!(behind, [] | [b';', ..]))
        };
        if is(b"application/json") {
            Self::JSON
        } else if is(b"text/event-stream") {
            Self::EVENTS
        } else {
            Self::of_other(content_type)
        }
    }

    #[cold]
    fn of_other(content_type: &[u8]) -> (Self, bool) {
        let end = content_type.iter().position(|byte| *byte == b';');
        let essence = end
            .and_then(|end| content_type.get(..end))
            .unwrap_or(content_type);
        let essence = essence.trim_ascii().to_ascii_lowercase();
        let is = |known: &[&[u8]]| known.contains(&essence.as_slice());
        if is(&[b"text/event-stream"]) {
            Self::EVENTS
        } else if is(&[b"application/vnd.amazon.eventstream"]) {
            let lexer = event_stream::Lexer::default();
            let payload = Vec::new();
            (Self::Frames { lexer, payload }, true)
        } else if is(&[
            b"application/jsonl",
            b"application/jsonlines",
            b"application/ndjson",
            b"application/stream+json",
            b"application/x-jsonlines",
            b"application/x-ndjson",
        ]) {
            (Self::Lines, true)
        } else if essence.is_empty() || essence.ends_with(b"json") {
            Self::JSON
        } else if is(&[b"application/octet-stream"])
            || [&b"audio/"[..], b"image/", b"video/"]
                .iter()
                .any(|kind| essence.starts_with(kind))
        {
            (Self::Opaque, false)
        } else {
            // A transcript, for one: whoever was recorded could speak JSON, but it does not count.
            (Self::Text, false)
        }
    }
}

/// An event stream's documents, and the cuts between its events.
struct Events<'a, 's, 'c> {
    documents: &'a mut Documents,
    edit: Option<&'a mut Edit<'s, 'c>>,
}

impl sse::Sink for Events<'_, '_, '_> {
    fn data(&mut self, part: &[u8]) {
        // `[DONE]` is refused as JSON, as is whatever else is none.
        self.documents.push(part);
    }

    fn event(&mut self, name: &[u8]) {
        if name == b"error" {
            self.documents.set_error();
        }
    }

    fn end(&mut self, at: usize, event: &[u8]) {
        if let Some(edit) = &mut self.edit {
            edit.end(at, self.documents.is_usage_only());
        }
        self.documents.end_event(event);
    }

    fn skip(&mut self, stream: &[u8]) -> usize {
        self.documents.skip_events(stream)
    }

    fn end_line_feed(&mut self) {
        if let Some(edit) = &mut self.edit {
            edit.end_line_feed();
        }
    }
}

/// The documents in the frames of a Bedrock stream: a frame's payload, or what it wraps.
struct Frames<'a> {
    documents: &'a mut Documents,
    payload: &'a mut Vec<u8>,
}

impl event_stream::Sink for Frames<'_> {
    fn payload(&mut self, part: &[u8]) {
        self.documents.push(part);
        let free = MAX_EVENT.saturating_sub(self.payload.len());
        self.payload
            .extend_from_slice(part.get(..free).unwrap_or(part));
    }

    fn error(&mut self) {
        self.documents.set_error();
    }

    fn end(&mut self) {
        let wrapped = self.documents.wrapped();
        self.documents.end();
        let text = wrapped.and_then(|span| {
            let start = usize::try_from(span.start).ok()?.checked_add(1)?;
            let end = usize::try_from(span.end).ok()?.checked_sub(1)?;
            self.payload.get(start..end)
        });
        if let Some(text) = text {
            base64::decode(text, |piece| self.documents.push(piece));
            self.documents.end();
        }
        self.payload.clear();
    }
}

#[cfg(test)]
mod tests;
