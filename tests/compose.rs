//! `compose.yaml` and what it mounts, as far as it can be checked without a container engine.

mod support;

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::demo::{self, Demo};
use support::envoy;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const ENVOY: &str = include_str!("../envoy/compose/envoy.yaml");
const DEMO: &str = include_str!("../envoy/demo.yaml");
const DASHBOARD: &str = include_str!("../envoy/compose/grafana/cohort.json");

fn compose() -> Value {
    support::yaml(include_str!("../compose.yaml"))
}

/// Every file that a service mounts is there, or is one that `make build` makes; every image says which version.
#[test]
fn services_find_what_they_mount() {
    let compose = compose();
    let services = compose["services"].as_object().unwrap();
    assert_eq!(
        services.keys().collect::<Vec<_>>(),
        [
            "envoy",
            "grafana",
            "prometheus",
            "ratelimit",
            "redis",
            "upstream"
        ]
    );
    let volumes = compose["volumes"].as_object().unwrap();
    for (name, service) in services {
        match service["image"].as_str() {
            Some(image) => {
                let (_, tag) = image.rsplit_once(':').expect(image);
                assert!(tag != "latest" && tag != "master", "{image}");
            }
            None => assert!(service["build"]["dockerfile_inline"].is_string(), "{name}"),
        }
        for mount in service["volumes"].as_array().into_iter().flatten() {
            let source = mount.as_str().unwrap().split(':').next().unwrap();
            let known = match source.strip_prefix("./") {
                Some("target/cohort.wasm" | ".cohort") => true,
                Some(path) => Path::new(ROOT).join(path).is_file(),
                None => volumes.contains_key(source),
            };
            assert!(known, "{name} mounts {source}");
        }
        let needed = service["depends_on"].as_array().into_iter().flatten();
        for needed in needed {
            assert!(
                services.contains_key(needed.as_str().unwrap()),
                "{name}: {needed}"
            );
        }
        // Nothing but this machine reaches what has no password.
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(
                port.as_str().unwrap().starts_with("127.0.0.1:"),
                "{name}: {port}"
            );
        }
    }
}

/// The Compose Specification's own schema takes it, and would not take a misspelt field of any service.
#[test]
fn it_is_what_the_compose_specification_takes() {
    let Some(python) = envoy::required("PYTHON") else {
        return;
    };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let judge = |document: &Value| {
        let file = folder.join(format!("compose-{}.json", std::process::id()));
        fs::write(&file, document.to_string()).unwrap();
        let checked = Command::new(&python)
            .args(["-m", "check_jsonschema", "--builtin-schema"])
            .args(["vendor.compose-spec", "--output-format", "json"])
            .arg(&file)
            .output()
            .unwrap();
        fs::remove_file(&file).unwrap();
        let said: Value = serde_json::from_slice(&checked.stdout).expect("a verdict");
        assert_eq!(checked.status.success(), said["status"] == "ok", "{said}");
        (checked.status.success(), said)
    };
    let compose = compose();
    let (taken, said) = judge(&compose);
    assert!(taken, "{said}");
    for (path, field) in [
        ("/services/envoy", "ports"),
        ("/services/redis", "image"),
        ("/services/upstream/build", "dockerfile_inline"),
    ] {
        let mut wrong = compose.clone();
        let fields = wrong.pointer_mut(path).unwrap().as_object_mut().unwrap();
        let value = fields.remove(field).unwrap();
        fields.insert(format!("{field}_"), value);
        let (taken, said) = judge(&wrong);
        assert!(
            !taken && said.to_string().contains(&format!("{field}_")),
            "{path}: {said}"
        );
    }
}

#[tokio::test]
async fn its_envoy_is_valid_and_serves_the_tutorial() {
    if let Some(result) = envoy::validate(ENVOY).await {
        assert_eq!(result, Ok(()));
    }
    let policy = |text| {
        let example = support::yaml(text);
        let filter = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config";
        example.pointer(filter).unwrap()["config"]["configuration"]["value"].clone()
    };
    let mut own = policy(ENVOY);
    let counters = own.as_object_mut().unwrap().remove("counters").unwrap();
    assert_eq!(counters["store"], "rate_limit_service");
    assert_eq!(own, policy(DEMO));
}

/// Prometheus' own tool reads its files.
#[test]
fn alerts_are_rules_that_prometheus_takes() {
    let folder = Path::new(ROOT).join("envoy/compose");
    let checked = Command::new("promtool")
        .args(["check", "config", "prometheus.yaml"])
        .current_dir(folder)
        .output();
    match checked {
        Ok(output) => assert!(output.status.success(), "{output:?}"),
        Err(_) => skipped("promtool"),
    }
}

/// What the dashboard and the alerts ask for is what a gateway with some traffic says.
#[tokio::test]
async fn every_query_finds_something() {
    if Command::new("prometheus")
        .arg("--version")
        .output()
        .is_err()
    {
        return skipped("prometheus");
    }
    let Some(demo) = Demo::start().await else {
        return;
    };
    let chat = r#"for i in 1 2 3; do for key in engineering_abc123 marketing_def456; do curl -s -o /dev/null http://127.0.0.1:41002/v1/chat/completions -H "authorization: Bearer kt_cg_$key" -H 'content-type: application/json' -d '{"model":"gpt-4o","messages":[]}'; done; done"#;
    let chat = &chat.replace("41002", &demo.port().to_string());
    demo.bash(chat);
    let port = demo::free_port();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("prometheus-{port}"));
    fs::create_dir_all(&folder).unwrap();
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name: envoy\n    metrics_path: /stats/prometheus\n    static_configs: [{{targets: ['127.0.0.1:{}']}}]\n",
        demo.port() - 1
    );
    fs::write(folder.join("prometheus.yaml"), config).unwrap();
    let prometheus = Prometheus(
        Command::new("prometheus")
            .args(["--config.file=prometheus.yaml", "--storage.tsdb.path=data"])
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(&folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let ask = |query: &str| -> Option<usize> {
        let output = Command::new("curl")
            .args(["-s", "--get", "--data-urlencode"])
            .arg(format!("query={query}"))
            .arg(format!("http://127.0.0.1:{port}/api/v1/query"))
            .output()
            .unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).ok()?;
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].as_array().map(Vec::len)
    };
    for _ in 0..100 {
        demo.bash(chat);
        if ask("rate(cohort_requests[30s])").is_some_and(|found| found > 0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut silent = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"]
                .as_str()
                .unwrap()
                .replace("$__rate_interval", "30s");
            if ask(&query) != Some(0) {
                continue;
            }
            silent.push(query);
        }
    }
    // There are no prices in the tutorial, and nothing went wrong.
    for expected in [
        "cohort_cost_micro_usd",
        "cohort_store_errors",
        "cohort_budget_alerts",
    ] {
        silent.retain(|query| !query.contains(expected));
    }
    assert_eq!(silent, [""; 0]);
    let alerts = support::yaml(include_str!("../envoy/compose/alerts.yaml"));
    for rule in alerts["groups"][0]["rules"].as_array().unwrap() {
        ask(rule["expr"].as_str().unwrap()).unwrap();
    }
    drop(prometheus);
    let _ = fs::remove_dir_all(&folder);
    assert!(demo.interrupt().await.success());
}

struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn skipped(what: &str) {
    // Not `eprintln`: the test harness would swallow it.
    let _ = writeln!(
        io::stderr(),
        "SKIPPED: there is no {what} here (Debian's package prometheus)"
    );
}
