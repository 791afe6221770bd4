//! Generated bodies: whatever is let through means the same to every reader.

use super::{chat, read};

use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use std::fmt;

/// An object as a reader sees it that looks at every member in turn.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

/// Go's reader: the last member whose name is `model` in any letter case.
fn caseless(body: &str) -> Option<Value> {
    let fold = |key: &str| {
        key.replace('\u{17F}', "s")
            .replace('\u{212A}', "k")
            .to_ascii_lowercase()
    };
    let members: Members = serde_json::from_str(body).unwrap();
    members
        .0
        .into_iter()
        .filter(|(key, _)| fold(key) == "model")
        .map(|(_, value)| value)
        .next_back()
}

fn key() -> impl Strategy<Value = String> {
    let spelled = proptest::sample::select(vec![
        "model",
        "Model",
        "MODEL",
        "models",
        "messages",
        "stream",
        "n",
        "max_tokens",
        "a",
        "",
    ]);
    // Any character may be written as an escape.
    (spelled, any::<u16>()).prop_map(|(key, escaped)| {
        let spell = |(at, character): (usize, char)| {
            if escaped >> (at % 16) & 1 == 1 && escaped % 3 == 0 {
                format!("\\u{:04x}", character as u32)
            } else {
                character.to_string()
            }
        };
        key.chars().enumerate().map(spell).collect()
    })
}

fn value() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        r#""a""#,
        r#""b""#,
        r#""""#,
        "null",
        "1",
        "true",
        r#"["a"]"#,
        r#"{"model":"c"}"#,
        r#"[{"model":"c","x":[]}]"#,
        "1e999",
        "\"\\ud800\"",
        "01",
        "[[[]]]",
    ])
}

fn body() -> impl Strategy<Value = String> {
    let space = || proptest::sample::select(vec!["", "", "", " ", "\n", "/**/"]);
    let member = (key(), value(), space(), space())
        .prop_map(|(key, value, before, after)| format!("{before}\"{key}\"{after}:{value}"));
    let tail = proptest::sample::select(vec!["", "", "", "", " ", ",", "{}", "\0"]);
    (proptest::collection::vec(member, 0..5), tail)
        .prop_map(|(members, tail)| format!("{{{}}}{tail}", members.join(",")))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn every_reader_sees_the_model_that_is_judged(body in body()) {
        let Ok(facts) = chat(&body) else {
            return Ok(());
        };
        let value: Value = serde_json::from_str(&body).expect("only we accept it");
        let judged = facts.models.first().map(|model| Value::from(model.clone()));
        if let Some(model) = value.get("model") {
            prop_assert_eq!(Some(model), judged.as_ref());
        }
        prop_assert_eq!(caseless(&body), value.get("model").cloned());
    }

    #[test]
    fn cuts_change_nothing(body in body(), cut in any::<prop::sample::Index>()) {
        let (left, right) = body.as_bytes().split_at(cut.index(body.len().saturating_add(1)));
        prop_assert_eq!(read("/v1/chat/completions", "application/json", &[left, right]), chat(&body));
    }
}
