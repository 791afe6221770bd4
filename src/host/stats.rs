//! Settlements as Envoy stats.

use super::abi::{self, Metric};
use crate::analytics::{Outcome, stats as names};
use crate::credential::KeyDigest;
use crate::exchange::Settlement;
use crate::limit::counter::{Counter, standings};
use crate::limit::{Limit, SharedData};
use crate::policy::Policy;
use crate::time::Timestamp;
use std::cell::{Cell, RefCell};

/// The stats that were used so far. Defined when first needed: Envoy cannot forget a stat, so none is made in vain.
#[derive(Debug, Default)]
pub(super) struct Stats {
    /// By group, first those of none, and by model: no name is spelt out on the way of a request.
    series: RefCell<Vec<Vec<Series>>>,
    /// Of refusals, by group and code: of both there are few.
    refused: RefCell<Vec<Refused>>,
    /// The memory as last told.
    memory: Cell<u64>,
    /// Gauges of limits, by the positions of their counter and in it, and what they show.
    limits: RefCell<Vec<Gauge>>,
}

#[derive(Debug)]
struct Gauge {
    of: (usize, usize),
    id: Option<u32>,
    shown: u64,
}

/// A group's position, a code, and the number of their stat.
type Refused = (usize, &'static str, Option<u32>);

/// The numbers of a group's stats for a model, by [`Kind`]; the inner `None` is a stat that Envoy did not define.
type Series = [Option<Option<u32>>; Kind::COUNT];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Alerts,
    Cost,
    Latency,
    Requests(Outcome),
    SharedCounters,
    TimeToFirstToken,
    Tokens(Token),
    Unmatched,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Token {
    Prompt,
    Completion,
    Cached,
    Reasoning,
}

impl Kind {
    const COUNT: usize = 14;

    const fn position(self) -> usize {
        match self {
            Self::Latency => 0,
            Self::Unmatched => 1,
            Self::TimeToFirstToken => 2,
            Self::Requests(Outcome::Allowed) => 3,
            Self::Requests(Outcome::Blocked) => 4,
            Self::Requests(Outcome::Error) => 5,
            Self::Requests(Outcome::Flagged) => 6,
            Self::Tokens(Token::Prompt) => 7,
            Self::Tokens(Token::Completion) => 8,
            Self::Tokens(Token::Cached) => 9,
            Self::Tokens(Token::Reasoning) => 10,
            Self::Alerts => 11,
            Self::Cost => 12,
            Self::SharedCounters => 13,
        }
    }
}

impl Token {
    const fn name(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Completion => "completion",
            Self::Cached => "cached",
            Self::Reasoning => "reasoning",
        }
    }
}

impl Stats {
    /// Tells how much memory the VM holds, if it grew: a look costs nothing, a word to Envoy does.
    pub(super) fn tell_memory(&self) {
        let memory = abi::memory_bytes();
        if memory != self.memory.replace(memory)
            && let Some(id) = abi::define_metric(Metric::Gauge, names::MEMORY)
        {
            abi::record_metric(id, memory);
        }
    }

    /// Counts one settled request.
    pub(super) fn count(&self, settlement: &Settlement) {
        let outcome = settlement.outcome;
        let charged = settlement.charged;
        let mut series = self.series.borrow_mut();
        let Some(group) = entry(&mut series, group_position(settlement)) else {
            return;
        };
        let mut add = |kind, amount| {
            if let Some(id) = id(group, settlement, kind) {
                abi::increment_metric(id, amount);
            }
        };
        add(Kind::Requests(outcome), 1);
        if let Some(code) = settlement.refusal {
            self.refuse(settlement, code);
        }
        for (kind, amount) in [
            (Token::Prompt, charged.prompt),
            (Token::Completion, charged.completion),
            (Token::Cached, charged.cached),
            (Token::Reasoning, charged.reasoning),
        ] {
            if amount > 0 {
                add(Kind::Tokens(kind), amount);
            }
        }
        if charged.cost > 0 {
            add(Kind::Cost, charged.cost);
        }
        if settlement.alerts > 0 {
            add(Kind::Alerts, settlement.alerts as u64);
        }
        Self::count_store_errors(settlement.store_errors);
        if settlement.unmatched {
            add(Kind::Unmatched, 1);
        }
        if settlement.shares_counters {
            add(Kind::SharedCounters, 1);
        }
        if let Some(id) = id(group, settlement, Kind::Latency) {
            abi::record_metric(id, settlement.latency_ms);
        }
        if let Some(ttft) = settlement.ttft_ms
            && let Some(id) = id(group, settlement, Kind::TimeToFirstToken)
        {
            abi::record_metric(id, ttft);
        }
    }

    /// Tells how much of each limit is used, of counters that have counted something.
    pub(super) fn tell_limits(&self, policy: &Policy, shared: &impl SharedData, now: Timestamp) {
        let mut gauges = self.limits.borrow_mut();
        for (at, counter) in policy.shared_counters().enumerate() {
            let Some(record) = shared.get(&counter.record).0 else {
                continue;
            };
            let standings = standings(counter, Some(record), policy.clock(now));
            for (place, standing) in standings.into_iter().enumerate() {
                let used = standing.used.saturating_add(standing.reserved);
                let of = (at, place);
                let gauge = match gauges.binary_search_by(|gauge| gauge.of.cmp(&of)) {
                    Ok(known) => gauges.get_mut(known),
                    Err(new) => {
                        gauges.insert(new, define_limit(counter, &standing.limit, of));
                        gauges.get_mut(new)
                    }
                };
                // Other workers write the same gauge; what this one has shown stands unless it has changed.
                if let Some(Gauge {
                    id: Some(id),
                    shown,
                    ..
                }) = gauge
                    && *shown != used
                {
                    *shown = used;
                    abi::record_metric(*id, used);
                }
            }
        }
    }

    fn refuse(&self, settlement: &Settlement, code: &'static str) {
        let of = group_position(settlement);
        let mut refused = self.refused.borrow_mut();
        let mut known = refused.iter();
        let known = known.find(|(group, known, _)| (*group, *known) == (of, code));
        let id = if let Some((.., id)) = known {
            *id
        } else {
            let name = names::refused(settlement.group_name(), code);
            let id = abi::define_metric(Metric::Counter, &name);
            refused.push((of, code, id));
            id
        };
        if let Some(id) = id {
            abi::increment_metric(id, 1);
        }
    }

    /// Which configuration it is, by the bytes that it was handed over in.
    pub(super) fn version(document: &[u8]) -> u32 {
        let [a, b, c, d, ..] = KeyDigest::of(document).0;
        u32::from_be_bytes([a, b, c, d])
    }

    /// Tells which one is in force.
    pub(super) fn tell_version(version: u32) {
        if let Some(id) = abi::define_metric(Metric::Gauge, names::CONFIG_VERSION) {
            abi::record_metric(id, version.into());
        }
    }

    /// Counts what could not be counted.
    pub(super) fn count_store_errors(errors: u32) {
        if errors > 0
            && let Some(id) = abi::define_metric(Metric::Counter, names::STORE_ERRORS)
        {
            abi::increment_metric(id, errors.into());
        }
    }
}

/// The number of a stat of a settlement's group, whose series these are.
fn id(group: &mut Vec<Series>, settlement: &Settlement, kind: Kind) -> Option<u32> {
    let by_model = matches!(kind, Kind::Cost | Kind::Requests(_) | Kind::Tokens(_));
    let model = if by_model {
        settlement.model_index()
    } else {
        0
    };
    *entry(group, model)?
        .get_mut(kind.position())?
        .get_or_insert_with(|| define(settlement, kind))
}

fn define_limit(counter: &Counter, limit: &Limit, of: (usize, usize)) -> Gauge {
    let group = counter.descriptor.group.as_deref();
    let quota = names::limit_quota(group, limit.name());
    if let Some(id) = abi::define_metric(Metric::Gauge, &quota) {
        abi::record_metric(id, limit.quota);
    }
    let used = names::limit_used(group, limit.name());
    Gauge {
        of,
        id: abi::define_metric(Metric::Gauge, &used),
        shown: u64::MAX,
    }
}

/// The group's place among the series: behind those of no group.
fn group_position(settlement: &Settlement) -> usize {
    let group = settlement.group_index();
    group.map_or(0, |index| index.saturating_add(1))
}

/// The entry at an index. Both indices come from the configuration, which bounds them.
fn entry<T: Default>(list: &mut Vec<T>, index: usize) -> Option<&mut T> {
    if list.len() <= index {
        list.resize_with(index.saturating_add(1), T::default);
    }
    list.get_mut(index)
}

fn define(settlement: &Settlement, kind: Kind) -> Option<u32> {
    let (group, model) = (settlement.group_name(), settlement.model_label());
    match kind {
        Kind::Alerts => abi::define_metric(Metric::Counter, &names::alerts(group)),
        Kind::Cost => abi::define_metric(Metric::Counter, &names::cost(group, model)),
        Kind::Latency => abi::define_metric(Metric::Histogram, &names::latency(group)),
        Kind::Requests(outcome) => {
            abi::define_metric(Metric::Counter, &names::requests(group, model, outcome))
        }
        Kind::SharedCounters => abi::define_metric(Metric::Counter, &names::shared_counters(group)),
        Kind::Unmatched => abi::define_metric(Metric::Counter, &names::unmatched(group)),
        Kind::TimeToFirstToken => {
            abi::define_metric(Metric::Histogram, &names::time_to_first_token(group))
        }
        Kind::Tokens(token) => {
            abi::define_metric(Metric::Counter, &names::tokens(group, model, token.name()))
        }
    }
}
