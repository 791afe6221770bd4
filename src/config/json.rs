//! A document in JSON, as Envoy hands it over. Nodes get no positions.

use super::node::{Member, Node, Span, Value};
use crate::json::{self, Container, JsonError, JsonErrorKind, Scalar, Sink, Text};

/// The document; or what keeps it from being JSON, and where.
pub(super) fn decode(document: &[u8]) -> Result<Node, String> {
    let mut tree = Tree {
        document,
        open: Vec::new(),
        keys: Vec::new(),
        root: Value::Null,
    };
    match json::scan(document, &mut tree) {
        Ok(()) => Ok(plain(tree.root)),
        Err(error) => Err(explain(document, error)),
    }
}

/// The document's values, as far as they came.
struct Tree<'a> {
    document: &'a [u8],
    /// The containers that are not complete.
    open: Vec<Value>,
    /// The keys that have no value yet: one for each such map, but perhaps the innermost.
    keys: Vec<String>,
    root: Value,
}

impl Tree<'_> {
    fn value(&mut self, value: Value) {
        match self.open.last_mut() {
            None => self.root = value,
            Some(Value::List(items)) => {
                make_room(items);
                items.push(plain(value));
            }
            Some(Value::Map(members)) => {
                make_room(members);
                members.push(Member {
                    key: self.keys.pop().unwrap_or_default(),
                    key_span: Span::default(),
                    node: plain(value),
                });
            }
            Some(_) => {}
        }
    }
}

impl Sink for Tree<'_> {
    fn open(&mut self, container: Container, _at: u64) {
        self.open.push(match container {
            Container::Array => Value::List(Vec::new()),
            Container::Object => Value::Map(Vec::new()),
        });
    }

    fn close(&mut self, _container: Container, _at: u64) {
        if let Some(value) = self.open.pop() {
            self.value(value);
        }
    }

    fn key(&mut self, key: Text<'_>, span: json::Span) {
        self.keys.push(key.complete(self.document, span));
    }

    fn scalar(&mut self, value: Scalar<'_>, span: json::Span) {
        let value = match value {
            Scalar::Bool(truth) => Value::Bool(truth),
            Scalar::Null => Value::Null,
            Scalar::Number(_) => Value::decimal(span.of(self.document)),
            Scalar::String(text) => Value::Text(text.complete(self.document, span)),
        };
        self.value(value);
    }
}

/// For one more. A vector begins with room for four, and a large document has a hundred thousand maps of one member.
fn make_room<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len().max(1));
    }
}

fn plain(value: Value) -> Node {
    Node {
        span: Span::default(),
        value,
    }
}

/// Shows the byte if it is punctuation, which no secret is, and where it stands.
fn explain(document: &[u8], error: JsonError) -> String {
    let at = usize::try_from(error.at).unwrap_or(usize::MAX);
    let (before, rest) = document.split_at_checked(at).unwrap_or((document, &[]));
    let lines = before.split(|byte| *byte == b'\n');
    let column = lines.clone().next_back().map_or(0, <[u8]>::len);
    let (line, column) = (lines.count(), column.saturating_add(1));
    let what = match rest.first() {
        Some(byte) if error.kind == JsonErrorKind::Syntax && byte.is_ascii_punctuation() => {
            format!("unexpected `{}`", char::from(*byte))
        }
        _ => error.kind.what().to_owned(),
    };
    format!("not JSON: {what} at line {line} column {column}")
}
