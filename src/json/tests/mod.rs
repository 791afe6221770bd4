mod properties;
mod rfc8259;

use super::*;

/// Everything a sink is told, written down.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Transcript(Vec<String>);

impl Sink for Transcript {
    fn open(&mut self, container: Container, at: u64) {
        self.0.push(format!("open {container:?} {at}"));
    }

    fn close(&mut self, container: Container, at: u64) {
        self.0.push(format!("close {container:?} {at}"));
    }

    fn key(&mut self, key: Text<'_>, span: Span) {
        self.0.push(format!("key {key:?} {span:?}"));
    }

    fn scalar(&mut self, value: Scalar<'_>, span: Span) {
        self.0.push(format!("{value:?} {span:?}"));
    }
}

pub(super) fn scan(pieces: &[&[u8]]) -> Result<Transcript, JsonError> {
    let mut transcript = Transcript::default();
    let mut scanner = Scanner::new();
    for piece in pieces {
        scanner.push(piece, &mut transcript)?;
    }
    scanner.finish(&mut transcript)?;
    Ok(transcript)
}

pub(super) fn refused(document: &[u8]) -> JsonErrorKind {
    scan(&[document]).unwrap_err().kind
}

#[test]
fn reports_tokens_with_their_spans() {
    let transcript = scan(&[br#"{"a":[1,"\u00e9x"],"b":null}"#]).unwrap();
    let text = |bytes: &'static str| Text {
        bytes: bytes.as_bytes(),
        whole: true,
        len: bytes.len() as u64,
    };
    let span = |start, end| Span { start, end };
    assert_eq!(
        transcript.0,
        [
            "open Object 0".to_owned(),
            format!("key {:?} {:?}", text("a"), span(1, 4)),
            "open Array 5".to_owned(),
            format!("Number({:?}) {:?}", text("1"), span(6, 7)),
            format!("String({:?}) {:?}", text("éx"), span(8, 17)),
            "close Array 17".to_owned(),
            format!("key {:?} {:?}", text("b"), span(19, 22)),
            format!("Null {:?}", span(23, 27)),
            "close Object 27".to_owned(),
        ]
    );
}

#[test]
fn an_error_stays() {
    let mut scanner = Scanner::new();
    let error = scanner.push(b"[1,]", &mut ()).unwrap_err();
    assert_eq!(
        error,
        JsonError {
            at: 3,
            kind: JsonErrorKind::Syntax
        }
    );
    assert_eq!(scanner.push(b"[]", &mut ()), Err(error));
    assert_eq!(scanner.finish(&mut ()), Err(error));
}

struct Last<'a>(&'a mut Option<(usize, bool, u64)>);
impl Sink for Last<'_> {
    fn scalar(&mut self, value: Scalar<'_>, _: Span) {
        if let Scalar::String(text) = value {
            *self.0 = Some((text.bytes.len(), text.whole, text.len));
        }
    }
}

#[test]
fn long_strings_are_captured_in_part() {
    let long = format!("\"{}\"", "é".repeat(400));
    let mut seen = None;
    let mut scanner = Scanner::new();
    scanner.push(long.as_bytes(), &mut Last(&mut seen)).unwrap();
    assert!(scanner.is_complete());
    assert_eq!(seen, Some((CAPTURE, false, 800)));
}

#[test]
fn depth_is_that_of_serde_json() {
    for depth in [1, 100, 126, 127, 128, 129, 1000, 100_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let document = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let ours = scan(&[document.as_bytes()]).is_ok();
            assert_eq!(ours, depth <= MAX_DEPTH, "{depth}");
            assert_eq!(
                ours,
                serde_json::from_str::<serde_json::Value>(&document).is_ok(),
                "{depth}"
            );
        }
    }
}

#[test]
fn says_what_is_wrong() {
    use JsonErrorKind as Kind;
    for (document, kind) in [
        (&b"\xEF\xBB\xBF{}"[..], Kind::ByteOrderMark),
        (b"\xFE\xFF\0{", Kind::ByteOrderMark),
        (b"{\0\"\0", Kind::Nul),
        (b"\0{", Kind::Nul),
        (b"\"a\0\"", Kind::Nul),
        (b"\"a\nb\"", Kind::Control),
        (b"\"\\x41\"", Kind::Escape),
        (b"\"\\u12G4\"", Kind::Escape),
        (b"\"\\ud800\"", Kind::LoneSurrogate),
        (b"\"\\ud800\\n\"", Kind::LoneSurrogate),
        (b"\"\\ud800\\ud800\"", Kind::LoneSurrogate),
        (b"\"\\udc00\"", Kind::LoneSurrogate),
        (b"\"\xC3\"", Kind::Utf8),
        (b"\"\xC0\xAF\"", Kind::Utf8),
        (b"\"\xED\xA0\x80\"", Kind::Utf8),
        (b"{} {}", Kind::TrailingBytes),
        (b"{}\0", Kind::TrailingBytes),
        (b"{", Kind::Incomplete),
        (b"", Kind::Incomplete),
        (b"-", Kind::Incomplete),
        (b"1e999", Kind::NumberOutOfRange),
        (b"NaN", Kind::Syntax),
    ] {
        assert_eq!(refused(document), kind, "{}", document.escape_ascii());
    }
}
