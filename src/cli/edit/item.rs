//! What is put into a file, and how it is written there.

use std::fmt::Write as _;

/// A value to be written. Members keep their order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Item {
    Bool(bool),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
    Null,
    Number(u64),
    Text(String),
}

impl From<&str> for Item {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Item {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl Item {
    /// A map with these members.
    pub(crate) fn map<const N: usize>(members: [(&str, Self); N]) -> Self {
        let members = members.map(|(name, value)| (name.to_owned(), value));
        Self::Map(members.into())
    }

    /// The member of a map.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Map(members) = self else {
            return None;
        };
        let mut members = members.iter();
        members
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }

    /// The items of a list; none of anything else.
    pub(crate) fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// The text, if it is one.
    pub(crate) const fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// What a word without quotes means.
    pub(super) fn of_plain(text: &str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => Self::Null,
            "true" | "True" | "TRUE" => Self::Bool(true),
            "false" | "False" | "FALSE" => Self::Bool(false),
            _ => match text.parse() {
                Ok(number) if !text.starts_with(['0', '+']) || text == "0" => Self::Number(number),
                _ => Self::Text(text.to_owned()),
            },
        }
    }

    const fn is_empty(&self) -> bool {
        match self {
            Self::List(items) => items.is_empty(),
            Self::Map(members) => members.is_empty(),
            _ => false,
        }
    }

    /// Whether it is written on one line wherever it stands: lists of words are, as people write them.
    pub(super) fn is_inline(&self) -> bool {
        match self {
            Self::List(items) => items
                .iter()
                .all(|item| !matches!(item, Self::List(_) | Self::Map(_))),
            Self::Map(_) => self.is_empty(),
            _ => true,
        }
    }

    /// On one line; `json`: as JSON has it.
    pub(super) fn inline(&self, json: bool) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Null => "null".to_owned(),
            Self::Number(value) => value.to_string(),
            Self::Text(text) => quoted(text, json),
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(|item| item.inline(json)).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Map(members) => {
                let members: Vec<_> = members
                    .iter()
                    .map(|(name, value)| format!("{}: {}", quoted(name, json), value.inline(json)))
                    .collect();
                format!("{{{}}}", members.join(", "))
            }
        }
    }

    /// In lines, to stand in column `indent`, where the first one is already.
    pub(super) fn block(&self, indent: usize) -> String {
        let mut text = String::new();
        self.write(indent, &mut text);
        text
    }

    fn write(&self, indent: usize, text: &mut String) {
        let margin = " ".repeat(indent);
        match self {
            Self::Map(members) if !members.is_empty() => {
                for (at, (name, value)) in members.iter().enumerate() {
                    if at > 0 {
                        let _ = write!(text, "\n{margin}"); // a String takes everything
                    }
                    text.push_str(&quoted(name, false));
                    text.push(':');
                    value.write_value(indent, text);
                }
            }
            Self::List(items) if !self.is_inline() => {
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        let _ = write!(text, "\n{margin}"); // a String takes everything
                    }
                    text.push_str("- ");
                    item.write(indent.saturating_add(2), text);
                }
            }
            _ => text.push_str(&self.inline(false)),
        }
    }

    /// After `name:`.
    pub(super) fn write_value(&self, indent: usize, text: &mut String) {
        if self.is_inline() {
            text.push(' ');
            text.push_str(&self.inline(false));
        } else {
            let indent = indent.saturating_add(2);
            let _ = write!(text, "\n{}", " ".repeat(indent)); // a String takes everything
            self.write(indent, text);
        }
    }
}

/// A word in quotes, if any reader of YAML could take it for something else without.
fn quoted(text: &str, json: bool) -> String {
    let as_json = || serde_json::Value::from(text).to_string();
    if json {
        return as_json();
    }
    let safe = |c: char| c.is_ascii_alphanumeric() || "_-./@+*".contains(c);
    let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '/');
    // `12:30:00` is a number to old readers; a moment with its date and offset is not.
    let moment = text.len() >= 20
        && text.contains('T')
        && text
            .chars()
            .all(|c| c.is_ascii_digit() || "-:.TZ+".contains(c));
    let number = text.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && text
            .chars()
            .all(|c| c.is_ascii_hexdigit() || "._+-oxOX".contains(c))
        && !text.contains(|c: char| ('a'..='d').contains(&c) || c == 'f');
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n" | "inf" | "nan"
    );
    if moment || (starts && text.chars().all(safe) && !number && !word) {
        return text.to_owned();
    }
    if text.chars().all(|c| (' '..='~').contains(&c)) {
        return format!("'{}'", text.replace('\'', "''"));
    }
    as_json()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_where_it_could_be_anything_else() {
        for (text, written) in [
            ("gpt-4o", "gpt-4o"),
            ("gpt-4o*", "gpt-4o*"),
            ("*", "'*'"),
            ("", "''"),
            ("no", "'no'"),
            ("1e5", "'1e5'"),
            ("2026-11-30T09:00:00Z", "2026-11-30T09:00:00Z"),
            ("2026-11-30", "'2026-11-30'"),
            ("12", "'12'"),
            ("12ab", "12ab"),
            ("it's", "'it''s'"),
            ("a: b", "'a: b'"),
            ("caf\u{e9}", "\"caf\u{e9}\""),
            ("ann@example.com", "ann@example.com"),
        ] {
            assert_eq!(quoted(text, false), written);
        }
        assert_eq!(quoted("a", true), "\"a\"");
    }

    #[test]
    fn layout_is_that_of_people() {
        let item = Item::map([
            ("name", "a".into()),
            ("allowed_models", Item::List(vec!["x".into(), "y*".into()])),
            (
                "api_keys",
                Item::List(vec![
                    Item::map([("id", "one".into()), ("enabled", Item::Bool(false))]),
                    Item::map([("id", "two".into())]),
                ]),
            ),
            (
                "rate_limits",
                Item::map([("requests_per_minute", Item::Number(5))]),
            ),
            ("features", Item::List(Vec::new())),
        ]);
        assert_eq!(
            format!("- {}", item.block(2)),
            "\
- name: a
  allowed_models: [x, y*]
  api_keys:
    - id: one
      enabled: false
    - id: two
  rate_limits:
    requests_per_minute: 5
  features: []"
        );
        assert_eq!(
            item.get("rate_limits").unwrap().inline(true),
            r#"{"requests_per_minute": 5}"#
        );
    }
}
