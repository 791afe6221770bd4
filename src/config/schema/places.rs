//! Where requests go, where counters are kept, and where it is said who asks.

use super::super::counters::{COUNTERS, DIALECTS, FAILURE_MODES, LEASE, SEED, SERVICE, STORES};
use super::super::identity::{IDENTITY, MAX_CONSUMERS, MAX_STEPS, METADATA};
use super::super::limits::COUNTED;
use super::super::providers::{PROVIDER_NAMES, PROVIDERS, SECRET_KEY_REF, TARGET};
use super::object;
use super::values::{
    boolean, cluster, date, header_name, id, list, milliseconds, models, name, number, quota, said,
    set, some, usd, word,
};
use serde_json::{Map, Value, json};

pub(super) fn providers() -> Value {
    object(&PROVIDERS, &["targets"], |field| match field {
        "targets" => said(
            list(&target()),
            "The first one that serves the model gets the request",
        ),
        _ => Value::Null,
    })
}

fn target() -> Value {
    object(&TARGET, &["id", "provider"], |field| match field {
        "id" => said(name(), "The value of x-cohort-provider"),
        "provider" => said(word(&PROVIDER_NAMES), "Whose API it is"),
        "secret_key_ref" => {
            let secret = object(&SECRET_KEY_REF, &["env"], |field| match field {
                "env" => said(
                    json!({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,127}$"}),
                    "The environment variable that holds it",
                ),
                _ => Value::Null,
            });
            said(secret, "The credential that replaces the caller's")
        }
        "models" => said(
            set(&models()),
            "What it serves; without it, its own API's paths",
        ),
        "cluster" => said(cluster(), "Envoy's cluster; default: the id"),
        _ => Value::Null,
    })
}

pub(super) fn identity() -> Value {
    let identity = object(&IDENTITY, &[], |field| match field {
        "consumer_header" => said(header_name(), "The header field with the consumer's name"),
        "group_header" => said(header_name(), "The header field with the group's name"),
        "trusted" => said(
            boolean(),
            "Whether a filter before this one always sets or removes them",
        ),
        "max_consumers" => said(
            number(0, MAX_CONSUMERS.into()),
            "How many that the file does not know have counters of their own; default 100000",
        ),
        "metadata" => {
            let metadata = object(&METADATA, &["filter"], |field| {
                let step = json!({"type": "string", "minLength": 1, "maxLength": 256});
                let steps = with(some(&step), "maxItems", json!(MAX_STEPS));
                match field {
                    "filter" => said(step, "The filter's name in the metadata"),
                    "consumer" => said(steps, "Where in it the consumer's name stands"),
                    "group" => said(steps, "Where in it the group's name stands"),
                    _ => Value::Null,
                }
            });
            let either = json!([{"required": ["consumer"]}, {"required": ["group"]}]);
            said(
                with(metadata, "anyOf", either),
                "Dynamic metadata, as of jwt_authn",
            )
        }
        _ => Value::Null,
    });
    let trusted = json!({"required": ["trusted"], "properties": {"trusted": {"const": true, "description": "They must be"}}});
    let in_headers =
        json!({"anyOf": [{"required": ["consumer_header"]}, {"required": ["group_header"]}]});
    let ways = json!([{"required": ["metadata"]}, {"allOf": [in_headers, trusted]}]);
    with(identity, "oneOf", ways)
}

pub(super) fn counters() -> Value {
    let counters = object(&COUNTERS, &[], |field| match field {
        "store" => said(
            word(&STORES),
            "Envoy's own memory, or a service for several Envoys",
        ),
        "cluster" => said(cluster(), "Envoy's cluster of the service"),
        "domain" => said(cluster(), "The service's namespace"),
        "dialect" => said(
            word(&DIALECTS),
            "The protocol: envoyproxy/ratelimit's, or Limitador's beside it",
        ),
        "timeout" => said(milliseconds(), "How long a request waits for it"),
        "failure_mode" => said(word(&FAILURE_MODES), "What holds while it does not answer"),
        "lease" => said(lease(), "Hits that are asked for in advance"),
        "seed" => said(list(&seed()), "What was counted before this Envoy started"),
        _ => Value::Null,
    });
    let fields = COUNTERS.known.iter();
    let not_here: Map<_, _> = fields
        .filter(|name| !["store", "seed"].contains(name))
        .map(|name| ((*name).to_owned(), json!(false)))
        .collect();
    let service = json!({"required": ["store"], "properties": {"store": {"const": SERVICE}}});
    let counters = with(counters, "if", service);
    let counters = with(counters, "then", json!({"required": ["cluster"]}));
    with(counters, "else", json!({"properties": not_here}))
}

fn lease() -> Value {
    object(&LEASE, &["requests"], |field| match field {
        "requests" => said(number(1, 1_000_000), "At most so many at a time"),
        "max_age" => said(milliseconds(), "Unused ones are given up after this"),
        _ => Value::Null,
    })
}

fn seed() -> Value {
    object(&SEED, &["time", "counted"], |field| match field {
        "consumer_group" => said(name(), "Whose it is; without it, of the ceilings"),
        "consumer" => said(id(), "Of one of its consumers"),
        "models" => said(some(&models()), "Of these models"),
        "time" => said(date(), "When"),
        "counted" => {
            let counted = object(&COUNTED, &[], |field| {
                let kind = if field.starts_with("budget") {
                    usd()
                } else {
                    quota()
                };
                said(kind, "How much was used")
            });
            said(counted, "How much, by the names of limits")
        }
        _ => Value::Null,
    })
}

/// An object with one more keyword.
pub(super) fn with(mut schema: Value, keyword: &str, value: Value) -> Value {
    if let Value::Object(members) = &mut schema {
        members.insert(keyword.to_owned(), value);
    }
    schema
}
