//! A consumer group with everything that holds for it.

use super::counters::{Scope, Scopes};
use super::{Dates, ModelPattern, ModelRules, OTHER_MODEL, Pricing, Screening, Target};
use crate::config::{ConsumerGroup, Mode, RequestLimits, Rules, Warning};
use crate::guardrail::Search;
use crate::limit::counter::{Counter, Counters};
use crate::llm::endpoint::Call;
use crate::time::Timestamp;
use std::rc::Rc;

/// A consumer group with everything that holds for it.
#[derive(Debug)]
pub struct Group {
    /// Its position in the file.
    pub index: usize,
    /// As the file has it.
    pub name: String,
    /// Whether its refusals are sent.
    pub mode: Mode,
    /// `false`: nobody is let in.
    pub(super) enabled: bool,
    /// When it is open.
    pub(super) dates: Dates,
    /// Of a consumer's groups the one with the highest is taken first.
    pub(super) priority: u32,
    /// Tags that upstreams and events are told.
    pub features: Vec<String>,
    /// Its own rules; for those of all levels see [`Self::allows`].
    pub models: ModelRules,
    /// The models that refusals tell its callers to use: patterns that no level excludes.
    pub allowed_models: Vec<String>,
    /// `allowed_endpoints`; `None`: every endpoint that names its models.
    allowed_endpoints: Option<Vec<String>>,
    /// What one request may ask for.
    pub request_limits: Vec<RequestLimits>,
    /// Models that its stats may name.
    pub(super) labels: Rc<[String]>,
    /// The groups above it, nearest first, and the ceilings.
    ancestors: Vec<Rc<Level>>,
    scopes: Scopes,
    /// The policies on its prompts.
    pub screening: Screening,
    /// The policies on answers to it.
    pub answers: Screening,
    /// What its tokens cost.
    pub pricing: Pricing,
}

/// What of a group holds for the groups below it too; or the ceilings, above all of them.
#[derive(Debug)]
pub(super) struct Level {
    name: Rc<str>,
    models: ModelRules,
    /// Of the ceilings only.
    endpoints: Option<Vec<String>>,
    scope: Rc<Scope>,
}

impl Level {
    /// Of a group, by what its own entry says.
    pub(super) fn compile(name: &str, rules: &Rules) -> Self {
        let name: Rc<str> = name.into();
        let budgets = rules.spend.budgets.as_deref().unwrap_or_default();
        let scope = Scope::compile(Some(Rc::clone(&name)), &rules.limits, budgets, None);
        Self {
            name,
            models: ModelRules::compile(rules),
            endpoints: None,
            scope: Rc::new(scope),
        }
    }

    /// What no scope can raise.
    pub(super) fn ceilings(rules: &Rules) -> Self {
        let budgets = rules.spend.budgets.as_deref().unwrap_or_default();
        Self {
            name: "ceilings".into(),
            models: ModelRules::compile(rules),
            endpoints: rules.allowed_endpoints.clone(),
            scope: Rc::new(Scope::compile(None, &rules.limits, budgets, None)),
        }
    }
}

impl Group {
    /// A group's entry, with the rules that hold for it and those that hold above all.
    pub(super) fn compile(
        (index, entry): (usize, &ConsumerGroup),
        mode: Mode,
        (own, ceilings): (&Rules, &Rules),
        scope: Scope,
        ancestors: Vec<Rc<Level>>,
        (search, targets): (&Search, &[Rc<Target>]),
    ) -> Self {
        let mut scopes = vec![Rc::new(scope)];
        scopes.extend(ancestors.iter().map(|level| Rc::clone(&level.scope)));
        let mode = entry.mode.unwrap_or(mode);
        let models = ModelRules::compile(own);
        let limits = [own.request_limits, ceilings.request_limits];
        let input = [
            &own.policies,
            &own.input_policies,
            &ceilings.policies,
            &ceilings.input_policies,
        ];
        let output = [
            &own.policies,
            &own.output_policies,
            &ceilings.policies,
            &ceilings.output_policies,
        ];
        Self {
            index,
            name: entry.name.clone(),
            mode,
            enabled: entry.enabled,
            dates: Dates {
                not_before: entry.not_before,
                not_after: entry.not_after,
            },
            priority: entry.priority,
            features: entry.features.clone(),
            allowed_models: allowed(&models, &ancestors),
            models,
            allowed_endpoints: own.allowed_endpoints.clone(),
            request_limits: limits.into_iter().flatten().collect(),
            labels: Rc::default(),
            scopes: Scopes::new(scopes),
            ancestors,
            pricing: Pricing::compile(&own.spend),
            screening: Screening::compile(&input, mode, targets, search),
            answers: Screening::compile(&output, mode, targets, search),
        }
    }

    /// With the names of models that its stats may have.
    pub(super) fn labelled(self, labels: Rc<[String]>) -> Rc<Self> {
        Rc::new(Self { labels, ..self })
    }

    /// Whether anybody is let in now.
    pub(super) fn is_open(&self, now: Timestamp) -> bool {
        self.enabled && self.dates.hold(now)
    }

    /// Whether the group may use this model: its own entry and all those above must say so.
    pub fn allows(&self, model: &str) -> bool {
        self.models.allow(model) && self.ancestors.iter().all(|level| level.models.allow(model))
    }

    /// Whether any model at all would be refused.
    pub fn restricts(&self) -> bool {
        self.models.restrict() || self.ancestors.iter().any(|level| level.models.restrict())
    }

    /// Whether the group may use the endpoint of this call: its own list and that of the ceilings must say so.
    pub fn permits(&self, call: &Call) -> bool {
        let own = match &self.allowed_endpoints {
            Some(allowed) => call.allowed_by(allowed),
            None => call.endpoint.open(),
        };
        let mut above = self.ancestors.iter();
        own && above
            .all(|level| (level.endpoints.as_ref()).is_none_or(|allowed| call.allowed_by(allowed)))
    }

    /// Whether more of a body may have to be read than its models and what they cost.
    pub const fn inspects(&self) -> bool {
        !(self.screening.is_empty() && self.request_limits.is_empty())
    }

    /// The counters that apply to a request, narrowest first: models, consumer, group; the same of the group above, and
    /// so on; the ceilings last.
    pub fn counters(&self, consumer: &Rc<str>, models: &[String]) -> Counters {
        self.scopes.counters(consumer, models)
    }

    /// The model as stats may name it, as a number for [`Self::label`]: 0 unless the configuration itself names it.
    pub fn label_index(&self, model: &str) -> usize {
        let position = self.labels.iter().position(|label| label == model);
        position.map_or(0, |at| at.saturating_add(1))
    }

    /// The label behind a number that [`Self::label_index`] gave.
    pub fn label(&self, index: usize) -> &str {
        let position = index.checked_sub(1);
        let label = position.and_then(|at| self.labels.get(at));
        label.map_or(OTHER_MODEL, String::as_str)
    }

    /// The counter that its requests have in common.
    pub(super) fn own_counter(&self) -> Option<&Rc<Counter>> {
        self.scopes.own()
    }

    /// The counter that the requests of all groups have in common.
    pub(super) fn topmost_counter(&self) -> Option<&Rc<Counter>> {
        self.scopes.topmost()
    }

    /// Whether anything, on any level, depends on how many tokens are used.
    pub const fn counts_tokens(&self) -> bool {
        self.scopes.count_tokens
    }

    /// Whether there is a budget on any level.
    pub const fn has_budgets(&self) -> bool {
        self.scopes.have_budgets
    }

    /// Models that the group has and may not use.
    pub(super) fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let mut warn = |field: String, message| {
            let path = format!("consumer_groups[{}].{field}", self.index);
            warnings.push(Warning { path, message });
        };
        // A model that is put into requests is judged like any other: one that the group may not use only ever refuses.
        let mut put_in = |field: String, model: &str| {
            if !self.allows(model) {
                warn(
                    field,
                    format!("the group may not use '{model}'; requests with it are refused"),
                );
            }
        };
        if let Some(model) = &self.models.default {
            put_in("default_model".to_owned(), model);
        }
        for (alias, model) in &self.models.aliases {
            put_in(format!("model_aliases.{alias}"), model);
        }
        for (index, pattern) in self.models.allowed.iter().flatten().enumerate() {
            let model = pattern.as_str();
            if self.has_budgets() && !self.pricing.covers(model) {
                warn(
                    format!("allowed_models[{index}]"),
                    format!(
                        "'{model}' has no price: under a budget it is refused, unless `unpriced: allow`"
                    ),
                );
            }
            let mut ancestors = self.ancestors.iter();
            if let Some(level) = ancestors.find(|level| level.models.exclude(pattern)) {
                let (model, above) = (pattern.as_str(), &level.name);
                warn(
                    format!("allowed_models[{index}]"),
                    format!("'{model}' is not allowed by '{above}' above: it stays refused"),
                );
            }
        }
        warnings
    }
}

/// The nearest list of allowed models, without what is excluded all the same.
fn allowed(own: &ModelRules, ancestors: &[Rc<Level>]) -> Vec<String> {
    let mut levels = vec![own];
    levels.extend(ancestors.iter().map(|level| &level.models));
    let Some(patterns) = levels.iter().find_map(|models| models.allowed.as_ref()) else {
        return vec!["*".to_owned()];
    };
    let usable = |pattern: &&ModelPattern| !levels.iter().any(|models| models.exclude(pattern));
    let usable = patterns.iter().filter(usable);
    usable.map(|pattern| pattern.as_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::policy::Policy;

    fn policy(groups: &serde_json::Value) -> Policy {
        let document = serde_json::json!({"version": "1", "consumer_groups": groups});
        let config = Config::from_json(document.to_string().as_bytes()).unwrap();
        Policy::compile(config, |_| None).unwrap()
    }

    /// Of a group below `up`, below `top`: what is said that it may use, and what it may use.
    #[test]
    fn the_lists_of_all_levels_hold() {
        let cases = [
            // own, up, top, as refusals say it, allowed, refused
            (r"{}", r"{}", r"{}", "*", "a b", ""),
            (
                r#"{"allowed_models":["a","b"]}"#,
                r"{}",
                r"{}",
                "a b",
                "a b",
                "c",
            ),
            (
                r#"{"allowed_models":["a","b"]}"#,
                r#"{"allowed_models":["b","c"]}"#,
                r"{}",
                "b",
                "b",
                "a c",
            ),
            (
                r#"{"allowed_models":["a","b"]}"#,
                r"{}",
                r#"{"denied_models":["a*"]}"#,
                "b",
                "b",
                "a c",
            ),
            // Without a list of its own: the nearest one, cut down by the others.
            (
                r#"{"denied_models":["b"]}"#,
                r#"{"allowed_models":["a","b","c"]}"#,
                r#"{"allowed_models":["a","b"]}"#,
                "a",
                "a",
                "b c",
            ),
            // Globs stay as long as something under them may be allowed.
            (
                r#"{"allowed_models":["gpt-*","claude-*","o*"]}"#,
                r#"{"allowed_models":["gpt-4*","o3"]}"#,
                r#"{"denied_models":["gpt-4-32k"]}"#,
                "gpt-* o*",
                "gpt-4 gpt-4o o3",
                "gpt-5 claude-4 o1 gpt-4-32k",
            ),
            (
                r#"{"allowed_models":["*-mini","x"]}"#,
                r#"{"allowed_models":["*-nano","x"]}"#,
                r"{}",
                "x",
                "x",
                "a-mini a-nano",
            ),
            (
                r#"{"allowed_models":["gpt-4*"]}"#,
                r#"{"denied_models":["gpt-*"]}"#,
                r"{}",
                "",
                "",
                "gpt-4 gpt-5",
            ),
            (r"{}", r#"{"allowed_models":[]}"#, r"{}", "", "", "a"),
        ];
        for (own, up, top, said, allowed, refused) in cases {
            let group = |name: &str, parent: Option<&str>, text: &str| {
                let mut group: serde_json::Value = serde_json::from_str(text).unwrap();
                group["name"] = name.into();
                if let Some(parent) = parent {
                    group["parent"] = parent.into();
                }
                group
            };
            let policy = policy(&serde_json::json!([
                group("own", Some("up"), own),
                group("top", None, top),
                group("up", Some("top"), up),
            ]));
            let case = (own, up, top);
            let group = &policy.groups[0];
            assert_eq!(group.allowed_models.join(" "), said, "{case:?}");
            for model in allowed.split_whitespace() {
                assert!(group.allows(model), "{case:?} {model}");
            }
            for model in refused.split_whitespace() {
                assert!(!group.allows(model), "{case:?} {model}");
            }
            assert_eq!(group.restricts(), said != "*", "{case:?}");
        }
    }

    #[test]
    fn what_is_only_refused_is_warned_of() {
        let policy = policy(&serde_json::json!([
            {
                "name": "web",
                "parent": "product",
                "allowed_models": ["gpt-5", "gpt-4o", "o*", "claude-*"],
                "default_model": "o1",
                "model_aliases": {"fast": "gpt-4o", "good": "gpt-5"},
            },
            {"name": "product", "parent": "company"},
            {"name": "company", "allowed_models": ["gpt-4o", "o3"]},
        ]));
        let shown: Vec<_> = policy.warnings().iter().map(ToString::to_string).collect();
        let not_above = "is not allowed by 'company' above: it stays refused";
        assert_eq!(
            shown,
            [
                "consumer_groups[0].default_model: the group may not use 'o1'; requests with it are refused".to_owned(),
                "consumer_groups[0].model_aliases.good: the group may not use 'gpt-5'; requests with it are refused".to_owned(),
                format!("consumer_groups[0].allowed_models[0]: 'gpt-5' {not_above}"),
                format!("consumer_groups[0].allowed_models[3]: 'claude-*' {not_above}"),
            ]
        );
    }

    /// The decoder lets none through; built in code it must still end.
    #[test]
    fn a_circle_of_parents_ends() {
        let document =
            br#"{"version":"1","consumer_groups":[{"name":"a","parent":"b"},{"name":"b"}]}"#;
        let mut config = Config::from_json(document).unwrap();
        config.consumer_groups[1].parent = Some("a".to_owned());
        let policy = Policy::compile(config, |_| None).unwrap();
        assert!(policy.groups[0].allows("x"));
    }
}
