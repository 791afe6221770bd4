//! `consumers`: who asks, with which keys, and of which groups.

use super::decode::{Decoder, Fields};
use super::group::{self, Keys, check_known};
use super::limits::NAMES;
use super::node::{Node, Value};
use super::rules::{self, RULES};
use super::{ApiKey, ConsumerGroup, Rules};
use crate::time::Timestamp;
use std::collections::BTreeMap;

/// `consumers[]`.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// 1 to 64 of letters, digits, `-`, `_`, `.`, `@`, `+`.
    pub name: String,
    /// `false` refuses its keys as if they were unknown.
    pub enabled: bool,
    /// `api_key` and `api_keys[]`, digested.
    pub keys: Vec<ApiKey>,
    /// `groups[]`
    pub groups: Vec<Membership>,
    /// What holds for it; its `rate_limits` stand in place of its groups' `consumer_rate_limits`.
    pub rules: Rules,
}

/// One entry of a consumer's `groups`.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The group's name.
    pub group: String,
    /// From, inclusive.
    pub not_before: Option<Timestamp>,
    /// Until, exclusive.
    pub not_after: Option<Timestamp>,
}

pub(super) const CONSUMER: Fields = Fields {
    known: &[
        "name",
        "description",
        "enabled",
        "api_key",
        "api_keys",
        "groups",
    ],
    common: RULES,
    inner: ("rate_limits", NAMES),
    ..Fields::NONE
};

pub(super) const MEMBERSHIP: Fields = Fields {
    known: &["name", "not_before", "not_after"],
    ..Fields::NONE
};

pub(super) fn consumers(
    d: &mut Decoder,
    node: &Node,
    groups: &[ConsumerGroup],
    keys: &mut Keys,
) -> Option<Vec<Consumer>> {
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let mut index = 0_usize;
    d.list(node, |d, item| {
        let at = index;
        index = index.saturating_add(1);
        let map = d.map(item, &CONSUMER)?;
        let name = d.required(&map, "name", |d, node| {
            let name = d.checked(
                node,
                is_name,
                "1 to 64 letters, digits, `-`, `_`, `.`, `@` or `+`",
            )?;
            if names.insert(name.clone(), at).is_some() {
                d.error(node.span, "another consumer has this name");
            }
            Some(name)
        });
        let memberships = d.field(&map, "groups", |d, node| {
            d.list(node, |d, item| membership(d, item, groups))
        });
        d.field(&map, "description", |d, node| d.text(node).map(drop));
        Some(Consumer {
            name: name.unwrap_or_default(),
            enabled: d.field(&map, "enabled", Decoder::bool).unwrap_or(true),
            keys: group::keys(d, &map, "consumers", at, keys),
            groups: memberships.unwrap_or_default(),
            rules: rules::rules(d, &map),
        })
    })
}

/// A group's name, or that with dates.
fn membership(d: &mut Decoder, node: &Node, groups: &[ConsumerGroup]) -> Option<Membership> {
    let known = |d: &mut Decoder, node: &Node| {
        let name = d.name(node)?;
        check_known(d, node.span, &name, groups);
        Some(name)
    };
    if !matches!(node.value, Value::Map(_)) {
        return Some(Membership {
            group: known(d, node)?,
            not_before: None,
            not_after: None,
        });
    }
    let map = d.map(node, &MEMBERSHIP)?;
    let group = d.required(&map, "name", known);
    let (not_before, not_after) = d.dates(&map);
    Some(Membership {
        group: group?,
        not_before,
        not_after,
    })
}

pub(crate) fn is_name(text: &str) -> bool {
    let part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@+".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(part)
}
