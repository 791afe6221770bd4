//! Whether a policy means the same where the members of its maps come in another order.

use crate::config::{Config, ConfigError};
use crate::policy::ModelPattern;

/// Prices are looked for in file order, and Kubernetes sorts the members of a map: which would then come first?
pub(super) fn check(config: &Config) -> Vec<ConfigError> {
    let groups = config.consumer_groups.iter().enumerate();
    let groups = groups.map(|(at, group)| (format!("consumer_groups[{at}].pricing"), &group.spend));
    let scopes = [("pricing".to_owned(), &config.spend)]
        .into_iter()
        .chain(groups);
    let mut errors = Vec::new();
    for (path, spend) in scopes {
        let prices = spend.pricing.as_deref().unwrap_or_default();
        let names: Vec<_> = prices
            .iter()
            .map(|(name, _)| ModelPattern::new(name.clone()))
            .collect();
        for (at, first) in names.iter().enumerate() {
            let mut later = names.iter().skip(at.saturating_add(1));
            let overtaking =
                later.find(|later| later.as_str() < first.as_str() && later.overlaps(first));
            if let Some(overtaking) = overtaking {
                let mut error = ConfigError::new(
                    &*path,
                    format!(
                        "Kubernetes sorts maps, and `{}` would come before `{}` and take its models",
                        overtaking.as_str(),
                        first.as_str()
                    ),
                );
                error.help = Some(
                    "name the models of the wider one one by one; `render envoy`, and `render istio` as envoy-filter, keep the order"
                        .to_owned(),
                );
                errors.push(error);
            }
        }
    }
    errors
}
