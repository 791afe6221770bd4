//! The policy file as a JSON Schema (2020-12), for editors and for other programs. The command line only.
//!
//! Made from the decoder's own tables of fields and of words, so that no field can be missing here, or stand here alone.
//! What hangs together across the document (names that must be known, keys that must differ) is beyond a schema: it
//! takes every document that the decoder takes, and refuses most of what that refuses.

mod owners;
mod places;
mod rules;
mod values;

use super::decode::Fields;
use super::document::{DOCUMENT, HEADER_FAMILIES, MAX_RESPONSE_BYTES, MODES};
use serde_json::{Map, Value, json};
use values::{boolean, header_name, list, name, number, said, set, word};

/// The schema. `endpoints`: the names that `allowed_endpoints` may use.
pub fn schema(endpoints: &[&str]) -> Value {
    let mut root = object(&DOCUMENT, &["version"], document);
    let mut members = Map::new();
    for (name, value) in [
        (
            "$schema",
            json!("https://json-schema.org/draft/2020-12/schema"),
        ),
        ("$id", json!("urn:cohort:policy:1")),
        ("title", json!("A policy of Cohort")),
        (
            "description",
            json!(
                "Consumer groups for LLM traffic: who may use which models, how much, and for how much money."
            ),
        ),
    ] {
        members.insert(name.to_owned(), value);
    }
    if let Value::Object(root) = &mut root {
        members.append(root);
    }
    members.insert("$defs".to_owned(), definitions(endpoints));
    Value::Object(members)
}

/// A map that has these members and no others. What a field may hold is said by `property`.
fn object(fields: &Fields, required: &[&str], property: fn(&str) -> Value) -> Value {
    let names = fields.known.iter().chain(fields.common);
    let properties: Map<_, _> = names
        .map(|name| ((*name).to_owned(), property(name)))
        .collect();
    let mut object = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if let (Value::Object(members), false) = (&mut object, required.is_empty()) {
        members.insert("required".to_owned(), json!(required));
    }
    object
}

/// What stands in several places.
fn definitions(endpoints: &[&str]) -> Value {
    let mut all = Map::new();
    for name in super::rules::RULES {
        all.insert((*name).to_owned(), rules::rule(name, endpoints));
    }
    all.insert("key".to_owned(), owners::key());
    all.insert("policy".to_owned(), rules::policy());
    all.insert("limits".to_owned(), rules::limits());
    Value::Object(all)
}

fn defined(name: &str) -> Value {
    json!({"$ref": format!("#/$defs/{name}")})
}

fn document(field: &str) -> Value {
    match field {
        "version" => said(json!({"enum": ["1", 1]}), "The version of this format"),
        "mode" => said(
            word(&MODES),
            "`shadow`: refusals of groups and policies are only counted and logged",
        ),
        "providers" => said(
            places::providers(),
            "Where requests go, and with which credential",
        ),
        "consumer_groups" => said(list(&owners::group()), "The groups: keys, models, limits"),
        "consumers" => said(
            list(&owners::consumer()),
            "Who asks, with which keys, in which groups",
        ),
        "default_group" => said(name(), "The group of consumers that no group names"),
        "anonymous_group" => said(name(), "The group of requests without a credential"),
        "identity" => said(
            places::identity(),
            "Who asks, where a filter before this one has settled it",
        ),
        "defaults" => said(
            rules::unnamed(),
            "What holds where no other scope says anything",
        ),
        "ceilings" => said(
            rules::unnamed(),
            "What no other scope can raise or take away",
        ),
        "services" => said(list(&rules::scope()), "By the names of Envoy's clusters"),
        "routes" => said(list(&rules::scope()), "By the names of Envoy's routes"),
        "counters" => said(places::counters(), "Where counters are kept"),
        "credential_headers" => said(set(&header_name()), "Header fields in which a key may come"),
        "path_prefixes" => said(
            set(&json!({"type": "string", "pattern": "^(/[!-~]*[!-.0-~])?$"})),
            "What may stand before an endpoint's own path",
        ),
        "failed_auth_per_minute" => said(
            number(0, 1_000_000),
            "Failed credentials per source address and minute before 401 becomes 429; 0: off",
        ),
        "rate_limit_headers" => said(
            set(&word(&HEADER_FAMILIES)),
            "Which families of rate-limit headers answers carry",
        ),
        "retry_after_jitter" => said(
            number(0, 3_600),
            "Seconds that are added to Retry-After at most",
        ),
        "hold_request_headers" => said(
            boolean(),
            "As Envoy's allow_on_headers_stop_iteration: headers wait for the body",
        ),
        "decompress_requests" => said(
            boolean(),
            "Inflate gzip and zstd bodies instead of refusing them",
        ),
        "max_response_bytes" => said(
            number(0, MAX_RESPONSE_BYTES),
            "The cap for answers that must be held whole",
        ),
        "timezone" => said(
            json!({"type": "string", "pattern": "^(UTC|[Zz]|[+-][0-9]{2}:[0-9]{2})$"}),
            "A fixed offset from UTC for day and month windows, like +09:00",
        ),
        rule => rules::rule_here(rule),
    }
}

#[cfg(test)]
mod tests {
    use super::schema;
    use serde_json::Value;

    /// Every field says what it is for, and what may stand there: `null` would be one that the tables have and this has
    /// not.
    #[test]
    fn every_field_is_described() {
        fn walk(path: &str, value: &Value, seen: &mut usize) {
            assert!(!value.is_null(), "{path}");
            if let Some(Value::Object(properties)) = value.get("properties") {
                for (name, property) in properties {
                    *seen = seen.saturating_add(1);
                    let described = property.get("description").is_some();
                    assert!(
                        described || property == &Value::Bool(false),
                        "{path}.{name}"
                    );
                }
            }
            match value {
                Value::Array(items) => {
                    for item in items {
                        walk(path, item, seen);
                    }
                }
                Value::Object(members) => {
                    for (name, member) in members.iter().filter(|(name, _)| *name != "if") {
                        walk(&format!("{path}.{name}"), member, seen);
                    }
                }
                _ => {}
            }
        }
        let mut seen = 0;
        walk("", &schema(&["chat"]), &mut seen);
        assert!(seen > 150, "{seen}");
    }
}
