//! `google.protobuf.Struct`, in which Envoy hands a configuration over that was written as YAML in its own file.
//!
//! Envoy 1.40 passes it on as it is on the wire, not as JSON. Members have no order there and numbers are doubles.

use super::node::{Member, Node, Span, Value};
use prost::Message;
use std::collections::BTreeMap;

/// The document in the bytes of a `Struct`; `None` where they are none.
pub(super) fn decode(bytes: &[u8]) -> Option<Node> {
    Some(map(Struct::decode(bytes).ok()?))
}

#[derive(Clone, PartialEq, Message)]
struct Struct {
    #[prost(btree_map = "string, message", tag = "1")]
    fields: BTreeMap<String, AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(int32, tag = "1")]
    Null(i32),
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(bool, tag = "4")]
    Bool(bool),
    #[prost(message, tag = "5")]
    Map(Struct),
    #[prost(message, tag = "6")]
    List(ListValue),
}

#[derive(Clone, PartialEq, Message)]
struct ListValue {
    #[prost(message, repeated, tag = "1")]
    values: Vec<AnyValue>,
}

fn map(document: Struct) -> Node {
    let members = document.fields.into_iter().map(|(key, value)| Member {
        key,
        key_span: Span::default(),
        node: node(value),
    });
    plain(Value::Map(members.collect()))
}

fn node(value: AnyValue) -> Node {
    match value.kind {
        None | Some(Kind::Null(_)) => plain(Value::Null),
        Some(Kind::Number(number)) => plain(Value::number(number)),
        Some(Kind::Text(text)) => plain(Value::Text(text)),
        Some(Kind::Bool(truth)) => plain(Value::Bool(truth)),
        Some(Kind::Map(document)) => map(document),
        Some(Kind::List(list)) => plain(Value::List(list.values.into_iter().map(node).collect())),
    }
}

fn plain(value: Value) -> Node {
    Node {
        span: Span::default(),
        value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn text(text: &str) -> AnyValue {
        AnyValue {
            kind: Some(Kind::Text(text.to_owned())),
        }
    }

    fn object(fields: impl IntoIterator<Item = (&'static str, AnyValue)>) -> Struct {
        Struct {
            fields: fields
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        }
    }

    #[test]
    fn a_struct_is_read_as_the_document_that_it_is() {
        let limits = object([(
            "requests_per_minute",
            AnyValue {
                kind: Some(Kind::Number(2e6)),
            },
        )]);
        let group = object([
            ("name", text("engineering")),
            ("api_key", text("kt_cg_engineering_abc123")),
            (
                "rate_limits",
                AnyValue {
                    kind: Some(Kind::Map(limits)),
                },
            ),
        ]);
        let groups = ListValue {
            values: vec![AnyValue {
                kind: Some(Kind::Map(group)),
            }],
        };
        let document = object([
            ("version", text("1")),
            (
                "hold_request_headers",
                AnyValue {
                    kind: Some(Kind::Bool(false)),
                },
            ),
            (
                "consumer_groups",
                AnyValue {
                    kind: Some(Kind::List(groups)),
                },
            ),
        ]);
        let config = Config::from_plugin(&document.encode_to_vec()).unwrap();
        assert!(!config.hold_request_headers);
        let group = config.consumer_groups.first().unwrap();
        assert_eq!(
            (group.name.as_str(), group.rate_limits[0].quota),
            ("engineering", 2_000_000)
        );
    }

    #[test]
    fn what_is_neither_is_refused_as_json() {
        for bytes in [&b"\n\x77\n"[..], b"\n\n{", b"version: '1'\n", b"\xff"] {
            let errors = Config::from_plugin(bytes).unwrap_err();
            assert!(errors[0].message.starts_with("not JSON"), "{errors:?}");
        }
    }
}
