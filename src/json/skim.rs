//! The inside of strings, 64 bytes a step: how far it is such that nothing about it takes a closer look.

#![expect(
    clippy::inline_always,
    reason = "what is found in a block stays in registers"
)]

use super::lanes::{LANES, Lanes};
use super::utf8::{Checked, begun};

/// Bytes looked at together.
const BLOCK: usize = 4 * LANES;

/// What needs no closer look.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Skimmed {
    /// So many bytes: whole characters and escapes.
    pub(super) used: usize,
    /// What they say has so many bytes less.
    pub(super) less: usize,
}

/// Goes over the inside of a string, from between two of its characters on, as far as there are whole blocks. What it stops
/// before may be the closing quote, an escape that takes a closer look, or something wrong. `units`: no text is wanted, so
/// that most Unicode escapes need no such look.
// A function of its own has the machine's registers for itself.
#[inline(never)]
pub(super) fn skim(bytes: &[u8], units: bool) -> Skimmed {
    let (mut used, mut less) = (0_usize, 0_usize);
    let (mut rest, _) = bytes.as_chunks::<LANES>();
    // Of the block before: its last byte escapes; its last bytes are not ASCII.
    let (mut escape, mut open) = (0, false);
    // Behind it, or, unless it is open, behind ASCII.
    let mut utf8 = Checked::ascii();
    while let Some((block, behind)) = rest.split_first_chunk::<4>() {
        let block = Block::of(block);
        // The exclusive or makes a space of a quote, and leaves what is less than one.
        let stops = block.map(|lanes| lanes.xor(Lanes::all(b'"' ^ b' ')).below(0x21));
        let backslashes = block.map(|lanes| lanes.is(b'\\'));
        if escape == 0 && !open && !stops.or(backslashes).any() {
            used = used.wrapping_add(BLOCK);
            rest = behind;
            continue;
        }
        let high = block.bits();
        let mut stops = stops.bits() & !high;
        let mut escaped = escape;
        let mut last_escapes = 0;
        let mut longer = 0;
        let backslashes = backslashes.bits();
        if backslashes | escape != 0 {
            let begins = escaping(backslashes & !escape);
            last_escapes = begins >> 63;
            escaped |= begins << 1;
            stops &= !escaped;
            let mut others = escaped & !backslashes & before_first(stops);
            others &= !block.map(Lanes::usual_escape).bits();
            if others != 0 {
                others &= !block.map(Lanes::other_escape).bits();
                let here = bytes.get(used..).filter(|_| units);
                longer = read_units(here.unwrap_or_default(), &mut others);
                if others & 1 == 1 {
                    // The backslash is in the block before.
                    break;
                }
                stops |= others >> 1;
            }
        }
        let before = before_first(stops);
        if open || high & before != 0 {
            let text = if stops == 0 {
                block
            } else {
                block.first(stops.trailing_zeros() as usize)
            };
            if text.wrong(&mut utf8).any() {
                break;
            }
        }
        less = less.wrapping_add((escaped & before).count_ones() as usize);
        less = less.wrapping_add(longer);
        if stops != 0 {
            used = used.wrapping_add(stops.trailing_zeros() as usize);
            return Skimmed { used, less };
        }
        open = high >> 61 != 0;
        escape = last_escapes;
        used = used.wrapping_add(BLOCK);
        rest = behind;
    }
    // Back to between two characters.
    if escape != 0 {
        used = used.wrapping_sub(1);
    } else if open {
        used = used.wrapping_sub(begun(bytes.get(..used).unwrap_or_default()));
    }
    Skimmed { used, less }
}

#[derive(Clone, Copy)]
struct Block(Lanes, Lanes, Lanes, Lanes);

impl Block {
    #[inline(always)]
    fn of([a, b, c, d]: &[[u8; LANES]; 4]) -> Self {
        Self(Lanes::of(a), Lanes::of(b), Lanes::of(c), Lanes::of(d))
    }

    #[inline(always)]
    fn map(self, of: impl Fn(Lanes) -> Lanes) -> Self {
        Self(of(self.0), of(self.1), of(self.2), of(self.3))
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        Self(
            self.0.or(other.0),
            self.1.or(other.1),
            self.2.or(other.2),
            self.3.or(other.3),
        )
    }

    #[inline(always)]
    fn any(self) -> bool {
        self.0.or(self.1).or(self.2.or(self.3)).any()
    }

    /// The highest bit of each byte, that of the first lowest.
    #[inline(always)]
    fn bits(self) -> u64 {
        let low = u32::from(self.0.bits()) | u32::from(self.1.bits()) << 16;
        let high = u32::from(self.2.bits()) | u32::from(self.3.bits()) << 16;
        u64::from(low) | u64::from(high) << 32
    }

    /// So many of the first bytes, and 0 for the others.
    fn first(self, count: usize) -> Self {
        Self(
            self.0.first(count),
            self.1.first(count.saturating_sub(LANES)),
            self.2.first(count.saturating_sub(2 * LANES)),
            self.3.first(count.saturating_sub(3 * LANES)),
        )
    }

    /// What in these bytes is not UTF-8.
    #[inline(always)]
    fn wrong(self, utf8: &mut Checked) -> Lanes {
        let front = utf8.go_on(self.0).or(utf8.go_on(self.1));
        front.or(utf8.go_on(self.2)).or(utf8.go_on(self.3))
    }
}

/// Which of these backslashes escape what follows: of each run the first, the third and so on.
#[inline(always)]
const fn escaping(backslashes: u64) -> u64 {
    const EVEN: u64 = 0x5555_5555_5555_5555;
    // Adding its first bit clears a run, and only the one that it was added to.
    let begin = backslashes & !(backslashes << 1);
    let even_runs = backslashes & !backslashes.wrapping_add(begin & EVEN);
    backslashes & !(even_runs ^ EVEN)
}

/// The bits below the lowest that is set; all where none is.
#[inline(always)]
const fn before_first(bits: u64) -> u64 {
    (bits & bits.wrapping_neg()).wrapping_sub(1)
}

impl Lanes {
    /// What most escapes have behind their backslash.
    #[inline(always)]
    fn usual_escape(self) -> Self {
        self.is(b'n').or(self.is(b'"'))
    }

    /// What others have. Of `b` nobody will miss it.
    #[inline(always)]
    fn other_escape(self) -> Self {
        /// By how far they are behind `e`.
        #[expect(clippy::indexing_slicing, reason = "at compile time")]
        const LETTERS: [u8; LANES] = {
            let mut letters = [0; LANES];
            letters[(b'f' - b'e') as usize] = 0xFF;
            letters[(b'r' - b'e') as usize] = 0xFF;
            letters[(b't' - b'e') as usize] = 0xFF;
            letters
        };
        let letters = self.wrapping_sub(b'e').look_up(Self::of(&LETTERS));
        letters.or(self.is(b'/'))
    }
}

/// Takes out of the places of escapes those that are a whole character, up to the first that is none: how much longer than
/// two bytes they are than what they say. The bytes go on behind the block.
fn read_units(bytes: &[u8], places: &mut u64) -> usize {
    let mut longer = 0_usize;
    while *places != 0
        && let Some(escape) = bytes.get(places.trailing_zeros() as usize..)
        && let Some(len) = unit_len(escape)
    {
        longer = longer.wrapping_add(5).wrapping_sub(len);
        *places &= places.wrapping_sub(1);
    }
    longer
}

const NO_DIGIT: u8 = 0xFF;

/// The values of hexadecimal digits.
#[expect(clippy::indexing_slicing, reason = "at compile time")]
static DIGITS: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        let digit = b"0123456789abcdef"[value as usize];
        values[digit as usize] = value;
        values[digit.to_ascii_uppercase() as usize] = value;
        value += 1;
    }
    values
};

/// The length of the character that a Unicode escape stands for, from its `u` on, unless it is half of one.
fn unit_len(escape: &[u8]) -> Option<usize> {
    let [b'u', digits @ ..] = escape.first_chunk::<5>()? else {
        return None;
    };
    // Looked up: whether a digit is a letter cannot be foretold.
    let value = |byte: u8| u32::from(DIGITS.get(usize::from(byte)).copied().unwrap_or(NO_DIGIT));
    let [a, b, c, d] = digits;
    let (a, b, c, d) = (value(*a), value(*b), value(*c), value(*d));
    if a | b | c | d > 0xF {
        return None;
    }
    let unit = a << 12 | b << 8 | c << 4 | d;
    match unit {
        0..0x80 => Some(1),
        0x80..0x800 => Some(2),
        0xD800..0xE000 => None,
        _ => Some(3),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

    use super::*;
    use proptest::prelude::*;

    /// By definition: where the first thing is that takes a closer look, whether it is something wrong with UTF-8, and the
    /// length of what the text before it says.
    fn by_definition(bytes: &[u8], units: bool) -> (usize, bool, usize) {
        let (mut at, mut len) = (0, 0);
        loop {
            let rest = &bytes[at..];
            let (used, said) = match rest {
                [b'\\', b'"' | b'\\' | b'/' | b'f' | b'n' | b'r' | b't', ..] => (2, 1),
                [b'\\', b'u', digits @ ..] if units => {
                    let digits = digits
                        .get(..4)
                        .and_then(|digits| str::from_utf8(digits).ok());
                    let digits = digits.filter(|digits| !digits.starts_with('+'));
                    let unit = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
                    match unit.and_then(char::from_u32) {
                        Some(char) => (6, char.len_utf8()),
                        None => return (at, false, len),
                    }
                }
                [] | [b'"' | b'\\' | 0..0x20, ..] => return (at, false, len),
                _ => {
                    let first = (1..=rest.len().min(4))
                        .find_map(|len| str::from_utf8(&rest[..len]).ok().map(str::len));
                    match first {
                        Some(len) => (len, len),
                        None => return (at, true, len),
                    }
                }
            };
            at += used;
            len += said;
        }
    }

    fn same(bytes: &[u8], units: bool) {
        let Skimmed { used, less } = skim(bytes, units);
        let (end, wrong, _) = by_definition(bytes, units);
        let whole = bytes.len() / BLOCK * BLOCK;
        let shown = bytes.escape_ascii();
        assert!(used <= end, "{used} {end} {shown}");
        if end < whole && !wrong {
            assert_eq!(used, end, "{shown}");
        } else {
            // From the block's beginning on, or from that of a character or an escape that reaches into it.
            let block = end.min(whole) / BLOCK * BLOCK;
            assert!(used + 3 >= block, "{used} {end} {shown}");
        }
        // What a Unicode escape is cut in goes on as plain text, and comes to the same.
        let (end, _, len) = by_definition(&bytes[..used], units);
        let inside = units && end < used && used - end < 6;
        assert!(end == used || inside, "{used} {end} {shown}");
        if end == used {
            assert_eq!(used - less, len, "{shown}");
        }
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            8 => "[ -!#-\\[\\]-~]{1,70}".prop_map(String::into_bytes),
            8 => "[é–你😀가ไa]{1,30}".prop_map(String::into_bytes),
            4 => ".{1,8}".prop_map(|text| text.replace(['"', '\\'], "-").into_bytes()),
            6 => proptest::sample::select(vec!["\\n", "\\\"", "\\\\", "\\/", "\\t", "\\\\\\\\", "\\\\\\n", "\\f", "\\r"])
                .prop_map(|escape| escape.as_bytes().to_vec()),
            2 => "\\\\u[0-9a-fA-F]{4}".prop_map(String::into_bytes),
        ]
    }

    fn odd() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => any::<u8>().prop_map(|byte| vec![byte]),
            2 => (0x80_u8.., 0x7E_u8..).prop_map(|(first, second)| vec![first, second]),
            1 => proptest::sample::select(vec![&b"\""[..], b"\\b", b"\\x", b"\\", b"\\u12", b"\\u12g4", b"\\ud83d\\ude00", b"\\\n", b"\\\x80"])
                .prop_map(<[u8]>::to_vec),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

        #[test]
        fn it_stops_where_the_definition_says(
            before in proptest::collection::vec(piece(), 0..12),
            odd in odd(),
            after in proptest::collection::vec(piece(), 0..12),
        ) {
            let text = [before.concat(), odd, after.concat()].concat();
            same(&text, false);
            same(&text, true);
        }
    }

    #[test]
    fn every_beginning_is_judged_wherever_it_is() {
        const EDGES: [u8; 10] = [0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xE0, 0xFF];
        let mut bytes = [b'a'; 2 * BLOCK];
        for first in 0x7F..=u8::MAX {
            for second in EDGES {
                for (third, fourth) in [(b'a', 0x80), (0x80, b'a'), (0x80, 0x80)] {
                    for at in [13, 14, 61, 62, 63] {
                        bytes[at..at + 5].copy_from_slice(&[first, second, third, fourth, b'a']);
                        same(&bytes, false);
                    }
                    bytes.fill(b'a');
                }
            }
        }
    }

    #[test]
    fn runs_of_backslashes_escape_wherever_they_begin() {
        for at in 0..BLOCK {
            for len in 0..BLOCK + 10 {
                let mut bytes = [b'n'; 3 * BLOCK];
                bytes[at..at + len].fill(b'\\');
                same(&bytes, false);
                bytes[at + len] = b'"';
                same(&bytes, false);
            }
        }
    }

    #[test]
    fn of_other_alphabets_nothing_takes_a_closer_look() {
        for text in [
            "é",
            "–",
            "你好",
            "ไทย",
            "हिन्दी",
            "한국어 하다",
            "😀👍🏽",
            "\u{10FFFF}\u{7FF}\u{800}\u{D7FF}\u{E000}\u{FFFF}\u{10000}",
        ] {
            let text = text.repeat(100);
            let whole = text.len() / BLOCK * BLOCK;
            let Skimmed { used, less } = skim(text.as_bytes(), false);
            assert!(used + 3 >= whole && less == 0, "{text}: {used}");
        }
    }
}
