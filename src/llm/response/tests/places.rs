//! Where each API says what was used, and what only looks like it.

use super::*;

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
