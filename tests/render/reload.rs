//! An Envoy that follows a file: `render ecds` puts another policy in force, and the example says how.

use super::{TUTORIAL, answer, file, rendered, support};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;
use support::client::Request;
use support::envoy::{self, Running};
use support::upstream::Upstream;

const RELOADED: &str = "extension_config_discovery.http_filter.cohort.config_reload";
const FAILED: &str = "extension_config_discovery.http_filter.cohort.config_fail";
const FILE: &str = ".cohort/filter/cohort.yaml";
const ECDS: [&str; 3] = ["ecds", "--wasm", "target/cohort.wasm"];

/// The example with a provider and a site on this machine.
fn example(upstream: &Upstream) -> String {
    let mut example = support::yaml(&file("envoy/file-reload.yaml"));
    let clusters = &mut example["static_resources"]["clusters"];
    for name in ["openai", "docs"] {
        let clusters = clusters.as_array_mut().unwrap();
        let cluster = clusters.iter_mut().find(|cluster| cluster["name"] == name);
        *cluster.unwrap() = local(name, upstream);
    }
    example.to_string()
}

pub(crate) fn local(name: &str, upstream: &Upstream) -> Value {
    let address = upstream.address();
    let address =
        json!({"socket_address": {"address": address.ip(), "port_value": address.port()}});
    json!({
        "name": name,
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    })
}

/// As an operator does: the command writes where Envoy looks.
fn render(gateway: &Running, policy: &str) -> bool {
    std::fs::write(gateway.folder().join("policy.yaml"), policy).unwrap();
    let wasm = std::env::var("COHORT_WASM").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_cohort"))
        .current_dir(gateway.folder())
        .args(["render", "ecds", "--config", "policy.yaml"])
        .args(["--wasm", &wasm, "--output", FILE])
        .output();
    output.unwrap().status.success()
}

async fn wait_for(gateway: &Running, stat: &str, count: u64) {
    for _ in 0..500 {
        if gateway.stat(stat).await >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{stat} is not {count}");
}

#[tokio::test]
async fn a_file_that_is_replaced_is_in_force_and_what_is_not_for_models_is_left_alone() {
    let upstream = Upstream::start(answer).await;
    let filter = rendered(&ECDS, TUTORIAL);
    let bootstrap = example(&upstream)
        .replace("\"port_value\":41001", "\"port_value\":0")
        .replace("\"port_value\":41002", "\"port_value\":0");
    let Some(gateway) = envoy::serve(&bootstrap, &[(FILE, &filter)]).await else {
        return;
    };
    let ask = |key: &str, model: &str| gateway.send(Request::chat(key, model));
    assert_eq!(
        ask("kt_cg_marketing_def456", "gpt-4o-mini").await.status,
        200
    );
    assert_eq!(
        upstream.last().header("authorization"),
        Some(&b"Bearer sk-of-the-test"[..])
    );
    assert_eq!(ask("kt_cg_marketing_def456", "gpt-4o").await.status, 403);
    assert_eq!(ask("nobody", "gpt-4o-mini").await.status, 401);

    // Health checks, preflights and other sites: no key, no event, and nothing is taken out.
    assert_eq!(gateway.send(Request::get("/healthz")).await.status, 200);
    let preflight = Request::new("OPTIONS", "/v1/chat/completions")
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "POST");
    assert_eq!(gateway.send(preflight).await.status, 204);
    let page = Request::get("/docs/index.html").bearer("of-the-site");
    assert_eq!(gateway.send(page).await.status, 200);
    assert_eq!(
        upstream.last().header("authorization"),
        Some(&b"Bearer of-the-site"[..])
    );
    assert_eq!(upstream.last().header("x-consumer-group"), None);
    // An OPTIONS that is no preflight is nobody's.
    let options = Request::new("OPTIONS", "/v1/chat/completions");
    assert_eq!(gateway.send(options).await.status, 401);

    let before = gateway.stat(RELOADED).await;
    let policy =
        file(TUTORIAL).replace("allowed_models: [gpt-4o-mini]", "allowed_models: [gpt-4o]");
    assert!(render(&gateway, &policy));
    wait_for(&gateway, RELOADED, before + 1).await;
    assert_eq!(ask("kt_cg_marketing_def456", "gpt-4o").await.status, 200);
    assert_eq!(
        ask("kt_cg_marketing_def456", "gpt-4o-mini").await.status,
        403
    );
    // What is invalid does not get that far; and what gets there by hand changes nothing.
    assert!(!render(&gateway, "version: '2'\n"));
    let broken = filter.replace("\"version\": \"1\"", "\"version\": \"2\"");
    let wasm = std::env::var("COHORT_WASM").unwrap();
    let next = gateway.folder().join("next.yaml");
    std::fs::write(&next, broken.replace("target/cohort.wasm", &wasm)).unwrap();
    std::fs::rename(next, gateway.folder().join(FILE)).unwrap();
    wait_for(&gateway, FAILED, 1).await;
    assert_eq!(ask("kt_cg_marketing_def456", "gpt-4o").await.status, 200);
    assert_eq!(gateway.events(7).await.len(), 7);
    gateway.assert_healthy().await;
}

/// The example is the command's, with a site besides.
#[test]
fn the_example_is_what_is_rendered() {
    let arguments = ["envoy", "--filter-file", FILE];
    let rendered = support::yaml(&rendered(&arguments, TUTORIAL));
    let mut shown = support::yaml(&file("envoy/file-reload.yaml"));
    let routes = format!("{}/route_config/virtual_hosts/0/routes", envoy::HCM);
    let routes = shown.pointer_mut(&routes).unwrap().as_array_mut().unwrap();
    routes.retain(|route| route["name"] != "docs");
    let clusters = &mut shown["static_resources"]["clusters"];
    let clusters = clusters.as_array_mut().unwrap();
    clusters.retain(|cluster| cluster["name"] != "docs");
    // The command names the host besides, for Envoy's `auto_host_rewrite` of addresses that are no names.
    let host = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint";
    clusters[0].pointer_mut(host).unwrap()["hostname"] = json!("api.openai.com");
    assert_eq!(shown, rendered);
}
