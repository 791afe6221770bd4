//! `cohort explain`: what would become of one request, and why.
//!
//! The request goes through the filter's own exchange, with counters that nothing has used yet. Judges nothing itself.

mod ask;
mod message;
mod origin;
mod show;

use super::document::Document;
use super::{Failure, Format, print};
use message::Message;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// What would become of a request, and which scope says so?
///
/// Say the request in flags, or give a saved one: `cohort explain request.http`. Nothing is sent anywhere, and nothing is
/// counted: limits are shown as if they were unused; `cohort status` shows what is used.
#[derive(clap::Args)]
pub(super) struct Explain {
    /// A saved HTTP request: request line, fields, an empty line, body; `-` reads it from stdin
    #[arg(value_name = "REQUEST")]
    request: Option<PathBuf>,
    /// The policy
    #[arg(long, value_name = "FILE", default_value = "policy-config.yaml")]
    config: PathBuf,
    /// The caller's API key; `-` reads it from stdin, so that no list of processes shows it
    #[arg(long, value_name = "KEY", conflicts_with = "request")]
    key: Option<String>,
    /// In place of a key: a consumer
    #[arg(long, value_name = "NAME", conflicts_with = "key")]
    consumer: Option<String>,
    /// In place of a key, or to choose among a consumer's groups: a consumer group
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// The model that is asked for
    #[arg(long, value_name = "MODEL", conflicts_with = "request")]
    model: Option<String>,
    /// The prompt
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "Hello",
        conflicts_with = "request"
    )]
    prompt: String,
    /// The method and path, like `GET /v1/models`; POST where no method is said
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/v1/chat/completions",
        conflicts_with = "request"
    )]
    path: String,
    /// A further member of the body, as JSON: `max_tokens=100`, `stream=true`; several times
    #[arg(long, value_name = "NAME=VALUE", conflicts_with = "request")]
    set: Vec<String>,
    /// A further field, like `x-consumer-group: research`; several times
    #[arg(long, value_name = "FIELD", conflicts_with = "request")]
    header: Vec<String>,
    /// Envoy's name of the route that it comes in by
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// The cluster of that route
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// For people, or for a program
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Explain {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let document = match Document::read_valid(&self.config)? {
            Ok(document) => document,
            Err(code) => return Ok(code),
        };
        let message = self.message()?;
        ask::is_known(&document.config, &self)?;
        let explained = ask::ask(&document.config, &message, &self)?;
        print(|out| match self.format {
            Format::Json => show::json(&explained, out),
            Format::Text => show::text(&explained, out),
        })?;
        Ok(ExitCode::SUCCESS)
    }

    fn message(&self) -> Result<Message, Failure> {
        if let Some(path) = &self.request {
            let mut bytes = Vec::new();
            if path.as_os_str() == "-" {
                std::io::stdin().read_to_end(&mut bytes)?;
            } else {
                bytes = std::fs::read(path)
                    .map_err(|error| Failure(format!("{}: {error}", path.display())))?;
            }
            return Message::parse(&bytes)
                .map_err(|what| Failure(format!("{}: {what}", path.display())));
        }
        let key = match self.key.as_deref() {
            Some("-") => {
                let mut key = String::new();
                std::io::stdin().read_line(&mut key)?;
                Some(key.trim().to_owned())
            }
            key => key.map(str::to_owned),
        };
        Message::new(self, key).map_err(Failure)
    }
}
