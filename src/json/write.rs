//! Writing JSON, member by member, in the order the members come.

/// A document being written. Commas come by themselves; that brackets match and members have keys is the caller's part.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// With room for this many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// `{` or `[`
    pub fn open(&mut self, bracket: char) -> &mut Self {
        self.comma();
        self.piece(bracket.encode_utf8(&mut [0; 4]))
    }

    /// `}` or `]`
    pub fn close(&mut self, bracket: char) -> &mut Self {
        self.piece(bracket.encode_utf8(&mut [0; 4]))
    }

    /// The name of a member, whose value is to follow. As it is: the names are ours.
    pub fn key(&mut self, name: &'static str) -> &mut Self {
        self.comma();
        self.piece("\"").piece(name).piece("\":")
    }

    /// A piece of a document as it is: brackets, commas and names, or a string's text that needs no escapes.
    pub fn piece(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// RFC 8259 7.
    pub fn string(&mut self, value: &str) -> &mut Self {
        self.comma();
        self.piece("\"");
        let mut rest = value;
        while let Some(at) = rest.bytes().position(is_special) {
            let (plain, tail) = rest.split_at_checked(at).unwrap_or((rest, ""));
            self.piece(plain);
            let mut chars = tail.chars();
            match chars.next() {
                Some('"') => {
                    self.piece("\\\"");
                }
                Some('\\') => {
                    self.piece("\\\\");
                }
                // U+2028 and U+2029 are legal in JSON, but some readers of JSON lines split there.
                Some(char @ ('\0'..='\x1f' | '\x7f' | '\u{2028}' | '\u{2029}')) => {
                    self.piece("\\u");
                    let digit = |shift: u32| char::from_digit(u32::from(char) >> shift & 15, 16);
                    for digit in [digit(12), digit(8), digit(4), digit(0)] {
                        self.piece(digit.unwrap_or('0').encode_utf8(&mut [0; 4]));
                    }
                }
                Some(char) => {
                    self.piece(char.encode_utf8(&mut [0; 4]));
                }
                None => {}
            }
            rest = chars.as_str();
        }
        self.piece(rest).piece("\"")
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
        push_decimal(&mut self.0, value);
        self
    }

    /// `true` or `false`
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.verbatim(if value { "true" } else { "false" })
    }

    /// A value that is JSON already.
    pub fn verbatim(&mut self, value: &str) -> &mut Self {
        self.comma();
        self.piece(value)
    }

    /// The document, as bytes: they are UTF-8.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The document.
    pub fn finish(self) -> String {
        // Only whole texts were written.
        String::from_utf8(self.0).unwrap_or_default()
    }

    /// No value ends with any of these, and all that is no value does.
    fn comma(&mut self) {
        if !matches!(self.0.last(), None | Some(b'{' | b'[' | b':')) {
            self.0.push(b',');
        }
    }
}

/// Whether this byte may begin a character that is not written as it is: of U+2028 and U+2029 it is the first of three.
const fn is_special(byte: u8) -> bool {
    matches!(byte, 0..=0x1f | b'"' | b'\\' | 0x7f | 0xe2)
}

/// Writes a whole number. `format!` would take a hundred times as long.
pub fn push_decimal(text: &mut Vec<u8>, value: u64) {
    const BILLION: u64 = 1_000_000_000;
    // Most numbers are small, and those are divided in a fraction of the time.
    let small = u32::try_from(value);
    if small.is_err() {
        push_decimal(text, value / BILLION);
    }
    let mut rest = small.unwrap_or_else(|_| u32::try_from(value % BILLION).unwrap_or_default());
    let mut digits = [b'0'; 10];
    let mut used = 0_usize;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' | (rest % 10).to_le_bytes()[0];
        rest /= 10;
        used = used.saturating_add(1);
        if rest == 0 {
            break;
        }
    }
    // Behind other digits all nine count.
    let used = if small.is_err() { 9 } else { used };
    let start = digits.len().saturating_sub(used);
    text.extend_from_slice(digits.get(start..).unwrap_or_default());
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
    fn numbers_have_all_their_digits() {
        let large = [
            4_294_967_295,
            4_294_967_296,
            9_000_000_000,
            5_000_000_000_000_000_007,
        ];
        for number in [0, 7, 10, 99, 100, 1_000_000_000, u64::MAX]
            .into_iter()
            .chain(large)
        {
            let mut text = Vec::new();
            push_decimal(&mut text, number);
            assert_eq!(text, number.to_string().as_bytes());
        }
    }

    #[test]
    fn strings_are_what_a_reader_reads() {
        let text = "a\"\\\n\0\u{7f}\u{2028}\u{2029}\u{2027}é😀";
        let mut json = Writer::default();
        json.string(text);
        let json = json.finish();
        assert!(!json.contains(['\n', '\u{2028}']));
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
