//! Every reason for which a request is not let through: its code, its status, and what to do about it.
//!
//! The one list of the codes that answers, events and metrics share. [`crate::reply`] puts them into words for a caller.

use crate::llm::endpoint::PathError;
use crate::llm::request::BodyError;
use crate::policy::Found;
use std::rc::Rc;

/// Why a request was refused.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// Two different keys in one request.
    AmbiguousCredentials,
    /// A policy found in the answer what may not be in it.
    AnswerBlocked {
        /// The policy's name.
        policy: Rc<str>,
        /// The kinds of what it found.
        found: Option<Found>,
    },
    /// A budget is used up.
    BudgetExceeded {
        /// Which.
        fired: Fired,
        /// When its window ends, in milliseconds.
        wait_ms: u64,
    },
    /// The caller asked, in `x-consumer-group`, for a group that is not its own.
    ConsumerGroupNotAllowed,
    /// A policy found in the prompt what may not be in it.
    ContentBlocked {
        /// The policy's name.
        policy: Rc<str>,
        /// The kinds of what it found.
        found: Option<Found>,
    },
    /// The moderation endpoint that was to judge the prompt did not.
    ContentFilterUnavailable,
    /// The endpoint is closed unless `allowed_endpoints` opens it.
    EndpointNotAllowed,
    /// More output is asked for than a limit has at all.
    ExceedsLimit {
        /// Which.
        fired: Fired,
        /// How much is asked for.
        stated: u64,
    },
    /// The filter itself failed.
    Internal,
    /// The body is not what the endpoint takes, or not readable without doubt.
    InvalidBody {
        /// What is wrong and what to change.
        message: String,
        /// The field, where it is one.
        param: Option<String>,
    },
    /// The key opens nothing.
    InvalidKey,
    /// The path can be read in more than one way.
    InvalidPath(String),
    /// The limiter could not decide.
    LimiterUnavailable,
    /// No key at all.
    MissingKey,
    /// A model could be read in more than one way.
    ModelAmbiguous {
        /// What is ambiguous and what to change.
        message: String,
        /// The field.
        param: String,
    },
    /// The endpoint needs a model and none is named.
    ModelMissing,
    /// The group may not use this model.
    ModelNotAllowed {
        /// The model, as the caller wrote it.
        model: String,
    },
    /// There is a budget, and nobody said what this model costs.
    ModelUnpriced {
        /// The model, as the caller wrote it.
        model: String,
    },
    /// No provider serves these models.
    NoProvider,
    /// A limit is used up.
    RateLimited {
        /// Which.
        fired: Fired,
        /// Whether it counts requests rather than tokens.
        requests: bool,
        /// When one more would pass, in milliseconds.
        wait_ms: u64,
    },
    /// More is asked for than one request may ask for.
    RequestLimit {
        /// What, and what to change.
        message: String,
        /// The field.
        param: String,
    },
    /// Over what Envoy buffers.
    RequestTooLarge,
    /// The answer had to be held and is over the cap.
    ResponseTooLarge,
    /// The answer had to be read to be filtered, and could not be.
    ResponseUnreadable,
    /// As many requests as may be are under way.
    TooManyAtOnce(Fired),
    /// A `content-encoding` other than identity.
    UnsupportedEncoding(String),
    /// A form where JSON belongs, or the reverse.
    UnsupportedType(String),
}

/// The limit that refused a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fired {
    /// `requests_per_minute`, …
    pub limit: String,
    /// How much of it there is.
    pub quota: u64,
    /// Whom it counts together, if it is one of the configuration's: `consumer_group`, `consumer`, `model`, `ceilings`.
    pub scope: Option<&'static str>,
    /// The group that it belongs to: the caller's own, or one above it.
    pub group: Option<Rc<str>>,
}

impl Refusal {
    /// The code: the same in the answer's body, in `%RESPONSE_CODE_DETAILS%` and in the event's `reason`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::AmbiguousCredentials => "ambiguous_credentials",
            Self::ConsumerGroupNotAllowed => "consumer_group_not_allowed",
            Self::BudgetExceeded { .. } => "budget_exceeded",
            Self::AnswerBlocked { .. } | Self::ContentBlocked { .. } => "content_blocked",
            Self::ContentFilterUnavailable => "content_filter_unavailable",
            Self::EndpointNotAllowed => "endpoint_not_allowed",
            Self::ExceedsLimit { .. } => "request_exceeds_limit",
            Self::Internal => "internal_error",
            Self::InvalidBody { .. } => "invalid_body",
            Self::InvalidKey => "invalid_api_key",
            Self::InvalidPath(_) => "invalid_path",
            Self::LimiterUnavailable => "limiter_unavailable",
            Self::MissingKey => "missing_api_key",
            Self::ModelAmbiguous { .. } => "model_ambiguous",
            Self::ModelMissing => "model_missing",
            Self::ModelNotAllowed { .. } => "model_not_allowed",
            Self::ModelUnpriced { .. } => "model_unpriced",
            Self::NoProvider => "no_provider_for_model",
            Self::RateLimited { .. } => "rate_limit_exceeded",
            Self::RequestLimit { .. } => "request_limit_exceeded",
            Self::RequestTooLarge => "request_too_large",
            Self::ResponseTooLarge => "response_too_large",
            Self::ResponseUnreadable => "response_unreadable",
            Self::TooManyAtOnce(_) => "concurrency_limit_exceeded",
            Self::UnsupportedEncoding(_) => "unsupported_content_encoding",
            Self::UnsupportedType(_) => "unsupported_content_type",
        }
    }

    /// Of what a policy found.
    pub fn kinds(&self) -> Vec<&str> {
        match self {
            Self::AnswerBlocked { found, .. } | Self::ContentBlocked { found, .. } => {
                found.as_ref().map(Found::names).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    /// The HTTP status.
    pub const fn status(&self) -> u16 {
        match self {
            Self::AnswerBlocked { .. }
            | Self::ContentBlocked { .. }
            | Self::ExceedsLimit { .. }
            | Self::InvalidBody { .. }
            | Self::InvalidPath(_)
            | Self::ModelAmbiguous { .. }
            | Self::ModelMissing
            | Self::RequestLimit { .. } => 400,
            Self::AmbiguousCredentials | Self::InvalidKey | Self::MissingKey => 401,
            Self::ConsumerGroupNotAllowed
            | Self::EndpointNotAllowed
            | Self::ModelNotAllowed { .. }
            | Self::ModelUnpriced { .. } => 403,
            Self::NoProvider => 404,
            Self::RequestTooLarge => 413,
            Self::UnsupportedEncoding(_) | Self::UnsupportedType(_) => 415,
            Self::BudgetExceeded { .. } | Self::RateLimited { .. } | Self::TooManyAtOnce(_) => 429,
            Self::Internal => 500,
            Self::ResponseTooLarge | Self::ResponseUnreadable => 502,
            Self::ContentFilterUnavailable | Self::LimiterUnavailable => 503,
        }
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        let message = sentence(&error);
        match error {
            BodyError::Ambiguous { param, .. } => Self::ModelAmbiguous { message, param },
            BodyError::ContentEncoding => Self::UnsupportedEncoding(message),
            BodyError::ContentType { .. } => Self::UnsupportedType(message),
            _ => Self::InvalidBody {
                message,
                param: error.param().map(str::to_owned),
            },
        }
    }
}

impl From<PathError> for Refusal {
    fn from(error: PathError) -> Self {
        let message = sentence(&error);
        match error {
            PathError::Model => Self::ModelAmbiguous {
                message,
                param: "model".to_owned(),
            },
            _ => Self::InvalidPath(message),
        }
    }
}

/// An error's words as a sentence of their own.
fn sentence(error: &impl std::fmt::Display) -> String {
    let mut message = error.to_string();
    if let Some(first) = message.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    message.push('.');
    message
}
