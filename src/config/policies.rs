//! `policies`, `input_policies`, `output_policies`: what texts are looked through for, and what follows.

use super::decode::{Decoder, Fields, Map};
use super::document::{cluster, mode};
use super::node::{Node, Value};
use super::{FailureMode, Mode};
use crate::guardrail::{Criteria, Entities, Entity, Pattern, Words};

/// One entry of `policies`, `input_policies` or `output_policies`.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyRule {
    /// Unique within its list.
    pub name: String,
    /// What it looks for.
    pub kind: PolicyKind,
    /// `false` takes the one of this name out that stands further up.
    pub enabled: bool,
    /// What it does then.
    pub action: PolicyAction,
    /// Overrides the mode of what it stands in.
    pub mode: Option<Mode>,
}

/// `type` of a policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PolicyKind {
    /// `content_filter`: what a moderation endpoint says.
    ContentFilter(Box<Moderation>),
    /// `keyword_filter`: words and patterns of them.
    KeywordFilter {
        /// `config.words`
        words: Vec<String>,
        /// `config.patterns`
        patterns: Vec<String>,
    },
    /// `pii_detector`: kinds of personal data.
    PiiDetector(Entities),
}

/// `config` of a `content_filter`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Moderation {
    /// The Envoy cluster; `None`: that of the first target of provider `openai`.
    pub cluster: Option<String>,
    /// Where in it the endpoint is.
    pub path: String,
    /// How long its answer is waited for, in milliseconds.
    pub timeout_ms: u32,
    /// What holds where there is none: [`FailureMode::Allow`] or [`FailureMode::Deny`].
    pub failure_mode: FailureMode,
    /// What of it is a finding.
    pub criteria: Criteria,
}

impl Default for Moderation {
    fn default() -> Self {
        Self {
            cluster: None,
            path: "/v1/moderations".to_owned(),
            timeout_ms: 1_000,
            failure_mode: FailureMode::Allow,
            criteria: Criteria::default(),
        }
    }
}

/// `action` of a policy.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum PolicyAction {
    /// Refuse the request.
    #[default]
    Block,
    /// Let it pass and say so.
    Flag,
    /// Take the finding out.
    Redact,
}

impl PolicyAction {
    /// As the configuration writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Flag => "flag",
            Self::Redact => "redact",
        }
    }
}

pub(super) const RULE: Fields = Fields {
    known: &["name", "type", "action", "mode", "enabled", "config"],
    ..Fields::NONE
};

pub(super) const PII: Fields = Fields {
    known: &["entities"],
    ..Fields::NONE
};
pub(super) const KEYWORDS: Fields = Fields {
    known: &["words", "patterns"],
    ..Fields::NONE
};
pub(super) const CONTENT: Fields = Fields {
    known: &[
        "cluster",
        "path",
        "timeout",
        "failure_mode",
        "categories",
        "threshold",
    ],
    ..Fields::NONE
};

/// `type`, before its `config` is known.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    ContentFilter,
    KeywordFilter,
    PiiDetector,
}

pub(super) const KINDS: [(&str, Kind); 3] = [
    ("content_filter", Kind::ContentFilter),
    ("keyword_filter", Kind::KeywordFilter),
    ("pii_detector", Kind::PiiDetector),
];

pub(super) const ACTIONS: [(&str, PolicyAction); 3] = [
    ("block", PolicyAction::Block),
    ("flag", PolicyAction::Flag),
    ("redact", PolicyAction::Redact),
];

pub(super) fn policies(d: &mut Decoder, node: &Node) -> Option<Vec<PolicyRule>> {
    let mut names: Vec<String> = Vec::new();
    d.list(node, |d, item| {
        let map = d.map(item, &RULE)?;
        let name = d.required(&map, "name", |d, node| {
            let name = d.name(node)?;
            if names.contains(&name) {
                d.error(node.span, "another policy of this list has this name");
            }
            names.push(name.clone());
            Some(name)
        });
        let action = d
            .field(&map, "action", |d, node| d.choice(node, &ACTIONS))
            .unwrap_or_default();
        let mode = d.field(&map, "mode", mode);
        let enabled = d.field(&map, "enabled", Decoder::bool).unwrap_or(true);
        if !enabled && map.get("type").is_none() {
            // All that is said of it is that it is not wanted.
            return Some(PolicyRule {
                name: name?,
                kind: PolicyKind::ContentFilter(Box::default()),
                action,
                mode,
                enabled,
            });
        }
        let kind = d.required(&map, "type", |d, node| d.choice(node, &KINDS));
        let kind = config(d, &map, kind?);
        Some(PolicyRule {
            name: name?,
            kind: kind?,
            action,
            mode,
            enabled,
        })
    })
}

fn config(d: &mut Decoder, rule: &Map<'_>, kind: Kind) -> Option<PolicyKind> {
    match kind {
        Kind::ContentFilter => {
            let mut config: Box<Moderation> = Box::default();
            d.field(rule, "config", |d, node| content(d, node, &mut config));
            Some(PolicyKind::ContentFilter(config))
        }
        Kind::KeywordFilter => d.required(rule, "config", keywords),
        Kind::PiiDetector => d.required(rule, "config", |d, node| {
            let map = d.map(node, &PII)?;
            let entities = d.required(&map, "entities", |d, node| {
                let mut entities = Entities::default();
                some_of(d, node, |d, item| {
                    entities.insert(d.choice(item, &Entity::ALL)?);
                    Some(())
                })?;
                Some(entities)
            });
            entities.map(PolicyKind::PiiDetector)
        }),
    }
}

fn keywords(d: &mut Decoder, node: &Node) -> Option<PolicyKind> {
    let map = d.map(node, &KEYWORDS)?;
    let mut words = Vec::new();
    d.field(&map, "words", |d, node| {
        some_of(d, node, |d, item| {
            let word = d.checked(item, |word| !word.trim().is_empty(), "not empty")?;
            if word.len() > Words::MAX {
                d.error(item.span, format!("is longer than {} bytes", Words::MAX));
            }
            words.push(word);
            Some(())
        })
    });
    let mut patterns = Vec::new();
    d.field(&map, "patterns", |d, node| {
        some_of(d, node, |d, item| {
            let pattern = d.checked(item, |text| !text.is_empty(), "not empty")?;
            if let Err(error) = Pattern::new(&pattern) {
                d.error(item.span, error.to_string());
            }
            patterns.push(pattern);
            Some(())
        })
    });
    if map.get("words").is_none() && map.get("patterns").is_none() {
        d.error(node.span, "needs `words` or `patterns`");
    }
    Some(PolicyKind::KeywordFilter { words, patterns })
}

fn content(d: &mut Decoder, node: &Node, config: &mut Moderation) -> Option<()> {
    let map = d.map(node, &CONTENT)?;
    d.field(&map, "cluster", |d, node| {
        config.cluster = cluster(d, node);
        Some(())
    });
    d.field(&map, "path", |d, node| {
        let rule = |text: &str| {
            text.starts_with('/')
                && text.len() <= 256
                && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        config.path = d.checked(node, rule, "a path that begins with `/`")?;
        Some(())
    });
    d.field(&map, "timeout", |d, node| {
        config.timeout_ms = d.milliseconds(node, 1..=60_000)?;
        Some(())
    });
    d.field(&map, "failure_mode", |d, node| {
        let modes = [("allow", FailureMode::Allow), ("deny", FailureMode::Deny)];
        config.failure_mode = d.choice(node, &modes)?;
        Some(())
    });
    let criteria = &mut config.criteria;
    d.field(&map, "categories", |d, node| {
        let category = |text: &str| {
            let byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/".contains(&byte);
            !text.is_empty() && text.bytes().all(byte)
        };
        some_of(d, node, |d, item| {
            let category = d.checked(item, category, "a moderation category, like `hate`")?;
            criteria.categories.push(category);
            Some(())
        })
    });
    d.field(&map, "threshold", |d, node| {
        criteria.threshold = threshold(d, node);
        Some(())
    });
    Some(())
}

/// `low`, `medium`, `high`, or a score from 0 to 1; in millionths.
fn threshold(d: &mut Decoder, node: &Node) -> Option<u32> {
    const NAMED: [(&str, u32); 3] = [("low", 250_000), ("medium", 500_000), ("high", 750_000)];
    match node.value {
        Value::Integer(0) => Some(0),
        Value::Integer(1) => Some(1_000_000),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from nothing to a million"
        )]
        Value::Float(score) if (0.0..=1.0).contains(&score) => Some((score * 1e6).round() as u32),
        Value::Text(_) => d.choice(node, &NAMED),
        _ => {
            d.error(
                node.span,
                "must be low, medium, high or a number from 0 to 1",
            );
            None
        }
    }
}

/// A list that may not be empty: a policy that looks for nothing protects from nothing.
fn some_of(
    d: &mut Decoder,
    node: &Node,
    decode: impl FnMut(&mut Decoder, &Node) -> Option<()>,
) -> Option<()> {
    if matches!(&node.value, Value::List(items) if items.is_empty()) {
        d.error(node.span, "is empty");
    }
    d.list(node, decode).map(drop)
}

impl PolicyRule {
    /// Whether a list may have only one of the two.
    pub(super) fn same_name(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
