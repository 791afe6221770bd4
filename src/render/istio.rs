//! Istio: the filter in a gateway's proxies, and what the rest of such a proxy must do.
//!
//! A `WasmPlugin` says nothing of `allow_on_headers_stop_iteration` and `vm_id`. Where headers are to be held, a pair of
//! `EnvoyFilter` patches takes its place: the filter as a resource, and a filter in the chain that gets it.
#![expect(
    clippy::indexing_slicing,
    reason = "these documents are made here, and a test makes them all"
)]

use super::{envoy, yaml};
use crate::config::Config;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The filter's own name, as routes name it in `typed_per_filter_config`.
const NAME: &str = "cohort";
const HCM_FILTER: &str = "envoy.filters.network.http_connection_manager";

/// How the filter gets into the proxies.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Form {
    /// Everything that Envoy can be told
    EnvoyFilter,
    /// Istio's own, without holding headers
    WasmPlugin,
}

/// What Istio needs to know but a policy.
pub(crate) struct Istio<'a> {
    pub(crate) form: Form,
    pub(crate) namespace: &'a str,
    /// Labels of the gateway's pods.
    pub(crate) selector: &'a [(String, String)],
    /// `file://`, `oci://`, `http://` or `https://`.
    pub(crate) wasm: &'a str,
    pub(crate) sha256: Option<&'a str>,
    /// Where one line a request goes, in the proxy.
    pub(crate) event_log: &'a str,
}

impl Istio<'_> {
    /// The manifests; `None`: the example that they are made of is broken, or the document is.
    pub(crate) fn render(&self, config: &Config, document: &str) -> Option<String> {
        let filter = match self.form {
            Form::EnvoyFilter => self.pair(config, document)?,
            Form::WasmPlugin => self.plugin(config, document)?,
        };
        let about = match self.form {
            Form::EnvoyFilter => {
                "The filter: a pair of patches, because a WasmPlugin cannot make Envoy hold headers."
            }
            Form::WasmPlugin => {
                "The filter. `failStrategy: FAIL_RELOAD` is known to Istio 1.27 and later; without it a\n\
                 proxy whose filter has died once answers 503 until it is restarted."
            }
        };
        let header = "\
Cohort on Istio's gateways, by `cohort render istio`. Istio 1.29 or later (Envoy 1.37).
Keys are digests of them; secrets come from the gateway pods' environment.
Besides, in the mesh's configuration: `pathNormalization: { normalization: NONE }`.
";
        let surroundings = "\
What the rest of the proxy must do: no caller chooses a route with our headers, one line a request
for `cohort events`, and prompts of up to 32 MiB.";
        Some(
            [
                yaml::comment(header),
                "---\n".to_owned(),
                yaml::comment(about),
                yaml::document(&filter),
                "---\n".to_owned(),
                yaml::comment(surroundings),
                yaml::document(&self.surroundings()?),
            ]
            .concat(),
        )
    }

    fn plugin(&self, config: &Config, document: &str) -> Option<Value> {
        let policy: Value = serde_json::from_str(document).ok()?;
        let mut spec = json!({
            "selector": {"matchLabels": self.labels()},
            "url": self.wasm,
            "failStrategy": "FAIL_RELOAD",
            "pluginConfig": policy,
        });
        if let Some(sha256) = self.sha256 {
            spec["sha256"] = json!(sha256);
        }
        let secrets = envoy::secrets(config);
        if !secrets.is_empty() {
            let variable = |name| json!({"name": name, "valueFrom": "HOST"});
            let variables: Vec<_> = secrets.iter().map(variable).collect();
            spec["vmConfig"] = json!({"env": variables});
        }
        Some(json!({
            "apiVersion": "extensions.istio.io/v1alpha1",
            "kind": "WasmPlugin",
            "metadata": self.metadata(NAME),
            "spec": spec,
        }))
    }

    fn pair(&self, config: &Config, document: &str) -> Option<Value> {
        let filter = envoy::Filter {
            wasm: Path::new(""),
            stand_in: None,
        };
        let mut wasm = envoy::wasm(&filter, config, document)?;
        wasm["config"]["vm_config"]["code"] = self.code();
        let ads = json!({"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"});
        let router =
            json!({"name": HCM_FILTER, "subFilter": {"name": "envoy.filters.http.router"}});
        Some(self.envoy_filter(
            NAME,
            &[
                json!({
                    "applyTo": "EXTENSION_CONFIG",
                    "match": {"context": "GATEWAY"},
                    "patch": {"operation": "ADD", "value": envoy::extension(&wasm)},
                }),
                json!({
                    "applyTo": "HTTP_FILTER",
                    "match": {"context": "GATEWAY", "listener": {"filterChain": {"filter": router}}},
                    "patch": {"operation": "INSERT_BEFORE", "value": envoy::discovered(&ads)},
                }),
            ],
        ))
    }

    /// What Istio's agent fetches, whatever the scheme, before Envoy hears of it.
    fn code(&self) -> Value {
        if let Some(path) = self.wasm.strip_prefix("file://") {
            return json!({"local": {"filename": path}});
        }
        let uri = json!({"uri": self.wasm, "timeout": "30s", "cluster": "_"});
        let mut remote = json!({"http_uri": uri});
        if let Some(sha256) = self.sha256 {
            remote["sha256"] = json!(sha256);
        }
        json!({"remote": remote})
    }

    fn surroundings(&self) -> Option<Value> {
        let example = envoy::connection_manager()?;
        let mut event_log = example.pointer("/access_log/0")?.clone();
        event_log["typed_config"]["path"] = json!(self.event_log);
        let limit = example.pointer("/route_config/virtual_hosts/0/request_body_buffer_limit")?;
        let manager = json!({
            "@type": example["@type"],
            "early_header_mutation_extensions": example["early_header_mutation_extensions"],
            "common_http_protocol_options": example["common_http_protocol_options"],
            "access_log": [event_log],
        });
        Some(self.envoy_filter(
            &format!("{NAME}-gateway"),
            &[
                json!({
                    "applyTo": "NETWORK_FILTER",
                    "match": {"context": "GATEWAY", "listener": {"filterChain": {"filter": {"name": HCM_FILTER}}}},
                    "patch": {"operation": "MERGE", "value": {"typed_config": manager}},
                }),
                json!({
                    "applyTo": "VIRTUAL_HOST",
                    "match": {"context": "GATEWAY"},
                    "patch": {"operation": "MERGE", "value": {"request_body_buffer_limit": limit}},
                }),
            ],
        ))
    }

    fn envoy_filter(&self, name: &str, patches: &[Value]) -> Value {
        json!({
            "apiVersion": "networking.istio.io/v1alpha3",
            "kind": "EnvoyFilter",
            "metadata": self.metadata(name),
            "spec": {"workloadSelector": {"labels": self.labels()}, "configPatches": patches},
        })
    }

    fn metadata(&self, name: &str) -> Value {
        json!({"name": name, "namespace": self.namespace})
    }

    fn labels(&self) -> Map<String, Value> {
        let labels = self.selector.iter();
        labels
            .map(|(key, value)| (key.clone(), json!(value)))
            .collect()
    }
}
