//! `cohort events`: the event log, one JSON line a request, as Envoy's access log writes it.
//!
//! Reads from the end and in blocks: the log may be of any size, grow while it is read, and be rotated.

mod follow;
mod table;
mod tail;

use super::{Failure, Format, NO_EVENTS, NO_GROUP, Printed, log, print, say};
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead};
use std::path::PathBuf;
use std::process::ExitCode;
use table::Table;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Show the last events
    Tail(Tail),
}

#[derive(clap::Args)]
pub(super) struct Tail {
    /// How many
    #[arg(long, value_name = "N", default_value_t = 20)]
    last: usize,
    /// Only those of one group
    #[arg(long, value_name = "GROUP")]
    consumer_group: Option<String>,
    /// As aligned columns, or as the lines of the log are
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// More columns, and nothing cut
    #[arg(long, short)]
    verbose: bool,
    /// Go on with what comes, until interrupted
    #[arg(long, short)]
    follow: bool,
    /// Also those that no group was found for, and what policies found later
    #[arg(long)]
    all: bool,
    /// The event log; `-` reads stdin
    #[arg(long, value_name = "FILE", default_value = ".cohort/events.jsonl")]
    file: PathBuf,
}

/// One line of the log that is an event.
struct Event {
    line: Vec<u8>,
    fields: Map<String, Value>,
}

impl Command {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let Self::Tail(tail) = self;
        tail.run()
    }
}

impl Tail {
    fn run(&self) -> Result<ExitCode, Failure> {
        let cannot = |error: io::Error| Failure::reading(&self.file, &error, NO_EVENTS);
        let mut out = Output {
            format: self.format,
            table: Table::new(self.verbose),
        };
        let is_file = fs::metadata(&self.file).map_or(true, |it| it.is_file());
        if log::is_stdin(&self.file) || !is_file {
            self.stream(&mut *log::open(&self.file)?, &mut out)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut position = 0;
        let mut file = None;
        match File::open(&self.file) {
            Ok(mut opened) => {
                let (events, end) = self.last_events(&mut opened).map_err(cannot)?;
                position = end;
                file = Some(opened);
                if out.write(&events)? == Printed::ReaderGone {
                    return Ok(ExitCode::SUCCESS);
                }
                if events.is_empty() && self.last > 0 && !self.follow {
                    self.say_there_are_none();
                }
            }
            Err(error) if self.follow && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(cannot(error)),
        }
        if self.follow {
            let mut follow = follow::Follow::new(&self.file, file, position);
            loop {
                let lines = follow.wait().map_err(cannot)?;
                let events: Vec<_> = lines
                    .into_iter()
                    .filter_map(|line| self.event(line))
                    .collect();
                if out.write(&events)? == Printed::ReaderGone {
                    break;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What cannot be read from its end.
    fn stream(&self, lines: &mut dyn BufRead, out: &mut Output) -> Result<(), Failure> {
        let mut last = VecDeque::new();
        let mut line = Vec::new();
        while log::next_line(lines, &mut line)
            .map_err(|error| Failure::reading(&self.file, &error, NO_EVENTS))?
        {
            let Some(event) = self.event(line.clone()) else {
                continue;
            };
            if self.follow {
                if out.write(&[event])? == Printed::ReaderGone {
                    return Ok(());
                }
                continue;
            }
            last.push_back(event);
            if last.len() > self.last {
                last.pop_front();
            }
        }
        if last.is_empty() && self.last > 0 && !self.follow {
            self.say_there_are_none();
        }
        out.write(last.make_contiguous()).map(drop)
    }

    /// An empty page would leave people guessing; programs do not read this.
    fn say_there_are_none(&self) {
        let group = self.consumer_group.as_ref();
        let of = group.map_or_else(String::new, |group| format!(" of consumer group '{group}'"));
        let more = match (group, self.all) {
            (None, false) => NO_GROUP,
            _ => "",
        };
        say(&format!("no events{of}{more}\n"));
    }

    /// The last events in the log's order, and where its last whole line ends.
    fn last_events(&self, file: &mut File) -> io::Result<(Vec<Event>, u64)> {
        let mut lines = tail::LinesFromEnd::new(file)?;
        let mut events = Vec::new();
        let unfinished = lines.next()?.unwrap_or_default();
        let end = lines.length().saturating_sub(unfinished.len() as u64);
        if !self.follow && self.last > 0 {
            events.extend(self.event(unfinished)); // no more of it will come
        }
        while events.len() < self.last {
            let Some(line) = lines.next()? else { break };
            events.extend(self.event(line));
        }
        events.reverse();
        Ok((events, end))
    }

    /// A line, if it is an event that was asked for. Envoy writes `-` where the filter did not run.
    fn event(&self, mut line: Vec<u8>) -> Option<Event> {
        while line.last().is_some_and(u8::is_ascii_whitespace) {
            line.pop();
        }
        let fields: Map<String, Value> = serde_json::from_slice(&line).ok()?;
        fields.get("time")?;
        let group = fields.get("consumer_group").and_then(Value::as_str);
        let wanted = match &self.consumer_group {
            Some(wanted) => group == Some(wanted),
            None => self.all || group.is_some(),
        };
        // A line about a request whose event stands before: not one more request.
        let late = fields.get("late") == Some(&Value::Bool(true));
        (wanted && (self.all || !late)).then_some(Event { line, fields })
    }
}

struct Output {
    format: Format,
    table: Table,
}

impl Output {
    fn write(&mut self, events: &[Event]) -> Result<Printed, Failure> {
        print(|out| match self.format {
            Format::Json => events.iter().try_for_each(|event| {
                out.write_all(&event.line)?;
                out.write_all(b"\n")
            }),
            Format::Text => self.table.write(events, out),
        })
    }
}
