//! Who asks: a consumer, the groups that it is in, and the keys that open them.

use super::Group;
use crate::config::{self, Rules};
use crate::time::Timestamp;
use std::rc::Rc;

/// A span of time, open at either end where nothing is said.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Dates {
    /// From, inclusive.
    pub not_before: Option<Timestamp>,
    /// Until, exclusive.
    pub not_after: Option<Timestamp>,
}

impl Dates {
    /// Whether it has begun.
    pub fn have_begun(self, now: Timestamp) -> bool {
        self.not_before.is_none_or(|start| now >= start)
    }

    /// Whether it is over.
    pub fn are_over(self, now: Timestamp) -> bool {
        self.not_after.is_some_and(|end| now >= end)
    }

    /// Whether a moment is in it.
    pub fn hold(self, now: Timestamp) -> bool {
        self.have_begun(now) && !self.are_over(now)
    }
}

/// A consumer that the configuration names.
#[derive(Debug)]
pub struct Consumer {
    /// As the file has it.
    pub name: Rc<str>,
    pub(super) enabled: bool,
    /// Its position in the file; of one that the file does not name, none that any has.
    pub(super) index: usize,
    /// What holds for it in whatever group, if it says anything.
    pub(super) rules: Option<Rules>,
    /// The one with the highest priority first.
    memberships: Vec<(Rc<Group>, Dates)>,
}

impl Consumer {
    pub(super) fn new(
        index: usize,
        entry: config::Consumer,
        memberships: Vec<(Rc<Group>, Dates)>,
    ) -> Self {
        // There are few of them: each is put in its place.
        let mut sorted: Vec<(Rc<Group>, Dates)> = Vec::with_capacity(memberships.len());
        for membership in memberships {
            let rank = |group: &Group| (std::cmp::Reverse(group.priority), group.index);
            let place = sorted.partition_point(|(group, _)| rank(group) <= rank(&membership.0));
            sorted.insert(place, membership);
        }
        Self {
            name: entry.name.into(),
            enabled: entry.enabled,
            index,
            rules: (entry.rules != Rules::default()).then_some(entry.rules),
            memberships: sorted,
        }
    }

    /// One that the file does not name.
    pub(super) fn unnamed(name: &str) -> Self {
        Self {
            name: name.into(),
            enabled: true,
            index: usize::MAX,
            rules: None,
            memberships: Vec::new(),
        }
    }

    /// Whether the file names it.
    pub const fn is_named(&self) -> bool {
        self.index != usize::MAX
    }

    /// The groups that it is in now.
    pub(super) fn groups(&self, now: Timestamp) -> impl Iterator<Item = &Rc<Group>> {
        let current = self
            .memberships
            .iter()
            .filter(move |(group, dates)| dates.hold(now) && group.is_open(now));
        current.map(|(group, _)| group)
    }
}

/// Whose a key is.
#[derive(Clone, Debug)]
pub(super) enum Owner {
    Consumer(Rc<Consumer>),
    Group(Rc<Group>),
}
