//! Limitador: a list of limits, each with the conditions under which a request counts for it.
//!
//! The filter sends one descriptor that says who asks; here it is said which limits that is under. Conditions are CEL; one
//! that fails to evaluate would stop the server, so only comparisons are used, which at worst lack their key and are false.

use super::{Level, domain, quoted};
use crate::config::{Config, ServiceDialect};
use crate::service::{MODEL_SEPARATOR, counts};
use std::fmt::Write;

/// The file that limitador-server is started with.
pub fn limitador(config: &Config) -> String {
    let mut out = String::from(
        "# For limitador-server, rendered from the policy file: `counters` with `dialect: kuadrant`. Start it with\n\
         # `--rate-limit-headers DRAFT_VERSION_03`, or nobody is told what is left and nothing can be leased.\n\
         # A window begins with its first request; a month has 30 days.\n",
    );
    let namespace = quoted(domain(config));
    let mut none = true;
    for level in Level::all(config) {
        let descriptor = &level.descriptor;
        let mut owner = vec![];
        if let Some(group) = &descriptor.group {
            let members = with_descendants(config, group);
            owner.push(if let [only] = &*members {
                format!("descriptors[0].group == {}", text(only))
            } else {
                let members: Vec<_> = members.into_iter().map(text).collect();
                format!("descriptors[0].group in [{}]", members.join(", "))
            });
        }
        if let Some(models) = &descriptor.models {
            let entry = format!("{MODEL_SEPARATOR}{models}{MODEL_SEPARATOR}");
            owner.push(format!("descriptors[0].model.contains({})", text(&entry)));
        }
        let record = descriptor.record();
        let mut name = record
            .strip_prefix("cohort/1/")
            .unwrap_or(&record)
            .to_owned();
        if level.per_consumer {
            name.push_str("/consumer");
        }
        for limit in &level.limits {
            if !counts(ServiceDialect::Kuadrant, limit) {
                continue;
            }
            none = false;
            let unit = format!("descriptors[0].limit == '{}'", limit.unit);
            // Writing into a `String` cannot fail.
            let _ = writeln!(out, "- namespace: {namespace}");
            let _ = writeln!(
                out,
                "  name: {}",
                quoted(&format!("{name} {}", limit.name()))
            );
            let _ = writeln!(out, "  max_value: {}", limit.quota);
            let _ = writeln!(out, "  seconds: {}", limit.window.seconds());
            let _ = writeln!(out, "  conditions:");
            for condition in owner.iter().chain([&unit]) {
                let _ = writeln!(out, "    - {}", quoted(condition));
            }
            let variables = if level.per_consumer {
                "[\"descriptors[0].consumer\"]"
            } else {
                "[]"
            };
            let _ = writeln!(out, "  variables: {variables}");
        }
    }
    if none {
        out.push_str("[]\n");
    }
    out
}

/// A group and all groups under it, in file order: their requests come with their own names.
fn with_descendants<'a>(config: &'a Config, top: &'a str) -> Vec<&'a str> {
    let groups = &config.consumer_groups;
    let parent = |name: &str| {
        let group = groups.iter().find(|group| group.name == name);
        group.and_then(|group| group.parent.as_deref())
    };
    let is_under = |group: &&str| {
        let mut above = std::iter::successors(Some(*group), |name| parent(name));
        // No chain is longer than the list; a cycle is refused elsewhere.
        above.by_ref().take(groups.len()).any(|name| name == top)
    };
    let names = groups.iter().map(|group| &*group.name);
    names.filter(is_under).collect()
}

/// A string literal of CEL.
fn text(text: &str) -> String {
    let mut out = String::from("'");
    for c in text.chars() {
        match c {
            '\'' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}
