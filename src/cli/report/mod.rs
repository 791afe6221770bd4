//! `cohort report`: what the event log adds up to, by group, model, consumer, endpoint, key, feature or day.
//!
//! Costs are summed in millionths of a dollar, so they are what the budgets counted.

mod html;
mod sums;

use super::clock;
use super::{Failure, NO_EVENTS, print};
use crate::spend::usd;
use crate::time::Timestamp;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use sums::{Line, Sums, Totals};

/// Add up the event log
#[derive(clap::Args)]
pub(super) struct Report {
    /// What to add up by
    #[arg(long, value_enum, default_value_t = By::Group)]
    by: By,
    /// Only what came since: a date, a moment (RFC 3339), or how long ago (`90m`, `36h`, `7d`)
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// As a table with bars, for a program, or as a page
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Also requests that no group was found for
    #[arg(long)]
    all: bool,
    /// The event log
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
        let since = match &self.since {
            None => None,
            Some(text) => Some(clock::moment(text).ok_or_else(|| {
                Failure(format!(
                    "--since: '{text}' is neither a date, nor a moment, nor a time like 36h or 7d"
                ))
            })?),
        };
        let cannot = |error: io::Error| Failure::reading(&self.file, &error, NO_EVENTS);
        let file = File::open(&self.file).map_err(cannot)?;
        let sums = self.add_up(BufReader::new(file), since).map_err(cannot)?;
        print(|out| match self.format {
            Format::Csv => csv(&sums, self.by, out),
            Format::Html => html::page(&sums, self.by, out),
            Format::Json => {
                let rows: Vec<Value> = sums
                    .rows()
                    .map(|(name, row)| object(self.by, name, row))
                    .collect();
                serde_json::to_writer_pretty(&mut *out, &rows)?;
                writeln!(out)
            }
            Format::Text => text(&sums, self.by, out),
        })?;
        Ok(ExitCode::SUCCESS)
    }

    fn add_up(&self, mut log: impl BufRead, since: Option<Timestamp>) -> io::Result<Sums> {
        let since = since.map(|since| since.to_string());
        let mut sums = Sums::default();
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            if log.read_until(b'\n', &mut bytes)? == 0 {
                return Ok(sums);
            }
            // Envoy writes `-` where the filter did not run.
            let Ok(line) = serde_json::from_slice::<Line>(&bytes) else {
                continue;
            };
            let late = since.as_ref().is_none_or(|since| line.time >= *since);
            if late && (self.all || line.consumer_group.is_some()) {
                sums.add(&line, self.by.names(&line));
            }
        }
    }
}

fn object(by: By, name: &str, row: &Totals) -> Value {
    json!({
        by.name(): name,
        "requests": row.requests,
        "blocked": row.blocked,
        "errors": row.errors,
        "prompt_tokens": row.prompt,
        "completion_tokens": row.completion,
        "total_tokens": row.total,
        "cost_usd": row.dollars(),
        "cost_usd_per_1k_tokens": row.dollars_per_1k(),
    })
}

fn csv(sums: &Sums, by: By, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "{},requests,blocked,errors,prompt_tokens,completion_tokens,total_tokens,cost_usd",
        by.name()
    )?;
    for (name, row) in sums.rows() {
        // RFC 4180; and what a spreadsheet would take for a formula is text.
        let name = if name.starts_with(['=', '+', '-', '@']) && name != "-" {
            format!("'{name}")
        } else {
            name.to_owned()
        };
        let name = if name.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", name.replace('"', "\"\""))
        } else {
            name
        };
        writeln!(
            out,
            "{name},{},{},{},{},{},{},{}",
            row.requests,
            row.blocked,
            row.errors,
            row.prompt,
            row.completion,
            row.total,
            usd(row.cost)
        )?;
    }
    Ok(())
}

fn text(sums: &Sums, by: By, out: &mut dyn Write) -> io::Result<()> {
    const BAR: u64 = 20;
    let most = sums
        .rows()
        .map(|(_, row)| row.total)
        .max()
        .unwrap_or(0)
        .max(1);
    let shown: Vec<(String, &Totals)> = sums
        .rows()
        .map(|(name, row)| (printable(name), row))
        .collect();
    let width = shown
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    let width = width.max(by.name().len());
    writeln!(
        out,
        "{:width$}  REQUESTS  BLOCKED  ERRORS        TOKENS          USD    USD/1K",
        by.name().to_uppercase()
    )?;
    let all = (by != By::Feature).then(|| ("all".to_owned(), &sums.all));
    for (name, row) in shown.into_iter().chain(all) {
        let full = row.total.saturating_mul(BAR).div_ceil(most).min(BAR);
        let bar = "#".repeat(usize::try_from(full).unwrap_or_default());
        let bar = match bar.as_str() {
            "" => String::new(),
            _ if name == "all" => String::new(),
            bar => format!("  {bar}"),
        };
        writeln!(
            out,
            "{name:width$}  {:>8}  {:>7}  {:>6}  {:>12}  {:>11}  {:>8}{bar}",
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
