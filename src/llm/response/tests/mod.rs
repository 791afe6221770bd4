mod cuts;
mod places;
mod recorded;
mod strip;

use serde_json::Value;

use super::UsageFormat::{Anthropic, Bedrock, Cohere, Gemini, Ollama, OpenAi, OpenAiResponses};
use super::*;
use crate::llm::event_stream::tests::frame;

/// What reading an answer gives.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Read {
    usage: Option<Usage>,
    bytes: Vec<u8>,
    text: u64,
    error: bool,
    stream: bool,
}

/// How an answer is to be read.
#[derive(Clone, Copy, Debug)]
struct Kind<'a> {
    format: UsageFormat,
    status: u16,
    content_type: Option<&'a str>,
    strip: bool,
}

impl Kind<'_> {
    fn read<'c>(self, chunks: impl IntoIterator<Item = &'c [u8]>) -> Read {
        self.read_by(None, chunks)
    }

    fn read_by<'c>(
        self,
        shapes: Option<&Rc<Shapes>>,
        chunks: impl IntoIterator<Item = &'c [u8]>,
    ) -> Read {
        let content_type = self.content_type.map(str::as_bytes);
        let mut reader = Reader::new(self.format, self.status, content_type, self.strip);
        if let Some(shapes) = shapes {
            reader.recall(Rc::clone(shapes));
        }
        let mut bytes = Vec::new();
        for chunk in chunks {
            match reader.push(chunk) {
                Forward::Replace(new) => {
                    assert!(self.strip, "nothing is edited unless asked for");
                    bytes.extend(new);
                }
                Forward::Unchanged => bytes.extend(chunk),
            }
        }
        if let Forward::Replace(rest) = reader.finish() {
            bytes.extend(rest);
        }
        Read {
            usage: reader.usage(),
            bytes,
            text: reader.text_bytes(),
            error: reader.saw_error(),
            stream: reader.is_stream(),
        }
    }

    /// Reads the whole; checked to be the same however it is cut.
    fn check(self, body: &[u8]) -> Read {
        let whole = self.read([body]);
        for at in 0..=body.len() {
            let (left, right) = body.split_at(at);
            assert_eq!(self.read([left, right]), whole, "{self:?} cut at {at}");
        }
        for size in [1, 2, 7] {
            assert_eq!(self.read(body.chunks(size)), whole, "{self:?} by {size}");
        }
        self.check_shapes(body, &whole);
        whole
    }

    /// Checks that nothing else is read where the shapes of this and of other answers are known.
    fn check_shapes(self, body: &[u8], whole: &Read) {
        thread_local!(static SHAPES: Rc<Shapes> = Rc::default());
        SHAPES.with(|shapes| {
            for _ in 0..2 {
                for size in [body.len().max(1), 100] {
                    let read = self.read_by(Some(shapes), body.chunks(size));
                    assert_eq!(read, *whole, "{self:?} by {size}");
                }
            }
        });
    }
}

const fn ok(format: UsageFormat, content_type: &str) -> Kind<'_> {
    Kind {
        format,
        status: 200,
        content_type: Some(content_type),
        strip: false,
    }
}

const EVENTS: &str = "text/event-stream; charset=utf-8";
const JSON: &str = "application/json";
const FRAMES: &str = "application/vnd.amazon.eventstream";

/// Prompt, completion, total, cached, written, reasoning; 0 where nothing was said.
fn counts(usage: Option<Usage>) -> Option<[u64; 6]> {
    let usage = usage?;
    let counts = [
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.total_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
    ];
    Some(counts.map(Option::unwrap_or_default))
}

#[test]
fn errors_are_seen_whatever_the_status_says() {
    for (format, body, error) in [
        (OpenAi, "data: {\"error\":{\"message\":\"m\"}}\n\n", true),
        (OpenAi, "data: {\"error\":\"m\"}\n\n", true),
        (OpenAi, "event: error\ndata: m\n\n", true),
        (
            OpenAi,
            "data: {\"error\":null,\"choices\":[{\"error\":{}}]}\n\n",
            false,
        ),
        (OpenAi, "event: errors\ndata: {\"error\":\"\"}\n\n", false),
        (Anthropic, "data: {\"type\":\"error\"}\n\n", true),
        (Anthropic, "data: {\"type\":\"message_stop\"}\n\n", false),
        (
            OpenAiResponses,
            "data: {\"response\":{\"error\":{\"code\":\"c\"},\"usage\":null}}\n\n",
            true,
        ),
        (
            OpenAiResponses,
            "data: {\"response\":{\"error\":null}}\n\n",
            false,
        ),
    ] {
        assert_eq!(
            ok(format, EVENTS).check(body.as_bytes()).error,
            error,
            "{body}"
        );
    }
    let seen = "data: {\"usage\":{\"prompt_tokens\":3}}\n\ndata: {\"error\":{}}\n\n";
    assert!(ok(OpenAi, EVENTS).check(seen.as_bytes()).usage.is_some());
}

#[test]
fn an_answer_that_failed_has_no_usage() {
    let body = br#"{"usage":{"prompt_tokens":3}}"#;
    for (status, usage) in [
        (200, true),
        (201, true),
        (400, false),
        (429, false),
        (502, false),
        (304, false),
    ] {
        let read = Kind {
            status,
            ..ok(OpenAi, JSON)
        }
        .check(body);
        assert_eq!(read.usage.is_some(), usage, "{status}");
    }
}

#[test]
fn text_is_counted_without_its_frame() {
    for (kind, body, text) in [
        (
            ok(OpenAi, EVENTS),
            "data: {\"id\":\"chatcmpl\",\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"He\\nlo\"},\"finish_reason\":null}]}\n\n",
            5,
        ),
        (
            ok(OpenAi, JSON),
            r#"{"id":"x","choices":[{"message":{"content":"Hello","tool_calls":[{"id":"call","type":"function","function":{"name":"f","arguments":"{}"}}]},"logprobs":{"content":[{"token":"Hello"}]}}]}"#,
            8,
        ),
        (
            ok(OpenAiResponses, EVENTS),
            "data: {\"type\":\"response.output_text.delta\",\"delta\":\"Hello\"}\n\ndata: {\"type\":\"response.output_text.done\",\"text\":\"Hello\"}\n\ndata: {\"type\":\"response.completed\",\"response\":{\"output\":[{\"content\":[{\"text\":\"Hello\"}]}]}}\n\n",
            5,
        ),
        (
            ok(Anthropic, EVENTS),
            "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\n",
            5,
        ),
        (
            ok(Gemini, JSON),
            r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"Hello","thoughtSignature":"xxxx"}]},"finishReason":"STOP"}]}"#,
            5,
        ),
        (
            ok(Bedrock, JSON),
            r#"{"output":{"message":{"role":"assistant","content":[{"text":"Hello"}]}},"stopReason":"end_turn"}"#,
            5,
        ),
        (
            ok(Cohere, EVENTS),
            "data: {\"type\":\"content-delta\",\"delta\":{\"message\":{\"content\":{\"text\":\"Hello\"}}}}\n\n",
            5,
        ),
        (
            ok(Ollama, JSON),
            r#"{"model":"m","message":{"role":"assistant","content":"Hello"}}"#,
            5,
        ),
        (ok(OpenAi, "text/plain"), "Hello", 5),
        (ok(OpenAi, JSON), "Hello", 5),
        (ok(OpenAi, JSON), "{Hello there", 12),
        (ok(OpenAi, "audio/mpeg"), "Hello", 0),
    ] {
        assert_eq!(kind.check(body.as_bytes()).text, text, "{body}");
    }
}

fn base64(text: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for bytes in text.as_bytes().chunks(3) {
        let bits = bytes
            .iter()
            .chain([&0; 2])
            .take(3)
            .fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let letter = char::from(ALPHABET[bits >> shift & 63]);
            out.push(if at > bytes.len() { '=' } else { letter });
        }
    }
    out
}

#[test]
fn bedrock_streams_are_read_frame_by_frame() {
    let kind = ok(Bedrock, FRAMES);
    let converse = [
        frame("event", "contentBlockDelta", br#"{"contentBlockIndex":0,"delta":{"text":"Hello"},"p":"abcd"}"#),
        frame("event", "messageStop", br#"{"stopReason":"end_turn"}"#),
        frame("event", "metadata", br#"{"metrics":{"latencyMs":9},"usage":{"inputTokens":30,"outputTokens":8,"totalTokens":40,"cacheReadInputTokens":2}}"#),
    ]
    .concat();
    let read = kind.check(&converse);
    assert_eq!(counts(read.usage), Some([32, 8, 40, 2, 0, 0]));
    assert_eq!(
        (read.bytes, read.text, read.error, read.stream),
        (converse, 5, false, true)
    );

    let chunk = |document: &str| {
        let payload = format!(r#"{{"p":"abc","bytes":"{}"}}"#, base64(document));
        frame("event", "chunk", payload.as_bytes())
    };
    let invoke = [
        chunk(r#"{"type":"message_start","message":{"usage":{"input_tokens":12,"output_tokens":1}}}"#),
        chunk(r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"Hello"}}"#),
        chunk(r#"{"type":"message_delta","usage":{"output_tokens":25}}"#),
        chunk(r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":12,"outputTokenCount":26,"invocationLatency":9,"firstByteLatency":3}}"#),
        frame("exception", "throttlingException", br#"{"message":"m"}"#),
    ]
    .concat();
    let read = kind.check(&invoke);
    assert_eq!(counts(read.usage), Some([12, 26, 38, 0, 0, 0]));
    assert_eq!((read.text, read.error), (5, true));
}

#[test]
fn headers_of_bedrock_say_what_the_body_does_not() {
    let counts = |status, body: &[u8]| {
        let mut reader = Reader::new(Bedrock, status, Some(JSON.as_bytes()), false);
        reader.header(b"x-amzn-bedrock-input-token-count", b"12");
        reader.header(b"x-amzn-bedrock-input-token-count", b"");
        reader.header(b"x-amzn-bedrock-output-token-count", b"25");
        reader.header(b"x-amzn-bedrock-output-token-count", b"-25");
        reader.header(b"x-amzn-bedrock-invocation-latency", b"99");
        reader.push(body);
        counts(reader.usage())
    };
    assert_eq!(counts(200, b"{}"), Some([12, 25, 37, 0, 0, 0]));
    let body = br#"{"usage":{"input_tokens":12,"cache_read_input_tokens":3,"output_tokens":26}}"#;
    assert_eq!(counts(200, body), Some([15, 26, 41, 3, 0, 0]));
    assert_eq!(counts(400, b"{}"), None);
}

#[test]
fn an_error_is_no_text() {
    let mut reader = Reader::new(OpenAi, 200, Some(b"text/event-stream"), false);
    reader.push(b"data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\n");
    reader.push(b"data: [DONE]\n\n");
    reader.finish();
    assert!(reader.saw_error());
    assert_eq!(reader.text_bytes(), 0);
}

#[test]
fn a_text_that_breaks_off_counts_as_far_as_it_goes() {
    let length = |content_type: &str, body: &str| {
        let body = body.as_bytes();
        ok(OpenAi, content_type).check(body).text
    };
    let answer = r#"{"id":"x","choices":[{"message":{"content":"12345"#;
    for (more, expected) in [("", 5), ("\\", 6), ("\"", 5), ("\",\"refusal\":\"12", 7)] {
        let body = format!("{answer}{more}");
        assert_eq!(length(JSON, &body), expected, "{body}");
        let event = format!("data: {body}");
        assert_eq!(length(EVENTS, &event), expected, "{event}");
    }
    assert_eq!(length(JSON, r#"{"id":"123"#), 0);
    assert_eq!(length(JSON, r#"{"choices":[{"message":{"conte"#), 0);
}

#[test]
fn a_stream_is_over_when_it_says_so() {
    for (format, before, last) in [
        (
            OpenAi,
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n",
            "data: [DONE]\n\n",
        ),
        (
            Anthropic,
            "data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":1}}\n\n",
            "data: {\"type\":\"message_stop\"}\n\n",
        ),
        (
            OpenAiResponses,
            "data: {\"type\":\"response.created\"}\n\n",
            "data: {\"type\":\"response.completed\",\"response\":{}}\n\n",
        ),
        (
            Cohere,
            "data: {\"type\":\"content-end\"}\n\n",
            "data: {\"type\":\"message-end\",\"delta\":{}}\n\n",
        ),
    ] {
        let mut reader = Reader::new(format, 200, Some(b"text/event-stream"), false);
        reader.push(before.as_bytes());
        let (unfinished, end) = last.split_at(last.len() - 1);
        reader.push(unfinished.as_bytes());
        assert!(!reader.is_over(), "{last}");
        reader.push(end.as_bytes());
        assert!(reader.is_over(), "{last}");
    }
    let mut quoted = Reader::new(Anthropic, 200, Some(b"text/event-stream"), false);
    quoted.push(b"data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"message_stop\",\"text\":\"[DONE]\"}}\n\n");
    assert!(!quoted.is_over());
}
