//! `cohort status`: what the gateway in this folder enforces, and how much of it is used up.

use super::super::{Failure, Format, print};
use super::control::ask;
use crate::spend::usd;
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
            Format::Text => print(|out| show(&status, self.consumer_group.as_deref(), out))?,
        };
        Ok(ExitCode::SUCCESS)
    }
}

/// `of`: what the limits are of, if not of all.
fn show(status: &Value, of: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
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
        let of = of.map_or_else(String::new, |group| format!(" of consumer group '{group}'"));
        return writeln!(out, "There are no limits{of}.");
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
    let name = text("limit").unwrap_or_default();
    let amount = |count: u64| {
        if name.starts_with("budget_") {
            format!("${}", usd(count))
        } else {
            count.to_string()
        }
    };
    let used = match number("reserved") {
        0 => amount(number("used")),
        reserved => format!("{} (+{})", amount(number("used")), amount(reserved)),
    };
    [
        text("consumer_group").unwrap_or_else(|| "(all)".to_owned()),
        text("consumer").or(models).unwrap_or_default(),
        name.clone(),
        used,
        amount(number("quota")),
        amount(number("remaining")),
        limit["reset_seconds"]
            .as_u64()
            .map_or_else(|| "-".to_owned(), duration),
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

#[cfg(test)]
mod tests {
    use super::cells;
    use serde_json::json;

    #[test]
    fn budgets_are_in_dollars_and_what_never_ends_has_no_end() {
        let row = cells(&json!({
            "consumer_group": "a", "limit": "budget_total", "quota": 1_000_000_000, "used": 40_379,
            "reserved": 5_000, "remaining": 999_954_621, "reset_seconds": null,
        }));
        assert_eq!(
            row,
            [
                "a",
                "",
                "budget_total",
                "$0.040379 (+$0.005)",
                "$1000",
                "$999.954621",
                "-"
            ]
        );
        let row = cells(&json!({
            "consumer_group": "a", "limit": "tokens_per_day", "quota": 10, "used": 4,
            "reserved": 0, "remaining": 6, "reset_seconds": 360,
        }));
        assert_eq!(row, ["a", "", "tokens_per_day", "4", "10", "6", "6m0s"]);
    }
}
