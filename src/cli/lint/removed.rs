//! Policies that are to be removed where none would be inherited: most likely the name, or the list, is another.

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

pub(super) fn warnings(config: &Config) -> Vec<Advised> {
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
