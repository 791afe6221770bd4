//! The shape of a document: all of it but its strings and numbers.
//!
//! The events of a stream differ in a word of text and perhaps a number. One that has the shape of the last, and no
//! more than that, says what the last one said, but for the length of its text: that is found out by comparing, in a
//! tenth of the time that reading takes. Knows no API; the caller learns it only from documents that said nothing that
//! counts.

use super::usage::Count;
use crate::json::{Span, simple_string};

/// Larger documents are read.
const MAX_LEN: usize = 4096;

/// Documents with more values that may differ are read.
pub(super) const MAX_HOLES: usize = 40;

/// The shape of the last document that has one.
#[derive(Debug, Default)]
pub(super) struct Shape {
    document: Vec<u8>,
    holes: Vec<Hole>,
    /// Where its only text stands, within the quotes, if it has one text.
    only_text: Option<(usize, usize)>,
}

/// A value that may differ, by its place in the document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hole {
    pub(super) span: Span,
    pub(super) kind: HoleKind,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum HoleKind {
    /// A number that counts.
    Count(Count),
    Number,
    /// A string that is no part of the answer's text.
    String,
    /// One that is.
    Text,
}

impl HoleKind {
    pub(super) fn is_quoted(self) -> bool {
        matches!(self, Self::String | Self::Text)
    }

    /// How much of this fills the hole, if it is nothing that has to be read; adds to `text` what of it is text.
    pub(super) fn fill(self, rest: &[u8], text: &mut u64) -> Option<usize> {
        if !self.is_quoted() {
            return whole_number(rest);
        }
        let (used, len) = simple_string(rest)?;
        if self == Self::Text {
            *text = text.saturating_add(len);
        }
        Some(used)
    }
}

impl Shape {
    /// Learns the shape of a document, given whole, and its values in their order, at most [`MAX_HOLES`].
    pub(super) fn learn(&mut self, document: &[u8], holes: &[Hole]) {
        self.document.clear();
        self.holes.clear();
        self.only_text = only_text(holes);
        if document.len() <= MAX_LEN {
            self.document.extend_from_slice(document);
            self.holes.extend_from_slice(holes);
        }
    }

    /// If the document has this shape: the length of its text.
    pub(super) fn text_of(&self, document: &[u8]) -> Option<u64> {
        if self.document.is_empty() {
            return None;
        }
        if let Some(text) = self.other_text(document) {
            return Some(text);
        }
        let mut rest = document;
        let mut from = 0;
        let mut text = 0_u64;
        for hole in &self.holes {
            let start = usize::try_from(hole.span.start).ok()?;
            let quoted = usize::from(hole.kind.is_quoted());
            let literal = self.document.get(from..start.checked_add(quoted)?)?;
            rest = after(rest, literal)?;
            let used = hole.kind.fill(rest, &mut text)?;
            (_, rest) = rest.split_at_checked(used)?;
            from = usize::try_from(hole.span.end).ok()?.checked_sub(quoted)?;
        }
        (rest == self.document.get(from..)?).then_some(text)
    }

    /// The same for a document that differs in its one text and in nothing else, as most events of a stream do.
    fn other_text(&self, document: &[u8]) -> Option<u64> {
        let (start, end) = self.only_text?;
        let rest = after(document, self.document.get(..start)?)?;
        let (used, text) = simple_string(rest)?;
        (rest.get(used..)? == self.document.get(end..)?).then_some(text)
    }
}

fn only_text(holes: &[Hole]) -> Option<(usize, usize)> {
    let mut texts = holes.iter().filter(|hole| hole.kind == HoleKind::Text);
    let Span { start, end } = texts.next()?.span;
    if texts.next().is_some() {
        return None;
    }
    let inside = (start.checked_add(1)?, end.checked_sub(1)?);
    Some((inside.0.try_into().ok()?, inside.1.try_into().ok()?))
}

/// What follows a literal.
fn after<'a>(bytes: &'a [u8], literal: &[u8]) -> Option<&'a [u8]> {
    bytes.strip_prefix(literal)
}

/// The length of a number that has neither sign nor fraction nor exponent, and not too many digits.
fn whole_number(bytes: &[u8]) -> Option<usize> {
    let digits = bytes
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let zero = bytes.first() == Some(&b'0');
    (1..=if zero { 1 } else { 15 })
        .contains(&digits)
        .then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The document, with `«…»` around text, `‹…›` around other strings' contents, `#…#` around numbers.
    fn shape(marked: &str) -> Shape {
        let (mut document, mut holes, mut open) = (String::new(), Vec::new(), None);
        for char in marked.chars() {
            let at = document.len() as u64;
            let kind = match char {
                '«' | '»' => HoleKind::Text,
                '‹' | '›' => HoleKind::String,
                '#' => HoleKind::Number,
                char => {
                    document.push(char);
                    continue;
                }
            };
            match open.take() {
                None => open = Some(at),
                Some(start) => {
                    let quote = u64::from(kind != HoleKind::Number);
                    let span = Span {
                        start: start.saturating_sub(quote),
                        end: at.saturating_add(quote),
                    };
                    holes.push(Hole { span, kind });
                }
            }
        }
        let mut shape = Shape::default();
        shape.learn(document.as_bytes(), &holes);
        shape
    }

    #[test]
    fn only_values_may_differ() {
        let shape = shape(r#"{"id":"‹x›","n":#12#,"d":{"content":"«Hello»"},"u":null}"#);
        for (document, text) in [
            (
                r#"{"id":"x","n":12,"d":{"content":"Hello"},"u":null}"#,
                Some(5),
            ),
            (r#"{"id":"","n":0,"d":{"content":""},"u":null}"#, Some(0)),
            (
                r#"{"id":"yy","n":999,"d":{"content":"a\n\"é"},"u":null}"#,
                Some(5),
            ),
            // What has to be read.
            (
                r#"{"id":"x","n":12,"d":{"content":"\u0041"},"u":null}"#,
                None,
            ),
            (
                r#"{"id":"x","n":12.5,"d":{"content":"Hello"},"u":null}"#,
                None,
            ),
            (
                r#"{"id":"x","n":-1,"d":{"content":"Hello"},"u":null}"#,
                None,
            ),
            (
                r#"{"id":"x","n":012,"d":{"content":"Hello"},"u":null}"#,
                None,
            ),
            (
                r#"{"id":"x","n":1234567890123456,"d":{"content":"Hello"},"u":null}"#,
                None,
            ),
            (r#"{"id":"x","n":12,"d":{"content":null},"u":null}"#, None),
            (r#"{"id":"x","n":12,"d":{"content":"Hello"},"u":{}}"#, None),
            (
                r#"{"id":"x","n":12,"d":{"content":"Hello"},"u":null} "#,
                None,
            ),
            (r#"{"id":"x","n":12,"d":{"content":"Hello"},"u":null"#, None),
            (r#"{"id":"x","n":12,"d":{"content":"Hel"#, None),
            (r#"{"id":"x","n":12,"d":{"content":"Hello","u":null}"#, None),
            ("", None),
        ] {
            assert_eq!(shape.text_of(document.as_bytes()), text, "{document}");
        }
        assert_eq!(
            shape.text_of(b"{\"id\":\"\xff\",\"n\":1,\"d\":{\"content\":\"\"},\"u\":null}"),
            None
        );
        assert_eq!(
            shape.text_of(b"{\"id\":\"\n\",\"n\":1,\"d\":{\"content\":\"\"},\"u\":null}"),
            None
        );
        assert_eq!(Shape::default().text_of(b""), None);
    }
}
