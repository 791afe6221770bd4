//! Before and after, added up.

use super::past::{Fate, Request};
use crate::time::Timestamp;
use std::collections::BTreeMap;

/// What became of a request under the other policy.
pub(super) struct Outcome {
    pub(super) fate: Fate,
    /// The limit that it was refused for.
    pub(super) limit: Option<String>,
    pub(super) group: Option<String>,
    pub(super) tokens: u64,
    /// In millionths of a US dollar.
    pub(super) cost: u64,
}

/// What some requests come to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Side {
    pub(super) requests: u64,
    pub(super) passed: u64,
    /// Of those that passed: only for shadow mode.
    pub(super) spared: u64,
    pub(super) refused: u64,
    pub(super) failed: u64,
    pub(super) tokens: u64,
    pub(super) cost: u64,
}

/// Before and after.
pub(super) type Both = [Side; 2];

/// One way in which requests fare differently.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Change {
    pub(super) group: String,
    pub(super) model: String,
    pub(super) before: Fate,
    pub(super) after: Fate,
    pub(super) limit: Option<String>,
}

/// How often, and when first and last.
pub(super) type Times = (u64, Timestamp, Timestamp);

#[derive(Default)]
pub(super) struct Difference {
    pub(super) all: Both,
    pub(super) groups: BTreeMap<String, Both>,
    pub(super) models: BTreeMap<String, Both>,
    /// Refusals, by their code.
    pub(super) reasons: BTreeMap<String, [u64; 2]>,
    pub(super) changes: BTreeMap<Change, Times>,
    /// What the log does not say enough of to judge it again.
    pub(super) kept: u64,
}

impl Difference {
    /// A request that stays what it was.
    pub(super) fn keep(&mut self, request: &Request) {
        self.kept = self.kept.saturating_add(1);
        let after = Outcome {
            fate: request.fate.clone(),
            limit: None,
            group: request.group.clone(),
            tokens: request.usage.total,
            cost: request.cost,
        };
        self.add(request, &after);
    }

    pub(super) fn add(&mut self, request: &Request, after: &Outcome) {
        let none = || "-".to_owned();
        let model = request.models.first().cloned().unwrap_or_else(none);
        let before = Outcome {
            fate: request.fate.clone(),
            limit: None,
            group: request.group.clone(),
            tokens: request.usage.total,
            cost: request.cost,
        };
        for (at, side) in [&before, after].into_iter().enumerate() {
            let group = side.group.as_ref().or(request.group.as_ref());
            let group = group.cloned().unwrap_or_else(none);
            for both in [
                &mut self.all,
                self.groups.entry(group).or_default(),
                self.models.entry(model.clone()).or_default(),
            ] {
                both.get_mut(at).into_iter().for_each(|sums| sums.add(side));
            }
            if let Fate::Refused(code) = &side.fate {
                let counts = self.reasons.entry(code.clone()).or_default();
                if let Some(count) = counts.get_mut(at) {
                    *count = count.saturating_add(1);
                }
            }
        }
        if before.fate != after.fate {
            let change = Change {
                group: request.group.clone().unwrap_or_else(none),
                model,
                before: before.fate,
                after: after.fate.clone(),
                limit: after.limit.clone(),
            };
            let new = (0, request.time, request.time);
            let (count, first, last) = self.changes.entry(change).or_insert(new);
            *count = count.saturating_add(1);
            // Those that pass are told of when they end.
            *first = request.time.min(*first);
            *last = request.time.max(*last);
        }
    }
}

impl Side {
    fn add(&mut self, outcome: &Outcome) {
        let is = |fates: bool| u64::from(fates);
        for (sum, more) in [
            (&mut self.requests, 1),
            (
                &mut self.passed,
                is(matches!(outcome.fate, Fate::Passed | Fate::Spared(_))),
            ),
            (
                &mut self.spared,
                is(matches!(outcome.fate, Fate::Spared(_))),
            ),
            (
                &mut self.refused,
                is(matches!(outcome.fate, Fate::Refused(_))),
            ),
            (&mut self.failed, is(outcome.fate == Fate::Failed)),
            (&mut self.tokens, outcome.tokens),
            (&mut self.cost, outcome.cost),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}
