//! Limits that nobody comes to, or nobody gets past.

use super::advice::Advised;
use super::never::advised;
use crate::config::{Config, ConsumerGroup, Rules};
use crate::limit::{Limit, Unit, Window};

pub(super) fn warnings(config: &Config) -> Vec<Advised> {
    let mut found = Vec::new();
    for (scope, rules) in config.scopes() {
        limits(&scope, rules, &mut found);
    }
    for (at, group) in config.consumer_groups.iter().enumerate() {
        bound(at, group, config, &mut found);
    }
    found
}

/// A request that states no bound gets this one; more than a limit has at all is never let through.
fn bound(at: usize, group: &ConsumerGroup, config: &Config, found: &mut Vec<Advised>) {
    let rules = config.rules_of(group);
    let most = rules.request_limits.as_ref();
    let Some(most) = most.and_then(|limits| limits.max_output_tokens) else {
        return;
    };
    let models = rules.limits.model_rate_limits.iter().flatten();
    let limits = (rules.limits.rate_limits.iter())
        .chain(&rules.limits.consumer_rate_limits)
        .chain(models.flat_map(|entry| &entry.rate_limits))
        .chain(&config.ceilings.limits.rate_limits);
    let mut outputs =
        limits.filter(|limit| matches!(limit.unit, Unit::CompletionTokens | Unit::Tokens));
    if let Some(limit) = outputs.find(|limit| (1..most).contains(&limit.quota)) {
        let scope = match group.rules.request_limits {
            Some(_) => format!("consumer_groups[{at}]"),
            None => "defaults".to_owned(),
        };
        found.push(advised(
            format!("{scope}.request_limits.max_output_tokens"),
            format!(
                "requests that state no bound get {most}, which is more than all of {} {}: they are refused with 400 request_exceeds_limit",
                limit.name(),
                limit.quota
            ),
            "lower it, or raise the limit",
        ));
    }
}

fn limits(scope: &str, rules: &Rules, found: &mut Vec<Advised>) {
    let of = &rules.limits;
    let mut lists = vec![
        (format!("{scope}.rate_limits"), &of.rate_limits),
        (
            format!("{scope}.consumer_rate_limits"),
            &of.consumer_rate_limits,
        ),
    ];
    for (at, entry) in of.model_rate_limits.iter().flatten().enumerate() {
        let path = format!("{scope}.model_rate_limits[{at}].rate_limits");
        lists.push((path, &entry.rate_limits));
    }
    for (path, list) in lists {
        for limit in list {
            if limit.quota == 0 {
                found.push(advised(
                    path.clone(),
                    format!("{} is 0: every request is refused", limit.name()),
                    "take it out for no limit; `enabled: false` closes a group",
                ));
            } else if let Some(first) = list.iter().find(|other| fires_first(other, limit)) {
                found.push(never(path.clone(), limit, first, ""));
            }
        }
    }
    for limit in &of.consumer_rate_limits {
        let shared = of.rate_limits.iter();
        let mut shared = shared.filter(|shared| shared.same_count(limit));
        if let Some(first) = shared.find(|shared| (1..limit.quota).contains(&shared.quota)) {
            let path = format!("{scope}.consumer_rate_limits");
            found.push(never(path, limit, first, " of all consumers together"));
        }
    }
}

/// Whether a limit is used up before another one can be.
fn fires_first(first: &Limit, other: &Limit) -> bool {
    let part = matches!(other.unit, Unit::PromptTokens | Unit::CompletionTokens);
    let whole = first.unit == other.unit || (part && first.unit == Unit::Tokens);
    let windows = [first.window, other.window];
    let timed = !windows.contains(&Window::InFlight);
    let longer = first.window.seconds() >= other.window.seconds();
    whole && timed && longer && (1..other.quota).contains(&first.quota)
}

fn never(path: String, limit: &Limit, first: &Limit, of: &str) -> Advised {
    let message = format!(
        "{} {} is never reached: {} {}{of} comes first",
        limit.name(),
        limit.quota,
        first.name(),
        first.quota
    );
    advised(path, message, "raise the one, or lower the other")
}

#[cfg(test)]
mod tests {
    use super::warnings;
    use crate::config::Config;

    fn of_group(rules: &str) -> Vec<String> {
        let text = format!("version: '1'\nconsumer_groups: [{{name: a, {rules}}}]");
        let config = Config::from_yaml(&text).unwrap();
        let warnings = warnings(&config).into_iter();
        warnings
            .map(|found| format!("{}: {}", found.path, found.message))
            .collect()
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn a_bound_that_no_limit_has_room_for() {
        let most = "request_limits: {max_output_tokens: 500}";
        assert_eq!(
            of_group(&format!("{most}, rate_limits: {{tokens_per_day: 400}}")),
            [
                "consumer_groups[0].request_limits.max_output_tokens: requests that state no bound get 500, which is more than all of tokens_per_day 400: they are refused with 400 request_exceeds_limit"
            ]
        );
        for fine in [
            "tokens_per_day: 500",
            "prompt_tokens_per_day: 5",
            "requests_per_day: 5",
        ] {
            assert_eq!(of_group(&format!("{most}, rate_limits: {{{fine}}}")), NONE);
        }
    }

    #[test]
    fn limits_that_nobody_comes_to() {
        let limits = |field, limits| of_group(&format!("{field}: {{{limits}}}"));
        for (list, expected) in [
            (
                "requests_per_minute: 100, requests_per_day: 10",
                "requests_per_minute 100 is never reached: requests_per_day 10 comes first",
            ),
            (
                "prompt_tokens_per_minute: 20, tokens_per_minute: 10",
                "prompt_tokens_per_minute 20 is never reached: tokens_per_minute 10 comes first",
            ),
            (
                "requests_per_hour: 0",
                "requests_per_hour is 0: every request is refused",
            ),
            (
                "concurrent_requests: 0",
                "concurrent_requests is 0: every request is refused",
            ),
        ] {
            for field in ["rate_limits", "consumer_rate_limits"] {
                let expected = format!("consumer_groups[0].{field}: {expected}");
                assert_eq!(limits(field, list), [expected]);
            }
        }
        for fine in [
            "requests_per_minute: 10, requests_per_day: 10",
            "requests_per_minute: 10, requests_per_day: 100, tokens_per_minute: 5",
            "tokens_per_minute: 20, prompt_tokens_per_minute: 10, completion_tokens_per_day: 5",
            "concurrent_requests: 5, requests_per_day: 3",
        ] {
            assert_eq!(limits("rate_limits", fine), NONE, "{fine}");
        }
        assert_eq!(
            of_group(
                "rate_limits: {requests_per_minute: 10}, consumer_rate_limits: {requests_per_minute: 20}"
            ),
            [
                "consumer_groups[0].consumer_rate_limits: requests_per_minute 20 is never reached: requests_per_minute 10 of all consumers together comes first"
            ]
        );
    }
}
