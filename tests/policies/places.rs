//! Where requests have text.

use super::{Value, json};

/// Paths, with bodies that each have a text in one place.
pub(super) fn places() -> Vec<(&'static str, Value)> {
    let mut places = Vec::new();
    openai(&mut places);
    responses(&mut places);
    anthropic(&mut places);
    gemini(&mut places);
    bedrock(&mut places);
    cohere(&mut places);
    ollama(&mut places);
    places
}

type Places = Vec<(&'static str, Value)>;

/// A body with one member more.
pub(super) fn with(base: &Value, member: &Value) -> Value {
    let mut body = base.clone();
    for (name, value) in member.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

fn openai(places: &mut Places) {
    const CHAT: &str = "/v1/chat/completions";
    for message in [
        json!({"role": "user", "content": "@"}),
        json!({"role": "system", "content": "@"}),
        json!({"role": "developer", "content": [{"type": "text", "text": "@"}]}),
        json!({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://e.example/i.png"}}, {"type": "text", "text": "@"}]}),
        json!({"role": "user", "content": [{"type": "file", "file": {"filename": "@", "file_id": "f"}}]}),
        json!({"role": "user", "name": "@", "content": "x"}),
        json!({"role": "assistant", "content": "@"}),
        json!({"role": "assistant", "content": null, "refusal": "@"}),
        json!({"role": "assistant", "content": [{"type": "refusal", "refusal": "@"}]}),
        json!({"role": "assistant", "reasoning_content": "@"}),
        json!({"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"q\":\"@\"}"}}]}),
        json!({"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"q\":\"a\\n@\\n\"}"}}]}),
        json!({"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f", "input": "@"}}]}),
        json!({"role": "assistant", "function_call": {"name": "f", "arguments": "{\"q\":[1,\"@\"]}"}}),
        json!({"role": "tool", "tool_call_id": "c", "content": "@"}),
        json!({"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "@"}]}),
        json!({"role": "tool", "tool_call_id": "c", "content": "[{\"a\":\"\\u0041\\n@\"}]"}),
        json!({"role": "function", "name": "f", "content": "@"}),
    ] {
        places.push((CHAT, json!({"model": "m", "messages": [message]})));
    }
    let base = json!({"model": "m", "messages": [{"role": "user", "content": "x"}]});
    for member in [
        json!({"tools": [{"type": "function", "function": {"name": "f", "description": "@", "parameters": {}}}]}),
        json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"description": "@"}}}}}]}),
        json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"enum": ["b", "@"]}}}}}]}),
        json!({"tools": [{"type": "custom", "custom": {"name": "f", "format": {"grammar": {"definition": "@"}}}}]}),
        json!({"functions": [{"name": "f", "description": "@"}]}),
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "description": "@", "schema": {}}}}),
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"properties": {"a": {"description": "@"}}}}}}),
        json!({"prediction": {"type": "content", "content": "@"}}),
        json!({"prediction": {"type": "content", "content": [{"type": "text", "text": "@"}]}}),
        json!({"documents": [{"title": "t", "text": "@"}]}),
        json!({"chat_template": "@"}),
        json!({"chat_template_kwargs": {"about": "@"}}),
        json!({"web_search_options": {"user_location": {"approximate": {"city": "@"}}}}),
        json!({"stop": ["@"]}),
        json!({"fallbacks": [{"model": "n", "messages": [{"role": "user", "content": "@"}]}]}),
        json!({"nobody_knows": {"this": ["@"]}}),
    ] {
        places.push((CHAT, with(&base, &member)));
    }
    for (path, body) in [
        ("/v1/completions", json!({"model": "m", "prompt": "@"})),
        (
            "/v1/completions",
            json!({"model": "m", "prompt": ["x", "@"]}),
        ),
        (
            "/v1/completions",
            json!({"model": "m", "prompt": "x", "suffix": "@"}),
        ),
        (
            "/v1/fim/completions",
            json!({"model": "m", "prompt": "@", "suffix": "x"}),
        ),
        ("/v1/embeddings", json!({"model": "m", "input": "@"})),
        ("/v1/embeddings", json!({"model": "m", "input": ["x", "@"]})),
        ("/v1/moderations", json!({"model": "m", "input": "@"})),
        ("/v1/moderations", json!({"model": "m", "input": ["@"]})),
        (
            "/v1/moderations",
            json!({"model": "m", "input": [{"type": "text", "text": "@"}]}),
        ),
        (
            "/v1/images/generations",
            json!({"model": "m", "prompt": "@"}),
        ),
        (
            "/v1/audio/speech",
            json!({"model": "m", "input": "@", "voice": "v"}),
        ),
        (
            "/v1/audio/speech",
            json!({"model": "m", "input": "x", "voice": "v", "instructions": "@"}),
        ),
        (
            "/rerank",
            json!({"model": "m", "query": "@", "documents": ["x"]}),
        ),
        (
            "/v1/rerank",
            json!({"model": "m", "query": "x", "documents": ["y", "@"]}),
        ),
        (
            "/v1/rerank",
            json!({"model": "m", "query": "x", "documents": [{"text": "@"}]}),
        ),
        (
            "/score",
            json!({"model": "m", "text_1": "@", "text_2": "x"}),
        ),
        (
            "/score",
            json!({"model": "m", "text_1": "x", "text_2": ["@"]}),
        ),
        ("/pooling", json!({"model": "m", "input": "@"})),
        ("/tokenize", json!({"model": "m", "prompt": "@"})),
    ] {
        places.push((path, body));
    }
}

fn responses(places: &mut Places) {
    const PATH: &str = "/v1/responses";
    places.push((PATH, json!({"model": "m", "input": "@"})));
    for item in [
        json!({"role": "user", "content": "@"}),
        json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "@"}]}),
        json!({"type": "message", "role": "user", "content": [{"type": "input_file", "filename": "@", "file_data": "data:application/pdf;base64,AAAA"}]}),
        json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "@"}]}),
        json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{\"q\":{\"deep\":\"@\"}}"}),
        json!({"type": "function_call_output", "call_id": "c", "output": "@"}),
        json!({"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "@"}]}),
        json!({"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "@"}),
        json!({"type": "custom_tool_call_output", "call_id": "c", "output": "@"}),
        json!({"type": "mcp_call", "server_label": "s", "name": "f", "arguments": "{\"q\":\"@\"}", "output": "x"}),
        json!({"type": "mcp_call", "server_label": "s", "name": "f", "arguments": "{}", "output": "@"}),
        json!({"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "@"}]}),
        json!({"type": "computer_call", "call_id": "c", "action": {"type": "type", "text": "@"}}),
        json!({"type": "local_shell_call", "call_id": "c", "action": {"type": "exec", "command": ["echo", "@"]}}),
        json!({"type": "shell_call_output", "call_id": "c", "output": [{"stdout": "@", "stderr": ""}]}),
        json!({"type": "apply_patch_call", "call_id": "c", "operation": {"path": "x", "diff": "@"}}),
    ] {
        places.push((PATH, json!({"model": "m", "input": [item]})));
    }
    let base = json!({"model": "m", "input": "x"});
    for member in [
        json!({"instructions": "@"}),
        json!({"prompt": {"id": "p", "variables": {"city": "@"}}}),
        json!({"prompt": {"id": "p", "variables": {"city": {"type": "input_text", "text": "@"}}}}),
        json!({"tools": [{"type": "function", "name": "f", "description": "@"}]}),
        json!({"tools": [{"type": "function", "name": "f", "parameters": {"properties": {"a": {"description": "@"}}}}]}),
        json!({"tools": [{"type": "mcp", "server_label": "s", "server_url": "https://e.example", "server_description": "@"}]}),
        json!({"text": {"format": {"type": "json_schema", "name": "n", "schema": {"properties": {"a": {"description": "@"}}}}}}),
    ] {
        places.push((PATH, with(&base, &member)));
    }
    places.push((
        "/v1/responses/input_tokens",
        json!({"model": "m", "input": "@"}),
    ));
}

fn anthropic(places: &mut Places) {
    const PATH: &str = "/v1/messages";
    let base =
        json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]});
    for content in [
        json!("@"),
        json!([{"type": "text", "text": "@"}]),
        json!([{"type": "text", "text": "x", "citations": [{"type": "char_location", "cited_text": "@", "document_title": "t"}]}]),
        json!([{"type": "thinking", "thinking": "@", "signature": "s"}]),
        json!([{"type": "tool_use", "id": "t", "name": "f", "input": {"q": "@"}}]),
        json!([{"type": "tool_use", "id": "t", "name": "f", "input": {"user": {"id": ["@"]}}}]),
        json!([{"type": "server_tool_use", "id": "t", "name": "web_search", "input": {"query": "@"}}]),
        json!([{"type": "tool_result", "tool_use_id": "t", "content": "@"}]),
        json!([{"type": "tool_result", "tool_use_id": "t", "content": "{\"a\":\"x\\n@\"}"}]),
        json!([{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "@"}]}]),
        json!([{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "@"}}]),
        json!([{"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "@"}]}}]),
        json!([{"type": "document", "title": "@", "source": {"type": "url", "url": "https://e.example"}}]),
        json!([{"type": "document", "context": "@", "source": {"type": "url", "url": "https://e.example"}}]),
        json!([{"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "@"}]}]),
    ] {
        places.push((PATH, json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": content}]})));
    }
    for member in [
        json!({"system": "@"}),
        json!({"system": [{"type": "text", "text": "@"}]}),
        json!({"tools": [{"name": "f", "description": "@", "input_schema": {"type": "object"}}]}),
        json!({"tools": [{"name": "f", "input_schema": {"properties": {"a": {"description": "@"}}}}]}),
        json!({"tools": [{"name": "f", "input_schema": {}, "input_examples": [{"a": "@"}]}]}),
        json!({"stop_sequences": ["@"]}),
        json!({"output_format": {"type": "json_schema", "schema": {"properties": {"a": {"description": "@"}}}}}),
    ] {
        places.push((PATH, with(&base, &member)));
    }
    places.push((
        "/v1/messages/count_tokens",
        json!({"model": "m", "messages": [{"role": "user", "content": "@"}]}),
    ));
    places.push((
        "/v1/complete",
        json!({"model": "m", "prompt": "@", "max_tokens_to_sample": 5}),
    ));
}

fn gemini(places: &mut Places) {
    const PATH: &str = "/v1beta/models/m:generateContent";
    for part in [
        json!({"text": "@"}),
        json!({"thought": true, "text": "@"}),
        json!({"functionCall": {"name": "f", "args": {"q": "@"}}}),
        json!({"functionCall": {"name": "f", "args": {"id": {"user": ["@"]}}}}),
        json!({"functionResponse": {"name": "f", "response": {"rows": [{"a": "@"}]}}}),
        json!({"executableCode": {"language": "PYTHON", "code": "@"}}),
        json!({"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "@"}}),
        json!({"fileData": {"mimeType": "text/plain", "fileUri": "https://e.example", "displayName": "@"}}),
    ] {
        for path in [
            PATH,
            "/v1beta/models/m:streamGenerateContent",
            "/v1/projects/p/locations/l/publishers/google/models/m:generateContent",
        ] {
            places.push((
                path,
                json!({"contents": [{"role": "user", "parts": [{"text": "x"}, part]}]}),
            ));
        }
    }
    let base = json!({"contents": [{"parts": [{"text": "x"}]}]});
    for member in [
        json!({"systemInstruction": {"parts": [{"text": "@"}]}}),
        json!({"system_instruction": {"parts": {"text": "@"}}}),
        json!({"tools": [{"functionDeclarations": [{"name": "f", "description": "@"}]}]}),
        json!({"tools": [{"function_declarations": [{"name": "f", "parameters": {"properties": {"a": {"description": "@"}}}}]}]}),
        json!({"generationConfig": {"responseSchema": {"properties": {"a": {"description": "@"}}}}}),
        json!({"generation_config": {"response_json_schema": {"description": "@"}}}),
        json!({"generationConfig": {"stopSequences": ["@"]}}),
    ] {
        places.push((PATH, with(&base, &member)));
    }
    for (path, body) in [
        (
            "/v1beta/models/m:countTokens",
            json!({"contents": [{"parts": [{"text": "@"}]}]}),
        ),
        (
            "/v1beta/models/m:embedContent",
            json!({"content": {"parts": [{"text": "@"}]}}),
        ),
        (
            "/v1beta/models/m:embedContent",
            json!({"content": {"parts": [{"text": "x"}]}, "title": "@"}),
        ),
        (
            "/v1beta/models/m:batchEmbedContents",
            json!({"requests": [{"model": "models/m", "content": {"parts": [{"text": "@"}]}}]}),
        ),
        (
            "/v1beta/models/m:predict",
            json!({"instances": [{"prompt": "@"}]}),
        ),
        (
            "/v1beta/models/m:predict",
            json!({"instances": [{"prompt": "x"}], "parameters": {"negativePrompt": "@"}}),
        ),
        (
            "/v1/projects/p/locations/l/publishers/anthropic/models/m:rawPredict",
            json!({"anthropic_version": "v", "max_tokens": 5, "messages": [{"role": "user", "content": "@"}]}),
        ),
    ] {
        places.push((path, body));
    }
}

fn bedrock(places: &mut Places) {
    const PATH: &str = "/model/m/converse";
    for block in [
        json!({"text": "@"}),
        json!({"guardContent": {"text": {"text": "@"}}}),
        json!({"toolUse": {"toolUseId": "t", "name": "f", "input": {"q": "@"}}}),
        json!({"toolResult": {"toolUseId": "t", "content": [{"text": "@"}]}}),
        json!({"toolResult": {"toolUseId": "t", "content": [{"json": {"rows": ["@"]}}]}}),
        json!({"document": {"name": "@", "format": "txt", "source": {"bytes": "AAAA"}}}),
        json!({"document": {"name": "x", "format": "txt", "source": {"text": "@"}}}),
        json!({"reasoningContent": {"reasoningText": {"text": "@"}}}),
    ] {
        for path in [PATH, "/model/m/converse-stream"] {
            places.push((
                path,
                json!({"messages": [{"role": "user", "content": [block]}]}),
            ));
        }
    }
    let base = json!({"messages": [{"role": "user", "content": [{"text": "x"}]}]});
    for member in [
        json!({"system": [{"text": "@"}]}),
        json!({"toolConfig": {"tools": [{"toolSpec": {"name": "f", "description": "@", "inputSchema": {"json": {}}}}]}}),
        json!({"toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {"properties": {"a": {"description": "@"}}}}}}]}}),
        json!({"promptVariables": {"city": {"text": "@"}}}),
        json!({"additionalModelRequestFields": {"preamble": "@"}}),
        json!({"inferenceConfig": {"stopSequences": ["@"]}}),
    ] {
        places.push((PATH, with(&base, &member)));
    }
    for body in [
        json!({"anthropic_version": "v", "max_tokens": 5, "messages": [{"role": "user", "content": [{"type": "text", "text": "@"}]}]}),
        json!({"anthropic_version": "v", "max_tokens": 5, "system": "@", "messages": []}),
        json!({"inputText": "@", "textGenerationConfig": {}}),
        json!({"inputText": "x", "textGenerationConfig": {"stopSequences": ["@"]}}),
        json!({"prompt": "@", "max_gen_len": 5}),
        json!({"message": "@", "chat_history": []}),
        json!({"message": "x", "chat_history": [{"role": "USER", "message": "@"}]}),
        json!({"messages": [{"role": "user", "content": [{"text": "@"}]}], "system": []}),
        json!({"taskType": "TEXT_IMAGE", "textToImageParams": {"text": "@"}}),
        json!({"taskType": "TEXT_IMAGE", "textToImageParams": {"text": "x", "negativeText": "@"}}),
        json!({"text_prompts": [{"text": "@", "weight": 1}]}),
        json!({"prompt": "x", "negative_prompt": "@"}),
        json!({"texts": ["@"], "input_type": "search_query"}),
    ] {
        for path in ["/model/m/invoke", "/model/m/invoke-with-response-stream"] {
            places.push((path, body.clone()));
        }
    }
}

fn cohere(places: &mut Places) {
    let v1 = json!({"model": "m", "message": "x"});
    for member in [
        json!({"message": "@"}),
        json!({"chat_history": [{"role": "USER", "message": "@"}]}),
        json!({"chat_history": [{"role": "CHATBOT", "message": "x", "tool_calls": [{"name": "f", "parameters": {"id": "@"}}]}]}),
        json!({"preamble": "@"}),
        json!({"documents": [{"title": "t", "snippet": "@"}]}),
        json!({"tools": [{"name": "f", "description": "@"}]}),
        json!({"tools": [{"name": "f", "parameter_definitions": {"a": {"description": "@"}}}]}),
        json!({"tool_results": [{"call": {"name": "f", "parameters": {"q": "@"}}, "outputs": []}]}),
        json!({"tool_results": [{"call": {"name": "f"}, "outputs": [{"text": "@"}]}]}),
    ] {
        places.push(("/v1/chat", with(&v1, &member)));
    }
    for message in [
        json!({"role": "user", "content": "@"}),
        json!({"role": "user", "content": [{"type": "text", "text": "@"}]}),
        json!({"role": "assistant", "tool_plan": "@"}),
        json!({"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"q\":\"@\"}"}}]}),
        json!({"role": "tool", "tool_call_id": "c", "content": [{"type": "document", "document": {"data": {"text": "@"}}}]}),
    ] {
        places.push(("/v2/chat", json!({"model": "m", "messages": [message]})));
    }
    let v2 = json!({"model": "m", "messages": [{"role": "user", "content": "x"}]});
    places.push(("/v2/chat", with(&v2, &json!({"documents": ["@"]}))));
    places.push((
        "/v2/chat",
        with(
            &v2,
            &json!({"documents": [{"id": "d", "data": {"text": "@"}}]}),
        ),
    ));
    for (path, body) in [
        ("/v1/generate", json!({"model": "m", "prompt": "@"})),
        ("/v1/summarize", json!({"model": "m", "text": "@"})),
        (
            "/v1/summarize",
            json!({"model": "m", "text": "x", "additional_command": "@"}),
        ),
        (
            "/v1/classify",
            json!({"model": "m", "inputs": ["@"], "examples": []}),
        ),
        (
            "/v1/classify",
            json!({"model": "m", "inputs": ["x"], "examples": [{"text": "@", "label": "l"}]}),
        ),
        ("/v1/embed", json!({"model": "m", "texts": ["x", "@"]})),
        (
            "/v2/embed",
            json!({"model": "m", "inputs": [{"content": [{"type": "text", "text": "@"}]}]}),
        ),
        (
            "/v2/rerank",
            json!({"model": "m", "query": "x", "documents": ["@"]}),
        ),
    ] {
        places.push((path, body));
    }
}

fn ollama(places: &mut Places) {
    for message in [
        json!({"role": "user", "content": "@"}),
        json!({"role": "system", "content": "@"}),
        json!({"role": "assistant", "content": "", "thinking": "@"}),
        json!({"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"model": "@"}}}]}),
        json!({"role": "tool", "tool_name": "f", "content": "@"}),
    ] {
        places.push(("/api/chat", json!({"model": "m", "messages": [message]})));
    }
    let chat = json!({"model": "m", "messages": []});
    places.push(("/api/chat", with(&chat, &json!({"tools": [{"type": "function", "function": {"name": "f", "description": "@"}}]}))));
    places.push((
        "/api/chat",
        with(
            &chat,
            &json!({"format": {"type": "object", "properties": {"a": {"description": "@"}}}}),
        ),
    ));
    let generate = json!({"model": "m", "prompt": "x"});
    for name in ["prompt", "suffix", "system", "template"] {
        places.push(("/api/generate", with(&generate, &json!({name: "@"}))));
    }
    places.push((
        "/api/generate",
        with(&generate, &json!({"options": {"stop": ["@"]}})),
    ));
    places.push(("/api/embed", json!({"model": "m", "input": ["@"]})));
    places.push(("/api/embeddings", json!({"model": "m", "prompt": "@"})));
}
