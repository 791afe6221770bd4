//! Money and tokens that nobody would count: models without a price, budgets without prices, limits without a source.

use super::super::order;
use super::advice::Advised;
use crate::config::{Config, ConsumerGroup, Rules, Unpriced};
use crate::llm::endpoint::ENDPOINTS;
use crate::llm::usage::UsageFormat;
use crate::policy::{Group, Policy};

pub(super) fn warnings(config: &Config, policy: &Policy) -> Vec<Advised> {
    let mut found = Vec::new();
    let groups = || config.consumer_groups.iter();
    let any_priced = groups().any(|group| is_priced(&config.rules_of(group)));
    for (scope, rules) in config.scopes() {
        if scope.starts_with("consumer_groups") {
            continue; // further down, with what they inherit
        }
        if has_budgets(rules) && !any_priced && !is_priced(rules) {
            let unpriced = rules.spend.unpriced.or(config.defaults.spend.unpriced);
            found.push(no_pricing(&format!("{scope}.budgets"), unpriced));
        }
    }
    // Said of hosts that take the policy as a map.
    if !config.hold_request_headers {
        found.extend(order::swapped(config).into_iter().map(|pair| Advised {
            path: match &*pair.path {
                "pricing" => place("", false, "pricing"),
                _ => pair.path,
            },
            message: format!(
                "in a `WasmPlugin`, in Envoy Gateway and in a `Struct` names are sorted: `{}` comes before `{}` there and takes its models",
                pair.first, pair.later
            ),
            help: order::KEEP.to_owned(),
        }));
    }
    for (entry, group) in groups().zip(&policy.groups) {
        let path = format!("consumer_groups[{}]", group.index);
        let rules = config.rules_of(entry);
        if has_budgets(&entry.rules) && !is_priced(&rules) {
            found.push(no_pricing(&format!("{path}.budgets"), rules.spend.unpriced));
        }
        if is_priced(&rules) {
            found.extend(unpriced_models(&path, entry, &rules, group));
        }
        found.extend(unread_usage(&path, entry, &rules, group));
    }
    found
}

fn has_budgets(rules: &Rules) -> bool {
    let budgets = rules.spend.budgets.as_ref();
    budgets.is_some_and(|list| !list.is_empty())
}

fn is_priced(rules: &Rules) -> bool {
    let pricing = rules.spend.pricing.as_ref();
    pricing.is_some_and(|list| !list.is_empty())
}

fn no_pricing(path: &str, unpriced: Option<Unpriced>) -> Advised {
    let message = match unpriced.unwrap_or_default() {
        Unpriced::Deny => {
            "a budget without `pricing`: every model is refused with 403 model_unpriced"
        }
        Unpriced::Allow => "a budget without `pricing`: nothing is ever spent, so it never ends",
    };
    Advised {
        path: path.to_owned(),
        message: message.to_owned(),
        help: "say what models cost: `pricing: {\"gpt-4o*\": {input_per_million: 2.5, output_per_million: 10}}`"
            .to_owned(),
    }
}

/// Where a field of a group stands: in its own entry, or among the defaults, perhaps those of the top level.
fn place(path: &str, own: bool, field: &str) -> String {
    if own {
        format!("{path}.{field}")
    } else {
        format!("defaults.{field}")
    }
}

/// Where a budget refuses them, the filter itself says so of those that are listed.
fn unpriced_models(
    path: &str,
    entry: &ConsumerGroup,
    rules: &Rules,
    group: &Group,
) -> Vec<Advised> {
    let refused = "under a budget it is refused with 403 model_unpriced";
    let (list, why) = match (group.has_budgets(), rules.spend.unpriced) {
        (false, _) => (true, "its tokens are counted as free of charge"),
        (true, Some(Unpriced::Allow)) => (
            true,
            "it is free of charge, and the budget does not hold it back",
        ),
        (true, _) => (false, refused),
    };
    let own = entry.rules.allowed_models.is_some();
    let listed = rules.allowed_models.iter().flatten().filter(|_| list);
    let listed = listed.enumerate().map(|(at, model)| {
        let field = format!("allowed_models[{at}]");
        (place(path, own, &field), model)
    });
    let own = entry.rules.default_model.is_some();
    let other = rules.default_model.iter();
    let other = other.filter(|_| rules.allowed_models.is_none());
    let other = other.map(|model| (place(path, own, "default_model"), model));
    let models = listed.chain(other);
    let models = models.filter(|(_, model)| group.pricing.of(model).is_none());
    let models = models.map(|(path, model)| Advised {
        path,
        message: format!("'{model}' has no price: {why}"),
        help: "add it to `pricing`, by its name or by a glob".to_owned(),
    });
    models.collect()
}

/// Endpoints that are open to a group with limits on tokens and whose answers never say what they used.
fn unread_usage(path: &str, entry: &ConsumerGroup, rules: &Rules, group: &Group) -> Vec<Advised> {
    if !group.counts_tokens() {
        return Vec::new();
    }
    let silent = |name: &str| {
        let mut rows = ENDPOINTS.iter().filter(|row| row.name == name);
        rows.any(|row| row.charged() && row.usage == UsageFormat::None)
    };
    let own = entry.rules.allowed_endpoints.is_some();
    let named = rules.allowed_endpoints.iter().flatten().enumerate();
    let named = named.filter(|(_, name)| silent(name));
    let found = named.map(|(at, name)| Advised {
        path: place(path, own, &format!("allowed_endpoints[{at}]")),
        message: format!(
            "the answers of `{name}` never say what was used: limits on tokens and budgets do not see it"
        ),
        help: "give it to a group of its own, with a limit on requests".to_owned(),
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::warnings;
    use crate::config::Config;
    use crate::policy::Policy;

    /// Of one group and what stands beside it.
    fn said(group: &str, more: &str) -> Vec<String> {
        let text =
            format!("version: '1'\nconsumer_groups:\n  - {{name: a, api_key: k, {group}}}\n{more}");
        let config = Config::from_yaml(&text).unwrap();
        let policy = Policy::compile(config.clone(), |_| None).unwrap();
        let warnings = warnings(&config, &policy).into_iter();
        warnings
            .map(|found| {
                assert!(!found.help.is_empty());
                format!("{}: {}", found.path, found.message)
            })
            .collect()
    }

    const O3: &str = "pricing: {o3: {input_per_million: 1, output_per_million: 1}}\n";
    const BUDGET: &str = "budgets: [{amount_usd: 1, per: day}]";

    #[test]
    fn models_without_a_price() {
        let free = "consumer_groups[0].allowed_models[1]: 'gpt-*' has no price: its tokens are counted as free of charge";
        assert_eq!(said("allowed_models: [o3, 'gpt-*']", O3), [free]);
        assert_eq!(said("allowed_models: [o3, 'gpt-*']", ""), [""; 0]);
        assert_eq!(
            said(
                "description: x",
                &format!("{O3}defaults: {{allowed_models: [x]}}")
            ),
            [
                "defaults.allowed_models[0]: 'x' has no price: its tokens are counted as free of charge"
            ]
        );
        // The filter says it itself.
        assert_eq!(
            said(&format!("allowed_models: [o3, x], {BUDGET}"), O3),
            [""; 0]
        );
        assert_eq!(
            said(
                &format!("allowed_models: [o3, x], unpriced: allow, {BUDGET}"),
                O3
            ),
            [
                "consumer_groups[0].allowed_models[1]: 'x' has no price: it is free of charge, and the budget does not hold it back"
            ]
        );
        assert_eq!(
            said(&format!("default_model: x, {BUDGET}"), O3),
            [
                "consumer_groups[0].default_model: 'x' has no price: under a budget it is refused with 403 model_unpriced"
            ]
        );
    }

    #[test]
    fn budgets_without_prices() {
        let refused = "a budget without `pricing`: every model is refused with 403 model_unpriced";
        assert_eq!(
            said(BUDGET, ""),
            [format!("consumer_groups[0].budgets: {refused}")]
        );
        assert_eq!(said("", BUDGET), [format!("defaults.budgets: {refused}")]);
        for list in ["services", "routes"] {
            let scope = format!("{list}: [{{name: x, {BUDGET}}}]");
            assert_eq!(said("", &scope), [format!("{list}[0].budgets: {refused}")]);
        }
        let ceilings = format!("ceilings: {{{BUDGET}}}");
        assert_eq!(
            said("", &ceilings),
            [format!("ceilings.budgets: {refused}")]
        );
        assert_eq!(said("", &format!("{O3}{ceilings}")), [""; 0]);
        assert_eq!(
            said(&format!("unpriced: allow, {BUDGET}"), ""),
            [
                "consumer_groups[0].budgets: a budget without `pricing`: nothing is ever spent, so it never ends"
            ]
        );
    }

    #[test]
    fn prices_whose_order_may_be_lost() {
        let pricing = |names: [&str; 2]| {
            let [a, b] = names
                .map(|name| format!("'{name}': {{input_per_million: 1, output_per_million: 1}}"));
            format!("pricing: {{{a}, {b}}}\n")
        };
        let without = "hold_request_headers: false\n";
        let swapped = pricing(["gpt-4o-mini", "gpt-4o*"]);
        assert_eq!(
            said("description: x", &format!("{swapped}{without}")),
            [
                "defaults.pricing: in a `WasmPlugin`, in Envoy Gateway and in a `Struct` names are sorted: `gpt-4o*` comes before `gpt-4o-mini` there and takes its models"
            ]
        );
        assert_eq!(said("description: x", &swapped), [""; 0]);
        for names in [["gpt-4o", "gpt-4o*"], ["o3", "gpt-*"], ["a*", "b*"]] {
            let text = format!("{}{without}", pricing(names));
            assert_eq!(said("description: x", &text), [""; 0], "{names:?}");
        }
    }

    #[test]
    fn limits_without_a_source() {
        let files = "allowed_endpoints: [chat, count_tokens, batches, /v1/other]";
        assert_eq!(
            said(&format!("{files}, rate_limits: {{tokens_per_day: 5}}"), ""),
            [
                "consumer_groups[0].allowed_endpoints[2]: the answers of `batches` never say what was used: limits on tokens and budgets do not see it"
            ]
        );
        assert_eq!(
            said(
                &format!("{files}, rate_limits: {{requests_per_day: 5}}"),
                ""
            ),
            [""; 0]
        );
    }
}
