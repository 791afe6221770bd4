//! Whether a policy means the same where the members of its maps come in another order: prices are looked for in file
//! order, and Kubernetes and `google.protobuf.Struct` sort the members of a map.

use crate::config::Config;
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
    config
        .scopes()
        .into_iter()
        .filter_map(move |(path, rules)| {
            let prices = rules.spend.pricing.as_deref().unwrap_or_default();
            let patterns = prices
                .iter()
                .map(|(name, _)| ModelPattern::new(name.clone()));
            let patterns: Vec<_> = patterns.collect();
            let mut pairs = patterns.iter().enumerate().flat_map(|(at, earlier)| {
                let later = patterns.iter().skip(at.saturating_add(1));
                later.map(move |later| (earlier, later))
            });
            let (earlier, later) = pairs.find(|(earlier, later)| is(earlier, later))?;
            // The top level is part of the defaults.
            let path = match &*path {
                "defaults" => "pricing".to_owned(),
                scope => format!("{scope}.pricing"),
            };
            Some((path, earlier.as_str().to_owned(), later.as_str().to_owned()))
        })
}
