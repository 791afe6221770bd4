//! A document as it was written: order, duplicate members and positions kept, nothing judged.
//!
//! JSON and protobuf come without positions, YAML with them, each from its own module. Holds secrets in plain text for
//! as long as decoding takes, and so does not implement `Debug`.

use crate::json::decimal;

/// Where a node stands in the text; all zero: not known. Only YAML tells: without it, this takes no room.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Span {
    /// Counted from 1.
    #[cfg(feature = "cli")]
    pub(super) line: u32,
    /// In characters, counted from 1.
    #[cfg(feature = "cli")]
    pub(super) column: u32,
    /// First byte.
    #[cfg(feature = "cli")]
    pub(super) start: usize,
    /// One past the last byte.
    #[cfg(feature = "cli")]
    pub(super) end: usize,
}

/// One value of a document.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
}

#[derive(Clone)]
pub(super) enum Value {
    Bool(bool),
    /// Anything that is not a whole number from 0.
    Float(f64),
    Integer(u64),
    List(Vec<Node>),
    Map(Vec<Member>),
    Null,
    Text(String),
}

/// One member of a map.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) node: Node,
}

impl Value {
    /// A number as the document's author means it. Envoy's `Struct` has only doubles, so `2e+06` is 2000000.
    pub(super) fn number(value: f64) -> Self {
        const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53: above it neighbours are more than one apart
        if value.fract() == 0.0 && (0.0..=EXACT).contains(&value) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "whole, not negative and exact, as checked above"
            )]
            return Self::Integer(value as u64);
        }
        Self::Float(value)
    }

    /// A number as JSON has it. Whole ones from 0 are exact.
    pub(super) fn decimal(text: &str) -> Self {
        if let Ok(whole) = text.parse() {
            return Self::Integer(whole);
        }
        Self::number(decimal(text))
    }

    /// What it is, for people.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) => "true or false",
            Self::Float(_) | Self::Integer(_) => "a number",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Null => "nothing",
            Self::Text(_) => "a string",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_what_they_say() {
        for (text, whole) in [
            ("0", 0),
            ("-0", 0),
            ("0e999", 0),
            ("0e-999", 0),
            ("1e-999", 0),
            ("18446744073709551615", u64::MAX),
            ("1e6", 1_000_000),
            ("1.5E+3", 1_500),
            ("120e-1", 12),
            ("0.5e1", 5),
        ] {
            assert!(
                matches!(Value::decimal(text), Value::Integer(value) if value == whole),
                "{text}"
            );
        }
        for (text, float) in [
            ("0.7", 0.7),
            ("-1", -1.0),
            ("1.5", 1.5),
            ("-2.5e-3", -0.002_5),
            ("1e300", 1e300),
            ("1e-300", 1e-300),
        ] {
            match Value::decimal(text) {
                Value::Float(value) => assert!((value / float - 1.0).abs() < 1e-12, "{text}"),
                _ => panic!("{text}"),
            }
        }
    }
}
