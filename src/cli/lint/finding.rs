//! What `cohort lint` found: where it is, what it is, and what to do about it.

use super::super::diagnostics;
use super::advice::Advised;
use crate::config::{ConfigError, Location, Places};
use serde_json::{Value, json};
use std::fmt::Write as _;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Level {
    Error,
    Warning,
}

pub(super) struct Finding {
    pub(super) level: Level,
    file: String,
    /// Where in the document; empty: all of it.
    pub(super) path: String,
    message: String,
    help: Option<String>,
    place: Option<Location>,
    /// Whether the line may be shown as it stands in `place`.
    excerpt: bool,
}

impl Finding {
    /// An error in a policy, whose excerpt is safe to show.
    pub(super) fn of(file: &str, error: ConfigError) -> Self {
        Self {
            level: Level::Error,
            file: file.to_owned(),
            path: error.path,
            message: error.message,
            help: error.help,
            place: error.location,
            excerpt: true,
        }
    }

    pub(super) fn warning(file: &str, advised: Advised) -> Self {
        let help = Some(advised.help).filter(|help| !help.is_empty());
        Self::new(Level::Warning, file, &advised.path, advised.message, help)
    }

    pub(super) fn new(
        level: Level,
        file: &str,
        path: &str,
        message: impl Into<String>,
        help: Option<String>,
    ) -> Self {
        Self {
            level,
            file: file.to_owned(),
            path: path.to_owned(),
            message: message.into(),
            help,
            place: None,
            excerpt: false,
        }
    }

    /// Finds the line that it is about.
    pub(super) fn locate(&mut self, places: Option<&Places>) {
        if !self.path.is_empty() {
            self.place = places.and_then(|places| places.find(&self.path));
        }
    }

    /// For a program.
    pub(super) fn object(&self) -> Value {
        let place = self.place.as_ref();
        json!({
            "level": match self.level { Level::Error => "error", Level::Warning => "warning" },
            "file": self.file,
            "path": self.path,
            "line": place.map(|place| place.line),
            "column": place.map(|place| place.column),
            "message": self.message,
            "help": self.help,
        })
    }
}

/// For people. Of each file with errors the number of them is the last that is said of it.
pub(super) fn render(findings: &[Finding]) -> String {
    let mut text = String::new();
    let mut wrong: Vec<(&str, usize)> = Vec::new();
    for finding in findings {
        let title = match finding.path.as_str() {
            "" => finding.message.clone(),
            path => format!("{path}: {}", finding.message),
        };
        let shown = diagnostics::Shown {
            error: finding.level == Level::Error,
            title: &title,
            file: &finding.file,
            place: finding.place.as_ref(),
            excerpt: finding.excerpt,
            help: finding.help.as_deref(),
        };
        text += &shown.render();
        if finding.level == Level::Error {
            match wrong.iter_mut().find(|(file, _)| *file == finding.file) {
                Some((_, count)) => *count = count.saturating_add(1),
                None => wrong.push((&finding.file, 1)),
            }
        }
    }
    for (file, count) in wrong {
        let plural = if count == 1 { "" } else { "s" };
        let _ = writeln!(text, "{file}: {count} error{plural}"); // a String takes everything
    }
    text
}
