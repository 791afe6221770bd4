//! Where whole answers have text.

use super::prompts::assert_documents;
use super::{Core, KINDS, Value, answer, assert_found, configuration, filled, json, post};

/// Paths, what may be asked there, and answers that each have a text in one place.
pub(super) fn places() -> Vec<(&'static str, Value)> {
    let mut places = Vec::new();
    let mut add = |path: &'static str, answers: Vec<Value>| {
        places.extend(answers.into_iter().map(|answer| (path, answer)));
    };
    let chat = |message: Value| {
        json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}}, {"index": 1, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}})
    };
    add(
        "/v1/chat/completions",
        [
            json!({"role": "assistant", "content": "@"}),
            json!({"role": "assistant", "content": [{"type": "text", "text": "@"}]}),
            json!({"role": "assistant", "content": null, "refusal": "@"}),
            json!({"role": "assistant", "reasoning_content": "@", "content": "x"}),
            json!({"role": "assistant", "reasoning": "@", "content": "x"}),
            json!({"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"q\":\"@\"}"}}]}),
            json!({"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"q\":\"a\\n@\",\"n\":[1]}"}}]}),
            json!({"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f", "input": "@"}}]}),
            json!({"role": "assistant", "function_call": {"name": "f", "arguments": "{\"q\":\"@\"}"}}),
            json!({"role": "assistant", "content": "x", "annotations": [{"type": "url_citation", "url_citation": {"title": "@", "url": "https://e.example"}}]}),
            json!({"role": "assistant", "audio": {"id": "a", "data": "UklGRg==", "transcript": "@"}}),
        ]
        .into_iter()
        .map(chat)
        .collect(),
    );
    add(
        "/v1/completions",
        vec![
            json!({"id": "c", "object": "text_completion", "choices": [{"index": 0, "text": "@", "finish_reason": "stop"}]}),
        ],
    );
    add(
        "/v1/responses",
        [
            json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "@", "annotations": []}]}),
            json!({"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "@"}]}),
            json!({"type": "message", "content": [{"type": "output_text", "text": "x", "annotations": [{"type": "file_citation", "filename": "@"}]}]}),
            json!({"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "@"}]}),
            json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{\"q\":{\"a\":\"@\"}}"}),
            json!({"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "@"}),
            json!({"type": "mcp_call", "name": "f", "arguments": "{\"q\":\"@\"}", "output": "x"}),
            json!({"type": "mcp_call", "name": "f", "arguments": "{}", "output": "@"}),
            json!({"type": "mcp_list_tools", "server_label": "s", "tools": [{"name": "f", "description": "@"}]}),
            json!({"type": "code_interpreter_call", "code": "@"}),
            json!({"type": "code_interpreter_call", "outputs": [{"type": "logs", "logs": "@"}]}),
            json!({"type": "file_search_call", "results": [{"text": "@", "attributes": {"a": "x"}}]}),
            json!({"type": "web_search_call", "action": {"type": "search", "query": "@"}}),
            json!({"type": "computer_call", "action": {"type": "type", "text": "@"}}),
            json!({"type": "image_generation_call", "result": "AAAA", "revised_prompt": "@"}),
        ]
        .into_iter()
        .map(|item| json!({"id": "r", "object": "response", "status": "completed", "model": "m", "instructions": "x", "output": [item], "usage": {"input_tokens": 5, "output_tokens": 7}}))
        .collect(),
    );
    add(
        "/v1/messages",
        [
            json!({"type": "text", "text": "@"}),
            json!({"type": "text", "text": "x", "citations": [{"type": "char_location", "cited_text": "@"}]}),
            json!({"type": "thinking", "thinking": "@", "signature": "s"}),
            json!({"type": "tool_use", "id": "t", "name": "f", "input": {"q": "@"}}),
            json!({"type": "tool_use", "id": "t", "name": "f", "input": {"user": {"id": ["@"], "index": 1}}}),
            json!({"type": "tool_use", "id": "t", "name": "f", "input": {"index": "@", "model": "x"}}),
            json!({"type": "server_tool_use", "id": "t", "name": "web_search", "input": {"query": "@"}}),
            json!({"type": "web_search_tool_result", "tool_use_id": "t", "content": [{"type": "web_search_result", "title": "@"}]}),
            json!({"type": "mcp_tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "@"}]}),
            json!({"type": "code_execution_tool_result", "content": {"type": "code_execution_result", "stdout": "@", "return_code": 0}}),
        ]
        .into_iter()
        .map(|block| json!({"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [block], "stop_reason": "end_turn", "usage": {"input_tokens": 5, "output_tokens": 7}}))
        .collect(),
    );
    add(
        "/v1/complete",
        vec![json!({"completion": "@", "stop_reason": "stop_sequence", "model": "m"})],
    );
    add(
        "/v1beta/models/m:generateContent",
        [
            json!({"text": "@"}),
            json!({"thought": true, "text": "@"}),
            json!({"functionCall": {"name": "f", "args": {"q": "@"}}}),
            json!({"functionCall": {"name": "f", "args": {"id": {"user": ["@"]}, "prompt": "x"}}}),
            json!({"executableCode": {"language": "PYTHON", "code": "@"}}),
            json!({"codeExecutionResult": {"output": "@"}}),
        ]
        .into_iter()
        .map(|part| json!({"candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 7}}))
        .collect(),
    );
    add(
        "/v1beta/models/m:predict",
        vec![json!({"predictions": [{"content": "@"}]})],
    );
    add(
        "/model/m/converse",
        [
            json!({"text": "@"}),
            json!({"reasoningContent": {"reasoningText": {"text": "@", "signature": "s"}}}),
            json!({"toolUse": {"toolUseId": "t", "name": "f", "input": {"q": "@", "role": "x"}}}),
            json!({"toolUse": {"toolUseId": "t", "name": "f", "input": {"status": [{"data": "@"}]}}}),
            json!({"citationsContent": {"content": [{"text": "@"}], "citations": []}}),
        ]
        .into_iter()
        .map(|block| json!({"output": {"message": {"role": "assistant", "content": [block]}}, "stopReason": "end_turn", "usage": {"inputTokens": 5, "outputTokens": 7}}))
        .collect(),
    );
    add(
        "/model/m/invoke",
        vec![
            json!({"type": "message", "content": [{"type": "text", "text": "@"}], "usage": {"input_tokens": 5, "output_tokens": 7}}),
            json!({"inputTextTokenCount": 5, "results": [{"tokenCount": 7, "outputText": "@", "completionReason": "FINISH"}]}),
            json!({"generation": "@", "prompt_token_count": 5, "generation_token_count": 7}),
            json!({"outputs": [{"text": "@", "stop_reason": "stop"}]}),
            json!({"generations": [{"id": "g", "text": "@"}], "prompt": "x"}),
            json!({"output": {"message": {"content": [{"text": "@"}]}}}),
            json!({"completions": [{"data": {"text": "@"}}]}),
        ],
    );
    add(
        "/v1/chat",
        vec![
            json!({"text": "@", "generation_id": "g", "meta": {"billed_units": {"input_tokens": 5, "output_tokens": 7}}}),
            json!({"text": "x", "chat_history": [{"role": "CHATBOT", "message": "@"}]}),
            json!({"text": "", "tool_calls": [{"name": "f", "parameters": {"user": "@"}}]}),
            json!({"text": "x", "citations": [{"start": 0, "end": 2, "text": "@"}]}),
        ],
    );
    add(
        "/v2/chat",
        [
            json!({"role": "assistant", "content": [{"type": "text", "text": "@"}]}),
            json!({"role": "assistant", "tool_plan": "@"}),
            json!({"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"q\":\"@\"}"}}]}),
        ]
        .into_iter()
        .map(|message| json!({"id": "c", "message": message, "finish_reason": "COMPLETE", "usage": {"tokens": {"input_tokens": 5, "output_tokens": 7}}}))
        .collect(),
    );
    add(
        "/v1/generate",
        vec![json!({"id": "g", "generations": [{"id": "g", "text": "@"}], "prompt": "x"})],
    );
    add("/v1/summarize", vec![json!({"id": "s", "summary": "@"})]);
    add(
        "/api/chat",
        [
            json!({"role": "assistant", "content": "@"}),
            json!({"role": "assistant", "content": "", "thinking": "@"}),
            json!({"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"model": "@", "index": 4}}}]}),
        ]
        .into_iter()
        .map(|message| json!({"model": "m", "message": message, "done": true, "prompt_eval_count": 5, "eval_count": 7}))
        .collect(),
    );
    add(
        "/api/generate",
        vec![
            json!({"model": "m", "response": "@", "done": true, "eval_count": 7}),
            json!({"model": "m", "response": "x", "thinking": "@", "done": true}),
        ],
    );
    add(
        "/v1/images/generations",
        vec![json!({"created": 1, "data": [{"b64_json": "AAAA", "revised_prompt": "@"}]})],
    );
    add(
        "/v1/audio/transcriptions",
        vec![
            json!({"text": "@"}),
            json!({"task": "transcribe", "text": "x", "segments": [{"id": 0, "text": "@"}], "words": [{"word": "x"}]}),
        ],
    );
    add(
        "/v2/rerank",
        vec![json!({"results": [{"index": 0, "relevance_score": 0.5, "document": {"text": "@"}}]})],
    );
    places
}

/// A request to this path that the table of endpoints takes.
pub(super) fn asks(path: &str) -> Value {
    json!({"model": "m", "max_tokens": 5, "max_tokens_to_sample": 5, "prompt": "x", "input": "x", "message": "x", "messages": [], "contents": [], "query": "x", "documents": []})
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| !path.starts_with("/model") && !path.starts_with("/v1beta") || *name != "model")
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[test]
fn every_kind_is_found_in_every_place() {
    let mut core = Core::new(&configuration("output_policies")).unwrap();
    for (path, template) in places() {
        for kind in KINDS {
            let [text, left] = kind.texts();
            let place = format!("{path} {template}");
            let said = answer("application/json", &filled(&template, &text).to_string());
            let ask = |action| {
                let mut request = post(kind, action, path, &asks(path));
                if path.ends_with("transcriptions") {
                    request.json = None;
                    request.headers.insert(
                        "content-type".to_owned(),
                        "multipart/form-data; boundary=B".to_owned(),
                    );
                    request.body = Some("--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--B--\r\n".to_owned());
                }
                request
            };
            let blocked = core.run(&ask("block"), &said, 0);
            assert_eq!(blocked.status, 400, "{kind:?} {place}");
            assert_found(kind, &blocked, &place);
            assert!(!String::from_utf8_lossy(&blocked.body).contains(kind.thing));
            let redacted = core.run(&ask("redact"), &said, 0);
            assert_eq!(redacted.status, 200, "{kind:?} {place}");
            assert_found(kind, &redacted, &place);
            let body: Value = serde_json::from_slice(&redacted.body).unwrap();
            assert_eq!(body, filled(&template, &left), "{kind:?} {place}");
            assert_documents(&body, &filled(&template, "x"));
        }
    }
}

/// What the answer says of itself, and of who asked, is none of what the model says.
#[test]
fn what_is_not_said_is_not_looked_at() {
    let mut core = Core::new(&configuration("output_policies")).unwrap();
    let [text, _] = KINDS[2].texts();
    for body in [
        json!({"id": text, "choices": [{"index": 0, "message": {"content": "x"}}], "system_fingerprint": text}),
        json!({"choices": [], "user": text, "metadata": {"a": text}}),
        json!({"data": [{"b64_json": text}]}),
    ] {
        let request = post(KINDS[2], "block", "/v1/chat/completions", &asks("/v1/chat"));
        let outcome = core.run(&request, &answer("application/json", &body.to_string()), 0);
        assert_eq!(
            (outcome.status, &*outcome.body),
            (200, body.to_string().as_bytes())
        );
    }
}
