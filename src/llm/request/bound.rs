//! The many keys that bound how much an answer may hold.

use crate::json::{MAX_KEY, Text, decimal, fold};

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
    /// Whether a key is worth a look at the lists: no name in them begins as most keys do. To fold changes no ASCII, and
    /// ends a key only at a NUL.
    pub(super) const fn may_be(key: Text<'_>) -> bool {
        match key.bytes {
            [first, second, ..] if first.is_ascii() && matches!(second, 1..0x80) => matches!(
                [*first | 0x20, *second | 0x20],
                [b'b', b'e'] | [b'c' | b'm' | b's', b'a'] | [b'n', b'u']
            ),
            [first, ..] => {
                !first.is_ascii() || matches!(*first | 0x20, b'b' | b'c' | b'm' | b'n' | b's')
            }
            [] => false,
        }
    }

    /// The kind of a key that [may be](Self::may_be) one, its folded form, and whether it is written as some API writes it.
    pub(super) fn of(key: Text<'_>) -> Option<(BoundKind, String, bool)> {
        let mut buffer = [0; MAX_KEY];
        let folded = fold(key, &mut buffer)?;
        let max = folded.first_chunk::<3>();
        let max = max.is_some_and(|start| start.eq_ignore_ascii_case(b"max"));
        if matches!(folded, [b'm' | b'M', ..]) && !max {
            return None;
        }
        let known = |names: &[&str]| {
            let mut alike = names
                .iter()
                .filter(|name| name.as_bytes().eq_ignore_ascii_case(folded))
                .peekable();
            alike.peek()?;
            Some(alike.any(|name| key.is(name)))
        };
        let (kind, canonical) = if let Some(canonical) = known(CHOICES) {
            (BoundKind::Choices, canonical)
        } else if let Some(canonical) = known(OUTPUT) {
            (BoundKind::Output, canonical)
        } else {
            if !max {
                return None;
            }
            let folded = lower_case(folded)?;
            if !folded.ends_with("tokens") {
                return None;
            }
            let input = folded.contains("input") || folded.contains("prompt");
            (
                if input {
                    BoundKind::Input
                } else {
                    BoundKind::Output
                },
                true,
            )
        };
        Some((kind, lower_case(folded)?, canonical))
    }
}

fn lower_case(folded: &[u8]) -> Option<String> {
    Some(std::str::from_utf8(folded).ok()?.to_ascii_lowercase())
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
