//! `cohort status`: what the gateway in this folder enforces, and how much of it is used up.

use super::super::{Failure, print};
use super::control::ask;
use serde_json::Value;
use std::io::{self, Write};
use std::process::ExitCode;

/// Show the counters that the gateway in this folder enforces
#[derive(clap::Args)]
pub(crate) struct Status {
    /// Only those of one group
    #[arg(long, value_name = "GROUP")]
    consumer_group: Option<String>,
    /// As aligned columns, or as one JSON document
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Eq, PartialEq, clap::ValueEnum)]
enum Format {
    Json,
    Text,
}

impl Status {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let answer = ask("status")?;
        if !answer.done {
            return Err(Failure(answer.text));
        }
        let mut status = answer.status;
        if let (Some(group), Some(Value::Array(limits))) =
            (&self.consumer_group, status.get_mut("limits"))
        {
            limits.retain(|row| row["consumer_group"] == group.as_str());
        }
        match self.format {
            Format::Json => print(|out| writeln!(out, "{status:#}"))?,
            Format::Text => print(|out| show(&status, out))?,
        };
        Ok(ExitCode::SUCCESS)
    }
}

fn show(status: &Value, out: &mut dyn Write) -> io::Result<()> {
    let text = |name: &str| status[name].as_str().unwrap_or_default();
    writeln!(
        out,
        "{} in force since {}",
        text("config"),
        text("loaded_at")
    )?;
    if let Some(error) = status["error"].as_str() {
        writeln!(
            out,
            "The file has changed since, and is NOT in force:\n{}",
            error.trim_end()
        )?;
    }
    if let Some(note) = status["note"].as_str() {
        writeln!(out, "{note}")?;
    }
    let mut rows = vec![
        [
            "CONSUMER GROUP",
            "OF",
            "LIMIT",
            "USED",
            "QUOTA",
            "LEFT",
            "RESETS",
        ]
        .map(str::to_owned),
    ];
    for limit in status["limits"].as_array().into_iter().flatten() {
        rows.push(cells(limit));
    }
    writeln!(out)?;
    if rows.len() == 1 {
        return writeln!(out, "There are no limits.");
    }
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<_> = (0..7).map(width).collect();
    for row in &rows {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            // Numbers to the right.
            let (left, right) = if at < 3 { ("", &*pad) } else { (&*pad, "") };
            line.extend([left, cell, right, "  "]);
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn cells(limit: &Value) -> [String; 7] {
    let text = |name: &str| limit[name].as_str().map(str::to_owned);
    let number = |name: &str| limit[name].as_u64().unwrap_or_default();
    let models = limit["models"].as_array().map(|models| {
        let models: Vec<_> = models.iter().filter_map(Value::as_str).collect();
        models.join(",")
    });
    let used = match number("reserved") {
        0 => number("used").to_string(),
        reserved => format!("{} (+{reserved})", number("used")),
    };
    [
        text("consumer_group").unwrap_or_else(|| "(all)".to_owned()),
        text("consumer").or(models).unwrap_or_default(),
        text("limit").unwrap_or_default(),
        used,
        number("quota").to_string(),
        number("remaining").to_string(),
        limit["reset_seconds"]
            .as_u64()
            .map_or_else(String::new, duration),
    ]
}

/// `0s`, `41s`, `6m0s`, `3h12m`, `2d4h`.
fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    if days > 0 {
        format!("{days}d{}h", hours % 24)
    } else if hours > 0 {
        format!("{hours}h{}m", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes}m{}s", seconds % 60)
    } else {
        format!("{seconds}s")
    }
}
