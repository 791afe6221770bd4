//! Events in aligned columns, for people.

use super::Event;
use serde_json::Value;
use std::io::{self, Write};

/// A column: its title, and where an event has its value.
#[derive(Clone, Copy)]
struct Column {
    title: &'static str,
    pointer: &'static str,
    unit: &'static str,
    /// Only with `--verbose`.
    verbose: bool,
    number: bool,
}

const fn text(title: &'static str, pointer: &'static str) -> Column {
    Column {
        title,
        pointer,
        unit: "",
        verbose: false,
        number: false,
    }
}

const fn number(title: &'static str, pointer: &'static str, unit: &'static str) -> Column {
    Column {
        title,
        pointer,
        unit,
        verbose: false,
        number: true,
    }
}

const fn verbose(column: Column) -> Column {
    Column {
        verbose: true,
        ..column
    }
}

const COLUMNS: [Column; 18] = [
    text("TIME", "time"),
    text("GROUP", "consumer_group"),
    verbose(text("CONSUMER", "consumer")),
    verbose(text("KEY", "key_id")),
    verbose(text("PROVIDER", "provider")),
    verbose(text("ENDPOINT", "endpoint")),
    text("MODEL", "model"),
    number("STATUS", "status", ""),
    text("RESULT", "result"),
    verbose(number("PROMPT", "usage/prompt_tokens", "")),
    verbose(number("COMPLETION", "usage/completion_tokens", "")),
    number("TOKENS", "usage/total_tokens", ""),
    verbose(text("ESTIMATED", "estimated")),
    verbose(text("STREAM", "stream")),
    number("LATENCY", "latency_ms", "ms"),
    verbose(number("TTFT", "ttft_ms", "ms")),
    text("REASON", "reason"),
    verbose(text("DETAIL", "detail")),
];

/// Longer values are cut, unless all is wanted.
const WIDEST: usize = 40;

/// Keeps its widths from one batch of events to the next, so that columns stay columns.
pub(super) struct Table {
    verbose: bool,
    widths: Option<Vec<usize>>,
}

impl Table {
    pub(super) const fn new(verbose: bool) -> Self {
        Self {
            verbose,
            widths: None,
        }
    }

    pub(super) fn write(&mut self, events: &[Event], out: &mut dyn Write) -> io::Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let columns: Vec<&Column> = COLUMNS
            .iter()
            .filter(|column| self.verbose || !column.verbose)
            .collect();
        let rows = events.iter().map(|event| {
            columns
                .iter()
                .map(|column| self.cell(event, column))
                .collect()
        });
        let mut rows: Vec<Vec<String>> = rows.collect();
        if self.widths.is_none() {
            rows.insert(
                0,
                columns
                    .iter()
                    .map(|column| column.title.to_owned())
                    .collect(),
            );
        }
        let widths = self.widths.get_or_insert_with(|| vec![0; columns.len()]);
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in rows {
            let mut line = String::new();
            for ((cell, column), width) in row.iter().zip(&columns).zip(&*widths) {
                let cell = if column.number {
                    format!("{cell:>width$}  ")
                } else {
                    format!("{cell:<width$}  ")
                };
                line.push_str(&cell);
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn cell(&self, event: &Event, column: &Column) -> String {
        let shown = match lookup(event, column.pointer) {
            None | Some(Value::Null) => return "-".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(items)) => {
                let items: Vec<_> = items
                    .iter()
                    .map(|item| item.as_str().unwrap_or("?"))
                    .collect();
                items.join(",")
            }
            Some(value) => format!("{value}{}", column.unit),
        };
        // A caller chose the model's name: it must not speak to the terminal.
        let mut shown: Vec<char> = shown
            .chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect();
        if !self.verbose && shown.len() > WIDEST {
            shown.truncate(WIDEST.saturating_sub(1));
            shown.push('…');
        }
        if shown.is_empty() {
            "-".to_owned()
        } else {
            shown.into_iter().collect()
        }
    }
}

fn lookup<'a>(event: &'a Event, pointer: &str) -> Option<&'a Value> {
    let field = |name: &str| event.fields.get(name);
    match pointer.split_once('/') {
        Some((outer, inner)) => field(outer)?.get(inner),
        None if pointer == "model" => field("models").or_else(|| field("model")),
        None => field(pointer),
    }
}
