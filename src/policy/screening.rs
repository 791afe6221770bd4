//! What a group's prompts are looked through for, and what follows from what was found.

use super::{Moderator, Target};
use crate::config::{Mode, PolicyAction, PolicyKind, PolicyRule};
use crate::guardrail::{Entities, Findings, Keywords, Redaction, Search, Words};
use crate::llm::response::screen::Order;
use std::rc::Rc;

/// The policies on a group's prompts.
#[derive(Debug, Default)]
pub struct Screening {
    rules: Vec<Rule>,
    /// Whom further policies ask; what those say comes later, and is not [judged](Self::judge) here.
    pub moderators: Vec<Rc<Moderator>>,
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
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Found {
    /// What a moderation endpoint calls it, commas between them.
    Categories(Rc<str>),
    /// Personal data of these kinds.
    Entities(Entities),
    /// One of its words.
    Keyword,
}

impl Found {
    /// The kinds' names.
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        match self {
            Self::Categories(categories) => {
                for name in categories.split(',') {
                    names.push(name);
                }
            }
            Self::Entities(entities) => {
                for name in entities.names() {
                    names.push(name);
                }
            }
            Self::Keyword => names.push("keyword"),
        }
        names
    }
}

impl Hit {
    /// Whether it refuses the request, or would.
    pub fn refuses(&self) -> bool {
        self.found.is_some() && self.action == PolicyAction::Block
    }

    /// Whether it has something taken out of the request, or would.
    pub fn redacts(&self) -> bool {
        self.found.is_some() && self.action == PolicyAction::Redact
    }
}

/// Adds what a list of policies looks for to what all look for: which of a consumer's groups is charged may not be known
/// while its prompt is read.
pub(super) fn gather(rules: &[PolicyRule], search: &mut Search) {
    for rule in rules.iter().filter(|rule| rule.enabled) {
        match &rule.kind {
            PolicyKind::KeywordFilter { words, patterns } => {
                // A policy of all groups is one list, however many groups there are. Patterns were checked when they were
                // read.
                if place(search, words, patterns).is_none()
                    && let Ok(keywords) = Keywords::new(of(words), patterns)
                {
                    search.words.push(keywords);
                }
            }
            PolicyKind::PiiDetector(entities) => search.entities.add(*entities),
            PolicyKind::ContentFilter(_) => {}
        }
    }
}

/// Which of the lists is of these.
fn place(search: &Search, words: &[String], patterns: &[String]) -> Option<usize> {
    let words = of(words);
    let mut lists = search.words.iter();
    lists.position(|known| known.is_of(&words, patterns))
}

fn of(words: &[String]) -> Words {
    Words::new(words.iter().cloned())
}

impl Screening {
    /// From lists of policies, each of which was put together already. `search` has what all of them look for: see
    /// [`gather`]; `targets`: whom a `content_filter` may ask.
    pub(super) fn compile(
        lists: &[&Vec<PolicyRule>],
        mode: Mode,
        targets: &[Rc<Target>],
        search: &Search,
    ) -> Self {
        let mut moderators = Vec::new();
        let rules = lists.iter().copied().flatten();
        let rules = rules.filter(|rule| rule.enabled).filter_map(|rule| {
            let name: Rc<str> = rule.name.as_str().into();
            let shadow = rule.mode.unwrap_or(mode) == Mode::Shadow;
            let looks_for = match &rule.kind {
                PolicyKind::ContentFilter(config) => {
                    let hit = Hit {
                        policy: Rc::clone(&name),
                        // It says what is wrong, but not where.
                        action: match rule.action {
                            PolicyAction::Redact => PolicyAction::Block,
                            action => action,
                        },
                        shadow,
                        found: None,
                    };
                    if Moderator::add(&mut moderators, config, targets, hit).is_some() {
                        return None;
                    }
                    LooksFor::Unevaluated
                }
                PolicyKind::KeywordFilter { words, patterns } => {
                    let place = place(search, words, patterns);
                    place.map_or(LooksFor::Unevaluated, LooksFor::Words)
                }
                PolicyKind::PiiDetector(entities) => LooksFor::Entities(*entities),
            };
            Some(Rule {
                name,
                action: rule.action,
                shadow,
                looks_for,
            })
        });
        Self {
            rules: rules.collect(),
            moderators: moderators.into_iter().map(Rc::new).collect(),
        }
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.moderators.is_empty()
    }

    /// Whether any of them looks for something here.
    pub fn is_concerned(&self) -> bool {
        let mut rules = self.rules.iter();
        rules.any(|rule| !matches!(rule.looks_for, LooksFor::Unevaluated))
    }

    /// Whether one of them has it judged elsewhere and lets it wait for that.
    pub fn awaits(&self) -> bool {
        let mut moderators = self.moderators.iter();
        moderators.any(|moderator| moderator.holds())
    }

    /// The kinds that are taken out of prompts.
    pub fn redacted(&self) -> Findings {
        let mut kinds = Findings::default();
        let mut rules = self.rules.iter();
        let redacts = |rule: &&Rule| rule.action == PolicyAction::Redact && !rule.shadow;
        while let Some(rule) = rules.find(redacts) {
            match rule.looks_for {
                LooksFor::Entities(entities) => kinds.entities.add(entities),
                LooksFor::Unevaluated => {}
                LooksFor::Words(list) => kinds.add(&Findings {
                    words: vec![list],
                    ..Findings::default()
                }),
            }
        }
        kinds
    }

    /// What is to be done about an answer.
    pub fn order(&self, search: &Rc<Search>) -> Order {
        let mut stops = Findings::default();
        for rule in self.rules.iter().filter(|rule| !rule.shadow) {
            match (rule.action, &rule.looks_for) {
                (PolicyAction::Block, LooksFor::Entities(entities)) => {
                    stops.entities.add(*entities);
                }
                (PolicyAction::Block, LooksFor::Words(list)) => stops.add(&Findings {
                    words: vec![*list],
                    ..Findings::default()
                }),
                _ => {}
            }
        }
        Order {
            redaction: Redaction {
                search: Rc::clone(search),
                kinds: self.redacted(),
            },
            stops,
            keep: !self.moderators.is_empty(),
        }
    }

    /// What each policy has to say that found something.
    pub fn found(&self, findings: &Findings) -> Vec<Hit> {
        let mut hits = self.judge(findings);
        hits.retain(|hit| hit.found.is_some());
        hits
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
