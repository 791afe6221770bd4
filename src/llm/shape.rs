//! The shape of a document: all of it but its strings and numbers.
//!
//! The events of a stream differ in a word of text and perhaps a number. One that has the shape of the last, and no
//! more than that, says what the last one said, but for the length of its text: that is found out by comparing, in a
//! tenth of the time that reading takes. Where the whole event is like the last one, its lines are not looked for either.
//! Knows no API; the caller learns it only from documents that said nothing that counts.

use super::usage::Count;
use crate::json::{Span, simple_string};

/// Larger documents are read.
const MAX_LEN: usize = 4096;

/// Events that have no more than this around their document take no more memory for it.
const AROUND: usize = 64;

/// Documents with more values that may differ are read.
pub(super) const MAX_HOLES: usize = 40;

/// The shape of the last document that has one.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// The document; or the event that it came in, if that is known, twice: so the end of one event and the beginning of the
    /// next stand there in one piece.
    bytes: Vec<u8>,
    /// Where in `bytes` the document, the second one, begins and ends.
    begin: usize,
    end: usize,
    gaps: Vec<Gap>,
    /// The gaps that were filled differently so far, a bit each. Those of texts are from the beginning on.
    varying: u64,
}

/// A hole by its place in what is kept, within the quotes.
#[derive(Debug)]
struct Gap {
    start: usize,
    end: usize,
    kind: HoleKind,
}

/// A value that may differ, by its place in the document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hole {
    pub(super) span: Span,
    pub(super) kind: HoleKind,
}

impl Hole {
    /// Where it begins and ends, within the quotes.
    pub(super) fn inside(&self) -> Option<(usize, usize)> {
        let quote = u64::from(self.kind.is_quoted());
        let start = self.span.start.checked_add(quote)?;
        let end = self.span.end.checked_sub(quote)?;
        Some((start.try_into().ok()?, end.try_into().ok()?))
    }
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
    pub(super) fn counts(self) -> bool {
        matches!(self, Self::Count(_))
    }

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
    pub(super) const NEW: Self = Self {
        bytes: Vec::new(),
        begin: 0,
        end: 0,
        gaps: Vec::new(),
        varying: 0,
    };

    /// Learns the shape of a document, given whole, and its values in their order, at most [`MAX_HOLES`].
    pub(super) fn learn(&mut self, document: &[u8], holes: &[Hole]) {
        self.bytes.clear();
        self.gaps.clear();
        self.varying = 0;
        if document.len() > MAX_LEN {
            return;
        }
        let event = document.len().saturating_add(AROUND);
        self.bytes.reserve(event.saturating_mul(2));
        self.bytes.extend_from_slice(document);
        self.gaps.reserve(holes.len());
        (self.begin, self.end) = (0, document.len());
        let mut bit = 1_u64;
        for hole in holes {
            let kind = hole.kind;
            if kind == HoleKind::Text {
                self.varying |= bit;
            }
            bit <<= 1;
            let (start, end) = hole.inside().unwrap_or_default();
            self.gaps.push(Gap { start, end, kind });
        }
    }

    /// Learns what is around the document, given the whole of an event with `data` bytes of data, as long as that is not
    /// known.
    pub(super) fn learn_event(&mut self, event: &[u8], data: u64) {
        // With more data than the document it is another one.
        if self.begin > 0 || self.bytes.len() as u64 != data || event.len() > MAX_LEN {
            return;
        }
        let head = (event.strip_suffix(b"\n\n")).or_else(|| event.strip_suffix(b"\r\n\r\n"));
        let Some(head) = head.and_then(|head| head.strip_suffix(self.bytes.as_slice())) else {
            return;
        };
        let begin = head.len().saturating_add(event.len());
        self.begin = begin;
        self.end = self.end.saturating_add(begin);
        for gap in &mut self.gaps {
            gap.start = gap.start.saturating_add(begin);
            gap.end = gap.end.saturating_add(begin);
        }
        self.bytes.clear();
        self.bytes.extend_from_slice(event);
        self.bytes.extend_from_slice(event);
    }

    /// If the document has this shape: the length of its text.
    pub(super) fn text_of(&mut self, document: &[u8]) -> Option<u64> {
        if self.bytes.is_empty() {
            return None;
        }
        for gaps in [self.varying, u64::MAX] {
            let mut fit = self.fit_from(self.begin, document);
            if self.fit(gaps, &mut fit).is_some()
                && Some(fit.behind) == self.bytes.get(fit.from..self.end)
            {
                self.varying = fit.varying;
                return Some(fit.text);
            }
        }
        None
    }

    /// How many bytes of a stream, from the beginning of an event on, are events like the last one, and the length of their
    /// text.
    pub(super) fn events_of(&self, stream: &[u8]) -> (usize, u64) {
        if self.begin == 0 || self.varying == 0 {
            return (0, 0);
        }
        let event = self.bytes.len() >> 1;
        let (mut rest, mut text) = (stream, 0_u64);
        let mut fit = self.fit_from(event, stream);
        let mut fits = self.fit(self.varying, &mut fit);
        while fits.is_some() {
            let Fit {
                behind,
                from,
                text: with_this,
                ..
            } = fit;
            let end = self.bytes.get(from..).unwrap_or_default();
            // Where another one follows, its beginning is compared together with the end of this one.
            fit.from = from.saturating_sub(event);
            fits = if behind.len() > end.len() {
                self.fit(self.varying, &mut fit)
            } else {
                None
            };
            let behind = match fits {
                Some(()) => behind.get(end.len()..),
                None => behind.strip_prefix(end),
            };
            let Some(behind) = behind else { break };
            (rest, text) = (behind, with_this);
        }
        (stream.len().saturating_sub(rest.len()), text)
    }

    fn fit_from<'a>(&self, from: usize, others: &'a [u8]) -> Fit<'a> {
        Fit {
            behind: others,
            from,
            text: 0,
            varying: self.varying,
        }
    }

    /// Compares on, up to the end of the last of those gaps, in which others may differ.
    fn fit(&self, mut gaps: u64, fit: &mut Fit<'_>) -> Option<()> {
        while let Some(gap) = self.gaps.get(gaps.trailing_zeros() as usize) {
            let bit = gaps & gaps.wrapping_neg();
            gaps &= !bit;
            let literal = self.bytes.get(fit.from..gap.start)?;
            let rest = fit.behind.strip_prefix(literal)?;
            let used = gap.kind.fill(rest, &mut fit.text)?;
            let (filling, behind) = rest.split_at_checked(used)?;
            if self.varying & bit == 0 && filling != self.bytes.get(gap.start..gap.end)? {
                fit.varying |= bit;
            }
            fit.behind = behind;
            fit.from = gap.end;
        }
        Some(())
    }
}

/// How far a document is compared.
struct Fit<'a> {
    /// What is not.
    behind: &'a [u8],
    /// Where that begins in what is kept.
    from: usize,
    /// Length of the text before it.
    text: u64,
    /// The gaps that were filled differently so far.
    varying: u64,
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
        let mut shape = shape(r#"{"id":"‹x›","n":#12#,"d":{"content":"«Hello»"},"u":null}"#);
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

    #[test]
    fn events_that_only_say_more_are_gone_over() {
        for [head, tail] in [
            ["data: ", "\n\n"],
            ["event: a\r\ndata:", "\r\n\r\n"],
            [":\nid: 7\ndata: ", "\n\n"],
        ] {
            let mut shape = shape(r#"{"n":#12#,"id":"‹x›","t":"«Hello»"}"#);
            let document =
                |n: u32, id: &str, text: &str| format!(r#"{{"n":{n},"id":"{id}","t":"{text}"}}"#);
            let event = |text| format!("{head}{}{tail}", document(12, "x", text));
            let first = event("Hello");
            assert_eq!(shape.events_of(first.as_bytes()), (0, 0));
            let data = document(12, "x", "Hello").len() as u64;
            shape.learn_event(first.as_bytes(), data + 1);
            shape.learn_event(first.trim_end().as_bytes(), data);
            shape.learn_event(b"", data);
            assert_eq!(shape.events_of(first.as_bytes()), (0, 0));
            shape.learn_event(first.as_bytes(), data);
            let two = event("ab") + &event("");
            for more in [
                "",
                "data: ",
                first.strip_suffix('\n').unwrap(),
                "\n",
                &document(12, "x", ""),
            ] {
                let stream = format!("{two}{more}");
                assert_eq!(shape.events_of(stream.as_bytes()), (two.len(), 2), "{more}");
            }
            // A value that differed once may differ again.
            let other = format!("{head}{}{tail}", document(12, "yy", "c"));
            assert_eq!(shape.events_of(other.as_bytes()), (0, 0));
            assert_eq!(shape.text_of(document(12, "z", "abc").as_bytes()), Some(3));
            assert_eq!(shape.events_of(other.as_bytes()), (other.len(), 1));
            assert_eq!(shape.events_of(two.as_bytes()), (two.len(), 2));
            let number = format!("{head}{}{tail}", document(13, "yy", "c"));
            assert_eq!(shape.events_of(number.as_bytes()), (0, 0));
        }
    }
}
