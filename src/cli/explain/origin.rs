//! Which scope each rule came from.

use crate::config::{Config, Rules, Spend};

/// A field of the rules that hold, what it says, and who says so.
pub(super) struct Origin {
    pub(super) field: String,
    pub(super) value: String,
    pub(super) scope: String,
}

/// Where a request stands, by names.
pub(super) struct Standpoint<'a> {
    pub(super) consumer: Option<&'a str>,
    pub(super) group: &'a str,
    pub(super) route: Option<&'a str>,
    pub(super) service: Option<&'a str>,
}

/// The rules that hold there, each with the narrowest scope that says it.
pub(super) fn origins(config: &Config, at: &Standpoint<'_>) -> Vec<Origin> {
    let mut origins: Vec<Origin> = Vec::new();
    // What the ceilings say of these, they say for everybody.
    let mut known: Vec<String> = said(&config.ceilings, "")
        .map(|origin| origin.field)
        .filter(|field| REPLACED.contains(&field.as_str()))
        .collect();
    let consumer = at.consumer.and_then(|name| {
        let mut consumers = config.consumers.iter().enumerate();
        consumers.find(|(_, consumer)| consumer.name == name)
    });
    if let Some((index, consumer)) = consumer {
        let scope = format!("consumers[{index}] ({})", consumer.name);
        for origin in said(&consumer.rules, &scope) {
            if known.contains(&origin.field) {
                continue;
            }
            if let Some(limit) = origin.field.strip_prefix("rate_limits.") {
                // In place of what it would have as one of a group's consumers, or says itself of that.
                known.push(format!("consumer_rate_limits.{limit}"));
            } else if !is_counted(&origin.field) {
                known.push(origin.field.clone());
            }
            origins.push(origin);
        }
    }
    let mut add = |rules: &Rules, scope: &str| {
        for origin in said(rules, scope) {
            if !known.contains(&origin.field) {
                known.push(origin.field.clone());
                origins.push(origin);
            }
        }
    };
    let group = |name: &str| {
        let mut groups = config.consumer_groups.iter().enumerate();
        groups.find(|(_, group)| group.name == name)
    };
    let own = group(at.group);
    if let Some((index, group)) = own {
        add(
            &group.rules,
            &format!("consumer_groups[{index}] ({})", group.name),
        );
    }
    for (list, entries, name) in [
        ("routes", &config.routes, at.route),
        ("services", &config.services, at.service),
    ] {
        let mut entries = entries.iter().enumerate();
        if let Some((index, entry)) = entries.find(|(_, entry)| Some(entry.name.as_str()) == name) {
            add(&entry.rules, &format!("{list}[{index}] ({})", entry.name));
        }
    }
    add(&config.defaults, "defaults");
    // Of the groups above, what holds below them.
    let mut above = own.and_then(|(_, group)| group.parent.as_deref());
    let mut levels = 0;
    while let Some((index, parent)) = above
        .and_then(group)
        .filter(|_| levels < config.consumer_groups.len())
    {
        levels = levels.saturating_add(1);
        let rules = Rules {
            allowed_models: parent.rules.allowed_models.clone(),
            denied_models: parent.rules.denied_models.clone(),
            limits: parent.rules.limits.clone(),
            spend: Spend {
                budgets: parent.rules.spend.budgets.clone(),
                ..Spend::default()
            },
            ..Rules::default()
        };
        let scope = format!("consumer_groups[{index}] ({}), above", parent.name);
        origins.extend(said(&rules, &scope));
        above = parent.parent.as_deref();
    }
    origins.extend(said(&config.ceilings, "ceilings"));
    origins
}

fn said(rules: &Rules, scope: &str) -> impl Iterator<Item = Origin> {
    rules.said().into_iter().map(move |(field, value)| Origin {
        field,
        value,
        scope: scope.to_owned(),
    })
}

/// What the ceilings say in place of every scope, rather than beside it.
const REPLACED: [&str; 4] = ["default_model", "model_aliases", "pricing", "unpriced"];

/// Whether a consumer has a counter of its own for it, beside its group's.
fn is_counted(field: &str) -> bool {
    matches!(field, "budgets" | "model_rate_limits")
}
