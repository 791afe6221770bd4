//! envoyproxy/ratelimit: a tree of descriptors, which match in the order of their entries and at their exact depth.

use super::{Level, domain, quoted};
use crate::config::{Config, ServiceDialect};
use crate::limit::Limit;
use crate::service::{MAX_QUOTA, counts, unit_of_time};
use std::fmt::Write;

/// The file that goes into its configuration directory.
///
/// The filter sends every limit along, and the service takes it from there; what it needs the file for is the domain. The
/// limits stand in it for who else asks the same service, and for who wants to see them.
pub fn ratelimit(config: &Config) -> String {
    let mut out = String::from(
        "# For envoyproxy/ratelimit, rendered from the policy file: `counters` with `dialect: envoy`.\n\
         # Its windows are fixed, its days are UTC's, its months have 30 days.\n",
    );
    // Writing into a `String` cannot fail.
    let _ = writeln!(out, "domain: {}", quoted(domain(config)));
    let mut scope = None;
    for level in Level::all(config) {
        let counted = |limit: &&Limit| counts(ServiceDialect::Envoy, limit);
        if !level.limits.iter().any(|limit| counted(&limit)) {
            continue;
        }
        let group = &level.descriptor.group;
        if scope.is_none() {
            out.push_str("descriptors:\n");
        }
        if scope.as_ref() != Some(group) {
            let (key, value) = match group {
                Some(group) => ("group", &**group),
                None => ("scope", "ceilings"),
            };
            let _ = writeln!(out, "  - key: {key}\n    value: {}", quoted(value));
            out.push_str("    descriptors:\n");
            scope = Some(group.clone());
        }
        let mut indent = "      ";
        if level.per_consumer {
            let _ = writeln!(out, "{indent}- key: consumer # each has its own counter");
        }
        if let Some(models) = &level.descriptor.models {
            let _ = writeln!(
                out,
                "{indent}- key: model\n{indent}  value: {}",
                quoted(models)
            );
        }
        if level.per_consumer || level.descriptor.models.is_some() {
            let _ = writeln!(out, "{indent}  descriptors:");
            indent = "          ";
        }
        for limit in level.limits.iter().filter(counted) {
            let Some((_, unit)) = unit_of_time(limit) else {
                continue;
            };
            let name = limit.name();
            let quota = limit.quota.min(MAX_QUOTA);
            let _ = writeln!(out, "{indent}- key: limit\n{indent}  value: {name}");
            let _ = writeln!(
                out,
                "{indent}  rate_limit: {{ unit: {unit}, requests_per_unit: {quota} }}"
            );
        }
    }
    out
}
