//! RFC 8259 from end to end: the cases of `testdata/json/`, through the reader of a chat request.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use cohort::llm::endpoint::{Call, classify};
use cohort::llm::request::{BodyError, Facts, Reader};
use std::collections::BTreeMap;

/// Bodies up to this length are cut at every byte.
const SHORT: usize = 120;

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Verdict {
    /// `y`
    Read,
    /// `n`
    Refused,
    /// `i+`
    LeftOpenRead,
    /// `i-`
    LeftOpenRefused,
}

impl Verdict {
    fn accepts(self) -> bool {
        matches!(self, Self::Read | Self::LeftOpenRead)
    }
}

struct Case {
    verdict: Verdict,
    name: &'static str,
    bytes: Vec<u8>,
}

impl Case {
    fn parse(line: &'static str) -> Self {
        let (verdict, rest) = line.split_once(' ').expect("a verdict, then a name");
        let rest = rest.trim_start();
        let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let verdict = match verdict {
            "y" => Verdict::Read,
            "n" => Verdict::Refused,
            "i+" => Verdict::LeftOpenRead,
            "i-" => Verdict::LeftOpenRefused,
            other => panic!("{name}: no verdict is {other}"),
        };
        let bytes = bytes(text.trim_start());
        Self {
            verdict,
            name,
            bytes,
        }
    }
}

/// The bytes that a case stands for.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((plain, marked)) = rest.split_once('⟨') {
        bytes.extend(plain.bytes());
        let (mark, after) = marked.split_once('⟩').expect("⟨ is closed");
        match mark.split_once(" x ") {
            Some((times, repeated)) => {
                bytes.extend(repeated.repeat(times.parse().unwrap()).bytes());
            }
            None => bytes.extend(
                mark.split(' ')
                    .map(|hex| u8::from_str_radix(hex, 16).unwrap()),
            ),
        }
        rest = after;
    }
    bytes.extend(rest.bytes());
    bytes
}

fn cases(file: &'static str) -> Vec<Case> {
    let lines = file
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(Case::parse).collect()
}

fn values() -> Vec<Case> {
    cases(include_str!("../testdata/json/values.txt"))
}

fn documents() -> Vec<Case> {
    cases(include_str!("../testdata/json/documents.txt"))
}

/// The reader of chat requests, behind everything that leads to it.
struct Chat(Call);

impl Chat {
    fn new() -> Self {
        let call = classify(b"POST", b"/v1/chat/completions", false, &[String::new()]);
        Self(call.unwrap_or_else(|_| panic!("the table has the path")))
    }

    fn read(&self, pieces: &[&[u8]]) -> Result<Box<Facts>, BodyError> {
        let mut reader = Reader::new(&self.0, Some(b"application/json"), None)?;
        for piece in pieces {
            reader.push(piece)?;
        }
        reader.finish()
    }

    /// What is wrong, if anything is: the decision on a body, or that it depends on where the body is cut.
    fn check(&self, body: &[u8], accepts: bool) -> Result<(), String> {
        let read = self.read(&[body]);
        let expected = match &read {
            Ok(facts) => accepts && facts.models == ["m"],
            Err(_) => !accepts,
        };
        let shown = &body[..body.len().min(SHORT)];
        if !expected {
            return Err(format!("{} gave {read:?}", shown.escape_ascii()));
        }
        if body.len() > SHORT {
            return Ok(());
        }
        for cut in 0..=body.len() {
            let (first, second) = body.split_at(cut);
            let cut_up = self.read(&[first, second]);
            if cut_up != read {
                return Err(format!(
                    "{} gave {read:?}, but cut at {cut} {cut_up:?}",
                    shown.escape_ascii()
                ));
            }
        }
        let bytes: Vec<_> = body.chunks(1).collect();
        if self.read(&bytes) != read {
            return Err(format!(
                "{} gave {read:?}, but not byte by byte",
                shown.escape_ascii()
            ));
        }
        Ok(())
    }
}

fn wrong(cases: &[Case], check: impl Fn(&Case) -> Vec<Result<(), String>>) -> Vec<String> {
    let report = |case: &Case, error| format!("{} ({:?}): {error}", case.name, case.verdict);
    cases
        .iter()
        .flat_map(|case| {
            check(case)
                .into_iter()
                .filter_map(Result::err)
                .map(|error| report(case, error))
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn values_in_a_request() {
    let chat = Chat::new();
    let wrong = wrong(&values(), |case| {
        let accepts = case.verdict.accepts();
        let around = [
            (&br#"{"model":"m","metadata":"#[..], &b"}"[..]),
            (br#"{"metadata":"#, br#","model":"m"}"#),
            (b"{ \"metadata\" :\n", b"\t, \"model\" : \"m\" }\r\n"),
        ];
        let inside = around
            .iter()
            .map(|(before, after)| [before, &case.bytes[..], after].concat());
        inside.map(|body| chat.check(&body, accepts)).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn strings_as_keys() {
    let chat = Chat::new();
    let mut strings = values();
    strings.retain(|case| case.bytes.starts_with(b"\""));
    assert!(strings.len() >= 100, "{} strings", strings.len());
    let wrong = wrong(&strings, |case| {
        let body = [br#"{"model":"m","#, &case.bytes[..], b":0}"].concat();
        vec![chat.check(&body, case.verdict.accepts())]
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A value alone is no request, whatever it is.
#[test]
fn values_as_bodies() {
    let chat = Chat::new();
    let mut values = values();
    values.retain(|case| !case.bytes.starts_with(b"{"));
    let wrong = wrong(&values, |case| vec![chat.check(&case.bytes, false)]);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn whole_bodies() {
    let chat = Chat::new();
    let wrong = wrong(&documents(), |case| {
        vec![chat.check(&case.bytes, case.verdict.accepts())]
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The tables say of RFC 8259 what another reader says: `y` is JSON, `n` is not.
#[test]
fn the_tables_are_right() {
    let mut count = BTreeMap::new();
    for case in values().into_iter().chain(documents()) {
        *count.entry(case.verdict).or_insert(0) += 1;
        let read = serde_json::from_slice::<serde_json::Value>(&case.bytes).is_ok();
        match case.verdict {
            Verdict::Read => assert!(read, "{} is y", case.name),
            Verdict::Refused => assert!(!read, "{} is n", case.name),
            Verdict::LeftOpenRead | Verdict::LeftOpenRefused => {}
        }
    }
    assert!(count[&Verdict::Read] >= 80, "{count:?}");
    assert!(count[&Verdict::Refused] >= 120, "{count:?}");
    let names: Vec<_> = values().iter().map(|case| case.name).collect();
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(names.len(), distinct.len(), "a name is there twice");
}
