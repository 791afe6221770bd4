//! The limits of envoyproxy/ratelimit: a domain a file, descriptors in descriptors.
//!
//! <https://github.com/envoyproxy/ratelimit#configuration>; keys that the model does not have are refused.

use std::collections::HashMap;

use serde::Deserialize;

use crate::proto::{Descriptor, Unit};

#[derive(Clone, Copy)]
pub(super) struct Limit {
    pub(super) requests_per_unit: u32,
    pub(super) unit: Unit,
    pub(super) unlimited: bool,
    pub(super) shadow_mode: bool,
}

pub(super) struct Domains(HashMap<String, Nodes>);

/// By `key_value`, or `key` for any other value. One that ends in `*` is a prefix to the server, where nothing is equal.
type Nodes = HashMap<String, Node>;

struct Node {
    limit: Option<Limit>,
    nodes: Nodes,
}

impl Domains {
    pub(super) fn load(files: &[String]) -> Result<Self, String> {
        let mut domains = HashMap::new();
        for text in files {
            let file: DomainFile =
                serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
            if file.domain.is_empty() {
                return Err("config file cannot have empty domain".to_owned());
            }
            let nodes = load(file.descriptors)?;
            if domains.insert(file.domain.clone(), nodes).is_some() {
                return Err(format!("duplicate domain '{}'", file.domain));
            }
        }
        Ok(Self(domains))
    }

    /// The one limit of a descriptor: its entries in their order, to their last.
    pub(super) fn limit(&self, domain: &str, descriptor: &Descriptor) -> Option<Limit> {
        let mut nodes = self.0.get(domain)?;
        if let Some(own) = descriptor.limit {
            return Some(Limit {
                requests_per_unit: own.requests_per_unit,
                unit: own.unit(),
                unlimited: false,
                shadow_mode: false,
            });
        }
        let (last, path) = descriptor.entries.split_last()?;
        for entry in path {
            nodes = &child(nodes, &entry.key, &entry.value)?.nodes;
        }
        child(nodes, &last.key, &last.value)?.limit
    }
}

/// A value's own node hides that of any other value, also where it leads to no limit.
fn child<'a>(nodes: &'a Nodes, key: &str, value: &str) -> Option<&'a Node> {
    nodes
        .get(&format!("{key}_{value}"))
        .or_else(|| nodes.get(key))
}

fn load(descriptors: Vec<DescriptorFile>) -> Result<Nodes, String> {
    let mut nodes = HashMap::new();
    for descriptor in descriptors {
        let DescriptorFile {
            key,
            value,
            rate_limit,
            descriptors,
            shadow_mode,
        } = descriptor;
        if key.is_empty() {
            return Err("descriptor has empty key".to_owned());
        }
        let name = if value.is_empty() {
            key
        } else {
            format!("{key}_{value}")
        };
        let limit = rate_limit
            .map(|file| file.limit(shadow_mode))
            .transpose()
            .map_err(|error| format!("'{name}': {error}"))?;
        let node = Node {
            limit,
            nodes: load(descriptors)?,
        };
        if nodes.insert(name.clone(), node).is_some() {
            return Err(format!("duplicate descriptor composite key '{name}'"));
        }
    }
    Ok(nodes)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DomainFile {
    #[serde(default)]
    domain: String,
    #[serde(default)]
    descriptors: Vec<DescriptorFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DescriptorFile {
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: String,
    rate_limit: Option<LimitFile>,
    #[serde(default)]
    descriptors: Vec<Self>,
    #[serde(default)]
    shadow_mode: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitFile {
    #[serde(default)]
    requests_per_unit: u32,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    unlimited: bool,
    /// For `replaces`, which the model does not have.
    #[serde(default, rename = "name")]
    _name: String,
}

impl LimitFile {
    fn limit(&self, shadow_mode: bool) -> Result<Limit, String> {
        let unit = unit(&self.unit);
        match (unit, self.unlimited) {
            (Some(_), true) => Err("should not specify rate limit unit when unlimited".to_owned()),
            (None, false) => Err(format!("invalid rate limit unit '{}'", self.unit)),
            _ => Ok(Limit {
                requests_per_unit: self.requests_per_unit,
                unit: unit.unwrap_or(Unit::Unknown),
                unlimited: self.unlimited,
                shadow_mode,
            }),
        }
    }
}

fn unit(name: &str) -> Option<Unit> {
    match name.to_uppercase().as_str() {
        "SECOND" => Some(Unit::Second),
        "MINUTE" => Some(Unit::Minute),
        "HOUR" => Some(Unit::Hour),
        "DAY" => Some(Unit::Day),
        "WEEK" => Some(Unit::Week),
        "MONTH" => Some(Unit::Month),
        "YEAR" => Some(Unit::Year),
        _ => None,
    }
}
