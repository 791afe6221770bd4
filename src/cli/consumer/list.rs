//! `cohort consumer list`: what a policy file says of its consumers, for people and for programs.

use super::super::document::Document;
use super::super::group::{key_json, key_text, limits_json, shown};
use super::super::{Failure, Format, print};
use crate::config::{Config, Consumer, Membership};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
pub(in super::super) struct List {
    /// Only those of one group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
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
        if let Some(name) = &self.group
            && !config
                .consumer_groups
                .iter()
                .any(|group| group.name == *name)
        {
            return Err(Failure(format!("no consumer group is called '{name}'")));
        }
        let consumers = config.consumers.iter();
        let rows = consumers.map(|consumer| (consumer, groups(consumer, &config)));
        let rows: Vec<_> = rows
            .filter(|(_, groups)| {
                let mut groups = groups.iter();
                self.group
                    .as_ref()
                    .is_none_or(|name| groups.any(|membership| membership.group == *name))
            })
            .collect();
        print(|out| match self.format {
            Format::Json => {
                let rows: Vec<_> = rows
                    .iter()
                    .map(|(consumer, groups)| object(consumer, groups))
                    .collect();
                serde_json::to_writer_pretty(&mut *out, &rows)?;
                writeln!(out)
            }
            Format::Text if rows.is_empty() => {
                writeln!(
                    out,
                    "there are no consumers; `cohort consumer add` makes one"
                )
            }
            Format::Text => rows
                .iter()
                .enumerate()
                .try_for_each(|(at, (consumer, groups))| text(at, consumer, groups, out)),
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// All that it is in, whichever entry says so.
fn groups(consumer: &Consumer, config: &Config) -> Vec<Membership> {
    let plain = |name: &String| Membership {
        group: name.clone(),
        not_before: None,
        not_after: None,
    };
    let mut found = consumer.groups.clone();
    let all = config.consumer_groups.iter();
    let listed = all.filter(|group| group.consumers.contains(&consumer.name));
    found.extend(listed.map(|group| plain(&group.name)));
    if found.is_empty() {
        found.extend(config.default_group.iter().map(plain));
    }
    found
}

fn text(
    at: usize,
    consumer: &Consumer,
    groups: &[Membership],
    out: &mut dyn Write,
) -> io::Result<()> {
    if at > 0 {
        writeln!(out)?;
    }
    let disabled = if consumer.enabled { "" } else { " (disabled)" };
    writeln!(out, "{}{disabled}", consumer.name)?;
    let groups = groups.iter().map(|membership| {
        let mut text = membership.group.clone();
        for (word, date) in [
            ("from", membership.not_before),
            ("until", membership.not_after),
        ] {
            text.extend(date.map(|date| format!(" {word} {date}")));
        }
        text
    });
    let groups: Vec<_> = groups.collect();
    let groups = match groups.as_slice() {
        [] => "none: its keys are refused".to_owned(),
        groups => groups.join(", "),
    };
    writeln!(out, "  groups  {groups}")?;
    let rules = &consumer.rules;
    if let Some(models) = &rules.allowed_models {
        writeln!(out, "  models  {}", models.join(", "))?;
    }
    if !rules.limits.rate_limits.is_empty() {
        writeln!(out, "  limits  {}", shown(&rules.limits.rate_limits))?;
    }
    let keys: Vec<_> = consumer.keys.iter().map(key_text).collect();
    if keys.is_empty() {
        return writeln!(
            out,
            "  keys    none: `cohort key new {}` makes one",
            consumer.name
        );
    }
    writeln!(out, "  keys    {}", keys.join(", "))
}

fn object(consumer: &Consumer, groups: &[Membership]) -> Value {
    let groups = groups.iter().map(|membership| {
        json!({
            "name": membership.group,
            "not_before": membership.not_before.map(|date| date.to_string()),
            "not_after": membership.not_after.map(|date| date.to_string()),
        })
    });
    json!({
        "name": consumer.name,
        "enabled": consumer.enabled,
        "groups": groups.collect::<Vec<_>>(),
        "allowed_models": consumer.rules.allowed_models,
        "rate_limits": limits_json(&consumer.rules.limits.rate_limits),
        "keys": consumer.keys.iter().map(key_json).collect::<Vec<_>>(),
    })
}
