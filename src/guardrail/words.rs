//! Words that may not be said.

use super::window::REACH;

/// A list of words, found where they stand by themselves, whatever the case of their Latin, Greek and Cyrillic letters.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Words {
    /// In lower case, sorted.
    folded: Vec<Box<[u8]>>,
    /// The lengths that there are, each once: so many words are looked up at a place at most, however many begin alike.
    lengths: Vec<usize>,
    /// With what one of them begins: a bit for each byte, in lower case.
    first: [u64; 4],
}

impl Words {
    /// The longest word, in bytes.
    pub const MAX: usize = REACH.saturating_sub(4);

    /// Of these words, none of them empty or too long.
    pub fn new(words: impl IntoIterator<Item = String>) -> Self {
        let mut list = Self::default();
        for word in words {
            let mut word = word.into_bytes().into_boxed_slice();
            fold(&mut word);
            if let Some(first) = word.first() {
                // In upper case it may begin with another byte.
                for byte in [Some(*first), unfolded_lead(*first)].into_iter().flatten() {
                    let (block, bit) = (usize::from(byte >> 6), byte & 63);
                    if let Some(block) = list.first.get_mut(block) {
                        *block |= 1 << bit;
                    }
                }
                if let Err(place) = list.lengths.binary_search(&word.len()) {
                    list.lengths.insert(place, word.len());
                }
                if let Err(place) = list.folded.binary_search(&word) {
                    list.folded.insert(place, word);
                }
            }
        }
        list
    }

    /// Whether it is known which of them begins at this place, whatever follows.
    pub(super) fn is_settled(&self, text: &[u8], at: usize) -> bool {
        // With what decides whether a word goes on behind it.
        let longest = self
            .lengths
            .last()
            .map_or(0, |longest| longest.saturating_add(1));
        text.len() >= at.saturating_add(longest) || !self.may_begin(text, at)
    }

    fn may_begin(&self, text: &[u8], at: usize) -> bool {
        let Some(first) = text.get(at).map(u8::to_ascii_lowercase) else {
            return false;
        };
        let block = self.first.get(usize::from(first >> 6)).copied();
        block.unwrap_or_default() >> (first & 63) & 1 != 0 && !is_inside(text, at)
    }

    /// The length of the longest of them that begins at this place.
    pub(super) fn at(&self, text: &[u8], at: usize) -> Option<usize> {
        if !self.may_begin(text, at) {
            return None;
        }
        let rest = text.get(at..).unwrap_or_default();
        let mut text_here = [0; Self::MAX];
        let longest = rest.len().min(Self::MAX);
        for (to, from) in text_here.iter_mut().zip(rest) {
            *to = *from;
        }
        fold(&mut text_here);
        let mut lengths = self.lengths.iter().rev().copied();
        lengths.find(|len| {
            let head = text_here.get(..*len).filter(|_| *len <= longest);
            let head = head.unwrap_or_default();
            let known = self.folded.binary_search_by(|word| (**word).cmp(head));
            known.is_ok() && !is_inside(text, at.saturating_add(*len))
        })
    }
}

/// Writes letters in lower case: those that have as many bytes there. Any cut of a text folds alike, but for a letter that is cut.
fn fold(text: &mut [u8]) {
    text.make_ascii_lowercase();
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| (0xc3..=0xd1).contains(byte)) {
        let Some([lead, trail, after @ ..]) = rest.get_mut(at..) else {
            return;
        };
        if let Some(code) = lower(u16::from(*lead & 0x1f) << 6 | u16::from(*trail & 0x3f)) {
            let [high, low] = (code << 2).to_be_bytes();
            (*lead, *trail) = (0xc0 | high, 0x80 | low >> 2);
        }
        rest = after;
    }
}

/// The small letter of a capital one, of those with two bytes both.
const fn lower(code: u16) -> Option<u16> {
    let pair = match code {
        0xd7 | 0x130 | 0x138 | 0x149 | 0x178 | 0x3a2 => return None,
        0xc0..=0xde | 0x391..=0x3ab | 0x410..=0x42f => return Some(code.wrapping_add(0x20)),
        0x400..=0x40f => return Some(code.wrapping_add(0x50)),
        0x100..=0x137 | 0x14a..=0x177 | 0x460..=0x47f => code & 1 == 0,
        0x139..=0x148 | 0x179..=0x17e => code & 1 == 1,
        _ => false,
    };
    if pair {
        Some(code.wrapping_add(1))
    } else {
        None
    }
}

/// With which other byte a letter may begin that begins with this one in lower case.
const fn unfolded_lead(lead: u8) -> Option<u8> {
    match lead {
        0xc5 | 0xcf | 0xd1 => Some(lead.wrapping_sub(1)),
        _ => None,
    }
}

/// Whether a place is in the middle of a word: letters or digits on both sides. Beyond ASCII every character is a letter,
/// but those of scripts without spaces (kana, Han, Hangul) are words each.
pub(super) fn is_inside(text: &[u8], at: usize) -> bool {
    let byte = |at: Option<usize>| at.and_then(|at| text.get(at)).copied();
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte >= 0x80;
    let wide = |byte: Option<u8>| byte.is_some_and(|byte| (0xe3..=0xed).contains(&byte));
    byte(at.checked_sub(1)).is_some_and(letter)
        && byte(Some(at)).is_some_and(letter)
        && !wide(byte(Some(at)))
        && !wide(byte(at.checked_sub(3)))
}
