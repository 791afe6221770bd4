//! `identity`: who asks, where a filter before this one has settled it.

use super::decode::{Decoder, Fields, Map};
use super::document::header_name;
use super::node::Node;

/// `identity`
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum IdentitySource {
    /// Fields of the request's header, which only a filter before this one can have written.
    Headers {
        /// `consumer_header`, lower case.
        consumer: Option<String>,
        /// `group_header`, lower case.
        group: Option<String>,
    },
    /// The dynamic metadata of a filter.
    Metadata {
        /// Its name there.
        filter: String,
        /// Where in it the consumer's name stands.
        consumer: Vec<String>,
        /// Where the group's name stands.
        group: Vec<String>,
    },
}

pub(super) const IDENTITY: Fields = Fields {
    known: &[
        "consumer_header",
        "group_header",
        "trusted",
        "metadata",
        "max_consumers",
    ],
    ..Fields::NONE
};

pub(super) const METADATA: Fields = Fields {
    known: &["filter", "consumer", "group"],
    ..Fields::NONE
};

/// Each step is one more part of a path that Envoy is asked for.
pub(super) const MAX_STEPS: usize = 16;

/// A record takes about 250 bytes of Envoy's memory.
pub(super) const DEFAULT_CONSUMERS: u32 = 100_000;

pub(super) const MAX_CONSUMERS: u32 = 10_000_000;

/// Where who asks is said, and how many of them may have counters of their own.
pub(super) fn identity(d: &mut Decoder, node: &Node) -> Option<(IdentitySource, u32)> {
    let map = d.map(node, &IDENTITY)?;
    let max = d.field(&map, "max_consumers", |d, node| {
        d.number32(node, MAX_CONSUMERS)
    });
    Some((source(d, &map)?, max.unwrap_or(DEFAULT_CONSUMERS)))
}

fn source(d: &mut Decoder, map: &Map<'_>) -> Option<IdentitySource> {
    let mut header = |name| d.field(map, name, header_name);
    let (consumer, group) = (header("consumer_header"), header("group_header"));
    let trusted = d.field(map, "trusted", Decoder::bool);
    let metadata = d.field(map, "metadata", metadata);
    let in_headers = consumer.is_some() || group.is_some();
    match (metadata, in_headers) {
        (Some(_), true) => {
            let help = "`metadata`, or `consumer_header` and `group_header`";
            d.error_help(map.span, "says two places", help);
            None
        }
        (Some(metadata), false) => Some(metadata),
        (None, true) => {
            if trusted != Some(true) {
                let help = "write `trusted: true` where a filter before this one always sets or removes these fields";
                d.error_help(
                    map.span,
                    "anyone can send a header field: it says nothing unless it is trusted",
                    help,
                );
            }
            Some(IdentitySource::Headers { consumer, group })
        }
        (None, false) => {
            if map.get("metadata").is_none() {
                let help = "`metadata`, or `consumer_header` and `group_header`";
                d.error_help(map.span, "says no place", help);
            }
            None
        }
    }
}

fn metadata(d: &mut Decoder, node: &Node) -> Option<IdentitySource> {
    let map = d.map(node, &METADATA)?;
    let filter = d.required(&map, "filter", text);
    let mut path = |name| d.field(&map, name, steps).unwrap_or_default();
    let (consumer, group) = (path("consumer"), path("group"));
    if map.get("consumer").is_none() && map.get("group").is_none() {
        d.error(map.span, "needs `consumer` or `group`");
    }
    Some(IdentitySource::Metadata {
        filter: filter?,
        consumer,
        group,
    })
}

/// A path from the top of the metadata down.
fn steps(d: &mut Decoder, node: &Node) -> Option<Vec<String>> {
    let steps = d.list(node, text)?;
    if steps.is_empty() || steps.len() > MAX_STEPS {
        d.error(node.span, format!("must have 1 to {MAX_STEPS} steps"));
    }
    Some(steps)
}

fn text(d: &mut Decoder, node: &Node) -> Option<String> {
    // A path is handed over with its parts ended by NUL.
    let rule = |text: &str| (1..=256).contains(&text.len()) && !text.contains('\0');
    d.checked(node, rule, "1 to 256 bytes of text")
}
