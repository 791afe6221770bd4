//! `cohort group list`: what holds for the groups of a policy file, for people and for programs.

use super::super::document::Document;
use super::super::{Failure, Format, print};
use crate::config::{ApiKey, Config, ConsumerGroup, Mode};
use crate::limit::counter::Budget;
use crate::limit::{Limit, Unit};
use crate::spend::usd;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
pub(in super::super) struct List {
    /// For people, or for a program
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The policy file
    #[arg(long, value_name = "FILE", default_value = "policy-config.yaml")]
    config: PathBuf,
}

impl List {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let config = match Document::read_valid(&self.config)? {
            Ok(document) => document.config,
            Err(code) => return Ok(code),
        };
        let groups = config.consumer_groups.iter();
        print(|out| match self.format {
            Format::Json => {
                let groups: Vec<_> = groups.map(|group| object(group, &config)).collect();
                serde_json::to_writer_pretty(&mut *out, &groups)?;
                writeln!(out)
            }
            Format::Text if config.consumer_groups.is_empty() => {
                writeln!(out, "there are no groups; `cohort group add` makes one")
            }
            Format::Text => groups
                .enumerate()
                .try_for_each(|(at, group)| text(at, group, &config, out)),
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

fn text(at: usize, group: &ConsumerGroup, config: &Config, out: &mut dyn Write) -> io::Result<()> {
    if at > 0 {
        writeln!(out)?;
    }
    write!(out, "{}", group.name)?;
    let mut notes = Vec::new();
    notes.extend((!group.enabled).then(|| "disabled".to_owned()));
    let mode = group.mode.unwrap_or(config.mode);
    notes.extend((mode == Mode::Shadow).then(|| "shadow".to_owned()));
    notes.extend(group.parent.iter().map(|name| format!("below {name}")));
    notes.extend(group.not_before.map(|date| format!("from {date}")));
    notes.extend(group.not_after.map(|date| format!("until {date}")));
    if notes.is_empty() {
        writeln!(out)?;
    } else {
        writeln!(out, " ({})", notes.join(", "))?;
    }
    let mut row = |name: &str, value: &str| match value {
        "" => Ok(()),
        value => writeln!(out, "  {name:9}  {value}"),
    };
    let rules = config.rules_of(group);
    row("about", group.description.as_deref().unwrap_or_default())?;
    let models = match &rules.allowed_models {
        None if group.parent.is_some() => "those of the group above".to_owned(),
        None => "every model".to_owned(),
        Some(models) if models.is_empty() => "none".to_owned(),
        Some(models) => models.join(", "),
    };
    let denied: Vec<_> = rules.denied_models.iter().flatten().cloned().collect();
    row("models", &models)?;
    row("not", &denied.join(", "))?;
    row("limits", &shown(&rules.limits.rate_limits))?;
    row("each", &shown(&rules.limits.consumer_rate_limits))?;
    for entry in rules.limits.model_rate_limits.iter().flatten() {
        let limits = shown(&entry.rate_limits);
        row(
            "of models",
            &format!("{}: {limits}", entry.models.join(", ")),
        )?;
    }
    let budgets = rules.spend.budgets.iter().flatten().map(|budget| {
        let period = budget.limit.window;
        format!("{} USD per {period}", usd(budget.limit.quota))
    });
    row("budgets", &budgets.collect::<Vec<_>>().join(", "))?;
    let keys: Vec<_> = group.keys.iter().map(key_text).collect();
    row("keys", &keys.join(", "))?;
    row("consumers", &members(group, config).join(", "))
}

/// `requests_per_minute 60, tokens_per_day 2000000`
pub(in super::super) fn shown(limits: &[Limit]) -> String {
    let limits = limits
        .iter()
        .map(|limit| format!("{} {}", limit.name(), limit.quota));
    limits.collect::<Vec<_>>().join(", ")
}

/// A key as a person would tell it from others.
pub(in super::super) fn key_text(key: &ApiKey) -> String {
    let mut notes = Vec::new();
    notes.extend(key.plain.then(|| "plain text".to_owned()));
    notes.extend((!key.enabled).then(|| "disabled".to_owned()));
    notes.extend(key.not_before.map(|date| format!("from {date}")));
    notes.extend(key.not_after.map(|date| format!("until {date}")));
    if notes.is_empty() {
        key.id.clone()
    } else {
        format!("{} ({})", key.id, notes.join(", "))
    }
}

/// The consumers that are in a group, whichever entry says so.
fn members<'a>(group: &'a ConsumerGroup, config: &'a Config) -> Vec<&'a str> {
    let consumers = config.consumers.iter();
    let members = consumers.filter(|consumer| {
        let mut groups = consumer.groups.iter();
        let own = groups.any(|membership| membership.group == group.name);
        let listed = |group: &ConsumerGroup| group.consumers.contains(&consumer.name);
        let default = consumer.groups.is_empty()
            && config.default_group.as_ref() == Some(&group.name)
            && !config.consumer_groups.iter().any(listed);
        own || default || listed(group)
    });
    members.map(|consumer| &*consumer.name).collect()
}

fn object(group: &ConsumerGroup, config: &Config) -> Value {
    let rules = config.rules_of(group);
    let limits = &rules.limits;
    let of_models = limits.model_rate_limits.iter().flatten().map(
        |entry| json!({"models": entry.models, "rate_limits": limits_json(&entry.rate_limits)}),
    );
    let budgets = rules.spend.budgets.iter().flatten();
    json!({
        "name": group.name,
        "description": group.description,
        "parent": group.parent,
        "enabled": group.enabled,
        "mode": if group.mode.unwrap_or(config.mode) == Mode::Shadow { "shadow" } else { "enforce" },
        "not_before": group.not_before.map(|date| date.to_string()),
        "not_after": group.not_after.map(|date| date.to_string()),
        "priority": group.priority,
        "features": group.features,
        "allowed_models": rules.allowed_models,
        "denied_models": rules.denied_models.unwrap_or_default(),
        "rate_limits": limits_json(&limits.rate_limits),
        "consumer_rate_limits": limits_json(&limits.consumer_rate_limits),
        "model_rate_limits": of_models.collect::<Vec<_>>(),
        "budgets": budgets.map(budget_json).collect::<Vec<_>>(),
        "keys": group.keys.iter().map(key_json).collect::<Vec<_>>(),
        "consumers": members(group, config),
    })
}

fn budget_json(budget: &Budget) -> Value {
    json!({
        "amount_usd": usd(budget.limit.quota).parse::<serde_json::Number>().ok(),
        "per": budget.limit.window.to_string(),
        "on_exceeded": if budget.blocks { "block" } else { "alert" },
    })
}

/// By name, as `rate_limits` has them.
pub(in super::super) fn limits_json(limits: &[Limit]) -> Value {
    debug_assert!(limits.iter().all(|limit| limit.unit != Unit::Cost));
    let members = limits
        .iter()
        .map(|limit| (limit.name().to_string(), Value::from(limit.quota)));
    Value::Object(members.collect())
}

/// What is known of a key, which is not the key.
pub(in super::super) fn key_json(key: &ApiKey) -> Value {
    json!({
        "id": key.id,
        "plain": key.plain,
        "enabled": key.enabled,
        "not_before": key.not_before.map(|date| date.to_string()),
        "not_after": key.not_after.map(|date| date.to_string()),
    })
}
