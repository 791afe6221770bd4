//! `cohort report`: what the event log adds up to, by group, model, consumer, endpoint, key, feature or day.
//!
//! Costs are summed in millionths of a dollar, so they are what the budgets counted.

mod html;
mod sums;

use super::{Failure, NO_EVENTS, NO_GROUP, clock, log, print, say};
use crate::spend::usd;
use crate::time::Timestamp;
use serde_json::{Value, json};
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use sums::{Line, Sums, Totals};

/// Add up the event log
#[derive(clap::Args)]
pub(super) struct Report {
    /// What to add up by; several with commas between them: `group,model`
    #[arg(long, value_enum, value_delimiter = ',', default_value = "group")]
    by: Vec<By>,
    /// Only what came since: a date, a moment (RFC 3339), or how long ago (`90m`, `36h`, `7d`)
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// As a table with bars, for a program, or as a page
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Also requests that no group was found for
    #[arg(long)]
    all: bool,
    /// The event log; `-` reads stdin
    #[arg(long, value_name = "FILE", default_value = ".cohort/events.jsonl")]
    file: PathBuf,
}

#[derive(Clone, Copy, Eq, PartialEq, clap::ValueEnum)]
enum By {
    Consumer,
    Day,
    Endpoint,
    Feature,
    Group,
    Key,
    Model,
}

impl By {
    const fn name(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Day => "day",
            Self::Endpoint => "endpoint",
            Self::Feature => "feature",
            Self::Group => "group",
            Self::Key => "key",
            Self::Model => "model",
        }
    }

    /// Under which names an event counts. With several features it counts under each.
    fn names(self, line: &Line) -> Vec<String> {
        let or_none = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".to_owned());
        match self {
            Self::Consumer => vec![or_none(&line.consumer)],
            Self::Day => vec![line.day().to_owned()],
            Self::Endpoint => vec![or_none(&line.endpoint)],
            Self::Feature if line.features.is_empty() => vec!["-".to_owned()],
            Self::Feature => line.features.clone(),
            Self::Group => vec![or_none(&line.consumer_group)],
            Self::Key => vec![or_none(&line.key_id)],
            Self::Model => vec![or_none(&line.model)],
        }
    }
}

#[derive(Clone, Copy, Eq, PartialEq, clap::ValueEnum)]
enum Format {
    Csv,
    Html,
    Json,
    Text,
}

impl Report {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let since = clock::since(self.since.as_deref())?;
        let cannot = |error: io::Error| Failure::reading(&self.file, &error, NO_EVENTS);
        let mut lines = log::open(&self.file)?;
        let sums = self.add_up(&mut *lines, since).map_err(cannot)?;
        if sums.all.requests == 0 {
            // An empty page would leave people guessing; programs do not read this.
            let more = if self.all { "" } else { NO_GROUP };
            say(&format!("no events{more}\n"));
        }
        print(|out| match self.format {
            Format::Csv => csv(&sums, &self.by, out),
            Format::Html => html::page(&sums, &self.by, out),
            Format::Json => {
                let rows: Vec<Value> = sums
                    .rows()
                    .map(|(names, row)| object(&self.by, names, row))
                    .collect();
                serde_json::to_writer_pretty(&mut *out, &rows)?;
                writeln!(out)
            }
            Format::Text => text(&sums, &self.by, out),
        })?;
        Ok(ExitCode::SUCCESS)
    }

    fn add_up(&self, lines: &mut dyn BufRead, since: Option<Timestamp>) -> io::Result<Sums> {
        let since = since.map(|since| since.to_string());
        let mut sums = Sums::default();
        let mut bytes = Vec::new();
        while log::next_line(lines, &mut bytes)? {
            // Envoy writes `-` where the filter did not run.
            let Ok(line) = serde_json::from_slice::<Line>(&bytes) else {
                continue;
            };
            let late = since.as_ref().is_none_or(|since| line.time >= *since);
            if late && (self.all || line.consumer_group.is_some()) {
                sums.add(&line, names(&self.by, &line));
            }
        }
        Ok(sums)
    }
}

/// Under which an event counts: of each kind one.
fn names(by: &[By], line: &Line) -> Vec<Vec<String>> {
    by.iter().fold(vec![Vec::new()], |rows, by| {
        let names = by.names(line);
        let longer = |row: &Vec<String>| {
            let row = row.clone();
            let one = move |name: &String| [row.as_slice(), std::slice::from_ref(name)].concat();
            names.iter().map(one).collect::<Vec<_>>()
        };
        rows.iter().flat_map(longer).collect()
    })
}

fn object(by: &[By], names: &[String], row: &Totals) -> Value {
    let names = by.iter().zip(names);
    let names = names.map(|(by, name)| (by.name().to_owned(), json!(name)));
    let sums = [
        ("requests", json!(row.requests)),
        ("blocked", json!(row.blocked)),
        ("errors", json!(row.errors)),
        ("prompt_tokens", json!(row.prompt)),
        ("completion_tokens", json!(row.completion)),
        ("total_tokens", json!(row.total)),
        ("cost_usd", row.dollars()),
        ("cost_usd_per_1k_tokens", row.dollars_per_1k()),
    ];
    let sums = sums.map(|(name, sum)| (name.to_owned(), sum));
    Value::Object(names.chain(sums).collect())
}

fn csv(sums: &Sums, by: &[By], out: &mut dyn Write) -> io::Result<()> {
    for by in by {
        write!(out, "{},", by.name())?;
    }
    writeln!(
        out,
        "requests,blocked,errors,prompt_tokens,completion_tokens,total_tokens,cost_usd,cost_usd_per_1k_tokens"
    )?;
    for (names, row) in sums.rows() {
        for name in names {
            write!(out, "{},", csv_field(name))?;
        }
        writeln!(
            out,
            "{},{},{},{},{},{},{},{}",
            row.requests,
            row.blocked,
            row.errors,
            row.prompt,
            row.completion,
            row.total,
            usd(row.cost),
            row.per_1k().map(usd).unwrap_or_default(),
        )?;
    }
    Ok(())
}

/// RFC 4180; and what a spreadsheet would take for a formula is text.
fn csv_field(name: &str) -> String {
    let name = if name.starts_with(['=', '+', '-', '@']) && name != "-" {
        format!("'{name}")
    } else {
        name.to_owned()
    };
    if name.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name
    }
}

fn text(sums: &Sums, by: &[By], out: &mut dyn Write) -> io::Result<()> {
    const BAR: u64 = 20;
    let rows = || sums.rows().map(|(_, row)| row.total);
    let most = rows().max().unwrap_or(0).max(1);
    let shown: Vec<(Vec<String>, &Totals)> = sums
        .rows()
        .map(|(names, row)| (names.iter().map(|name| printable(name)).collect(), row))
        .collect();
    let titles: Vec<String> = by.iter().map(|by| by.name().to_uppercase()).collect();
    let all: Vec<String> = ["all".to_owned()]
        .into_iter()
        .chain(std::iter::repeat_n(String::new(), by.len()))
        .take(by.len())
        .collect();
    let names = || shown.iter().map(|(names, _)| names).chain([&titles, &all]);
    let length = |name: Option<&String>| name.map_or(0, |name| name.chars().count());
    let widths: Vec<usize> = (0..by.len())
        .map(|at| {
            names()
                .map(|names| length(names.get(at)))
                .max()
                .unwrap_or(0)
        })
        .collect();
    let columns = |names: &[String]| {
        let cells = names.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(name, width)| format!("{name:width$}"))
            .collect();
        cells.join("  ")
    };
    writeln!(
        out,
        "{}  REQUESTS  BLOCKED  ERRORS        TOKENS          USD    USD/1K",
        columns(&titles)
    )?;
    let each = shown.iter().map(|(names, row)| (names, *row, true));
    let sum = (!by.contains(&By::Feature)).then_some((&all, &sums.all, false));
    for (names, row, with_bar) in each.chain(sum) {
        let full = row.total.saturating_mul(BAR).div_ceil(most).min(BAR);
        let bar = match usize::try_from(full).unwrap_or_default() {
            full if with_bar && full > 0 => format!("  {}", "#".repeat(full)),
            _ => String::new(),
        };
        writeln!(
            out,
            "{}  {:>8}  {:>7}  {:>6}  {:>12}  {:>11}  {:>8}{bar}",
            columns(names),
            row.requests,
            row.blocked,
            row.errors,
            row.total,
            usd(row.cost),
            row.per_1k().map_or_else(|| "-".to_owned(), usd),
        )?;
    }
    Ok(())
}

/// A model's name is a caller's text: what a terminal would obey is not printed.
fn printable(text: &str) -> String {
    let shown = text
        .chars()
        .map(|char| if char.is_control() { '\u{fffd}' } else { char });
    shown.collect()
}
