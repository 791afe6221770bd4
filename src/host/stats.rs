//! Settlements as Envoy stats.

use super::abi::{self, Metric};
use crate::analytics::stats as names;
use crate::exchange::Settlement;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

/// The stats that were used so far. Defined when first needed: Envoy cannot forget a stat, so none is made in vain.
#[derive(Debug, Default)]
pub(super) struct Stats {
    ids: RefCell<HashMap<Series, Option<u32>>>,
    /// The memory as last told.
    memory: Cell<u64>,
}

/// A stat and its labels, as indices: no name is spelt out on the way of a request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Series {
    group: Option<usize>,
    model: usize,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Kind {
    Latency,
    Requests(&'static str),
    TimeToFirstToken,
    Tokens(&'static str),
    Unmatched,
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
        let add = |kind, amount| {
            if let Some(id) = self.id(settlement, kind) {
                abi::increment_metric(id, amount);
            }
        };
        add(Kind::Requests(outcome.name()), 1);
        for (kind, amount) in [
            ("prompt", charged.prompt),
            ("completion", charged.completion),
            ("cached", charged.cached),
            ("reasoning", charged.reasoning),
        ] {
            if amount > 0 {
                add(Kind::Tokens(kind), amount);
            }
        }
        Self::count_store_errors(settlement.store_errors);
        if settlement.unmatched {
            add(Kind::Unmatched, 1);
        }
        if let Some(id) = self.id(settlement, Kind::Latency) {
            abi::record_metric(id, settlement.latency_ms);
        }
        if let Some(ttft) = settlement.ttft_ms
            && let Some(id) = self.id(settlement, Kind::TimeToFirstToken)
        {
            abi::record_metric(id, ttft);
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

    fn id(&self, settlement: &Settlement, kind: Kind) -> Option<u32> {
        let by_model = matches!(kind, Kind::Requests(_) | Kind::Tokens(_));
        let series = Series {
            group: settlement.group_index(),
            model: if by_model {
                settlement.model_index()
            } else {
                0
            },
            kind,
        };
        *self.ids.borrow_mut().entry(series).or_insert_with(|| {
            let (group, model) = (settlement.group_name(), settlement.model_label());
            match kind {
                Kind::Latency => abi::define_metric(Metric::Histogram, &names::latency(group)),
                Kind::Requests(_) => abi::define_metric(
                    Metric::Counter,
                    &names::requests(group, model, settlement.outcome),
                ),
                Kind::TimeToFirstToken => {
                    abi::define_metric(Metric::Histogram, &names::time_to_first_token(group))
                }
                Kind::Unmatched => abi::define_metric(Metric::Counter, &names::unmatched(group)),
                Kind::Tokens(kind) => {
                    abi::define_metric(Metric::Counter, &names::tokens(group, model, kind))
                }
            }
        })
    }
}
