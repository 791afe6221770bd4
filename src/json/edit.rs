//! Changes to a document. Every other byte stays.

use super::Span;

/// The document with other text in place of some of its bytes: places in any order, none inside another. `None` where it
/// has no such places.
pub fn edited(document: &[u8], changes: Vec<(Span, String)>) -> Option<Vec<u8>> {
    let grown: usize = changes.iter().map(|(_, text)| text.len()).sum();
    let changes = in_order(changes);
    let mut edited = Vec::with_capacity(document.len().saturating_add(grown));
    let mut copied = 0;
    for (span, text) in &changes {
        edited.extend_from_slice(document.get(copied..usize::try_from(span.start).ok()?)?);
        edited.extend_from_slice(text.as_bytes());
        copied = usize::try_from(span.end).ok()?;
    }
    edited.extend_from_slice(document.get(copied..)?);
    Some(edited)
}

/// They are few and mostly in order; a sort of the library's is as large as all of this module.
fn in_order(changes: Vec<(Span, String)>) -> Vec<(Span, String)> {
    let mut sorted: Vec<(Span, String)> = Vec::with_capacity(changes.len());
    for change in changes {
        let at = sorted.partition_point(|(span, _)| span.start <= change.0.start);
        sorted.insert(at, change);
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(start: u64, end: u64, text: &str) -> (Span, String) {
        (Span { start, end }, text.to_owned())
    }

    #[test]
    fn what_is_not_changed_stays() {
        let changes = vec![change(4, 6, "X"), change(0, 0, "<"), change(1, 2, "")];
        let edited = edited(b"abcdefg", changes);
        assert_eq!(edited.as_deref(), Some(&b"<acdXg"[..]));
    }

    #[test]
    fn places_must_be_there_and_apart() {
        assert_eq!(edited(b"abc", vec![change(2, 4, "")]), None);
        let overlapping = vec![change(0, 2, ""), change(1, 3, "")];
        assert_eq!(edited(b"abc", overlapping), None);
    }
}
