//! What a keyword filter looks for: words, and patterns of them.

use super::pattern::{Pattern, PatternError};
use super::words::Words;

/// A list of words and of patterns.
#[derive(Clone, Debug, Default)]
pub struct Keywords {
    pub(super) words: Words,
    pub(super) patterns: Vec<Pattern>,
}

impl Keywords {
    /// Of these words, none of them empty or too long, and these patterns.
    pub fn new<'a>(
        words: Words,
        patterns: impl IntoIterator<Item = &'a String>,
    ) -> Result<Self, PatternError> {
        let patterns = patterns.into_iter().map(|source| Pattern::new(source));
        Ok(Self {
            words,
            patterns: patterns.collect::<Result<_, _>>()?,
        })
    }

    /// Whether it looks for these.
    pub fn is_of(&self, words: &Words, patterns: &[String]) -> bool {
        let own = self.patterns.iter().map(Pattern::source);
        self.words == *words && own.eq(patterns.iter().map(String::as_str))
    }
}
