//! Sets of characters.

/// Characters of which one is matched. ASCII letters are in it in both cases or not at all.
#[derive(Clone, Debug, Default)]
pub(super) struct Class {
    ascii: u128,
    /// Those beyond ASCII, first and last.
    ranges: Vec<(char, char)>,
    /// Whether it is all beyond ASCII but those.
    others: bool,
}

impl Class {
    /// One character.
    pub(super) fn of(char: char) -> Self {
        let mut class = Self::default();
        class.add(char, char);
        class
    }

    /// All characters but line ends.
    pub(super) fn any() -> Self {
        Self::of('\n').inverted()
    }

    /// As `\d`, `\s`, `\w` and their inverses have it: of ASCII.
    pub(super) fn named(name: char) -> Option<Self> {
        let ranges: &[_] = match name.to_ascii_lowercase() {
            'd' => &[('0', '9')],
            's' => &[('\t', '\r'), (' ', ' ')],
            'w' => &[('0', '9'), ('a', 'z'), ('_', '_')],
            _ => return None,
        };
        let mut class = Self::default();
        for (first, last) in ranges {
            class.add(*first, *last);
        }
        Some(if name.is_ascii_uppercase() {
            class.inverted()
        } else {
            class
        })
    }

    /// Puts in all characters from one to another.
    pub(super) fn add(&mut self, first: char, last: char) {
        for byte in 0..=127_u8 {
            let cases = [byte.to_ascii_lowercase(), byte.to_ascii_uppercase()];
            let mut cases = cases.into_iter().map(char::from);
            if cases.any(|char| first <= char && char <= last) {
                self.ascii |= 1 << byte;
            }
        }
        if !last.is_ascii() {
            self.ranges.push((first.max('\u{80}'), last));
        }
    }

    /// Puts in all characters of another. `false` where that cannot be said.
    pub(super) fn merge(&mut self, other: Self) -> bool {
        self.ascii |= other.ascii;
        if other.others && other.ranges.is_empty() && self.ranges.is_empty() {
            self.others = true;
            return true;
        }
        let fits = !self.others && !other.others;
        self.ranges.extend(other.ranges);
        fits
    }

    /// All that is not in it.
    pub(super) fn inverted(self) -> Self {
        Self {
            ascii: !self.ascii,
            others: !self.others,
            ..self
        }
    }

    /// Those of ASCII, a bit each.
    pub(super) const fn ascii(&self) -> u128 {
        self.ascii
    }

    /// Whether a character is in it.
    pub(super) fn has(&self, char: char) -> bool {
        if char.is_ascii() {
            return self.ascii >> u32::from(char) & 1 != 0;
        }
        let mut ranges = self.ranges.iter();
        ranges.any(|(first, last)| (*first..=*last).contains(&char)) != self.others
    }

    /// The bytes of its longest character.
    pub(super) fn longest(&self) -> usize {
        let ends = self.ranges.iter().map(|(_, last)| last.len_utf8());
        if self.others {
            4
        } else {
            ends.max().unwrap_or(1)
        }
    }
}
