//! The kinds of single values that the configuration knows: numbers, durations, dates, names, globs.

use super::decode::Decoder;
use super::node::{Node, Value};
use super::suggest::nearest;
use crate::time::Timestamp;
use std::ops::RangeInclusive;

/// No limit is larger; far below where sums could overflow.
pub(super) const MAX_NUMBER: u64 = 1_000_000_000_000_000;

impl Decoder {
    pub(super) fn bool(&mut self, node: &Node) -> Option<bool> {
        let Value::Bool(value) = node.value else {
            self.expected(node, "true or false");
            return None;
        };
        Some(value)
    }

    pub(super) fn text<'a>(&mut self, node: &'a Node) -> Option<&'a str> {
        let Value::Text(text) = &node.value else {
            self.expected(node, "a string");
            return None;
        };
        Some(text)
    }

    /// Text that holds to a rule.
    pub(super) fn checked(
        &mut self,
        node: &Node,
        rule: fn(&str) -> bool,
        what: &str,
    ) -> Option<String> {
        let text = self.text(node)?;
        if !rule(text) {
            self.error(node.span, format!("must be {what}"));
            return None;
        }
        Some(text.to_owned())
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, node: &Node, choices: &[(&str, T)]) -> Option<T> {
        let at = self.word(node, &mut choices.iter().map(|(name, _)| *name))?;
        choices.get(at).map(|(_, value)| *value)
    }

    /// Which of them it is.
    fn word(&mut self, node: &Node, words: &mut dyn Iterator<Item = &str>) -> Option<usize> {
        let words: Vec<&str> = words.collect();
        let Value::Text(text) = &node.value else {
            self.expected(node, &format!("one of {}", words.join(", ")));
            return None;
        };
        let at = words.iter().position(|word| *word == text);
        if at.is_none() {
            let help = nearest(text, words.iter().copied()).map_or_else(
                || format!("one of {}", words.join(", ")),
                |name| format!("did you mean `{name}`?"),
            );
            self.error_help(node.span, "unknown value", help);
        }
        at
    }

    /// A whole number, perhaps as `100k` or `2M`.
    pub(super) fn number(&mut self, node: &Node, max: u64) -> Option<u64> {
        let value = match &node.value {
            Value::Integer(value) => Some(*value),
            Value::Text(text) => suffixed(text),
            Value::Float(value) => {
                let wrong = if *value < 0.0 {
                    "negative"
                } else {
                    "not a whole number"
                };
                let wrong = if *value > 0.0 && value.fract() == 0.0 {
                    "too large"
                } else {
                    wrong
                };
                self.error_help(node.span, wrong, format!("whole numbers from 0 to {max}"));
                return None;
            }
            _ => None,
        };
        match value {
            None => {
                let help = "whole numbers, also written `100k` or `2M`";
                let message = format!("expected a number, found {}", node.value.kind());
                self.error_help(node.span, message, help);
                None
            }
            Some(value) if value > max => {
                self.error_help(node.span, "too large", format!("at most {max}"));
                None
            }
            value => value,
        }
    }

    /// As [`Self::number`], for what is kept in 32 bits.
    pub(super) fn number32(&mut self, node: &Node, max: u32) -> Option<u32> {
        let value = self.number(node, max.into())?;
        u32::try_from(value).ok()
    }

    /// `90s`, `15m`, `2h`, in seconds.
    pub(super) fn seconds(&mut self, node: &Node, max: u32) -> Option<u32> {
        let text = self.text(node)?;
        let parsed = text
            .split_at_checked(text.len().saturating_sub(1))
            .and_then(|(digits, unit)| {
                let unit = match unit {
                    "s" => 1,
                    "m" => 60,
                    "h" => 3600,
                    _ => return None,
                };
                whole(digits)?.checked_mul(unit)
            });
        match parsed {
            Some(seconds) if (1..=max).contains(&seconds) => Some(seconds),
            _ => {
                let help = format!("like `90s`, `15m` or `2h`, at most {}h", max / 3600);
                self.error_help(node.span, "not a duration", help);
                None
            }
        }
    }

    /// `100ms`, `2s`, in milliseconds.
    pub(super) fn milliseconds(&mut self, node: &Node, range: RangeInclusive<u32>) -> Option<u32> {
        let parsed = match &node.value {
            Value::Text(text) => milliseconds(text),
            _ => None,
        };
        let inside = parsed.filter(|parsed| range.contains(parsed));
        if inside.is_none() {
            let help = format!(
                "like `500ms` or `2s`, from {}ms to {}s",
                range.start(),
                range.end() / 1_000
            );
            self.error_help(node.span, "not a duration", help);
        }
        inside
    }

    /// A moment.
    pub(super) fn date(&mut self, node: &Node) -> Option<Timestamp> {
        let text = self.text(node)?;
        let date = Timestamp::parse_rfc3339(text, self.offset);
        if date.is_none() {
            let help = "RFC 3339, like `2026-12-31` or `2026-12-31T18:00:00+09:00`";
            self.error_help(node.span, "not a date", help);
        }
        date
    }

    /// What events call a consumer, or a key.
    pub(super) fn id(&mut self, node: &Node) -> Option<String> {
        let rule = |text: &str| {
            let byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@+".contains(&byte);
            (1..=64).contains(&text.len()) && text.bytes().all(byte)
        };
        self.checked(
            node,
            rule,
            "1 to 64 letters, digits, `-`, `_`, `.`, `@` or `+`",
        )
    }

    /// The name of something: goes into headers, stats and record keys.
    pub(super) fn name(&mut self, node: &Node) -> Option<String> {
        self.checked(node, is_name, "1 to 64 letters, digits, `-` or `_`")
    }

    /// A model, or a glob of models.
    pub(super) fn model_glob(&mut self, node: &Node) -> Option<String> {
        self.checked(node, is_model, "a model's name, `*` standing for anything")
    }

    /// One model.
    pub(super) fn model(&mut self, node: &Node) -> Option<String> {
        self.checked(
            node,
            |text| is_model(text) && !text.contains('*'),
            "one model's name, without `*`",
        )
    }
}

fn milliseconds(text: &str) -> Option<u32> {
    if let Some(digits) = text.strip_suffix("ms") {
        return whole(digits);
    }
    whole(text.strip_suffix('s')?)?.checked_mul(1_000)
}

/// Digits alone: `parse` also takes `+5`.
fn whole(digits: &str) -> Option<u32> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

fn suffixed(text: &str) -> Option<u64> {
    let (digits, factor) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1_000),
        None => text
            .strip_suffix('M')
            .map_or((text, 1), |digits| (digits, 1_000_000)),
    };
    // `+5` is no number of ours, and 010 is eight to some readers.
    let plain = digits == "0" || (!digits.is_empty() && !digits.starts_with('0'));
    let plain = plain && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| {
        digits
            .parse()
            .map_or(u64::MAX, |value: u64| value.saturating_mul(factor))
    })
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn is_model(text: &str) -> bool {
    (1..=256).contains(&text.len()) && !text.contains(char::is_control)
}
