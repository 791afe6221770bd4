//! Kubernetes manifests from which a control plane makes an Envoy's configuration: those that run the filter, those that
//! take headers out before routes are picked, and those that say how large a body may be.

use super::buffers::DEFAULT;
use super::{Report, list, number, text};
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

    /// How large a body may be if no manifest says more: Envoy Gateway has a default of its own.
    pub(super) fn default_buffer(&self) -> u64 {
        match self.kind {
            "EnvoyExtensionPolicy" => GATEWAY_DEFAULT,
            _ => DEFAULT,
        }
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

/// Envoy Gateway's `bufferLimit` where none is said.
const GATEWAY_DEFAULT: u64 = 32 << 10;

const GATEWAY_HELP: &str = "`connection: { bufferLimit: 32Mi }` in the ClientTrafficPolicy of the gateway: the largest that providers take";
const ISTIO_HELP: &str = "an EnvoyFilter that merges `request_body_buffer_limit: 33554432` into the VIRTUAL_HOST, as `cohort render istio` writes it";

/// What a manifest says of how large a body may be: too little is told. Whether it says anything.
pub(super) fn check_buffers(manifest: &Value, report: &mut Report<'_>) -> bool {
    let spec = manifest.get("spec").unwrap_or(&Value::Null);
    let mut tell = |path: &str, bytes: u64, help: &str| {
        if bytes <= DEFAULT {
            let message = format!("prompts over {bytes} bytes are refused with 413");
            report.warn(path, message, help);
        }
    };
    match text(manifest, "kind") {
        "ClientTrafficPolicy" => {
            let Some(limit) = spec.pointer("/connection/bufferLimit") else {
                return false;
            };
            if let Some(bytes) = quantity(limit) {
                tell("spec.connection.bufferLimit", bytes, GATEWAY_HELP);
            }
            true
        }
        // Envoy's `buffer` filter, which holds whole bodies of its own.
        "BackendTrafficPolicy" => {
            if let Some(limit) = spec.pointer("/requestBuffer/limit") {
                let bytes = quantity(limit).map(|bytes| format!(" over {bytes} bytes"));
                report.warn(
                    "spec.requestBuffer",
                    format!(
                        "holds bodies that the filter holds anyway, and refuses those{} in its own words",
                        bytes.unwrap_or_default()
                    ),
                    "take it out, or keep it off the routes that lead to models",
                );
            }
            false
        }
        "EnvoyFilter" => {
            let mut said = false;
            for (at, patch) in list(spec, "configPatches").iter().enumerate() {
                let value = patch.pointer("/patch/value").unwrap_or(&Value::Null);
                for name in [
                    "request_body_buffer_limit",
                    "per_request_buffer_limit_bytes",
                ] {
                    if let Some(bytes) = number(value, name) {
                        said = true;
                        let path = format!("spec.configPatches[{at}].patch.value.{name}");
                        tell(&path, bytes, ISTIO_HELP);
                    }
                }
            }
            said
        }
        _ => false,
    }
}

/// What an `EnvoyFilter` says of a listener, which counts where no virtual host says more.
pub(super) fn listener_buffer(manifest: &Value) -> Option<(String, u64)> {
    let name = "per_connection_buffer_limit_bytes";
    let patches = manifest
        .get("spec")
        .map_or(&[][..], |spec| list(spec, "configPatches"));
    let mut each = patches.iter().enumerate();
    each.find_map(|(at, patch)| {
        let bytes = number(patch.pointer("/patch/value")?, name)?;
        Some((
            format!("spec.configPatches[{at}].patch.value.{name}"),
            bytes,
        ))
    })
}

/// As much as a listener says, if that is too little.
pub(super) fn tell_listener(path: &str, bytes: u64, report: &mut Report<'_>) {
    if bytes <= DEFAULT {
        let message = format!("prompts over {bytes} bytes are refused with 413");
        report.warn(path, message, ISTIO_HELP);
    }
}

/// Nobody says how large a body may be.
pub(super) fn tell_default(bytes: u64, path: &str, report: &mut Report<'_>) {
    let (whose, help) = match bytes {
        GATEWAY_DEFAULT => ("Envoy Gateway's", GATEWAY_HELP),
        _ => ("Envoy's", ISTIO_HELP),
    };
    let message = format!("prompts over {bytes} bytes are refused with 413 ({whose} default)");
    report.warn(path, message, help);
}

/// Bytes, as Kubernetes writes them: `32Mi`, `1G`, or a number.
fn quantity(value: &Value) -> Option<u64> {
    if let Some(bytes) = value.as_u64() {
        return Some(bytes);
    }
    let text = value.as_str()?;
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    let factor: u64 = match unit {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
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
