//! Envoy Gateway: a policy that puts the filter on routes, and one for the gateway's clients.
//!
//! It cannot make Envoy hold headers, so the document must say `hold_request_headers: false`.
#![expect(
    clippy::indexing_slicing,
    reason = "these documents are made here, and a test makes them all"
)]

use super::{envoy, yaml};
use crate::config::Config;
use serde_json::{Value, json};

const API: &str = "gateway.envoyproxy.io/v1alpha1";
const TARGETS: &str = "gateway.networking.k8s.io";

/// What only the filter may write: routes match on it.
const OURS: [&str; 4] = [
    "x-consumer",
    "x-cohort-provider",
    "x-cohort-model",
    "x-cohort-features",
];

/// What Envoy Gateway needs to know but a policy.
pub(crate) struct EnvoyGateway<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) gateway: &'a str,
    /// The `HTTPRoute`s that lead to models.
    pub(crate) routes: &'a [String],
    /// `http://` or `https://`, else an image.
    pub(crate) wasm: &'a str,
    pub(crate) sha256: Option<&'a str>,
}

impl EnvoyGateway<'_> {
    /// The manifests; `None`: the document is broken.
    pub(crate) fn render(&self, config: &Config, document: &str) -> Option<String> {
        let header = "\
Cohort on Envoy Gateway, by `cohort render envoy-gateway`. Envoy Gateway 1.6 or later (Envoy 1.36).
Keys are digests of them; secrets come from the environment of the EnvoyProxy's pods.
";
        let filter = "\
The filter, on the routes that lead to models and on no other. Envoy Gateway knows no FAIL_RELOAD: a
proxy whose filter has died answers 503 until it is restarted; watch wasm.*.vm_reload* and restarts.";
        let clients = "\
No caller chooses a route with our headers, paths arrive as they were sent, prompts may be as large as
32 MiB where the default is 32 KiB, and /healthz is answered without a key.";
        Some(
            [
                yaml::comment(header),
                "---\n".to_owned(),
                yaml::comment(filter),
                yaml::document(&self.extension(config, document)?),
                "---\n".to_owned(),
                yaml::comment(clients),
                yaml::document(&self.clients()),
            ]
            .concat(),
        )
    }

    fn extension(&self, config: &Config, document: &str) -> Option<Value> {
        let policy: Value = serde_json::from_str(document).ok()?;
        let mut wasm = json!({
            "name": "cohort",
            "code": self.code(),
            "config": policy,
            "failOpen": false,
        });
        let secrets = envoy::secrets(config);
        if !secrets.is_empty() {
            wasm["env"] = json!({"hostKeys": secrets});
        }
        let routes = self.routes.iter();
        let targets: Vec<_> = routes.map(|name| target("HTTPRoute", name)).collect();
        Some(self.policy(
            "EnvoyExtensionPolicy",
            &json!({"targetRefs": targets, "wasm": [wasm]}),
        ))
    }

    fn code(&self) -> Value {
        let http = ["http://", "https://"]
            .iter()
            .any(|scheme| self.wasm.starts_with(scheme));
        let (kind, member) = if http {
            ("HTTP", "http")
        } else {
            ("Image", "image")
        };
        let url = self.wasm.strip_prefix("oci://").unwrap_or(self.wasm);
        let mut source = json!({"url": url});
        if let Some(sha256) = self.sha256 {
            source["sha256"] = json!(sha256);
        }
        json!({"type": kind, member: source})
    }

    fn clients(&self) -> Value {
        self.policy(
            "ClientTrafficPolicy",
            &json!({
                "targetRefs": [target("Gateway", self.gateway)],
                "headers": {"earlyRequestHeaders": {"remove": OURS}},
                "path": {"escapedSlashesAction": "KeepUnchanged", "disableMergeSlashes": true},
                "connection": {"bufferLimit": "32Mi"},
                "healthCheck": {"path": "/healthz"},
            }),
        )
    }

    fn policy(&self, kind: &str, spec: &Value) -> Value {
        json!({
            "apiVersion": API,
            "kind": kind,
            "metadata": {"name": "cohort", "namespace": self.namespace},
            "spec": spec,
        })
    }
}

fn target(kind: &str, name: &str) -> Value {
    json!({"group": TARGETS, "kind": kind, "name": name})
}
