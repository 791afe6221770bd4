//! What a scope may use up: `rate_limits` in either of its forms, for all of it, for each consumer, for some models.

use super::decode::{Decoder, Fields, Map};
use super::node::{Node, Value};
use super::scalar::MAX_NUMBER;
use super::spend;
use crate::limit::{Limit, Unit, Window};

/// The limits that a scope sets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScopeLimits {
    /// `rate_limits`: one counter for all of the scope.
    pub rate_limits: Vec<Limit>,
    /// `consumer_rate_limits`: one counter for each of its consumers.
    pub consumer_rate_limits: Vec<Limit>,
    /// `model_rate_limits[]`: a further counter for some of its models.
    pub model_rate_limits: Option<Vec<ModelLimits>>,
}

/// One entry of `model_rate_limits`.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelLimits {
    /// Exact names or globs.
    pub models: Vec<String>,
    /// `rate_limits`.
    pub rate_limits: Vec<Limit>,
}

pub(super) const LIMIT: Fields = Fields {
    known: &["unit", "limit", "per", "window"],
    ..Fields::NONE
};

/// The members of `rate_limits`; first those that a period can be read out of.
pub(super) const NAMES: &[&str] = &[
    "requests_per_second",
    "requests_per_minute",
    "requests_per_hour",
    "requests_per_day",
    "requests_per_month",
    "tokens_per_second",
    "tokens_per_minute",
    "tokens_per_hour",
    "tokens_per_day",
    "tokens_per_month",
    "prompt_tokens_per_second",
    "prompt_tokens_per_minute",
    "prompt_tokens_per_hour",
    "prompt_tokens_per_day",
    "prompt_tokens_per_month",
    "completion_tokens_per_second",
    "completion_tokens_per_minute",
    "completion_tokens_per_hour",
    "completion_tokens_per_day",
    "completion_tokens_per_month",
    "concurrent_requests",
    "window",
];

pub(super) const RATE_LIMITS: Fields = Fields {
    known: NAMES,
    ..Fields::NONE
};

/// What can have been counted before: not what is under way; and what can have been spent.
pub(super) const COUNTED: Fields = Fields {
    known: &{
        let mut names = [""; 24];
        let (counted, spent) = names.split_at_mut(20);
        counted.copy_from_slice(NAMES.split_at(20).0);
        spent.copy_from_slice(&SPENT);
        names
    },
    ..Fields::NONE
};

/// Budgets, by the names that answers give them.
const SPENT: [&str; 4] = [
    "budget_per_day",
    "budget_per_week",
    "budget_per_month",
    "budget_total",
];

pub(super) const MODEL_LIMITS: Fields = Fields {
    known: &["models", "rate_limits"],
    inner: ("rate_limits", NAMES),
    ..Fields::NONE
};

pub(super) const UNITS: [(&str, Unit); 5] = [
    ("requests", Unit::Requests),
    ("tokens", Unit::Tokens),
    ("prompt_tokens", Unit::PromptTokens),
    ("completion_tokens", Unit::CompletionTokens),
    ("concurrent_requests", Unit::ConcurrentRequests),
];

/// How a window of up to an hour moves.
pub(super) type Shape = fn(u32) -> Window;

pub(super) const SHAPES: [(&str, Shape); 2] =
    [("sliding", Window::Sliding), ("fixed", Window::Fixed)];

const HOUR: u32 = 3600;
const LONGEST_FIXED: u32 = 31 * 24 * HOUR;

/// An owner's counters share one record.
pub(super) const MAX_LIMITS: usize = 24;

/// The three members that every scope can have.
pub(super) fn scope(d: &mut Decoder, map: &Map<'_>) -> ScopeLimits {
    ScopeLimits {
        rate_limits: d.field(map, "rate_limits", rate_limits).unwrap_or_default(),
        consumer_rate_limits: d
            .field(map, "consumer_rate_limits", rate_limits)
            .unwrap_or_default(),
        model_rate_limits: d.field(map, "model_rate_limits", model_rate_limits),
    }
}

fn model_rate_limits(d: &mut Decoder, node: &Node) -> Option<Vec<ModelLimits>> {
    // As their counters are told apart.
    let mut seen: Vec<String> = Vec::new();
    d.list(node, |d, item| {
        let map = d.map(item, &MODEL_LIMITS)?;
        let models = d.required(&map, "models", |d, node| {
            let models = models(d, node)?;
            let joined = models.join(",");
            if seen.contains(&joined) {
                d.error(node.span, "another entry of this list has these models");
            }
            seen.push(joined);
            Some(models)
        });
        let rate_limits = d.required(&map, "rate_limits", rate_limits);
        Some(ModelLimits {
            models: models?,
            rate_limits: rate_limits?,
        })
    })
}

/// Those of one counter: some.
pub(super) fn models(d: &mut Decoder, node: &Node) -> Option<Vec<String>> {
    let models = d.texts(node, &mut Decoder::model_glob)?;
    if models.is_empty() {
        d.error(node.span, "is empty");
    }
    Some(models)
}

pub(super) fn rate_limits(d: &mut Decoder, node: &Node) -> Option<Vec<Limit>> {
    let Value::List(items) = &node.value else {
        let map = d.map(node, &RATE_LIMITS)?;
        return Some(named_limits(d, &map, RATE_LIMITS.known));
    };
    if items.len() > MAX_LIMITS {
        d.error(node.span, format!("at most {MAX_LIMITS} limits"));
    }
    let mut seen = Vec::new();
    d.list(node, |d, item| {
        let limit = listed_limit(d, item)?;
        let counted = (limit.unit, limit.window.seconds());
        if seen.contains(&counted) {
            d.error(item.span, format!("a second limit on {}", limit.name()));
        }
        seen.push(counted);
        Some(limit)
    })
}

/// Whether what a limit has counted can be said by its name.
#[cfg(feature = "cli")]
pub(crate) fn is_counted(name: &str) -> bool {
    COUNTED.known.contains(&name)
}

/// How much was used, by the names of the limits that would have counted it.
pub(super) fn counted(d: &mut Decoder, node: &Node) -> Option<Vec<Limit>> {
    let map = d.map(node, &COUNTED)?;
    let mut counted = named_limits(d, &map, COUNTED.known);
    let windows = [Window::Day, Window::Week, Window::Month, Window::Total];
    for (name, window) in SPENT.into_iter().zip(windows) {
        let spent = d.field(&map, name, spend::usd);
        counted.extend(spent.map(|quota| Limit {
            unit: Unit::Cost,
            window,
            quota,
        }));
    }
    Some(counted)
}

fn named_limits(d: &mut Decoder, map: &Map<'_>, names: &[&str]) -> Vec<Limit> {
    let shape = d
        .field(map, "window", |d, node| d.choice(node, &SHAPES))
        .unwrap_or(Window::Sliding);
    // In the order of the reference: Envoy's `Struct` does not keep the author's.
    let limits = names.iter().filter_map(|name| {
        let (unit, window) = match name.rsplit_once("_per_") {
            Some((unit, period)) => (unit, period_window(period, shape)?),
            None => (*name, Window::InFlight),
        };
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let quota = d.field(map, name, |d, node| quota(d, node, *unit))?;
        Some(Limit {
            unit: *unit,
            window,
            quota,
        })
    });
    limits.collect()
}

fn listed_limit(d: &mut Decoder, node: &Node) -> Option<Limit> {
    let map = d.map(node, &LIMIT)?;
    let unit = d.required(&map, "unit", |d, node| d.choice(node, &UNITS));
    let quota = d.required(&map, "limit", |d, node| {
        quota(d, node, unit.unwrap_or(Unit::Requests))
    });
    if unit == Some(Unit::ConcurrentRequests) {
        for name in ["per", "window"] {
            if let Some(node) = map.get(name) {
                d.within(name, |d| {
                    d.error(node.span, "requests under way have no window");
                });
            }
        }
        return Some(Limit {
            unit: Unit::ConcurrentRequests,
            window: Window::InFlight,
            quota: quota?,
        });
    }
    let shape = d
        .field(&map, "window", |d, node| d.choice(node, &SHAPES))
        .unwrap_or(Window::Sliding);
    let window = d.required(&map, "per", |d, node| window(d, node, shape));
    Some(Limit {
        unit: unit?,
        window: window?,
        quota: quota?,
    })
}

fn quota(d: &mut Decoder, node: &Node, unit: Unit) -> Option<u64> {
    let quota = d.number(node, MAX_NUMBER)?;
    if d.envoy_limits && unit != Unit::ConcurrentRequests && quota > u32::MAX.into() {
        let help = format!("at most {}, or `dialect: kuadrant`", u32::MAX);
        d.error_help(node.span, "too large for Envoy's rate-limit protocol", help);
    }
    Some(quota)
}

fn window(d: &mut Decoder, node: &Node, shape: Shape) -> Option<Window> {
    if let Some(window) = period_window(d.text(node)?, shape) {
        return Some(window);
    }
    let seconds = d.seconds(node, LONGEST_FIXED)?;
    let window = shape(seconds);
    if seconds > HOUR && matches!(window, Window::Sliding(_)) {
        let help = "write `window: fixed`, or `per: day` for calendar days";
        d.error_help(node.span, "a sliding window is at most an hour", help);
        return None;
    }
    if d.envoy_limits && ![1, 60, HOUR].contains(&seconds) {
        let help = "second, minute, hour, day or month, or `dialect: kuadrant`";
        d.error_help(
            node.span,
            "Envoy's rate-limit protocol has no such window",
            help,
        );
    }
    Some(window)
}

fn period_window(period: &str, shape: Shape) -> Option<Window> {
    match period {
        "second" => Some(shape(1)),
        "minute" => Some(shape(60)),
        "hour" => Some(shape(HOUR)),
        "day" => Some(Window::Day),
        "month" => Some(Window::Month),
        _ => None,
    }
}
