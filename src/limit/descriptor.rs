//! Whose counter it is: in shared data the name of a record, in a rate-limit service a descriptor.

use std::rc::Rc;

/// What the names of all our records begin with.
pub(super) const PREFIX: &str = "cohort/1";

/// Everything here comes from the configuration, so there are no more counters than it names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Descriptor {
    /// The consumer group; `None`: a ceiling, over all groups.
    pub group: Option<Rc<str>>,
    /// One consumer (so far: one key) of it.
    pub consumer: Option<Rc<str>>,
    /// The models, as `models` of a `model_rate_limits` entry has them, joined by commas.
    pub models: Option<Rc<str>>,
}

impl Descriptor {
    /// Whom it counts, in a word: `consumer_group`, `consumer`, `model`, `ceilings`.
    pub const fn scope(&self) -> &'static str {
        if self.consumer.is_some() {
            "consumer"
        } else if self.models.is_some() {
            "model"
        } else if self.group.is_some() {
            "consumer_group"
        } else {
            "ceilings"
        }
    }

    /// The name of its record in shared data.
    pub fn record(&self) -> String {
        let mut name = String::from(PREFIX);
        match &self.group {
            Some(group) => {
                name.push_str("/group/");
                name.push_str(group);
            }
            None => name.push_str("/ceilings"),
        }
        for (kind, value) in [("/consumer/", &self.consumer), ("/models/", &self.models)] {
            if let Some(value) = value {
                name.push_str(kind);
                name.push_str(value);
            }
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_owner_has_a_record_of_its_own() {
        let names = [
            (Some("a"), None, None, "cohort/1/group/a"),
            (Some("a"), Some("c"), None, "cohort/1/group/a/consumer/c"),
            (
                Some("a"),
                None,
                Some("gpt-4*,o1"),
                "cohort/1/group/a/models/gpt-4*,o1",
            ),
            (None, None, None, "cohort/1/ceilings"),
        ];
        for (group, consumer, models, name) in names {
            let rc = |text: Option<&str>| text.map(Rc::from);
            let descriptor = Descriptor {
                group: rc(group),
                consumer: rc(consumer),
                models: rc(models),
            };
            assert_eq!(descriptor.record(), name);
        }
    }
}
