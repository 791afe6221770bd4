//! The arithmetic of limits: what a window holds, what one more would do, when it frees.

/// One limit as configured.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limit {
    /// What is counted.
    pub unit: Unit,
    /// Over which time.
    pub window: Window,
    /// How much of it.
    pub quota: u64,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unit {
    /// Output tokens, reasoning included.
    CompletionTokens,
    /// Input tokens, cached ones included.
    PromptTokens,
    /// Admitted requests.
    Requests,
    /// Input and output tokens.
    Tokens,
}

/// The time over which a limit counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Window {
    /// A calendar day in the configured time zone.
    Day,
    /// Aligned to the epoch, starts empty each time; seconds.
    Fixed(u32),
    /// A calendar month in the configured time zone.
    Month,
    /// Two aligned buckets, the previous one's share rounded up; seconds, at most an hour.
    Sliding(u32),
}
