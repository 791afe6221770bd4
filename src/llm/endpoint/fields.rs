//! Where the bodies of a kind of endpoint name models, and which other fields are read from any body.

use crate::json::Patterns;

/// Keys from the top of a document down, `"*"` for any element of an array.
pub type Path = &'static [&'static str];

/// The fields that are read from the JSON bodies of an endpoint.
#[derive(Debug)]
pub struct Fields {
    /// Where models are named; the first is the one that a default model is written to.
    pub models: &'static [Path],
    /// Whether all of them, and the path, name the same thing, so that they must agree.
    pub agree: bool,
    /// Those of the JSON that a form's field `session` holds.
    pub(crate) session: Option<&'static Self>,
    pub(crate) patterns: Patterns,
    /// The bits of the patterns where models are named.
    pub(crate) model_bits: u64,
    /// All but text: a second spelling of these is refused.
    pub(crate) watched_bits: u64,
    pub(crate) text_bits: u64,
}

impl Fields {
    const fn new(models: &'static [Path]) -> Self {
        let watched = models.len().saturating_add(WATCHED.len());
        let watched_bits = low_bits(watched);
        Self {
            models,
            agree: false,
            session: None,
            patterns: Patterns::of([models, WATCHED, TEXT]),
            model_bits: low_bits(models.len()),
            watched_bits,
            text_bits: low_bits(watched.saturating_add(TEXT.len())) & !watched_bits,
        }
    }

    const fn agreeing(models: &'static [Path]) -> Self {
        Self {
            agree: true,
            ..Self::new(models)
        }
    }

    /// The path that a bit of the patterns stands for.
    pub(crate) fn path(&self, bits: u64) -> Option<Path> {
        self.patterns.get(bits)
    }

    /// The watched field, if `bits` has one.
    pub(crate) fn watched(&self, bits: u64) -> Option<Watched> {
        let bit = bits & self.watched_bits & !self.model_bits;
        if bit == 0 {
            return None;
        }
        Some(match self.path(bit)? {
            ["background"] => Watched::Background,
            ["stream"] => Watched::Stream,
            ["stream_options"] => Watched::StreamOptions,
            ["stream_options", "include_usage"] => Watched::IncludeUsage,
            _ => Watched::Settings,
        })
    }
}

/// A field that is read from any body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Watched {
    Background,
    IncludeUsage,
    /// An object whose numbers bound the answer as those at the top do.
    Settings,
    Stream,
    StreamOptions,
}

const fn low_bits(count: usize) -> u64 {
    if count >= 64 {
        u64::MAX
    } else {
        !(u64::MAX << count)
    }
}

const WATCHED: &[Path] = &[
    &["background"],
    &["stream"],
    &["stream_options"],
    &["stream_options", "include_usage"],
    &["additionalModelRequestFields"],
    &["generationConfig"],
    &["generation_config"],
    &["inferenceConfig"],
    &["options"],
    &["parameters"],
    &["sampling_params"],
    &["textGenerationConfig"],
];

/// What the model reads, for the estimate of its size.
const TEXT: &[Path] = &[
    &["chat_history"],
    &["content"],
    &["contents"],
    &["documents"],
    &["functions"],
    &["input"],
    &["inputText"],
    &["inputs"],
    &["instances"],
    &["instructions"],
    &["items"],
    &["message"],
    &["messages"],
    &["negative_prompt"],
    &["preamble"],
    &["prediction"],
    &["prompt"],
    &["queries"],
    &["query"],
    &["requests"],
    &["suffix"],
    &["system"],
    &["systemInstruction"],
    &["system_instruction"],
    &["text"],
    &["text_1"],
    &["text_2"],
    &["texts"],
    &["toolConfig"],
    &["tool_results"],
    &["tools"],
];

/// One place, as most APIs have it.
pub(super) static MODEL: Fields = Fields::new(&[&["model"]]);

/// Chat and completions; gateways and routers take a list to fall back on.
pub(super) static CHAT: Fields = Fields::new(&[
    &["model"],
    &["models", "*"],
    &["fallbacks", "*"],
    &["fallbacks", "*", "model"],
    &["tools", "*", "model"],
    // LiteLLM: maps of models, which no model's name is.
    &["context_window_fallbacks"],
    &["context_window_fallback_dict"],
    &["content_policy_fallbacks"],
]);

/// Responses: tools that are models themselves.
pub(super) static RESPONSES: Fields = Fields::new(&[
    &["model"],
    &["models", "*"],
    &["fallbacks", "*"],
    &["fallbacks", "*", "model"],
    &["tools", "*", "model"],
    &["moderation", "model"],
    &["context_window_fallbacks"],
    &["context_window_fallback_dict"],
    &["content_policy_fallbacks"],
]);

/// Realtime sessions, made ahead of their connection, or with the offer that begins it.
pub(super) static SESSION: Fields = Fields {
    session: Some(&Fields::new(&[
        &["model"],
        &["audio", "input", "transcription", "model"],
        &["input_audio_transcription", "model"],
    ])),
    ..Fields::new(&[
        &["model"],
        &["session", "model"],
        &["session", "audio", "input", "transcription", "model"],
        &["session", "input_audio_transcription", "model"],
        &["input_audio_transcription", "model"],
    ])
};

/// Anthropic's batches: many requests in one.
pub(super) static BATCH: Fields = Fields::new(&[
    &["requests", "*", "params", "model"],
    &["requests", "*", "params", "fallbacks", "*", "model"],
    &["requests", "*", "params", "tools", "*", "model"],
]);

/// Azure deployments: the path names the model; "on your data" names a second one.
pub(super) static AZURE: Fields = Fields::new(&[&[
    "data_sources",
    "*",
    "parameters",
    "embedding_dependency",
    "deployment_name",
]]);

/// Anthropic's messages behind another API's path, which names the model.
pub(super) static WRAPPED: Fields = Fields::new(&[
    &["fallbacks", "*"],
    &["fallbacks", "*", "model"],
    &["tools", "*", "model"],
]);

/// Bedrock's converse, which hands some fields on to the model's own API.
pub(super) static CONVERSE: Fields = Fields::new(&[
    &["additionalModelRequestFields", "fallbacks", "*", "model"],
    &["additionalModelRequestFields", "tools", "*", "model"],
]);

/// Gemini: the path's model once more, in the body.
pub(super) static GEMINI: Fields = Fields::agreeing(&[
    &["model"],
    &["requests", "*", "model"],
    &["generateContentRequest", "model"],
    &["generate_content_request", "model"],
    // Vertex may be told to choose, or to take another: neither can be judged, and no model's name is an object.
    &["generationConfig", "routingConfig"],
    &["generationConfig", "routing_config"],
    &["generation_config", "routingConfig"],
    &["generation_config", "routing_config"],
]);

/// Ollama's management calls: `name` is the old word for `model`.
pub(super) static OLLAMA: Fields = Fields::agreeing(&[&["model"], &["name"]]);

/// No model in the body, or none that counts.
pub(super) static NONE: Fields = Fields::new(&[]);
