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
        let members = match self {
            Self::Billed => &BILLED,
            Self::InputDetails => &INPUT_DETAILS,
            Self::Metadata => &METADATA,
            Self::OutputDetails => &OUTPUT_DETAILS,
            Self::Result => &RESULT,
            Self::Root(format) => {
                let (own, claude) = root(format);
                let further = || claude.then(|| CLAUDE.find(key)).flatten();
                let found = DOCUMENT.find(key).or_else(|| own.find(key));
                return found.or_else(further).unwrap_or(Self::Other);
            }
            Self::Text => return NOT_TEXT.find(key).unwrap_or(Self::Text),
            Self::Tokens => &TOKENS,
            Self::Usage => &USAGE,
            Self::Wrapper => &WRAPPER,
            _ => return Self::Other,
        };
        members.find(key).unwrap_or(Self::Other)
    }
}

/// What members of an object are. Code for all these names would be five times as large.
struct Members {
    members: &'static [(&'static str, Place)],
    /// A bit for each member, by [`bucket`]: few are worth a look, of most keys none.
    buckets: [u32; BUCKETS],
}

const BUCKETS: usize = 16;

const fn bucket(key: &[u8]) -> usize {
    match key {
        [first, .., last] => (*first as usize ^ (*last as usize) << 1 ^ key.len()) % BUCKETS,
        _ => 0,
    }
}

impl Members {
    #[expect(
        clippy::indexing_slicing,
        reason = "runs in constants: a wrong index fails the build"
    )]
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "runs in constants: an overflow fails the build"
    )]
    const fn new(members: &'static [(&'static str, Place)]) -> Self {
        let mut buckets = [0; BUCKETS];
        let mut at = 0;
        while at < members.len() {
            // A 33rd member fails the build here.
            buckets[bucket(members[at].0.as_bytes())] |= 1_u32 << at;
            at += 1;
        }
        Self { members, buckets }
    }

    fn find(&self, key: &[u8]) -> Option<Place> {
        let mut candidates = *self.buckets.get(bucket(key))?;
        while candidates != 0 {
            let (name, place) = self.members.get(candidates.trailing_zeros() as usize)?;
            if name.as_bytes() == key {
                return Some(*place);
            }
            candidates &= candidates.wrapping_sub(1);
        }
        None
    }
}

/// The members of the document itself beside those of any, and whether Claude's are among them.
const fn root(format: UsageFormat) -> (&'static Members, bool) {
    match format {
        UsageFormat::Anthropic => (&CLAUDE, false),
        UsageFormat::Bedrock => (&BEDROCK, true),
        UsageFormat::Cohere => (&COHERE, false),
        UsageFormat::Gemini => (&GEMINI, true),
        UsageFormat::None => (&DOCUMENT, false),
        UsageFormat::Ollama => (&OLLAMA, false),
        UsageFormat::OpenAi => (&OPENAI, false),
        UsageFormat::OpenAiResponses => (&RESPONSES, false),
    }
}

static DOCUMENT: Members = Members::new(&[("error", Place::Error), ("type", Place::Type)]);

/// What the families of models on Bedrock say: Llama's counts are in snake case, Titan's in camel case.
static BEDROCK: Members = Members::new(&[
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
]);

static BILLED: Members = Members::new(&[
    ("input_tokens", Place::Count(Count::BilledPrompt)),
    ("output_tokens", Place::Count(Count::BilledCompletion)),
]);

/// What Claude says, on Vertex and Bedrock too.
static CLAUDE: Members = Members::new(&[
    ("content", Place::Text),
    ("delta", Place::Text),
    ("message", Place::Wrapper),
    ("usage", Place::Usage),
]);

static COHERE: Members = Members::new(&[
    ("delta", Place::Wrapper),
    ("message", Place::Text),
    ("meta", Place::Usage),
    ("response", Place::Wrapper),
    ("text", Place::Text),
    ("usage", Place::Usage),
]);

static GEMINI: Members = Members::new(&[
    ("candidates", Place::Text),
    ("usageMetadata", Place::Metadata),
]);

static INPUT_DETAILS: Members = Members::new(&[
    ("cache_write_tokens", Place::Count(Count::Written)),
    ("cached_tokens", Place::Count(Count::Cached)),
]);

static METADATA: Members = Members::new(&[
    ("cachedContentTokenCount", Place::Count(Count::Cached)),
    ("candidatesTokenCount", Place::Count(Count::Completion)),
    ("promptTokenCount", Place::Count(Count::Prompt)),
    ("thoughtsTokenCount", Place::Count(Count::Thoughts)),
    ("toolUsePromptTokenCount", Place::Count(Count::ToolPrompt)),
    ("totalTokenCount", Place::Count(Count::Total)),
]);

/// Bookkeeping, and what clients send back but do not read.
static NOT_TEXT: Members = Members::new(&[
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
]);

static OLLAMA: Members = Members::new(&[
    ("eval_count", Place::Count(Count::Completion)),
    ("message", Place::Text),
    ("prompt_eval_count", Place::Count(Count::Prompt)),
    ("response", Place::Text),
    ("thinking", Place::Text),
]);

static OPENAI: Members = Members::new(&[
    ("choices", Place::Choices),
    ("delta", Place::Text),
    ("text", Place::Text),
    // llama.cpp's.
    ("timings", Place::Bookkeeping),
    ("usage", Place::Usage),
    ("x_groq", Place::Wrapper),
]);

static OUTPUT_DETAILS: Members = Members::new(&[
    ("reasoning_tokens", Place::Count(Count::Reasoning)),
    ("thinking_tokens", Place::Count(Count::Reasoning)),
]);

static RESPONSES: Members = Members::new(&[
    ("delta", Place::Text),
    ("output", Place::Text),
    // In streams, it has all the text once more at the end.
    ("response", Place::Wrapper),
    ("usage", Place::Usage),
]);

/// One of Titan's.
static RESULT: Members = Members::new(&[
    ("outputText", Place::Text),
    ("tokenCount", Place::Count(Count::Completion)),
]);

static TOKENS: Members = Members::new(&[
    ("input_tokens", Place::Count(Count::Input)),
    ("output_tokens", Place::Count(Count::Output)),
]);

static USAGE: Members = Members::new(&[
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
]);

static WRAPPER: Members = Members::new(&[
    ("error", Place::Error),
    ("message", Place::Text),
    ("meta", Place::Usage),
    ("usage", Place::Usage),
]);
