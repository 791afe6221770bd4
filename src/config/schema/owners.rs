//! Groups, consumers, and their keys.

use super::super::consumer::{CONSUMER, MEMBERSHIP};
use super::super::document::MODES;
use super::super::group::{GROUP, KEY};
use super::values::{boolean, date, id, list, name, number, said, set, text, word};
use super::{defined, object, rules};
use serde_json::{Value, json};

pub(super) fn group() -> Value {
    object(&GROUP, &["name"], |field| match field {
        "name" => said(name(), "What it is called in events, stats and headers"),
        "mode" => said(word(&MODES), "In place of the document's"),
        "parent" => said(
            name(),
            "The group above, whose limits and models hold for this one too",
        ),
        "consumers" => said(
            set(&id()),
            "Consumers that are in it, besides those that say so themselves",
        ),
        "enabled" => said(boolean(), "`false` closes it"),
        "priority" => said(
            number(0, 1_000_000),
            "Of a consumer's groups the one with the highest is taken first",
        ),
        "features" => said(features(), "Tags that upstreams and events are told"),
        field => common(field),
    })
}

pub(super) fn consumer() -> Value {
    object(&CONSUMER, &["name"], |field| match field {
        "name" => said(id(), "What it is called in events and headers"),
        "enabled" => said(
            boolean(),
            "`false` refuses its keys as if they were unknown",
        ),
        "groups" => {
            let dated = object(&MEMBERSHIP, &["name"], |field| match field {
                "name" => said(name(), "The group"),
                field => common(field),
            });
            said(
                list(&json!({"anyOf": [name(), dated]})),
                "The groups that it is in, perhaps for a while",
            )
        }
        field => common(field),
    })
}

fn common(field: &str) -> Value {
    match field {
        "description" => said(text(), "For people"),
        "api_key" => said(
            plain_key(),
            "A key, in plain text; `api_keys` keeps digests",
        ),
        "api_keys" => said(
            list(&json!({"anyOf": [plain_key(), defined("key")]})),
            "Keys, as digests or in plain text; `cohort key` writes them",
        ),
        "not_before" => said(date(), "From, inclusive"),
        "not_after" => said(date(), "Until, exclusive"),
        rule => rules::rule_here(rule),
    }
}

/// A key by its digest.
pub(super) fn key() -> Value {
    object(&KEY, &["sha256"], |field| match field {
        "id" => said(
            id(),
            "What events call it; default: the digest's first 12 digits",
        ),
        "sha256" => said(
            json!({"type": "string", "pattern": "^[0-9A-Fa-f]{64}$"}),
            "The key's SHA-256: `cohort key hash`",
        ),
        "enabled" => said(boolean(), "`false` refuses it as if it were unknown"),
        "features" => said(features(), "Tags that upstreams and events are told"),
        field => common(field),
    })
}

fn plain_key() -> Value {
    json!({"type": "string", "pattern": r"^(?!\$\{)\S+$"})
}

fn features() -> Value {
    set(&json!({"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,64}$"}))
}
