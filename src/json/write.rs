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
        self.ascii(text.as_bytes())
    }

    /// The same of text that is ASCII.
    // An event alone has dozens of them: what each takes stands in one place.
    #[inline(never)]
    pub fn ascii(&mut self, text: &[u8]) -> &mut Self {
        self.0.extend_from_slice(text);
        self
    }

    /// RFC 8259 7.
    pub fn string(&mut self, value: &str) -> &mut Self {
        self.comma();
        self.quoted(value)
    }

    /// A string where no comma is to come, or has come already.
    pub fn quoted(&mut self, value: &str) -> &mut Self {
        self.0.push(b'"');
        if is_plain(value.as_bytes()) {
            self.piece(value).0.push(b'"');
            return self;
        }
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
        self.comma();
        self.quoted_or_null(value)
    }

    /// The same where no comma is to come, or has come already.
    pub fn quoted_or_null(&mut self, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.quoted(value),
            None => self.piece("null"),
        }
    }

    /// A piece, and what [`Self::quoted_or_null`] puts behind it.
    // In one place, as for `ascii`; so is the next.
    #[inline(never)]
    pub fn text_behind(&mut self, piece: &str, value: Option<&str>) -> &mut Self {
        self.piece(piece).quoted_or_null(value)
    }

    /// A piece, and a whole number behind it.
    #[inline(never)]
    pub fn count_behind(&mut self, piece: &str, value: u64) -> &mut Self {
        self.piece(piece).count(value)
    }

    /// A whole number, likewise.
    pub fn count(&mut self, value: u64) -> &mut Self {
        push_decimal(&mut self.0, value);
        self
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

/// Whether all of a text is surely written as it is. As a rule it is: eight bytes at a time.
fn is_plain(text: &[u8]) -> bool {
    const fn each(byte: u8) -> u64 {
        u64::from_le_bytes([byte; 8])
    }
    // Of bytes without the highest bit a sum has it where they are large enough, and none carries.
    let plain = |word: u64| {
        let low = word & each(0x7f);
        let is_not = |byte: u8| (low ^ each(byte)).wrapping_add(each(0x7f));
        let shown = low.wrapping_add(each(0x60)) & is_not(0x7f) & is_not(b'"') & is_not(b'\\');
        shown & !word & each(0x80) == each(0x80)
    };
    let (words, rest) = text.as_chunks::<8>();
    // What of the last bytes was looked at before is the same.
    let ends_plain = match (text.last_chunk(), rest.first_chunk(), rest.last_chunk()) {
        (Some(last), ..) => plain(u64::from_le_bytes(*last)),
        (None, Some(first), Some(last)) => {
            let [first, last] = [first, last].map(|half| u32::from_le_bytes(*half));
            plain(u64::from(first) | (u64::from(last) << 32))
        }
        _ => !rest.iter().any(|byte| is_special(*byte)),
    };
    ends_plain && words.iter().all(|word| plain(u64::from_le_bytes(*word)))
}

/// Whether this byte may begin a character that is not written as it is: of U+2028 and U+2029 it is the first of three.
const fn is_special(byte: u8) -> bool {
    matches!(byte, 0..=0x1f | b'"' | b'\\' | 0x7f | 0xe2)
}

/// Writes a whole number. `format!` would take a hundred times as long.
pub fn push_decimal(text: &mut Vec<u8>, value: u64) {
    const EIGHT_DIGITS: u64 = 100_000_000;
    if let digit @ 0..=9 = value {
        return text.push(b'0' | digit.to_le_bytes()[0]);
    }
    let (high, low) = match value {
        ..EIGHT_DIGITS => (0, value),
        _ => (value / EIGHT_DIGITS, value % EIGHT_DIGITS),
    };
    if high > 0 {
        push_decimal(text, high);
    }
    let digits = digits(low);
    // Behind other digits all eight count, else from the first on that is not zero.
    let zeros = if high > 0 {
        0
    } else {
        digits.trailing_zeros() / 8
    };
    let shown = (digits | u64::from_le_bytes([b'0'; 8])).to_le_bytes();
    text.extend_from_slice(shown.get(zeros as usize..).unwrap_or_default());
}

/// The eight digits of a number that has no more, a byte each, the first one lowest: fours are parted into pairs and those
/// into digits, all at once. A product and a shift stand for a division; of numbers this small they are exact.
const fn digits(value: u64) -> u64 {
    let fours = (value / 10_000) | ((value % 10_000) << 32);
    let hundreds = (fours.wrapping_mul(10_486) >> 20) & 0x7f_0000_007f;
    let pairs = (fours.wrapping_sub(hundreds.wrapping_mul(100)) << 16) | hundreds;
    let tens = (pairs.wrapping_mul(103) >> 10) & 0xf_000f_000f_000f;
    (pairs.wrapping_sub(tens.wrapping_mul(10)) << 8) | tens
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
        // Every pair of digits in every place.
        let places = (0..4).map(|place| 100_u64.pow(place));
        let pairs = places.flat_map(|place| (0..100).map(move |pair| pair * place));
        let fours = (0..10_000).map(|four| four * 10_001);
        for number in [0, 7, 10, 99, 100, 1_000_000_000, u64::MAX]
            .into_iter()
            .chain(large)
            .chain(pairs)
            .chain(fours)
        {
            let mut text = Vec::new();
            push_decimal(&mut text, number);
            assert_eq!(text, number.to_string().as_bytes());
        }
    }

    #[test]
    fn every_byte_is_seen_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for length in 1..20 {
                for at in 0..length {
                    let mut text = vec![b'a'; length];
                    text[at] = byte;
                    let special = is_special(byte);
                    assert!(!special || !is_plain(&text), "{byte} at {at} of {length}");
                    let plain = byte.is_ascii() && !special;
                    assert!(!plain || is_plain(&text), "{byte} at {at} of {length}");
                }
            }
        }
        assert!(is_plain(b""));
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
