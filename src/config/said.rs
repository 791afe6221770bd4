//! What a scope says, field by field: so that it can be told which one a rule came from.

use super::{ClampOrReject, PolicyAction, PolicyKind, PolicyRule, RequestLimits, Rules, Unpriced};
use crate::limit::Limit;
use crate::spend::usd;

impl Rules {
    /// The fields that this scope says something of, as a reader of the file would look for them, and what it says.
    pub fn said(&self) -> Vec<(String, String)> {
        let mut said = Vec::new();
        let mut say = |field: &str, value: Option<String>| {
            said.extend(value.map(|value| (field.to_owned(), value)));
        };
        let joined = |list: &Option<Vec<String>>| list.as_ref().map(|list| list.join(", "));
        say("allowed_models", joined(&self.allowed_models));
        say("denied_models", joined(&self.denied_models));
        say("default_model", self.default_model.clone());
        let aliases = self.model_aliases.as_ref().map(|aliases| {
            let each = aliases
                .iter()
                .map(|(alias, model)| format!("{alias}: {model}"));
            each.collect::<Vec<_>>().join(", ")
        });
        say("model_aliases", aliases);
        say("allowed_endpoints", joined(&self.allowed_endpoints));
        let limits = &self.limits;
        for (list, limits) in [
            ("rate_limits", &limits.rate_limits),
            ("consumer_rate_limits", &limits.consumer_rate_limits),
        ] {
            for limit in limits {
                say(
                    &format!("{list}.{}", limit.name()),
                    Some(limit.quota.to_string()),
                );
            }
        }
        let models = limits.model_rate_limits.as_ref().map(|entries| {
            let each = entries.iter().map(|entry| {
                let limits: Vec<_> = entry.rate_limits.iter().map(shown).collect();
                format!("{}: {}", entry.models.join(", "), limits.join(", "))
            });
            each.collect::<Vec<_>>().join("; ")
        });
        say("model_rate_limits", models);
        let prices = self.spend.pricing.as_ref().map(|prices| {
            let models: Vec<_> = prices.iter().map(|(models, _)| models.as_str()).collect();
            models.join(", ")
        });
        say("pricing", prices);
        let budgets = self.spend.budgets.as_ref().map(|budgets| {
            let each = budgets.iter().map(|budget| shown(&budget.limit));
            each.collect::<Vec<_>>().join(", ")
        });
        say("budgets", budgets);
        let unpriced = self.spend.unpriced.map(|unpriced| match unpriced {
            Unpriced::Allow => "allow",
            Unpriced::Deny => "deny",
        });
        say("unpriced", unpriced.map(str::to_owned));
        say("request_limits", self.request_limits.as_ref().map(bounds));
        for (list, rules) in [
            ("policies", &self.policies),
            ("input_policies", &self.input_policies),
            ("output_policies", &self.output_policies),
        ] {
            for rule in rules {
                say(&format!("{list}.{}", rule.name), Some(policy(rule)));
            }
        }
        said
    }
}

/// A budget's amount is in millionths of a dollar.
fn shown(limit: &Limit) -> String {
    if limit.unit == crate::limit::Unit::Cost {
        return format!("{} {} USD", limit.name(), usd(limit.quota));
    }
    format!("{} {}", limit.name(), limit.quota)
}

fn bounds(limits: &RequestLimits) -> String {
    let mut parts = Vec::new();
    if let Some(max) = limits.max_output_tokens {
        let how = match limits.on_exceeded {
            ClampOrReject::Clamp => "clamp",
            ClampOrReject::Reject => "reject",
        };
        parts.push(format!("max_output_tokens {max} ({how})"));
    }
    parts.extend(
        limits
            .max_body_bytes
            .map(|max| format!("max_body_bytes {max}")),
    );
    parts.extend(limits.max_n.map(|max| format!("max_n {max}")));
    for (name, allowed) in [("stream", limits.stream), ("tools", limits.tools)] {
        parts.extend((!allowed).then(|| format!("{name} deny")));
    }
    parts.join(", ")
}

fn policy(rule: &PolicyRule) -> String {
    if !rule.enabled {
        return "off".to_owned();
    }
    let kind = match &rule.kind {
        PolicyKind::PiiDetector(entities) => {
            let names: Vec<_> = entities.names().collect();
            format!("pii_detector ({})", names.join(", "))
        }
        PolicyKind::KeywordFilter { .. } => "keyword_filter".to_owned(),
        PolicyKind::ContentFilter(_) => "content_filter".to_owned(),
    };
    let action = match rule.action {
        PolicyAction::Block => "block",
        PolicyAction::Flag => "flag",
        PolicyAction::Redact => "redact",
    };
    format!("{kind}, {action}")
}
