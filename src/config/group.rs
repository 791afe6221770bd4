//! Consumer groups: their keys and what they may use.

use super::decode::{Decoder, Fields, Map};
use super::document::mode;
use super::limits::NAMES;
use super::node::{Node, Span, Value};
use super::rules::{self, RULES};
use super::suggest::nearest;
use super::{Mode, Rules, consumer};
use crate::credential::KeyDigest;
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// `consumer_groups[]`.
#[derive(Clone, Debug)]
pub struct ConsumerGroup {
    /// 1 to 64 of letters, digits, `-`, `_`.
    pub name: String,
    /// Free text for people.
    pub description: Option<String>,
    /// Overrides the document's mode.
    pub mode: Option<Mode>,
    /// `api_key` and `api_keys[]`, digested.
    pub keys: Vec<ApiKey>,
    /// Consumers that are in it, besides those that say so themselves.
    pub consumers: Vec<String>,
    /// `false` closes it.
    pub enabled: bool,
    /// Open from, inclusive.
    pub not_before: Option<Timestamp>,
    /// Open until, exclusive.
    pub not_after: Option<Timestamp>,
    /// Of a consumer's groups the one with the highest is taken first.
    pub priority: u32,
    /// Tags that upstreams and events are told.
    pub features: Vec<String>,
    /// The group above, whose limits and allow-list hold for this one too.
    pub parent: Option<String>,
    /// What holds for it.
    pub rules: Rules,
}

/// One key of a group or a consumer.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// What events show; default: the first 12 hex digits of the digest.
    pub id: String,
    /// SHA-256 of the key.
    pub digest: KeyDigest,
    /// Whether the file held the key itself rather than its digest.
    pub plain: bool,
    /// `false` refuses the key as if it were unknown.
    pub enabled: bool,
    /// Valid from, inclusive.
    pub not_before: Option<Timestamp>,
    /// Valid until, exclusive.
    pub not_after: Option<Timestamp>,
    /// Tags that upstreams and events are told.
    pub features: Vec<String>,
}

pub(super) const GROUP: Fields = Fields {
    known: &[
        "name",
        "description",
        "mode",
        "api_key",
        "api_keys",
        "parent",
        "consumers",
        "enabled",
        "not_before",
        "not_after",
        "priority",
        "features",
    ],
    common: RULES,
    inner: ("rate_limits", NAMES),
    ..Fields::NONE
};

pub(super) const KEY: Fields = Fields {
    known: &[
        "id",
        "sha256",
        "not_before",
        "not_after",
        "enabled",
        "features",
    ],
    secret: true,
    ..Fields::NONE
};

/// Each is one more counter to write for every request.
const MAX_LEVELS: usize = 16;

/// Where a key stands: in which list, in which of its entries, and at which position in `api_keys`.
type Place = (&'static str, usize, Option<usize>);

/// Every key so far, and where it stands.
pub(super) type Keys = BTreeMap<KeyDigest, Place>;

pub(super) fn groups(d: &mut Decoder, node: &Node, keys: &mut Keys) -> Option<Vec<ConsumerGroup>> {
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let mut places = Vec::new();
    let mut index = 0_usize;
    let groups = d.list(node, |d, item| {
        let at = index;
        index = index.saturating_add(1);
        let map = d.map(item, &GROUP)?;
        let name = d.required(&map, "name", |d, node| {
            let name = d.name(node)?;
            match names.get(&name) {
                Some(first) => d.error(
                    node.span,
                    format!("consumer_groups[{first}] has this name already"),
                ),
                None => {
                    names.insert(name.clone(), at);
                }
            }
            Some(name)
        });
        places.push((at, map.get("parent").map_or(map.span, |node| node.span)));
        Some(ConsumerGroup {
            name: name.unwrap_or_default(),
            ..group(d, &map, at, keys)
        })
    })?;
    check_parents(d, &groups, &places);
    Some(groups)
}

/// A parent must be a group of the file, and no group may be above itself.
fn check_parents(d: &mut Decoder, groups: &[ConsumerGroup], places: &[(usize, Span)]) {
    let mut told = Vec::new();
    for (group, (at, span)) in groups.iter().zip(places) {
        let Some(parent) = &group.parent else {
            continue;
        };
        let check = |d: &mut Decoder| {
            check_known(d, *span, parent, groups);
            let (chain, wrong) = chain(&group.name, groups);
            if let Some(wrong) = wrong.filter(|_| !told.contains(&group.name.as_str())) {
                d.error_help(*span, wrong, chain.join(" -> "));
                told.extend(chain);
            }
        };
        d.item(*at, |d| d.within("parent", check));
    }
}

/// What names a group must name one of the file's.
pub(super) fn check_known(d: &mut Decoder, span: Span, name: &str, groups: &[ConsumerGroup]) {
    let names = || groups.iter().map(|group| group.name.as_str());
    if names().any(|known| known == name) {
        return;
    }
    let message = "no group has this name";
    match nearest(name, names()) {
        Some(near) => d.error_help(span, message, format!("did you mean `{near}`?")),
        None => d.error(span, message),
    }
}

/// A group and those above it, and what is wrong with that.
fn chain<'a>(name: &'a str, groups: &'a [ConsumerGroup]) -> (Vec<&'a str>, Option<&'static str>) {
    let mut chain = Vec::new();
    let mut next = Some(name);
    while let Some(name) = next {
        let circle = chain.contains(&name);
        let own = chain.first() == Some(&name);
        chain.push(name);
        if circle {
            // One further up is told of there.
            return (chain, own.then_some("a group cannot be above itself"));
        }
        if chain.len() > MAX_LEVELS {
            return (chain, Some("more than 16 levels"));
        }
        let mut groups = groups.iter();
        next = groups
            .find(|group| group.name == name)
            .and_then(|group| group.parent.as_deref());
    }
    (chain, None)
}

fn group(d: &mut Decoder, map: &Map<'_>, at: usize, seen: &mut Keys) -> ConsumerGroup {
    let (not_before, not_after) = d.dates(map);
    let consumer =
        |d: &mut Decoder, node: &Node| d.checked(node, consumer::is_name, "a consumer's name");
    ConsumerGroup {
        name: String::new(),
        description: d.field(map, "description", |d, node| {
            d.text(node).map(str::to_owned)
        }),
        mode: d.field(map, "mode", mode),
        keys: keys(d, map, "consumer_groups", at, seen),
        consumers: (d.field(map, "consumers", |d, node| d.texts(node, &mut { consumer })))
            .unwrap_or_default(),
        enabled: d.field(map, "enabled", Decoder::bool).unwrap_or(true),
        not_before,
        not_after,
        priority: (d.field(map, "priority", |d, node| d.number32(node, 1_000_000)))
            .unwrap_or_default(),
        features: d.field(map, "features", features).unwrap_or_default(),
        parent: d.field(map, "parent", Decoder::name),
        rules: rules::rules(d, map),
    }
}

/// Tags, as they can stand in a header.
fn features(d: &mut Decoder, node: &Node) -> Option<Vec<String>> {
    let tag = |text: &str| {
        let part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        (1..=64).contains(&text.len()) && text.bytes().all(part)
    };
    d.texts(node, &mut |d, node| {
        d.checked(node, tag, "1 to 64 letters, digits, `-`, `_`, `.` or `:`")
    })
}

/// `api_key` and `api_keys[]` of an entry of a list.
pub(super) fn keys(
    d: &mut Decoder,
    map: &Map<'_>,
    list: &'static str,
    at: usize,
    seen: &mut Keys,
) -> Vec<ApiKey> {
    let mut unique = |d: &mut Decoder, node: &Node, place: Place, key: ApiKey| {
        let first = *seen.entry(key.digest).or_insert(place);
        if first != place {
            d.error(
                node.span,
                format!("the same key stands at {}", shown(first)),
            );
        }
        (first == place).then_some(key)
    };
    let one = d.field(map, "api_key", |d, node| {
        let key = plain_key(d, node)?;
        unique(d, node, (list, at, None), key)
    });
    let mut index = 0_usize;
    let more = d.field(map, "api_keys", |d, node| {
        d.list(node, |d, item| {
            let place = (list, at, Some(index));
            index = index.saturating_add(1);
            let key = match item.value {
                Value::Map(_) => digested_key(d, item),
                _ => plain_key(d, item),
            };
            unique(d, item, place, key?)
        })
    });
    match (one, more) {
        (one, None) => one.into_iter().collect(),
        (None, Some(more)) => more,
        (Some(one), Some(mut more)) => {
            more.insert(0, one);
            more
        }
    }
}

fn shown((list, owner, key): Place) -> impl fmt::Display {
    fmt::from_fn(move |f| match key {
        None => write!(f, "{list}[{owner}].api_key"),
        Some(key) => write!(f, "{list}[{owner}].api_keys[{key}]"),
    })
}

fn plain_key(d: &mut Decoder, node: &Node) -> Option<ApiKey> {
    d.hide(node);
    let key = d.text(node)?;
    if key.is_empty() {
        d.error(node.span, "an empty key can never match");
        return None;
    }
    if key.contains(|c: char| c.is_whitespace() || c.is_control()) {
        d.error(
            node.span,
            "a key with spaces or control characters can never match",
        );
        return None;
    }
    if ["${", "os.environ/", "{vault:"]
        .iter()
        .any(|start| key.starts_with(start))
    {
        // Taken literally it would be a key that everyone can guess.
        d.error(
            node.span,
            "placeholders are not filled in: this very text would be the key",
        );
        return None;
    }
    let digest = KeyDigest::of(key.as_bytes());
    Some(ApiKey {
        id: default_id(&digest),
        digest,
        plain: true,
        enabled: true,
        not_before: None,
        not_after: None,
        features: Vec::new(),
    })
}

fn digested_key(d: &mut Decoder, node: &Node) -> Option<ApiKey> {
    let map = d.map(node, &KEY)?;
    let id = d.field(&map, "id", Decoder::id);
    let digest = d.required(&map, "sha256", |d, node| {
        d.hide(node); // the key itself may stand here by mistake
        let digest = digest(d.text(node)?);
        if digest.is_none() {
            d.error(node.span, "must be the key's SHA-256 as 64 hex digits");
        }
        digest
    });
    let (not_before, not_after) = d.dates(&map);
    let features = d.field(&map, "features", features).unwrap_or_default();
    let enabled = d.field(&map, "enabled", Decoder::bool).unwrap_or(true);
    let digest = digest?;
    Some(ApiKey {
        id: id.unwrap_or_else(|| default_id(&digest)),
        digest,
        plain: false,
        enabled,
        not_before,
        not_after,
        features,
    })
}

impl Decoder {
    /// `not_before` and `not_after`.
    pub(super) fn dates(&mut self, map: &Map<'_>) -> (Option<Timestamp>, Option<Timestamp>) {
        let not_before = self.field(map, "not_before", Self::date);
        let not_after = self.field(map, "not_after", |d, node| {
            let end = d.date(node)?;
            if not_before.is_some_and(|start| start >= end) {
                d.error(node.span, "must be after `not_before`");
            }
            Some(end)
        });
        (not_before, not_after)
    }
}

fn digest(text: &str) -> Option<KeyDigest> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in digest.iter_mut().zip((0_usize..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at.saturating_add(2))?, 16).ok()?;
    }
    Some(KeyDigest(digest))
}

fn default_id(digest: &KeyDigest) -> String {
    let mut id = String::with_capacity(12);
    for byte in digest.0.iter().take(6) {
        let _ = write!(id, "{byte:02x}"); // a String takes everything
    }
    id
}
