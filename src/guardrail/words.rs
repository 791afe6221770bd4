//! Words that may not be said.

use super::window::REACH;

/// A list of words, found where they stand by themselves, whatever the case of ASCII letters.
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
            let word = word.to_ascii_lowercase().into_bytes().into_boxed_slice();
            if let Some(first) = word.first() {
                let (block, bit) = (usize::from(first >> 6), first & 63);
                if let Some(block) = list.first.get_mut(block) {
                    *block |= 1 << bit;
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
            *to = from.to_ascii_lowercase();
        }
        let mut lengths = self.lengths.iter().rev().copied();
        lengths.find(|len| {
            let head = text_here.get(..*len).filter(|_| *len <= longest);
            let head = head.unwrap_or_default();
            let known = self.folded.binary_search_by(|word| (**word).cmp(head));
            known.is_ok() && !is_inside(text, at.saturating_add(*len))
        })
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
