//! Texts that are JSON documents: found and taken out as what they say, and still documents after that.

use super::redact::redacted;
use crate::guardrail::{Entity, Findings, Keywords, Redaction, Screen, Search, Words};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::rc::Rc;

/// One of each kind, with the label that stands in its place.
const THINGS: [(&str, &str); 9] = [
    ("4111 1111 1111 1111", "CREDIT_CARD"),
    ("536-90-4399", "SSN"),
    ("jane.doe@example.com", "EMAIL"),
    ("+44 20 7946 0958", "PHONE"),
    ("DE89 3704 0044 0532 0130 00", "IBAN"),
    ("10.20.30.40", "IP_ADDRESS"),
    ("sk-abcdefghijklmnopqrstuvwx1234567890", "SECRET"),
    ("Käsekuchen", "KEYWORD"),
    ("proj-1234", "KEYWORD"),
];

fn what() -> Redaction {
    let mut search = Search::default();
    for (_, entity) in Entity::ALL {
        search.entities.insert(entity);
    }
    let words = Words::new(["Käsekuchen".to_owned()]);
    let patterns = [r"\bproj-\d{4}\b".to_owned(), "x.{2,9}y".to_owned()];
    search.words = vec![Keywords::new(words, &patterns).unwrap()];
    let kinds = Findings {
        entities: search.entities,
        words: vec![0],
    };
    Redaction {
        search: Rc::new(search),
        kinds,
    }
}

/// What is left, the same wherever the text is cut; and whether something was found, which is the same without redaction.
fn left(text: &str) -> (String, bool) {
    let what = what();
    let whole = redacted(&what, &[text.as_bytes()]);
    let mut screen = Screen::default();
    screen.push(&what.search, text.as_bytes());
    screen.end(&what.search);
    let found = !screen.into_findings().is_empty();
    for at in 0..=text.len() {
        let (head, tail) = text.as_bytes().split_at(at);
        assert_eq!(redacted(&what, &[head, tail]), whole, "cut at {at}: {text}");
        let mut screen = Screen::default();
        screen.push(&what.search, head);
        screen.push(&what.search, tail);
        screen.end(&what.search);
        assert_eq!(!screen.into_findings().is_empty(), found, "{at}: {text}");
    }
    let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
    assert_eq!(redacted(&what, &bytes), whole, "{text}");
    (whole, found)
}

/// As `json.dumps` of Python writes it, and as one that escapes all it can.
fn escaped(text: &str, all: bool) -> String {
    let text = Value::from(text).to_string();
    let escape = |char: char| {
        let plain = char.is_ascii() && !(all && char.is_ascii_alphanumeric());
        let unit = |unit: &u16| format!("\\u{unit:04X}");
        if plain {
            return char.to_string();
        }
        let mut units = [0; 2];
        char.encode_utf16(&mut units).iter().map(unit).collect()
    };
    if text.contains('\\') {
        return text;
    }
    text.chars().map(escape).collect()
}

#[test]
fn a_document_stays_one_with_a_label_in_it() {
    for (thing, label) in THINGS {
        let label = format!("[REDACTED_{label}]");
        for before in [
            "",
            "see ",
            "\n",
            "a\ttab\r\n",
            "\"quoted\" ",
            "back\\ ",
            "\u{1f600} ",
        ] {
            let (said, wanted) = (format!("{before}{thing} ok"), format!("{before}{label} ok"));
            for all in [false, true] {
                for template in [
                    "{\"a\":@}",
                    "[@]",
                    " [ 1, {\"b\" : [true, @ , \"\\u00e9\"]}] ",
                    "{\"deep\":{\"er\":[[@]]},\"n\":-1.5e3}",
                    "{@:null}",
                ] {
                    let text = template.replace('@', &escaped(&said, all));
                    let expected = template.replace('@', &Value::from(&*wanted).to_string());
                    let expected: Value = serde_json::from_str(&expected).unwrap();
                    let (new, found) = left(&text);
                    assert!(found, "{text}");
                    let new: Value = serde_json::from_str(&new).expect(&new);
                    assert_eq!(new, expected, "{text}");
                }
            }
        }
    }
}

#[test]
fn numbers_become_strings() {
    let cases = [
        ("[4111111111111111]", json!(["[REDACTED_CREDIT_CARD]"])),
        (
            "{\"a\":4111111111111111,\"b\":[1,4111111111111111 ]}",
            json!({"a": "[REDACTED_CREDIT_CARD]", "b": [1, "[REDACTED_CREDIT_CARD]"]}),
        ),
        // No label fits behind a sign.
        ("{\"a\":-4111111111111111}", json!({"a": -0.0})),
        // What a number is said to be tells what it is.
        ("{\"ssn\":536904399}", json!({"ssn": "[REDACTED_SSN]"})),
        ("{\"ssn\":\"536904399\"}", json!({"ssn": "[REDACTED_SSN]"})),
    ];
    for (text, new) in cases {
        let (left, _) = left(text);
        assert_eq!(serde_json::from_str::<Value>(&left).unwrap(), new, "{text}");
    }
}

/// A pattern's match ends with the string that it is in.
#[test]
fn no_match_reaches_from_one_string_into_the_next() {
    for text in [
        "{\"a\":\"x1\",\"b\":\"2y\"}",
        "[\"x\",\"y\"]",
        "{\"x\":\"y\"}",
    ] {
        assert_eq!(left(text), (text.to_owned(), false));
    }
    assert_eq!(left("{\"a\":\"x12y\"}").0, "{\"a\":\"[REDACTED_KEYWORD]\"}");
    assert!(!left("{\"a\":\"x\\u0031\\n2y\"}").1, "a line's end");
}

#[test]
fn what_only_begins_like_a_document_is_prose() {
    for (text, new) in [
        ("[note] 4111111111111111", "[note] [REDACTED_CREDIT_CARD]"),
        (
            "{name}, \"4111111111111111\"",
            "{name}, \"[REDACTED_CREDIT_CARD]\"",
        ),
        ("{ see 10.20.30.40", "{ see [REDACTED_IP_ADDRESS]"),
        ("  ", "  "),
        ("[", "["),
        ("{\"a\\", "{\"a\\"),
        ("{\"a\\u00", "{\"a\\u00"),
        ("{\"\\q\\u12\"}", "{\"\\q\\u12\"}"),
    ] {
        assert_eq!(left(text).0, new);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn any_document_stays_one(parts in proptest::collection::vec((0_usize..9, "[\\PC&&[^0-9A-Za-z]]{0,6}", any::<bool>()), 1..6)) {
        let strings = parts.iter().map(|(thing, other, all)| {
            escaped(&format!("{other} {} {other}", THINGS[*thing].0), *all)
        });
        let text = format!("[{}]", strings.collect::<Vec<_>>().join(","));
        let (new, _) = left(&text);
        let new: Vec<String> = serde_json::from_str(&new).unwrap();
        prop_assert_eq!(new.len(), parts.len());
        for (new, (thing, ..)) in new.iter().zip(&parts) {
            prop_assert!(!new.contains(THINGS[*thing].0));
        }
    }
}
