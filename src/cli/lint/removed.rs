//! Policies that do nothing: that are to be removed where none would be inherited, as most likely the name, or the list, is
//! another; and that look for what nobody finds.

use super::advice::Advised;
use crate::config::{Config, Moderation, PolicyKind, PolicyRule, Rules};

/// One of the lists of a scope.
type Of = fn(&Rules) -> &[PolicyRule];

/// The lists of policies, which are inherited each for itself.
const LISTS: [(&str, Of); 3] = [
    ("policies", |rules| &rules.policies),
    ("input_policies", |rules| &rules.input_policies),
    ("output_policies", |rules| &rules.output_policies),
];

/// What OpenAI's endpoint tells apart, and what stands below it.
const CATEGORIES: [&str; 13] = [
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
];

pub(super) fn warnings(config: &Config) -> Vec<Advised> {
    let mut found = not_inherited(config);
    for (path, rules) in config.scopes() {
        for (list, of) in LISTS {
            for (at, policy) in of(rules).iter().enumerate() {
                let path = format!("{path}.{list}[{at}]");
                found.extend(unknown_categories(&path, policy));
            }
        }
    }
    found
}

/// Another endpoint than OpenAI's may have others.
fn unknown_categories(path: &str, policy: &PolicyRule) -> Vec<Advised> {
    let PolicyKind::ContentFilter(content) = &policy.kind else {
        return Vec::new();
    };
    let categories = content.criteria.categories.iter();
    let categories = categories.filter(|_| content.cluster.is_none());
    let unknown = categories.filter(|category| !CATEGORIES.contains(&category.as_str()));
    let unknown = unknown.map(|category| Advised {
        path: format!("{path}.config.categories"),
        message: format!(
            "'{category}' is none of OpenAI's categories: nothing is ever found in it"
        ),
        help: format!("they are {}", CATEGORIES.join(", ")),
    });
    unknown.collect()
}

fn not_inherited(config: &Config) -> Vec<Advised> {
    let mut scopes = config.scopes();
    scopes.retain(|(path, _)| path != "ceilings"); // which inherit nothing
    let mut found = Vec::new();
    for (path, rules) in &scopes {
        // Those of the same kind are beside each other, not above.
        let kind = path.split('[').next().unwrap_or_default();
        let above = scopes
            .iter()
            .take_while(|(path, _)| !path.starts_with(kind));
        let above: Vec<&Rules> = above.map(|(_, rules)| *rules).collect();
        for (list, of) in LISTS {
            for (at, policy) in of(rules).iter().enumerate() {
                let name = policy.name.as_str();
                if above.is_empty() || !is_bare(policy) || has(&above, of, name) {
                    continue;
                }
                let other = LISTS.iter().find(|(_, of)| has(&above, *of, name));
                found.push(Advised {
                    path: format!("{path}.{list}[{at}]"),
                    message: format!("removes nothing: no `{list}` above has a `{name}`"),
                    help: match other {
                        Some((other, _)) => format!("it is in `{other}`: say it there"),
                        None => "is this its name?".to_owned(),
                    },
                });
            }
        }
    }
    found
}

/// All that is said of it is that it is not wanted.
fn is_bare(policy: &PolicyRule) -> bool {
    let silent = matches!(&policy.kind, PolicyKind::ContentFilter(config) if **config == Moderation::default());
    !policy.enabled && silent
}

fn has(scopes: &[&Rules], of: Of, name: &str) -> bool {
    let mut policies = scopes.iter().flat_map(|rules| of(rules));
    policies.any(|policy| policy.enabled && policy.name == name)
}
