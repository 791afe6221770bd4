//! From a [`Node`] tree to plain values, collecting everything that is wrong on the way.
//!
//! Knows kinds of values (numbers, names, globs), not the configuration's fields. Keeps the path to where it is, and
//! notes which parts of the text must not be shown.

use super::error::ConfigError;
use super::node::{Member, Node, Span, Value};
use super::suggest::nearest;
use crate::time::{Timestamp, UtcOffset};
use std::fmt::Write;

/// No limit is larger; far below where sums could overflow.
pub(super) const MAX_NUMBER: u64 = 1_000_000_000_000_000;

/// The members that a map can have.
pub(super) struct Fields {
    pub(super) known: &'static [&'static str],
    /// Names of the reference that no released version acts on yet: silence would be a lie.
    pub(super) later: &'static [&'static str],
    /// Whether what stands in a wrong place here may be an API key.
    pub(super) secret: bool,
}

/// A map whose members were held against their [`Fields`].
pub(super) struct Map<'a> {
    pub(super) members: &'a [Member],
    pub(super) span: Span,
}

impl<'a> Map<'a> {
    pub(super) fn get(&self, name: &str) -> Option<&'a Node> {
        let member = self.members.iter().find(|member| member.key == name)?;
        Some(&member.node)
    }
}

/// The state of decoding one document.
#[derive(Default)]
pub(super) struct Decoder {
    pub(super) errors: Vec<ConfigError>,
    /// Parts of the text that may be secrets.
    pub(super) hidden: Vec<Span>,
    /// For dates that name no offset of their own.
    pub(super) offset: UtcOffset,
    path: String,
}

impl Decoder {
    /// Notes an error at the current path.
    pub(super) fn error(&mut self, span: Span, message: impl Into<String>) {
        let mut error = ConfigError::new(self.path.clone(), message);
        error.span = span;
        self.errors.push(error);
    }

    /// Notes an error and what to do about it.
    pub(super) fn error_help(
        &mut self,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.error(span, message);
        if let Some(error) = self.errors.last_mut() {
            error.help = Some(help.into());
        }
    }

    fn expected(&mut self, node: &Node, what: &str) {
        let found = node.value.kind();
        self.error(node.span, format!("expected {what}, found {found}"));
    }

    /// Keeps a node's text out of excerpts.
    pub(super) fn hide(&mut self, node: &Node) {
        match &node.value {
            Value::List(items) => items.iter().for_each(|item| self.hide(item)),
            Value::Map(members) => {
                for member in members {
                    self.hidden.push(member.key_span);
                    self.hide(&member.node);
                }
            }
            Value::Bool(_) | Value::Null => {}
            Value::Float(_) | Value::Integer(_) | Value::Text(_) => self.hidden.push(node.span),
        }
    }

    /// Decodes inside a member of a map.
    pub(super) fn within<T>(&mut self, name: &str, decode: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.path.len();
        if outer > 0 {
            self.path.push('.');
        }
        // A name that the file made up may be long, or hold what would break a log line.
        self.path
            .extend(name.chars().take(64).flat_map(char::escape_debug));
        let decoded = decode(self);
        self.path.truncate(outer);
        decoded
    }

    /// Decodes inside an item of a list.
    pub(super) fn item<T>(&mut self, index: usize, decode: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.path.len();
        let _ = write!(self.path, "[{index}]"); // a String takes everything
        let decoded = decode(self);
        self.path.truncate(outer);
        decoded
    }

    /// An optional member.
    pub(super) fn field<T>(
        &mut self,
        map: &Map<'_>,
        name: &str,
        decode: impl FnOnce(&mut Self, &Node) -> Option<T>,
    ) -> Option<T> {
        let node = map.get(name)?;
        self.within(name, |d| decode(d, node))
    }

    /// A member that must be there.
    pub(super) fn required<T>(
        &mut self,
        map: &Map<'_>,
        name: &str,
        decode: impl FnOnce(&mut Self, &Node) -> Option<T>,
    ) -> Option<T> {
        if map.get(name).is_none() {
            self.within(name, |d| d.error(map.span, "missing"));
        }
        self.field(map, name, decode)
    }

    /// A map; its members must be known and stand there once.
    pub(super) fn map<'a>(&mut self, node: &'a Node, fields: &Fields) -> Option<Map<'a>> {
        let Value::Map(members) = &node.value else {
            self.hide(node);
            self.expected(node, "a map");
            return None;
        };
        self.reject_duplicates(members);
        for Member {
            key,
            key_span,
            node,
        } in members
        {
            if fields.known.contains(&key.as_str()) {
                continue;
            }
            self.hide(node);
            if fields.later.contains(&key.as_str()) {
                self.within(key, |d| d.error(*key_span, "not supported yet"));
                continue;
            }
            match nearest(key, fields.known.iter().copied()) {
                Some(known) => self.within(key, |d| {
                    d.error_help(
                        *key_span,
                        "unknown field",
                        format!("did you mean `{known}`?"),
                    );
                }),
                None if fields.secret => {
                    self.hidden.push(*key_span);
                    let help = "its name is not shown, it may be a key";
                    self.error_help(*key_span, "unknown field", help);
                }
                None => {
                    let help = format!("known here: {}", fields.known.join(", "));
                    self.within(key, |d| d.error_help(*key_span, "unknown field", help));
                }
            }
        }
        Some(Map {
            members,
            span: node.span,
        })
    }

    /// A map whose member names are the author's own.
    pub(super) fn free_map<'a>(&mut self, node: &'a Node) -> Option<&'a [Member]> {
        let Value::Map(members) = &node.value else {
            self.expected(node, "a map");
            return None;
        };
        self.reject_duplicates(members);
        Some(members)
    }

    fn reject_duplicates(&mut self, members: &[Member]) {
        let mut names: Vec<(&str, usize)> = (members.iter().map(|member| member.key.as_str()))
            .zip(0..)
            .collect();
        names.sort_unstable();
        let again = names.windows(2).filter_map(|pair| match pair {
            [(first, _), (second, at)] if first == second => members.get(*at),
            _ => None,
        });
        for Member {
            key,
            key_span,
            node,
        } in again
        {
            self.hide(node);
            self.within(key, |d| d.error(*key_span, "given twice"));
        }
    }

    /// A list, item by item; items that are wrong are left out.
    pub(super) fn list<T>(
        &mut self,
        node: &Node,
        mut decode: impl FnMut(&mut Self, &Node) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Value::List(items) = &node.value else {
            self.hide(node);
            self.expected(node, "a list");
            return None;
        };
        let items = items.iter().enumerate();
        Some(
            items
                .filter_map(|(index, item)| self.item(index, |d| decode(d, item)))
                .collect(),
        )
    }

    /// A list in which nothing may stand twice.
    pub(super) fn set<T: PartialEq>(
        &mut self,
        node: &Node,
        mut decode: impl FnMut(&mut Self, &Node) -> Option<T>,
    ) -> Option<Vec<T>> {
        let mut seen = Vec::new();
        self.list(node, |d, item| {
            let value = decode(d, item)?;
            if seen.contains(&value) {
                d.error(item.span, "given twice");
            } else {
                seen.push(value);
            }
            Some(())
        })?;
        Some(seen)
    }

    pub(super) fn bool(&mut self, node: &Node) -> Option<bool> {
        match node.value {
            Value::Bool(value) => Some(value),
            _ => {
                self.expected(node, "true or false");
                None
            }
        }
    }

    pub(super) fn text<'a>(&mut self, node: &'a Node) -> Option<&'a str> {
        match &node.value {
            Value::Text(text) => Some(text),
            _ => {
                self.expected(node, "a string");
                None
            }
        }
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
        let text = self.text(node)?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let help = match nearest(text, choices.iter().map(|(name, _)| *name)) {
            Some(name) => format!("did you mean `{name}`?"),
            None => {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                format!("one of {}", names.join(", "))
            }
        };
        self.error_help(node.span, "unknown value", help);
        None
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
                digits.parse::<u32>().ok()?.checked_mul(unit)
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

    /// The name of something: goes into headers, stats and record keys.
    pub(super) fn name(&mut self, node: &Node) -> Option<String> {
        self.checked(node, is_name, "1 to 64 letters, digits, `-` or `_`")
    }

    /// A model, or a glob of models.
    pub(super) fn model_glob(&mut self, node: &Node) -> Option<String> {
        self.checked(
            node,
            is_model,
            "a model's name, without spaces, `*` standing for anything",
        )
    }

    /// One model.
    pub(super) fn model(&mut self, node: &Node) -> Option<String> {
        self.checked(
            node,
            |text| is_model(text) && !text.contains('*'),
            "one model's name, without spaces and `*`",
        )
    }
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
    (1..=256).contains(&text.len()) && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}
