//! A request of some endpoint, for models, of a size: what the filter reads of one, and nothing else.

use crate::llm::endpoint::{Body, Endpoint};
use crate::llm::usage::UsageFormat;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// What goes in.
pub(super) struct Message {
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// Four bytes a token, as requests are estimated; words, so that nobody takes it for a picture.
const WORD: &str = "sim ";

/// What a picture is counted as, in tokens.
const PICTURE: u64 = 1_000;

const BOUNDARY: &str = "cohort-simulate";

/// No prompt is larger: a line of a log may say anything.
const MAX_PROMPT: u64 = 1 << 20;

impl Message {
    /// `prefix`: what stands before the endpoint's own path.
    pub(super) fn new(
        row: &Endpoint,
        prefix: &str,
        models: &[String],
        prompt_tokens: u64,
        key: Option<&str>,
    ) -> Self {
        let method = match row.method {
            "*" => "POST",
            "WS" => "GET",
            method => method,
        };
        let path = format!("{prefix}{}", path(row.path, models.first()));
        let mut fields = vec![(":method", method.to_owned()), (":path", path)];
        fields.extend(key.map(|key| ("authorization", format!("Bearer {key}"))));
        fields.extend((row.method == "WS").then(|| ("upgrade", "websocket".to_owned())));
        let (kind, body) = body(row, models, prompt_tokens.min(MAX_PROMPT));
        fields.extend(kind.map(|kind| ("content-type", kind)));
        let fields = fields.into_iter();
        Self {
            fields: fields
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            body,
        }
    }
}

/// A path that a row fits.
fn path(row: &str, model: Option<&String>) -> String {
    let encoded = model.map_or_else(|| "none".to_owned(), |model| encode(model));
    let (row, query) = row.split_once('?').unwrap_or((row, ""));
    let segments = row.split('/').map(|segment| {
        // The first of several; a verb stands behind the model.
        if let Some(verbs) = segment.strip_prefix("{model}") {
            return format!("{encoded}{}", first(verbs));
        }
        match segment {
            "{model..}" => encoded.clone(),
            "*" | "**" => "x".to_owned(),
            plain => first(plain).to_owned(),
        }
    });
    let path = segments.collect::<Vec<_>>().join("/");
    if query.is_empty() {
        path
    } else {
        format!("{path}?{query}={encoded}")
    }
}

fn first(choices: &str) -> &str {
    choices.split('|').next().unwrap_or_default()
}

/// RFC 3986, section 2.1; what stands for itself in a path does.
fn encode(model: &str) -> String {
    let mut text = String::new();
    for byte in model.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:@/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}"); // a String takes everything
        }
    }
    text
}

fn body(row: &Endpoint, models: &[String], prompt_tokens: u64) -> (Option<String>, Vec<u8>) {
    match row.body {
        Body::None => (None, Vec::new()),
        Body::Form => {
            let model = models.first().cloned().unwrap_or_default();
            let part = |name: &str, value: &str| {
                format!(
                    "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
                )
            };
            let body = format!(
                "{}{}--{BOUNDARY}--\r\n",
                part("model", &model),
                part("prompt", &words(prompt_tokens))
            );
            let kind = format!("multipart/form-data; boundary={BOUNDARY}");
            (Some(kind), body.into_bytes())
        }
        Body::Any | Body::Json | Body::JsonOrForm => {
            let mut root = Map::new();
            name_models(row, models, &mut root);
            root.insert("prompt".to_owned(), prompt(prompt_tokens));
            let body = Value::Object(root).to_string();
            (Some("application/json".to_owned()), body.into_bytes())
        }
    }
}

/// So many tokens, by the filter's rule of thumb: most of them as pictures, which are quicker to read than words.
fn prompt(tokens: u64) -> Value {
    let picture = json!({"data": "A".repeat(256)});
    let pictures = usize::try_from(tokens / PICTURE).unwrap_or_default();
    let mut parts = vec![picture; pictures];
    parts.push(words(tokens % PICTURE).into());
    parts.into()
}

fn words(tokens: u64) -> String {
    WORD.repeat(usize::try_from(tokens).unwrap_or_default())
}

/// The first model where the first of the row's places is; the others in the list of those to fall back on.
fn name_models(row: &Endpoint, models: &[String], root: &mut Map<String, Value>) {
    let in_path = row.path.contains("{model") || row.path.contains('?');
    let (Some((model, others)), false) = (models.split_first(), in_path) else {
        return;
    };
    let Some(place) = row.fields.models.first() else {
        return;
    };
    if let ["requests", "*", rest @ ..] = place {
        let each = models.iter().map(|model| nested(rest, model));
        root.insert("requests".to_owned(), each.collect());
        return;
    }
    if let Value::Object(members) = nested(place, model) {
        root.extend(members);
    }
    if !others.is_empty() && row.fields.models.contains(&&["models", "*"][..]) {
        root.insert("models".to_owned(), json!(others));
    }
}

fn nested(place: &[&str], model: &str) -> Value {
    match place.split_first() {
        None => model.into(),
        Some((&"*", rest)) => json!([nested(rest, model)]),
        Some((name, rest)) => json!({*name: nested(rest, model)}),
    }
}

/// An answer's body that says that so much was used, where the endpoint's answers say it.
pub(super) fn answer(format: UsageFormat, usage: super::past::Usage) -> Vec<u8> {
    let super::past::Usage {
        prompt,
        completion,
        total,
        cached,
    } = usage;
    let cached = cached.min(prompt);
    let fresh = prompt.saturating_sub(cached);
    let body = match format {
        UsageFormat::Anthropic => json!({"usage": {
            "input_tokens": fresh, "cache_read_input_tokens": cached, "output_tokens": completion,
        }}),
        UsageFormat::Bedrock => json!({"usage": {
            "inputTokens": fresh, "cacheReadInputTokens": cached, "outputTokens": completion, "totalTokens": total,
        }}),
        UsageFormat::Cohere => {
            json!({"usage": {"tokens": {"input_tokens": prompt, "output_tokens": completion}}})
        }
        UsageFormat::Gemini => json!({"usageMetadata": {
            "promptTokenCount": prompt, "cachedContentTokenCount": cached, "candidatesTokenCount": completion, "totalTokenCount": total,
        }}),
        UsageFormat::None => json!({}),
        UsageFormat::Ollama => {
            json!({"prompt_eval_count": prompt, "eval_count": completion, "done": true})
        }
        UsageFormat::OpenAi => json!({"usage": {
            "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total,
            "prompt_tokens_details": {"cached_tokens": cached},
        }}),
        UsageFormat::OpenAiResponses => json!({"usage": {
            "input_tokens": prompt, "output_tokens": completion, "total_tokens": total,
            "input_tokens_details": {"cached_tokens": cached},
        }}),
    };
    body.to_string().into_bytes()
}
