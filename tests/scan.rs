//! Text is scanned with other instructions in the module than in the tests of the core: here the module itself reads
//! bodies, in an interpreter, and must find in each what the core finds, and take what `serde_json` takes.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use cohort::llm::endpoint::classify;
use cohort::llm::request::{BodyError, Facts, Reader};
use serde_json::Value;
use support::counted::start;
use support::vm::{Message, Outcome, Vm};

const PATH: &str = "/v1/chat/completions";

/// Looked through, or not: what is looked through has to come in pieces.
const POLICIES: [&str; 2] = [
    "",
    r#","policies":[{"name":"names","type":"keyword_filter","action":"flag","config":{"words":["never in there"]}}]"#,
];

/// What texts are made of.
const PIECES: &[&[u8]] = &[
    b"plain text, longer than a vector is",
    b"x",
    b" ",
    b"\\n",
    b"\\\"",
    b"\\\\",
    b"\\\\\\\\\\\\",
    b"\\/",
    b"\\t",
    b"\\b",
    b"\\r\\f",
    b"\\u00e9",
    b"\\u4f60\\u597d",
    b"\\u0041",
    b"\\ud83d\\ude00",
    b"\xC3\xA9",
    b"\xE2\x80\x93",
    b"\xE4\xBD\xA0\xE5\xA5\xBD",
    b"\xED\x95\x9C",
    b"\xE0\xB8\x97",
    b"\xEF\xBF\xBF",
    b"\xF0\x9F\x98\x80",
    b"\xF4\x8F\xBF\xBF",
    b"\x7F",
];

/// What no text may have in it, and what changes what it says.
const ODD: &[&[u8]] = &[
    b"\"",
    b"\\",
    b"\\x",
    b"\\u12",
    b"\\u12g4",
    b"\\ud83d",
    b"\\ude00",
    b"\0",
    b"\n",
    b"\x1F",
    b"\x80",
    b"\xC3",
    b"\xC0\xAF",
    b"\xC1\xBF",
    b"\xE0\x9F\xBF",
    b"\xE4\xBD",
    b"\xED\xA0\x80",
    b"\xF0\x8F\xBF\xBF",
    b"\xF0\x9F\x98",
    b"\xF4\x90\x80\x80",
    b"\xF5\x80\x80\x80",
    b"\xFF",
];

/// The same numbers every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn one_of(&mut self, pieces: &[&'static [u8]]) -> &'static [u8] {
        pieces[self.below(pieces.len())]
    }

    /// A chat whose text is something else in every other one.
    fn body(&mut self, odd: bool) -> Vec<u8> {
        let mut texts = Vec::new();
        for _ in 0..=self.below(3) {
            let mut text = Vec::new();
            // Some stay the same for long.
            let usual = self.one_of(PIECES);
            for _ in 0..self.below(40) {
                let other = self.one_of(PIECES);
                text.extend_from_slice(if self.below(3) == 0 { other } else { usual });
            }
            texts.push(text);
        }
        if odd {
            let text = self.below(texts.len());
            let at = self.below(texts[text].len() + 1);
            let odd = self.one_of(ODD);
            texts[text].splice(at..at, odd.iter().copied());
        }
        let mut body = br#"{"model":"gpt-4o","messages":["#.to_vec();
        for (at, text) in texts.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            body.extend_from_slice(comma.as_bytes());
            body.extend_from_slice(br#"{"role":"user","content":""#);
            body.extend_from_slice(text);
            body.extend_from_slice(b"\"}");
        }
        body.extend_from_slice(br#"],"temperature":0.7,"user":"somebody in particular"}"#);
        body
    }

    fn cut<'a>(&mut self, body: &'a [u8]) -> Vec<&'a [u8]> {
        let (first, rest) = body.split_at(self.below(body.len()));
        let (second, third) = rest.split_at(self.below(rest.len()));
        let pieces = [first, second, third].into_iter();
        pieces.filter(|piece| !piece.is_empty()).collect()
    }
}

fn core(pieces: &[&[u8]]) -> Result<Box<Facts>, BodyError> {
    let call = classify(b"POST", PATH.as_bytes(), false, &[]).unwrap();
    let mut reader = Reader::new(&call, Some(b"application/json"), None)?;
    for piece in pieces {
        reader.push(piece)?;
    }
    reader.finish()
}

fn module(vm: &mut Vm, pieces: Vec<&[u8]>) -> Outcome {
    let request = [
        (":authority", "127.0.0.1:10000"),
        (":path", PATH),
        (":method", "POST"),
        ("authorization", "Bearer sk-of-the-team"),
        ("content-type", "application/json"),
    ];
    let answer = [(":status", "200"), ("content-type", "application/json")];
    vm.exchange(
        &Message {
            headers: &request,
            body: pieces,
        },
        // It says no usage: the request's estimate is charged.
        &Message {
            headers: &answer,
            body: vec![br#"{"choices":[]}"#],
        },
    )
}

#[test]
fn the_module_reads_as_the_core_does() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let (mut taken, mut refused) = (0, 0);
    for policies in POLICIES {
        let configuration = format!(
            r#"{{"version":"1","consumer_groups":[{{"name":"team","api_key":"sk-of-the-team"{policies}}}]}}"#
        );
        let Some(mut vm) = start(&configuration) else {
            return;
        };
        for round in 0..1_500 {
            let body = numbers.body(round % 3 == 0);
            let pieces = numbers.cut(&body);
            let shown = body.escape_ascii();
            let expected = core(&pieces);
            assert_eq!(expected, core(&[&body]), "{shown}");
            let parsed = serde_json::from_slice::<Value>(&body);
            assert_eq!(parsed.is_ok(), expected.is_ok(), "{shown}");
            if let (Ok(parsed), Ok(facts)) = (&parsed, &expected) {
                let texts = parsed["messages"].as_array().unwrap().iter();
                let texts = texts.map(|message| message["content"].as_str().unwrap());
                let len: usize = texts.map(|text| text.len() + "user".len()).sum();
                assert_eq!(facts.text_bytes, len as u64, "{shown}");
            }
            let outcome = module(&mut vm, pieces);
            match expected {
                Ok(facts) => {
                    taken += 1;
                    let tokens = facts.prompt_tokens();
                    assert_eq!(outcome.status, 200, "{shown}: {}", outcome.body);
                    let event: Value = serde_json::from_str(&outcome.event).unwrap();
                    assert_eq!(event["usage"]["prompt_tokens"], tokens, "{shown}");
                }
                Err(error) => {
                    refused += 1;
                    assert_eq!(outcome.status, 400, "{shown}");
                    let error = error.to_string();
                    // It begins a sentence there.
                    let same = outcome.body.contains(&error[1..]);
                    assert!(same, "{error}: {}", outcome.body);
                }
            }
        }
    }
    assert!(taken > 1_000 && refused > 300, "{taken} {refused}");
}
