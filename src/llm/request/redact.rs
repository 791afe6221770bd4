//! Redacted texts of a JSON body.

use crate::guardrail::{Out, Redaction, Redactor};
use crate::json::{Span, Writer};

/// What is to be written in place of the value at `span`, as JSON; nothing where it has nothing in it to take out.
pub(crate) fn redacted(body: &[u8], span: Span, redaction: &Redaction) -> Option<String> {
    let text = span.says(body);
    let mut redactor = Redactor::default();
    let mut new = Redacted {
        text: Vec::with_capacity(text.len()),
        document: text.trim_ascii_start().starts_with(['{', '[']),
        inside: false,
        escaped: false,
    };
    redactor.push(redaction, text.as_bytes(), &mut new);
    redactor.end(redaction, &mut new);
    let changed = new.text != text.as_bytes();
    changed.then(|| quoted(&String::from_utf8_lossy(&new.text)))
}

/// A JSON string. A number that becomes a label becomes one, too.
pub(crate) fn quoted(text: &str) -> String {
    let mut json = Writer::default();
    json.string(text);
    json.finish()
}

/// A redacted text. A document in a string, as the arguments of tools are, stays one, for some servers parse it: labels in
/// place of numbers become strings.
struct Redacted {
    text: Vec<u8>,
    /// It may be a document.
    document: bool,
    /// Inside a string of it.
    inside: bool,
    /// Behind a backslash there.
    escaped: bool,
}

impl Out for Redacted {
    fn keep(&mut self, _: u64, text: &[u8]) {
        for byte in text {
            self.inside ^= *byte == b'"' && !self.escaped;
            self.escaped = self.inside && *byte == b'\\' && !self.escaped;
        }
        self.text.extend_from_slice(text);
    }

    fn label(&mut self, _: u64, label: &[u8]) {
        let quote: &[u8] = if self.document && !self.inside {
            b"\""
        } else {
            b""
        };
        for part in [quote, label, quote] {
            self.text.extend_from_slice(part);
        }
    }
}
