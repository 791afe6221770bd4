use super::*;

const PREFIXES: [&str; 4] = ["", "/openai", "/api", "/anthropic"];

fn find(method: &str, target: &str) -> Result<Call, PathError> {
    classify(
        method.as_bytes(),
        target.as_bytes(),
        false,
        &PREFIXES.map(str::to_owned),
    )
}

fn upgrade(target: &str) -> Result<Call, PathError> {
    classify(
        b"GET",
        target.as_bytes(),
        true,
        &PREFIXES.map(str::to_owned),
    )
}

/// Method, target, endpoint, models in the path, open, whether the path says that it streams.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
    bool,
    Option<bool>,
);

#[rustfmt::skip]
const TARGETS: &[Row] = &[
    ("POST", "/v1/chat/completions", "chat", &[], true, None),
    ("POST", "/v1/chat/completions?x=1", "chat", &[], true, None),
    ("POST", "/v1/chat/completions/", "chat", &[], true, None),
    ("POST", "/v1/%63hat/completions", "chat", &[], true, None),
    ("POST", "/v1%2Fchat%2fcompletions", "chat", &[], true, None),
    ("POST", "/v1/chat/completions;v=1", "chat", &[], true, None),
    ("POST", "/openai/v1/chat/completions", "chat", &[], true, None),
    ("POST", "/api/v1/chat/completions", "chat", &[], true, None),
    ("POST", "/v1beta/openai/chat/completions", "chat", &[], true, None),
    ("POST", "/v1/projects/p/locations/l/endpoints/openapi/chat/completions", "chat", &[], true, None),
    ("POST", "/v1/completions", "completions", &[], true, None),
    ("POST", "/v1/fim/completions", "completions", &[], true, None),
    ("POST", "/v1/responses", "responses", &[], true, None),
    ("POST", "/openai/responses?api-version=2025-04-01-preview", "responses", &[], true, None),
    ("POST", "/openai/v1/responses", "responses", &[], true, None),
    ("GET", "/openai/responses/r", "stored_responses", &[], false, None),
    ("POST", "/v1/responses?beta=true", "responses", &[], true, None),
    ("POST", "/v1/responses/compact", "responses", &[], true, None),
    ("POST", "/v1/responses/input_tokens", "count_tokens", &[], true, Some(false)),
    ("POST", "/v1/embeddings", "embeddings", &[], true, Some(false)),
    ("POST", "/v1/moderations", "moderations", &[], true, Some(false)),
    ("POST", "/v1/images/generations", "images", &[], true, None),
    ("POST", "/v1/images/edits", "images", &[], true, None),
    ("POST", "/v1/audio/speech", "speech", &[], true, None),
    ("POST", "/v1/audio/transcriptions", "transcriptions", &[], true, None),
    ("POST", "/v1/audio/translations", "translations", &[], true, Some(false)),
    ("POST", "/v1/videos", "videos", &[], true, Some(false)),
    ("GET", "/v1/models", "models", &[], true, Some(false)),
    ("GET", "/v1/models/", "models", &[], true, Some(false)),
    ("GET", "/v1/models/gpt-4o", "models", &["gpt-4o"], true, Some(false)),
    ("GET", "/v1/models/meta%2Fllama-3", "models", &["meta/llama-3"], true, Some(false)),
    ("GET", "/v1/models/meta/llama-3", "models", &["meta/llama-3"], true, Some(false)),
    ("GET", "/v1/models/llama3.2%3A1b", "models", &["llama3.2:1b"], true, Some(false)),
    ("GET", "/v1beta/models", "models", &[], true, Some(false)),
    ("GET", "/v1beta/models/gemini-2.5-flash", "models", &["gemini-2.5-flash"], true, Some(false)),
    ("DELETE", "/v1/models/gpt-4o", "unknown", &[], false, None),
    // stored objects and what cannot be seen into
    ("GET", "/v1/chat/completions", "stored_chat", &[], false, None),
    ("GET", "/v1/chat/completions/chatcmpl-1/messages", "stored_chat", &[], false, None),
    ("GET", "/v1/responses/resp_1", "stored_responses", &[], false, None),
    ("POST", "/v1/responses/resp_1/cancel", "stored_responses", &[], false, None),
    ("POST", "/v1/batches", "batches", &[], false, None),
    ("GET", "/v1/batches/batch_1", "batches", &[], false, None),
    ("POST", "/openai/v1/batches", "batches", &[], false, None),
    ("POST", "/v1/files", "files", &[], false, None),
    ("GET", "/v1/files/file-1/content", "files", &[], false, None),
    ("POST", "/v1/fine_tuning/jobs", "fine_tuning", &[], false, None),
    ("POST", "/v1/evals/e/runs", "evals", &[], false, None),
    ("POST", "/v1/assistants", "assistants", &[], false, None),
    ("POST", "/v1/threads/t/runs", "threads", &[], false, None),
    ("POST", "/v1/conversations", "conversations", &[], false, None),
    ("POST", "/v1/vector_stores", "vector_stores", &[], false, None),
    ("POST", "/v1/agents/completions", "agents", &[], false, None),
    ("POST", "/v1/realtime/client_secrets", "realtime", &[], false, Some(false)),
    ("POST", "/v1/realtime/calls", "realtime", &[], false, None),
    // Azure
    ("POST", "/openai/deployments/my-gpt4o/chat/completions?api-version=2024-10-21", "chat", &["my-gpt4o"], true, None),
    ("POST", "/openai/deployments/my%2Dgpt4o/embeddings", "embeddings", &["my-gpt4o"], true, Some(false)),
    ("POST", "/openai/deployments/w/audio/transcriptions", "transcriptions", &["w"], true, None),
    ("POST", "/openai/deployments/w/unheard/of", "unknown", &[], false, None),
    // Anthropic
    ("POST", "/v1/messages", "messages", &[], true, None),
    ("POST", "/v1/messages?beta=true", "messages", &[], true, None),
    ("POST", "/anthropic/v1/messages", "messages", &[], true, None),
    ("POST", "/v1/messages/count_tokens", "count_tokens", &[], true, Some(false)),
    ("POST", "/v1/messages/batches", "batches", &[], false, Some(false)),
    ("GET", "/v1/messages/batches/b/results", "batches", &[], false, None),
    // Gemini and Vertex
    ("POST", "/v1beta/models/gemini-2.5-flash:generateContent", "generate_content", &["gemini-2.5-flash"], true, Some(false)),
    ("POST", "/v1/models/gemini-2.5-flash:generateContent", "generate_content", &["gemini-2.5-flash"], true, Some(false)),
    ("POST", "/v1beta/models/gemini-2.5-flash%3AgenerateContent", "generate_content", &["gemini-2.5-flash"], true, Some(false)),
    ("POST", "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", "generate_content", &["gemini-2.5-flash"], true, Some(true)),
    ("POST", "/v1beta/tunedModels/mine-1:generateContent", "generate_content", &["mine-1"], true, Some(false)),
    ("POST", "/v1beta/models/gemini-2.5-flash:countTokens", "count_tokens", &["gemini-2.5-flash"], true, Some(false)),
    ("POST", "/v1beta/models/text-embedding-004:batchEmbedContents", "embeddings", &["text-embedding-004"], true, Some(false)),
    ("POST", "/v1beta/models/gemini-2.5-flash:unheardOf", "unknown", &[], false, None),
    ("POST", "/v1/projects/p1/locations/us/publishers/google/models/gemini-2.5-flash:generateContent", "generate_content", &["gemini-2.5-flash"], true, Some(false)),
    ("POST", "/v1/projects/p1/locations/us/publishers/anthropic/models/claude-x@1:streamRawPredict", "raw_predict", &["claude-x@1"], true, Some(true)),
    ("POST", "/v1/projects/p1/locations/us/publishers/anthropic/models/claude-x@1:rawPredict", "raw_predict", &["claude-x@1"], true, None),
    // Bedrock
    ("POST", "/model/anthropic.claude-v1%3A0/converse", "converse", &["anthropic.claude-v1:0"], true, Some(false)),
    ("POST", "/model/anthropic.claude-v1:0/converse-stream", "converse", &["anthropic.claude-v1:0"], true, Some(true)),
    ("POST", "/model/x/invoke-with-response-stream", "invoke", &["x"], true, Some(true)),
    ("POST", "/model/arn%3Aaws%3Abedrock%3Aus%3A1%3Ainference-profile%2Fus.x/invoke", "invoke", &["arn:aws:bedrock:us:1:inference-profile/us.x"], true, Some(false)),
    ("POST", "/model/x/count-tokens", "count_tokens", &["x"], true, Some(false)),
    // Cohere, vLLM, Ollama
    ("POST", "/v2/chat", "chat", &[], true, None),
    ("POST", "/v1/chat", "chat", &[], true, None),
    ("POST", "/v2/embed", "embeddings", &[], true, Some(false)),
    ("POST", "/v2/rerank", "rerank", &[], true, Some(false)),
    ("POST", "/rerank", "rerank", &[], true, Some(false)),
    ("POST", "/v1/load_lora_adapter", "unknown", &[], false, None),
    ("POST", "/api/chat", "chat", &[], true, None),
    ("POST", "/api/generate", "generate", &[], true, None),
    ("POST", "/api/embed", "embeddings", &[], true, Some(false)),
    ("POST", "/api/embeddings", "embeddings", &[], true, Some(false)),
    ("POST", "/api/pull", "ollama_admin", &[], false, None),
    ("GET", "/api/tags", "models", &[], true, Some(false)),
    // nothing known
    ("POST", "/", "unknown", &[], false, None),
    ("POST", "/V1/chat/completions", "unknown", &[], false, None),
    ("post", "/v1/chat/completions", "stored_chat", &[], false, None),
    ("PUT", "/v1/chat/completion", "unknown", &[], false, None),
    ("POST", "/v1/chat/completions%3Fx", "unknown", &[], false, None),
    ("POST", "/proxy/v1/chat/completions", "unknown", &[], false, None),
];

#[test]
fn finds_rows() {
    for &(method, target, name, models, open, stream) in TARGETS {
        // A GET of a stored chat completion fits a closed tree, whichever method it has.
        let call =
            find(method, target).unwrap_or_else(|error| panic!("{method} {target}: {error}"));
        assert_eq!(call.endpoint.name, name, "{method} {target}");
        assert_eq!(call.models, models, "{method} {target}");
        assert_eq!(call.endpoint.open(), open, "{method} {target}");
        if call.endpoint.open() || stream.is_some() {
            assert_eq!(call.stream, stream, "{method} {target}");
        }
    }
}

#[test]
fn refuses_what_servers_read_differently() {
    for (target, error) in [
        ("", PathError::ForbiddenByte),
        ("*", PathError::ForbiddenByte),
        ("http://host/v1/chat/completions", PathError::ForbiddenByte),
        (
            "/v1beta/models/g:generateContent?alt=sse&fields=candidates",
            PathError::Override,
        ),
        (
            "/v1beta/models/g:generateContent?%24Fields=candidates",
            PathError::Override,
        ),
        (
            "/v1beta/models/g:generateContent?$alt=proto",
            PathError::Override,
        ),
        (
            "/v1beta/models/g:generateContent?callback=f",
            PathError::Override,
        ),
        ("/v1/files/../chat/completions", PathError::DotSegment),
        ("/v1/./chat/completions", PathError::DotSegment),
        ("/v1/%2e%2e/chat/completions", PathError::DotSegment),
        ("/v1/.%2E/x", PathError::DotSegment),
        ("/v1/x%2F..%2Fchat", PathError::DotSegment),
        ("/v1/..;/chat/completions", PathError::DotSegment),
        ("/v1/chat/completions/..", PathError::DotSegment),
        ("//v1//chat/completions/", PathError::EmptySegment),
        ("/v1//chat/completions", PathError::EmptySegment),
        ("/v1/%2Fchat/completions", PathError::EmptySegment),
        ("/v1/;x/chat/completions", PathError::EmptySegment),
        ("/v1/chat/completions//", PathError::EmptySegment),
        ("/v1/chat/completions%00", PathError::ForbiddenByte),
        ("/v1/chat/completions%0a", PathError::ForbiddenByte),
        ("/v1/chat\\completions", PathError::ForbiddenByte),
        ("/v1/chat%5Ccompletions", PathError::ForbiddenByte),
        ("/v1/chat/completions#x", PathError::ForbiddenByte),
        ("/v1/chat/completions%ff", PathError::ForbiddenByte),
        ("/v1/chat/completions%", PathError::PercentEncoding),
        ("/v1/chat/completions%4", PathError::PercentEncoding),
        ("/v1/chat/completions%zz", PathError::PercentEncoding),
        ("/v1/%2563hat/completions", PathError::DoubleEncoding),
        ("/model/x%253A0/converse", PathError::DoubleEncoding),
        ("/model/x;y/converse", PathError::TwoRows),
        (
            "/openai/deployments/x;y/chat/completions",
            PathError::TwoRows,
        ),
        (
            "/v1beta/models/a:generateContent%3AcountTokens",
            PathError::TwoRows,
        ),
    ] {
        let found = find("POST", target);
        assert_eq!(found.as_ref().err(), Some(&error), "{target}: {found:?}");
    }
    assert_eq!(PathError::TwoRows.code(), "invalid_path");
    for plain in [
        "alt=sse",
        "$alt=json;enum-encoding=int",
        "%24alt=json%3Benum-encoding%3Dint",
    ] {
        let target = format!("/v1beta/models/g:generateContent?key=%&{plain}");
        assert!(find("POST", &target).is_ok(), "{target}");
    }
    let long = format!("/model/{}/converse", "x".repeat(257));
    assert_eq!(find("POST", &long).unwrap_err().code(), "model_ambiguous");
}

#[test]
fn refuses_a_path_that_two_prefixes_read_differently() {
    let prefixes = ["", "/model/a"].map(str::to_owned);
    let found = classify(b"POST", b"/model/a/model/b/converse", false, &prefixes);
    assert_eq!(found.unwrap_err(), PathError::TwoRows);
}

#[test]
fn reads_the_model_of_a_query_once() {
    let models = |target: &str| upgrade(target).map(|call| call.models);
    assert_eq!(
        models("/v1/realtime?model=gpt-realtime").unwrap(),
        ["gpt-realtime"]
    );
    assert_eq!(
        models("/v1/realtime?x=1&mod%65l=gpt%2Drealtime&y").unwrap(),
        ["gpt-realtime"]
    );
    assert_eq!(
        models("/openai/realtime?api-version=1&deployment=rt").unwrap(),
        ["rt"]
    );
    assert_eq!(
        models("/v1/realtime?intent=transcription").unwrap(),
        [""; 0]
    );
    for target in [
        "/v1/realtime?model=a&model=b",
        "/v1/realtime?model=a&model=a",
        "/v1/realtime?model=a&mod%65l=b",
        "/v1/realtime?model=a&Model=b",
        "/v1/realtime?MODEL=a",
        "/v1/realtime?model=",
        "/v1/realtime?model",
        "/v1/realtime?model=a;model=b",
        "/v1/realtime?model=a%00",
        "/v1/realtime?model=%ff",
    ] {
        assert_eq!(models(target).unwrap_err(), PathError::Model, "{target}");
    }
}

/// Some gateways take the query's model before the body's: none there where another place names it.
#[test]
fn queries_name_no_model_beside_the_bodys() {
    for target in [
        "/v1/chat/completions?model=a",
        "/v1/chat/completions?mod%65l=a",
        "/v1/chat/completions?a=b&MODEL=a",
        "/v1/chat/completions?a=b;model=a",
        "/v1/chat/completions?model[]=a",
        "/v1/chat/completions?model",
        "/openai/deployments/m/chat/completions?model=a",
        "/v1beta/models/m:generateContent?model=a",
        "/model/m/converse?model=a",
        "/v1/audio/transcriptions?model=a",
    ] {
        let error = find("POST", target).unwrap_err();
        assert_eq!(error, PathError::Model, "{target}");
    }
    for target in [
        "/v1/chat/completions?models=a&x=model&%6=",
        "/v1/files?model=a",
    ] {
        let call = find("POST", target).unwrap();
        assert_eq!(
            call.models.len(),
            usize::from(call.endpoint.name == "files")
        );
    }
    // Where nothing else says it: a session that begins with an offer, which is no JSON, and what no row knows.
    for target in ["/v1/realtime?model=a", "/new/thing?x&model=a"] {
        assert_eq!(find("POST", target).unwrap().models, ["a"], "{target}");
        for twice in ["&model=a", "&Model=b", ";x", "&model[]=b"] {
            let error = find("POST", &format!("{target}{twice}")).unwrap_err();
            assert_eq!(error, PathError::Model, "{target}{twice}");
        }
    }
}

#[test]
fn upgrades_are_closed() {
    for (target, name) in [
        ("/v1/realtime?model=m", "realtime"),
        ("/v1/responses", "responses_ws"),
        ("/v1/chat/completions", "unknown"),
        ("/v1/models", "unknown"),
    ] {
        let call = upgrade(target).unwrap();
        assert_eq!(
            (call.endpoint.name, call.endpoint.open()),
            (name, false),
            "{target}"
        );
    }
}

#[test]
fn allows_by_name_or_by_path() {
    let allowed = |target: &str, entry: &str| {
        find("POST", target)
            .unwrap()
            .allowed_by(&[entry.to_owned()])
    };
    assert!(allowed("/v1/files", "files"));
    assert!(allowed("/v1/files/f-1", "/v1/files"));
    assert!(allowed("/v1/files/f-1", "/v1/files/"));
    assert!(allowed("/openai/v1/files/f-1", "/v1/files"));
    assert!(allowed("/openai/v1/files/f-1", "/openai"));
    assert!(allowed("/v1%2Ffiles", "/v1/files"));
    assert!(allowed("/anything/at/all", "/"));
    assert!(allowed("/openai/anything", "/anything"));
    assert!(!allowed("/v1/filesystem", "/v1/files"));
    assert!(!allowed("/v1/batches", "files"));
    assert!(!allowed("/anything", "unknown"));
    assert!(!allowed("/v1/files", "file"));
    assert!(!find("POST", "/v1/files").unwrap().allowed_by(&[]));
}

#[test]
fn unknown_paths_keep_the_dialect_of_their_neighbours() {
    for (target, dialect) in [
        ("/v1/messages/unheard", Dialect::Anthropic),
        ("/anthropic/v1/unheard", Dialect::Anthropic),
        ("/v1beta/unheard", Dialect::Gemini),
        ("/v1/models/x:unheardOf", Dialect::Gemini),
        ("/v1/projects/p/unheard", Dialect::Gemini),
        ("/v1beta/openai/unheard", Dialect::OpenAi),
        ("/model/x/unheard", Dialect::Bedrock),
        ("/v1/unheard", Dialect::OpenAi),
    ] {
        let call = find("POST", target).unwrap();
        assert!(call.endpoint.is_unknown());
        assert_eq!(call.endpoint.dialect, dialect, "{target}");
    }
}

/// No path is claimed by two rows of the same rank: each row's own pattern, written as a path, finds that row.
#[test]
fn rows_do_not_overlap() {
    for endpoint in ENDPOINTS {
        let alternatives =
            |segment: &str| segment.split('|').map(str::to_owned).collect::<Vec<_>>();
        let mut paths = vec![String::new()];
        let (pattern, query) = endpoint.path.split_once('?').unwrap_or((endpoint.path, ""));
        for segment in pattern.split('/').skip(1) {
            let choices = match segment {
                "*" => vec!["any".to_owned()],
                "**" => vec!["some/thing".to_owned()],
                "{model}" => vec!["m".to_owned()],
                "{model..}" => vec!["m".to_owned(), "m/n".to_owned()],
                other => match other.strip_prefix("{model}:") {
                    Some(verbs) => verbs.split('|').map(|verb| format!("m:{verb}")).collect(),
                    None => alternatives(other),
                },
            };
            paths = paths
                .iter()
                .flat_map(|path| choices.iter().map(move |next| format!("{path}/{next}")))
                .collect();
        }
        for path in paths {
            let target = if query.is_empty() {
                path
            } else {
                format!("{path}?{query}=m")
            };
            let call = match endpoint.method {
                "WS" => upgrade(&target),
                "*" => find("PATCH", &target),
                method => find(method, &target),
            };
            let call = call.unwrap_or_else(|error| panic!("{target}: {error}"));
            assert!(
                std::ptr::eq(call.endpoint, endpoint),
                "{target}: {:?}",
                call.endpoint.path
            );
            let named = endpoint.path.contains("{model") || !query.is_empty();
            assert_eq!(!call.models.is_empty(), named, "{target}");
        }
    }
}

#[test]
fn the_table_can_be_printed() {
    let table = table_markdown();
    assert_eq!(table.lines().count(), ENDPOINTS.len() + 2);
    assert!(
        table.contains("| chat | POST | `/openai/deployments/{model}/chat/completions` | path, "),
        "{table}"
    );
    assert!(names().contains(&"chat") && !names().contains(&"unknown"));
}

#[test]
fn methods_differ_in_length() {
    for endpoint in ENDPOINTS {
        let known = ["*", "WS", "GET", "POST", "DELETE"];
        assert!(known.contains(&endpoint.method), "{}", endpoint.method);
    }
}
