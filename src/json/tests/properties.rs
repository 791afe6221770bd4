//! Generated documents, held to `serde_json`.

use super::scan;
use crate::json::string::unescaped;
use crate::json::{
    Container, JsonError, KeyMatch, PathMatcher, Patterns, Reads, Scalar, Scanner, Sink, Span,
    Text, decimal,
};

use proptest::prelude::*;
use serde_json::Value;

/// Pieces that documents are made of, good ones and bad ones.
fn piece() -> impl Strategy<Value = &'static [u8]> {
    proptest::sample::select(vec![
        &b"{"[..],
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b" ",
        b"\n",
        b"\"",
        b"\\",
        b"\"model\"",
        b"\"Model\"",
        b"\"a\"",
        b"\"\\u006dodel\"",
        b"\"gpt\"",
        b"null",
        b"true",
        b"false",
        b"0",
        b"-1",
        b"1.5e3",
        b"1e308",
        b"1.7976931348623158e308",
        b"1e309",
        b"01",
        b"-",
        b".",
        b"e",
        b"\\u",
        b"\\n",
        b"\\ud83d",
        b"\\ude00",
        b"\xC3\xA9",
        b"\xC3",
        b"\xA9",
        b"\xF0\x9F\x98\x80",
        b"\xED\xA0\x80",
        b"\0",
        b"\x1F",
        b"\xEF\xBB\xBF",
        b"NaN",
        b"//",
        b"'",
        b"{\"model\":\"x\"",
        b",\"model\":\"y\"",
        b"{\"a\":",
        b"[1,2]",
        b"a long run of plain text that fills more than a whole block of bytes, ",
    ])
}

/// A value, nested, as text: valid but for what the leaves hold.
fn document() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        4 => any::<Option<bool>>().prop_map(|value| serde_json::to_vec(&value).unwrap()),
        4 => any::<String>().prop_map(|value| serde_json::to_vec(&value).unwrap()),
        2 => any::<i64>().prop_map(|value| value.to_string().into_bytes()),
        2 => any::<f64>().prop_filter("finite", |value| value.is_finite()).prop_map(|value| format!("{value:e}").into_bytes()),
        1 => (0_u32..2, -400_i32..400, 0_u64..30).prop_map(|(zero, exponent, digits)| format!("{zero}.{digits}e{exponent}").into_bytes()),
        1 => proptest::collection::vec(any::<u8>(), 0..8).prop_map(|bytes| [b"\"", &bytes[..], b"\""].concat()),
        1 => proptest::collection::vec(piece(), 0..4).prop_map(|pieces| pieces.concat()),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(|items| [
                b"[",
                items.join(&b", "[..]).as_slice(),
                b"]"
            ]
            .concat()),
            proptest::collection::vec((".{0,6}", inner), 0..6).prop_map(|members| {
                let member = |(key, value): (String, Vec<u8>)| {
                    [&serde_json::to_vec(&key).unwrap()[..], b":", &value].concat()
                };
                [
                    b"{",
                    members
                        .into_iter()
                        .map(member)
                        .collect::<Vec<_>>()
                        .join(&b","[..])
                        .as_slice(),
                    b"}",
                ]
                .concat()
            }),
        ]
    })
}

fn same_as_serde(document: &[u8]) {
    let ours = scan(&[document]);
    let theirs = serde_json::from_slice::<Value>(document);
    assert!(
        ours.is_err() || theirs.is_ok(),
        "only we accept {}",
        document.escape_ascii()
    );
    // The other way round holds too, so nobody is refused for nothing.
    assert!(
        ours.is_ok() || theirs.is_err(),
        "only serde_json accepts {}: {ours:?}",
        document.escape_ascii()
    );
}

/// Pieces of long texts: mostly good ones.
fn text_piece() -> impl Strategy<Value = Vec<u8>> {
    let escapes = vec![
        "\\n",
        "\\\"",
        "\\\\",
        "\\b",
        "\\u00e9",
        "\\u4f60",
        "\\ud83d\\ude00",
    ];
    prop_oneof![
        20 => "[ -!#-\\[\\]-~]{1,40}".prop_map(String::into_bytes),
        20 => "[é–你😀가ไa]{1,20}".prop_map(String::into_bytes),
        20 => proptest::sample::select(escapes).prop_map(|escape| escape.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 1..3),
        1 => piece().prop_map(<[u8]>::to_vec),
    ]
}

fn cut<'a>(document: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let places = cuts
        .iter()
        .map(|cut| cut.index(document.len().saturating_add(1)));
    let mut places: Vec<usize> = places.collect();
    places.sort_unstable();
    let mut pieces = Vec::new();
    let mut from = 0;
    for to in places.into_iter().chain([document.len()]) {
        pieces.push(&document[from..to]);
        from = to;
    }
    pieces
}

/// What comes of strings for a sink that reads so much of them.
struct Texts {
    reads: Reads,
    lens: Vec<u64>,
    said: Vec<u8>,
}

impl Sink for Texts {
    fn reads(&self) -> Reads {
        self.reads
    }

    fn piece(&mut self, piece: &[u8]) {
        if self.reads == Reads::All {
            self.said.extend_from_slice(piece);
        }
    }

    fn scalar(&mut self, value: Scalar<'_>, _: Span) {
        if let Scalar::String(text) = value {
            self.lens.push(text.len);
            if self.reads == Reads::Beginning {
                self.said.extend_from_slice(text.bytes);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn documents_as_serde_json_has_them(document in document()) {
        same_as_serde(&document);
    }

    #[test]
    fn fragments_as_serde_json_has_them(pieces in proptest::collection::vec(piece(), 0..12)) {
        same_as_serde(&pieces.concat());
    }

    #[test]
    fn damaged_documents_as_serde_json_has_them(document in document(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut document = document;
        if !document.is_empty() {
            let at = at.index(document.len());
            document[at] = byte;
        }
        same_as_serde(&document);
    }

    #[test]
    fn cuts_change_nothing(document in document(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..4)) {
        let pieces = cut(&document, &cuts);
        prop_assert_eq!(scan(&pieces), scan(&[&document]));
    }

    #[test]
    fn long_texts_are_the_same_in_blocks_and_byte_by_byte(
        text in proptest::collection::vec(text_piece(), 1..40),
        padding in 0_usize..80,
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..3),
    ) {
        let document = [b"[\"", &text.concat()[..], b"\",\"", &b"x".repeat(padding), b"\"]"].concat();
        same_as_serde(&document);
        let bytes: Vec<&[u8]> = document.chunks(1).collect();
        let pieces = cut(&document, &cuts);
        prop_assert_eq!(scan(&[&document]), scan(&bytes));
        prop_assert_eq!(scan(&pieces), scan(&bytes));
        for reads in [Reads::All, Reads::Beginning, Reads::Length] {
            let read = |pieces: &[&[u8]]| {
                let mut texts = Texts { reads, lens: Vec::new(), said: Vec::new() };
                let mut scanner = Scanner::new();
                pieces.iter().try_for_each(|piece| scanner.push(piece, &mut texts))?;
                scanner.finish(&mut texts)?;
                Ok::<_, JsonError>((texts.lens, texts.said))
            };
            let expected = read(&bytes);
            prop_assert_eq!(&read(&[&document]), &expected);
            prop_assert_eq!(&read(&pieces), &expected);
            if let (Ok((had, said)), Ok(strings)) = (expected, serde_json::from_slice::<Vec<String>>(&document)) {
                let lens: Vec<u64> = strings.iter().map(|text| text.len() as u64).collect();
                prop_assert_eq!(had, lens);
                if reads == Reads::All {
                    prop_assert_eq!(said, strings.concat().into_bytes());
                }
            }
        }
    }

    #[test]
    fn strings_come_out_as_serde_json_has_them(text in ".{0,80}", ascii in "[ -~]{0,80}") {
        for text in [text, ascii] {
            let document = serde_json::to_vec(&text).unwrap();
            let mut found = Strings::default();
            Scanner::new().push(&document, &mut found).unwrap();
            prop_assert_eq!(found.0, [text.clone()]);
        }
    }

    #[test]
    fn unescaped_strings_are_as_serde_json_has_them(text in ".{0,80}", escaped in any::<bool>()) {
        let mut document = serde_json::to_string(&text).unwrap();
        if escaped {
            let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
            document = format!("\"{}\"", units.collect::<String>());
        }
        prop_assert_eq!(unescaped(&document), text);
    }

    #[test]
    fn decimals_are_as_the_standard_library_has_them(number in "-?(0|[1-9][0-9]{0,330})(\\.[0-9]{1,330})?([eE][-+]?[0-9]{1,3})?") {
        let exact: f64 = number.parse().unwrap();
        if exact.is_finite() {
            let ours = decimal(&number);
            prop_assert!((ours - exact).abs() <= exact.abs() * 1e-13 || exact.abs() < 1e-300, "{} {}", ours, exact);
        }
    }

    #[test]
    fn numbers_on_the_edge_are_as_serde_json_has_them(digits in "17976931348623(1[0-9]{0,8}|[0-9]{0,20})", point in 1_usize..15) {
        let (whole, fraction) = digits.split_at(point.min(digits.len().saturating_sub(1)));
        for document in [
            format!("{whole}.{fraction}e{}", 309_usize.saturating_sub(whole.len())),
            format!("0.00{digits}e311"),
            format!("{digits:0<309}"),
        ] {
            let ours = scan(&[document.as_bytes()]).is_ok();
            prop_assert_eq!(ours, serde_json::from_str::<f64>(&document).is_ok(), "{}", document);
        }
    }
}

#[derive(Default)]
struct Strings(Vec<String>);

impl Sink for Strings {
    fn scalar(&mut self, value: Scalar<'_>, _: Span) {
        if let Scalar::String(text) = value {
            self.0.push(text.as_str().unwrap().to_owned());
        }
    }
}

static PATTERNS: Patterns = Patterns::new(&[
    &["model"],
    &["tools", "*", "model"],
    &["stream_options", "include_usage"],
]);

struct Paths {
    matcher: PathMatcher,
    seen: Vec<(u64, String)>,
    keys: Vec<KeyMatch>,
}

impl Sink for Paths {
    fn open(&mut self, container: Container, _: u64) {
        self.matcher.open(container);
    }

    fn close(&mut self, _: Container, _: u64) {
        self.matcher.close();
    }

    fn key(&mut self, key: Text<'_>, _: Span) {
        self.keys.push(self.matcher.key(key));
    }

    fn scalar(&mut self, value: Scalar<'_>, _: Span) {
        self.seen.push((
            self.matcher.matches(),
            format!("{value:?}").chars().take(6).collect(),
        ));
    }
}

fn paths(document: &str) -> Paths {
    let mut paths = Paths {
        matcher: PathMatcher::new(&PATTERNS),
        seen: Vec::new(),
        keys: Vec::new(),
    };
    Scanner::new()
        .push(document.as_bytes(), &mut paths)
        .unwrap();
    paths
}

#[test]
fn finds_paths() {
    let matches = |document: &str| {
        paths(document)
            .seen
            .into_iter()
            .map(|(bits, _)| bits)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        matches(r#"{"model":1,"a":{"model":2},"tools":[{"model":3,"x":4},5,[{"model":6}]]}"#),
        [1, 0, 2, 0, 0, 0]
    );
    assert_eq!(matches(r#"{"\u006dodel":1}"#), [1]);
    assert_eq!(matches(r#"{"tools":{"0":{"model":1}}}"#), [0]);
    assert_eq!(matches(r#"[{"model":1}]"#), [0]);
    assert_eq!(
        matches(r#"{"stream_options":{"include_usage":1},"include_usage":2}"#),
        [4, 0]
    );
    assert_eq!(
        matches(&format!(
            "{}1{}",
            "{\"tools\":[".repeat(60),
            "]}".repeat(60)
        )),
        [0]
    );
}

#[test]
fn tells_variants_and_duplicates() {
    use KeyMatch::{CaseVariant, Duplicate, Unwatched, Watched};
    for (document, keys) in [
        (r#"{"model":1,"model":2}"#, vec![Watched, Duplicate]),
        (r#"{"model":1,"mode\u006c":2}"#, vec![Watched, Duplicate]),
        (r#"{"model":1,"MODEL":2}"#, vec![Watched, CaseVariant]),
        (r#"{"Model":1}"#, vec![CaseVariant]),
        (r#"{"Tools":[{"model":1}]}"#, vec![CaseVariant, CaseVariant]),
        (r#"{"tool\u017f":1}"#, vec![CaseVariant]),
        (r#"{"ſtream_optıons":1}"#, vec![CaseVariant]),
        (r#"{"models":1,"mode":2,"":3}"#, vec![Unwatched; 3]),
        (r#"{"tools":[{"model":1},{"model":2}]}"#, vec![Watched; 3]),
        (
            r#"{"tools":[{"model":1}],"tools":[]}"#,
            vec![Watched, Watched, Duplicate],
        ),
        (
            r#"{"a":{"model":1},"model":2}"#,
            vec![Unwatched, Unwatched, Watched],
        ),
    ] {
        assert_eq!(paths(document).keys, keys, "{document}");
    }
}
