//! Headers that only the filter may write must be gone before Envoy picks a route: it does so before the filter runs. And
//! nobody may write the address by which failed keys are counted.

use super::{Manager, Report, body, list, text};
use serde_json::Value;

const OURS: [&str; 4] = [
    "x-consumer",
    "x-cohort-provider",
    "x-cohort-model",
    "x-cohort-features",
];

/// A wish of the caller's, which the filter reads.
const WISH: &str = "x-consumer-group";

pub(super) fn check(manager: &Manager<'_>, report: &mut Report<'_>) {
    let path = format!("{}.early_header_mutation_extensions", manager.path);
    judge(&path, &mutations(manager.value), report);
    let remote = manager.value.get("use_remote_address");
    let detected = !list(manager.value, "original_ip_detection_extensions").is_empty();
    if remote.and_then(Value::as_bool) != Some(true) && !detected {
        report.warn(
            &format!("{}.use_remote_address", manager.path),
            "callers choose by X-Forwarded-For under which address their failed keys are counted",
            "`use_remote_address: true`, and `xff_num_trusted_hops` behind a load balancer",
        );
    }
}

/// What a connection manager takes out before it picks a route.
pub(super) fn mutations(manager: &Value) -> Vec<&Value> {
    let extensions = list(manager, "early_header_mutation_extensions").iter();
    let typed = extensions.filter_map(|extension| extension.get("typed_config"));
    typed
        .flat_map(|typed| list(body(typed), "mutations"))
        .collect()
}

/// Whether these are enough, told of at a path.
pub(super) fn judge(path: &str, mutations: &[&Value], report: &mut Report<'_>) {
    let gone = |header: &str| mutations.iter().any(|mutation| removes(mutation, header));
    let left: Vec<_> = OURS.into_iter().filter(|header| !gone(header)).collect();
    if !left.is_empty() {
        report.error(
            path,
            format!(
                "callers can send {}: Envoy picks a route by them before the filter takes them out",
                left.join(", ")
            ),
            "HeaderMutation with `mutations: [{remove: x-consumer}, {remove_on_match: {key_matcher: {prefix: x-cohort-}}}]`",
        );
    }
    if gone(WISH) {
        report.warn(
            path,
            format!("`{WISH}` is taken out: callers in several groups cannot choose one"),
            "remove `x-consumer` by its whole name",
        );
    }
}

/// Whether a mutation takes a header out. Of a pattern only what it names is looked at.
fn removes(mutation: &Value, header: &str) -> bool {
    if text(mutation, "remove").eq_ignore_ascii_case(header) {
        return true;
    }
    let Some(matcher) = mutation.pointer("/remove_on_match/key_matcher") else {
        return false;
    };
    let is = |name: &str, fits: fn(&str, &str) -> bool| {
        let text = text(matcher, name).to_ascii_lowercase();
        !text.is_empty() && fits(header, &text)
    };
    let pattern = matcher.pointer("/safe_regex/regex");
    let pattern = pattern.and_then(Value::as_str).unwrap_or_default();
    let family = header.split('-').take(2).collect::<Vec<_>>().join("-");
    is("exact", |header, text| header == text)
        || is("prefix", |header, text| header.starts_with(text))
        || is("suffix", |header, text| header.ends_with(text))
        || is("contains", |header, text| header.contains(text))
        || (header != WISH && pattern.contains(&family))
}
