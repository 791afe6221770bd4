//! Whether a policy means the same where the members of its maps come in another order.

use crate::config::{Config, ConfigError, Spend};
use crate::policy::ModelPattern;

/// Prices are looked for in file order, and Kubernetes sorts the members of a map: which would then come first?
pub(super) fn check(config: &Config) -> Vec<ConfigError> {
    let scopes = scopes(config).into_iter();
    scopes
        .filter_map(|(path, spend)| {
            let (first, overtaking) = overtaken(spend)?;
            let message = format!(
                "Kubernetes sorts maps, and `{overtaking}` would come before `{first}` and take its models"
            );
            let mut error = ConfigError::new(path, message);
            error.help = Some(
                "name the models of the wider one one by one; `render envoy`, and `render istio` as envoy-filter, keep the order"
                    .to_owned(),
            );
            Some(error)
        })
        .collect()
}

/// Everything that can have prices, and where they are.
fn scopes(config: &Config) -> Vec<(String, &Spend)> {
    let mut scopes = vec![
        ("pricing".to_owned(), &config.defaults.spend),
        ("ceilings.pricing".to_owned(), &config.ceilings.spend),
    ];
    let groups = config.consumer_groups.iter().map(|group| &group.rules);
    let consumers = config.consumers.iter().map(|consumer| &consumer.rules);
    let [routes, services] = [&config.routes, &config.services].map(|scopes| scopes.iter());
    let mut add = |list: &str, at: usize, spend| {
        scopes.push((format!("{list}[{at}].pricing"), spend));
    };
    for (at, rules) in groups.enumerate() {
        add("consumer_groups", at, &rules.spend);
    }
    for (at, rules) in consumers.enumerate() {
        add("consumers", at, &rules.spend);
    }
    for (at, scope) in routes.enumerate() {
        add("routes", at, &scope.rules.spend);
    }
    for (at, scope) in services.enumerate() {
        add("services", at, &scope.rules.spend);
    }
    scopes
}

/// A price that the file finds first and a sorted map would not, and the one that would come before it.
fn overtaken(spend: &Spend) -> Option<(String, String)> {
    let prices = spend.pricing.as_deref().unwrap_or_default();
    let patterns = prices
        .iter()
        .map(|(name, _)| ModelPattern::new(name.clone()));
    let patterns: Vec<_> = patterns.collect();
    let mut pairs = patterns.iter().enumerate().flat_map(|(at, first)| {
        let later = patterns.iter().skip(at);
        later.map(move |later| (first, later))
    });
    let (first, later) =
        pairs.find(|(first, later)| later.as_str() < first.as_str() && later.overlaps(first))?;
    Some((first.as_str().to_owned(), later.as_str().to_owned()))
}
