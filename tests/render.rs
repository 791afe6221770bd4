//! `cohort render`: what comes out is what it was, is what Envoy takes, and is what API servers take.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

#[path = "render/crd.rs"]
mod crd;
#[path = "render/docs.rs"]
mod docs;
#[path = "render/istio.rs"]
mod istio;
#[path = "render/reload.rs"]
mod reload;

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use support::envoy;
use support::upstream::{Answer, Seen, chat};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const TUTORIAL: &str = "testdata/config/valid/tutorial.yaml";
/// What each target needs where there is no default.
const TARGETS: [(&str, &[&str]); 9] = [
    ("envoy", &["envoy"]),
    (
        "envoy.file",
        &["envoy", "--filter-file", "/etc/cohort/filter.yaml"],
    ),
    ("ecds", &["ecds"]),
    (
        "istio",
        &["istio", "--wasm", "oci://registry.example.com/cohort:0.1.0"],
    ),
    ("istio.wasm-plugin", &["istio", "--form", "wasm-plugin"]),
    (
        "envoy-gateway",
        &[
            "envoy-gateway",
            "--wasm",
            "https://example.com/cohort.wasm",
            "--sha256",
            SHA256,
        ],
    ),
    (
        "envoy-gateway.image",
        &[
            "envoy-gateway",
            "--wasm",
            "oci://registry.example.com/cohort:0.1.0",
        ],
    ),
    ("ratelimit", &["ratelimit"]),
    ("limitador", &["limitador"]),
];
const SHA256: &str = "3a7f0e3b33c3e74cb1ebe1a7114632debae4d0b7fda4990631a4e2614b6f3bf2";

/// Exit code, stdout, stderr.
fn cohort(arguments: &[&str], config: &str) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_cohort"))
        .current_dir(ROOT)
        .arg("render")
        .args(arguments)
        .args(["--config", config])
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap();
    (code, text(output.stdout), text(output.stderr))
}

fn rendered(arguments: &[&str], config: &str) -> String {
    let (code, stdout, stderr) = cohort(arguments, config);
    assert_eq!(code, 0, "{arguments:?}: {stderr}");
    stdout
}

/// A provider, and a site beside it.
fn answer(seen: &Seen) -> Answer {
    match seen.method.as_str() {
        "GET" => Answer::new(200),
        _ => chat(seen),
    }
}

/// The documents of a YAML stream.
fn documents(text: &str) -> Vec<Value> {
    let documents = text.split("\n---\n").map(support::yaml);
    documents.filter(|document| !document.is_null()).collect()
}

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

/// Every file that Kubernetes is to take, rendered or written by hand.
fn manifests() -> Vec<(String, Vec<Value>)> {
    let kubernetes = |name: &str| name.starts_with("istio") || name.starts_with("envoy-gateway");
    let rendered = TARGETS.iter().filter(|(name, _)| kubernetes(name));
    let mut all: Vec<_> = rendered
        .map(|(name, arguments)| ((*name).to_owned(), documents(&rendered_tutorial(arguments))))
        .collect();
    for name in ["istio", "istio-wasmplugin", "envoy-gateway"] {
        let path = format!("envoy/{name}.yaml");
        all.push((path.clone(), documents(&file(&path))));
    }
    all
}

fn rendered_tutorial(arguments: &[&str]) -> String {
    rendered(arguments, TUTORIAL)
}

/// `UPDATE=1 cargo test --test render` writes what is rendered now; read the difference before committing it.
#[test]
fn the_tutorial_is_rendered_as_it_was() {
    for (name, arguments) in TARGETS {
        let path = Path::new(ROOT).join(format!("testdata/render/tutorial.{name}.yaml"));
        let text = rendered_tutorial(arguments);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(text, kept, "{name}; UPDATE=1 writes it");
    }
}

#[test]
fn no_target_gets_a_plain_key() {
    let mut keys = 0;
    for name in ["tutorial", "everything", "minimal", "levels"] {
        let config = format!("testdata/config/valid/{name}.yaml");
        let policy = support::yaml(&file(&config));
        let owners = ["consumer_groups", "consumers"].map(|list| policy[list].as_array());
        let plain: Vec<&str> = (owners.into_iter().flatten().flatten())
            .flat_map(|owner| {
                let several = owner["api_keys"].as_array().into_iter().flatten();
                [&owner["api_key"]].into_iter().chain(several)
            })
            .filter_map(Value::as_str)
            .collect();
        keys += plain.len();
        for (target, arguments) in TARGETS {
            let upstreams = [
                "--upstream",
                "rate_limit=grpc://10.0.0.8:8081",
                "--upstream",
                "default=http://10.0.0.9:8080",
            ];
            let given: &[&str] = if target.starts_with("envoy.") || target == "envoy" {
                &upstreams
            } else {
                &[]
            };
            let (code, text, _) = cohort(&[arguments, given].concat(), &config);
            // One of them chooses its provider by the model, which not every host can wait for.
            assert!(code == 0 || name == "everything", "{target}: {name}");
            for key in &plain {
                assert!(!text.contains(key), "{target} holds {key} of {name}");
            }
        }
    }
    assert_eq!(keys, 5, "otherwise nothing was looked for");
}

/// The bootstrap with the filter that was built, which runs over its configuration.
#[tokio::test]
async fn envoy_takes_what_is_rendered_for_it() {
    let wasm = ["envoy", "--wasm", "target/cohort.wasm"];
    let limits = ["--upstream", "rate_limit=grpc://127.0.0.1:8081"];
    let default = ["--upstream", "default=http://127.0.0.1:8080"];
    let moderation = ["--upstream", "moderation=https://moderation.example.org"];
    let azure = ["--address", "0.0.0.0", "--port", "8080", "--logs", "/tmp"];
    for (name, arguments) in [
        ("tutorial", wasm.to_vec()),
        ("tutorial", [&wasm[..], &azure].concat()),
        ("everything", [&wasm[..], &moderation].concat()),
        ("levels", [&wasm[..], &limits, &default].concat()),
    ] {
        let config = format!("testdata/config/valid/{name}.yaml");
        let Some(result) = envoy::validate(&rendered(&arguments, &config)).await else {
            return;
        };
        assert_eq!(result, Ok(()), "{name}");
    }
}

#[test]
fn api_servers_know_every_field_and_would_tell_of_others() {
    let kinds = crd::kinds();
    let mut misspelt = 0;
    for (name, documents) in manifests() {
        for manifest in documents {
            assert_eq!(crd::problems(&manifest, &kinds), [""; 0], "{name}");
            for wrong in crd::misspelt(&manifest) {
                assert_ne!(crd::problems(&wrong, &kinds), [""; 0], "{wrong}");
                misspelt += 1;
            }
        }
    }
    assert!(misspelt > 100, "{misspelt}");
    // And every value of a wrong kind, and what is missing.
    let plugin = documents(&file("envoy/istio-wasmplugin.yaml")).remove(0);
    for (pointer, value) in [
        ("/spec/failStrategy", Value::from("FAIL_CLOSED")),
        ("/spec/vmConfig/env", Value::from("OPENAI_API_KEY")),
        ("/spec/url", Value::from(1)),
        ("/kind", Value::from("WasmPlugins")),
        ("/metadata/name", Value::Null),
    ] {
        let mut wrong = plugin.clone();
        *wrong.pointer_mut(pointer).unwrap() = value;
        assert_eq!(crd::problems(&wrong, &kinds).len(), 1, "{pointer}");
    }
    let mut without = plugin;
    without["spec"].as_object_mut().unwrap().remove("url");
    assert_eq!(crd::problems(&without, &kinds).len(), 1);
}

/// What is shown in `envoy/` begins with what is rendered.
#[test]
fn the_examples_are_what_is_rendered() {
    let image = "registry.example.com/cohort:0.1.0";
    for (path, arguments) in [
        ("envoy/istio.yaml", &["istio"][..]),
        (
            "envoy/envoy-gateway.yaml",
            &["envoy-gateway", "--wasm", image],
        ),
        (
            "envoy/istio-wasmplugin.yaml",
            &["istio", "--form", "wasm-plugin"],
        ),
    ] {
        let shown = documents(&file(path));
        let rendered = documents(&rendered_tutorial(arguments));
        let same = rendered.len().min(shown.len());
        assert_eq!(shown[..same], rendered[..same], "{path}");
    }
}

#[test]
fn a_policy_that_a_host_would_read_otherwise_is_refused() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("refused");
    fs::create_dir_all(&folder).unwrap();
    let price = "{input_per_million: 1, output_per_million: 2}";
    let sorted = format!("version: '1'\npricing:\n  gpt-4o-mini: {price}\n  'gpt-4o*': {price}\n");
    let of_group = format!(
        "version: '1'\nconsumer_groups:\n  - name: a\n  - name: b\n    pricing: {{o3: {price}, '*': {price}}}\n"
    );
    let apart = format!("version: '1'\npricing:\n  o3: {price}\n  gpt-4o: {price}\n");
    let by_model = "version: '1'\nproviders: {targets: [{id: a, provider: openai, models: [gpt-*]}, {id: b, provider: vllm}]}\n";
    let gateway = TARGETS[5].1;
    let plugin = TARGETS[4].1;
    for (policy, arguments, code, said) in [
        (
            &*sorted,
            gateway,
            1,
            "error: pricing: Kubernetes sorts maps, and `gpt-4o*` would come before `gpt-4o-mini`",
        ),
        (&sorted, plugin, 1, "would come before"),
        (
            &of_group,
            gateway,
            1,
            "error: consumer_groups[1].pricing: Kubernetes sorts maps",
        ),
        (&sorted, &["istio"], 0, ""),
        (
            &apart,
            gateway,
            0,
            "`hold_request_headers: false` is written into the policy",
        ),
        (
            by_model,
            gateway,
            1,
            "while `models` choose between several providers",
        ),
        (
            by_model,
            plugin,
            1,
            "while `models` choose between several providers",
        ),
        (by_model, &["istio"], 0, ""),
        (
            "version: '1'\nhold_request_headers: false\n",
            gateway,
            0,
            "",
        ),
        ("version: '2'\n", &["ecds"], 1, "unknown version"),
    ] {
        let path = folder.join("policy.yaml");
        fs::write(&path, policy).unwrap();
        let (found, stdout, stderr) = cohort(arguments, path.to_str().unwrap());
        assert_eq!(found, code, "{policy}: {stderr}");
        assert!(
            stderr.contains(said) && stderr.is_empty() == said.is_empty(),
            "{stderr}"
        );
        assert_eq!(stdout.is_empty(), code == 1);
    }
    // Who does not hold headers needs no pair of patches.
    fs::write(
        folder.join("policy.yaml"),
        "version: '1'\nhold_request_headers: false\n",
    )
    .unwrap();
    let text = rendered(&["istio"], folder.join("policy.yaml").to_str().unwrap());
    assert_eq!(documents(&text)[0]["kind"], "WasmPlugin");
}
