mod strip;

use std::fs;
use std::path::Path;

use proptest::prelude::*;
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
fn every_recorded_answer_gives_its_usage() {
    let seen = [
        "testdata/llm-api/responses",
        "testdata/llm-api-more/responses",
    ]
    .map(recorded);
    assert!(
        seen[0] >= 20 && seen[1] >= 40,
        "fixtures are missing: {seen:?}"
    );
}

fn recorded(dir: &str) -> usize {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let mut seen = 0_usize;
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_string_lossy().ends_with(".expected.json") {
            continue;
        }
        let expected: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let name = expected["file"].as_str().unwrap();
        let body = fs::read(dir.join(name)).unwrap();
        let (vendor, _) = expected["format"]
            .as_str()
            .unwrap()
            .split_once('.')
            .unwrap_or_default();
        let format = match vendor {
            "anthropic" => Anthropic,
            "bedrock" => Bedrock,
            "cohere" => Cohere,
            "gemini" | "vertex" => Gemini,
            "ollama" => Ollama,
            _ if expected["format"] == "openai.responses" => OpenAiResponses,
            _ => OpenAi,
        };
        let kind = Kind {
            format,
            status: u16::try_from(expected["status"].as_u64().unwrap()).unwrap(),
            content_type: expected["content_type"].as_str(),
            strip: false,
        };
        let read = kind.check(&body);
        assert_eq!(read.bytes, body, "{name}");
        assert_eq!(read.stream, expected["stream"].as_bool().unwrap(), "{name}");

        let acceptable = expected["accept_usage"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let acceptable: Vec<_> = [expected["usage"].clone()]
            .into_iter()
            .chain(acceptable)
            .map(|usage| {
                usage.as_object()?;
                let keys = [
                    "prompt",
                    "completion",
                    "total",
                    "cached",
                    "cache_write",
                    "reasoning",
                ];
                Some(keys.map(|key| usage[format!("{key}_tokens")].as_u64().unwrap_or_default()))
            })
            .collect();
        let got = counts(read.usage);
        assert!(
            acceptable.contains(&got),
            "{name}: {got:?} is none of {acceptable:?}"
        );

        if path.to_string_lossy().contains("stream")
            && kind.content_type == Some("text/event-stream")
        {
            let text = String::from_utf8(body).unwrap().replace('\r', "");
            for ending in ["\r\n", "\r"] {
                let body = text.replace('\n', ending);
                let other = kind.check(body.as_bytes());
                assert_eq!((other.usage, other.text), (read.usage, read.text), "{name}");
                assert_eq!(other.bytes, body.as_bytes(), "{name}");
            }
        }
        seen = seen.saturating_add(1);
    }
    seen
}

/// A name, how the answer is to be read, the answer, and the counts it has.
type Case = (&'static str, Kind<'static>, &'static str, Option<[u64; 6]>);

const CASES: &[Case] = &[
    (
        "DeepSeek's cache",
        ok(OpenAi, JSON),
        r#"{"usage":{"prompt_tokens":30,"completion_tokens":2,"total_tokens":32,"prompt_cache_hit_tokens":20,"prompt_cache_miss_tokens":10}}"#,
        Some([30, 2, 32, 20, 0, 0]),
    ),
    (
        "Groq",
        ok(OpenAi, EVENTS),
        "data: {\"choices\":[],\"x_groq\":{\"id\":\"r\",\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7,\"total_time\":0.5}}}\n\ndata: [DONE]\n\n",
        Some([3, 4, 7, 0, 0, 0]),
    ),
    (
        "Whisper's duration",
        ok(OpenAi, JSON),
        r#"{"text":"hi","usage":{"type":"duration","seconds":3}}"#,
        None,
    ),
    (
        "streamed images and transcripts",
        ok(OpenAi, EVENTS),
        "event: transcript.text.done\ndata: {\"type\":\"transcript.text.done\",\"text\":\"a\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":14,\"output_tokens\":45,\"total_tokens\":59}}\n\n",
        Some([14, 45, 59, 0, 0, 0]),
    ),
    (
        "a later null leaves what was said",
        ok(OpenAi, EVENTS),
        "data: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\ndata: {\"usage\":null}\n\ndata: {\"usage\":{\"prompt_tokens\":null}}\n\n",
        Some([3, 4, 7, 0, 0, 0]),
    ),
    (
        "numbers that cannot be counts",
        ok(OpenAi, JSON),
        r#"{"usage":{"prompt_tokens":-3,"completion_tokens":"4","total_tokens":1e30}}"#,
        None,
    ),
    (
        "other places",
        ok(OpenAi, JSON),
        r#"{"choices":[{"usage":{"prompt_tokens":1}}],"data":{"usage":{"prompt_tokens":1}},"usage":[{"prompt_tokens":1}],"prompt_tokens":1,"Usage":{"prompt_tokens":1},"response":{"usage":{"prompt_tokens":1}},"x_groq":{"x_groq":{"usage":{"prompt_tokens":1}}},"usageMetadata":{"promptTokenCount":1}}"#,
        None,
    ),
    (
        "a text that poses as an event",
        ok(OpenAi, EVENTS),
        "data: {\"choices\":[{\"delta\":{\"content\":\"\\n\\ndata: {\\\"usage\\\":{\\\"prompt_tokens\\\":9}}\\n\\n\"}}]}\n\n: data: {\"usage\":{\"prompt_tokens\":9}}\n\nevent: data: {\"usage\":{\"prompt_tokens\":9}}\n\n",
        None,
    ),
    (
        "data on several lines",
        ok(OpenAi, EVENTS),
        "data: {\"usage\":\ndata:{\"prompt_tokens\":3,\nid: 7\ndata\ndata: \"completion_tokens\":4}}\n\n",
        Some([3, 4, 7, 0, 0, 0]),
    ),
    (
        "a last event without a blank line",
        ok(OpenAi, EVENTS),
        "data: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}",
        Some([3, 4, 7, 0, 0, 0]),
    ),
    (
        "an event that is no JSON does not harm the next",
        ok(OpenAi, EVENTS),
        "data: {\"usage\":{\"prompt_tokens\n\ndata: \u{fffd}]\n\ndata: {\"usage\":{\"prompt_tokens\":3}}\n\n",
        Some([3, 0, 3, 0, 0, 0]),
    ),
    (
        "a stream that is called JSON",
        ok(OpenAi, JSON),
        "\u{feff}\r\n: hello\n\ndata: {\"usage\":{\"prompt_tokens\":3}}\n\n",
        Some([3, 0, 3, 0, 0, 0]),
    ),
    (
        "JSON that is called a stream",
        ok(OpenAi, EVENTS),
        "{\n\"usage\": {\"prompt_tokens\":3}}",
        Some([3, 0, 3, 0, 0, 0]),
    ),
    (
        "a transcript that speaks JSON",
        ok(OpenAi, "text/plain"),
        r#"{"usage":{"prompt_tokens":0}}"#,
        None,
    ),
    (
        "a response in the background",
        ok(OpenAiResponses, JSON),
        r#"{"id":"r","status":"queued","background":true,"error":null,"usage":null}"#,
        None,
    ),
    (
        "a response that is incomplete",
        ok(OpenAiResponses, EVENTS),
        "data: {\"type\":\"response.incomplete\",\"response\":{\"error\":null,\"usage\":{\"input_tokens\":5,\"output_tokens\":6,\"total_tokens\":11,\"output_tokens_details\":{\"reasoning_tokens\":6}}}}\n\n",
        Some([5, 6, 11, 0, 0, 6]),
    ),
    (
        "counts that the end corrects",
        ok(Anthropic, EVENTS),
        "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":8834,\"cache_read_input_tokens\":null,\"output_tokens\":1}}}\n\ndata: {\"type\":\"message_delta\",\"usage\":{\"input_tokens\":18,\"cache_read_input_tokens\":8831,\"cache_creation_input_tokens\":null,\"output_tokens\":7,\"output_tokens_details\":{\"thinking_tokens\":3},\"iterations\":[{\"input_tokens\":99}],\"cache_creation\":{\"ephemeral_5m_input_tokens\":99}}}\n\n",
        Some([8849, 7, 8856, 8831, 0, 3]),
    ),
    (
        "a count of tokens is no consumption",
        ok(Anthropic, JSON),
        r#"{"input_tokens":14}"#,
        None,
    ),
    (
        "an array of what else are events",
        ok(Gemini, JSON),
        "[{\"candidates\":[{\"usageMetadata\":{\"promptTokenCount\":99}}],\"usageMetadata\":{\"promptTokenCount\":10,\"totalTokenCount\":10}}\n,\r\n{\"usageMetadata\":{\"promptTokenCount\":10,\"toolUsePromptTokenCount\":5,\"candidatesTokenCount\":2,\"thoughtsTokenCount\":3,\"totalTokenCount\":20}}]",
        Some([15, 5, 20, 0, 0, 3]),
    ),
    (
        "arrays are Gemini's alone",
        ok(OpenAi, JSON),
        r#"[{"usage":{"prompt_tokens":10}}]"#,
        None,
    ),
    (
        "Claude on Vertex",
        ok(Gemini, JSON),
        r#"{"type":"message","usage":{"input_tokens":12,"cache_read_input_tokens":3,"output_tokens":25}}"#,
        Some([15, 25, 40, 3, 0, 0]),
    ),
    (
        "Bedrock's cache",
        ok(Bedrock, JSON),
        r#"{"usage":{"inputTokens":30,"outputTokens":8,"totalTokens":45,"cacheReadInputTokens":5,"cacheWriteInputTokens":2}}"#,
        Some([37, 8, 45, 5, 2, 0]),
    ),
    (
        "Titan",
        ok(Bedrock, JSON),
        r#"{"inputTextTokenCount":5,"results":[{"tokenCount":55,"outputText":"a","completionReason":"FINISH"}]}"#,
        Some([5, 55, 60, 0, 0, 0]),
    ),
    (
        "Llama",
        ok(Bedrock, JSON),
        r#"{"generation":"a","prompt_token_count":5,"generation_token_count":6,"stop_reason":"stop"}"#,
        Some([5, 6, 11, 0, 0, 0]),
    ),
    (
        "Cohere's stream",
        ok(Cohere, EVENTS),
        "event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"COMPLETE\",\"usage\":{\"billed_units\":{\"input_tokens\":5.0,\"output_tokens\":30.0},\"tokens\":{\"input_tokens\":71.0,\"output_tokens\":31.0},\"cached_tokens\":16.0}}}\n\n",
        Some([71, 31, 102, 16, 0, 0]),
    ),
    (
        "Cohere's embeddings, only billed",
        ok(Cohere, JSON),
        r#"{"meta":{"api_version":{"version":"2"},"billed_units":{"input_tokens":2}}}"#,
        Some([2, 0, 2, 0, 0, 0]),
    ),
    (
        "Ollama's lines, called JSON",
        ok(Ollama, JSON),
        "{\"response\":\"a\",\"done\":false}\n{\"done\":true,\"prompt_eval_count\":26,\"eval_count\":2}\n",
        Some([26, 2, 28, 0, 0, 0]),
    ),
    (
        "a line that is no JSON does not harm the next",
        ok(Ollama, "application/x-ndjson"),
        "{\"response\":\"a\r\n{}{}\n\n{\"eval_count\":2,\"prompt_eval_count\":26}",
        Some([26, 2, 28, 0, 0, 0]),
    ),
    (
        "no usage is expected",
        ok(UsageFormat::None, JSON),
        r#"{"usage":{"prompt_tokens":1}}"#,
        None,
    ),
];

#[test]
fn the_documented_places_count_and_no_others() {
    for (name, kind, body, expected) in CASES {
        let read = kind.check(body.as_bytes());
        assert_eq!(counts(read.usage), *expected, "{name}");
        assert_eq!(read.bytes, body.as_bytes(), "{name}");
    }
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
