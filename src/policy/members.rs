//! Which consumer is in which groups: what consumers say, and what groups say, together. And which name is whose.

use super::{Consumer, Dates, Group};
use crate::config::{self, ConfigError, ConsumerGroup};
use std::rc::Rc;

/// A name, and the position of a group.
type Entry<'a> = (&'a str, usize);

/// The groups, by their names, and the consumers that they name.
pub(super) struct Members<'a> {
    groups: &'a [Rc<Group>],
    /// Groups, by their names.
    names: Vec<Entry<'a>>,
    /// Consumers that groups name.
    listed: Vec<Entry<'a>>,
    /// Of each of those, whether there is such a consumer.
    found: Vec<bool>,
    default: Option<&'a str>,
}

impl<'a> Members<'a> {
    /// `entries`: those of the groups, in the same order.
    pub(super) fn new(
        groups: &'a [Rc<Group>],
        entries: &'a [ConsumerGroup],
        default: Option<&'a str>,
    ) -> Self {
        let mut names: Vec<Entry<'_>> = Vec::with_capacity(groups.len());
        let mut listed: Vec<Entry<'_>> = Vec::new();
        for (at, group) in entries.iter().enumerate() {
            names.push((&group.name, at));
            listed.extend(group.consumers.iter().map(|name| (name.as_str(), at)));
        }
        names.sort_unstable();
        listed.sort_unstable();
        Self {
            groups,
            names,
            found: vec![false; listed.len()],
            listed,
            default,
        }
    }

    /// The groups of a consumer; of one that is in none, the default group.
    pub(super) fn of(&mut self, consumer: &config::Consumer) -> Vec<(Rc<Group>, Dates)> {
        let mut memberships = Vec::new();
        for membership in &consumer.groups {
            let dates = Dates {
                not_before: membership.not_before,
                not_after: membership.not_after,
            };
            memberships.extend(self.group(&membership.group).map(|group| (group, dates)));
        }
        let name = consumer.name.as_str();
        let first = self.listed.partition_point(|(known, _)| *known < name);
        let entries = self.listed.iter().zip(&mut self.found).skip(first);
        for ((_, at), found) in entries.take_while(|((known, _), _)| *known == name) {
            *found = true;
            let group = self.groups.get(*at).cloned();
            memberships.extend(group.map(|group| (group, Dates::default())));
        }
        if memberships.is_empty() {
            let default = self.default.and_then(|name| self.group(name));
            memberships.extend(default.map(|group| (group, Dates::default())));
        }
        memberships
    }

    fn group(&self, name: &str) -> Option<Rc<Group>> {
        let at = self.names.partition_point(|(known, _)| *known < name);
        let (_, at) = self.names.get(at).filter(|(known, _)| *known == name)?;
        self.groups.get(*at).cloned()
    }

    /// Consumers that a group names, and the file does not.
    pub(super) fn unknown(&self) -> impl Iterator<Item = ConfigError> {
        let entries = self.listed.iter().zip(&self.found);
        let unknown = entries.filter(|(_, found)| !**found);
        unknown.map(|((name, at), _)| {
            let path = format!("consumer_groups[{at}].consumers");
            ConfigError::new(path, format!("no consumer is called '{name}'"))
        })
    }
}

/// Groups and consumers by their names, where these come with requests.
#[derive(Debug, Default)]
pub(super) struct Names {
    groups: Vec<(String, usize)>,
    consumers: Vec<(String, usize)>,
}

impl Names {
    pub(super) fn new(groups: &[Rc<Group>], consumers: &[Rc<Consumer>]) -> Self {
        let sorted = |names: &mut dyn Iterator<Item = &str>| {
            let mut entries: Vec<Entry<'_>> = names.zip(0..).collect();
            entries.sort_unstable();
            let entries = entries.into_iter();
            entries.map(|(name, at)| (name.to_owned(), at)).collect()
        };
        Self {
            groups: sorted(&mut groups.iter().map(|group| group.name.as_str())),
            consumers: sorted(&mut consumers.iter().map(|consumer| &*consumer.name)),
        }
    }

    pub(super) fn group(&self, name: &str) -> Option<usize> {
        position(&self.groups, name)
    }

    pub(super) fn consumer(&self, name: &str) -> Option<usize> {
        position(&self.consumers, name)
    }
}

fn position(entries: &[(String, usize)], name: &str) -> Option<usize> {
    let at = entries.binary_search_by(|(known, _)| known.as_str().cmp(name));
    entries.get(at.ok()?).map(|(_, position)| *position)
}
