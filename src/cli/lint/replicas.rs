//! Several Envoys with one policy: what each counts for itself.

use super::finding::{Finding, Level};
use crate::config::{Config, Rules};

/// What of a policy each Envoy counts for itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Apart {
    /// Limits and budgets: all in Envoy's shared data.
    Limits,
    /// A rate-limit service counts, which knows no money.
    Budgets,
    #[default]
    Nothing,
}

impl Apart {
    pub(super) fn of(config: &Config) -> Self {
        let rules: Vec<&Rules> = (config.scopes().into_iter())
            .map(|(_, rules)| rules)
            .collect();
        let budgets = |rules: &&Rules| {
            rules
                .spend
                .budgets
                .as_ref()
                .is_some_and(|all| !all.is_empty())
        };
        let limits = |rules: &&Rules| {
            let limits = &rules.limits;
            let models = limits.model_rate_limits.iter().flatten().next();
            !limits.rate_limits.is_empty()
                || !limits.consumer_rate_limits.is_empty()
                || models.is_some()
        };
        let service = config.counters.service.is_some();
        if service && rules.iter().any(budgets) {
            Self::Budgets
        } else if !service && rules.iter().any(|rules| budgets(rules) || limits(rules)) {
            Self::Limits
        } else {
            Self::Nothing
        }
    }

    /// What to say of so many Envoys; `None`: one a node.
    pub(super) fn finding(self, file: &str, path: &str, count: Option<u64>) -> Option<Finding> {
        let (what, help) = match self {
            Self::Limits => (
                "limits and budgets",
                "`counters: {store: rate_limit_service, cluster: …}` counts limits for all of them (docs/rate-limit-service.md); or divide them by the number of Envoys",
            ),
            Self::Budgets => (
                "budgets",
                "the rate-limit service knows no money: divide the amounts by the number of Envoys",
            ),
            Self::Nothing => return None,
        };
        let message = match count {
            Some(count) => format!(
                "up to {count} Envoys, and each counts {what} for itself: together they let {count} times as much through"
            ),
            None => format!(
                "an Envoy on each node, and each counts {what} for itself: together they let as many times as much through"
            ),
        };
        let help = Some(help.to_owned());
        Some(Finding::new(Level::Warning, file, path, message, help))
    }
}
