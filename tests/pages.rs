//! Pages that list what the code has: nothing is missing, nothing stands there alone, nothing is another than it is.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};

const ERRORS: &str = include_str!("../docs/errors-and-headers.md");
const METRICS: &str = include_str!("../docs/metrics-and-events.md");
const REFUSALS: &str = include_str!("../src/refusal.rs");
const ANALYTICS: &str = include_str!("../src/analytics.rs");

/// What a `match` of this function makes of each variant, as the source has it.
fn arms(function: &str) -> BTreeMap<&'static str, &'static str> {
    let (_, body) = REFUSALS.split_once(function).unwrap();
    let (_, body) = body.split_once("match self {").unwrap();
    let (body, _) = body.split_once("\n        }\n    }").unwrap();
    let mut arms = BTreeMap::new();
    let mut variants = Vec::new();
    for part in body.split("Self::").skip(1) {
        let end = part.find(|c: char| !c.is_alphanumeric()).unwrap();
        variants.push(&part[..end]);
        if let Some((_, value)) = part.split_once("=>") {
            let value = value.split(',').next().unwrap().trim().trim_matches('"');
            arms.extend(variants.drain(..).map(|variant| (variant, value)));
        }
    }
    arms
}

/// The first words in backquotes of a table's first `columns` columns, of each row that has that.
fn rows(page: &'static str, heading: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let (_, page) = page.split_once(heading).unwrap();
    let page = page.split("\n## ").next().unwrap();
    page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.trim_end_matches('`');
        Some((name, cells.next()?))
    })
}

#[test]
fn every_refusal_is_on_its_page_with_its_status() {
    let (codes, statuses) = (arms("fn code("), arms("fn status("));
    assert!(codes.len() > 20, "{codes:?}");
    assert!(codes.keys().eq(statuses.keys()), "{codes:?} {statuses:?}");
    let expected: BTreeSet<_> = (codes.iter())
        .map(|(variant, code)| (*code, statuses[variant]))
        .collect();
    let (errors, _) = ERRORS.split_once("### Shapes").unwrap();
    let said: BTreeSet<_> = rows(errors, "## Errors\n").collect();
    assert_eq!(said, expected);
}

/// What stands in the source between these two, each time.
fn between(source: &'static str, before: &str, after: &str) -> BTreeSet<&'static str> {
    let parts = source.split(before).skip(1);
    parts
        .map(|part| part.split(after).next().unwrap())
        .collect()
}

#[test]
fn every_stat_is_on_its_page() {
    let (code, _) = ANALYTICS.split_once("#[cfg(test)]").unwrap();
    let names = between(code, "\"cohort.", "\"");
    let expected: BTreeSet<_> = names
        .into_iter()
        .map(|name| format!("cohort_{}", name.split('.').next().unwrap()))
        .collect();
    assert!(expected.len() > 10, "{expected:?}");
    let said: BTreeSet<_> = rows(METRICS, "## Metrics\n")
        .map(|(name, _)| name.to_owned())
        .collect();
    assert_eq!(said, expected);
}

#[test]
fn every_field_of_an_event_is_on_its_page() {
    let (_, event) = ANALYTICS.split_once("pub fn to_json").unwrap();
    let (event, _) = event.split_once("fn write_alerts").unwrap();
    let mut expected = between(event, "\\\"", "\\\"");
    // What stands between two names, and values.
    expected.retain(|name| {
        name.chars().all(|c| c.is_ascii_lowercase() || c == '_') && !name.is_empty()
    });
    expected.extend(["models", "alerts", "late"]);
    let said: BTreeSet<_> = rows(METRICS, "## Events\n")
        .flat_map(|(name, _)| name.split("`, `"))
        .collect();
    assert_eq!(said, expected);
}
