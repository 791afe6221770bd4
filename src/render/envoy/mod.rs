//! Envoy's own configuration: a bootstrap, and the filter in it.
//!
//! All of it is made from `envoy/demo.yaml`, so that what people read there is what is rendered, and what `cohort run` serves.
//! Reads no file: what is on a machine is the caller's to know.
#![expect(
    clippy::indexing_slicing,
    reason = "these documents are made here, and a test makes them all"
)]

mod standalone;
mod upstream;

pub(crate) use standalone::{Standalone, discovery};
pub(crate) use upstream::{Address, DEFAULT, Upstream, addresses, clusters, unknown};

use crate::config::{Config, json_from_yaml};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::path::Path;

const EXAMPLE: &str = include_str!("../../../envoy/demo.yaml");

/// Where the example has its HTTP connection manager.
pub(crate) const HCM: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

/// The example is part of the program.
pub(crate) const BROKEN: &str = "envoy/demo.yaml is not what this program expects";

/// Where Debian, Ubuntu and Envoy's images keep them.
pub(crate) const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Where Envoy listens.
pub(crate) struct Listen {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) admin: u16,
}

/// Where the filter's code is, and the secrets that it gets in place of the environment's.
pub(crate) struct Filter<'a> {
    pub(crate) wasm: &'a Path,
    pub(crate) stand_in: Option<&'a str>,
}

/// The example, listening elsewhere.
pub(crate) fn listening(listen: &Listen) -> Option<Value> {
    let mut root = example()?;
    *root.pointer_mut("/admin/address/socket_address/port_value")? = json!(listen.admin);
    let socket = root.pointer_mut("/static_resources/listeners/0/address/socket_address")?;
    socket["address"] = json!(listen.address);
    socket["port_value"] = json!(listen.port);
    Some(root)
}

/// The example's HTTP connection manager.
pub(crate) fn connection_manager() -> Option<Value> {
    Some(example()?.pointer_mut(HCM)?.take())
}

/// The filter with a policy.
pub(crate) fn wasm(filter: &Filter<'_>, config: &Config, document: &str) -> Option<Value> {
    let mut wasm = example()?
        .pointer_mut(&format!("{HCM}/http_filters/0/typed_config"))?
        .take();
    let plugin = &mut wasm["config"];
    plugin["allow_on_headers_stop_iteration"] = json!(config.hold_request_headers);
    plugin["configuration"] = string(document);
    filter.put_into(plugin, &secrets(config));
    Some(wasm)
}

impl Filter<'_> {
    pub(crate) fn put_into(&self, plugin: &mut Value, secrets: &[&str]) {
        let vm = &mut plugin["vm_config"];
        vm["code"]["local"]["filename"] = json!(self.wasm);
        vm["environment_variables"] = match self.stand_in {
            Some(secret) => {
                let of = secrets
                    .iter()
                    .map(|name| ((*name).to_owned(), json!(secret)));
                json!({"key_values": of.collect::<serde_json::Map<_, _>>()})
            }
            None => json!({"host_env_keys": secrets}),
        };
    }
}

/// The environment variables that the filter reads.
pub(crate) fn secrets(config: &Config) -> Vec<&str> {
    let targets = config.providers.iter();
    let mut secrets: Vec<_> = targets
        .filter_map(|target| target.secret_env.as_deref())
        .collect();
    secrets.sort_unstable();
    secrets.dedup();
    secrets
}

/// The filter as a resource that is delivered apart from the listener.
pub(crate) fn extension(wasm: &Value) -> Value {
    json!({"name": "cohort", "typed_config": wasm})
}

/// The filter in a listener that gets it from elsewhere.
pub(crate) fn discovered(source: &Value) -> Value {
    json!({"name": "cohort", "config_discovery": {
        "type_urls": [WASM],
        "config_source": source,
    }})
}

pub(crate) const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// A file that Envoy reads anew when another is moved into its place.
pub(crate) fn watched(path: &str, directory: &str) -> Value {
    json!({
        "resource_api_version": "V3",
        "path_config_source": {"path": path, "watched_directory": {"path": directory}},
    })
}

/// One route a target; `timeout` and the like as the example has them.
pub(crate) fn routes(config: &Config) -> Option<Value> {
    let mut routes = example()?
        .pointer_mut(&format!("{HCM}/route_config"))?
        .take();
    let list = routes
        .pointer_mut("/virtual_hosts/0/routes")?
        .as_array_mut()?;
    let mut default = list.pop()?;
    let provider = list.pop()?;
    for target in &config.providers {
        let mut route = provider.clone();
        route["name"] = json!(target.id);
        *route.pointer_mut("/match/headers/0/string_match/exact")? = json!(target.id);
        lead(&mut route, &target.cluster);
        list.push(route);
    }
    let first = config.providers.first();
    lead(
        &mut default,
        first.map_or(DEFAULT, |target| &target.cluster),
    );
    list.push(default);
    Some(routes)
}

fn lead(route: &mut Value, cluster: &str) {
    route["route"]["cluster"] = json!(cluster);
    route["route"]["auto_host_rewrite"] = json!(true);
}

/// A policy on several lines.
pub(crate) fn readable(document: &str) -> String {
    super::yaml::unfolded(document)
}

pub(crate) fn string(text: &str) -> Value {
    json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text})
}

fn example() -> Option<Value> {
    serde_json::from_str(&json_from_yaml(EXAMPLE).ok()?).ok()
}
