//! What Istio and Envoy Gateway make of their manifests, made here the same way and served by a real Envoy.
//!
//! Their translation is short and public (Istio: `pilot/pkg/networking/core/envoyfilter`, `pilot/pkg/model/extensions.go`; Envoy
//! Gateway: `internal/xds/translator/wasm.go`). It is not theirs that runs here: this shows that Envoy takes the result, not
//! that a control plane gives it.

use super::reload::local;
use super::{TARGETS, TUTORIAL, answer, documents, file, rendered, support};
use serde_json::{Value, json};
use support::client::Request;
use support::envoy::{self, HCM};
use support::upstream::Upstream;

/// What the filter is called by Istio's patches, by two generations of its plugins, and by Envoy Gateway.
const NAMES: [&str; 4] = [
    "cohort",
    "extensions.istio.io/wasmplugin/istio-system.cohort",
    "extensions.istio.io/trafficextension/istio-system.cohort~istio-translated-wasmplugin",
    "envoy.filters.http.wasm/cohort",
];
const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// An ingress gateway with the example's routes, before anyone patches it.
fn gateway(upstream: &Upstream) -> Value {
    let mut root = support::yaml(&file("envoy/demo.yaml"));
    root["static_resources"]["clusters"] =
        json!([local("openai", upstream), local("docs", upstream)]);
    for pointer in ["/admin", "/static_resources/listeners/0"] {
        let address = root
            .pointer_mut(&format!("{pointer}/address/socket_address"))
            .unwrap();
        address["port_value"] = json!(0);
    }
    let hcm = root.pointer_mut(HCM).unwrap();
    let router = hcm["http_filters"][1].take();
    let members = hcm.as_object_mut().unwrap();
    for ours in [
        "early_header_mutation_extensions",
        "access_log",
        "common_http_protocol_options",
    ] {
        members.remove(ours).unwrap();
    }
    let cors = json!({"name": "envoy.filters.http.cors", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors",
    }});
    hcm["http_filters"] = json!([cors, router]);
    let to = |name: &str, prefix: &str, cluster: &str| json!({"name": name, "match": {"prefix": prefix}, "route": {"cluster": cluster}});
    // Where nobody gets who cannot say what only the filter may.
    let off = json!({"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true});
    let trap = json!({
        "name": "trap",
        "match": {
            "prefix": "/",
            "headers": [{"name": "x-cohort-provider", "string_match": {"exact": "other"}}],
        },
        "direct_response": {"status": 418},
        "typed_per_filter_config": NAMES.map(|name| (name.to_owned(), off.clone())).into_iter().collect::<serde_json::Map<_, _>>(),
    });
    let mut chosen = to("openai", "/", "openai");
    chosen["match"]["headers"] =
        json!([{"name": "x-cohort-provider", "string_match": {"exact": "openai"}}]);
    hcm["route_config"]["virtual_hosts"] = json!([{
        "name": "llm.example.com:443",
        "domains": ["*"],
        "routes": [
            {"name": "health", "match": {"path": "/healthz"}, "direct_response": {"status": 200}},
            trap,
            to("docs", "/docs/", "docs"),
            chosen,
            to("default", "/", "openai"),
        ],
    }]);
    root
}

/// Protobuf's: maps merge, lists append.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) => into.extend(from.iter().cloned()),
        (into, from) => *into = from.clone(),
    }
}

/// Every `EnvoyFilter`, in order; and the resources that they add.
fn patch(root: &mut Value, manifests: &[Value]) {
    let filters = manifests
        .iter()
        .filter(|manifest| manifest["kind"] == "EnvoyFilter");
    let patches = filters.flat_map(|filter| filter["spec"]["configPatches"].as_array().unwrap());
    let mut resources: Vec<&Value> = Vec::new();
    for one in patches {
        assert_eq!(one["match"]["context"], "GATEWAY");
        let (value, operation) = (
            &one["patch"]["value"],
            one["patch"]["operation"].as_str().unwrap(),
        );
        let hcm = root.pointer_mut(HCM).unwrap();
        let host = "/route_config/virtual_hosts/0";
        match (one["applyTo"].as_str().unwrap(), operation) {
            ("EXTENSION_CONFIG", "ADD") => resources.push(value),
            ("HTTP_FILTER", "INSERT_BEFORE") => {
                let filter = &one["match"]["listener"]["filterChain"]["filter"];
                assert_eq!(
                    filter["name"],
                    "envoy.filters.network.http_connection_manager"
                );
                let filters = hcm["http_filters"].as_array_mut().unwrap();
                let at = filters
                    .iter()
                    .position(|known| known["name"] == filter["subFilter"]["name"]);
                filters.insert(at.unwrap(), value.clone());
            }
            ("NETWORK_FILTER", "MERGE") => merge(hcm, &value["typed_config"]),
            ("VIRTUAL_HOST", "MERGE") => merge(hcm.pointer_mut(host).unwrap(), value),
            ("HTTP_ROUTE", "MERGE") => {
                let wanted = &one["match"]["routeConfiguration"]["vhost"]["route"]["name"];
                let routes = hcm.pointer_mut(&format!("{host}/routes")).unwrap();
                let mut routes = routes.as_array_mut().unwrap().iter_mut();
                merge(
                    routes.find(|route| route["name"] == *wanted).unwrap(),
                    value,
                );
            }
            other => panic!("Istio does something else with {other:?}"),
        }
    }
    // What discovery answers is what the filter is.
    for filter in root.pointer_mut(HCM).unwrap()["http_filters"]
        .as_array_mut()
        .unwrap()
    {
        if !filter["config_discovery"].is_null() {
            let resource = resources
                .iter()
                .find(|resource| resource["name"] == filter["name"]);
            assert_eq!(filter["config_discovery"]["type_urls"], json!([WASM]));
            *filter = (*resource.unwrap()).clone();
        }
    }
}

/// With the filter and the log of this test.
fn here(root: &Value) -> String {
    root.to_string()
        .replace("/usr/share/cohort/cohort.wasm", "target/cohort.wasm")
        .replace("/dev/stdout", ".cohort/events.jsonl")
}

/// A filter as a control plane writes it, right before the router.
fn insert(root: &mut Value, name: &str, config: &Value) {
    let filters = &mut root.pointer_mut(HCM).unwrap()["http_filters"];
    let filter = json!({"name": name, "typed_config": {"@type": WASM, "config": config}});
    filters.as_array_mut().unwrap().insert(1, filter);
}

fn string(policy: &Value) -> Value {
    json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": policy.to_string()})
}

/// What every form must do; whether a refused header may go ahead is the difference.
async fn serves(root: &Value, upstream: &Upstream, holds: bool) {
    let Some(gateway) = envoy::serve(&here(root), &[]).await else {
        return;
    };
    let ask =
        |key: &str, model: &str| Request::chat(key, model).header("x-cohort-provider", "other");
    let answer = gateway
        .send(ask("kt_cg_marketing_def456", "gpt-4o-mini"))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = upstream.last();
    assert_eq!(
        seen.header("authorization"),
        Some(&b"Bearer sk-of-the-test"[..])
    );
    assert_eq!(seen.header("x-cohort-provider"), Some(&b"openai"[..]));
    assert_eq!(seen.header("x-cohort-model").is_some(), holds);
    let answer = gateway.send(ask("kt_cg_marketing_def456", "gpt-4o")).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (403, "model_not_allowed")
    );
    if holds {
        assert_eq!(upstream.count(), 1);
    }
    assert_eq!(gateway.send(ask("nobody", "gpt-4o")).await.status, 401);
    // Over Envoy's own 1 MiB.
    let large = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "word ".repeat(300_000)}], "max_tokens": 1});
    let large = Request::post("/v1/chat/completions")
        .bearer("kt_cg_engineering_abc123")
        .json(&large);
    let answer = gateway.send(large).await;
    assert_ne!(answer.status, 413, "{}", answer.text());
    assert_eq!(gateway.send(Request::get("/healthz")).await.status, 200);
    let page = Request::get("/docs/index.html").bearer("of-the-site");
    assert_eq!(gateway.send(page).await.status, 200);
    assert_eq!(
        upstream.last().header("authorization"),
        Some(&b"Bearer of-the-site"[..])
    );
    // None for what the filter is not on.
    assert_eq!(gateway.events(4).await.len(), 4);
    gateway.assert_healthy().await;
}

#[tokio::test]
async fn istios_pair_of_patches_holds_headers() {
    let upstream = Upstream::start(answer).await;
    let mut root = gateway(&upstream);
    patch(&mut root, &documents(&file("envoy/istio.yaml")));
    serves(&root, &upstream, true).await;
}

#[tokio::test]
async fn istios_plugin_serves_without_holding_them() {
    let upstream = Upstream::start(answer).await;
    let plugin = documents(&file("envoy/istio-wasmplugin.yaml")).remove(0);
    // By either name, whichever Istio it is.
    for name in &NAMES[1..3] {
        upstream.clear();
        let mut root = gateway(&upstream);
        patch(&mut root, &documents(&file("envoy/istio.yaml"))[1..]);
        let spec = &plugin["spec"];
        let variables = spec["vmConfig"]["env"].as_array().unwrap();
        let host =
            |variable: &Value| (variable["valueFrom"] == "HOST").then(|| variable["name"].clone());
        let keys: Vec<_> = variables.iter().filter_map(host).collect();
        let path = spec["url"].as_str().unwrap().strip_prefix("file://");
        insert(
            &mut root,
            name,
            &json!({
                "name": "istio-system.cohort",
                "configuration": string(&spec["pluginConfig"]),
                "failure_policy": spec["failStrategy"],
                "vm_config": {
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": path}},
                    "environment_variables": {"host_env_keys": keys, "key_values": {"ISTIO_META_WASM_PLUGIN_RESOURCE_VERSION": "1"}},
                },
            }),
        );
        serves(&root, &upstream, false).await;
    }
}

#[tokio::test]
async fn envoy_gateways_policies_serve_without_holding_them() {
    let upstream = Upstream::start(answer).await;
    let manifests = documents(&rendered(TARGETS[5].1, TUTORIAL));
    let mut root = gateway(&upstream);
    let clients = &manifests[1]["spec"];
    let hcm = root.pointer_mut(HCM).unwrap();
    let removed = clients["headers"]["earlyRequestHeaders"]["remove"]
        .as_array()
        .unwrap();
    let removed: Vec<_> = removed.iter().map(|name| json!({"remove": name})).collect();
    hcm["early_header_mutation_extensions"] = json!([{
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            "mutations": removed,
        },
    }]);
    let event_log =
        documents(&rendered(&["istio"], TUTORIAL))[1]["spec"]["configPatches"][0].clone();
    hcm["access_log"] = event_log["patch"]["value"]["typed_config"]["access_log"].clone();
    // The filter is off but on the routes that the policy names.
    let routes = hcm
        .pointer_mut("/route_config/virtual_hosts/0/routes")
        .unwrap();
    for route in routes.as_array_mut().unwrap() {
        if ["openai", "default"].contains(&route["name"].as_str().unwrap()) {
            route["typed_per_filter_config"] = json!({NAMES[3]: {
                "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
                "config": {},
            }});
        }
    }
    assert_eq!(clients["connection"]["bufferLimit"], "32Mi");
    root["static_resources"]["listeners"][0]["per_connection_buffer_limit_bytes"] = json!(32 << 20);
    let wasm = &manifests[0]["spec"]["wasm"][0];
    insert(
        &mut root,
        NAMES[3],
        &json!({
            "name": wasm["name"],
            "configuration": string(&wasm["config"]),
            "fail_open": wasm["failOpen"],
            "vm_config": {
                "vm_id": "cohort",
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": "/usr/share/cohort/cohort.wasm"}},
                "environment_variables": {"host_env_keys": wasm["env"]["hostKeys"]},
            },
        }),
    );
    let filters = &mut root.pointer_mut(HCM).unwrap()["http_filters"];
    filters[1]["disabled"] = json!(true);
    serves(&root, &upstream, false).await;
}
