//! The top level of the document and its providers.

use super::decode::{Decoder, Fields, Map};
use super::node::{Node, Span, Value};
use super::rules::{self, RULES};
use super::{Config, ConfigError, Counters, consumer, counters, group, identity, providers};
use crate::credential;
use crate::time::UtcOffset;

/// `mode`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Mode {
    /// Refusals are sent.
    #[default]
    Enforce,
    /// Refusals of groups and policies are only counted and logged.
    Shadow,
}

/// `rate_limit_headers[]`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HeaderFamily {
    /// `RateLimit-Policy`, `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10).
    Ietf,
    /// `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` as OpenAI sends them.
    OpenAi,
    /// `RateLimit-Limit`, `RateLimit-Remaining`, `RateLimit-Reset`.
    Standard,
}

pub(super) const DOCUMENT: Fields = Fields {
    known: &[
        "version",
        "mode",
        "providers",
        "consumer_groups",
        "consumers",
        "default_group",
        "anonymous_group",
        "identity",
        "defaults",
        "services",
        "routes",
        "ceilings",
        "counters",
        "policies",
        "input_policies",
        "output_policies",
        "pricing",
        "budgets",
        "unpriced",
        "request_limits",
        "credential_headers",
        "path_prefixes",
        "failed_auth_per_minute",
        "rate_limit_headers",
        "retry_after_jitter",
        "hold_request_headers",
        "decompress_requests",
        "max_response_bytes",
        "timezone",
    ],
    inner: ("defaults", RULES),
    ..Fields::NONE
};

pub(super) const MODES: [(&str, Mode); 2] = [("enforce", Mode::Enforce), ("shadow", Mode::Shadow)];

pub(super) const HEADER_FAMILIES: [(&str, HeaderFamily); 3] = [
    ("standard", HeaderFamily::Standard),
    ("openai", HeaderFamily::OpenAi),
    ("ietf", HeaderFamily::Ietf),
];

const DEFAULT_PATH_PREFIXES: [&str; 4] = ["", "/openai", "/api", "/anthropic"];
const DEFAULT_FAILED_AUTH: u32 = 60;
const DEFAULT_RESPONSE_BYTES: u64 = 1 << 20;

/// Held in the VM's memory, of which there is little.
pub(super) const MAX_RESPONSE_BYTES: u64 = 256 << 20;

/// A document, or all that is wrong with it; and the parts of its text that may be secrets.
pub(super) fn decode(root: &Node) -> (Result<Config, Vec<ConfigError>>, Vec<Span>) {
    let mut decoder = Decoder::default();
    let config = config(&mut decoder, root);
    let result = match config {
        Some(config) if decoder.errors.is_empty() => Ok(config),
        _ => Err(decoder.errors),
    };
    (result, decoder.hidden)
}

fn config(d: &mut Decoder, root: &Node) -> Option<Config> {
    let map = d.map(root, &DOCUMENT)?;
    d.required(&map, "version", version);
    let timezone = d.field(&map, "timezone", timezone).unwrap_or_default();
    // The groups' dates and limits need these.
    d.offset = timezone;
    d.envoy_limits = counters::is_envoy(map.get("counters"));
    let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
    let mut keys = group::Keys::new();
    let consumer_groups = d
        .field(&map, "consumer_groups", |d, node| {
            group::groups(d, node, &mut keys)
        })
        .unwrap_or_default();
    let consumers = d
        .field(&map, "consumers", |d, node| {
            consumer::consumers(d, node, &consumer_groups, &mut keys)
        })
        .unwrap_or_default();
    let mut known = |name| {
        d.field(&map, name, |d, node| {
            let name = d.name(node)?;
            group::check_known(d, node.span, &name, &consumer_groups);
            Some(name)
        })
    };
    let (default_group, anonymous_group) = (known("default_group"), known("anonymous_group"));
    let mut unnamed = |name| d.field(&map, name, rules::unnamed).unwrap_or_default();
    let [ceilings, defaults] = ["ceilings", "defaults"].map(&mut unnamed);
    let mut scopes = |name| d.field(&map, name, rules::scopes).unwrap_or_default();
    let [services, routes] = ["services", "routes"].map(&mut scopes);
    let identity = d.field(&map, "identity", identity::identity);
    let mut config = Config {
        mode: d.field(&map, "mode", mode).unwrap_or_default(),
        providers: d
            .field(&map, "providers", providers::providers)
            .unwrap_or_default(),
        consumers,
        default_group,
        anonymous_group,
        consumer_groups,
        ceilings,
        defaults: defaults.over(&rules::rules(d, &map)),
        services,
        routes,
        max_unlisted: (identity.as_ref()).map_or(identity::DEFAULT_CONSUMERS, |(_, max)| *max),
        identity: identity.map(|(source, _)| source),
        counters: Counters::default(),
        credential_headers: (d.field(&map, "credential_headers", |d, node| {
            d.texts(node, &mut credential_header)
        }))
        .unwrap_or_else(|| owned(&credential::DEFAULT_HEADERS)),
        path_prefixes: (d.field(&map, "path_prefixes", |d, node| {
            d.texts(node, &mut path_prefix)
        }))
        .unwrap_or_else(|| owned(&DEFAULT_PATH_PREFIXES)),
        failed_auth_per_minute: (d.field(&map, "failed_auth_per_minute", |d, node| {
            d.number32(node, 1_000_000)
        }))
        .unwrap_or(DEFAULT_FAILED_AUTH),
        rate_limit_headers: (d.field(&map, "rate_limit_headers", header_families))
            .unwrap_or_else(|| vec![HeaderFamily::Standard, HeaderFamily::OpenAi]),
        retry_after_jitter: (d.field(&map, "retry_after_jitter", |d, node| d.number32(node, 3600)))
            .unwrap_or_default(),
        hold_request_headers: d
            .field(&map, "hold_request_headers", Decoder::bool)
            .unwrap_or(true),
        decompress_requests: d
            .field(&map, "decompress_requests", Decoder::bool)
            .unwrap_or_default(),
        max_response_bytes: (d.field(&map, "max_response_bytes", |d, node| {
            d.number(node, MAX_RESPONSE_BYTES)
        }))
        .unwrap_or(DEFAULT_RESPONSE_BYTES),
        timezone,
    };
    let groups = &config.consumer_groups;
    config.counters = d
        .field(&map, "counters", |d, node| {
            counters::counters(d, node, groups)
        })
        .unwrap_or_default();
    check_held_headers(d, &map, &config);
    Some(config)
}

/// Where the request's header is gone before its body is read, nothing in the header may hang on the model.
fn check_held_headers(d: &mut Decoder, map: &Map<'_>, config: &Config) {
    let Some(node) = map
        .get("hold_request_headers")
        .filter(|_| !config.hold_request_headers)
    else {
        return;
    };
    let several = config.providers.len() > 1;
    let by_model = several
        && config
            .providers
            .iter()
            .any(|target| target.models.is_some());
    if by_model {
        d.within("hold_request_headers", |d| {
            d.error_help(
                node.span,
                "cannot be false while `models` choose between several providers",
                "the provider's credential is sent before the model is known",
            );
        });
    }
}

fn version(d: &mut Decoder, node: &Node) -> Option<()> {
    match &node.value {
        Value::Text(text) if text == "1" => Some(()),
        Value::Integer(1) => Some(()), // what YAML makes of `version: 1`
        _ => {
            d.error_help(node.span, "unknown version", "write `version: '1'`");
            None
        }
    }
}

fn timezone(d: &mut Decoder, node: &Node) -> Option<UtcOffset> {
    let offset = UtcOffset::parse(d.text(node)?);
    if offset.is_none() {
        d.error_help(
            node.span,
            "not a fixed offset from UTC",
            "like `+09:00`, `-03:30` or `UTC`",
        );
    }
    offset
}

pub(super) fn mode(d: &mut Decoder, node: &Node) -> Option<Mode> {
    d.choice(node, &MODES)
}

fn header_families(d: &mut Decoder, node: &Node) -> Option<Vec<HeaderFamily>> {
    d.set(node, |d, item| d.choice(item, &HEADER_FAMILIES))
}

/// RFC 9110, section 5.1, in whatever case; kept in HTTP/2's lower case.
pub(super) fn header_name(d: &mut Decoder, node: &Node) -> Option<String> {
    let rule = |text: &str| {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        (1..=64).contains(&text.len()) && text.bytes().all(token)
    };
    let name = d.checked(node, rule, "a header's name")?;
    Some(name.to_ascii_lowercase())
}

/// As [`header_name`], of a field that can be taken out of a request without changing what it asks.
fn credential_header(d: &mut Decoder, node: &Node) -> Option<String> {
    const OTHERS: [&str; 10] = [
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "te",
        "transfer-encoding",
        "upgrade",
        "x-consumer",
        "x-consumer-group",
    ];
    let name = header_name(d, node)?;
    if OTHERS.contains(&name.as_str()) {
        d.error(node.span, "says something else than a key".to_owned());
        return None;
    }
    Some(name)
}

fn path_prefix(d: &mut Decoder, node: &Node) -> Option<String> {
    let rule = |text: &str| {
        let byte = |byte: u8| byte.is_ascii_graphic() && !b"%?#\\".contains(&byte);
        let segments = text
            .split('/')
            .skip(1)
            .all(|segment| !matches!(segment, "" | "." | ".."));
        text.is_empty() || (text.starts_with('/') && text.bytes().all(byte) && segments)
    };
    d.checked(
        node,
        rule,
        "empty, or a plain path that begins with `/` and does not end with one",
    )
}

pub(super) fn cluster(d: &mut Decoder, node: &Node) -> Option<String> {
    let rule = |text: &str| {
        (1..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    d.checked(node, rule, "an Envoy cluster's name")
}
