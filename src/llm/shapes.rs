//! The shapes of the documents that were read last, over all answers of a worker.
//!
//! A provider writes the members of its answers in the same order each time, so one answer differs from the last in its
//! strings and numbers only. A document that has a known shape is not read: what it says is what fills the holes. Kept is
//! what stands between them, so no text of an answer outlives it. Knows no API.

use super::shape::{Hole, HoleKind};
use super::usage::{Counts, UsageFormat};
use super::walk::Chunk;
use crate::json::Span;
use std::cell::RefCell;

/// A stream has four, of the chunks that begin it, say its text, end it and say the usage; and there are other APIs. One
/// less than come in turn, and none would be known when it comes.
const KEPT: usize = 12;

/// Of what has more between its strings and numbers no shape is kept.
const MAX_LEN: usize = 4096;

/// The shapes that one worker knows.
#[derive(Debug, Default)]
pub struct Shapes(RefCell<Recent>);

#[derive(Debug, Default)]
struct Recent {
    known: Vec<Known>,
    /// The next one to give up.
    eldest: usize,
}

#[derive(Debug)]
struct Known {
    format: UsageFormat,
    chunk: Chunk,
    /// What stands between the holes, one behind the other, quotes included.
    literals: Vec<u8>,
    /// What fills each hole, and how much of `literals` stands before it.
    holes: Vec<(HoleKind, usize)>,
    /// Where in `literals` begins what is behind the last hole.
    behind: usize,
    /// Some of the holes are counts.
    counts: bool,
}

impl Shapes {
    /// What a whole document says that has a known shape, and the length of its text. `counts` are then what it counts, or
    /// `holes` its holes if it counts nothing.
    pub(super) fn read(
        &self,
        document: &[u8],
        counts: &mut Counts,
        holes: &mut Vec<Hole>,
    ) -> Option<(Chunk, u64)> {
        let recent = self.0.borrow();
        let format = counts.format();
        let mut known = recent.known.iter().filter(|known| known.format == format);
        known.find_map(|known| {
            holes.clear();
            Some((known.chunk, known.text_of(document, counts, holes)?))
        })
    }

    /// Learns the shape of a whole document that was read.
    pub(super) fn learn(&self, format: UsageFormat, document: &[u8], holes: &[Hole], chunk: Chunk) {
        let Some(known) = Known::of(format, document, holes, chunk) else {
            return;
        };
        let Recent { known: all, eldest } = &mut *self.0.borrow_mut();
        match all.get_mut(*eldest) {
            Some(eldest) => *eldest = known,
            None => all.push(known),
        }
        *eldest = eldest.saturating_add(1) % KEPT;
    }
}

impl Known {
    fn of(format: UsageFormat, document: &[u8], holes: &[Hole], chunk: Chunk) -> Option<Self> {
        let mut known = Self {
            format,
            chunk,
            literals: Vec::new(),
            holes: Vec::with_capacity(holes.len()),
            behind: 0,
            counts: holes.iter().any(|hole| hole.kind.counts()),
        };
        let mut from = 0;
        for hole in holes {
            let (start, end) = hole.inside()?;
            let literal = document.get(from..start)?;
            known.literals.extend_from_slice(literal);
            known.holes.push((hole.kind, literal.len()));
            from = end;
        }
        known.behind = known.literals.len();
        known.literals.extend_from_slice(document.get(from..)?);
        (known.literals.len() <= MAX_LEN).then_some(known)
    }

    fn text_of(&self, document: &[u8], counts: &mut Counts, holes: &mut Vec<Hole>) -> Option<u64> {
        let (mut literals, behind) = self.literals.split_at_checked(self.behind)?;
        // What is another document as a rule also ends otherwise.
        if !document.ends_with(behind) {
            return None;
        }
        if !self.counts {
            holes.reserve(self.holes.len());
        }
        let mut stated = counts.clone();
        let mut rest = document;
        let mut text = 0;
        for (kind, len) in &self.holes {
            let (literal, tail) = literals.split_at_checked(*len)?;
            literals = tail;
            rest = rest.strip_prefix(literal)?;
            let used = kind.fill(rest, &mut text)?;
            let (filling, behind) = rest.split_at_checked(used)?;
            rest = behind;
            if let HoleKind::Count(count) = kind {
                stated.state(*count, filling);
            } else if !self.counts {
                let end = document.len().saturating_sub(rest.len());
                let start = end.saturating_sub(filling.len());
                let quote = usize::from(kind.is_quoted());
                let span = Span {
                    start: start.saturating_sub(quote) as u64,
                    end: end.saturating_add(quote) as u64,
                };
                holes.push(Hole { span, kind: *kind });
            }
        }
        if rest != behind {
            return None;
        }
        *counts = stated;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::response::{Forward, Reader};
    use crate::llm::usage::Usage;
    use std::rc::Rc;

    /// What an answer says, and whether it was known by its shape.
    fn read(shapes: &Rc<Shapes>, answer: &str) -> (Option<Usage>, u64, bool) {
        let learned = || {
            let known = shapes.0.borrow();
            known.known.len().wrapping_add(known.eldest)
        };
        let before = learned();
        let content_type = Some(&b"application/json"[..]);
        let mut reader = Reader::new(UsageFormat::OpenAi, 200, content_type, false);
        reader.recall(Rc::clone(shapes));
        assert_eq!(reader.push(answer.as_bytes()), Forward::Unchanged);
        let known = learned() == before && !shapes.0.borrow().known.is_empty();
        (reader.usage(), reader.text_bytes(), known)
    }

    fn answer(id: &str, text: &str, prompt: &str, more: &str) -> String {
        format!(
            r#"{{"id":"{id}","choices":[{{"message":{{"content":"{text}"}}}}],"usage":{{"prompt_tokens":{prompt},"completion_tokens":2{more}}}}}"#
        )
    }

    #[test]
    fn an_answer_of_a_known_shape_says_what_is_in_it() {
        let shapes = Rc::default();
        let prompt = |usage: Option<Usage>| usage.unwrap().prompt_tokens;
        let (usage, text, known) = read(&shapes, &answer("a", "Hello", "19", ""));
        assert_eq!((prompt(usage), text, known), (Some(19), 5, false));
        let (usage, text, known) = read(&shapes, &answer("bcd", "", "7", ""));
        assert_eq!((prompt(usage), text, known), (Some(7), 0, true));
        // What is no plain string or number is read.
        for (text, prompt_tokens, more) in [
            ("\\u00e9", "3", ""),
            ("", "3.0", ""),
            ("", "3", r#","total_tokens":5"#),
        ] {
            let (usage, _, known) = read(&shapes, &answer("a", text, prompt_tokens, more));
            assert_eq!((prompt(usage), known), (Some(3), false), "{text}{more}");
        }
    }

    #[test]
    fn shapes_that_come_in_turn_are_all_known() {
        let shapes = Rc::default();
        let chunks = [
            r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#,
            r#"{"choices":[{"delta":{"content":"a"}}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":1}}"#,
        ];
        let whole = answer("a", "Hello", "19", "");
        for round in 0..3 {
            for document in chunks.into_iter().chain([whole.as_str()]) {
                let (.., known) = read(&shapes, document);
                assert_eq!(known, round > 0, "{document}");
            }
        }
    }

    #[test]
    fn no_text_is_kept() {
        let shapes = Rc::default();
        read(&shapes, &answer("id-of-it", "the answer", "19", ""));
        let Recent { known, .. } = &*shapes.0.borrow();
        let literals = std::str::from_utf8(&known[0].literals).unwrap();
        assert_eq!(
            literals,
            r#"{"id":"","choices":[{"message":{"content":""}}],"usage":{"prompt_tokens":,"completion_tokens":}}"#
        );
    }

    #[test]
    fn there_are_few() {
        let shapes: Rc<Shapes> = Rc::default();
        for key in 0..20 {
            read(&shapes, &format!(r#"{{"key-{key}":"x"}}"#));
            assert!(shapes.0.borrow().known.len() <= KEPT);
        }
        let long = format!(r#"{{"{}":"x"}}"#, "k".repeat(MAX_LEN));
        read(&shapes, &long);
        let known = &shapes.0.borrow().known;
        assert!(known.iter().all(|known| known.literals.len() < MAX_LEN));
    }
}
