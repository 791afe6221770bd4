//! Kubernetes manifests from which a control plane makes an Envoy's configuration: those that run the filter, and those that
//! take headers out before routes are picked.

use super::{Report, list, text};
use serde_json::{Value, json};

/// The manifests of a file, each with its own lines at their places and nothing on the others: what is found keeps its line.
pub(super) fn documents(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for (at, line) in text.lines().enumerate() {
        let separates = line.trim_end() == "---";
        if separates {
            documents.push("\n".repeat(at));
        }
        if let Some(document) = documents.last_mut() {
            document.push_str(if separates { "" } else { line });
            document.push('\n');
        }
    }
    let said = |document: &String| {
        let mut lines = document.lines().map(str::trim_start);
        lines.any(|line| !line.is_empty() && !line.starts_with('#'))
    };
    documents.retain(said);
    documents
}

/// A filter that a control plane puts in, and cannot make hold headers.
pub(super) struct Resource<'a> {
    kind: &'a str,
    pub(super) path: String,
    value: &'a Value,
    policy: &'a Value,
    /// The field that has the policy.
    field: &'static str,
}

impl<'a> Resource<'a> {
    /// Those of a manifest.
    pub(super) fn all(manifest: &'a Value) -> Vec<Self> {
        let kind = text(manifest, "kind");
        let spec = manifest.get("spec").unwrap_or(&Value::Null);
        let found = match kind {
            "WasmPlugin" => vec![("spec".to_owned(), spec, "pluginConfig")],
            "EnvoyExtensionPolicy" => {
                let entries = list(spec, "wasm").iter().enumerate();
                let entries =
                    entries.map(|(at, entry)| (format!("spec.wasm[{at}]"), entry, "config"));
                entries.collect()
            }
            _ => Vec::new(),
        };
        let name = manifest.pointer("/metadata/name").and_then(Value::as_str);
        let resources = found.into_iter().map(|(path, value, config)| Self {
            kind,
            path,
            value,
            policy: value.get(config).unwrap_or(&Value::Null),
            field: config,
        });
        let named = |resource: &Self| {
            let names = [
                name.unwrap_or_default(),
                text(resource.value, "name"),
                text(resource.value, "url"),
            ];
            let policy = resource.policy.get("consumer_groups").is_some();
            policy || names.iter().any(|name| name.contains("cohort"))
        };
        resources.filter(named).collect()
    }

    /// `holds`: what the policy says where it does not stand here.
    pub(super) fn check(&self, holds: bool, report: &mut Report<'_>) {
        let own = self
            .policy
            .get("consumer_groups")
            .map(|_| self.policy.get("hold_request_headers") != Some(&Value::Bool(false)));
        report.check_order(self.policy, &format!("{}.{}", self.path, self.field));
        if own.unwrap_or(holds) {
            report.error(
                &self.path,
                format!(
                    "a {} cannot make Envoy hold headers, and the policy's `hold_request_headers` is true: every request with a body hangs",
                    self.kind
                ),
                "write `hold_request_headers: false` in the policy; on Istio the pair of patches of `cohort render istio` can hold them",
            );
        }
        let (field, open) = match self.kind {
            "WasmPlugin" => ("failStrategy", json!("FAIL_OPEN")),
            _ => ("failOpen", json!(true)),
        };
        let path = format!("{}.{field}", self.path);
        match self.value.get(field) {
            Some(value) if *value == open => report.error(
                &path,
                "should the filter die, its worker is a gateway without keys and limits",
                format!("take `{field}` out, or write `FAIL_RELOAD` where Istio knows it"),
            ),
            Some(value) if value == "FAIL_RELOAD" => {}
            _ if self.kind == "WasmPlugin" => report.warn(
                &path,
                "should the filter die, its worker answers 503 until Envoy is restarted",
                "write `failStrategy: FAIL_RELOAD` (Istio 1.27 or later)",
            ),
            _ => {}
        }
    }
}

/// What Envoy Gateway takes out before routes are picked, as Envoy itself would be told.
pub(super) fn early_removals(manifest: &Value) -> Vec<Value> {
    if text(manifest, "kind") != "ClientTrafficPolicy" {
        return Vec::new();
    }
    let early = manifest.pointer("/spec/headers/earlyRequestHeaders");
    let names = early.map_or(&[][..], |early| list(early, "remove")).iter();
    names.map(|name| json!({"remove": name})).collect()
}
