//! The texts of a document of an answer: which strings may be the answer's own, and which text each goes on with.
//!
//! All are, but for those whose names say that they are not: of a new API's answer nothing is let through because nobody
//! knew its names. In the events of a stream a text comes in pieces. Pieces belong together that stand at the same place
//! and under the same numbers: of the choice, of the block, of the tool call.

use crate::json::{Container, Scalar, Sink, Span, Text, scan};

/// A string of the answer, or a number in it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) key: u64,
    pub(super) span: Span,
}

/// What a document of a stream says of the texts.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) texts: Vec<Found>,
    /// The texts so far are over with it.
    pub(super) ends: bool,
    /// Where a string holds a further document in base64, as on Bedrock.
    pub(super) wrapped: Option<Span>,
    /// Where the answer's tokens stand once more, one by one.
    pub(super) logprobs: Vec<Span>,
}

/// Reads a whole document; `None` if it is none.
pub(super) fn read(document: &[u8]) -> Option<Document> {
    let mut walk = Walk {
        document,
        nodes: Vec::new(),
        open: Vec::new(),
        word: Word::Text,
        words: Vec::new(),
        logprobs: Vec::new(),
        name: 0,
        numbers: false,
        found: Vec::new(),
        ends: false,
        wrapped: None,
    };
    scan(document, &mut walk).ok()?;
    let texts = walk.found.iter().map(|(name, node, span)| Found {
        key: walk.key(*name, *node),
        span: *span,
    });
    Some(Document {
        texts: texts.collect(),
        ends: walk.ends,
        wrapped: walk.wrapped,
        logprobs: walk.logprobs.clone(),
    })
}

/// Types of events behind which a text does not go on, by their ends.
const ENDS: [&str; 7] = [
    ".done",
    "completed",
    "incomplete",
    "failed",
    "message_stop",
    "message-end",
    "content_block_stop",
];

/// Members whose values tell one text from another at the same place.
const NUMBERS: [&[u8]; 6] = [
    b"contentBlockIndex",
    b"content_index",
    b"index",
    b"item_id",
    b"output_index",
    b"summary_index",
];

/// What no person reads, and what of the request some APIs say again.
const NOT_TEXT: [&str; 40] = [
    // At the top only. Each event of a stream says them again, which would seem to be one word without an end.
    "createTime",
    "p",
    "provider",
    "usageMetadata",
    "b64_json",
    "call_id",
    "created",
    "created_at",
    "embedding",
    "embeddings",
    "encrypted_content",
    "event_id",
    "finishReason",
    "finish_reason",
    "id",
    "input_tokens_details",
    "inlineData",
    "instructions",
    "item_id",
    "metadata",
    "model",
    "modelVersion",
    "object",
    "obfuscation",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "responseId",
    "role",
    "safetyRatings",
    "safety_identifier",
    "service_tier",
    "signature",
    "status",
    "stopReason",
    "stop_reason",
    "system_fingerprint",
    "thoughtSignature",
    "usage",
    "user",
];

/// So many are no text at the top only.
const AT_TOP: usize = 4;

/// Members under which a tool is called, by the names that its own author gave.
const FREE: [&[u8]; 4] = [b"args", b"arguments", b"input", b"parameters"];

/// What a member's name says of its value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Word {
    Bytes,
    /// A string is no text, what is in a list or an object may be.
    Data,
    /// What the model has put into the names of a tool: all of it is text.
    Free,
    Logprobs,
    NotText,
    Text,
    Type,
}

impl Word {
    fn of(name: &[u8], depth: usize) -> Self {
        let mut not_text = NOT_TEXT.iter().skip(if depth == 1 { 0 } else { AT_TOP });
        match name {
            b"bytes" if depth == 1 => Self::Bytes,
            b"data" => Self::Data,
            _ if FREE.contains(&name) => Self::Free,
            b"logprobs" | b"logprobsResult" => Self::Logprobs,
            // A list of tools is the request's; a call of one is not under this name.
            b"tools" if depth <= 2 => Self::NotText,
            b"type" => Self::Type,
            _ if not_text.any(|known| known.as_bytes() == name) => Self::NotText,
            _ => Self::Text,
        }
    }
}

struct Walk<'a> {
    document: &'a [u8],
    nodes: Vec<Node>,
    /// The containers around the current value, by their positions in `nodes`.
    open: Vec<usize>,
    /// Of the current value; and what it was of the containers around it.
    word: Word,
    words: Vec<Word>,
    logprobs: Vec<Span>,
    /// Of the last key.
    name: u64,
    /// The last key is one that numbers texts.
    numbers: bool,
    /// Each with its name, its container, and where it stands.
    found: Vec<(u64, Option<usize>, Span)>,
    ends: bool,
    wrapped: Option<Span>,
}

/// A container.
struct Node {
    around: Option<usize>,
    name: u64,
    numbers: u64,
}

impl Walk<'_> {
    /// What a text is told by.
    fn key(&self, name: u64, node: Option<usize>) -> u64 {
        let mut key = name;
        let mut around = node;
        while let Some(node) = around.and_then(|at| self.nodes.get(at)) {
            key = mixed(mixed(key, node.name), node.numbers);
            around = node.around;
        }
        key
    }
}

fn mixed(one: u64, other: u64) -> u64 {
    (one.rotate_left(5) ^ other).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn hashed(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(1, |hash, byte| mixed(hash, u64::from(*byte)))
}

impl Sink for Walk<'_> {
    fn open(&mut self, container: Container, at: u64) {
        let outer = self.words.last().copied().unwrap_or(Word::Text);
        if self.word == Word::Logprobs && outer != Word::Logprobs {
            self.logprobs.push(Span { start: at, end: at });
        }
        // Under `type` there may be anything else than a type's name.
        let inside = match self.word {
            Word::Bytes | Word::Data | Word::Type => Word::Text,
            word => word,
        };
        self.words.push(inside);
        self.word = inside;
        let _ = container;
        self.nodes.push(Node {
            around: self.open.last().copied(),
            name: std::mem::take(&mut self.name),
            numbers: 0,
        });
        self.open.push(self.nodes.len().saturating_sub(1));
        self.numbers = false;
    }

    fn close(&mut self, _: Container, at: u64) {
        let inside = self.words.pop();
        let outer = self.words.last().copied().unwrap_or(Word::Text);
        if inside == Some(Word::Logprobs)
            && outer != Word::Logprobs
            && let Some(span) = self.logprobs.last_mut()
        {
            span.end = at.saturating_add(1);
        }
        self.open.pop();
        self.word = outer;
        self.name = 0;
    }

    fn key(&mut self, key: Text<'_>, _: Span) {
        let known = if key.whole { key.bytes } else { b"" };
        let outer = self.words.last().copied().unwrap_or(Word::Text);
        self.word = match outer {
            Word::Text => Word::of(known, self.words.len()),
            word => word,
        };
        self.name = hashed(known);
        self.numbers = outer != Word::Free && NUMBERS.contains(&known);
    }

    fn scalar(&mut self, value: Scalar<'_>, span: Span) {
        let node = self.open.last().copied();
        if self.numbers
            && let Some(node) = node.and_then(|at| self.nodes.get_mut(at))
        {
            let value = hashed(span.of(self.document).as_bytes());
            node.numbers = node.numbers.wrapping_add(mixed(self.name, value));
        }
        match (self.word, value) {
            (Word::Free | Word::Text, Scalar::String(_) | Scalar::Number(_)) if !self.numbers => {
                self.found.push((self.name, node, span));
            }
            (Word::Type, Scalar::String(_)) if self.words.len() == 1 => {
                let text = span.says(self.document);
                self.ends |= ENDS.iter().any(|end| text.ends_with(end));
            }
            (Word::Bytes, Scalar::String(_)) => self.wrapped = Some(span),
            _ => {}
        }
        self.numbers = false;
        // In an array the next element is what this one was.
        if let Some(outer) = self.words.last() {
            self.word = *outer;
        }
    }
}
