//! What an answer cost, in one form for every API.
//!
//! `Counts` takes the counts as the APIs name them, in any order and as often as an answer repeats
//! them, and makes [`Usage`] of what stands at the end. Knows nothing of JSON, and nothing of where in
//! an answer a count was found.

use super::number::count_of;

/// Token counts of one answer. `prompt` is all input including what came from or went into a cache,
/// `completion` includes reasoning; `None` where the answer did not say.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// All input tokens.
    pub prompt_tokens: Option<u64>,
    /// All output tokens.
    pub completion_tokens: Option<u64>,
    /// As the answer states it, which may count more than the two; the sum of the two where the answer
    /// states none, or less than that.
    pub total_tokens: Option<u64>,
    /// Part of `prompt_tokens` that was read from a cache.
    pub cached_tokens: Option<u64>,
    /// Part of `prompt_tokens` that was written to a cache.
    pub cache_write_tokens: Option<u64>,
    /// Part of `completion_tokens`.
    pub reasoning_tokens: Option<u64>,
    /// Input and output as the provider bills them, where it says that they are others than the tokens.
    pub billed: Option<[u64; 2]>,
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

impl UsageFormat {
    /// Whether its `input_tokens` leaves out what the cache served or took: then both are added.
    fn input_excludes_cache(self) -> bool {
        // Gemini's own counts have other names; `input_tokens` are there with Claude on Vertex.
        matches!(self, Self::Anthropic | Self::Bedrock | Self::Gemini)
    }
}

/// One of the counts that answers state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Count {
    /// Output as it is billed, where that differs from the tokens.
    BilledCompletion,
    /// Input as it is billed.
    BilledPrompt,
    /// Part of the input that a cache served, in `DeepSeek`'s and others' words.
    CacheHit,
    /// Input that a cache served, beside what [`Self::Input`] counts or as part of it.
    CacheRead,
    /// Input that a cache took, likewise.
    CacheWrite,
    /// Part of the input that a cache served.
    Cached,
    /// All output, in the words of the chat API.
    Completion,
    /// Input, with or without the cache.
    Input,
    /// All output, in the words of every other API.
    Output,
    /// All input.
    Prompt,
    /// Part of the output.
    Reasoning,
    /// Output beside what [`Self::Completion`] counts.
    Thoughts,
    /// Input beside what [`Self::Prompt`] counts.
    ToolPrompt,
    Total,
    /// Part of the input that a cache took.
    Written,
}

/// The last usable value of each count.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    pub(super) format: UsageFormat,
    /// Those that were stated, a bit each.
    stated: u16,
    /// By [`Count`].
    values: [u64; Count::Written as usize + 1],
}

impl Counts {
    pub(crate) const fn new(format: UsageFormat) -> Self {
        Self {
            format,
            stated: 0,
            values: [0; _],
        }
    }

    pub(crate) const fn format(&self) -> UsageFormat {
        self.format
    }

    /// Takes a number as JSON writes it. One that cannot be a count leaves the value that stood.
    pub(crate) fn state(&mut self, count: Count, number: &[u8]) {
        if let Some(value) = self.values.get_mut(count as usize)
            && let Some(number) = count_of(number)
        {
            *value = number;
            self.stated |= 1 << count as u16;
        }
    }

    /// What was stated of a count; 0 if nothing was.
    fn value(&self, count: Count) -> u64 {
        self.values.get(count as usize).copied().unwrap_or(0)
    }

    /// What the counts amount to; `None` if neither input nor output nor a total was stated.
    pub(crate) fn usage(&self) -> Option<Usage> {
        // What was not stated is 0 in all sums: whether anything was is told by the bits. So few counts fit.
        let stated = |counts: u16| self.stated & counts != 0;
        let [read, write] = [Count::CacheRead, Count::CacheWrite].map(|count| self.value(count));
        let excluded = self.format.input_excludes_cache();
        let cache = if excluded {
            read.wrapping_add(write)
        } else {
            0
        };
        let input = self.value(Count::Input).wrapping_add(cache);
        let prompt = (self.value(Count::Prompt)).wrapping_add(self.value(Count::ToolPrompt));
        let prompt = first(first(prompt, input), self.value(Count::BilledPrompt));
        let has_prompt = stated(PROMPT) || excluded && stated(CACHE);

        let thoughts = self.value(Count::Thoughts);
        let completion = self.value(Count::Completion).wrapping_add(thoughts);
        let completion = first(completion, self.value(Count::Output));
        let completion = first(completion, self.value(Count::BilledCompletion));
        let has_completion = stated(COMPLETION);
        let reasoning = self.value(Count::Reasoning);
        let has_reasoning = stated(const { bits(&[Count::Reasoning]) });

        // xAI counts reasoning beside the completion, under the very names that elsewhere make it a
        // part of it; only its total tells.
        let total = self.value(Count::Total);
        let has_total = stated(const { bits(&[Count::Total]) });
        let parts = prompt.wrapping_add(completion);
        let has_parts = has_prompt || has_completion;
        let beside = has_total
            && (has_parts || has_reasoning)
            && parts.wrapping_add(reasoning) == total
            && !(has_parts && total == parts);
        let (completion, has_completion) = if beside {
            (
                completion.wrapping_add(reasoning),
                has_completion || has_reasoning,
            )
        } else {
            (completion, has_completion)
        };

        (has_total || has_prompt || has_completion).then_some(Usage {
            prompt_tokens: has_prompt.then_some(prompt),
            completion_tokens: has_completion.then_some(completion),
            // A total may count more than its parts name; one that counts less is wrong.
            total_tokens: Some(total.max(prompt.wrapping_add(completion))),
            cached_tokens: stated(CACHED).then_some(first(
                first(self.value(Count::Cached), read),
                self.value(Count::CacheHit),
            )),
            cache_write_tokens: stated(WRITTEN).then_some(first(self.value(Count::Written), write)),
            reasoning_tokens: stated(REASONING).then_some(if has_reasoning {
                reasoning
            } else {
                thoughts
            }),
            billed: self.billed(),
        })
    }
}

impl Counts {
    /// Zeros alone are left over by who does not use the field.
    fn billed(&self) -> Option<[u64; 2]> {
        let billed = [Count::BilledPrompt, Count::BilledCompletion];
        let billed = billed.map(|count| self.value(count));
        (self.format == UsageFormat::Cohere && billed != [0, 0]).then_some(billed)
    }
}

// Counts of which one is enough, a bit each.
const CACHE: u16 = bits(&[Count::CacheRead, Count::CacheWrite]);
const CACHED: u16 = bits(&[Count::CacheHit, Count::CacheRead, Count::Cached]);
const COMPLETION: u16 = bits(&[
    Count::BilledCompletion,
    Count::Completion,
    Count::Output,
    Count::Thoughts,
]);
const PROMPT: u16 = bits(&[
    Count::BilledPrompt,
    Count::Input,
    Count::Prompt,
    Count::ToolPrompt,
]);
const REASONING: u16 = bits(&[Count::Reasoning, Count::Thoughts]);
const WRITTEN: u16 = bits(&[Count::CacheWrite, Count::Written]);

const fn bits(mut counts: &[Count]) -> u16 {
    let mut bits = 0;
    while let [count, rest @ ..] = counts {
        bits |= 1 << *count as u16;
        counts = rest;
    }
    bits
}

/// The first that is not 0: some gateways write several spellings and leave those they do not use at 0.
const fn first(a: u64, b: u64) -> u64 {
    if a == 0 { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_an_integer_however_written() {
        for (text, count) in [
            ("0", Some(0)),
            ("5", Some(5)),
            ("5.0", Some(5)),
            ("5e1", Some(50)),
            ("5E+1", Some(50)),
            ("0.05e2", Some(5)),
            ("50e-1", Some(5)),
            ("1200.000000000000000000000000000000", Some(1200)),
            ("999999999", Some(999_999_999)),
            ("1000000000", None),
            ("1e9", None),
            ("1e999", None),
            ("1e99999999999999", None),
            ("1e-99999999999999", None),
            ("0e999", Some(0)),
            ("0.0000", Some(0)),
            ("", None),
            ("5.5", None),
            ("5e-1", None),
            ("-1", None),
            ("123456789012345678901234567890", None),
        ] {
            assert_eq!(count_of(text.as_bytes()), count, "{text}");
        }
    }

    fn usage(format: UsageFormat, stated: &[(Count, &str)]) -> Option<Usage> {
        let mut counts = Counts::new(format);
        for (count, number) in stated {
            counts.state(*count, number.as_bytes());
        }
        counts.usage()
    }

    #[test]
    fn the_last_usable_value_of_each_count_stands() {
        let last = usage(
            UsageFormat::Anthropic,
            &[
                (Count::Input, "8834"),
                (Count::Output, "1"),
                (Count::Input, "18"),
                (Count::CacheRead, "8831"),
                (Count::Output, "40"),
                (Count::Output, "-3"),
                (Count::Output, "1e12"),
            ],
        )
        .unwrap();
        assert_eq!(last.prompt_tokens, Some(8849));
        assert_eq!(last.completion_tokens, Some(40));
        assert_eq!(last.total_tokens, Some(8889));
        assert_eq!(last.cached_tokens, Some(8831));
        assert_eq!(last.cache_write_tokens, None);
    }

    #[test]
    fn cache_counts_are_added_only_where_input_leaves_them_out() {
        let stated = [(Count::Input, "10"), (Count::CacheRead, "4")];
        let prompt = |format| usage(format, &stated).unwrap().prompt_tokens;
        assert_eq!(prompt(UsageFormat::Bedrock), Some(14));
        assert_eq!(prompt(UsageFormat::OpenAiResponses), Some(10));
    }

    #[test]
    fn a_total_below_its_parts_is_corrected() {
        let parts = [(Count::Prompt, "10"), (Count::Completion, "20")];
        let total = |total| {
            let stated = [&parts[..], &[(Count::Total, total)]].concat();
            usage(UsageFormat::Gemini, &stated).unwrap().total_tokens
        };
        assert_eq!(total("60"), Some(60));
        assert_eq!(total("30"), Some(30));
        assert_eq!(total("7"), Some(30));
        assert_eq!(total("-7"), Some(30));
    }

    #[test]
    fn reasoning_is_added_only_where_the_total_shows_it_beside_the_completion() {
        let completion = |total| {
            let stated = [
                (Count::Prompt, "32"),
                (Count::Completion, "9"),
                (Count::Reasoning, "94"),
                (Count::Total, total),
            ];
            usage(UsageFormat::OpenAi, &stated)
                .unwrap()
                .completion_tokens
        };
        assert_eq!(completion("135"), Some(103));
        assert_eq!(completion("41"), Some(9));
    }

    #[test]
    fn the_spelling_that_a_gateway_leaves_at_zero_does_not_count() {
        let both = usage(
            UsageFormat::OpenAi,
            &[
                (Count::Prompt, "21"),
                (Count::Completion, "9"),
                (Count::Input, "0"),
                (Count::Output, "0"),
            ],
        );
        assert_eq!(both.unwrap().total_tokens, Some(30));
        let other = usage(
            UsageFormat::OpenAi,
            &[(Count::Prompt, "0"), (Count::Input, "50")],
        );
        assert_eq!(other.unwrap().prompt_tokens, Some(50));
    }

    #[test]
    fn nothing_usable_is_no_usage() {
        assert_eq!(usage(UsageFormat::OpenAi, &[]), None);
        assert_eq!(usage(UsageFormat::OpenAi, &[(Count::Prompt, "-1")]), None);
        assert_eq!(usage(UsageFormat::OpenAi, &[(Count::CacheRead, "3")]), None);
        assert!(usage(UsageFormat::OpenAi, &[(Count::Total, "3")]).is_some());
    }
}
