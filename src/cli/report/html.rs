//! The report as one page that needs nothing else: a table, bars, and what became of each day.

use super::By;
use super::sums::{Sums, Totals};
use crate::spend::usd;
use std::io::{self, Write};

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1d2733;--dim:#5b6875;--line:#d8dee5;--paper:#fff;--bar:#2f6fde}
@media (prefers-color-scheme:dark){:root{--ink:#e6ebf1;--dim:#9aa7b4;--line:#37424e;--paper:#14191f;--bar:#6ea0f5}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}p{color:var(--dim);margin:.25rem 0 1.5rem}
table{border-collapse:collapse;width:100%}th,td{text-align:right;padding:.3rem .6rem;border-bottom:1px solid var(--line)}
th:first-child,td:first-child{text-align:left;overflow-wrap:anywhere}th{color:var(--dim);font-weight:600}
svg{width:100%;height:auto;display:block}svg text{font:12px system-ui,sans-serif;fill:var(--ink)}svg .dim{fill:var(--dim)}
svg rect{fill:var(--bar)}figure{margin:0 0 1.5rem}figcaption{font-weight:600;margin-bottom:.25rem}";

/// What a chart shows of some events: a name, the amount, and how that is written.
type Measure = (&'static str, fn(&Totals) -> u64, fn(u64) -> String);

const MEASURES: [Measure; 3] = [
    ("Requests", |row| row.requests, |count| count.to_string()),
    ("Tokens", |row| row.total, |count| count.to_string()),
    ("US dollars", |row| row.cost, usd),
];

pub(super) fn page(sums: &Sums, by: &[By], out: &mut dyn Write) -> io::Result<()> {
    let days = (sums.days.keys().next(), sums.days.keys().next_back());
    let span = match days {
        (Some(first), Some(last)) => format!("{} to {}", escape(first), escape(last)),
        _ => "no events".to_owned(),
    };
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>Cohort: use by {by}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n<h1>Use by {by}</h1>\n<p>{span} (UTC): {} requests, {} tokens, {} US dollars.</p>\n",
        sums.all.requests,
        sums.all.total,
        usd(sums.all.cost),
        by = titles(by, " and "),
    )?;
    for (title, amount, written) in MEASURES {
        let rows = sums.rows();
        let rows: Vec<_> = rows
            .map(|(names, row)| (names.join(", "), amount(row)))
            .collect();
        bars(title, &rows, written, out)?;
    }
    writeln!(out, "<h2>By day</h2>")?;
    for (title, amount, written) in MEASURES {
        let days = sums.days.iter();
        let rows: Vec<_> = days.map(|(day, row)| (day.as_str(), amount(row))).collect();
        columns(title, &rows, written, out)?;
    }
    table(sums, by, out)?;
    writeln!(out, "</body>\n</html>")
}

/// A bar for each name.
fn bars(
    title: &str,
    rows: &[(String, u64)],
    written: fn(u64) -> String,
    out: &mut dyn Write,
) -> io::Result<()> {
    const STEP: usize = 26;
    let most = rows
        .iter()
        .map(|(_, amount)| *amount)
        .max()
        .unwrap_or(0)
        .max(1);
    let height = rows.len().saturating_mul(STEP);
    writeln!(
        out,
        "<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 800 {height}\" role=\"img\" aria-label=\"{title}\">"
    )?;
    for (at, (name, amount)) in rows.iter().enumerate() {
        let top = at.saturating_mul(STEP);
        let width = share(*amount, most, 460);
        writeln!(
            out,
            "<text x=\"0\" y=\"{text}\">{name}</text><rect x=\"220\" y=\"{bar}\" width=\"{width}\" height=\"16\" rx=\"2\"/><text class=\"dim\" x=\"{end}\" y=\"{text}\">{written}</text>",
            text = top.saturating_add(17),
            bar = top.saturating_add(5),
            end = width.saturating_add(228),
            name = escape(&cut(name, 30)),
            written = written(*amount),
        )?;
    }
    writeln!(out, "</svg></figure>")
}

/// A column for each day.
fn columns(
    title: &str,
    rows: &[(&str, u64)],
    written: fn(u64) -> String,
    out: &mut dyn Write,
) -> io::Result<()> {
    let most = rows
        .iter()
        .map(|(_, amount)| *amount)
        .max()
        .unwrap_or(0)
        .max(1);
    let step = 800_usize
        .checked_div(rows.len().max(1))
        .unwrap_or(800)
        .clamp(2, 120);
    let width = step.saturating_mul(rows.len()).max(800);
    writeln!(
        out,
        "<figure><figcaption>{title} (at most {})</figcaption><svg viewBox=\"0 0 {width} 130\" role=\"img\" aria-label=\"{title} by day\">",
        written(most)
    )?;
    for (at, (day, amount)) in rows.iter().enumerate() {
        let height = share(*amount, most, 100);
        let left = at.saturating_mul(step);
        write!(
            out,
            "<rect x=\"{left}\" y=\"{top}\" width=\"{wide}\" height=\"{height}\"><title>{day}: {written}</title></rect>",
            top = 100_u64.saturating_sub(height),
            wide = (step.saturating_mul(4) / 5).min(48), // one day is no square
            day = escape(day),
            written = written(*amount),
        )?;
        if step >= 60 || at == 0 {
            write!(
                out,
                "<text class=\"dim\" x=\"{left}\" y=\"118\">{}</text>",
                escape(day)
            )?;
        }
    }
    writeln!(out, "</svg></figure>")
}

fn table(sums: &Sums, by: &[By], out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "<h2>All figures</h2>\n<table><thead><tr><th>{}</th><th>Requests</th><th>Blocked</th><th>Errors</th><th>Prompt tokens</th><th>Completion tokens</th><th>Tokens</th><th>USD</th><th>USD/1k</th></tr></thead><tbody>",
        titles(by, "</th><th>")
    )?;
    for (names, row) in sums.rows() {
        let names: Vec<String> = names.iter().map(|name| escape(name)).collect();
        writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            names.join("</td><td>"),
            row.requests,
            row.blocked,
            row.errors,
            row.prompt,
            row.completion,
            row.total,
            usd(row.cost),
            row.per_1k().map_or_else(|| "–".to_owned(), usd),
        )?;
    }
    writeln!(out, "</tbody></table>")
}

fn titles(by: &[By], between: &str) -> String {
    let names: Vec<&str> = by.iter().map(|by| by.name()).collect();
    names.join(between)
}

/// How much of `full` an amount is, rounded up so that what is there can be seen.
fn share(amount: u64, most: u64, full: u64) -> u64 {
    let share = u128::from(amount)
        .saturating_mul(full.into())
        .div_ceil(u128::from(most.max(1)));
    u64::try_from(share).unwrap_or(full)
}

fn cut(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    let kept = text.chars().take(chars.saturating_sub(1));
    kept.chain(['…']).collect()
}

/// A name may be a caller's text: nothing of it is markup.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            char if char.is_control() => escaped.push('\u{fffd}'),
            char => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_markup() {
        assert_eq!(
            escape("<script>alert('x')</script>&\"\u{1b}"),
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;\u{fffd}"
        );
    }

    #[test]
    fn the_least_can_be_seen_and_the_most_fits() {
        assert_eq!(share(0, 10, 100), 0);
        assert_eq!(share(1, u64::MAX, 100), 1);
        assert_eq!(share(u64::MAX, u64::MAX, 460), 460);
    }
}
