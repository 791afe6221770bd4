//! Writing JSON, member by member, in the order the members come.

use std::fmt::Write;

/// A document being written. Commas come by themselves; that brackets match and members have keys is the caller's part.
#[derive(Debug, Default)]
pub struct Writer(String);

impl Writer {
    /// With room for this many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(String::with_capacity(bytes))
    }

    /// `{` or `[`
    pub fn open(&mut self, bracket: char) -> &mut Self {
        self.comma();
        self.0.push(bracket);
        self
    }

    /// `}` or `]`
    pub fn close(&mut self, bracket: char) -> &mut Self {
        self.0.push(bracket);
        self
    }

    /// The name of a member, whose value is to follow.
    pub fn key(&mut self, name: &str) -> &mut Self {
        self.string(name);
        self.0.push(':');
        self
    }

    /// RFC 8259 7.
    pub fn string(&mut self, value: &str) -> &mut Self {
        self.comma();
        self.0.push('"');
        for char in value.chars() {
            match char {
                '"' | '\\' => {
                    self.0.push('\\');
                    self.0.push(char);
                }
                // U+2028 and U+2029 are legal in JSON, but some readers of JSON lines split there.
                '\0'..='\x1f' | '\x7f' | '\u{2028}' | '\u{2029}' => {
                    let _ = write!(self.0, "\\u{:04x}", u32::from(char)); // a String takes everything
                }
                _ => self.0.push(char),
            }
        }
        self.0.push('"');
        self
    }

    /// A string or `null`.
    pub fn optional(&mut self, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.string(value),
            None => self.verbatim("null"),
        }
    }

    /// A whole number.
    pub fn number(&mut self, value: u64) -> &mut Self {
        self.comma();
        let _ = write!(self.0, "{value}"); // a String takes everything
        self
    }

    /// `true` or `false`
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.verbatim(if value { "true" } else { "false" })
    }

    /// A value that is JSON already.
    pub fn verbatim(&mut self, value: &str) -> &mut Self {
        self.comma();
        self.0.push_str(value);
        self
    }

    /// The document.
    pub fn finish(self) -> String {
        self.0
    }

    /// No value ends with any of these, and all that is no value does.
    fn comma(&mut self) {
        if !self.0.is_empty() && !self.0.ends_with(['{', '[', ':']) {
            self.0.push(',');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_items_are_parted_by_commas() {
        let mut json = Writer::default();
        json.open('{').key("a:").string("b{").key("c").open('[');
        json.open('{').close('}').number(7).open('[').close(']');
        json.bool(true).optional(None).close(']');
        json.key("d").verbatim("1.50").close('}');
        assert_eq!(
            json.finish(),
            r#"{"a:":"b{","c":[{},7,[],true,null],"d":1.50}"#
        );
    }

    #[test]
    fn strings_are_what_a_reader_reads() {
        let text = "a\"\\\n\0\u{7f}\u{2028}\u{2029}é😀";
        let mut json = Writer::default();
        json.string(text);
        let json = json.finish();
        assert!(!json.contains(['\n', '\u{2028}']));
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
