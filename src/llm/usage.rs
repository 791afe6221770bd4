//! What an answer cost, in one form for every API.

/// Token counts of one answer. `prompt` is all input including what came from or went into a cache,
/// `completion` includes reasoning; `None` where the answer did not say.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// All input tokens.
    pub prompt_tokens: Option<u64>,
    /// All output tokens.
    pub completion_tokens: Option<u64>,
    /// As the answer states it; where it does not, the sum of the two.
    pub total_tokens: Option<u64>,
    /// Part of `prompt_tokens` that was read from a cache.
    pub cached_tokens: Option<u64>,
    /// Part of `prompt_tokens` that was written to a cache.
    pub cache_write_tokens: Option<u64>,
    /// Part of `completion_tokens`.
    pub reasoning_tokens: Option<u64>,
}

/// Where an API puts the usage in its answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UsageFormat {
    /// `/usage/input_tokens` without the cache, cumulative deltas in streams.
    Anthropic,
    /// `/usage/inputTokens`, or the invocation metrics of a model family.
    Bedrock,
    /// `/usage/tokens/input_tokens`.
    Cohere,
    /// `/usageMetadata/promptTokenCount`.
    Gemini,
    /// Nothing is consumed, or nothing is said.
    None,
    /// `/prompt_eval_count`.
    Ollama,
    /// `/usage/prompt_tokens`, or `/usage/input_tokens` of the images and audio APIs.
    OpenAi,
    /// `/usage/input_tokens`, in streams under `/response`.
    OpenAiResponses,
}
