//! Whether a policy means the same where the members of its maps come in another order: prices are looked for in file
//! order, and Kubernetes and `google.protobuf.Struct` sort the members of a map.

use crate::config::{Config, Spend};
use crate::policy::ModelPattern;

/// Two names of one `pricing` that some model may fall under both of.
pub(super) struct Pair {
    /// Where.
    pub(super) path: String,
    /// The one that a sorted map looks at first.
    pub(super) first: String,
    /// The one whose models it takes.
    pub(super) later: String,
}

/// What keeps the order, as advice.
pub(super) const KEEP: &str = "name the models of the wider one one by one, or hand the policy over as text, a `StringValue`: `cohort render envoy` does, and `cohort render istio` as envoy-filter";

/// Of each `pricing`, a pair that changes places where a map is sorted.
pub(super) fn swapped(config: &Config) -> Vec<Pair> {
    pairs(config, |earlier, later| {
        later.as_str() < earlier.as_str() && later.overlaps(earlier)
    })
    .map(|(path, earlier, later)| Pair {
        path,
        first: later,
        later: earlier,
    })
    .collect()
}

/// Of each `pricing` of a policy that is sorted already, a pair whose author cannot have meant it so: a glob before what it
/// takes the models of.
pub(super) fn shadowed(config: &Config) -> Vec<Pair> {
    pairs(config, |earlier, later| {
        earlier.as_str() != later.as_str()
            && earlier.as_str().contains('*')
            && earlier.overlaps(later)
    })
    .map(|(path, first, later)| Pair { path, first, later })
    .collect()
}

/// The first pair of each `pricing`, in the order in which it stands there.
fn pairs(
    config: &Config,
    is: impl Fn(&ModelPattern, &ModelPattern) -> bool,
) -> impl Iterator<Item = (String, String, String)> {
    scopes(config).into_iter().filter_map(move |(path, spend)| {
        let prices = spend.pricing.as_deref().unwrap_or_default();
        let patterns = prices
            .iter()
            .map(|(name, _)| ModelPattern::new(name.clone()));
        let patterns: Vec<_> = patterns.collect();
        let mut pairs = patterns.iter().enumerate().flat_map(|(at, earlier)| {
            let later = patterns.iter().skip(at.saturating_add(1));
            later.map(move |later| (earlier, later))
        });
        let (earlier, later) = pairs.find(|(earlier, later)| is(earlier, later))?;
        Some((path, earlier.as_str().to_owned(), later.as_str().to_owned()))
    })
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
