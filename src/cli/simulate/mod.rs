//! `cohort simulate`: what would have become of the requests in an event log under another policy.
//!
//! Each event becomes a request again, with the key, the endpoint, the models and the size that it had, and goes through
//! the filter's own exchange at its own time; its answer uses what the log says it used. Judges nothing itself.

mod difference;
mod keys;
mod past;
mod replay;
mod request;
mod show;
mod store;

pub(super) use store::Store;

use super::document::Document;
use super::{Failure, Format, clock, print};
use difference::Difference;
use keys::Keys;
use past::Past;
use replay::Replay;
use std::path::PathBuf;
use std::process::ExitCode;

/// Replay the event log against another policy: what would change?
///
/// Prompts and answers are in no log: policies on their text, and requests that could not be read, stay what they were. A
/// request that was refused and would pass is taken to use what its group's requests for that model use on average.
#[derive(clap::Args)]
pub(super) struct Simulate {
    /// The policy to try
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The event log, `-` for stdin; several times where it was rotated
    #[arg(long, value_name = "FILE", default_value = ".cohort/events.jsonl")]
    events: Vec<PathBuf>,
    /// Only what came since: a date, a moment (RFC 3339), or how long ago (`90m`, `36h`, `7d`)
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Requests whose key the policy does not have count for their consumer, or else for their group, if that is there
    #[arg(long)]
    by_name: bool,
    /// For people, or for a program
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Simulate {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let since = clock::since(self.since.as_deref())?;
        let document = match Document::read_valid(&self.config)? {
            Ok(document) => document,
            Err(code) => return Ok(code),
        };
        let past = Past::read(&self.events, since)?;
        let keys = Keys::new(document.config, &past.requests, self.by_name);
        let mut replay = Replay::new(keys)?;
        let mut difference = Difference::default();
        for request in &past.requests {
            replay.start(request, &past, &mut difference);
        }
        replay.finish(&mut difference);
        print(|out| match self.format {
            Format::Json => show::json(&past, &difference, out),
            Format::Text => show::text(&past, &difference, out),
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests;
