//! The many keys that bound how much an answer may hold.

use crate::json::{Text, decimal};

/// A key whose number bounds the answer.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    pub(super) kind: BoundKind,
    pub(super) name: String,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum BoundKind {
    /// How many answers.
    Choices,
    /// Bounds the input, so it is only watched.
    Input,
    /// Tokens of one answer.
    Output,
}

impl Bound {
    /// The kind of a key, its folded form, and whether it is written as some API writes it.
    pub(super) fn of(key: Text<'_>) -> Option<(BoundKind, String, bool)> {
        // Most keys are not worth folding.
        if !key.bytes.first().is_some_and(|first| {
            b"bcmns".contains(&first.to_ascii_lowercase()) || !first.is_ascii()
        }) {
            return None;
        }
        let folded = key.folded()?;
        let known = |names: &[&str]| {
            let mut alike = names
                .iter()
                .filter(|name| name.eq_ignore_ascii_case(&folded))
                .peekable();
            alike.peek()?;
            Some(alike.any(|name| key.is(name)))
        };
        let (kind, canonical) = if let Some(canonical) = known(CHOICES) {
            (BoundKind::Choices, canonical)
        } else if let Some(canonical) = known(OUTPUT) {
            (BoundKind::Output, canonical)
        } else if folded.starts_with("max") && folded.ends_with("tokens") {
            let input = folded.contains("input") || folded.contains("prompt");
            (
                if input {
                    BoundKind::Input
                } else {
                    BoundKind::Output
                },
                true,
            )
        } else {
            return None;
        };
        Some((kind, folded, canonical))
    }
}

/// A JSON number rounded up; `None` for one below zero, which states no bound.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float's cast saturates, and it is not negative"
)]
pub(super) fn whole_number(text: &str) -> Option<u64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let number = decimal(text);
    (number >= 0.0).then_some(number.ceil() as u64)
}

/// Keys that bound the number of answers.
const CHOICES: &[&str] = &[
    "n",
    "best_of",
    "candidateCount",
    "candidate_count",
    "num_generations",
    "sampleCount",
];

/// Keys that bound an answer's tokens, as the APIs spell them. Others of the form `max…tokens` count as well.
const OUTPUT: &[&str] = &[
    "maxCompletionTokens",
    "maxNewTokens",
    "maxOutputTokens",
    "maxTokenCount",
    "maxTokens",
    "max_completion_tokens",
    "max_gen_len",
    "max_new_tokens",
    "max_output_tokens",
    "max_tokens",
    "max_tokens_to_sample",
    "num_predict",
];
