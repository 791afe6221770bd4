//! Which of a few static paths the scanner is at: `/model`, `/tools/*/model`.
//!
//! One bit for each pattern, one mask for each depth; no allocation. It also tells when a path only matches with
//! letter case ignored, and when an object has the same watched key twice: readers differ on both.

use super::lanes::{LANES, Lanes};
use super::{Container, Text};

/// Patterns have at most this many segments.
const MAX_SEGMENTS: usize = 8;

/// Longer keys than this match nothing.
pub(crate) const MAX_KEY: usize = 64;

/// How many lists of patterns a set is made of.
const LISTS: usize = 3;

/// A static set of patterns, each a list of keys, `"*"` standing for any element of an array.
#[derive(Debug)]
pub struct Patterns {
    lists: [&'static [&'static [&'static str]]; LISTS],
    /// `ends[d]`: the patterns that have `d` segments.
    ends: [u64; MAX_SEGMENTS + 1],
    /// `elements[d]`: the patterns whose segment `d` is `"*"`.
    elements: [u64; MAX_SEGMENTS],
    /// Of each pattern the [`tag`] of its first segment.
    tags: [[u8; LANES]; BLOCKS],
}

/// Tags that are looked at together, so many times.
const BLOCKS: usize = 64 / LANES;

/// By what a segment is known, in whatever case of letters: most keys are at the top of a document, where every pattern
/// begins, and only those with the same tag are worth a look.
#[expect(clippy::cast_possible_truncation, reason = "its lowest bits will do")]
const fn tag(segment: &[u8]) -> u8 {
    let (first, last) = match segment {
        [first, .., last] => (first.to_ascii_lowercase(), last.to_ascii_lowercase()),
        [only] => (only.to_ascii_lowercase(), 0),
        [] => (0, 0),
    };
    first ^ last << 3 ^ (segment.len() as u8) << 5
}

impl Patterns {
    /// Of at most 64 patterns of at most 8 segments; more do not compile in a `static`.
    pub const fn new(list: &'static [&'static [&'static str]]) -> Self {
        Self::of([list, &[], &[]])
    }

    /// Of several lists, as if they were one.
    #[expect(
        clippy::indexing_slicing,
        reason = "runs in constants: a wrong index fails the build"
    )]
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "runs in constants: an overflow fails the build"
    )]
    pub const fn of(lists: [&'static [&'static [&'static str]]; LISTS]) -> Self {
        let mut ends = [0; MAX_SEGMENTS + 1];
        let mut elements = [0; MAX_SEGMENTS];
        let mut tags = [[0; LANES]; BLOCKS];
        let mut bit = 1_u64;
        let mut l = 0;
        while l < LISTS {
            let mut p = 0;
            while p < lists[l].len() {
                let pattern = lists[l][p];
                // A 65th pattern fails the build here: the bit has left the word.
                ends[pattern.len()] |= [bit][(bit == 0) as usize];
                let place = bit.trailing_zeros() as usize;
                tags[place / LANES][place % LANES] = tag(pattern[0].as_bytes());
                let mut s = 0;
                while s < pattern.len() {
                    if let [b'*'] = pattern[s].as_bytes() {
                        elements[s] |= bit;
                    }
                    s += 1;
                }
                bit <<= 1;
                p += 1;
            }
            l += 1;
        }
        Self {
            lists,
            ends,
            elements,
            tags,
        }
    }
}

impl Patterns {
    /// Those that may begin with a segment; perhaps bits that stand for none.
    fn beginning_with(&self, segment: &[u8]) -> u64 {
        let tag = tag(segment);
        self.tags.iter().rev().fold(0, |bits, block| {
            bits << LANES | u64::from(Lanes::of(block).is(tag).bits())
        })
    }

    /// The pattern of the lowest of the bits.
    pub(crate) fn get(&self, bits: u64) -> Option<&'static [&'static str]> {
        let mut index = bits.trailing_zeros() as usize;
        for list in &self.lists {
            if let Some(pattern) = list.get(index) {
                return Some(pattern);
            }
            index = index.saturating_sub(list.len());
        }
        None
    }
}

/// Follows a [`super::Scanner`] through a document: to be told of every container and key.
#[derive(Debug)]
pub struct PathMatcher {
    patterns: &'static Patterns,
    depth: usize,
    levels: [Level; MAX_SEGMENTS + 1],
}

/// Bit masks over the patterns whose segments down to here match the position of the current value.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    exact: u64,
    /// With letter case ignored; holds `exact`.
    folded: u64,
    /// Those whose key this object has had already.
    seen: u64,
}

impl Level {
    /// Every pattern begins where a document does.
    const BEGINNING: [Self; MAX_SEGMENTS + 1] = {
        let none = Self {
            exact: 0,
            folded: 0,
            seen: 0,
        };
        let mut levels = [none; MAX_SEGMENTS + 1];
        levels[0].exact = u64::MAX;
        levels[0].folded = u64::MAX;
        levels
    };
}

/// What a key means to a [`PathMatcher`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyMatch {
    /// On the way to a pattern, or its end, but only with letter case ignored.
    CaseVariant,
    /// On the way to a pattern, or its end, and this object has had it already.
    Duplicate,
    /// On the way to a pattern, or its end.
    Watched,
    /// On no pattern's way.
    Unwatched,
}

impl PathMatcher {
    /// At the beginning of a document.
    pub const fn new(patterns: &'static Patterns) -> Self {
        Self {
            patterns,
            depth: 0,
            levels: Level::BEGINNING,
        }
    }

    /// The current value is a container: what comes next is inside it.
    pub fn open(&mut self, container: Container) {
        let above = self.level();
        let elements = match container {
            Container::Array => self
                .patterns
                .elements
                .get(self.depth)
                .copied()
                .unwrap_or_default(),
            Container::Object => 0,
        };
        self.depth = self.depth.saturating_add(1);
        if let Some(level) = self.levels.get_mut(self.depth) {
            *level = Level {
                exact: above.exact & elements,
                folded: above.folded & elements,
                seen: 0,
            };
        }
    }

    /// The innermost container ends: it is the current value again.
    pub fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// The current value is that of this key.
    pub fn key(&mut self, key: Text<'_>) -> KeyMatch {
        let Some(segment) = self.depth.checked_sub(1) else {
            return KeyMatch::Unwatched;
        };
        let above = self.levels.get(segment).copied().unwrap_or_default();
        let Some(level) = self.levels.get_mut(self.depth) else {
            return KeyMatch::Unwatched;
        };
        (level.exact, level.folded) = (0, 0);
        if above.folded == 0 {
            KeyMatch::Unwatched
        } else if is_plain(key) {
            self.find(key, key.bytes, segment, above)
        } else {
            self.find_folded(key, segment, above)
        }
    }

    #[cold]
    fn find_folded(&mut self, key: Text<'_>, segment: usize, above: Level) -> KeyMatch {
        let mut buffer = [0; MAX_KEY];
        match fold(key, &mut buffer) {
            Some(folded) => self.find(key, folded, segment, above),
            None => KeyMatch::Unwatched,
        }
    }

    #[inline(never)]
    fn find(&mut self, key: Text<'_>, folded: &[u8], segment: usize, above: Level) -> KeyMatch {
        let Some(level) = self.levels.get_mut(self.depth) else {
            return KeyMatch::Unwatched;
        };
        let mut candidates = above.folded;
        if segment == 0 {
            candidates &= self.patterns.beginning_with(folded);
        }
        while candidates != 0 {
            let bit = candidates & candidates.wrapping_neg();
            candidates &= !bit;
            let path = self.patterns.get(bit);
            let Some(name) = path.and_then(|path| path.get(segment)) else {
                continue;
            };
            if key.is(name) {
                level.folded |= bit;
                level.exact |= bit & above.exact;
            } else if folded.eq_ignore_ascii_case(name.as_bytes()) {
                level.folded |= bit;
            }
        }
        let duplicate = level.folded & level.seen != 0;
        level.seen |= level.folded;
        match *level {
            Level { folded: 0, .. } => KeyMatch::Unwatched,
            Level { exact: 0, .. } => KeyMatch::CaseVariant,
            _ if duplicate => KeyMatch::Duplicate,
            _ => KeyMatch::Watched,
        }
    }

    /// The patterns that the current value is at the end of, as bits in the order of the list.
    pub fn matches(&self) -> u64 {
        self.level().exact
            & self
                .patterns
                .ends
                .get(self.depth)
                .copied()
                .unwrap_or_default()
    }

    /// The patterns that the current value is at the end of, or may hold the end of.
    pub fn on_path(&self) -> u64 {
        self.level().exact
    }

    /// As `on_path`, with letter case ignored.
    pub fn near(&self) -> u64 {
        self.level().folded
    }

    /// The patterns that go on inside the current value if it is such a container.
    pub fn inside(&self, container: Container) -> u64 {
        let elements = self
            .patterns
            .elements
            .get(self.depth)
            .copied()
            .unwrap_or_default();
        let on = self.level().exact & !self.matches();
        match container {
            Container::Array => on & elements,
            Container::Object => on & !elements,
        }
    }

    /// How many containers are open.
    pub const fn depth(&self) -> usize {
        self.depth
    }

    fn level(&self) -> Level {
        self.levels.get(self.depth).copied().unwrap_or_default()
    }
}

/// Whether there is nothing in a key to fold, and all of it is there: of most keys one look tells all there is.
fn is_plain(key: Text<'_>) -> bool {
    key.whole && key.bytes.iter().all(|byte| matches!(byte, 1..0x80))
}

/// The key with the characters made ASCII that some reader's case folding takes for ASCII letters: Go's takes
/// `ſ` and the Kelvin sign, Java's the two Turkish i as well; and without what follows a NUL, where readers in C
/// stop. `None` if it is too long to be a watched one.
pub(crate) fn fold<'a>(key: Text<'a>, buffer: &'a mut [u8; MAX_KEY]) -> Option<&'a [u8]> {
    if is_plain(key) {
        return (key.bytes.len() <= MAX_KEY).then_some(key.bytes);
    }
    let bytes = match key.bytes.iter().position(|&byte| byte == 0) {
        Some(nul) => key.bytes.get(..nul)?,
        None if key.whole => key.bytes,
        None => return None,
    };
    if bytes.is_ascii() {
        return (bytes.len() <= MAX_KEY).then_some(bytes);
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let mut used = 0_usize;
    for character in text.chars() {
        let character = match character {
            '\u{17F}' => 's',
            '\u{212A}' => 'k',
            '\u{130}' | '\u{131}' => 'i',
            other => other,
        };
        let end = used.checked_add(character.len_utf8())?;
        character.encode_utf8(buffer.get_mut(used..end)?);
        used = end;
    }
    buffer.get(..used)
}
