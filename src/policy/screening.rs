//! What a group's prompts are looked through for, and what follows from what was found.

use crate::config::{Mode, PolicyAction, PolicyKind, PolicyRule};
use crate::guardrail::{Entities, Findings, Search, Words};
use std::rc::Rc;

/// The policies on a group's prompts.
#[derive(Debug, Default)]
pub struct Screening {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    name: Rc<str>,
    action: PolicyAction,
    /// Whether it only says what it would have done.
    shadow: bool,
    looks_for: LooksFor,
}

#[derive(Debug)]
enum LooksFor {
    Entities(Entities),
    /// What nothing here can judge.
    Unevaluated,
    /// By the place of the list in the search.
    Words(usize),
}

/// A policy that has something to say of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hit {
    /// The policy's name.
    pub policy: Rc<str>,
    /// What it does.
    pub action: PolicyAction,
    /// Whether it only says that it would.
    pub shadow: bool,
    /// What it found; `None`: it could not look.
    pub found: Option<Found>,
}

/// What a policy found: kinds, never the thing itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Found {
    /// Personal data of these kinds.
    Entities(Entities),
    /// One of its words.
    Keyword,
}

impl Found {
    /// The kinds' names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let (entities, keyword) = match self {
            Self::Entities(entities) => (entities, None),
            Self::Keyword => (Entities::default(), Some("keyword")),
        };
        entities.names().chain(keyword)
    }
}

impl Hit {
    /// Whether it refuses the request, or would.
    pub fn refuses(&self) -> bool {
        // What should be taken out, and cannot be, must not go on.
        self.found.is_some() && matches!(self.action, PolicyAction::Block | PolicyAction::Redact)
    }
}

impl Screening {
    /// From lists of policies: in each, a later one of the same name stands in the place of an earlier one.
    ///
    /// `search` gathers what all groups look for: which of a consumer's groups is charged may not be known while its prompt
    /// is read.
    pub(super) fn compile(lists: [[&[PolicyRule]; 2]; 2], mode: Mode, search: &mut Search) -> Self {
        let mut rules = Vec::new();
        for list in lists {
            let mut merged: Vec<&PolicyRule> = Vec::new();
            for rule in list.into_iter().flatten() {
                match merged.iter_mut().find(|known| known.name == rule.name) {
                    Some(known) => *known = rule,
                    None => merged.push(rule),
                }
            }
            for rule in merged.into_iter().filter(|rule| rule.enabled) {
                let looks_for = match &rule.kind {
                    PolicyKind::ContentFilter => LooksFor::Unevaluated,
                    PolicyKind::KeywordFilter { words, .. } if words.is_empty() => {
                        LooksFor::Unevaluated
                    }
                    PolicyKind::KeywordFilter { words, .. } => {
                        let words = Words::new(words.iter().cloned());
                        // A policy of all groups is one list, however many groups there are.
                        let known = search.words.iter().position(|known| *known == words);
                        LooksFor::Words(known.unwrap_or_else(|| {
                            search.words.push(words);
                            search.words.len().saturating_sub(1)
                        }))
                    }
                    PolicyKind::PiiDetector(entities) => {
                        search.entities.add(*entities);
                        LooksFor::Entities(*entities)
                    }
                };
                rules.push(Rule {
                    name: rule.name.as_str().into(),
                    action: rule.action,
                    shadow: rule.mode.unwrap_or(mode) == Mode::Shadow,
                    looks_for,
                });
            }
        }
        Self { rules }
    }

    /// Whether any of them looks for something.
    pub fn is_concerned(&self) -> bool {
        let mut rules = self.rules.iter();
        rules.any(|rule| !matches!(rule.looks_for, LooksFor::Unevaluated))
    }

    /// What each policy has to say of what was found, in their order.
    pub fn judge(&self, findings: &Findings) -> Vec<Hit> {
        let hits = self.rules.iter().filter_map(|rule| {
            let found = match rule.looks_for {
                LooksFor::Entities(entities) => {
                    let found = entities.both(findings.entities);
                    (!found.is_empty()).then_some(Some(Found::Entities(found)))
                }
                LooksFor::Unevaluated => Some(None),
                LooksFor::Words(list) => {
                    (findings.words.contains(&list)).then_some(Some(Found::Keyword))
                }
            };
            Some(Hit {
                policy: Rc::clone(&rule.name),
                action: rule.action,
                shadow: rule.shadow,
                found: found?,
            })
        });
        hits.collect()
    }
}
