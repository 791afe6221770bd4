//! Sums over events: whole numbers only.

use super::super::log;
use crate::spend::usd;
use serde::Deserialize;
use serde_json::{Number, Value};
use std::collections::BTreeMap;

/// What of an event matters here.
#[derive(Deserialize)]
pub(super) struct Line {
    pub(super) time: String,
    pub(super) consumer_group: Option<String>,
    pub(super) consumer: Option<String>,
    pub(super) key_id: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) model: Option<String>,
    #[serde(default)]
    pub(super) features: Vec<String>,
    result: String,
    cost_usd: Option<f64>,
    usage: Usage,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(rename = "prompt_tokens")]
    prompt: u64,
    #[serde(rename = "completion_tokens")]
    completion: u64,
    #[serde(rename = "total_tokens")]
    total: u64,
}

impl Line {
    /// The day in UTC.
    pub(super) fn day(&self) -> &str {
        self.time.get(..10).unwrap_or_default()
    }

    /// In millionths of a dollar: whole numbers, of which no sum is off.
    fn cost(&self) -> u64 {
        self.cost_usd.map_or(0, log::micro_usd)
    }
}

/// What some events add up to.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    pub(super) requests: u64,
    pub(super) blocked: u64,
    pub(super) errors: u64,
    pub(super) prompt: u64,
    pub(super) completion: u64,
    pub(super) total: u64,
    /// In millionths of a dollar.
    pub(super) cost: u64,
}

impl Totals {
    fn add(&mut self, line: &Line) {
        let Usage {
            prompt,
            completion,
            total,
        } = line.usage;
        for (sum, amount) in [
            (&mut self.requests, 1),
            (&mut self.blocked, u64::from(line.result == "blocked")),
            (&mut self.errors, u64::from(line.result == "error")),
            (&mut self.prompt, prompt),
            (&mut self.completion, completion),
            (&mut self.total, total),
            (&mut self.cost, line.cost()),
        ] {
            *sum = sum.saturating_add(amount);
        }
    }

    /// Millionths of a dollar for a thousand tokens; `None` where there were none.
    pub(super) fn per_1k(&self) -> Option<u64> {
        self.cost.saturating_mul(1_000).checked_div(self.total)
    }

    pub(super) fn dollars(&self) -> Value {
        number(self.cost)
    }

    pub(super) fn dollars_per_1k(&self) -> Value {
        self.per_1k().map_or(Value::Null, number)
    }
}

fn number(micro: u64) -> Value {
    usd(micro)
        .parse::<Number>()
        .map_or(Value::Null, Value::Number)
}

/// Sums by names, and by day.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) all: Totals,
    pub(super) days: BTreeMap<String, Totals>,
    names: BTreeMap<Vec<String>, Totals>,
}

impl Sums {
    pub(super) fn add(&mut self, line: &Line, names: Vec<Vec<String>>) {
        self.all.add(line);
        self.days
            .entry(line.day().to_owned())
            .or_default()
            .add(line);
        for name in names {
            self.names.entry(name).or_default().add(line);
        }
    }

    /// By names: one of each kind that is added up by.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&[String], &Totals)> {
        self.names
            .iter()
            .map(|(names, row)| (names.as_slice(), row))
    }
}
