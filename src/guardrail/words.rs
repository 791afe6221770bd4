//! Words that may not be said.

use super::window::REACH;

/// A list of words, found where they stand by themselves, whatever the case of ASCII letters.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// In lower case, sorted.
    words: Vec<Box<[u8]>>,
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
                if let Err(place) = list.words.binary_search(&word) {
                    list.words.insert(place, word);
                }
            }
        }
        list
    }

    /// Whether one of them begins at this place.
    pub(super) fn at(&self, text: &[u8], at: usize) -> bool {
        let rest = text.get(at..).unwrap_or_default();
        let Some(first) = rest.first().map(u8::to_ascii_lowercase) else {
            return false;
        };
        let block = self.first.get(usize::from(first >> 6)).copied();
        if block.unwrap_or_default() >> (first & 63) & 1 == 0 || is_inside(text, at) {
            return false;
        }
        let begin = self
            .words
            .partition_point(|word| word.first() < Some(&first));
        let candidates = self.words.get(begin..).unwrap_or_default().iter();
        let mut candidates = candidates.take_while(|word| word.first() == Some(&first));
        candidates.any(|word| {
            rest.split_at_checked(word.len())
                .is_some_and(|(head, _)| head.eq_ignore_ascii_case(word))
                && !is_inside(text, at.saturating_add(word.len()))
        })
    }
}

/// Whether a place is in the middle of a word: letters or digits on both sides. Beyond ASCII every character is a letter,
/// but those of scripts without spaces (kana, Han, Hangul) are words each.
fn is_inside(text: &[u8], at: usize) -> bool {
    let byte = |at: Option<usize>| at.and_then(|at| text.get(at)).copied();
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte >= 0x80;
    let wide = |byte: Option<u8>| byte.is_some_and(|byte| (0xe3..=0xed).contains(&byte));
    byte(at.checked_sub(1)).is_some_and(letter)
        && byte(Some(at)).is_some_and(letter)
        && !wide(byte(Some(at)))
        && !wide(byte(at.checked_sub(3)))
}
