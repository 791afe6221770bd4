//! The arithmetic of limits: what a window holds, what one more would do, when it frees.
//!
//! Counters live in shared data, one record an owner, and are changed by compare-and-swap, so that all workers of one
//! Envoy count together. Knows nothing of groups, requests or headers.

pub mod counter;
mod descriptor;
pub mod failed_auth;
pub mod holds;
pub mod readout;
mod record;
pub mod seed;
mod shared_data;
pub mod unlisted;
mod window;
pub mod written;

pub use descriptor::Descriptor;
#[cfg(test)]
pub(crate) use shared_data::fake;
pub use shared_data::{Cas, CasMismatch, Contended, SharedData};
pub(crate) use shared_data::{Change, update};
pub use window::Clock;

use std::fmt;

/// One limit as configured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limit {
    /// What is counted.
    pub unit: Unit,
    /// Over which time.
    pub window: Window,
    /// How much of it.
    pub quota: u64,
}

impl Limit {
    /// What configurations and answers call it: `requests_per_minute`, `tokens_per_90s`.
    pub fn name(&self) -> impl fmt::Display + use<> {
        let limit = *self;
        fmt::from_fn(move |f| {
            let mut name = String::new();
            limit.push_name(&mut name);
            f.write_str(&name)
        })
    }

    /// Appends that, without what formatting takes: a request to a rate-limit service names every limit.
    pub fn push_name(&self, text: &mut String) {
        text.push_str(self.unit.name());
        match self.window {
            Window::InFlight => return,
            Window::Total => text.push('_'),
            _ => text.push_str("_per_"),
        }
        match self.window.name() {
            Ok(name) => text.push_str(name),
            Err(_) => text.push_str(&self.window.to_string()),
        }
    }

    /// Whether both count the same, over as long a time.
    pub fn same_count(&self, other: &Self) -> bool {
        self.unit == other.unit && self.window.seconds() == other.window.seconds()
    }
}

impl Unit {
    /// Whether it is one of the three kinds of tokens.
    pub const fn is_tokens(self) -> bool {
        matches!(
            self,
            Self::CompletionTokens | Self::PromptTokens | Self::Tokens
        )
    }

    /// Whether it is known only when the answer is, and reserved until then.
    pub const fn is_settled(self) -> bool {
        self.is_tokens() || matches!(self, Self::Cost)
    }
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unit {
    /// Output tokens, reasoning included.
    CompletionTokens,
    /// Requests under way.
    ConcurrentRequests,
    /// Millionths of a US dollar.
    Cost,
    /// Input tokens, cached ones included.
    PromptTokens,
    /// Admitted requests.
    Requests,
    /// Input and output tokens.
    Tokens,
}

impl Unit {
    /// What configurations and descriptors call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CompletionTokens => "completion_tokens",
            Self::ConcurrentRequests => "concurrent_requests",
            Self::Cost => "budget",
            Self::PromptTokens => "prompt_tokens",
            Self::Requests => "requests",
            Self::Tokens => "tokens",
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The time over which a limit counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Window {
    /// A calendar day in the configured time zone.
    Day,
    /// Aligned to the epoch, starts empty each time; seconds.
    Fixed(u32),
    /// As long as the request lives; only of concurrent requests.
    InFlight,
    /// A calendar month in the configured time zone.
    Month,
    /// Two aligned buckets, the previous one's share rounded up; seconds, at most an hour.
    Sliding(u32),
    /// For ever.
    Total,
    /// A calendar week in the configured time zone, from Monday on.
    Week,
}

impl Window {
    /// Its length, as headers state it; a month counts 30 days there.
    pub const fn seconds(self) -> u32 {
        match self {
            Self::Day => 86_400,
            Self::Fixed(seconds) | Self::Sliding(seconds) => seconds,
            Self::InFlight => 0,
            Self::Month => 30 * 86_400,
            Self::Total => u32::MAX,
            Self::Week => 7 * 86_400,
        }
    }

    /// Its name, or how many seconds it has where it has none.
    const fn name(self) -> Result<&'static str, u32> {
        Ok(match self {
            Self::Day => "day",
            Self::Fixed(1) | Self::Sliding(1) => "second",
            Self::Fixed(60) | Self::Sliding(60) => "minute",
            Self::Fixed(3600) | Self::Sliding(3600) => "hour",
            Self::Fixed(seconds) | Self::Sliding(seconds) => return Err(seconds),
            Self::InFlight => "flight",
            Self::Month => "month",
            Self::Total => "total",
            Self::Week => "week",
        })
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Ok(name) => f.write_str(name),
            Err(seconds) => write!(f, "{seconds}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_called_what_the_configuration_calls_it() {
        let cases = [
            (Unit::Requests, Window::Sliding(1), "requests_per_second"),
            (Unit::Requests, Window::Sliding(60), "requests_per_minute"),
            (Unit::Requests, Window::Fixed(60), "requests_per_minute"),
            (Unit::Requests, Window::Sliding(90), "requests_per_90s"),
            (
                Unit::PromptTokens,
                Window::Fixed(3600),
                "prompt_tokens_per_hour",
            ),
            (
                Unit::CompletionTokens,
                Window::Month,
                "completion_tokens_per_month",
            ),
            (
                Unit::ConcurrentRequests,
                Window::InFlight,
                "concurrent_requests",
            ),
            (Unit::Cost, Window::Week, "budget_per_week"),
            (Unit::Cost, Window::Total, "budget_total"),
            (Unit::Tokens, Window::Day, "tokens_per_day"),
            (Unit::Tokens, Window::Fixed(86_400), "tokens_per_86400s"),
        ];
        for (unit, window, name) in cases {
            assert_eq!(
                Limit {
                    unit,
                    window,
                    quota: 1
                }
                .name()
                .to_string(),
                name
            );
        }
    }
}
