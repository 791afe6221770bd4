//! What a key opens, or a name that a filter before this one has settled, or nothing at all.

use super::consumer::{Consumer, Owner};
use super::{Group, Place, Policy};
use crate::config::is_consumer_name;
use crate::credential::KeyDigest;
use crate::time::Timestamp;
use std::rc::Rc;

/// What events show in place of a key's id where there was none.
const ANONYMOUS: &str = "anonymous";

/// The same where a filter before this one has settled who asks.
const IDENTITY: &str = "identity";

/// What a key opens.
#[derive(Debug)]
pub struct Opened {
    /// The group that is charged, by first choice.
    pub group: Rc<Group>,
    /// Further groups that may be charged.
    pub others: Vec<Rc<Group>>,
    /// The consumer; `None`: the key counts as one of its own.
    pub consumer: Option<Rc<Consumer>>,
    /// What events show of the key.
    pub key_id: Rc<str>,
    /// The key's own tags.
    pub features: Rc<[String]>,
}

/// Why a key does not open anything. One answer for all of them; events tell them apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyRefusal {
    /// `enabled: false`
    Disabled,
    /// Past `not_after`.
    Expired,
    /// Its consumer is in no group that is open now.
    NoGroup,
    /// Before `not_before`.
    NotYetValid,
    /// In no group.
    Unknown,
}

impl KeyRefusal {
    /// As events show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Expired => "expired",
            Self::NoGroup => "no_group",
            Self::NotYetValid => "not_yet_valid",
            Self::Unknown => "unknown",
        }
    }
}

impl Policy {
    /// What a request without a credential opens.
    pub fn anonymous(&self, place: Place, now: Timestamp) -> Option<Opened> {
        let group = self.anonymous.as_ref()?;
        group.is_open(now).then(|| Opened {
            group: self.resolve(group, None, place),
            others: Vec::new(),
            consumer: None,
            key_id: ANONYMOUS.into(),
            features: Rc::default(),
        })
    }

    /// What the key with this digest opens now.
    pub fn authenticate(
        &self,
        digest: &KeyDigest,
        place: Place,
        now: Timestamp,
    ) -> Result<Opened, KeyRefusal> {
        let key = self.keys.find(digest).ok_or(KeyRefusal::Unknown)?;
        if !key.enabled {
            return Err(KeyRefusal::Disabled);
        }
        if !key.dates.have_begun(now) {
            return Err(KeyRefusal::NotYetValid);
        }
        if key.dates.are_over(now) {
            return Err(KeyRefusal::Expired);
        }
        let ((group, others), consumer) = match &key.owner {
            Owner::Consumer(consumer) => {
                let groups = self.groups_of(consumer, place, now)?;
                (groups, Some(Rc::clone(consumer)))
            }
            Owner::Group(group) if !group.enabled => return Err(KeyRefusal::Disabled),
            Owner::Group(group) if !group.is_open(now) => return Err(KeyRefusal::NoGroup),
            Owner::Group(group) => ((self.resolve(group, None, place), Vec::new()), None),
        };
        Ok(Opened {
            group,
            others,
            consumer,
            key_id: Rc::clone(&key.id),
            features: Rc::clone(&key.features),
        })
    }

    /// What somebody opens of whom a filter before this one has said the name, the group, or both.
    ///
    /// A group that was said is taken, whatever groups the file knows the consumer to be in: who is trusted to say who
    /// asks is trusted to say for whom.
    #[inline(never)]
    pub fn identified(
        &self,
        consumer: Option<&str>,
        group: Option<&str>,
        place: Place,
        now: Timestamp,
    ) -> Result<Opened, KeyRefusal> {
        let known = |name: &str| self.consumers.get(self.names.consumer(name)?);
        let consumer = match consumer {
            // It becomes part of a record's name.
            Some(name) if !is_consumer_name(name) => return Err(KeyRefusal::Unknown),
            Some(name) => {
                Some((known(name).cloned()).unwrap_or_else(|| Rc::new(Consumer::unnamed(name))))
            }
            None => None,
        };
        if consumer.as_ref().is_some_and(|consumer| !consumer.enabled) {
            return Err(KeyRefusal::Disabled);
        }
        let (group, others) = match (group, &consumer) {
            (Some(name), _) => {
                let group = self.names.group(name);
                let group = group.and_then(|at| self.groups.get(at));
                let group = group.ok_or(KeyRefusal::Unknown)?;
                if !group.is_open(now) {
                    return Err(KeyRefusal::NoGroup);
                }
                let group = self.resolve(group, consumer.as_deref(), place);
                (group, Vec::new())
            }
            (None, Some(consumer)) if consumer.is_named() => {
                self.groups_of(consumer, place, now)?
            }
            (None, consumer) => {
                let default = self.default.as_ref().ok_or(KeyRefusal::Unknown)?;
                if !default.is_open(now) {
                    return Err(KeyRefusal::NoGroup);
                }
                let group = self.resolve(default, consumer.as_deref(), place);
                (group, Vec::new())
            }
        };
        Ok(Opened {
            group,
            others,
            consumer,
            key_id: IDENTITY.into(),
            features: Rc::default(),
        })
    }

    /// The groups of a consumer, as it has them at a place, the first choice apart.
    fn groups_of(
        &self,
        consumer: &Consumer,
        place: Place,
        now: Timestamp,
    ) -> Result<(Rc<Group>, Vec<Rc<Group>>), KeyRefusal> {
        if !consumer.enabled {
            return Err(KeyRefusal::Disabled);
        }
        let groups = consumer.groups(now);
        let mut groups = groups.map(|group| self.resolve(group, Some(consumer), place));
        let first = groups.next().ok_or(KeyRefusal::NoGroup)?;
        Ok((first, groups.collect()))
    }
}
