//! What would change, for people and for programs.

use super::difference::{Both, Change, Difference, Side, Times};
use super::past::{Fate, Past};
use crate::spend::usd;
use serde_json::{Number, Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write};

const NOT_REPLAYED: &str =
    "prompts and answers are in no log: what policies would find in their text is not known";

pub(super) fn text(past: &Past, difference: &Difference, out: &mut dyn Write) -> io::Result<()> {
    let (Some(first), Some(last)) = (past.requests.first(), past.requests.last()) else {
        return writeln!(out, "there are no requests in the log");
    };
    let count = past.requests.len();
    writeln!(out, "{count} requests from {} to {}", first.time, last.time)?;
    writeln!(out, "{NOT_REPLAYED}")?;
    if difference.kept > 0 {
        writeln!(
            out,
            "{} of them stay what they were: the log does not say enough to judge them again",
            difference.kept
        )?;
    }
    writeln!(out, "\n{:24}  {:>12}  {:>12}", "", "BEFORE", "AFTER")?;
    let [before, after] = &difference.all;
    for (name, of) in SUMS {
        writeln!(out, "{name:24}  {:>12}  {:>12}", of(before), of(after))?;
    }
    writeln!(
        out,
        "{:24}  {:>12}  {:>12}",
        "USD",
        usd(before.cost),
        usd(after.cost)
    )?;
    if !difference.reasons.is_empty() {
        writeln!(
            out,
            "\n{:24}  {:>12}  {:>12}",
            "REFUSED FOR", "BEFORE", "AFTER"
        )?;
        for (code, [before, after]) in &difference.reasons {
            writeln!(out, "{code:24}  {before:>12}  {after:>12}")?;
        }
    }
    table("GROUP", &difference.groups, out)?;
    table("MODEL", &difference.models, out)?;
    if difference.changes.is_empty() {
        return writeln!(out, "\nNo request would fare differently.");
    }
    writeln!(out, "\nWHAT WOULD BE DIFFERENT")?;
    let changes = sorted(difference);
    for (change, (count, first, last)) in changes.iter().take(MOST) {
        let Change {
            group,
            model,
            before,
            after,
            limit,
        } = change;
        let limit = limit.as_ref();
        let limit = limit.map_or_else(String::new, |limit| format!(" ({limit})"));
        let when = if first == last {
            format!("at {first}")
        } else {
            format!("{first} to {last}")
        };
        writeln!(
            out,
            "{count:>8}  {} {}: {} -> {}{limit}, {when}",
            printable(group),
            printable(model),
            word(before),
            word(after),
        )?;
    }
    more(changes.len(), out)
}

/// Models have the names that callers make up: more rows than these nobody reads.
const MOST: usize = 100;

fn more(count: usize, out: &mut dyn Write) -> io::Result<()> {
    match count.saturating_sub(MOST) {
        0 => Ok(()),
        more => writeln!(out, "and {more} more: --format json has all"),
    }
}

type Sum = fn(&Side) -> u64;

const SUMS: [(&str, Sum); 5] = [
    ("passed", |side| side.passed),
    ("  only for shadow mode", |side| side.spared),
    ("refused", |side| side.refused),
    ("failed", |side| side.failed),
    ("tokens", |side| side.tokens),
];

fn table(title: &str, rows: &BTreeMap<String, Both>, out: &mut dyn Write) -> io::Result<()> {
    let mut shown: Vec<(&String, &Both)> = rows.iter().collect();
    let requests = |both: &Both| both.iter().map(|side| side.requests).max();
    shown.sort_by_key(|(_, both)| std::cmp::Reverse(requests(both)));
    shown.truncate(MOST);
    shown.sort_by_key(|(name, _)| *name);
    let names: Vec<_> = shown.iter().map(|(name, _)| printable(name)).collect();
    let width = names.iter().map(|name| name.chars().count()).max();
    let width = width.unwrap_or(0).max(title.len());
    writeln!(
        out,
        "\n{title:width$}  REQUESTS          REFUSED                 TOKENS                     USD",
    )?;
    let pair = |before: String, after: String| {
        if before == after {
            after
        } else {
            format!("{before} -> {after}")
        }
    };
    let both = shown.iter().map(|(_, both)| both);
    for (name, [before, after]) in names.iter().zip(both) {
        let of = |sum: Sum| pair(sum(before).to_string(), sum(after).to_string());
        writeln!(
            out,
            "{name:width$}  {:<16}  {:<16}  {:>22}  {:>22}",
            of(|side| side.requests),
            of(|side| side.refused),
            of(|side| side.tokens),
            pair(usd(before.cost), usd(after.cost)),
        )?;
    }
    more(rows.len(), out)
}

/// The most frequent first.
fn sorted(difference: &Difference) -> Vec<(&Change, &Times)> {
    let mut changes: Vec<_> = difference.changes.iter().collect();
    changes.sort_by_key(|(_, (count, ..))| std::cmp::Reverse(*count));
    changes
}

fn word(fate: &Fate) -> String {
    match fate {
        Fate::Failed => "failed".to_owned(),
        Fate::Passed => "passed".to_owned(),
        Fate::Refused(code) => code.clone(),
        Fate::Spared(code) => format!("passed for shadow mode, else {code}"),
    }
}

/// A model's name is a caller's text: what a terminal would obey is not printed.
fn printable(text: &str) -> String {
    let shown = text
        .chars()
        .map(|char| if char.is_control() { '\u{fffd}' } else { char });
    shown.collect()
}

pub(super) fn json(past: &Past, difference: &Difference, out: &mut dyn Write) -> io::Result<()> {
    let rows = |name: &str, rows: &BTreeMap<String, Both>| -> Value {
        let rows = rows
            .iter()
            .map(|(key, both)| with(both_json(both), [(name, json!(key))]));
        rows.collect()
    };
    let reasons = difference
        .reasons
        .iter()
        .map(|(code, [before, after])| json!({"reason": code, "before": before, "after": after}));
    let changes = sorted(difference)
        .into_iter()
        .map(|(change, (count, first, last))| {
            json!({
                "group": change.group,
                "model": change.model,
                "before": fate_json(&change.before),
                "after": fate_json(&change.after),
                "limit": change.limit,
                "requests": count,
                "first": first.to_string(),
                "last": last.to_string(),
            })
        });
    let time = |request: Option<&super::past::Request>| request.map(|it| it.time.to_string());
    let document = with(
        both_json(&difference.all),
        [
            ("from", json!(time(past.requests.first()))),
            ("to", json!(time(past.requests.last()))),
            ("requests", json!(past.requests.len())),
            ("kept", json!(difference.kept)),
            ("not_replayed", json!(["prompts", "answers"])),
            ("reasons", reasons.collect()),
            ("groups", rows("group", &difference.groups)),
            ("models", rows("model", &difference.models)),
            ("changes", changes.collect()),
        ],
    );
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

/// An object with further members.
fn with<const N: usize>(mut object: Value, more: [(&str, Value); N]) -> Value {
    if let Value::Object(members) = &mut object {
        members.extend(more.map(|(name, value)| (name.to_owned(), value)));
    }
    object
}

fn both_json([before, after]: &Both) -> Value {
    let side = |side: &Side| {
        json!({
            "requests": side.requests,
            "passed": side.passed,
            "shadow": side.spared,
            "refused": side.refused,
            "failed": side.failed,
            "total_tokens": side.tokens,
            "cost_usd": usd(side.cost).parse::<Number>().ok(),
        })
    };
    json!({"before": side(before), "after": side(after)})
}

fn fate_json(fate: &Fate) -> Value {
    let (result, reason) = match fate {
        Fate::Failed => ("error", None),
        Fate::Passed => ("allowed", None),
        Fate::Refused(code) => ("blocked", Some(code)),
        Fate::Spared(code) => ("flagged", Some(code)),
    };
    json!({"result": result, "reason": reason})
}
