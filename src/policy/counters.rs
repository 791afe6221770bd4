//! Which counters a request is held against: those of its group, of the groups above, and of the ceilings.
//!
//! What does not depend on the request is made once. Knows what is counted where, never how much.

use super::ModelPattern;
use crate::config::{ModelLimits, Rules, ScopeLimits, merged};
use crate::limit::counter::{Budget, Counter, Counters};
use crate::limit::{Descriptor, Limit};
use std::rc::Rc;

/// The counters of one scope: a group, or the ceilings.
#[derive(Debug)]
pub(super) struct Scope {
    /// The group; `None`: the ceilings.
    name: Option<Rc<str>>,
    /// `model_rate_limits[]`
    models: Vec<(Vec<ModelPattern>, Rc<Counter>)>,
    /// The same of a consumer, for counters that it has to itself.
    consumer_models: Vec<(Vec<ModelPattern>, Counter)>,
    /// `consumer_rate_limits`, for a counter that each consumer has.
    consumer: Rc<[Limit]>,
    /// What a consumer may spend.
    consumer_budgets: Rc<[Budget]>,
    /// `rate_limits`
    shared: Option<Rc<Counter>>,
    /// Whether any of its limits is one on tokens, or on what they cost.
    counts_tokens: bool,
    has_budgets: bool,
}

/// What a consumer has to itself, beside what its group has.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// In place of the group's `consumer_rate_limits`, where they count the same.
    limits: Vec<Limit>,
    models: Vec<ModelLimits>,
    budgets: Vec<Budget>,
}

impl Own {
    /// Out of the rules of its entry.
    pub(super) fn of(rules: &Rules) -> Self {
        let limits = &rules.limits;
        Self {
            limits: merged(
                &limits.consumer_rate_limits,
                &limits.rate_limits,
                Limit::same_count,
            ),
            models: limits.model_rate_limits.clone().unwrap_or_default(),
            budgets: rules.spend.budgets.clone().unwrap_or_default(),
        }
    }
}

impl Scope {
    pub(super) fn compile(
        name: Option<Rc<str>>,
        limits: &ScopeLimits,
        budgets: &[Budget],
        own: Option<Own>,
    ) -> Self {
        let own = own.unwrap_or_default();
        let consumer = merged(&limits.consumer_rate_limits, &own.limits, Limit::same_count);
        let models = limits.model_rate_limits.as_deref().unwrap_or_default();
        let entries = models.iter().chain(&own.models);
        let tokens = |limits: &[Limit]| limits.iter().any(|limit| limit.unit.is_tokens());
        let has_budgets = !budgets.is_empty() || !own.budgets.is_empty();
        let counts_tokens = has_budgets
            || tokens(&limits.rate_limits)
            || tokens(&consumer)
            || entries.into_iter().any(|entry| tokens(&entry.rate_limits));
        let counter = |models: Option<Rc<str>>, limits: &[Limit], budgets: &[Budget]| {
            let descriptor = Descriptor {
                group: name.clone(),
                consumer: None,
                models,
            };
            (!limits.is_empty() || !budgets.is_empty()).then(|| Counter {
                budgets: budgets.into(),
                ..Counter::new(descriptor, limits.to_vec())
            })
        };
        let of_models = |entry: &ModelLimits| {
            let joined = entry.models.join(",");
            let counter = counter(Some(joined.into()), &entry.rate_limits, &[])?;
            let patterns = entry.models.iter().cloned().map(ModelPattern::new);
            Some((patterns.collect::<Vec<_>>(), counter))
        };
        let shared_models = models.iter().filter_map(of_models);
        Self {
            models: shared_models
                .map(|(patterns, counter)| (patterns, Rc::new(counter)))
                .collect(),
            consumer_models: own.models.iter().filter_map(of_models).collect(),
            consumer: consumer.into(),
            consumer_budgets: own.budgets.into(),
            shared: counter(None, &limits.rate_limits, budgets).map(Rc::new),
            has_budgets,
            counts_tokens,
            name,
        }
    }

    /// Whether all requests have the same counters here.
    fn is_fixed(&self) -> bool {
        self.models.is_empty()
            && self.consumer_models.is_empty()
            && self.consumer.is_empty()
            && self.consumer_budgets.is_empty()
    }

    /// Those of this scope that apply to a request, narrowest first.
    fn add(&self, consumer: &Rc<str>, models: &[String], counters: &mut Vec<Rc<Counter>>) {
        let hit = |patterns: &[ModelPattern]| {
            let mut patterns = patterns.iter();
            patterns.any(|pattern| models.iter().any(|model| pattern.matches(model)))
        };
        let owned = |counter: Counter| {
            let descriptor = Descriptor {
                consumer: Some(Rc::clone(consumer)),
                ..counter.descriptor
            };
            Rc::new(Counter {
                record: descriptor.record().into(),
                descriptor,
                ..counter
            })
        };
        for (patterns, counter) in &self.consumer_models {
            if hit(patterns) {
                counters.push(owned(counter.clone()));
            }
        }
        for (patterns, counter) in &self.models {
            if hit(patterns) {
                counters.push(Rc::clone(counter));
            }
        }
        if !self.consumer.is_empty() || !self.consumer_budgets.is_empty() {
            let descriptor = Descriptor {
                group: self.name.clone(),
                consumer: None,
                models: None,
            };
            counters.push(owned(Counter {
                record: Rc::default(),
                descriptor,
                limits: Rc::clone(&self.consumer),
                budgets: Rc::clone(&self.consumer_budgets),
            }));
        }
        counters.extend(self.shared.clone());
    }
}

/// The scopes that hold for a group.
#[derive(Debug)]
pub(super) struct Scopes {
    /// The group's own, its ancestors', the ceilings.
    narrowest_first: Vec<Rc<Scope>>,
    /// The counters of all requests, if they all have the same.
    fixed: Option<Counters>,
    /// Whether anything in them depends on how many tokens are used.
    pub(super) count_tokens: bool,
    /// Whether there is a budget among them.
    pub(super) have_budgets: bool,
}

impl Scopes {
    pub(super) fn new(narrowest_first: Vec<Rc<Scope>>) -> Self {
        let scopes = || narrowest_first.iter();
        let fixed = scopes().all(|scope| scope.is_fixed()).then(|| {
            let shared = scopes().filter_map(|scope| scope.shared.clone());
            shared.collect::<Vec<_>>().into()
        });
        Self {
            count_tokens: scopes().any(|scope| scope.counts_tokens),
            have_budgets: scopes().any(|scope| scope.has_budgets),
            fixed,
            narrowest_first,
        }
    }

    /// The counter that the group's requests have in common.
    pub(super) fn own(&self) -> Option<&Rc<Counter>> {
        self.narrowest_first.first()?.shared.as_ref()
    }

    /// The counter that the requests of all groups have in common.
    pub(super) fn topmost(&self) -> Option<&Rc<Counter>> {
        self.narrowest_first.last()?.shared.as_ref()
    }

    /// Those that apply to a request, narrowest first: models, consumer, group; the same of the group above; and so on.
    pub(super) fn counters(&self, consumer: &Rc<str>, models: &[String]) -> Counters {
        if let Some(fixed) = &self.fixed {
            return fixed.clone();
        }
        let mut counters = Vec::new();
        for scope in &self.narrowest_first {
            scope.add(consumer, models, &mut counters);
        }
        counters.into()
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::policy::Policy;
    use std::rc::Rc;

    fn policy(document: &serde_json::Value) -> Policy {
        let config = Config::from_json(document.to_string().as_bytes()).unwrap();
        Policy::compile(config, |_| None).unwrap()
    }

    fn levels() -> Policy {
        let per_day = |quota: u64| serde_json::json!({"requests_per_day": quota});
        policy(&serde_json::json!({
            "version": "1",
            "ceilings": {
                "rate_limits": per_day(1),
                "consumer_rate_limits": per_day(2),
                "model_rate_limits": [{"models": ["o*"], "rate_limits": per_day(3)}],
            },
            "consumer_groups": [
                {
                    "name": "web",
                    "parent": "product",
                    "rate_limits": per_day(4),
                    "consumer_rate_limits": per_day(5),
                    "model_rate_limits": [
                        {"models": ["o3", "gpt-*"], "rate_limits": per_day(6)},
                        {"models": ["o3"], "rate_limits": {}},
                        {"models": ["*-mini"], "rate_limits": per_day(7)},
                    ],
                },
                // After the group below it, and without a limit of its own.
                {"name": "product", "parent": "company", "rate_limits": {}},
                {"name": "company", "rate_limits": per_day(8), "consumer_rate_limits": per_day(9)},
                {"name": "lone", "consumer_rate_limits": {}, "rate_limits": per_day(10)},
            ],
        }))
    }

    fn records(policy: &Policy, group: usize, models: &[&str]) -> Vec<(String, u64)> {
        let models: Vec<_> = models.iter().map(|&model| model.to_owned()).collect();
        let counters = policy.groups[group].counters(&Rc::from("ann"), &models);
        let shown = counters.iter().map(|counter| {
            assert_eq!(*counter.record, counter.descriptor.record());
            let record = counter.record.strip_prefix("cohort/1/").unwrap();
            (record.to_owned(), counter.limits[0].quota)
        });
        shown.collect()
    }

    #[test]
    fn every_level_counts_narrowest_first_under_its_own_name() {
        let policy = levels();
        let above_web = [
            ("group/company/consumer/ann", 9),
            ("group/company", 8),
            ("ceilings/consumer/ann", 2),
            ("ceilings", 1),
        ];
        let web = [("group/web/consumer/ann", 5), ("group/web", 4)];
        let some = ("group/web/models/o3,gpt-*", 6);
        let mini = ("group/web/models/*-mini", 7);
        let top = ("ceilings/models/o*", 3);
        let [by_consumer, by_group, ceiling_consumer, ceiling] = above_web;
        for (models, expected) in [
            (&[][..], [&web[..], &above_web].concat()),
            (&["claude"], [&web[..], &above_web].concat()),
            (&["gpt-5"], [&[some][..], &web, &above_web].concat()),
            (
                &["gpt-5-mini"],
                [&[some, mini][..], &web, &above_web].concat(),
            ),
            // Any of the models, and each counter once.
            (
                &["o3", "gpt-5", "claude-mini"],
                [
                    &[some, mini][..],
                    &web,
                    &[by_consumer, by_group, top, ceiling_consumer, ceiling],
                ]
                .concat(),
            ),
        ] {
            let expected: Vec<_> = (expected.iter())
                .map(|(record, quota)| ((*record).to_owned(), *quota))
                .collect();
            assert_eq!(records(&policy, 0, models), expected, "{models:?}");
        }
        let names = |group| -> Vec<String> {
            let records = records(&policy, group, &[]);
            records.into_iter().map(|(record, _)| record).collect()
        };
        assert_eq!(
            names(1),
            above_web.map(|(record, _)| record),
            "no limits of its own"
        );
        assert_eq!(
            names(3),
            ["group/lone", "ceilings/consumer/ann", "ceilings"]
        );
    }

    #[test]
    fn two_consumers_of_one_group_share_its_counter_alone() {
        let policy = levels();
        let of = |consumer: &str| policy.groups[3].counters(&Rc::from(consumer), &[]);
        let (ann, bob) = (of("ann"), of("bob"));
        assert!(Rc::ptr_eq(&ann[0], &bob[0]));
        assert_ne!(ann[1].record, bob[1].record);
        assert!(
            Rc::ptr_eq(&ann[1].limits, &bob[1].limits),
            "no copy of the limits"
        );
    }

    #[test]
    fn what_is_alike_for_all_requests_is_made_once() {
        let policy = policy(&serde_json::json!({
            "version": "1",
            "ceilings": {"rate_limits": {"tokens_per_day": 1}},
            "consumer_groups": [
                {"name": "a", "parent": "b"},
                {"name": "b", "rate_limits": {"requests_per_day": 1}},
            ],
        }));
        let a = &policy.groups[0];
        let [one, two] = [["o3"], ["gpt-5"]]
            .map(|models| a.counters(&Rc::from("ann"), &models.map(str::to_owned)));
        assert_eq!(one.len(), 2);
        assert!(
            one.iter()
                .zip(two.iter())
                .all(|(one, two)| Rc::ptr_eq(one, two))
        );
    }

    #[test]
    fn tokens_count_on_whatever_level() {
        let tokens = || serde_json::json!({"completion_tokens_per_day": 1});
        let models = || serde_json::json!([{"models": ["x"], "rate_limits": tokens()}]);
        let none = || serde_json::json!({"requests_per_day": 1, "concurrent_requests": 1});
        for (field, ceilings, parent, own, expected) in [
            ("rate_limits", none(), none(), none(), false),
            ("rate_limits", none(), none(), tokens(), true),
            ("rate_limits", none(), tokens(), none(), true),
            ("consumer_rate_limits", tokens(), none(), none(), true),
            ("model_rate_limits", models(), models(), models(), true),
        ] {
            let policy = policy(&serde_json::json!({
                "version": "1",
                "ceilings": {field: ceilings},
                "consumer_groups": [
                    {"name": "a", "parent": "b", field: own},
                    {"name": "b", field: parent},
                ],
            }));
            assert_eq!(policy.groups[0].counts_tokens(), expected, "{field}");
        }
    }
}
