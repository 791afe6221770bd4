//! The text of a prompt or of an answer, kept for someone who is to be shown all of it.

use std::fmt;

/// A prompt's text, or an answer's. Kept only where a policy has it judged elsewhere.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Prompt {
    text: Vec<u8>,
    /// Where the string that is being read begins.
    start: usize,
    /// It has become too long, and may still turn out to be a picture.
    spilt: bool,
    /// Some text is not here.
    lacks: bool,
    /// Where longer strings are.
    long: Vec<(usize, usize)>,
}

impl fmt::Debug for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prompt({} bytes)", self.text.len())
    }
}

impl Prompt {
    /// The longest text that is kept, in bytes.
    pub const MAX: usize = 128 * 1024;

    /// Takes the next piece of a string.
    pub fn push(&mut self, piece: &[u8]) {
        let len = self.text.len().saturating_add(piece.len());
        self.spilt |= len > Self::MAX;
        if !self.spilt && !self.lacks {
            self.text.extend_from_slice(piece);
        }
    }

    /// The string is over; the next one begins on a line of its own.
    pub fn end(&mut self) {
        if std::mem::take(&mut self.spilt) {
            self.lack();
        }
        if self.text.len() > self.start {
            self.text.push(b'\n');
            self.start = self.text.len();
        }
    }

    /// Takes a whole string; a long one that is here already is not taken again: some streams say all of their text once more
    /// at their end, or more often.
    pub fn add(&mut self, string: &[u8]) {
        const LONG: usize = 64;
        let text = &self.text;
        let mut long = self.long.iter();
        if long.any(|(start, end)| text.get(*start..*end) == Some(string)) {
            return;
        }
        let start = text.len();
        self.push(string);
        self.end();
        if string.len() >= LONG {
            self.long.push((start, start.saturating_add(string.len())));
        }
    }

    /// The string is over, and was no text.
    pub fn discard(&mut self) {
        self.text.truncate(self.start);
        self.spilt = false;
    }

    /// There was text that cannot be read. What was kept is of no use any more.
    pub fn lack(&mut self) {
        *self = Self {
            lacks: true,
            ..Self::default()
        };
    }

    /// All of the text; `None` where some is missing.
    pub fn into_text(mut self) -> Option<String> {
        // But for the last line's end.
        self.text.pop();
        if self.lacks {
            return None;
        }
        // Of a form anything may come.
        String::from_utf8(self.text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(strings: &[&[&str]]) -> Prompt {
        let mut prompt = Prompt::default();
        for pieces in strings {
            for piece in *pieces {
                prompt.push(piece.as_bytes());
            }
            prompt.end();
        }
        prompt
    }

    #[test]
    fn each_string_has_a_line_of_its_own() {
        let prompt = of(&[&["one ", "two"], &[], &["three"], &[""]]);
        assert_eq!(format!("{prompt:?}"), "Prompt(14 bytes)");
        assert_eq!(prompt.into_text().as_deref(), Some("one two\nthree"));
        assert_eq!(of(&[]).into_text().as_deref(), Some(""));
    }

    #[test]
    fn what_is_said_again_is_here_once() {
        let mut prompt = Prompt::default();
        let long = "twice ".repeat(20);
        for string in ["ok", &long, "ok", &long, "end"] {
            prompt.add(string.as_bytes());
        }
        assert_eq!(prompt.into_text(), Some(format!("ok\n{long}\nok\nend")));
    }

    #[test]
    fn what_is_too_long_is_missing() {
        let half = "x".repeat(Prompt::MAX / 2);
        let rest = "x".repeat(Prompt::MAX / 2 - 2);
        let fits = of(&[&[&half], &[&rest]]);
        assert_eq!(
            fits.into_text().map(|text| text.len()),
            Some(Prompt::MAX - 1)
        );
        let over = of(&[&[&half], &[&half, "y"], &["after"]]);
        assert!(over.text.is_empty(), "nothing is kept in vain");
        assert_eq!(over.into_text(), None);
    }

    #[test]
    fn a_picture_is_no_text_however_large() {
        let mut prompt = of(&[&["look:"]]);
        for _ in 0..3 {
            prompt.push(&vec![b'A'; Prompt::MAX]);
        }
        assert!(prompt.text.len() <= Prompt::MAX);
        prompt.discard();
        prompt.push(b"well?");
        prompt.end();
        assert_eq!(prompt.into_text().as_deref(), Some("look:\nwell?"));
    }
}
