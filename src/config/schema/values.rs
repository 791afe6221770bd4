//! Single values, as `scalar` reads them.

use super::super::scalar::MAX_NUMBER;
use serde_json::{Value, json};

/// The same, with what it is for.
pub(super) fn said(mut schema: Value, description: &str) -> Value {
    if let Value::Object(members) = &mut schema {
        members.insert("description".to_owned(), description.into());
    }
    schema
}

pub(super) fn boolean() -> Value {
    json!({"type": "boolean"})
}

/// One of a table's words.
pub(super) fn word<T>(words: &[(&str, T)]) -> Value {
    let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
    json!({"enum": words})
}

/// A whole number, perhaps as `100k` or `2M`.
pub(super) fn number(min: u64, max: u64) -> Value {
    json!({"anyOf": [
        {"type": "integer", "minimum": min, "maximum": max},
        {"type": "string", "pattern": "^(0|[1-9][0-9]*)[kKM]?$"},
    ]})
}

/// As much as a limit may be.
pub(super) fn quota() -> Value {
    number(0, MAX_NUMBER)
}

/// US dollars.
pub(super) fn usd() -> Value {
    decimal(0.0, 1e9)
}

pub(super) fn decimal(min: f64, max: f64) -> Value {
    json!({"anyOf": [
        {"type": "number", "minimum": min, "maximum": max},
        {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"},
    ]})
}

pub(super) fn text() -> Value {
    json!({"type": "string"})
}

/// Of something that goes into headers, stats and record keys.
pub(super) fn name() -> Value {
    json!({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"})
}

/// Of a consumer, or of a key.
pub(super) fn id() -> Value {
    json!({"type": "string", "pattern": "^[A-Za-z0-9_.@+-]{1,64}$"})
}

pub(super) fn header_name() -> Value {
    json!({"type": "string", "pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$"})
}

/// An Envoy cluster's.
pub(super) fn cluster() -> Value {
    json!({"type": "string", "pattern": "^[!-~]{1,256}$"})
}

/// A model, or with `*` several.
pub(super) fn models() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 256})
}

pub(super) fn model() -> Value {
    json!({"type": "string", "pattern": r"^[^*]{1,256}$"})
}

/// RFC 3339, with or without time.
pub(super) fn date() -> Value {
    json!({"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ].+)?$"})
}

/// `100ms`, `2s`
pub(super) fn milliseconds() -> Value {
    json!({"type": "string", "pattern": "^[0-9]+(ms|s)$"})
}

pub(super) fn list(item: &Value) -> Value {
    json!({"type": "array", "items": item})
}

/// A list in which nothing stands twice.
pub(super) fn set(item: &Value) -> Value {
    json!({"type": "array", "items": item, "uniqueItems": true})
}

/// A list of some.
pub(super) fn some(item: &Value) -> Value {
    json!({"type": "array", "items": item, "minItems": 1})
}
