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
        match self {
            Self::Root(format) => Self::root_member(format, key),
            Self::Billed => match key {
                b"input_tokens" => Self::Count(Count::BilledPrompt),
                b"output_tokens" => Self::Count(Count::BilledCompletion),
                _ => Self::Other,
            },
            Self::InputDetails => match key {
                b"cached_tokens" => Self::Count(Count::Cached),
                b"cache_write_tokens" => Self::Count(Count::Written),
                _ => Self::Other,
            },
            Self::Metadata => match key {
                b"cachedContentTokenCount" => Self::Count(Count::Cached),
                b"candidatesTokenCount" => Self::Count(Count::Completion),
                b"promptTokenCount" => Self::Count(Count::Prompt),
                b"thoughtsTokenCount" => Self::Count(Count::Thoughts),
                b"toolUsePromptTokenCount" => Self::Count(Count::ToolPrompt),
                b"totalTokenCount" => Self::Count(Count::Total),
                _ => Self::Other,
            },
            Self::OutputDetails => match key {
                b"reasoning_tokens" | b"thinking_tokens" => Self::Count(Count::Reasoning),
                _ => Self::Other,
            },
            Self::Result => match key {
                b"outputText" => Self::Text,
                b"tokenCount" => Self::Count(Count::Completion),
                _ => Self::Other,
            },
            Self::Text => match key {
                // Bookkeeping, and what clients send back but do not read.
                b"data" | b"encrypted_content" | b"finishReason" | b"finish_reason" | b"id"
                | b"inlineData" | b"logprobs" | b"object" | b"role" | b"signature"
                | b"stop_reason" | b"thoughtSignature" | b"type" => Self::Other,
                _ => Self::Text,
            },
            Self::Tokens => match key {
                b"input_tokens" => Self::Count(Count::Input),
                b"output_tokens" => Self::Count(Count::Output),
                _ => Self::Other,
            },
            Self::Usage => Self::usage_member(key),
            Self::Wrapper => match key {
                b"error" => Self::Error,
                b"message" => Self::Text,
                b"meta" | b"usage" => Self::Usage,
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }

    /// A member of the document itself.
    fn root_member(format: UsageFormat, key: &[u8]) -> Self {
        match (key, format) {
            (b"error", _) => Self::Error,
            (b"type", _) => Self::Type,
            (_, UsageFormat::Anthropic) => Self::claude_member(key),
            (_, UsageFormat::Bedrock) => Self::bedrock_member(key),
            (_, UsageFormat::Cohere) => match key {
                b"delta" | b"response" => Self::Wrapper,
                b"message" | b"text" => Self::Text,
                b"meta" | b"usage" => Self::Usage,
                _ => Self::Other,
            },
            (_, UsageFormat::Gemini) => match key {
                b"candidates" => Self::Text,
                b"usageMetadata" => Self::Metadata,
                _ => Self::claude_member(key),
            },
            (_, UsageFormat::None) => Self::Other,
            (_, UsageFormat::Ollama) => match key {
                b"eval_count" => Self::Count(Count::Completion),
                b"message" | b"response" | b"thinking" => Self::Text,
                b"prompt_eval_count" => Self::Count(Count::Prompt),
                _ => Self::Other,
            },
            (_, UsageFormat::OpenAi) => match key {
                b"choices" => Self::Choices,
                b"delta" | b"text" => Self::Text,
                // llama.cpp's.
                b"timings" => Self::Bookkeeping,
                b"usage" => Self::Usage,
                b"x_groq" => Self::Wrapper,
                _ => Self::Other,
            },
            (_, UsageFormat::OpenAiResponses) => match key {
                b"delta" | b"output" => Self::Text,
                // In streams, it has all the text once more at the end.
                b"response" => Self::Wrapper,
                b"usage" => Self::Usage,
                _ => Self::Other,
            },
        }
    }

    /// What Claude says, on Vertex and Bedrock too.
    fn claude_member(key: &[u8]) -> Self {
        match key {
            b"content" | b"delta" => Self::Text,
            b"message" => Self::Wrapper,
            b"usage" => Self::Usage,
            _ => Self::Other,
        }
    }

    /// What the families of models on Bedrock say: Llama's counts are in snake case, Titan's in camel case.
    fn bedrock_member(key: &[u8]) -> Self {
        match key {
            // In the last chunk of any family's stream.
            b"amazon-bedrock-invocationMetrics" => Self::Usage,
            b"bytes" => Self::Wrapped,
            b"choices" | b"contentBlockDelta" | b"generation" | b"output" | b"outputText"
            | b"outputs" => Self::Text,
            b"generation_token_count" | b"totalOutputTextTokenCount" => {
                Self::Count(Count::Completion)
            }
            b"inputTextTokenCount" | b"prompt_token_count" => Self::Count(Count::Prompt),
            b"metadata" => Self::Wrapper,
            b"results" => Self::Results,
            _ => Self::claude_member(key),
        }
    }

    /// A member of `usage`.
    fn usage_member(key: &[u8]) -> Self {
        Self::Count(match key {
            b"billed_units" => return Self::Billed,
            b"prompt_tokens_details" | b"input_tokens_details" | b"input_token_details" => {
                return Self::InputDetails;
            }
            b"completion_tokens_details" | b"output_tokens_details" | b"output_token_details" => {
                return Self::OutputDetails;
            }
            b"tokens" => return Self::Tokens,
            b"cache_creation_input_tokens"
            | b"cacheWriteInputTokens"
            | b"cacheWriteInputTokenCount" => Count::CacheWrite,
            b"cache_read_input_tokens" | b"cacheReadInputTokens" | b"cacheReadInputTokenCount" => {
                Count::CacheRead
            }
            b"cached_tokens" | b"prompt_cache_hit_tokens" => Count::CacheHit,
            b"completion_tokens" => Count::Completion,
            b"input_tokens" | b"inputTokens" | b"inputTokenCount" => Count::Input,
            b"output_tokens" | b"outputTokens" | b"outputTokenCount" => Count::Output,
            b"prompt_tokens" => Count::Prompt,
            b"reasoning_tokens" => Count::Reasoning,
            b"total_tokens" | b"totalTokens" => Count::Total,
            _ => return Self::Other,
        })
    }
}
