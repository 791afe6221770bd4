//! What Envoy gets: a bootstrap, and the parts that may change, as files that it watches.
//!
//! All of it is made from `envoy/demo.yaml`, so that what people read there is what runs here.
#![expect(
    clippy::indexing_slicing,
    reason = "these documents are made here, and a test makes them all"
)]

use super::source::Loaded;
use super::upstream::{self, Address};
use crate::config::{Config, json_from_yaml};
use crate::limit::readout;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

const EXAMPLE: &str = include_str!("../../../envoy/demo.yaml");
const HCM: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

/// Who watches what, and the stats that tell what became of it.
pub(super) struct Part {
    pub(super) file: &'static str,
    directory: &'static str,
    pub(super) taken: &'static str,
    pub(super) refused: &'static str,
}

pub(super) const CLUSTERS: Part = Part {
    file: "xds/clusters/clusters.json",
    directory: ".cohort/xds/clusters",
    taken: "cluster_manager.cds.update_success",
    refused: "cluster_manager.cds.update_rejected",
};
pub(super) const ROUTES: Part = Part {
    file: "xds/routes/routes.json",
    directory: ".cohort/xds/routes",
    taken: "http.llm.rds.llm.config_reload",
    refused: "http.llm.rds.llm.update_rejected",
};
pub(super) const FILTER: Part = Part {
    file: "xds/filter/filter.json",
    directory: ".cohort/xds/filter",
    taken: "extension_config_discovery.http_filter.cohort.config_reload",
    refused: "extension_config_discovery.http_filter.cohort.update_rejected",
};

/// What a part consists of, for a version of it.
pub(super) fn response(version: u64, resources: &[Value]) -> String {
    json!({"version_info": version.to_string(), "resources": resources}).to_string()
}

/// Where Envoy listens.
pub(super) struct Listen {
    pub(super) address: IpAddr,
    pub(super) port: u16,
    pub(super) admin: u16,
}

/// Where the filter's code is, and the secrets that it gets in place of the environment's.
pub(super) struct Filter<'a> {
    pub(super) wasm: &'a Path,
    pub(super) stand_in: Option<&'a str>,
}

/// The parts that never change.
pub(super) fn bootstrap(listen: &Listen, filter: &Filter<'_>) -> Option<String> {
    let mut root = example()?;
    *root.pointer_mut("/admin/address/socket_address/port_value")? = json!(listen.admin);
    let socket = root.pointer_mut("/static_resources/listeners/0/address/socket_address")?;
    socket["address"] = json!(listen.address);
    socket["port_value"] = json!(listen.port);

    let hcm = root.pointer_mut(HCM)?;
    let mut wasm = hcm.pointer("/http_filters/0/typed_config")?.clone();
    let router = hcm.pointer("/http_filters/1")?.clone();
    hcm["http_filters"][0] = json!({"name": "cohort", "config_discovery": {
        "type_urls": [wasm["@type"]],
        "config_source": watched(&FILTER),
    }});
    hcm.as_object_mut()?.remove("route_config");
    hcm["rds"] = json!({"route_config_name": "llm", "config_source": watched(&ROUTES)});

    // A second plugin in the filter's VM: `cohort status` asks it, through a socket that only its owner opens.
    filter.put_into(&mut wasm["config"], &[]);
    wasm["config"]["configuration"] = string(&String::from_utf8_lossy(readout::CONFIGURATION));
    let counters = json!({
        "@type": hcm["@type"],
        "stat_prefix": "counters",
        "route_config": {"virtual_hosts": [{
            "name": "counters",
            "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 404}}],
        }]},
        "http_filters": [{"name": "counters", "typed_config": wasm}, router],
    });
    let listener = json!({
        "name": "counters",
        "address": {"pipe": {"path": ".cohort/counters.sock", "mode": 0o600}},
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": counters,
        }]}],
    });
    let resources = root.get_mut("static_resources")?;
    resources["listeners"].as_array_mut()?.push(listener);
    resources.as_object_mut()?.remove("clusters");
    root["dynamic_resources"] = json!({"cds_config": watched(&CLUSTERS)});
    Some(root.to_string())
}

fn watched(part: &Part) -> Value {
    json!({
        "resource_api_version": "V3",
        "path_config_source": {
            "path": format!(".cohort/{}", part.file),
            "watched_directory": {"path": part.directory},
        },
    })
}

/// The filter with a policy.
pub(super) fn filter(filter: &Filter<'_>, policy: &Loaded, document: &str) -> Option<Value> {
    let mut wasm = example()?
        .pointer(&format!("{HCM}/http_filters/0/typed_config"))?
        .clone();
    let config = &mut wasm["config"];
    config["allow_on_headers_stop_iteration"] = json!(policy.config.hold_request_headers);
    config["configuration"] = string(document);
    filter.put_into(config, &secrets(&policy.config));
    Some(json!({
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": "cohort",
        "typed_config": wasm,
    }))
}

impl Filter<'_> {
    fn put_into(&self, config: &mut Value, secrets: &[&str]) {
        let vm = &mut config["vm_config"];
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

fn secrets(config: &Config) -> Vec<&str> {
    let targets = config.providers.iter();
    let mut secrets: Vec<_> = targets
        .filter_map(|target| target.secret_env.as_deref())
        .collect();
    secrets.sort_unstable();
    secrets.dedup();
    secrets
}

/// One route a target; `timeout` and the like as the example has them.
pub(super) fn routes(config: &Config) -> Option<Value> {
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
        first.map_or(upstream::DEFAULT, |target| &target.cluster),
    );
    list.push(default);
    routes["@type"] = json!("type.googleapis.com/envoy.config.route.v3.RouteConfiguration");
    routes["name"] = json!("llm");
    Some(routes)
}

fn lead(route: &mut Value, cluster: &str) {
    route["route"]["cluster"] = json!(cluster);
    route["route"]["auto_host_rewrite"] = json!(true);
}

/// Everything for a policy but the filter.
pub(super) struct Surroundings {
    pub(super) clusters: Vec<Value>,
    pub(super) routes: Value,
}

impl Surroundings {
    pub(super) fn new(
        config: &Config,
        addresses: &BTreeMap<String, Address>,
    ) -> Result<Self, String> {
        Ok(Self {
            clusters: upstream::clusters(addresses)?,
            routes: routes(config).ok_or(BROKEN)?,
        })
    }
}

/// The example is part of the program.
pub(super) const BROKEN: &str = "envoy/demo.yaml is not what this program expects";

fn string(text: &str) -> Value {
    json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text})
}

fn example() -> Option<Value> {
    serde_json::from_str(&json_from_yaml(EXAMPLE)?).ok()
}
