//! Pages that list what the code has: nothing is missing, nothing stands there alone, nothing is another than it is.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

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

/// What other products' fields become is a field of ours, where it looks like one.
#[test]
fn fields_that_others_become_are_fields() {
    const MIGRATING: &str = include_str!("../docs/migrating.md");
    let known = cohort::config::schema(&cohort::llm::endpoint::names()).to_string();
    let others = METRICS.to_owned() + include_str!("../docs/capacity.md") + ERRORS;
    let mut seen = 0;
    for row in MIGRATING.lines().filter(|line| line.starts_with("| ")) {
        let ours = row.rsplit(" | ").next().unwrap();
        for shown in ours.split('`').skip(1).step_by(2) {
            let words = shown.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
            for word in words.filter(|word| word.trim_matches('_').contains('_')) {
                let word = word.trim_end_matches('_');
                assert!(
                    known.contains(word) || others.contains(word),
                    "{word:?} in {row}"
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 40, "{seen}");
}

/// The commands in blocks of `sh`, without what a shell makes of the rest of their lines.
fn shown(page: &str) -> Vec<Vec<String>> {
    let blocks = page.split("```sh\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap().lines());
    let commands = lines.filter_map(|line| {
        let start = line
            .find("cohort ")
            .filter(|at| *at == 0 || line[..*at].ends_with("| "))?;
        let line = line[start..].split(['#', '|', '>']).next().unwrap();
        let words = line.split_whitespace().skip(1);
        Some(
            words
                .map(|word| word.trim_matches(['\'', '"']).to_owned())
                .collect(),
        )
    });
    commands.collect()
}

/// What nobody may run here (it starts something, or changes a file) is at least what the command line takes.
#[test]
fn every_command_that_is_shown_has_the_options_that_are_shown() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = fs::read_dir(top.join("docs")).unwrap();
    let pages = pages.map(|page| page.unwrap().path());
    let mut seen = 0;
    for page in pages.chain(["README.md", "envoy/README.md"].map(|page| top.join(page))) {
        for words in shown(&fs::read_to_string(&page).unwrap()) {
            // The command, and where it has some a command of it: names, up to what is no plain word.
            let name = words.iter().take(2).take_while(|word| {
                word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-')
            });
            let names: Vec<_> = name.collect();
            let help = (1..=names.len()).rev().find_map(|len| {
                let mut command = Command::new(env!("CARGO_BIN_EXE_cohort"));
                let output = command.args(&names[..len]).arg("--help").output().unwrap();
                let help = String::from_utf8(output.stdout).unwrap();
                let usage = format!(
                    "Usage: cohort {}",
                    names[..len]
                        .iter()
                        .map(|it| it.as_str())
                        .collect::<Vec<_>>()
                        .join(" ")
                );
                (output.status.success() && help.contains(&usage)).then_some(help)
            });
            let help = help.unwrap_or_else(|| panic!("{}: {words:?}", page.display()));
            for option in words.iter().filter(|word| word.starts_with("--")) {
                let option = option.split('=').next().unwrap();
                let known = help.split(|c: char| !(c.is_ascii_lowercase() || c == '-'));
                assert!(
                    known.clone().any(|known| known == option),
                    "{}: {words:?}: {option}",
                    page.display()
                );
            }
            seen += 1;
        }
    }
    assert!(seen > 15, "{seen}");
}
