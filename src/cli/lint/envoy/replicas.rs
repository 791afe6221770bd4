//! How many Envoys manifests make: what each counts for itself comes as often as there are of them.

use super::{join, list, number, text};
use serde_json::Value;

/// Where a manifest says that there may be several.
pub(super) struct Replicas {
    pub(super) path: String,
    /// `None`: one a node.
    pub(super) count: Option<u64>,
    /// The workload that an autoscaler is for, by its name: it may be something else than an Envoy.
    pub(super) of: Option<String>,
}

/// Those of a manifest.
pub(super) fn of(manifest: &Value) -> Vec<Replicas> {
    let spec = manifest.get("spec").unwrap_or(&Value::Null);
    match text(manifest, "kind") {
        "Deployment" | "StatefulSet" if runs_envoy(spec) => several(spec, "spec", "replicas"),
        "DaemonSet" if runs_envoy(spec) => vec![one_a_node("spec")],
        "HorizontalPodAutoscaler" => {
            let target = spec.pointer("/scaleTargetRef/name").and_then(Value::as_str);
            let mut found = several(spec, "spec", "maxReplicas");
            for replicas in &mut found {
                replicas.of = target.map(str::to_owned);
            }
            found
        }
        "EnvoyProxy" => {
            let path = "spec.provider.kubernetes";
            let host = spec.pointer("/provider/kubernetes").unwrap_or(&Value::Null);
            let mut found = Vec::new();
            for (member, field) in [("envoyDeployment", "replicas"), ("envoyHpa", "maxReplicas")] {
                let value = host.get(member).unwrap_or(&Value::Null);
                found.extend(several(value, &join(path, member), field));
            }
            if host.get("envoyDaemonSet").is_some() {
                found.push(one_a_node(&join(path, "envoyDaemonSet")));
            }
            found
        }
        "IstioOperator" => {
            let gateways = spec.get("components").unwrap_or(&Value::Null);
            let gateways = list(gateways, "ingressGateways").iter().enumerate();
            let each = gateways.flat_map(|(at, gateway)| {
                let path = format!("spec.components.ingressGateways[{at}].k8s");
                let own = gateway.get("k8s").unwrap_or(&Value::Null);
                let scaled = own.get("hpaSpec").unwrap_or(&Value::Null);
                let mut found = several(own, &path, "replicaCount");
                found.extend(several(scaled, &join(&path, "hpaSpec"), "maxReplicas"));
                found
            });
            each.collect()
        }
        _ => Vec::new(),
    }
}

/// The name of a workload that is no Envoy: an autoscaler of it is not of interest.
pub(super) fn other(manifest: &Value) -> Option<String> {
    let workload = ["Deployment", "StatefulSet"].contains(&text(manifest, "kind"));
    if !workload || runs_envoy(manifest.get("spec")?) {
        return None;
    }
    let name = manifest.pointer("/metadata/name")?.as_str()?;
    Some(name.to_owned())
}

fn several(value: &Value, path: &str, field: &str) -> Vec<Replicas> {
    let count = number(value, field).filter(|count| *count > 1);
    let found = count.map(|count| Replicas {
        path: join(path, field),
        count: Some(count),
        of: None,
    });
    found.into_iter().collect()
}

fn one_a_node(path: &str) -> Replicas {
    Replicas {
        path: path.to_owned(),
        count: None,
        of: None,
    }
}

/// Whether the pods of a workload are Envoys: Istio fills in `auto`.
fn runs_envoy(spec: &Value) -> bool {
    let pod = spec.pointer("/template/spec").unwrap_or(&Value::Null);
    list(pod, "containers").iter().any(|container| {
        let image = text(container, "image");
        image == "auto" || image.contains("envoy") || image.contains("proxyv2")
    })
}
