//! What every scope can say: models, limits, money, policies.

use super::super::limits::{LIMIT, MAX_LIMITS, MODEL_LIMITS, RATE_LIMITS, SHAPES, UNITS};
use super::super::policies::{ACTIONS, CONTENT, KEYWORDS, KINDS, PII, RULE};
use super::super::rules::{ALLOWANCES, MAX_COUNT, ON_EXCEEDED, REQUEST_LIMITS, SCOPE, UNNAMED};
use super::super::spend::{BUDGET, PERIODS, PRICE, REACTIONS, UNPRICED};
use super::places::with;
use super::values::{
    boolean, cluster, decimal, list, milliseconds, model, models, name, number, quota, said, set,
    some, text, usd, word,
};
use super::{defined, object};
use crate::config::document::MODES;
use crate::guardrail::{Entity, Words};
use serde_json::{Value, json};

pub(super) fn unnamed() -> Value {
    object(&UNNAMED, &[], common)
}

pub(super) fn scope() -> Value {
    object(&SCOPE, &["name"], |field| match field {
        "name" => said(
            json!({"type": "string", "minLength": 1, "maxLength": 256}),
            "As Envoy names it",
        ),
        field => common(field),
    })
}

fn common(field: &str) -> Value {
    match field {
        "description" => said(text(), "For people"),
        rule => rule_here(rule),
    }
}

/// A rule, where it stands: what it is for, and the definition of what it may hold.
pub(super) fn rule_here(rule: &str) -> Value {
    let what = match rule {
        "allowed_models" => "Models that may be used, exact or with `*`; without it, every model",
        "denied_models" => "Models that may not be used; wins over allowed_models",
        "default_model" => "The model of requests that name none",
        "model_aliases" => "Other names for models",
        "allowed_endpoints" => {
            "Endpoints that may be used, by name or path; without it, all that name their models"
        }
        "rate_limits" => "Limits that all who share this scope use up together",
        "consumer_rate_limits" => "Limits that each consumer has for itself",
        "model_rate_limits" => "Further limits for some models",
        "pricing" => "US dollars for a million tokens, by models; the first that fits",
        "budgets" => "US dollars that may be spent",
        "unpriced" => "What becomes of a model without a price under a budget",
        "request_limits" => "What one request may ask for",
        "policies" => "What prompts and answers are looked through for",
        "input_policies" => "What prompts are looked through for",
        "output_policies" => "What answers are looked through for",
        _ => return Value::Null,
    };
    said(defined(rule), what)
}

/// What a rule may hold.
pub(super) fn rule(rule: &str, endpoints: &[&str]) -> Value {
    match rule {
        "allowed_models" | "denied_models" => set(&models()),
        "default_model" => model(),
        "model_aliases" => json!({
            "type": "object",
            "propertyNames": {"pattern": r"^[^*]+$"},
            "additionalProperties": model(),
        }),
        "allowed_endpoints" => set(&json!({"anyOf": [
            {"enum": endpoints},
            {"type": "string", "pattern": r"^/[!-~]*$"},
        ]})),
        "rate_limits" | "consumer_rate_limits" => defined("limits"),
        "model_rate_limits" => list(&object(
            &MODEL_LIMITS,
            &["models", "rate_limits"],
            |field| match field {
                "models" => said(
                    with(some(&models()), "uniqueItems", json!(true)),
                    "The models",
                ),
                "rate_limits" => said(defined("limits"), "What they may use up together"),
                _ => Value::Null,
            },
        )),
        "pricing" => {
            let price = object(
                &PRICE,
                &["input_per_million", "output_per_million"],
                |field| {
                    let what = match field {
                        "input_per_million" => "Input",
                        "cached_input_per_million" => {
                            "Input that was read from a cache; default: as input"
                        }
                        "cache_write_per_million" => {
                            "Input that was written to a cache; default: as input"
                        }
                        "output_per_million" => "Output, reasoning included",
                        _ => return Value::Null,
                    };
                    said(usd(), what)
                },
            );
            json!({"type": "object", "propertyNames": {"minLength": 1}, "additionalProperties": price})
        }
        "budgets" => list(&object(
            &BUDGET,
            &["amount_usd", "per"],
            |field| match field {
                "amount_usd" => said(usd(), "How much"),
                "per" => said(word(&PERIODS), "How long it is to last"),
                "on_exceeded" => said(word(&REACTIONS), "Refuse, or only tell"),
                "alert_at" => said(
                    list(&decimal(0.001, 1.0)),
                    "Shares of it that are told of, once a window",
                ),
                _ => Value::Null,
            },
        )),
        "unpriced" => word(&UNPRICED),
        "request_limits" => request_limits(),
        "policies" | "input_policies" | "output_policies" => list(&defined("policy")),
        _ => Value::Null,
    }
}

fn request_limits() -> Value {
    let limits = object(&REQUEST_LIMITS, &[], |field| match field {
        "max_output_tokens" => said(number(1, MAX_COUNT.into()), "Output tokens of one answer"),
        "on_exceeded" => said(
            word(&ON_EXCEEDED),
            "Refuse a request for more, or cut it down",
        ),
        "max_body_bytes" => said(number(0, u32::MAX.into()), "Bytes of its body"),
        "max_n" => said(number(1, MAX_COUNT.into()), "How many answers at once"),
        "stream" => said(word(&ALLOWANCES), "Whether the answer may come as a stream"),
        "tools" => said(word(&ALLOWANCES), "Whether the model may be given tools"),
        _ => Value::Null,
    });
    with(
        limits,
        "dependentRequired",
        json!({"on_exceeded": ["max_output_tokens"]}),
    )
}

/// `rate_limits` in either of its forms.
pub(super) fn limits() -> Value {
    let named = object(&RATE_LIMITS, &[], |field| match field {
        "window" => said(
            word(&SHAPES),
            "How windows of up to an hour move; default: sliding",
        ),
        "concurrent_requests" => said(quota(), "Requests that may be under way at a time"),
        limit => said(quota(), &limit.replace('_', " ")),
    });
    let listed = object(&LIMIT, &["unit", "limit"], |field| match field {
        "unit" => said(word(&UNITS), "What is counted"),
        "limit" => said(quota(), "How much of it"),
        "per" => said(
            json!({"type": "string", "pattern": "^(second|minute|hour|day|month|[0-9]+[smh])$"}),
            "Over which time",
        ),
        "window" => said(word(&SHAPES), "How the window moves; default: sliding"),
        _ => Value::Null,
    });
    let under_way = json!({"properties": {"unit": {"const": "concurrent_requests"}}});
    let listed = with(listed, "if", under_way);
    let listed = with(
        listed,
        "then",
        json!({"properties": {"per": false, "window": false}}),
    );
    let listed = with(listed, "else", json!({"required": ["per"]}));
    let listed = with(list(&listed), "maxItems", json!(MAX_LIMITS));
    json!({"anyOf": [named, listed]})
}

/// A policy, with the settings of its type.
pub(super) fn policy() -> Value {
    let rule = object(&RULE, &["name"], |field| match field {
        "name" => said(
            name(),
            "What events and refusals call it; the same in a wider scope is replaced",
        ),
        "type" => said(word(&KINDS), "What it looks for"),
        "action" => said(word(&ACTIONS), "What it does then"),
        "mode" => said(word(&MODES), "In place of the group's"),
        "enabled" => said(
            boolean(),
            "`false` takes the one of this name out that stands further up",
        ),
        "config" => json!({"description": "What it looks for, by its type"}),
        _ => Value::Null,
    });
    let pii = object(&PII, &["entities"], |field| match field {
        "entities" => said(
            some(&word(&Entity::ALL)),
            "Kinds of personal data, and secrets",
        ),
        _ => Value::Null,
    });
    let keywords = object(&KEYWORDS, &[], |field| {
        let string = json!({"type": "string", "minLength": 1});
        match field {
            "words" => said(
                some(&with(string, "maxLength", json!(Words::MAX))),
                "Words, whatever their case",
            ),
            "patterns" => said(some(&string), "Patterns of a linear-time engine"),
            _ => Value::Null,
        }
    });
    let keywords = with(
        keywords,
        "anyOf",
        json!([{"required": ["words"]}, {"required": ["patterns"]}]),
    );
    let of = |kind: &str, config: Value, needed: bool| {
        let mut then = json!({"properties": {"config": said(config, "Its settings")}});
        if needed {
            then = with(then, "required", json!(["config"]));
        }
        json!({"if": {"required": ["type"], "properties": {"type": {"const": kind}}}, "then": then})
    };
    let off = json!({"required": ["enabled"], "properties": {"enabled": {"const": false}}});
    with(
        rule,
        "allOf",
        json!([
            {"if": off, "else": {"required": ["type"]}},
            of("pii_detector", pii, true),
            of("keyword_filter", keywords, true),
            of("content_filter", content(), false),
        ]),
    )
}

fn content() -> Value {
    object(&CONTENT, &[], |field| match field {
        "cluster" => said(cluster(), "Envoy's cluster of the moderation endpoint"),
        "path" => said(json!({"type": "string", "pattern": "^/"}), "Its path"),
        "timeout" => said(milliseconds(), "How long a request waits for it"),
        "failure_mode" => said(
            json!({"enum": ["allow", "deny"]}),
            "What holds while it does not answer",
        ),
        "categories" => said(
            some(&json!({"type": "string", "pattern": "^[A-Za-z0-9_/-]+$"})),
            "Moderation categories, like hate",
        ),
        "threshold" => said(
            json!({"anyOf": [{"enum": ["low", "medium", "high"]}, {"type": "number", "minimum": 0, "maximum": 1}]}),
            "From which score on",
        ),
        _ => Value::Null,
    })
}
