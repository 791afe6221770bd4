//! What is counted, whose it is, and what a request asks of it.
//!
//! All limits of a [`Counter`] are in one record. Knows nothing of groups: the caller says which counters apply, the
//! narrowest first.

mod judge;
mod ledger;
mod standing;

pub use ledger::{Crossed, Ending, Ledger, Permit, Settled};
pub use standing::Standing;

use super::record::{Record, Tally};
use super::{Clock, Descriptor, Limit, Unit};
use std::ops::Deref;
use std::rc::Rc;

/// The counters that apply to a request, the narrowest first.
#[derive(Clone, Debug, Default)]
pub struct Counters(Option<Rc<[Rc<Counter>]>>);

impl Deref for Counters {
    type Target = [Rc<Counter>];

    fn deref(&self) -> &[Rc<Counter>] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl From<Vec<Rc<Counter>>> for Counters {
    fn from(counters: Vec<Rc<Counter>>) -> Self {
        Self(Some(counters.into()))
    }
}

/// Limits that are counted together, and whose they are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Counter {
    /// Whose.
    pub descriptor: Descriptor,
    /// Where they are kept in shared data.
    pub record: Rc<str>,
    /// What may be counted.
    pub limits: Rc<[Limit]>,
    /// What may be spent.
    pub budgets: Rc<[Budget]>,
}

/// A limit on what is spent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Budget {
    /// On [`Unit::Cost`].
    pub limit: Limit,
    /// Whether it refuses requests, or only tells.
    pub blocks: bool,
    /// Shares of it in thousandths; each is told of when it is crossed.
    pub alert_at: Vec<u32>,
}

impl Counter {
    /// A counter in the record that its descriptor names.
    pub fn new(descriptor: Descriptor, limits: Vec<Limit>) -> Self {
        Self {
            record: descriptor.record().into(),
            descriptor,
            limits: limits.into(),
            budgets: Rc::default(),
        }
    }

    /// What a record has of everything that is counted.
    fn tally(&self, record: &Record<'_>, clock: Clock) -> Vec<Tallied> {
        let counted = self.limits.len().saturating_add(self.budgets.len());
        let mut tallied = Vec::with_capacity(counted);
        tallied.extend(self.limits.iter().map(|limit| Tallied {
            limit: *limit,
            kind: Kind::Limit,
            tally: record.tally(limit, clock),
        }));
        tallied.extend(self.budgets.iter().map(|budget| Tallied {
            limit: budget.limit,
            kind: Kind::Budget {
                blocks: budget.blocks,
            },
            tally: record.tally(&budget.limit, clock),
        }));
        tallied
    }
}

/// What a record has of one limit.
#[derive(Debug)]
struct Tallied {
    limit: Limit,
    kind: Kind,
    tally: Tally,
}

/// Of what a counter has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Budget { blocks: bool },
    Limit,
}

/// Where the limits and budgets of a counter stand, by what shared data has of it.
pub fn standings(counter: &Counter, record: Option<Vec<u8>>, clock: Clock) -> Vec<Standing> {
    let mut bytes = record.unwrap_or_default();
    let tallied = counter.tally(&Record::open(&mut bytes), clock);
    let standings = tallied.iter().map(|Tallied { limit, tally, kind }| {
        if *kind == Kind::Limit {
            standing::of(limit, 0, tally, &Demand::default())
        } else {
            standing::of_budget(limit, tally)
        }
    });
    standings.collect()
}

/// Tokens by kind, as the three token units count them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tokens {
    /// For `prompt_tokens`.
    pub prompt: u64,
    /// For `completion_tokens`.
    pub completion: u64,
    /// For `tokens`.
    pub total: u64,
    /// What they cost, in millionths of a US dollar.
    pub cost: u64,
}

impl Tokens {
    /// How many of them a limit on `unit` counts.
    pub const fn of(&self, unit: Unit) -> u64 {
        match unit {
            Unit::CompletionTokens => self.completion,
            Unit::ConcurrentRequests | Unit::Requests => 0,
            Unit::Cost => self.cost,
            Unit::PromptTokens => self.prompt,
            Unit::Tokens => self.total,
        }
    }
}

/// What a request wants to use up: itself, and the tokens it is expected to cost.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Demand {
    /// Reserved until they are settled; with zeros there is only to be room for one.
    pub tokens: Tokens,
}

impl Demand {
    /// What it needs of a limit. Never more than there is of it at all: an idle limit admits every request.
    pub fn of(&self, limit: &Limit) -> u64 {
        self.reserves(limit).max(1)
    }

    /// What of that is reserved.
    #[inline(never)]
    fn reserves(&self, limit: &Limit) -> u64 {
        match limit.unit {
            Unit::Requests => 0,
            Unit::ConcurrentRequests => 1,
            unit => self.tokens.of(unit).min(limit.quota),
        }
    }
}

/// Which limits can refuse a request. All of them count it, whatever they can.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Check {
    /// All.
    All,
    /// None: the request passes anyway.
    Nothing,
    /// Those that no rate-limit service counts: on concurrent requests, and budgets.
    Own,
}

/// Why a request was not admitted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refused {
    /// Other workers wrote first every time we tried.
    Contended,
    /// At least one limit has no room.
    Over(Over),
}

/// The limit that makes a request wait longest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Over {
    /// Position of its counter.
    pub counter: usize,
    /// The limit.
    pub limit: Limit,
    /// Milliseconds until the request would pass, if nothing else does meanwhile; `None`: never.
    pub retry_after_ms: Option<u64>,
    /// Where all limits stand, counter by counter.
    pub standings: Vec<Standing>,
}

impl Over {
    /// Has the limit stand as this request finds it: with room for a smaller one, but not for this one.
    pub fn tell_wait(&mut self) {
        let (counter, limit) = (self.counter, self.limit);
        let mut standings = self.standings.iter_mut();
        let fired = standings.find(|own| (own.counter, own.limit) == (counter, limit));
        if let Some(fired) = fired.filter(|_| limit.unit != Unit::ConcurrentRequests) {
            fired.reset_ms = self.retry_after_ms;
        }
    }
}
