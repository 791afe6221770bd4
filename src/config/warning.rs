//! What is valid, and still not what its author may expect.

use super::{
    Config, Consumer, ConsumerGroup, FailureMode, PolicyAction, PolicyKind, PolicyRule, Provider,
    Rules, ScopeLimits, ServiceDialect,
};
use crate::limit::{Limit, Unit, Window};
use crate::time::UtcOffset;
use std::fmt;

/// One thing to think about again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Warning {
    /// What it is about; empty: the document as a whole.
    pub path: String,
    /// What to know.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

pub(super) fn of(config: &Config) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |path: String, message: &str| {
        warnings.push(Warning {
            path,
            message: message.to_owned(),
        });
    };
    if config.consumer_groups.is_empty() {
        warn(
            "consumer_groups".to_owned(),
            "there are none: every request is refused",
        );
    }
    let mut targets = config.providers.iter();
    let asks = targets.any(|target| target.provider == Provider::OpenAi);
    for (index, group) in config.consumer_groups.iter().enumerate() {
        let mut others = config.consumer_groups.iter();
        let is_parent = others.any(|other| other.parent.as_ref() == Some(&group.name));
        let is_open = is_parent || is_reached(config, group);
        let rules = config.rules_of(group);
        of_group(group, &rules, is_open, asks, &mut |field, message| {
            warn(format!("consumer_groups[{index}]{field}"), message);
        });
    }
    let scopes = [("", &config.defaults), ("ceilings.", &config.ceilings)];
    for (scope, rules) in scopes {
        of_rules(rules, asks, &mut |field, message| {
            warn(format!("{scope}{field}"), message);
        });
    }
    for (list, entries) in [("services", &config.services), ("routes", &config.routes)] {
        for (index, entry) in entries.iter().enumerate() {
            of_rules(&entry.rules, asks, &mut |field, message| {
                warn(format!("{list}[{index}].{field}"), message);
            });
        }
    }
    for (index, consumer) in config.consumers.iter().enumerate() {
        if !is_member(config, consumer) {
            let message = "is in no group, and there is no `default_group`: its keys open nothing";
            warn(format!("consumers[{index}]"), message);
        }
        if consumer.keys.iter().any(|key| key.plain) {
            warn(format!("consumers[{index}]"), PLAIN);
        }
        of_rules(&consumer.rules, asks, &mut |field, message| {
            warn(format!("consumers[{index}].{field}"), message);
        });
    }
    of_counters(config, &mut warn);
    warnings
}

fn of_counters(config: &Config, warn: &mut dyn FnMut(String, &str)) {
    let groups = config.consumer_groups.iter();
    let mut scopes: Vec<_> = groups
        .map(|group| limits(&config.rules_of(group).limits))
        .collect();
    scopes.push(limits(&config.ceilings.limits));
    let all = scopes.concat();
    let any = |wanted: fn(&Limit) -> bool| all.iter().any(wanted);
    let calendar = any(|limit| matches!(limit.window, Window::Day | Window::Month));
    let Some(service) = &config.counters.service else {
        if calendar && config.counters.seed.is_empty() {
            warn(String::new(), NOT_KEPT);
        }
        return;
    };
    let mut warn = |field: &str, message| warn(format!("counters.{field}"), message);
    if any(|limit| matches!(limit.window, Window::Sliding(_))) {
        warn(
            "store",
            "a rate-limit service's windows are fixed: around their edges up to twice a limit passes",
        );
    }
    if calendar && config.timezone != UtcOffset(0) {
        warn(
            "store",
            "a rate-limit service knows no `timezone`: its days and months are its own",
        );
    }
    if service.dialect == ServiceDialect::Kuadrant && any(|limit| limit.window == Window::Month) {
        warn("dialect", "a month has 30 days there");
    }
    if any(|limit| limit.unit == Unit::ConcurrentRequests) {
        warn(
            "store",
            "each Envoy counts `concurrent_requests` for itself",
        );
    }
    if any(|limit| limit.unit.is_tokens()) {
        warn(
            "store",
            "each Envoy reserves the tokens of its own requests; the others see them when they are used",
        );
    }
    let several = scopes.iter().any(|scope| scope.len() > 1);
    let ceilings = scopes.last().is_some_and(|scope| !scope.is_empty());
    let mut groups = config.consumer_groups.iter();
    let nested = ceilings || groups.any(|group| group.parent.is_some());
    if several || (nested && all.len() > 1) {
        warn(
            "store",
            "a request that one limit refuses stays counted by the others",
        );
    }
    if service.lease.is_some() {
        warn("lease", "what is not used of a lease stays counted");
    }
}

/// All limits that a scope sets.
fn limits(scope: &ScopeLimits) -> Vec<Limit> {
    let mut limits: Vec<Limit> = Vec::new();
    limits.extend(&scope.rate_limits);
    limits.extend(&scope.consumer_rate_limits);
    for entry in scope.model_rate_limits.iter().flatten() {
        limits.extend(&entry.rate_limits);
    }
    limits
}

const PLAIN: &str = "has a key in plain text; `api_keys: [{sha256: …}]` keeps it out of the file";

/// Not so where someone keeps the event log, and gives its sums as `seed`.
pub(crate) const NOT_KEPT: &str =
    "limits per day and month are counted in Envoy's memory: a restart of Envoy starts them anew";

/// What policies do not do: silence would be a lie. `asks`: there is someone to ask about contents.
fn of_policies(rules: &[PolicyRule], asks: bool, warn: &mut dyn FnMut(&str, &str)) {
    for (index, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.enabled) {
        let mut warn = |message| warn(&format!("[{index}]"), message);
        if let PolicyKind::ContentFilter(config) = &rule.kind {
            if config.cluster.is_none() && !asks {
                warn(
                    "asks nobody: it has no `config.cluster`, and no target is of provider `openai`; events say `unevaluated`",
                );
                continue;
            }
            if config.failure_mode == FailureMode::Deny && rule.action == PolicyAction::Flag {
                warn(
                    "`failure_mode: deny` does nothing here: `flag` refuses nothing and holds nothing",
                );
            }
            if rule.action == PolicyAction::Redact {
                warn("a `content_filter` takes nothing out: `redact` is `block` here");
            }
        }
    }
}

/// Whether there is a group for a consumer to be in.
fn is_member(config: &Config, consumer: &Consumer) -> bool {
    let mut groups = config.consumer_groups.iter();
    config.identity.is_some()
        || config.default_group.is_some()
        || !consumer.groups.is_empty()
        || groups.any(|group| group.consumers.contains(&consumer.name))
}

/// Whether someone comes into the group without one of its keys.
fn is_reached(config: &Config, group: &ConsumerGroup) -> bool {
    let named = Some(&group.name);
    let memberships = config
        .consumers
        .iter()
        .flat_map(|consumer| &consumer.groups);
    config.identity.is_some()
        || config.default_group.as_ref() == named
        || config.anonymous_group.as_ref() == named
        || !group.consumers.is_empty()
        || memberships
            .into_iter()
            .any(|member| member.group == group.name)
}

fn of_group(
    group: &ConsumerGroup,
    rules: &Rules,
    is_open: bool,
    asks: bool,
    warn: &mut dyn FnMut(&str, &str),
) {
    if group.keys.is_empty() && !is_open {
        warn("", "has no key: nobody can use it");
    }
    if group.keys.iter().any(|key| key.plain) {
        warn("", PLAIN);
    }
    match &rules.allowed_models {
        // Of a group with a parent, the parent says it.
        None if group.parent.is_none() => {
            warn("", "has no `allowed_models`: every model is allowed");
        }
        Some(models) if models.is_empty() => {
            warn(".allowed_models", "is empty: no model is allowed");
        }
        None | Some(_) => {}
    }
    of_rules(&group.rules, asks, &mut |field, message| {
        warn(&format!(".{field}"), message);
    });
}

fn of_rules(rules: &Rules, asks: bool, warn: &mut dyn FnMut(&str, &str)) {
    let lists = [
        ("policies", &rules.policies),
        ("input_policies", &rules.input_policies),
        ("output_policies", &rules.output_policies),
    ];
    for (list, rules) in lists {
        of_policies(rules, asks, &mut |field, message| {
            warn(&format!("{list}{field}"), message);
        });
    }
}
