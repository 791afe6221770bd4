//! Redacted texts of a JSON body.

use crate::guardrail::{Redaction, Redactor};
use crate::json::{Scalar, Sink, Span, Text, Writer, edited, scan};

/// What is to be written in place of the value at `span`, as JSON; nothing where it has nothing in it to take out.
pub(crate) fn redacted(body: &[u8], span: Span, redaction: &Redaction) -> Option<String> {
    let text = span.says(body);
    let inside = document(&text, redaction);
    let new = plain(inside.as_deref().unwrap_or(&text), redaction).or(inside)?;
    Some(quoted(&new))
}

/// A JSON string. A number that becomes a label becomes one, too.
pub(crate) fn quoted(text: &str) -> String {
    let mut json = Writer::default();
    json.string(text);
    json.finish()
}

fn plain(text: &str, redaction: &Redaction) -> Option<String> {
    let mut redactor = Redactor::default();
    let mut new = Vec::with_capacity(text.len());
    redactor.push(redaction, text.as_bytes(), &mut new);
    redactor.end(redaction, &mut new);
    (new != text.as_bytes()).then(|| String::from_utf8_lossy(&new).into_owned())
}

/// A text that is JSON, as the arguments of tools are, stays JSON: some servers parse it.
fn document(text: &str, redaction: &Redaction) -> Option<String> {
    if !text.trim_ascii_start().starts_with(['{', '[']) {
        return None;
    }
    let mut values = Values {
        document: text.as_bytes(),
        redaction,
        changes: Vec::new(),
    };
    scan(text.as_bytes(), &mut values).ok()?;
    if values.changes.is_empty() {
        return None;
    }
    String::from_utf8(edited(text.as_bytes(), values.changes)?).ok()
}

struct Values<'a> {
    document: &'a [u8],
    redaction: &'a Redaction,
    changes: Vec<(Span, String)>,
}

impl Values<'_> {
    fn take(&mut self, span: Span) {
        if let Some(new) = plain(&span.says(self.document), self.redaction) {
            self.changes.push((span, quoted(&new)));
        }
    }
}

impl Sink for Values<'_> {
    fn key(&mut self, _: Text<'_>, span: Span) {
        self.take(span);
    }

    fn scalar(&mut self, value: Scalar<'_>, span: Span) {
        if matches!(value, Scalar::Number(_) | Scalar::String(_)) {
            self.take(span);
        }
    }
}
