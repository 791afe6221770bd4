//! What is wrong with a configuration, and where.
//!
//! Never holds an API key: messages do not echo secret values, and excerpts arrive here masked.

use super::node::Span;
use std::fmt;

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConfigError {
    /// `consumer_groups[1].rate_limits.requests_per_minute`; empty: the document as a whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Where in the text it is, if the text is at hand.
    pub location: Option<Location>,
    pub(super) span: Span,
}

impl ConfigError {
    /// An error that is known by its path alone.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
            help: None,
            location: None,
            span: Span::default(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}

/// A place in the text of a configuration, on one line.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Location {
    /// Counted from 1.
    pub line: u32,
    /// In characters, counted from 1.
    pub column: u32,
    /// The line; secrets are masked, comments left out.
    pub excerpt: String,
    /// The bytes of `excerpt` that the error is about.
    pub range: std::ops::Range<usize>,
}
