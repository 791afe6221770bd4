//! Refusals in the caller's API: what the SDKs of that API turn into their own exceptions.
//!
//! Error shapes: OpenAI's, Anthropic's and Google's API references. Never a key, a prompt or an answer in them.

pub mod rate_limit;

use crate::headers::HeaderEdits;
use crate::json::Writer;
use crate::llm::endpoint::Dialect;
use crate::refusal::{Fired, Refusal};
use crate::spend::usd;

/// Names of models in answers, events and metrics are cut here.
pub const MODEL_DISPLAY_BYTES: usize = 128;

/// The SDKs sleep as long as `Retry-After` says, some of them without a bound; over this they are told not to wait at all.
const LONGEST_RETRY_SECONDS: u64 = 120;

/// Said of a limit of 0: the wait that never ends.
pub const NEVER_MS: u64 = 24 * 3_600_000;

/// A whole local answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// For `%RESPONSE_CODE_DETAILS%`.
    pub details: &'static str,
    /// Fields; nothing to remove.
    pub headers: HeaderEdits,
    /// JSON.
    pub body: Vec<u8>,
}

/// To whom a refusal is put into words.
#[derive(Clone, Copy, Debug, Default)]
pub struct Audience<'a> {
    /// The API that the path speaks.
    pub dialect: Dialect,
    /// The consumer group, once it is known.
    pub group: Option<&'a str>,
    /// The models that the group may use, as the configuration has them.
    pub allowed_models: &'a [&'a str],
    /// Seconds added to `Retry-After`, so that a herd does not come back at once.
    pub jitter: u64,
}

impl Reply {
    /// Puts a refusal into words.
    pub fn new(refusal: &Refusal, audience: Audience<'_>) -> Self {
        let status = refusal.status();
        let mut headers = HeaderEdits::default();
        headers.set("content-type", "application/json");
        if status == 401 {
            // RFC 9110 15.5.2: a 401 names the scheme.
            headers.set("www-authenticate", "Bearer");
        }
        let retry_after = match refusal {
            Refusal::BudgetExceeded { wait_ms, .. } | Refusal::RateLimited { wait_ms, .. } => {
                Some(wait_ms.div_ceil(1_000).max(1))
            }
            Refusal::ContentFilterUnavailable
            | Refusal::LimiterUnavailable
            | Refusal::TooManyAtOnce(_) => Some(1),
            _ => None,
        };
        if let Some(seconds) = retry_after {
            let seconds = seconds.saturating_add(audience.jitter);
            headers.set("retry-after", seconds.to_string());
            let spent = matches!(refusal, Refusal::BudgetExceeded { .. });
            if spent || seconds > LONGEST_RETRY_SECONDS {
                headers.set("x-should-retry", "false");
            }
        }
        if let Some(group) = audience.group {
            headers.set("x-consumer-group", group);
        }
        let mut body = Writer::with_capacity(512);
        match audience.dialect {
            Dialect::Anthropic => anthropic(&mut body, refusal, audience),
            Dialect::Bedrock => {
                headers.set("x-amzn-errortype", amazon_type(status));
                bedrock(&mut body, refusal, audience);
            }
            Dialect::Gemini => gemini(&mut body, refusal, audience),
            Dialect::OpenAi => openai(&mut body, refusal, audience),
        }
        body.close('}');
        Self {
            status,
            details: refusal.code(),
            headers,
            body: body.into_bytes(),
        }
    }
}

/// As Ollama states an error in the middle of a stream.
pub fn plain_error(refusal: &Refusal) -> Vec<u8> {
    let nobody = Audience {
        dialect: Dialect::OpenAi,
        group: None,
        allowed_models: &[],
        jitter: 0,
    };
    let mut json = Writer::default();
    json.open('{')
        .key("error")
        .string(&message(refusal, nobody));
    json.close('}');
    json.finish().into_bytes()
}

fn openai(json: &mut Writer, refusal: &Refusal, audience: Audience<'_>) {
    json.open('{').key("error").open('{');
    json.key("message").string(&message(refusal, audience));
    json.key("type").string(openai_type(refusal));
    json.key("param").optional(param(refusal));
    json.key("code").string(refusal.code());
    facts(json, refusal, audience);
    json.close('}');
}

fn anthropic(json: &mut Writer, refusal: &Refusal, audience: Audience<'_>) {
    let kind = match refusal.status() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    json.open('{').key("type").string("error");
    json.key("error").open('{');
    json.key("type").string(kind);
    json.key("message").string(&message(refusal, audience));
    json.key("code").string(refusal.code());
    json.key("details").open('{');
    json.key("error_code").string(refusal.code()).close('}');
    facts(json, refusal, audience);
    json.close('}');
}

fn gemini(json: &mut Writer, refusal: &Refusal, audience: Audience<'_>) {
    let status = match refusal.status() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        500 | 502 => "INTERNAL",
        503 => "UNAVAILABLE",
        _ => "INVALID_ARGUMENT",
    };
    json.open('{').key("error").open('{');
    json.key("code").number(refusal.status().into());
    json.key("message").string(&message(refusal, audience));
    json.key("status").string(status);
    json.key("details").open('[').open('{');
    json.key("@type")
        .string("type.googleapis.com/google.rpc.ErrorInfo");
    json.key("reason")
        .string(&refusal.code().to_ascii_uppercase());
    json.key("domain").string("cohort").close('}').close(']');
    facts(json, refusal, audience);
    json.close('}');
}

/// What the AWS SDKs read, beside what everyone else does.
fn bedrock(json: &mut Writer, refusal: &Refusal, audience: Audience<'_>) {
    openai(json, refusal, audience);
    json.key("message").string(&message(refusal, audience));
}

const fn amazon_type(status: u16) -> &'static str {
    match status {
        401 | 403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        429 => "ThrottlingException",
        500 | 502 => "InternalServerException",
        503 => "ServiceUnavailableException",
        _ => "ValidationException",
    }
}

const fn openai_type(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::RateLimited { requests: true, .. } | Refusal::TooManyAtOnce(_) => "requests",
        Refusal::BudgetExceeded { .. } => "insufficient_quota",
        Refusal::RateLimited {
            requests: false, ..
        } => "tokens",
        _ if refusal.status() >= 500 => "server_error",
        _ => "invalid_request_error",
    }
}

fn param(refusal: &Refusal) -> Option<&str> {
    match refusal {
        Refusal::InvalidBody { param, .. } => param.as_deref(),
        Refusal::ModelAmbiguous { param, .. } | Refusal::RequestLimit { param, .. } => Some(param),
        Refusal::ModelMissing
        | Refusal::ModelNotAllowed { .. }
        | Refusal::ModelUnpriced { .. }
        | Refusal::NoProvider => Some("model"),
        _ => None,
    }
}

/// What a program may want to read out of a refusal.
fn facts(json: &mut Writer, refusal: &Refusal, audience: Audience<'_>) {
    match refusal {
        Refusal::ModelNotAllowed { .. } => {
            json.key("allowed_models").open('[');
            for model in audience.allowed_models {
                json.string(model);
            }
            json.close(']');
        }
        Refusal::BudgetExceeded { fired, .. }
        | Refusal::ExceedsLimit { fired, .. }
        | Refusal::RateLimited { fired, .. }
        | Refusal::TooManyAtOnce(fired) => {
            let group = fired.group.as_deref().or(audience.group);
            json.key("limit").string(&fired.limit);
            json.key("consumer_group").optional(group);
            if let Some(scope) = fired.scope {
                json.key("scope").string(scope);
            }
        }
        Refusal::AnswerBlocked { policy, .. } | Refusal::ContentBlocked { policy, .. } => {
            json.key("policy").string(policy);
            json.key("entities").open('[');
            for name in refusal.kinds() {
                json.string(name);
            }
            json.close(']');
        }
        _ => {}
    }
}

fn message(refusal: &Refusal, audience: Audience<'_>) -> String {
    let group = audience.group.unwrap_or_default();
    match refusal {
        Refusal::AmbiguousCredentials => "The request carries two different API keys. Send one.".to_owned(),
        Refusal::AnswerBlocked { policy, found } => {
            let names: Vec<&str> = found.iter().flat_map(|found| found.names()).collect();
            format!("The answer was blocked by policy '{policy}', which found: {}.", names.join(", "))
        }
        Refusal::BudgetExceeded { fired, .. } => {
            let whose = whose(fired, audience).unwrap_or_default();
            format!("The budget of {whose} is used up: {} ({} USD).", fired.limit, usd(fired.quota))
        }
        Refusal::ConsumerGroupNotAllowed => {
            "This API key does not belong to the consumer group that the x-consumer-group header asks for. Leave the header out, or name a group of the key's own.".to_owned()
        }
        Refusal::ContentBlocked { policy, .. } => {
            let kinds = refusal.kinds().join(", ");
            format!("The request was blocked by policy '{policy}', which found: {kinds}. Take that out and send it again.")
        }
        Refusal::ContentFilterUnavailable => "The content could not be checked. Try again shortly.".to_owned(),
        Refusal::EndpointNotAllowed => format!("Consumer group '{group}' does not have access to this endpoint"),
        Refusal::Internal => "The gateway failed to handle this request.".to_owned(),
        Refusal::InvalidBody { message, .. }
        | Refusal::InvalidPath(message)
        | Refusal::ModelAmbiguous { message, .. }
        | Refusal::RequestLimit { message, .. }
        | Refusal::UnsupportedEncoding(message)
        | Refusal::UnsupportedType(message) => message.clone(),
        Refusal::InvalidKey => "Invalid API key.".to_owned(),
        Refusal::LimiterUnavailable => "The rate limiter is not available. Try again shortly.".to_owned(),
        Refusal::MissingKey => "No API key. Send it as 'Authorization: Bearer KEY'.".to_owned(),
        Refusal::ModelMissing => "The request names no model. Set 'model'.".to_owned(),
        Refusal::ModelNotAllowed { model } => {
            format!("Consumer group '{group}' does not have access to model '{}'", shortened(model))
        }
        Refusal::ModelUnpriced { model } => {
            format!("Consumer group '{group}' has a budget, and model '{}' has no price. Use another model, or ask for a price to be set.", shortened(model))
        }
        Refusal::NoProvider => "No configured provider serves this model.".to_owned(),
        Refusal::RateLimited { fired, wait_ms, .. } => {
            let seconds = wait_ms.div_ceil(1_000).max(1);
            let Fired { limit, quota, .. } = fired;
            match whose(fired, audience) {
                Some(whose) => format!("Rate limit reached for {whose}: {limit} (limit {quota}). Try again in {seconds} s."),
                None => format!("Too many requests without a valid API key from this address: {limit} (limit {quota}). Try again in {seconds} s."),
            }
        }
        Refusal::TooManyAtOnce(fired) => {
            let whose = whose(fired, audience).unwrap_or_default();
            format!("Too many requests at the same time for {whose} (limit {}). Try again when one has ended.", fired.quota)
        }
        Refusal::ExceedsLimit { fired, stated } => {
            let Fired { limit, quota, .. } = fired;
            let whose = whose(fired, audience).unwrap_or_default();
            format!("The request asks for up to {stated} output tokens, more than the whole of {limit} for {whose} (limit {quota}). Ask for fewer.")
        }
        Refusal::RequestTooLarge => "The request body is larger than this gateway accepts.".to_owned(),
        Refusal::ResponseTooLarge => "The upstream's answer is larger than this gateway can filter.".to_owned(),
        Refusal::ResponseUnreadable => "The upstream's answer cannot be read, so it cannot be filtered.".to_owned(),
    }
}

/// Whom a limit counts together.
fn whose(fired: &Fired, audience: Audience<'_>) -> Option<String> {
    let group = fired.group.as_deref().or(audience.group)?;
    Some(match fired.scope? {
        "consumer" => format!("this consumer of consumer group '{group}'"),
        "model" => format!("this model in consumer group '{group}'"),
        "ceilings" => "all consumer groups together".to_owned(),
        _ => format!("consumer group '{group}'"),
    })
}

/// A model name as it may be shown: cut on a character's edge.
pub fn shortened(model: &str) -> &str {
    let mut end = MODEL_DISPLAY_BYTES.min(model.len());
    while !model.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    model.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn body(refusal: &Refusal, dialect: Dialect) -> Value {
        let audience = Audience {
            dialect,
            group: Some("marketing"),
            allowed_models: &["gpt-4o-mini"],
            jitter: 0,
        };
        serde_json::from_slice(&Reply::new(refusal, audience).body).unwrap()
    }

    #[test]
    fn the_contract_for_a_forbidden_model() {
        let refusal = Refusal::ModelNotAllowed {
            model: "gpt-4o".to_owned(),
        };
        let message = "Consumer group 'marketing' does not have access to model 'gpt-4o'";
        let openai = body(&refusal, Dialect::OpenAi);
        assert_eq!(openai["error"]["code"], "model_not_allowed");
        assert_eq!(openai["error"]["message"], message);
        assert_eq!(openai["error"]["allowed_models"], json!(["gpt-4o-mini"]));
        let anthropic = body(&refusal, Dialect::Anthropic);
        assert_eq!(
            (&anthropic["type"], &anthropic["error"]["type"]),
            (&json!("error"), &json!("permission_error"))
        );
        assert_eq!(anthropic["error"]["message"], message);
        let gemini = body(&refusal, Dialect::Gemini);
        assert_eq!(
            (&gemini["error"]["code"], &gemini["error"]["status"]),
            (&json!(403), &json!("PERMISSION_DENIED"))
        );
        assert_eq!(body(&refusal, Dialect::Bedrock)["message"], message);
    }

    #[test]
    fn a_failure_of_ours_is_not_put_on_the_caller() {
        let gemini = body(&Refusal::Internal, Dialect::Gemini);
        assert_eq!(gemini["error"]["status"], "INTERNAL");
        let audience = Audience {
            dialect: Dialect::Bedrock,
            ..Audience::default()
        };
        let kind = ("x-amzn-errortype", &b"InternalServerException"[..]);
        let reply = Reply::new(&Refusal::Internal, audience);
        assert!(reply.headers.fields().any(|field| field == kind));
    }

    #[test]
    fn waits_are_whole_seconds_rounded_up() {
        let wait = |wait_ms, jitter| {
            let refusal = Refusal::RateLimited {
                fired: Fired {
                    limit: "requests_per_minute".to_owned(),
                    quota: 1,
                    scope: Some("consumer_group"),
                    group: None,
                },
                requests: true,
                wait_ms,
            };
            Reply::new(
                &refusal,
                Audience {
                    jitter,
                    ..Audience::default()
                },
            )
            .headers
        };
        let has = |headers: HeaderEdits, name: &str, value: &str| {
            let mut fields = headers.fields();
            fields.any(|field| field == (name, value.as_bytes()))
        };
        assert!(has(wait(0, 0), "retry-after", "1"));
        assert!(has(wait(1_001, 0), "retry-after", "2"));
        assert!(has(wait(1_001, 3), "retry-after", "5"));
        assert!(!has(wait(120_000, 0), "x-should-retry", "false"));
        assert!(has(wait(120_001, 0), "x-should-retry", "false"));
    }

    #[test]
    fn model_names_are_cut_between_characters() {
        assert_eq!(shortened("gpt-4o"), "gpt-4o");
        assert_eq!(shortened(&"é".repeat(100)).len(), 128);
        assert_eq!(shortened(&format!("x{}", "é".repeat(100))).len(), 127);
    }
}
