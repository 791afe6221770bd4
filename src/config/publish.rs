//! A document as the filter gets it: JSON, and digests in place of keys. The command line only.
//!
//! The order of members is kept; some maps mean it. Judges nothing: what goes in was decoded before.

use super::error::ConfigError;
use super::node::{Member, Node, Span, Value};
use super::yaml;
use crate::credential::KeyDigest;
use crate::limit::Unit;
use crate::limit::seed::Seed;
use crate::spend::usd;
use std::fmt::Write as _;

/// Any YAML as JSON.
pub fn json_from_yaml(text: &str) -> Result<String, Box<ConfigError>> {
    let mut json = String::new();
    write(&yaml::tree(text)?, &mut json);
    Ok(json)
}

/// What a configuration says besides, when it is published.
#[derive(Clone, Copy, Debug, Default)]
pub struct Additions<'a> {
    /// What was counted before, as its `counters.seed`, if it has none of its own.
    pub seeds: &'a [Seed],
    /// `hold_request_headers: false`, whatever the author wrote: the host cannot hold them.
    pub without_hold: bool,
}

/// A configuration, YAML or JSON.
pub fn publish(text: &str, additions: &Additions<'_>) -> Option<String> {
    const HOLD: &str = "hold_request_headers";
    let mut root = yaml::tree(text).ok()?;
    let seeds = additions.seeds;
    if additions.without_hold {
        match member(&mut root, HOLD) {
            Some(hold) => hold.value = Value::Bool(false),
            None => put(&mut root, HOLD, Value::Bool(false)),
        }
    }
    for list in ["consumer_groups", "consumers"] {
        if let Some(Value::List(owners)) = member(&mut root, list).map(|node| &mut node.value) {
            owners.iter_mut().for_each(digest_keys);
        }
    }
    if !seeds.is_empty() {
        if member(&mut root, "counters").is_none() {
            put(&mut root, "counters", Value::Map(Vec::new()));
        }
        if let Some(counters) = member(&mut root, "counters")
            && member(counters, "seed").is_none()
        {
            let seeds = seeds.iter().map(|seed| node(seed_value(seed)));
            put(counters, "seed", Value::List(seeds.collect()));
        }
    }
    let mut json = String::new();
    write(&root, &mut json);
    Some(json)
}

/// `api_key`, and what is plain of `api_keys`, becomes a digest in `api_keys`; its id stays what it was.
fn digest_keys(owner: &mut Node) {
    let Value::Map(members) = &mut owner.value else {
        return;
    };
    let digested = |key: &Node| match &key.value {
        Value::Text(key) => node(Value::Map(vec![named("sha256", Value::Text(hex(key)))])),
        _ => key.clone(),
    };
    let mut keys = Vec::new();
    members.retain(|member| {
        match (&*member.key, &member.node.value) {
            ("api_key", Value::Text(_)) => keys.insert(0, digested(&member.node)),
            ("api_keys", Value::List(items)) => keys.extend(items.iter().map(digested)),
            _ => return true,
        }
        false
    });
    if !keys.is_empty() {
        members.push(named("api_keys", Value::List(keys)));
    }
}

fn seed_value(seed: &Seed) -> Value {
    let descriptor = &seed.descriptor;
    let text = |value: &str| Value::Text(value.to_owned());
    let mut members = Vec::new();
    for (name, value) in [
        ("consumer_group", &descriptor.group),
        ("consumer", &descriptor.consumer),
    ] {
        members.extend(value.as_ref().map(|value| named(name, text(value))));
    }
    if let Some(models) = &descriptor.models {
        let models = models.split(',').map(|model| node(text(model)));
        members.push(named("models", Value::List(models.collect())));
    }
    members.push(named("time", Value::Text(seed.time.to_string())));
    let counted = (seed.counted.iter()).map(|limit| {
        let value = match limit.unit {
            Unit::Cost => Value::Text(usd(limit.quota)),
            _ => Value::Integer(limit.quota),
        };
        named(&limit.name().to_string(), value)
    });
    members.push(named("counted", Value::Map(counted.collect())));
    Value::Map(members)
}

fn hex(key: &str) -> String {
    let mut text = String::with_capacity(64);
    for byte in KeyDigest::of(key.as_bytes()).0 {
        let _ = write!(text, "{byte:02x}"); // a String takes everything
    }
    text
}

fn node(value: Value) -> Node {
    Node {
        span: Span::default(),
        value,
    }
}

fn named(name: &str, value: Value) -> Member {
    Member {
        key: name.to_owned(),
        key_span: Span::default(),
        node: node(value),
    }
}

fn member<'a>(of: &'a mut Node, name: &str) -> Option<&'a mut Node> {
    let Value::Map(members) = &mut of.value else {
        return None;
    };
    let mut members = members.iter_mut();
    Some(&mut members.find(|member| member.key == name)?.node)
}

fn put(of: &mut Node, name: &str, value: Value) {
    if let Value::Map(members) = &mut of.value {
        members.push(named(name, value));
    }
}

fn write(node: &Node, json: &mut String) {
    match &node.value {
        Value::Bool(value) => json.push_str(if *value { "true" } else { "false" }),
        Value::Float(value) => *json += &serde_json::Value::from(*value).to_string(),
        Value::Integer(value) => *json += &value.to_string(),
        Value::Null => json.push_str("null"),
        Value::Text(text) => string(text, json),
        Value::List(items) => {
            json.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    json.push(',');
                }
                write(item, json);
            }
            json.push(']');
        }
        Value::Map(members) => {
            json.push('{');
            for (at, member) in members.iter().enumerate() {
                if at > 0 {
                    json.push(',');
                }
                string(&member.key, json);
                json.push(':');
                write(&member.node, json);
            }
            json.push('}');
        }
    }
}

fn string(text: &str, json: &mut String) {
    *json += &serde_json::Value::from(text).to_string();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::limit::{Descriptor, Limit, Unit, Window};
    use crate::time::{Timestamp, UtcOffset};

    #[test]
    fn keys_go_out_as_digests_under_the_same_ids_and_all_else_as_it_was() {
        let text = "
version: '1'
counters: {store: shared_data}
consumer_groups:
  - name: a
    api_key: plain-key-of-a
    model_aliases: {z: o3, b: o1}
  - name: b
    api_keys: [plain-key-of-b, {id: x, sha256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad}]
    rate_limits: {tokens_per_day: 2M}
";
        let descriptor = Descriptor {
            group: Some("b".into()),
            consumer: None,
            models: None,
        };
        let day = Limit {
            unit: Unit::Tokens,
            window: Window::Day,
            quota: 7,
        };
        let time = Timestamp::parse_rfc3339("2026-11-21T05:11:40Z", UtcOffset(0)).unwrap();
        let seed = Seed {
            descriptor,
            time,
            counted: vec![day],
        };
        let seeds = &[seed];
        let additions = Additions {
            seeds,
            without_hold: false,
        };
        let json = publish(text, &additions).unwrap();
        assert!(!json.contains("plain-key"), "{json}");
        assert!(
            json.contains(r#""model_aliases":{"z":"o3","b":"o1"}"#),
            "{json}"
        );
        assert!(
            json.contains(r#""counters":{"store":"shared_data","seed":[{"consumer_group":"b","time":"2026-11-21T05:11:40.000Z","counted":{"tokens_per_day":7}}]}"#),
            "{json}"
        );
        let (was, is) = (
            Config::from_yaml(text).unwrap(),
            Config::from_json(json.as_bytes()).unwrap(),
        );
        let keys = |config: &Config| -> Vec<_> {
            let groups = config.consumer_groups.iter();
            groups
                .flat_map(|group| group.keys.clone())
                .map(|key| (key.id, key.digest))
                .collect()
        };
        assert_eq!(keys(&was), keys(&is));
        assert_eq!(keys(&is).len(), 3);
        assert_eq!(is.counters.seed.len(), 1);
    }

    #[test]
    fn a_host_that_cannot_hold_headers_is_told_of() {
        let additions = Additions {
            without_hold: true,
            ..Additions::default()
        };
        for (text, json) in [
            (
                "version: '1'",
                r#"{"version":"1","hold_request_headers":false}"#,
            ),
            (
                "hold_request_headers: true\nversion: '1'",
                r#"{"hold_request_headers":false,"version":"1"}"#,
            ),
        ] {
            assert_eq!(publish(text, &additions).unwrap(), json);
        }
    }

    #[test]
    fn a_seed_that_the_file_has_is_left_alone() {
        let text = "version: '1'\ncounters: {seed: []}\n";
        assert_eq!(
            publish(text, &Additions::default()).unwrap(),
            r#"{"version":"1","counters":{"seed":[]}}"#
        );
        assert_eq!(
            json_from_yaml("a: [1.5, ~, 'x\"']").unwrap(),
            r#"{"a":[1.5,null,"x\""]}"#
        );
    }
}
