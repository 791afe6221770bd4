//! What is written is read back, by another reader and by ours.

use super::*;
use crate::config::json_from_yaml;
use proptest::prelude::*;
use serde_json::json;

fn read(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn short_things_stand_on_one_line_and_what_says_most_comes_first() {
    let long = "word ".repeat(20);
    let value = json!({
        "spec": {"b": {"c": {"d": 1}}, "a": [1, 2], "long": [&long, &long]},
        "kind": "Thing",
        "items": [{"name": "x", "a": {"b": {"c": {"d": {}}}}}, []],
    });
    let expected = [
        "kind: Thing",
        "spec:",
        "  a: [1, 2]",
        "  b: { c: { d: 1 } }",
        "  long:",
        &format!("    - {long:?}"),
        &format!("    - {long:?}"),
        "items:",
        "  - name: x",
        "    a:",
        "      b:",
        "        c: { d: {} }",
        "  - []",
        "",
    ];
    assert_eq!(document(&value), expected.join("\n"));
}

#[test]
fn text_that_means_something_else_is_quoted() {
    for text in [
        "yes",
        "No",
        "null",
        "~",
        "1",
        "1e3",
        "0x1f",
        "12:30",
        "- a",
        "a: b",
        "a #b",
        "@type",
        "*a",
        "&a",
        "",
        " a",
        ".5",
        ".inf",
        "1.5s",
        "=",
        "{",
        "\u{85}",
        "a\nb ",
        "\n",
        "a\u{2028}\nb",
        "2026-11-29",
    ] {
        let value = json!({ text: [text], "list": [[text]] });
        let written = document(&value);
        assert_eq!(read(&written), value, "{written}");
        let ours: Value = serde_json::from_str(&json_from_yaml(&written).unwrap()).unwrap();
        assert_eq!(ours, value, "{written}");
    }
    assert_eq!(
        document(&json!(["5s", "/a/b", ".cohort/x", "a-b"])),
        "- 5s\n- /a/b\n- .cohort/x\n- a-b\n"
    );
}

#[test]
fn lines_of_text_stay_lines() {
    let value = json!({"a": {"b": "one\n  two\n\n# three"}, "c": ["x\ny"]});
    let written = document(&value);
    assert_eq!(
        written,
        "a:\n  b: |-\n    one\n      two\n\n    # three\nc:\n  - |-\n    x\n    y\n"
    );
    assert_eq!(read(&written), value);
}

#[test]
fn a_long_document_is_unfolded_in_its_order() {
    let long = "\"x\\\\\":[1,{\"}\":\"],\"}],".repeat(9);
    let json = format!("{{\"z\":1,\"a\":{{{long}\"b\":\"\\\",{{\"}}}}");
    let unfolded = unfolded(&json);
    assert!(
        unfolded.starts_with("{\n  \"z\": 1,\n  \"a\": {\n    \"x\\\\\": [1,{\"}\":\"],\"}],\n"),
        "{unfolded}"
    );
    let compact: String = unfolded.split('\n').map(str::trim_start).collect();
    assert_eq!(compact.replace("\": ", "\":"), json);
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<u32>().prop_map(Value::from),
        "[ -~\n\u{80}-\u{a0}]{0,12}".prop_map(Value::from),
        "[a-z{}:,\" \\\\\n#-]{60,120}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z@ :#1]{0,8}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(value in values()) {
        let written = document(&value);
        prop_assert_eq!(&read(&written), &value, "{}", written);
        let unfolded = unfolded(&value.to_string());
        prop_assert_eq!(serde_json::from_str::<Value>(&unfolded).unwrap(), value);
    }
}
