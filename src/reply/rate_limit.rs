//! The three families of rate-limit headers.
//!
//! `standard` is what most gateways send (draft-ietf-httpapi-ratelimit-headers up to 06), `openai` is OpenAI's reference
//! ("Rate limits in headers"), `ietf` is draft-ietf-httpapi-ratelimit-headers-10.

use crate::config::HeaderFamily;
use crate::headers::HeaderEdits;
use crate::json::push_decimal;
use crate::limit::Unit;
use crate::limit::counter::{Counter, Standing};
use std::fmt::{self, Write};
use std::rc::Rc;

/// Prefixes of an upstream's own rate-limit headers: they describe the shared account, which is no caller's business.
const UPSTREAM_PREFIXES: [&[u8]; 3] = [b"x-ratelimit", b"anthropic-ratelimit-", b"ratelimit"];

const OPENAI_REQUESTS: [&str; 3] = [
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
];

const OPENAI_TOKENS: [&str; 3] = [
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
];

/// Whether a field of an upstream's answer describes the shared account's limits.
pub fn is_upstream_limit(name: &[u8]) -> bool {
    // Most names begin with none of their letters.
    matches!(name.first(), Some(b'a' | b'r' | b'x'))
        && UPSTREAM_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// Adds the headers that tell a caller where it stands. `elapsed_ms` since the standings were taken.
pub fn tell(
    families: &[HeaderFamily],
    counters: &[Rc<Counter>],
    standings: &[Standing],
    elapsed_ms: u64,
    edits: &mut HeaderEdits,
) {
    let (requests, tokens) = tightest(standings);
    for family in families {
        match family {
            HeaderFamily::Ietf => ietf(counters, standings, elapsed_ms, edits),
            HeaderFamily::OpenAi => {
                for (names, standing) in [(OPENAI_REQUESTS, requests), (OPENAI_TOKENS, tokens)] {
                    let Some(standing) = standing else { continue };
                    let [limit, remaining, reset] = names;
                    number(edits, limit, standing.limit.quota);
                    number(edits, remaining, standing.remaining);
                    let after = standing.clear_ms.saturating_sub(elapsed_ms);
                    edits.set_to(reset, |text| push_duration(text, after));
                }
            }
            HeaderFamily::Standard => {
                let Some(standing) = requests.or(tokens) else {
                    continue;
                };
                number(edits, "ratelimit-limit", standing.limit.quota);
                number(edits, "ratelimit-remaining", standing.remaining);
                number(
                    edits,
                    "ratelimit-reset",
                    reset_seconds(standing, elapsed_ms),
                );
            }
        }
    }
}

/// Puts a number in.
// In one place: there are half a dozen of them.
#[inline(never)]
fn number(edits: &mut HeaderEdits, name: &'static str, value: u64) {
    edits.set_to(name, |text| push_decimal(text, value));
}

/// The limits with the least remaining fraction: among those of requests, and those of tokens.
fn tightest(standings: &[Standing]) -> (Option<&Standing>, Option<&Standing>) {
    // a/b < c/d as a·d < c·b, in integers, which have room for that; a quota of 0 has nothing left.
    let product = |a: u64, b: u64| u128::from(a).wrapping_mul(b.max(1).into());
    let (mut requests, mut tokens) = (None, None);
    for standing in standings {
        let tightest: &mut Option<&Standing> = match standing.limit.unit {
            Unit::Requests => &mut requests,
            unit if unit.is_tokens() => &mut tokens,
            _ => continue,
        };
        if tightest.is_none_or(|least| {
            product(standing.remaining, least.limit.quota)
                < product(least.remaining, standing.limit.quota)
        }) {
            *tightest = Some(standing);
        }
    }
    (requests, tokens)
}

/// Whole seconds until one more would pass, rounded up; what never passes is said to take a window.
fn reset_seconds(standing: &Standing, elapsed_ms: u64) -> u64 {
    let reset_ms = standing.reset_ms.unwrap_or(super::NEVER_MS);
    reset_ms.saturating_sub(elapsed_ms).div_ceil(1_000)
}

/// As OpenAI writes durations: `12ms`, `1s`, `6m0s`, `1h0m0s`.
fn push_duration(text: &mut Vec<u8>, ms: u64) {
    if ms > 0 && ms < 1_000 {
        push_decimal(text, ms);
        text.extend_from_slice(b"ms");
        return;
    }
    let seconds = ms.div_ceil(1_000);
    if seconds >= 3_600 {
        push_decimal(text, seconds / 3_600);
        text.push(b'h');
    }
    if seconds >= 60 {
        push_decimal(text, seconds / 60 % 60);
        text.push(b'm');
    }
    push_decimal(text, seconds % 60);
    text.push(b's');
}

// Out of the way of those that are written for nearly all.
#[inline(never)]
fn ietf(
    counters: &[Rc<Counter>],
    standings: &[Standing],
    elapsed_ms: u64,
    edits: &mut HeaderEdits,
) {
    let (mut policy, mut state) = (String::new(), String::new());
    for standing in standings {
        let limit = standing.limit;
        let separator = if policy.is_empty() { "" } else { ", " };
        let name = fmt::from_fn(|f| {
            qualify(counters, standing.counter, f)?;
            write!(f, "{}", limit.name())
        });
        // Writing into a `String` cannot fail.
        let _ = write!(policy, "{separator}\"{name}\";q={}", limit.quota);
        let _ = match limit.unit {
            Unit::ConcurrentRequests => policy.write_str(";qu=\"concurrent-requests\""),
            Unit::Requests => write!(policy, ";w={}", limit.window.seconds()),
            _ => write!(policy, ";w={};qu=\"tokens\"", limit.window.seconds()),
        };
        let _ = write!(
            state,
            "{separator}\"{name}\";r={};t={}",
            standing.remaining,
            reset_seconds(standing, elapsed_ms)
        );
    }
    if !policy.is_empty() {
        edits.set("ratelimit-policy", policy);
        edits.set("ratelimit", state);
    }
}

/// What tells the limits of one counter from those of another: nothing for the group's own, which is the first of a group.
fn qualify(counters: &[Rc<Counter>], at: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(counter) = counters.get(at) else {
        return Ok(());
    };
    let scope = counter.descriptor.scope();
    let mut earlier = counters.iter().take(at);
    let first = !earlier.any(|earlier| earlier.descriptor.scope() == scope);
    match (&counter.descriptor.group, scope, first) {
        (_, "consumer_group", true) => Ok(()),
        (Some(group), "consumer_group", false) => write!(f, "{group}."),
        (_, scope, true) => write!(f, "{scope}."),
        (_, scope, false) => write!(f, "{scope}.{at}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::{Descriptor, Limit, Window};

    fn headers(
        families: &[HeaderFamily],
        limits: &[(Unit, u64, u64)],
        elapsed_ms: u64,
    ) -> Vec<(String, String)> {
        let configured: Vec<_> = limits
            .iter()
            .map(|(unit, quota, _)| Limit {
                unit: *unit,
                window: Window::Sliding(60),
                quota: *quota,
            })
            .collect();
        let standings: Vec<_> = (0..)
            .zip(limits)
            .map(|(index, (_, quota, used))| Standing {
                counter: 0,
                limit: configured[index],
                used: *used,
                reserved: 0,
                remaining: quota.saturating_sub(*used),
                reset_ms: Some(if used >= quota { 30_500 } else { 0 }),
                clear_ms: 90_000,
            })
            .collect();
        let mut edits = HeaderEdits::default();
        let descriptor = Descriptor {
            group: Some("a".into()),
            consumer: None,
            models: None,
        };
        let counters = [Rc::new(Counter::new(descriptor, configured))];
        tell(families, &counters, &standings, elapsed_ms, &mut edits);
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        let fields = edits.fields();
        fields
            .map(|(name, value)| (name.to_owned(), text(value)))
            .collect()
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn an_upstreams_limits_are_known_by_their_names() {
        // OpenAI, Anthropic, the drafts, and Mistral.
        for name in [
            "x-ratelimit-reset-tokens",
            "anthropic-ratelimit-input-tokens-limit",
            "ratelimit-policy",
            "ratelimit",
            "x-ratelimitbysize-limit-month",
        ] {
            assert!(is_upstream_limit(name.as_bytes()), "{name}");
        }
        for name in ["retry-after", "x-request-id", "x-rate"] {
            assert!(!is_upstream_limit(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn standard_is_the_tightest_request_limit() {
        let limits = [
            (Unit::Tokens, 100, 100),
            (Unit::Requests, 60, 1),
            (Unit::Requests, 10, 5),
        ];
        let expected = pairs(&[
            ("ratelimit-limit", "10"),
            ("ratelimit-remaining", "5"),
            ("ratelimit-reset", "0"),
        ]);
        assert_eq!(headers(&[HeaderFamily::Standard], &limits, 0), expected);
        let used_up = pairs(&[
            ("ratelimit-limit", "100"),
            ("ratelimit-remaining", "0"),
            ("ratelimit-reset", "30"),
        ]);
        assert_eq!(
            headers(&[HeaderFamily::Standard], &limits[..1], 600),
            used_up
        );
        assert_eq!(headers(&[HeaderFamily::Standard], &[], 0), []);
    }

    #[test]
    fn openai_has_requests_and_tokens() {
        let limits = [(Unit::Tokens, 100, 40), (Unit::Requests, 60, 1)];
        let expected = pairs(&[
            ("x-ratelimit-limit-requests", "60"),
            ("x-ratelimit-remaining-requests", "59"),
            ("x-ratelimit-reset-requests", "1m30s"),
            ("x-ratelimit-limit-tokens", "100"),
            ("x-ratelimit-remaining-tokens", "60"),
            ("x-ratelimit-reset-tokens", "1m30s"),
        ]);
        assert_eq!(headers(&[HeaderFamily::OpenAi], &limits, 0), expected);
        assert_eq!(
            [0, 12, 1_000, 1_001, 360_000, 3_600_000].map(|ms| {
                let mut text = Vec::new();
                push_duration(&mut text, ms);
                text
            }),
            ["0s", "12ms", "1s", "2s", "6m0s", "1h0m0s"].map(str::as_bytes)
        );
    }

    #[test]
    fn ietf_names_every_limit() {
        let limits = [(Unit::Requests, 60, 60), (Unit::Tokens, 100, 40)];
        let expected = pairs(&[
            (
                "ratelimit-policy",
                "\"requests_per_minute\";q=60;w=60, \"tokens_per_minute\";q=100;w=60;qu=\"tokens\"",
            ),
            (
                "ratelimit",
                "\"requests_per_minute\";r=0;t=31, \"tokens_per_minute\";r=60;t=0",
            ),
        ]);
        assert_eq!(headers(&[HeaderFamily::Ietf], &limits, 0), expected);
    }
}
