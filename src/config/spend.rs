//! `pricing`, `budgets`, `unpriced`: what tokens cost, and how much may be spent.

use super::decode::{Decoder, Fields, Map};
use super::node::{Node, Value};
use crate::json::decimal;
use crate::limit::counter::Budget;
use crate::limit::{Limit, Unit, Window};
use crate::spend::Price;

/// What a scope says of money.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spend {
    /// `pricing`: model globs and prices, in file order.
    pub pricing: Option<Vec<(String, Price)>>,
    /// `budgets[]`
    pub budgets: Option<Vec<Budget>>,
    /// `unpriced`
    pub unpriced: Option<Unpriced>,
}

/// `unpriced`: what becomes of a model without a price where there is a budget.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Unpriced {
    /// It may be used, at no cost.
    Allow,
    /// It may not be used.
    #[default]
    Deny,
}

/// Millionths of a dollar.
const MICRO: f64 = 1_000_000.0;

/// In dollars; far below where sums could overflow, and within what a double holds to the millionth.
const MAX_USD: f64 = 1_000_000_000.0;

pub(super) const PRICE: Fields = Fields {
    known: &[
        "input_per_million",
        "cached_input_per_million",
        "cache_write_per_million",
        "output_per_million",
    ],
    ..Fields::NONE
};

pub(super) const BUDGET: Fields = Fields {
    known: &["amount_usd", "per", "on_exceeded", "alert_at"],
    ..Fields::NONE
};

pub(super) const PERIODS: [(&str, Window); 4] = [
    ("day", Window::Day),
    ("week", Window::Week),
    ("month", Window::Month),
    ("total", Window::Total),
];

/// `on_exceeded`, and whether it refuses.
pub(super) const REACTIONS: [(&str, bool); 2] = [("block", true), ("alert", false)];

pub(super) const UNPRICED: [(&str, Unpriced); 2] =
    [("allow", Unpriced::Allow), ("deny", Unpriced::Deny)];

const ALERT_AT: [u32; 2] = [800, 1_000];

/// The three members that every scope can have.
pub(super) fn spend(d: &mut Decoder, map: &Map<'_>) -> Spend {
    Spend {
        pricing: d.field(map, "pricing", pricing),
        budgets: d.field(map, "budgets", budgets),
        unpriced: d.field(map, "unpriced", |d, node| d.choice(node, &UNPRICED)),
    }
}

fn pricing(d: &mut Decoder, node: &Node) -> Option<Vec<(String, Price)>> {
    let members = d.free_map(node)?;
    let prices = members.iter().filter_map(|member| {
        d.within(&member.key, |d| {
            if member.key.is_empty() {
                d.error(member.key_span, "must name models");
            }
            Some((member.key.clone(), price(d, &member.node)?))
        })
    });
    Some(prices.collect())
}

fn price(d: &mut Decoder, node: &Node) -> Option<Price> {
    let map = d.map(node, &PRICE)?;
    let input = d.required(&map, "input_per_million", usd);
    let cached_input = d.field(&map, "cached_input_per_million", usd);
    let cache_write = d.field(&map, "cache_write_per_million", usd);
    let output = d.required(&map, "output_per_million", usd);
    let input = input?;
    Some(Price {
        input,
        cached_input: cached_input.unwrap_or(input),
        cache_write: cache_write.unwrap_or(input),
        output: output?,
    })
}

pub(super) fn budgets(d: &mut Decoder, node: &Node) -> Option<Vec<Budget>> {
    let mut seen: Vec<Window> = Vec::new();
    d.list(node, |d, item| {
        let map = d.map(item, &BUDGET)?;
        let quota = d.required(&map, "amount_usd", usd);
        let window = d.required(&map, "per", |d, node| {
            let window = d.choice(node, &PERIODS)?;
            if seen.contains(&window) {
                d.error(node.span, "another budget of this list has this period");
            }
            seen.push(window);
            Some(window)
        });
        let blocks = d.field(&map, "on_exceeded", |d, node| d.choice(node, &REACTIONS));
        let alert_at = d.field(&map, "alert_at", |d, node| d.list(node, share));
        Some(Budget {
            limit: Limit {
                unit: Unit::Cost,
                window: window?,
                quota: quota?,
            },
            blocks: blocks.unwrap_or(true),
            alert_at: alert_at.unwrap_or_else(|| ALERT_AT.into()),
        })
    })
}

/// An amount of dollars, in millionths.
pub(super) fn usd(d: &mut Decoder, node: &Node) -> Option<u64> {
    let value = number(d, node, "an amount in US dollars, like `12.5`")?;
    if !(0.0..=MAX_USD).contains(&value) {
        d.error_help(node.span, "out of range", "from 0 to 1000000000");
        return None;
    }
    let micro = (value * MICRO).round();
    if (micro - value * MICRO).abs() > 0.001 {
        d.error(node.span, "is not a whole number of millionths of a dollar");
    }
    Some(whole(micro))
}

/// A part of the whole, in thousandths.
fn share(d: &mut Decoder, node: &Node) -> Option<u32> {
    let value = number(d, node, "a share of the budget, like `0.8`")?;
    if !(0.001..=1.0).contains(&value) {
        d.error_help(node.span, "out of range", "from 0.001 to 1");
        return None;
    }
    u32::try_from(whole((value * 1_000.0).round())).ok()
}

fn number(d: &mut Decoder, node: &Node, what: &str) -> Option<f64> {
    let value = match &node.value {
        Value::Float(value) => Some(*value),
        #[expect(
            clippy::cast_precision_loss,
            reason = "what is so large is out of range"
        )]
        Value::Integer(value) => Some(*value as f64),
        Value::Text(text) if is_decimal(text) => Some(decimal(text)),
        _ => None,
    };
    if value.is_none() {
        d.expected(node, what);
    }
    value
}

fn is_decimal(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(text),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the callers have held it to a range of whole numbers"
)]
const fn whole(value: f64) -> u64 {
    value as u64
}
