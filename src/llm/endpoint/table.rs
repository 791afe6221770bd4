//! The endpoint table: every path the filter can judge, one row each.
//!
//! A request that no row fits is closed, so an endpoint that is missing here is refused, not let through.

use super::fields::{
    AZURE, BATCH, CHAT, CONVERSE, Fields, GEMINI, MODEL, NONE, OLLAMA, RESPONSES, SESSION, WRAPPED,
};
use super::path::{dotted, strip_prefix};
use super::{Access, Body, Dialect, Endpoint, Streams, UsageFormat};
use Access::{Closed, Free, List, Open};
use Body::{Any, Form, Json, JsonOrForm};
use Dialect::{Anthropic, Bedrock, Gemini, OpenAi};
use Streams::{Always, Asked, Default, Never};
use UsageFormat as U;

/// The name of paths that no row fits, for events.
pub(super) const UNKNOWN: &str = "unknown";

/// The rows. Where two fit, one with `**` or `*` as its method gives way; a path that two others fit is refused.
#[rustfmt::skip]
pub static ENDPOINTS: &[Endpoint] = &[
    //  name              method  path                                                   body        models      dialect    usage               streams  access
    // OpenAI, and what speaks like it: Azure's v1, Mistral, vLLM, OpenRouter, Gemini's and Vertex's compatible paths.
    row("chat",           "POST", "/v1/chat/completions",                                Json,       &CHAT,      OpenAi,    U::OpenAi,          Asked,   Open),
    row("chat",           "POST", "/v1/chat/completions/batch",                          Json,       &CHAT,      OpenAi,    U::OpenAi,          Asked,   Open),
    row("chat",           "POST", "/v1beta|v1alpha/openai/chat/completions",             Json,       &CHAT,      OpenAi,    U::OpenAi,          Asked,   Open),
    row("chat",           "POST", "/v1|v1beta1/projects/*/locations/*/endpoints/openapi/chat/completions",
                                                                                         Json,       &CHAT,      OpenAi,    U::OpenAi,          Asked,   Open),
    row("completions",    "POST", "/v1/completions",                                     Json,       &CHAT,      OpenAi,    U::OpenAi,          Asked,   Open),
    row("completions",    "POST", "/v1/fim/completions",                                 Json,       &CHAT,      OpenAi,    U::OpenAi,          Asked,   Open),
    row("responses",      "POST", "/v1/responses",                                       Json,       &RESPONSES, OpenAi,    U::OpenAiResponses, Asked,   Open),
    row("responses",      "POST", "/v1/responses/compact",                               Json,       &RESPONSES, OpenAi,    U::OpenAiResponses, Asked,   Open),
    row("count_tokens",   "POST", "/v1/responses/input_tokens",                          Json,       &RESPONSES, OpenAi,    U::None,            Never,   Free),
    row("embeddings",     "POST", "/v1/embeddings",                                      Json,       &MODEL,     OpenAi,    U::OpenAi,          Never,   Open),
    row("embeddings",     "POST", "/v1beta|v1alpha/openai/embeddings",                   Json,       &MODEL,     OpenAi,    U::OpenAi,          Never,   Open),
    row("moderations",    "POST", "/v1/moderations",                                     Json,       &MODEL,     OpenAi,    U::OpenAi,          Never,   Open),
    row("moderations",    "POST", "/v1/chat/moderations",                                Json,       &MODEL,     OpenAi,    U::OpenAi,          Never,   Open),
    row("classifications","POST", "/v1/classifications",                                 Json,       &MODEL,     OpenAi,    U::OpenAi,          Never,   Open),
    row("classifications","POST", "/v1/chat/classifications",                            Json,       &MODEL,     OpenAi,    U::OpenAi,          Never,   Open),
    row("ocr",            "POST", "/v1/ocr",                                             Json,       &MODEL,     OpenAi,    U::OpenAi,          Never,   Open),
    row("decisions",      "POST", "/v1/decisions",                                       Json,       &MODEL,     OpenAi,    U::OpenAi,          Asked,   Open),
    row("images",         "POST", "/v1/images/generations",                              Json,       &MODEL,     OpenAi,    U::OpenAi,          Asked,   Open),
    row("images",         "POST", "/v1beta|v1alpha/openai/images/generations",           Json,       &MODEL,     OpenAi,    U::OpenAi,          Asked,   Open),
    row("images",         "POST", "/v1/images/edits",                                    JsonOrForm, &MODEL,     OpenAi,    U::OpenAi,          Asked,   Open),
    row("images",         "POST", "/v1/images/variations",                               Form,       &MODEL,     OpenAi,    U::OpenAi,          Never,   Open),
    row("speech",         "POST", "/v1/audio/speech",                                    Json,       &MODEL,     OpenAi,    U::OpenAi,          Asked,   Open),
    row("transcriptions", "POST", "/v1/audio/transcriptions",                            Form,       &MODEL,     OpenAi,    U::OpenAi,          Asked,   Open),
    row("translations",   "POST", "/v1/audio/translations",                              Form,       &MODEL,     OpenAi,    U::OpenAi,          Never,   Open),
    row("videos",         "POST", "/v1/videos",                                          JsonOrForm, &MODEL,     OpenAi,    U::OpenAi,          Never,   Open),
    row("models",         "GET",  "/v1/models",                                          Body::None, &NONE,      OpenAi,    U::None,            Never,   List),
    row("models",         "GET",  "/v1/models/{model..}",                                Body::None, &NONE,      OpenAi,    U::None,            Never,   Free),
    row("models",         "GET",  "/v1beta|v1alpha/openai/models",                       Body::None, &NONE,      OpenAi,    U::None,            Never,   List),
    row("models",         "GET",  "/v1beta|v1alpha/openai/models/{model..}",             Body::None, &NONE,      OpenAi,    U::None,            Never,   Free),
    // The frames of a WebSocket name models of their own, and a session's secret works without the gateway.
    row("realtime",       "WS",   "/v1/realtime?model",                                  Body::None, &NONE,      OpenAi,    U::None,            Never,   Closed),
    row("realtime",       "WS",   "/openai/realtime?deployment",                         Body::None, &NONE,      OpenAi,    U::None,            Never,   Closed),
    row("realtime",       "POST", "/v1/realtime/sessions|client_secrets|transcription_sessions",
                                                                                         Json,       &SESSION,   OpenAi,    U::None,            Never,   Closed),
    row("realtime",       "*",    "/v1/realtime/**",                                     Any,        &SESSION,   OpenAi,    U::None,            Never,   Closed),
    row("responses_ws",   "WS",   "/v1/responses",                                       Body::None, &NONE,      OpenAi,    U::None,            Never,   Closed),
    // Stored objects: the provider's account is shared, another team's are in it.
    row("stored_chat",    "*",    "/v1/chat/completions/**",                             Any,        &CHAT,      OpenAi,    U::OpenAi,          Asked,   Closed),
    row("stored_responses","*",   "/v1/responses/**",                                    Any,        &RESPONSES, OpenAi,    U::OpenAiResponses, Asked,   Closed),
    row("stored_videos",  "*",    "/v1/videos/**",                                       Any,        &MODEL,     OpenAi,    U::OpenAi,          Asked,   Closed),
    row("agents",         "*",    "/v1/agents/**",                                       Any,        &MODEL,     OpenAi,    U::OpenAi,          Asked,   Closed),
    row("assistants",     "*",    "/v1/assistants/**",                                   Any,        &MODEL,     OpenAi,    U::OpenAi,          Asked,   Closed),
    row("batches",        "*",    "/v1/batches/**",                                      Any,        &MODEL,     OpenAi,    U::None,            Asked,   Closed),
    row("containers",     "*",    "/v1/containers/**",                                   Any,        &MODEL,     OpenAi,    U::None,            Asked,   Closed),
    row("conversations",  "*",    "/v1/conversations/**",                                Any,        &MODEL,     OpenAi,    U::OpenAi,          Asked,   Closed),
    row("evals",          "*",    "/v1/evals/**",                                        Any,        &MODEL,     OpenAi,    U::None,            Asked,   Closed),
    row("files",          "*",    "/v1/files/**",                                        Any,        &MODEL,     OpenAi,    U::None,            Asked,   Closed),
    row("fine_tuning",    "*",    "/v1/fine_tuning/**",                                  Any,        &MODEL,     OpenAi,    U::None,            Asked,   Closed),
    row("live",           "*",    "/v1/live/**",                                         Any,        &SESSION,   OpenAi,    U::None,            Asked,   Closed),
    row("threads",        "*",    "/v1/threads/**",                                      Any,        &RESPONSES, OpenAi,    U::OpenAi,          Asked,   Closed),
    row("uploads",        "*",    "/v1/uploads/**",                                      Any,        &MODEL,     OpenAi,    U::None,            Asked,   Closed),
    row("vector_stores",  "*",    "/v1/vector_stores/**",                                Any,        &MODEL,     OpenAi,    U::None,            Asked,   Closed),
    // Azure's own client, of a dated `api-version`, has these beside the deployments.
    row("responses",      "POST", "/openai/responses",                                   Json,       &RESPONSES, OpenAi,    U::OpenAiResponses, Asked,   Open),
    row("stored_responses","*",   "/openai/responses/**",                                Any,        &RESPONSES, OpenAi,    U::OpenAiResponses, Asked,   Closed),
    // Azure's deployments: the path names the model, the body's is ignored there as here.
    row("chat",           "POST", "/openai/deployments/{model}/chat/completions",        Json,       &AZURE,     OpenAi,    U::OpenAi,          Asked,   Open),
    row("chat",           "POST", "/openai/deployments/{model}/extensions/chat/completions",
                                                                                         Json,       &AZURE,     OpenAi,    U::OpenAi,          Asked,   Open),
    row("completions",    "POST", "/openai/deployments/{model}/completions",             Json,       &AZURE,     OpenAi,    U::OpenAi,          Asked,   Open),
    row("embeddings",     "POST", "/openai/deployments/{model}/embeddings",              Json,       &AZURE,     OpenAi,    U::OpenAi,          Never,   Open),
    row("images",         "POST", "/openai/deployments/{model}/images/generations",      Json,       &AZURE,     OpenAi,    U::OpenAi,          Asked,   Open),
    row("images",         "POST", "/openai/deployments/{model}/images/edits",            JsonOrForm, &AZURE,     OpenAi,    U::OpenAi,          Asked,   Open),
    row("speech",         "POST", "/openai/deployments/{model}/audio/speech",            Json,       &AZURE,     OpenAi,    U::OpenAi,          Asked,   Open),
    row("transcriptions", "POST", "/openai/deployments/{model}/audio/transcriptions",    Form,       &AZURE,     OpenAi,    U::OpenAi,          Asked,   Open),
    row("translations",   "POST", "/openai/deployments/{model}/audio/translations",      Form,       &AZURE,     OpenAi,    U::OpenAi,          Never,   Open),
    // Anthropic
    row("messages",       "POST", "/v1/messages",                                        Json,       &CHAT,      Anthropic, U::Anthropic,       Asked,   Open),
    row("count_tokens",   "POST", "/v1/messages/count_tokens",                           Json,       &CHAT,      Anthropic, U::None,            Never,   Free),
    row("batches",        "POST", "/v1/messages/batches",                                Json,       &BATCH,     Anthropic, U::None,            Never,   Closed),
    row("batches",        "*",    "/v1/messages/batches/**",                             Any,        &BATCH,     Anthropic, U::None,            Asked,   Closed),
    row("completions",    "POST", "/v1/complete",                                        Json,       &MODEL,     Anthropic, U::Anthropic,       Asked,   Open),
    // Gemini and Vertex
    row("generate_content","POST","/v1beta|v1alpha|v1/models|tunedModels/{model}:generateContent",
                                                                                         Json,       &GEMINI,    Gemini,    U::Gemini,          Never,   Open),
    row("generate_content","POST","/v1beta|v1alpha|v1/models|tunedModels/{model}:streamGenerateContent",
                                                                                         Json,       &GEMINI,    Gemini,    U::Gemini,          Always,  Open),
    row("embeddings",     "POST", "/v1beta|v1alpha|v1/models/{model}:embedContent|batchEmbedContents",
                                                                                         Json,       &GEMINI,    Gemini,    U::Gemini,          Never,   Open),
    row("count_tokens",   "POST", "/v1beta|v1alpha|v1/models|tunedModels/{model}:countTokens",
                                                                                         Json,       &GEMINI,    Gemini,    U::None,            Never,   Free),
    row("predict",        "POST", "/v1beta|v1alpha|v1/models/{model}:predict|predictLongRunning",
                                                                                         Json,       &GEMINI,    Gemini,    U::Gemini,          Never,   Open),
    row("models",         "GET",  "/v1beta|v1alpha/models",                              Body::None, &NONE,      Gemini,    U::None,            Never,   List),
    row("models",         "GET",  "/v1beta|v1alpha/models/{model}",                      Body::None, &NONE,      Gemini,    U::None,            Never,   Free),
    row("generate_content","POST","/v1|v1beta1/projects/*/locations/*/publishers/*/models/{model}:generateContent",
                                                                                         Json,       &GEMINI,    Gemini,    U::Gemini,          Never,   Open),
    row("generate_content","POST","/v1|v1beta1/projects/*/locations/*/publishers/*/models/{model}:streamGenerateContent",
                                                                                         Json,       &GEMINI,    Gemini,    U::Gemini,          Always,  Open),
    row("count_tokens",   "POST", "/v1|v1beta1/projects/*/locations/*/publishers/*/models/{model}:countTokens|computeTokens",
                                                                                         Json,       &GEMINI,    Gemini,    U::None,            Never,   Free),
    row("embeddings",     "POST", "/v1|v1beta1/projects/*/locations/*/publishers/*/models/{model}:embedContent|batchEmbedContents",
                                                                                         Json,       &GEMINI,    Gemini,    U::Gemini,          Never,   Open),
    row("predict",        "POST", "/v1|v1beta1/projects/*/locations/*/publishers/*/models/{model}:predict|predictLongRunning",
                                                                                         Json,       &GEMINI,    Gemini,    U::Gemini,          Never,   Open),
    row("raw_predict",    "POST", "/v1|v1beta1/projects/*/locations/*/publishers/*/models/{model}:rawPredict",
                                                                                         Json,       &WRAPPED,   Anthropic, U::Anthropic,       Asked,   Open),
    row("raw_predict",    "POST", "/v1|v1beta1/projects/*/locations/*/publishers/*/models/{model}:streamRawPredict",
                                                                                         Json,       &WRAPPED,   Anthropic, U::Anthropic,       Always,  Open),
    row("generate_content","POST","/v1|v1beta1/publishers/*/models/{model}:generateContent",
                                                                                         Json,       &GEMINI,    Gemini,    U::Gemini,          Never,   Open),
    row("generate_content","POST","/v1|v1beta1/publishers/*/models/{model}:streamGenerateContent",
                                                                                         Json,       &GEMINI,    Gemini,    U::Gemini,          Always,  Open),
    row("count_tokens",   "POST", "/v1|v1beta1/publishers/*/models/{model}:countTokens", Json,       &GEMINI,    Gemini,    U::None,            Never,   Free),
    row("generate_content","POST","/v1|v1beta1/projects/*/locations/*/endpoints/{model}:generateContent",
                                                                                         Json,       &GEMINI,    Gemini,    U::Gemini,          Never,   Open),
    row("generate_content","POST","/v1|v1beta1/projects/*/locations/*/endpoints/{model}:streamGenerateContent",
                                                                                         Json,       &GEMINI,    Gemini,    U::Gemini,          Always,  Open),
    row("files",          "*",    "/v1beta|v1alpha/files/**",                            Any,        &NONE,      Gemini,    U::None,            Asked,   Closed),
    row("files",          "*",    "/upload/v1beta|v1alpha|v1/files/**",                  Any,        &NONE,      Gemini,    U::None,            Asked,   Closed),
    row("cached_contents","*",    "/v1beta|v1alpha|v1/cachedContents/**",                Any,        &MODEL,     Gemini,    U::None,            Asked,   Closed),
    // Bedrock
    row("converse",       "POST", "/model/{model..}/converse",                           Json,       &CONVERSE,  Bedrock,   U::Bedrock,         Never,   Open),
    row("converse",       "POST", "/model/{model..}/converse-stream",                    Json,       &CONVERSE,  Bedrock,   U::Bedrock,         Always,  Open),
    row("invoke",         "POST", "/model/{model..}/invoke",                             Json,       &WRAPPED,   Bedrock,   U::Bedrock,         Never,   Open),
    row("invoke",         "POST", "/model/{model..}/invoke-with-response-stream",        Json,       &WRAPPED,   Bedrock,   U::Bedrock,         Always,  Open),
    row("count_tokens",   "POST", "/model/{model..}/count-tokens",                       Json,       &NONE,      Bedrock,   U::None,            Never,   Free),
    // Cohere, and vLLM's further paths
    row("chat",           "POST", "/v1|v2/chat",                                         Json,       &MODEL,     OpenAi,    U::Cohere,          Asked,   Open),
    row("completions",    "POST", "/v1/generate",                                        Json,       &MODEL,     OpenAi,    U::Cohere,          Asked,   Open),
    row("embeddings",     "POST", "/v1|v2/embed",                                        Json,       &MODEL,     OpenAi,    U::Cohere,          Never,   Open),
    row("rerank",         "POST", "/v1|v2/rerank",                                       Json,       &MODEL,     OpenAi,    U::Cohere,          Never,   Open),
    row("classify",       "POST", "/v1/classify",                                        Json,       &MODEL,     OpenAi,    U::Cohere,          Never,   Open),
    row("completions",    "POST", "/v1/summarize",                                       Json,       &MODEL,     OpenAi,    U::Cohere,          Never,   Open),
    row("count_tokens",   "POST", "/v1/tokenize|detokenize",                             Json,       &MODEL,     OpenAi,    U::None,            Never,   Free),
    row("count_tokens",   "POST", "/tokenize|detokenize",                                Json,       &MODEL,     OpenAi,    U::None,            Never,   Free),
    row("rerank",         "POST", "/rerank",                                             Json,       &MODEL,     OpenAi,    U::OpenAi,          Never,   Open),
    row("classify",       "POST", "/classify",                                           Json,       &MODEL,     OpenAi,    U::OpenAi,          Never,   Open),
    row("score",          "POST", "/score",                                              Json,       &MODEL,     OpenAi,    U::OpenAi,          Never,   Open),
    row("score",          "POST", "/v1/score",                                           Json,       &MODEL,     OpenAi,    U::OpenAi,          Never,   Open),
    row("pooling",        "POST", "/pooling",                                            Json,       &MODEL,     OpenAi,    U::OpenAi,          Never,   Open),
    row("invocations",    "POST", "/invocations",                                        Json,       &CHAT,      OpenAi,    U::OpenAi,          Asked,   Open),
    row("generate",       "POST", "/inference/v1/generate",                              Json,       &MODEL,     OpenAi,    U::OpenAi,          Asked,   Open),
    // Ollama
    row("chat",           "POST", "/api/chat",                                           Json,       &MODEL,     OpenAi,    U::Ollama,          Default, Open),
    row("generate",       "POST", "/api/generate",                                       Json,       &MODEL,     OpenAi,    U::Ollama,          Default, Open),
    row("embeddings",     "POST", "/api/embed|embeddings",                               Json,       &MODEL,     OpenAi,    U::Ollama,          Never,   Open),
    row("models",         "POST", "/api/show",                                           Json,       &OLLAMA,    OpenAi,    U::None,            Never,   Free),
    row("models",         "GET",  "/api/tags",                                           Body::None, &NONE,      OpenAi,    U::None,            Never,   List),
    row("ollama_admin",   "POST", "/api/pull|push|create",                               Json,       &OLLAMA,    OpenAi,    U::None,            Default, Closed),
    row("ollama_admin",   "DELETE","/api/delete",                                        Json,       &OLLAMA,    OpenAi,    U::None,            Never,   Closed),
];

/// Paths that the table does not know, in each dialect.
#[rustfmt::skip]
static UNKNOWNS: [Endpoint; 4] = [
    row(UNKNOWN, "*", "/**", Any, &MODEL, Anthropic, U::Anthropic, Asked, Closed),
    row(UNKNOWN, "*", "/**", Any, &MODEL, Bedrock,   U::Bedrock,   Asked, Closed),
    row(UNKNOWN, "*", "/**", Any, &MODEL, Gemini,    U::Gemini,    Asked, Closed),
    row(UNKNOWN, "*", "/**", Any, &MODEL, OpenAi,    U::OpenAi,    Asked, Closed),
];

/// Anthropic's models, whose paths are OpenAI's: only a header tells the two apart.
#[rustfmt::skip]
pub(super) static ANTHROPIC_MODELS: [Endpoint; 2] = [
    row("models", "GET", "/v1/models",           Body::None, &NONE, Anthropic, U::None, Never, List),
    row("models", "GET", "/v1/models/{model..}", Body::None, &NONE, Anthropic, U::None, Never, Free),
];

#[expect(clippy::too_many_arguments, reason = "the columns of the table")]
#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "runs in constants: a mistake fails the build"
)]
const fn row(
    name: &'static str,
    method: &'static str,
    path: &'static str,
    body: Body,
    fields: &'static Fields,
    dialect: Dialect,
    usage: UsageFormat,
    streams: Streams,
    access: Access,
) -> Endpoint {
    let bytes = path.as_bytes();
    let (mut at, mut slash) = (0, 0);
    while at < bytes.len() && !matches!(bytes[at], b'|' | b'*' | b'{' | b'?') {
        if bytes[at] == b'/' {
            slash = at;
        }
        at += 1;
    }
    let plain = if at == bytes.len() {
        path
    } else {
        path.split_at(slash).0
    };
    Endpoint {
        name,
        method,
        path,
        body,
        fields,
        dialect,
        usage,
        streams,
        access,
        plain,
        second: initials_of_second(bytes),
    }
}

/// The letters with which the second segment may begin, as bits; all of them where it may be anything, or missing.
#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "runs in constants: a mistake fails the build"
)]
const fn initials_of_second(path: &[u8]) -> u32 {
    let (mut at, mut segments, mut begins, mut initials) = (0, 0, false, 0);
    while at < path.len() {
        let byte = path[at];
        match byte {
            b'?' => break,
            b'/' => segments += 1,
            b'*' | b'{' if segments == 2 => return u32::MAX,
            // So many segments that a second one need not be there.
            b'*' if segments == 1 => return u32::MAX,
            _ if begins && segments == 2 => initials |= initial(byte),
            _ => {}
        }
        begins = matches!(byte, b'/' | b'|');
        at += 1;
    }
    if segments < 2 { u32::MAX } else { initials }
}

/// A byte's bit. Letters that differ in case alone share one, as do other bytes with letters.
pub(super) const fn initial(byte: u8) -> u32 {
    1 << (byte & 31)
}

/// The names that `allowed_endpoints` may use, sorted, each once.
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> = Vec::new();
    for Endpoint { name, .. } in ENDPOINTS {
        if let Err(at) = names.binary_search(name) {
            names.insert(at, name);
        }
    }
    names
}

/// The rows for a method. Those that rows name differ in their length, which is quicker to compare a hundred times.
pub(super) fn candidates(method: &[u8], upgrade: bool) -> impl Iterator<Item = &'static Endpoint> {
    let wanted = match method {
        _ if upgrade => "WS".len(),
        b"GET" | b"POST" | b"DELETE" => method.len(),
        _ => 0,
    };
    ENDPOINTS.iter().filter(move |endpoint| {
        endpoint.method.len() == wanted || (!upgrade && endpoint.method == "*")
    })
}

/// The closed row for a path that nothing fits, in the dialect that its caller most likely speaks.
pub(super) fn unknown(path: &str, own: &str) -> &'static Endpoint {
    let begins = |prefix| {
        strip_prefix(path, prefix)
            .or_else(|| strip_prefix(own, prefix))
            .is_some()
    };
    let [anthropic, bedrock, gemini, openai] = &UNKNOWNS;
    if begins("/anthropic") || begins("/v1/messages") || begins("/v1/complete") {
        anthropic
    } else if begins("/v1beta/openai") || begins("/v1alpha/openai") {
        openai
    } else if [
        "/v1beta",
        "/v1alpha",
        "/v1beta1",
        "/v1/projects",
        "/v1/publishers",
        "/upload",
    ]
    .into_iter()
    .any(begins)
        || (begins("/v1/models") && own.contains(':'))
    {
        gemini
    } else if begins("/model") {
        bedrock
    } else {
        openai
    }
}

/// The table as Markdown, for the documentation and the test that holds the two together.
pub fn table_markdown() -> String {
    let mut text =
        "| endpoint | method | path | models | usage | |\n|---|---|---|---|---|---|\n".to_owned();
    for endpoint in ENDPOINTS {
        let mut models = Vec::new();
        if endpoint.path.contains("{model") {
            models.push("path".to_owned());
        }
        if let Some((_, key)) = endpoint.path.split_once('?') {
            models.push(format!("query `{key}`"));
        }
        let form = matches!(endpoint.body, Form | JsonOrForm) && !endpoint.path.contains("{model");
        if !matches!(endpoint.body, Form) {
            models.extend(
                endpoint
                    .fields
                    .models
                    .iter()
                    .map(|path| format!("`{}`", dotted(path))),
            );
        }
        if form {
            models.push("form field `model`".to_owned());
        }
        let access = match endpoint.access {
            Closed => "closed",
            Free => "not counted",
            List => "filtered",
            Open => "",
        };
        let path = endpoint
            .path
            .split('?')
            .next()
            .unwrap_or_default()
            .replace('|', "\\|");
        let cells = [
            endpoint.name.to_owned(),
            endpoint.method.to_owned(),
            format!("`{path}`"),
            models.join(", "),
            format!("{:?}", endpoint.usage),
            access.to_owned(),
        ];
        text.push_str("| ");
        text.push_str(&cells.join(" | "));
        text.push_str(
            " |
",
        );
    }
    text
}
