//! Where each API puts its counts, its text and its errors.
//!
//! A place is known by the path to it, never by a key alone, so that text cannot pose as a count. Inside
//! `usage` the APIs' names do not collide: a server that answers as another API does is understood there.

use super::usage::{Count, UsageFormat};

/// What a value is, by the path to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// `usage` as Cohere bills it.
    Billed,
    /// Numbers about the answer that are no counts of tokens.
    Bookkeeping,
    Choices,
    Count(Count),
    Error,
    InputDetails,
    /// Gemini's `usageMetadata`.
    Metadata,
    Other,
    OutputDetails,
    /// Titan's `results`, and one of them.
    Results,
    Result,
    Root(UsageFormat),
    /// The answer itself, whatever is in it.
    Text,
    /// `tokens` in Cohere's `usage`.
    Tokens,
    /// `type`, which may say that the document is an error.
    Type,
    Usage,
    /// A further document in base64.
    Wrapped,
    /// An object that has the `usage`.
    Wrapper,
}

impl Place {
    /// What an array's elements are, in this place.
    pub(crate) fn element(self) -> Self {
        match self {
            // Without `alt=sse`, Gemini streams one array of what else are events.
            Self::Root(UsageFormat::Gemini) | Self::Text => self,
            Self::Choices => Self::Text,
            Self::Results => Self::Result,
            _ => Self::Other,
        }
    }

    /// What an object's member is, in this place.
    pub(crate) fn member(self, key: &[u8]) -> Self {
        let (tables, other): (&[Members], _) = match self {
            Self::Billed => (&[BILLED], Self::Other),
            Self::InputDetails => (&[INPUT_DETAILS], Self::Other),
            Self::Metadata => (&[METADATA], Self::Other),
            Self::OutputDetails => (&[OUTPUT_DETAILS], Self::Other),
            Self::Result => (&[RESULT], Self::Other),
            Self::Root(format) => (root(format), Self::Other),
            Self::Text => (&[NOT_TEXT], Self::Text),
            Self::Tokens => (&[TOKENS], Self::Other),
            Self::Usage => (&[USAGE], Self::Other),
            Self::Wrapper => (&[WRAPPER], Self::Other),
            _ => (&[], Self::Other),
        };
        for members in tables {
            for (name, place) in *members {
                if name.as_bytes() == key {
                    return *place;
                }
            }
        }
        other
    }
}

/// What members of an object are. Code for all these names would be five times as large.
type Members = &'static [(&'static str, Place)];

/// The members of the document itself.
const fn root(format: UsageFormat) -> &'static [Members] {
    match format {
        UsageFormat::Anthropic => &[DOCUMENT, CLAUDE],
        UsageFormat::Bedrock => &[DOCUMENT, BEDROCK, CLAUDE],
        UsageFormat::Cohere => &[DOCUMENT, COHERE],
        UsageFormat::Gemini => &[DOCUMENT, GEMINI, CLAUDE],
        UsageFormat::None => &[DOCUMENT],
        UsageFormat::Ollama => &[DOCUMENT, OLLAMA],
        UsageFormat::OpenAi => &[DOCUMENT, OPENAI],
        UsageFormat::OpenAiResponses => &[DOCUMENT, RESPONSES],
    }
}

const DOCUMENT: Members = &[("error", Place::Error), ("type", Place::Type)];

/// What the families of models on Bedrock say: Llama's counts are in snake case, Titan's in camel case.
const BEDROCK: Members = &[
    // In the last chunk of any family's stream.
    ("amazon-bedrock-invocationMetrics", Place::Usage),
    ("bytes", Place::Wrapped),
    ("choices", Place::Text),
    ("contentBlockDelta", Place::Text),
    ("generation", Place::Text),
    ("generation_token_count", Place::Count(Count::Completion)),
    ("inputTextTokenCount", Place::Count(Count::Prompt)),
    ("metadata", Place::Wrapper),
    ("output", Place::Text),
    ("outputText", Place::Text),
    ("outputs", Place::Text),
    ("prompt_token_count", Place::Count(Count::Prompt)),
    ("results", Place::Results),
    ("totalOutputTextTokenCount", Place::Count(Count::Completion)),
];

const BILLED: Members = &[
    ("input_tokens", Place::Count(Count::BilledPrompt)),
    ("output_tokens", Place::Count(Count::BilledCompletion)),
];

/// What Claude says, on Vertex and Bedrock too.
const CLAUDE: Members = &[
    ("content", Place::Text),
    ("delta", Place::Text),
    ("message", Place::Wrapper),
    ("usage", Place::Usage),
];

const COHERE: Members = &[
    ("delta", Place::Wrapper),
    ("message", Place::Text),
    ("meta", Place::Usage),
    ("response", Place::Wrapper),
    ("text", Place::Text),
    ("usage", Place::Usage),
];

const GEMINI: Members = &[
    ("candidates", Place::Text),
    ("usageMetadata", Place::Metadata),
];

const INPUT_DETAILS: Members = &[
    ("cache_write_tokens", Place::Count(Count::Written)),
    ("cached_tokens", Place::Count(Count::Cached)),
];

const METADATA: Members = &[
    ("cachedContentTokenCount", Place::Count(Count::Cached)),
    ("candidatesTokenCount", Place::Count(Count::Completion)),
    ("promptTokenCount", Place::Count(Count::Prompt)),
    ("thoughtsTokenCount", Place::Count(Count::Thoughts)),
    ("toolUsePromptTokenCount", Place::Count(Count::ToolPrompt)),
    ("totalTokenCount", Place::Count(Count::Total)),
];

/// Bookkeeping, and what clients send back but do not read.
const NOT_TEXT: Members = &[
    ("data", Place::Other),
    ("encrypted_content", Place::Other),
    ("finishReason", Place::Other),
    ("finish_reason", Place::Other),
    ("id", Place::Other),
    ("inlineData", Place::Other),
    ("logprobs", Place::Other),
    ("object", Place::Other),
    ("role", Place::Other),
    ("signature", Place::Other),
    ("stop_reason", Place::Other),
    ("thoughtSignature", Place::Other),
    ("type", Place::Other),
];

const OLLAMA: Members = &[
    ("eval_count", Place::Count(Count::Completion)),
    ("message", Place::Text),
    ("prompt_eval_count", Place::Count(Count::Prompt)),
    ("response", Place::Text),
    ("thinking", Place::Text),
];

const OPENAI: Members = &[
    ("choices", Place::Choices),
    ("delta", Place::Text),
    ("text", Place::Text),
    // llama.cpp's.
    ("timings", Place::Bookkeeping),
    ("usage", Place::Usage),
    ("x_groq", Place::Wrapper),
];

const OUTPUT_DETAILS: Members = &[
    ("reasoning_tokens", Place::Count(Count::Reasoning)),
    ("thinking_tokens", Place::Count(Count::Reasoning)),
];

const RESPONSES: Members = &[
    ("delta", Place::Text),
    ("output", Place::Text),
    // In streams, it has all the text once more at the end.
    ("response", Place::Wrapper),
    ("usage", Place::Usage),
];

/// One of Titan's.
const RESULT: Members = &[
    ("outputText", Place::Text),
    ("tokenCount", Place::Count(Count::Completion)),
];

const TOKENS: Members = &[
    ("input_tokens", Place::Count(Count::Input)),
    ("output_tokens", Place::Count(Count::Output)),
];

const USAGE: Members = &[
    ("billed_units", Place::Billed),
    ("cacheReadInputTokenCount", Place::Count(Count::CacheRead)),
    ("cacheReadInputTokens", Place::Count(Count::CacheRead)),
    ("cacheWriteInputTokenCount", Place::Count(Count::CacheWrite)),
    ("cacheWriteInputTokens", Place::Count(Count::CacheWrite)),
    (
        "cache_creation_input_tokens",
        Place::Count(Count::CacheWrite),
    ),
    ("cache_read_input_tokens", Place::Count(Count::CacheRead)),
    ("cached_tokens", Place::Count(Count::CacheHit)),
    ("completion_tokens", Place::Count(Count::Completion)),
    ("completion_tokens_details", Place::OutputDetails),
    ("inputTokenCount", Place::Count(Count::Input)),
    ("inputTokens", Place::Count(Count::Input)),
    ("input_token_details", Place::InputDetails),
    ("input_tokens", Place::Count(Count::Input)),
    ("input_tokens_details", Place::InputDetails),
    ("outputTokenCount", Place::Count(Count::Output)),
    ("outputTokens", Place::Count(Count::Output)),
    ("output_token_details", Place::OutputDetails),
    ("output_tokens", Place::Count(Count::Output)),
    ("output_tokens_details", Place::OutputDetails),
    ("prompt_cache_hit_tokens", Place::Count(Count::CacheHit)),
    ("prompt_tokens", Place::Count(Count::Prompt)),
    ("prompt_tokens_details", Place::InputDetails),
    ("reasoning_tokens", Place::Count(Count::Reasoning)),
    ("tokens", Place::Tokens),
    ("totalTokens", Place::Count(Count::Total)),
    ("total_tokens", Place::Count(Count::Total)),
];

const WRAPPER: Members = &[
    ("error", Place::Error),
    ("message", Place::Text),
    ("meta", Place::Usage),
    ("usage", Place::Usage),
];
