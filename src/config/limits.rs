//! `rate_limits`, in either of its forms.

use super::decode::{Decoder, Fields};
use super::node::{Node, Value};
use super::scalar::MAX_NUMBER;
use crate::limit::{Limit, Unit, Window};

const LIMIT: Fields = Fields {
    known: &["unit", "limit", "per", "window"],
    later: &[],
    secret: false,
};

const RATE_LIMITS: Fields = Fields {
    known: &[
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
        "window",
    ],
    later: &["concurrent_requests"],
    secret: false,
};

const UNITS: [(&str, Unit); 4] = [
    ("requests", Unit::Requests),
    ("tokens", Unit::Tokens),
    ("prompt_tokens", Unit::PromptTokens),
    ("completion_tokens", Unit::CompletionTokens),
];

/// How a window of up to an hour moves.
type Shape = fn(u32) -> Window;

const SHAPES: [(&str, Shape); 2] = [("sliding", Window::Sliding), ("fixed", Window::Fixed)];

const HOUR: u32 = 3600;
const LONGEST_FIXED: u32 = 31 * 24 * HOUR;

/// A group's counters share one record.
const MAX_LIMITS: usize = 24;

pub(super) fn rate_limits(d: &mut Decoder, node: &Node) -> Option<Vec<Limit>> {
    let Value::List(items) = &node.value else {
        return named_limits(d, node);
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

fn named_limits(d: &mut Decoder, node: &Node) -> Option<Vec<Limit>> {
    let map = d.map(node, &RATE_LIMITS)?;
    let shape = d
        .field(&map, "window", |d, node| d.choice(node, &SHAPES))
        .unwrap_or(Window::Sliding);
    // In the order of the reference: Envoy's `Struct` does not keep the author's.
    let limits = RATE_LIMITS.known.iter().filter_map(|name| {
        let (unit, period) = name.rsplit_once("_per_")?;
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let window = period_window(period, shape)?;
        let quota = d.field(&map, name, |d, node| d.number(node, MAX_NUMBER))?;
        Some(Limit {
            unit: *unit,
            window,
            quota,
        })
    });
    Some(limits.collect())
}

fn listed_limit(d: &mut Decoder, node: &Node) -> Option<Limit> {
    let map = d.map(node, &LIMIT)?;
    let unit = d.required(&map, "unit", |d, node| d.choice(node, &UNITS));
    let quota = d.required(&map, "limit", |d, node| d.number(node, MAX_NUMBER));
    let shape = d
        .field(&map, "window", |d, node| d.choice(node, &SHAPES))
        .unwrap_or(Window::Sliding);
    let window = d.required(&map, "per", |d, node| {
        if let Some(window) = period_window(d.text(node)?, shape) {
            return Some(window);
        }
        match shape(d.seconds(node, LONGEST_FIXED)?) {
            Window::Sliding(seconds) if seconds > HOUR => {
                let help = "write `window: fixed`, or `per: day` for calendar days";
                d.error_help(node.span, "a sliding window is at most an hour", help);
                None
            }
            window => Some(window),
        }
    });
    Some(Limit {
        unit: unit?,
        window: window?,
        quota: quota?,
    })
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
