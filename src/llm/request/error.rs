//! Why a request body was refused, in words that say what to change. Never with content of the body.

use super::multipart::FormError;
use crate::json::JsonError;

use std::fmt;

/// Why a request body was refused.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum BodyError {
    /// Readers could see different models, or a watched field differently.
    Ambiguous {
        /// The field.
        param: String,
        /// What is wrong with it.
        reason: Ambiguity,
    },
    /// Compressed; only plain bodies can be read.
    ContentEncoding,
    /// Not a content type that this endpoint takes.
    ContentType {
        /// The one to send.
        wanted: &'static str,
    },
    /// Not a form in the strict subset.
    Form(FormError),
    /// Not JSON in the strict subset.
    Json(JsonError),
    /// JSON, but not an object.
    NotObject,
    /// A watched field of a type that its readers would not agree on.
    WrongType {
        /// The field.
        param: String,
        /// What it must be.
        wanted: &'static str,
    },
}

impl BodyError {
    /// The error code that the caller sees.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Ambiguous { .. } => "model_ambiguous",
            Self::ContentEncoding => "unsupported_content_encoding",
            Self::ContentType { .. } => "unsupported_content_type",
            Self::Form(_) | Self::Json(_) | Self::NotObject | Self::WrongType { .. } => {
                "invalid_body"
            }
        }
    }

    /// The HTTP status of the answer.
    pub const fn status(&self) -> u16 {
        match self {
            Self::ContentEncoding | Self::ContentType { .. } => 415,
            _ => 400,
        }
    }

    /// The field that is to blame.
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::Ambiguous { param, .. } | Self::WrongType { param, .. } => Some(param),
            _ => None,
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ambiguous { param, reason } => match reason {
                Ambiguity::CaseVariant => {
                    write!(f, "'{param}' must be written in exactly this letter case")
                }
                Ambiguity::Control => write!(f, "'{param}' must not hold control characters"),
                Ambiguity::Disagreement => write!(
                    f,
                    "'{param}' must name the same model as the rest of the request"
                ),
                Ambiguity::Duplicate => write!(f, "'{param}' must be given only once"),
                Ambiguity::NotAString => write!(f, "'{param}' must be a non-empty string"),
                Ambiguity::TooLong => write!(f, "'{param}' must not be longer than 256 bytes"),
                Ambiguity::TooMany => f.write_str("the request names too many models"),
            },
            Self::ContentEncoding => f.write_str(
                "send the body without content-encoding: compressed bodies are not read",
            ),
            Self::ContentType { wanted } => write!(f, "send the body as {wanted}"),
            Self::Form(error) => write!(f, "the form could not be read: {error}"),
            Self::Json(error) => write!(f, "the body is not valid JSON: {error}"),
            Self::NotObject => f.write_str("the body must be a JSON object"),
            Self::WrongType { param, wanted } => write!(f, "'{param}' must be {wanted}"),
        }
    }
}

impl std::error::Error for BodyError {}

/// What makes a field ambiguous.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Ambiguity {
    /// Some readers ignore letter case, some do not.
    CaseVariant,
    /// A control character, where some readers stop.
    Control,
    /// Two places that name the same thing name two.
    Disagreement,
    /// Some readers take the first, some the last.
    Duplicate,
    /// Not a string, or an empty one.
    NotAString,
    /// No model has such a long name.
    TooLong,
    /// More than are judged in one request.
    TooMany,
}
