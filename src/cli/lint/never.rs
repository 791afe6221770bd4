//! What can never happen: models that stay refused, prices that are not taken, targets that get no request.

use super::advice::Advised;
use crate::config::{Config, Rules};
use crate::policy::ModelPattern;
use std::collections::BTreeSet;

pub(super) fn warnings(config: &Config) -> Vec<Advised> {
    let mut found = Vec::new();
    for (scope, rules) in config.scopes() {
        names(&scope, rules, &mut found);
        denied(&scope, rules, &mut found);
        prices(&scope, rules, &mut found);
        if rules.allowed_endpoints.as_ref().is_some_and(Vec::is_empty) {
            let path = format!("{scope}.allowed_endpoints");
            found.push(advised(
                path,
                "is empty: no endpoint is allowed".to_owned(),
                "list what may be used, or take the field out for all that name their models",
            ));
        }
    }
    groups(config, &mut found);
    targets(config, &mut found);
    found
}

pub(super) fn advised(path: String, message: String, help: &str) -> Advised {
    Advised {
        path,
        message,
        help: help.to_owned(),
    }
}

fn pattern(text: &str) -> ModelPattern {
    ModelPattern::new(text.to_owned())
}

/// Models by name; lists of them may be long.
#[derive(Default)]
struct Names<'a> {
    exact: BTreeSet<&'a str>,
    globs: Vec<ModelPattern>,
}

impl<'a> Names<'a> {
    fn of(names: impl IntoIterator<Item = &'a String>) -> Self {
        let mut all = Self::default();
        names.into_iter().for_each(|name| all.add(name));
        all
    }

    fn add(&mut self, name: &'a str) {
        let pattern = pattern(name);
        if pattern.is_exact() {
            self.exact.insert(name);
        } else {
            self.globs.push(pattern);
        }
    }

    /// The one that everything that `text` stands for is among: a glob matches another's text, stars and all.
    fn covering(&self, text: &str) -> Option<&str> {
        let globs = || self.globs.iter().find(|glob| glob.matches(text));
        let exact = self.exact.get(text).copied();
        exact.or_else(|| globs().map(ModelPattern::as_str))
    }

    /// Whether one of them, or some model of it, is among what another stands for.
    fn overlap(&self, other: &ModelPattern) -> bool {
        if other.is_exact() {
            return self.covering(other.as_str()).is_some();
        }
        self.globs.iter().any(|glob| glob.overlaps(other))
            || self.exact.iter().any(|name| other.matches(name))
    }
}

/// A name that looks like a model's and is none: pasted, a list in one string, or a pattern of another kind.
fn names(scope: &str, rules: &Rules, found: &mut Vec<Advised>) {
    let lists = [
        ("allowed_models", &rules.allowed_models),
        ("denied_models", &rules.denied_models),
    ];
    let mut check = |path: String, model: &str| {
        let odd = |c: &char| !c.is_ascii_graphic() || "!\"$&'(),;<>?[\\]^`{|}".contains(*c);
        if let Some(odd) = model.chars().find(odd) {
            found.push(advised(
                path,
                format!(
                    "'{}' has {}, which no model's name has: names are compared byte for byte, and only `*` stands for others",
                    model.escape_debug(),
                    shown(odd)
                ),
                "write the name as its provider does, one in each place",
            ));
        }
    };
    for (field, list) in lists {
        for (at, model) in list.iter().flatten().enumerate() {
            check(format!("{scope}.{field}[{at}]"), model);
        }
    }
    for (entry, limits) in (rules.limits.model_rate_limits.iter().flatten()).enumerate() {
        for (at, model) in limits.models.iter().enumerate() {
            check(
                format!("{scope}.model_rate_limits[{entry}].models[{at}]"),
                model,
            );
        }
    }
    for (model, _) in rules.spend.pricing.iter().flatten() {
        check(of_price(scope, model), model);
    }
}

/// Where a price stands, as errors write it: the name may be long, or hold what a terminal would obey.
fn of_price(scope: &str, model: &str) -> String {
    let name = model.chars().take(64).flat_map(char::escape_debug);
    format!("{scope}.pricing.{}", name.collect::<String>())
}

/// So that what cannot be seen can be told.
fn shown(c: char) -> String {
    match c {
        ' ' => "a space".to_owned(),
        _ if c.is_ascii_graphic() => format!("`{c}`"),
        _ => format!("U+{:04X}", u32::from(c)),
    }
}

/// What a scope allows and denies at once.
fn denied(scope: &str, rules: &Rules, found: &mut Vec<Advised>) {
    let denied = rules.denied_models.as_deref().unwrap_or_default();
    if let Some((at, wide)) = denied.iter().enumerate().find(|(_, wide)| is_all(wide)) {
        return found.push(advised(
            format!("{scope}.denied_models[{at}]"),
            format!("'{wide}' denies every model"),
            "`enabled: false` closes a group; else deny what nobody is to use",
        ));
    }
    let denied = Names::of(denied);
    for (at, model) in rules.allowed_models.iter().flatten().enumerate() {
        if let Some(wide) = denied.covering(model) {
            found.push(advised(
                format!("{scope}.allowed_models[{at}]"),
                format!("'{model}' is denied by '{wide}' of `denied_models`: it stays refused"),
                "take it out of one of them",
            ));
        }
    }
}

fn is_all(name: &str) -> bool {
    name.bytes().all(|byte| byte == b'*')
}

/// The first price that fits is taken.
fn prices(scope: &str, rules: &Rules, found: &mut Vec<Advised>) {
    let mut before = Names::default();
    for (model, _) in rules.spend.pricing.iter().flatten() {
        if let Some(wide) = before.covering(model) {
            found.push(advised(
                of_price(scope, model),
                format!(
                    "this price is never taken: '{}' stands before it and has all of its models",
                    wide.escape_debug()
                ),
                "put it before the wider name",
            ));
        }
        before.add(model);
    }
}

fn groups(config: &Config, found: &mut Vec<Advised>) {
    // Of targets that list none nobody knows here what they serve.
    let listed = config
        .providers
        .iter()
        .all(|target| target.models.is_some());
    let offered = config
        .providers
        .iter()
        .filter_map(|target| target.models.as_ref());
    let offered = Names::of(offered.flatten());
    for (at, group) in config.consumer_groups.iter().enumerate() {
        let path = format!("consumer_groups[{at}]");
        if listed && !config.providers.is_empty() {
            unserved(&path, &group.rules, &offered, found);
        }
        let limits = group.rules.limits.model_rate_limits.as_deref();
        let limits = limits.unwrap_or_default();
        let rules = config.rules_of(group);
        let Some(allowed) = rules.allowed_models.filter(|_| !limits.is_empty()) else {
            continue;
        };
        // Groups below may have other defaults in place of these.
        let mut others = config.consumer_groups.iter();
        if group.rules.allowed_models.is_none()
            && others.any(|other| other.parent.as_ref() == Some(&group.name))
        {
            continue;
        }
        let allowed = Names::of(&allowed);
        for (entry, limits) in limits.iter().enumerate() {
            for (place, model) in limits.models.iter().enumerate() {
                if !allowed.overlap(&pattern(model)) {
                    found.push(advised(
                        format!("{path}.model_rate_limits[{entry}].models[{place}]"),
                        format!("the group may not use '{model}': this limits nothing"),
                        "allow it, or take it out here",
                    ));
                }
            }
        }
    }
}

fn unserved(path: &str, rules: &Rules, offered: &Names<'_>, found: &mut Vec<Advised>) {
    for (at, model) in rules.allowed_models.iter().flatten().enumerate() {
        if !offered.overlap(&pattern(model)) {
            found.push(advised(
                format!("{path}.allowed_models[{at}]"),
                format!("no target's `models` have '{model}': 404 no_provider_for_model"),
                "add it to the `models` of a target, or take it out here",
            ));
        }
    }
}

/// Several targets are no pool: the first that serves a request gets it.
fn targets(config: &Config, found: &mut Vec<Advised>) {
    for (at, target) in config.providers.iter().enumerate() {
        let path = format!("providers.targets[{at}]");
        let mut before = config.providers.iter().take(at);
        let first = match &target.models {
            Some(models) if models.is_empty() => {
                found.push(advised(
                    format!("{path}.models"),
                    "is empty: no request goes here".to_owned(),
                    "list what it serves, or take the field out for all paths of its API",
                ));
                continue;
            }
            Some(models) => before.find(|first| {
                let wide = Names::of(first.models.iter().flatten());
                models.iter().all(|model| wide.covering(model).is_some())
            }),
            None => {
                before.find(|first| first.models.is_none() && first.provider == target.provider)
            }
        };
        if let Some(first) = first {
            found.push(advised(
                path,
                format!("no request goes here: '{}' before it serves all that it would", first.id),
                "put it first, or give them different `models`; several hosts of one provider are endpoints of one Envoy cluster",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::warnings;
    use crate::config::Config;

    fn said(text: &str) -> Vec<String> {
        let config = Config::from_yaml(&format!("version: '1'\n{text}")).unwrap();
        let warnings = warnings(&config).into_iter();
        let said = warnings.map(|found| {
            assert!(!found.help.is_empty());
            format!("{}: {}", found.path, found.message)
        });
        said.collect()
    }

    fn of_group(rules: &str) -> Vec<String> {
        said(&format!("consumer_groups: [{{name: a, {rules}}}]"))
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn names_that_no_model_has() {
        for (model, odd) in [
            ("gpt\u{2011}4o", "U+2011"),
            ("gpt-4o\u{200b}", "U+200B"),
            ("gpt-4o ", "a space"),
            ("gpt-4o, gpt-5", "`,`"),
            ("gpt-?", "`?`"),
            ("^gpt", "`^`"),
            ("o[13]", "`[`"),
        ] {
            for field in ["allowed_models", "denied_models"] {
                let said = of_group(&format!("{field}: [m, '{model}']"));
                let start = format!("consumer_groups[0].{field}[1]: '");
                assert!(said[0].starts_with(&start) && said.len() == 1, "{said:?}");
                assert!(said[0].contains(&format!("has {odd}, which")), "{said:?}");
            }
        }
        let real = "[ft:gpt-4o:org::a1, anthropic.claude-3:0, models/x@001, Meta/Llama-3.1_8B, 'llama3.2:1b', 'a*', 'arn:aws:bedrock:us-east-1:1:x/y', '@cf/m+n', 'x~1#2%=']";
        assert_eq!(of_group(&format!("allowed_models: {real}")), NONE);
    }

    #[test]
    fn models_that_stay_refused() {
        assert_eq!(
            of_group("allowed_models: [gpt-4o, o3], denied_models: ['gpt-*', x]"),
            [
                "consumer_groups[0].allowed_models[0]: 'gpt-4o' is denied by 'gpt-*' of `denied_models`: it stays refused"
            ]
        );
        assert_eq!(
            of_group("allowed_models: ['gpt-*'], denied_models: [gpt-4o]"),
            NONE
        );
        assert_eq!(
            of_group("denied_models: ['*']"),
            ["consumer_groups[0].denied_models[0]: '*' denies every model"]
        );
        assert_eq!(
            of_group("allowed_endpoints: []"),
            ["consumer_groups[0].allowed_endpoints: is empty: no endpoint is allowed"]
        );
        assert_eq!(
            of_group(
                "allowed_models: ['gpt-*'], model_rate_limits: [{models: [gpt-4o, o3], rate_limits: {requests_per_day: 1}}]"
            ),
            [
                "consumer_groups[0].model_rate_limits[0].models[1]: the group may not use 'o3': this limits nothing"
            ]
        );
        let below = "defaults: {allowed_models: [m]}\nconsumer_groups: [{name: a, model_rate_limits: [{models: [o3], rate_limits: {requests_per_day: 1}}]}, {name: b, parent: PARENT, allowed_models: [o3]}]";
        assert_eq!(said(&below.replace("PARENT", "a")), NONE);
        assert_eq!(said(&below.replace("parent: PARENT, ", "")).len(), 1);
        let target = |models| {
            said(&format!(
                "providers: {{targets: [{{id: x, provider: openai{models}}}]}}\nconsumer_groups: [{{name: a, allowed_models: [o3, 'o*']}}]"
            ))
        };
        assert_eq!(
            target(", models: ['gpt-*', 'o4-*']"),
            [
                "consumer_groups[0].allowed_models[0]: no target's `models` have 'o3': 404 no_provider_for_model"
            ]
        );
        assert_eq!(target(""), NONE);
    }

    #[test]
    fn prices_and_targets_that_stand_behind() {
        let price = "{input_per_million: 1, output_per_million: 1}";
        assert_eq!(
            said(&format!(
                "pricing: {{'gpt-*': {price}, gpt-4o: {price}, o3: {price}}}"
            )),
            [
                "defaults.pricing.gpt-4o: this price is never taken: 'gpt-*' stands before it and has all of its models"
            ]
        );
        let odd = said(&format!(
            "pricing: {{\"a\\e*\": {price}, \"a\\eb\": {price}}}"
        ));
        assert!(
            odd.len() == 3 && odd.iter().all(|line| !line.contains('\u{1b}')),
            "{odd:?}"
        );
        let targets = |list: [&str; 2]| {
            let [a, b] = list;
            said(&format!(
                "providers: {{targets: [{{id: a, provider: openai{a}}}, {{id: b, provider: {b}}}]}}"
            ))
        };
        let behind =
            ["providers.targets[1]: no request goes here: 'a' before it serves all that it would"];
        assert_eq!(
            targets([", models: ['*']", "vllm, models: [m, 'x*']"]),
            behind
        );
        assert_eq!(targets(["", "openai"]), behind);
        assert_eq!(
            targets(["", "openai, models: []"]),
            ["providers.targets[1].models: is empty: no request goes here"]
        );
        for fine in [
            [", models: [m]", "vllm, models: [m, n]"],
            ["", "openai, models: [m]"],
            ["", "vllm"],
            [", models: [m]", "openai"],
        ] {
            assert_eq!(targets(fine), NONE, "{fine:?}");
        }
    }
}
