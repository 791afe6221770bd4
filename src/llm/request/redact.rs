//! Redacted texts of a JSON body.

use crate::guardrail::{Redaction, redact};
use crate::json::{Span, Writer};

/// What is to be written in place of the value at `span`, as JSON; nothing where it has nothing in it to take out.
pub(super) fn redacted(body: &[u8], span: Span, redaction: &Redaction) -> Option<String> {
    let (new, _) = redact(redaction, span.says(body).as_bytes());
    new.map(|new| quoted(&String::from_utf8_lossy(&new)))
}

/// A JSON string. A number that becomes a label becomes one, too.
pub(crate) fn quoted(text: &str) -> String {
    let mut json = Writer::default();
    json.string(text);
    json.finish()
}
