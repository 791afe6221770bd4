//! What to do about the warnings that the filter itself gives: it has no room for advice.

use crate::config::Warning;

/// A warning with what to do about it.
pub(super) struct Advised {
    pub(super) path: String,
    pub(super) message: String,
    pub(super) help: String,
}

/// By what a message begins with, or has in it.
const ADVICE: &[(&str, &str)] = &[
    (
        "there are none: every request is refused",
        "`cohort group add NAME --key` makes one",
    ),
    (
        "has no key:",
        "`cohort key new NAME` makes one, or `consumers` with keys of their own are in it",
    ),
    (
        "is in no group",
        "`cohort consumer move` puts it into one, or name a `default_group`",
    ),
    (
        "has a key in plain text",
        "`cohort key rotate NAME` writes digests",
    ),
    (
        "has no `allowed_models`",
        "list what it may use: `allowed_models: [gpt-4o-mini]`",
    ),
    (
        "is empty: no model is allowed",
        "list what it may use, or take the field out for every model",
    ),
    (
        "asks nobody",
        "name a `cluster` in its `config`, or add a target with `provider: openai`",
    ),
    (
        "takes nothing out",
        "say `action: block`, which is what is done",
    ),
    (
        "`failure_mode: deny` does nothing",
        "say `action: block`, or take `failure_mode` out",
    ),
    (
        "a restart of Envoy starts them anew",
        "`cohort run` keeps them in the event log; `counters.store: rate_limit_service` elsewhere",
    ),
    (
        "windows are fixed",
        "count with it: lower the limit, or keep `store: shared_data`",
    ),
    (
        "knows no `timezone`",
        "take `timezone` out, or keep `store: shared_data`",
    ),
    (
        "a month has 30 days there",
        "say it as days, or keep `store: shared_data`",
    ),
    ("for itself", "divide the limit by the number of Envoys"),
    (
        "reserves the tokens",
        "leave room for what is under way: about one answer for each Envoy",
    ),
    (
        "stays counted by the others",
        "keep `store: shared_data` where that matters",
    ),
    (
        "not used of a lease",
        "make the lease smaller, or its `max_age` longer",
    ),
    (
        "the group may not use",
        "allow it, or name one that is allowed",
    ),
    ("has no price", "add it to `pricing`"),
    (
        "above: it stays refused",
        "allow it above, or take it out here",
    ),
];

pub(super) fn with_help(warning: Warning) -> Advised {
    let Warning { path, message } = warning;
    let known = ADVICE.iter().find(|(part, _)| message.contains(part));
    Advised {
        help: known.map_or_else(String::new, |(_, help)| (*help).to_owned()),
        path,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::with_help;
    use crate::config::Config;
    use crate::policy::Policy;

    /// Every warning that the filter can give is of a policy here.
    const POLICIES: [&str; 3] = [
        "version: '1'",
        "
version: '1'
budgets: [{amount_usd: 1, per: day}]
consumer_groups:
  - {name: a, api_key: plain, default_model: o1, allowed_models: ['gpt-4 ', o3], denied_models: [x],
     rate_limits: {tokens_per_day: 1}}
  - {name: b, allowed_models: []}
  - {name: c, parent: a, allowed_models: [o1]}
consumers: [{name: d, api_key: alone}]
policies:
  - {name: m, type: content_filter}
  - {name: f, type: content_filter, action: flag, config: {cluster: c, failure_mode: deny}}
  - {name: r, type: content_filter, action: redact, config: {cluster: c}}
  - {name: w, type: keyword_filter, config: {words: [x]}}
",
        "
version: '1'
timezone: +01:00
counters: {store: rate_limit_service, cluster: c, dialect: kuadrant, lease: {requests: 1, max_age: 1s}}
consumer_groups:
  - {name: a, rate_limits: {requests_per_minute: 1, tokens_per_month: 1, concurrent_requests: 1}}
",
    ];

    #[test]
    fn there_is_something_to_do_about_each_of_the_filters_warnings() {
        let mut seen = Vec::new();
        for policy in POLICIES {
            let config = Config::from_yaml(policy).unwrap();
            let mut warnings = config.warnings();
            let compiled = Policy::compile(config, |_| Some("secret".to_owned())).unwrap();
            warnings.extend(compiled.warnings());
            for warning in warnings {
                let advised = with_help(warning);
                assert!(!advised.help.is_empty(), "{}", advised.message);
                if !seen.contains(&advised.help) {
                    seen.push(advised.help);
                }
            }
        }
        for (part, help) in super::ADVICE {
            assert!(
                seen.iter().any(|known| known == help),
                "no warning says {part:?} any more: take its advice out"
            );
        }
    }
}
