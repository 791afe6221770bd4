//! Which scope each rule came from.

use crate::config::{Config, Rules};

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
    let consumer = at.consumer.and_then(|name| {
        let mut consumers = config.consumers.iter().enumerate();
        consumers.find(|(_, consumer)| consumer.name == name)
    });
    if let Some((index, consumer)) = consumer {
        let scope = format!("consumers[{index}] ({})", consumer.name);
        origins.extend(said(&consumer.rules, &scope));
    }
    // What a consumer has to itself does not stand in place of what its group has.
    let mut known: Vec<String> = (origins.iter())
        .map(|origin| origin.field.clone())
        .filter(|field| !is_counted(field))
        .collect();
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

/// Whether each scope that says it has a counter of its own.
fn is_counted(field: &str) -> bool {
    field.starts_with("rate_limits.") || matches!(field, "budgets" | "model_rate_limits")
}
