//! Bytes that come in any pieces read the same.

use super::*;
use proptest::prelude::*;

fn kind() -> impl Strategy<Value = Kind<'static>> {
    let format = prop::sample::select(vec![
        Anthropic,
        Bedrock,
        Cohere,
        Gemini,
        Ollama,
        OpenAi,
        OpenAiResponses,
    ]);
    let content_type = prop::sample::select(vec![
        None,
        Some(EVENTS),
        Some(JSON),
        Some(FRAMES),
        Some("application/x-ndjson"),
        Some("text/plain"),
    ]);
    (format, content_type, any::<bool>()).prop_map(|(format, content_type, strip)| Kind {
        format,
        status: 200,
        content_type,
        strip,
    })
}

const CHUNK: &[u8] = b"data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}],\"usage\":null}\n\n";

/// What answers are made of, put together without sense.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let parts = prop::sample::select(vec![
        &b"data: "[..],
        b"data:",
        b"event: error",
        b":",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\r\n\r\n",
        b"\xef\xbb\xbf",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b"\"usage\":",
        b"\"choices\":[]",
        b"{\"choices\":[],\"usage\":{\"prompt_tokens\":7}}",
        b"{\"prompt_tokens\":7}",
        b"{\"input_tokens\":7}",
        b"\"prompt_eval_count\":7",
        b"7",
        b"\xf0\x9f",
        b"\0",
        b"\"",
        b"\\",
        b"x",
        b"\0\0\0\x14\0\0\0\0\0\0\0\0",
        b"\"bytes\":\"e30=\"",
        b"[DONE]",
        CHUNK,
        CHUNK,
        b"data: {\"choices\":[{\"delta\":{\"content\":\"more \\n\"}}],\"usage\":null}\n\n",
        b"event: error\r\ndata: {\"type\":\"x\",\"delta\":{\"text\":\"a\"}}\r\n\r\n",
        b"event: error\r\ndata: {\"type\":\"y\",\"delta\":{\"text\":\"bc\"}}\r\n\r\n",
    ]);
    prop::collection::vec(parts, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_reads_the_same(kind in kind(), body in body(), cuts in prop::collection::vec(0..50_usize, 0..9)) {
        let whole = kind.read([&body[..]]);
        let mut chunks = vec![&body[..]];
        for cut in cuts {
            let last = chunks.pop().unwrap();
            let (chunk, rest) = last.split_at(cut.min(last.len()));
            chunks.extend([chunk, rest]);
        }
        let shapes = Rc::default();
        for _ in 0..3 {
            prop_assert_eq!(&kind.read_by(Some(&shapes), chunks.iter().copied()), &whole);
        }
        prop_assert_eq!(&kind.read(chunks), &whole);
        prop_assert_eq!(&kind.read(body.chunks(1)), &whole);
        if !kind.strip {
            prop_assert_eq!(whole.bytes, body);
        }
    }

    #[test]
    fn no_bytes_panic(kind in kind(), body in prop::collection::vec(any::<u8>(), 0..200)) {
        let read = kind.read([&body[..]]);
        prop_assert_eq!(kind.read(body.chunks(3)), read);
    }
}
