//! What Envoy gets: a bootstrap, and the parts that may change, as files that it watches.
//!
//! All of it is what `cohort render` makes of `envoy/demo.yaml`, so that what people read there is what runs here.
#![expect(
    clippy::indexing_slicing,
    reason = "these documents are made here, and a test makes them all"
)]

use crate::config::Config;
use crate::limit::readout;
use crate::render::envoy::{self, Address, Filter, HCM, Listen};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

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

/// The parts that never change.
pub(super) fn bootstrap(listen: &Listen, filter: &Filter<'_>, config: &Config) -> Option<String> {
    let mut root = envoy::listening(listen)?;
    let hcm = root.pointer_mut(HCM)?;
    let mut wasm = hcm.pointer("/http_filters/0/typed_config")?.clone();
    let router = hcm.pointer("/http_filters/1")?.clone();
    hcm["http_filters"][0] = envoy::discovered(&watched(&FILTER));
    hcm.as_object_mut()?.remove("route_config");
    hcm["rds"] = json!({"route_config_name": "llm", "config_source": watched(&ROUTES)});

    // A second plugin in the filter's VM: `cohort status` asks it, through a socket that only its owner opens. It comes
    // first, and an Envoy of 1.37 gives a VM the environment of the plugin that comes first.
    filter.put_into(&mut wasm["config"], &envoy::secrets(config));
    wasm["config"]["configuration"] =
        envoy::string(&String::from_utf8_lossy(readout::CONFIGURATION));
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
    envoy::watched(&format!(".cohort/{}", part.file), part.directory)
}

/// The filter with a policy.
pub(super) fn filter(filter: &Filter<'_>, config: &Config, document: &str) -> Option<Value> {
    let wasm = envoy::wasm(filter, config, document)?;
    Some(typed(
        "core.v3.TypedExtensionConfig",
        envoy::extension(&wasm),
    ))
}

fn typed(name: &str, mut resource: Value) -> Value {
    resource["@type"] = json!(format!("type.googleapis.com/envoy.config.{name}"));
    resource
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
        let clusters = envoy::clusters(addresses, authorities().as_deref())
            .ok_or("no file of certificate authorities is found: name it in SSL_CERT_FILE")?;
        let clusters = clusters.into_iter();
        let mut routes = envoy::routes(config).ok_or(envoy::BROKEN)?;
        routes["name"] = json!("llm");
        Ok(Self {
            clusters: clusters
                .map(|cluster| typed("cluster.v3.Cluster", cluster))
                .collect(),
            routes: typed("route.v3.RouteConfiguration", routes),
        })
    }
}

/// The system's certificate authorities.
fn authorities() -> Option<PathBuf> {
    let given = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let known = [
        envoy::AUTHORITIES,
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ];
    let known = known.map(PathBuf::from).into_iter();
    given.into_iter().chain(known).find(|path| path.is_file())
}
