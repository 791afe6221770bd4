//! `google.protobuf.Struct`, in which Envoy hands a configuration over that was written as YAML in its own file.
//!
//! Envoy 1.40 passes it on as it is on the wire, not as JSON. Members have no order there and numbers are doubles.

use super::node::{Member, Node, Span, Value};
use crate::protobuf::{Field, fields};

/// Messages inside each other: as deep as most decoders go. Each level of the document is two.
const MAX_DEPTH: usize = 100;

/// The document in the bytes of a `Struct`; `None` where they are none.
pub(super) fn decode(bytes: &[u8]) -> Option<Node> {
    structure(bytes, MAX_DEPTH).map(plain)
}

/// `Struct`: `map<string, Value> fields = 1`, in the order of the names. A name that comes twice stays twice.
fn structure(bytes: &[u8], depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let mut members: Vec<Member> = Vec::new();
    fields(bytes, &mut |field| {
        let Field::Bytes(1, entry) = field else {
            return None;
        };
        let (mut key, mut value) = ("", Value::Null);
        fields(entry, &mut |field| {
            match field {
                Field::Bytes(1, text) => key = str::from_utf8(text).ok()?,
                Field::Bytes(2, bytes) => value = any(bytes, depth)?,
                _ => return None,
            }
            Some(())
        })?;
        let at = members.partition_point(|member| member.key.as_str() <= key);
        let member = Member {
            key: key.to_owned(),
            key_span: Span::default(),
            node: plain(value),
        };
        members.insert(at, member);
        Some(())
    })?;
    Some(Value::Map(members))
}

/// `Value`: one of null 1, number 2, string 3, bool 4, struct 5, list 6.
fn any(bytes: &[u8], depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let mut value = Value::Null;
    fields(bytes, &mut |field| {
        value = match field {
            Field::Varint(1, _) => Value::Null,
            Field::Double(2, number) => Value::number(number),
            Field::Bytes(3, text) => Value::Text(str::from_utf8(text).ok()?.to_owned()),
            Field::Varint(4, truth) => Value::Bool(truth != 0),
            Field::Bytes(5, bytes) => structure(bytes, depth)?,
            Field::Bytes(6, bytes) => list(bytes, depth)?,
            _ => return None,
        };
        Some(())
    })?;
    Some(value)
}

/// `ListValue`: `repeated Value values = 1`
fn list(bytes: &[u8], depth: usize) -> Option<Value> {
    let mut items = Vec::new();
    fields(bytes, &mut |field| {
        let Field::Bytes(1, bytes) = field else {
            return None;
        };
        items.push(plain(any(bytes, depth)?));
        Some(())
    })?;
    Some(Value::List(items))
}

fn plain(value: Value) -> Node {
    Node {
        span: Span::default(),
        value,
    }
}

#[cfg(test)]
mod tests {
    use super::decode;
    use crate::config::Config;
    use proptest::prelude::*;
    use prost::Message;
    use std::collections::BTreeMap;

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
        let config = Config::from_plugin(document.encode_to_vec()).unwrap();
        assert!(!config.hold_request_headers);
        let group = config.consumer_groups.first().unwrap();
        assert_eq!(
            (group.name.as_str(), group.rules.limits.rate_limits[0].quota),
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

    #[test]
    fn nesting_ends_before_the_stack_does() {
        for (depth, taken) in [(40, true), (200, false)] {
            let value = (0..depth).fold(text("x"), |value, _| AnyValue {
                kind: Some(Kind::Map(object([("a", value)]))),
            });
            let bytes = object([("a", value)]).encode_to_vec();
            assert_eq!(decode(&bytes).is_some(), taken, "{depth}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

        #[test]
        fn what_it_takes_is_a_struct(bytes in proptest::collection::vec(0_u8..40, 0..40)) {
            if decode(&bytes).is_some() {
                prop_assert!(Struct::decode(&*bytes).is_ok());
            }
        }
    }
}
