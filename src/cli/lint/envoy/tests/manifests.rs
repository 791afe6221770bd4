use super::{Apart, Linted, check, linted};
use crate::config::Config;
use std::fs;
use std::path::Path;

/// What manifests say, by level and path.
fn said_of(name: &str, manifests: &str) -> Vec<String> {
    let path = std::env::temp_dir().join(format!("cohort-manifests-{}-{name}", std::process::id()));
    fs::write(&path, manifests).unwrap();
    let findings = check(std::slice::from_ref(&path), linted(true))
        .ok()
        .unwrap();
    fs::remove_file(&path).unwrap();
    let shown = findings.iter().map(|finding| {
        let object = finding.object();
        let of = |name: &str| object[name].as_str().unwrap().to_owned();
        format!("{} {} {}", of("level"), object["line"], of("path"))
    });
    shown.collect()
}

#[test]
fn manifests_say_it_in_their_own_words() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy");
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    let gateway = read("envoy-gateway.yaml");
    let line = |text: &str, of: &str| {
        let mut lines = text.lines();
        lines
            .position(|line| line.contains(of))
            .unwrap()
            .saturating_add(1)
    };
    let wrong = gateway.replace("hold_request_headers: false", "hold_request_headers: true");
    let first = line(&gateway, "- name: cohort");
    assert_eq!(
        said_of("hold", &wrong),
        [format!("error {first} spec.wasm[0]")]
    );
    let wrong = gateway.replace("failOpen: false", "failOpen: true");
    let at = line(&gateway, "failOpen");
    assert_eq!(
        said_of("open", &wrong),
        [format!("error {at} spec.wasm[0].failOpen")]
    );
    let wrong = gateway.replace("x-consumer, x-cohort-provider, ", "x-consumer, ");
    assert_eq!(
        said_of("early", &wrong),
        [format!("error {first} spec.wasm[0]")]
    );

    let plugin = read("istio-wasmplugin.yaml");
    // The routes are in another file: what is taken out early is not seen.
    assert_eq!(
        said_of("alone", &plugin),
        ["error 10 spec", "warning 10 spec"]
    );
    let wrong = plugin.replace("FAIL_RELOAD", "FAIL_OPEN");
    let at = line(&plugin, "failStrategy");
    assert_eq!(
        said_of("strategy", &wrong)[0],
        format!("error {at} spec.failStrategy")
    );
    let wrong = plugin.replace("  failStrategy: FAIL_RELOAD", "  phase: AUTHN");
    assert!(said_of("default", &wrong)[0].starts_with("warning "));

    let istio = read("istio.yaml");
    let wrong = istio.replace("allow_on_headers_stop_iteration: true", "name: x");
    assert_eq!(said_of("flag", &wrong).len(), 1);
    let wrong = istio.replace("failure_policy: FAIL_RELOAD", "failure_policy: FAIL_OPEN");
    assert_eq!(said_of("failure", &wrong).len(), 1);
    assert!(said_of("failure", &wrong)[0].starts_with("error "));
    let wrong = istio.replace("- { remove: x-consumer }", "- { remove: x-other }");
    assert_eq!(said_of("mutation", &wrong).len(), 1);
    assert!(said_of("mutation", &wrong)[0].ends_with(".config"));
}

/// The messages about manifests, with what the policy leaves to each Envoy.
fn messages(name: &str, manifests: &str, apart: Apart) -> Vec<String> {
    let path = std::env::temp_dir().join(format!("cohort-messages-{}-{name}", std::process::id()));
    fs::write(&path, manifests).unwrap();
    let policy = Linted { holds: true, apart };
    let findings = check(std::slice::from_ref(&path), policy).ok().unwrap();
    fs::remove_file(&path).unwrap();
    let shown = findings.iter().map(|finding| {
        let object = finding.object();
        format!(
            "{}: {}",
            object["path"].as_str().unwrap(),
            object["message"].as_str().unwrap()
        )
    });
    shown.collect()
}

#[test]
fn prompts_have_room_behind_control_planes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy");
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    let refused = |bytes: u64| format!("prompts over {bytes} bytes are refused with 413");
    let gateway = read("envoy-gateway.yaml");
    for (limit, bytes) in [
        ("64Ki", Some(65_536)),
        ("1M", Some(1_000_000)),
        ("32768", Some(32_768)),
        ("'32768'", Some(32_768)),
        ("2Mi", None),
        ("1G", None),
        ("1.5Gi", None),
    ] {
        let changed = gateway.replace("bufferLimit: 32Mi", &format!("bufferLimit: {limit}"));
        let said = messages("quantity", &changed, Apart::Limits);
        let expected =
            bytes.map(|bytes| format!("spec.connection.bufferLimit: {}", refused(bytes)));
        assert_eq!(said, Vec::from_iter(expected), "{limit}");
    }
    let changed = gateway.replace("connection: { bufferLimit: 32Mi }", "");
    assert_eq!(
        messages("none", &changed, Apart::Limits),
        [format!(
            "spec.wasm[0]: {} (Envoy Gateway's default)",
            refused(32_768)
        )]
    );
    let buffer = "---\nkind: BackendTrafficPolicy\nspec: { requestBuffer: { limit: 4Mi } }\n";
    assert_eq!(
        messages("buffer", &(gateway + buffer), Apart::Limits),
        [
            "spec.requestBuffer: holds bodies that the filter holds anyway, and refuses those over 4194304 bytes in its own words"
        ]
    );

    let istio = read("istio.yaml");
    let field = "request_body_buffer_limit: 33554432";
    let changed = istio.replace(field, "request_body_buffer_limit: 65536");
    let said = messages("istio", &changed, Apart::Limits);
    assert_eq!(said.len(), 1, "{said:?}");
    let end = format!("patch.value.request_body_buffer_limit: {}", refused(65_536));
    assert!(said[0].ends_with(&end), "{said:?}");
    let changed = istio.replace(field, "name: x");
    let said = messages("default", &changed, Apart::Limits);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].ends_with("1048576 bytes are refused with 413 (Envoy's default)"),
        "{said:?}"
    );
    // A listener's counts where no virtual host says more.
    let listener = "---\nkind: EnvoyFilter\nspec: { configPatches: [{ applyTo: LISTENER, patch: { value: { per_connection_buffer_limit_bytes: 32768 } } }] }\n";
    assert_eq!(
        messages("both", &(istio + listener), Apart::Limits),
        [""; 0]
    );
    let said = messages("listener", &(changed + listener), Apart::Limits);
    assert_eq!(
        said,
        [format!(
            "spec.configPatches[0].patch.value.per_connection_buffer_limit_bytes: {}",
            refused(32_768)
        )]
    );
}

#[test]
fn several_envoys_count_apart() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy");
    let gateway = fs::read_to_string(root.join("envoy-gateway.yaml")).unwrap();
    let pods = |kind: &str, name: &str, image: &str, count: &str| {
        format!(
            "---\nkind: {kind}\nmetadata: {{ name: {name} }}\nspec:\n  replicas: {count}\n  template: {{ spec: {{ containers: [{{ image: {image} }}] }} }}\n"
        )
    };
    let scaler = |of: &str| {
        format!(
            "---\nkind: HorizontalPodAutoscaler\nspec: {{ maxReplicas: 5, scaleTargetRef: {{ kind: Deployment, name: {of} }} }}\n"
        )
    };
    let proxy = |members: &str| {
        format!("---\nkind: EnvoyProxy\nspec: {{ provider: {{ kubernetes: {{ {members} }} }} }}\n")
    };
    let operator = "---\nkind: IstioOperator\nspec: { components: { ingressGateways: [{ k8s: { replicaCount: 2, hpaSpec: { maxReplicas: 4 } } }] } }\n";
    let base = "spec.provider.kubernetes";
    let k8s = "spec.components.ingressGateways[0].k8s";
    let cases: [(String, Vec<String>); 11] = [
        (
            pods("Deployment", "edge", "envoyproxy/envoy:v1.38", "3"),
            vec!["spec.replicas: up to 3".into()],
        ),
        (
            pods("StatefulSet", "edge", "istio/proxyv2:1.28", "2"),
            vec!["spec.replicas: up to 2".into()],
        ),
        (pods("Deployment", "edge", "auto", "1"), vec![]),
        (pods("Deployment", "app", "example/app:1", "3"), vec![]),
        (
            pods("DaemonSet", "edge", "auto", "1"),
            vec!["spec: an Envoy on each node".into()],
        ),
        (scaler("edge"), vec!["spec.maxReplicas: up to 5".into()]),
        (
            pods("Deployment", "app", "example/app:1", "1") + &scaler("app"),
            vec![],
        ),
        (
            proxy("envoyDeployment: { replicas: 2 }"),
            vec![format!("{base}.envoyDeployment.replicas: up to 2")],
        ),
        (
            proxy("envoyHpa: { maxReplicas: 9 }"),
            vec![format!("{base}.envoyHpa.maxReplicas: up to 9")],
        ),
        (
            proxy("envoyDaemonSet: {}"),
            vec![format!("{base}.envoyDaemonSet: an Envoy on each node")],
        ),
        (
            operator.to_owned(),
            vec![
                format!("{k8s}.replicaCount: up to 2"),
                format!("{k8s}.hpaSpec.maxReplicas: up to 4"),
            ],
        ),
    ];
    for (at, (manifest, expected)) in cases.iter().enumerate() {
        let all = gateway.clone() + manifest;
        let said = messages(&format!("replicas-{at}"), &all, Apart::Limits);
        let fits = said.len() == expected.len()
            && said
                .iter()
                .zip(expected)
                .all(|(said, expected)| said.starts_with(expected));
        assert!(fits, "{manifest}: {said:?}");
        let none = messages(&format!("service-{at}"), &all, Apart::Nothing);
        assert!(none.is_empty(), "{manifest}: {none:?}");
    }
}

#[test]
fn what_each_envoy_counts_is_what_no_service_does() {
    let apart = |rest: &str| {
        let policy = format!(
            "version: '1'\npricing: {{m: {{input_per_million: 1, output_per_million: 1}}}}\n{rest}"
        );
        Apart::of(&Config::from_yaml(&policy).unwrap())
    };
    let service = "counters: {store: rate_limit_service, cluster: limits}\n";
    let limited =
        "consumer_groups: [{name: a, api_key: key_of_a, rate_limits: {requests_per_minute: 1}}]\n";
    let each = "consumer_groups: [{name: a, api_key: key_of_a, consumer_rate_limits: {requests_per_minute: 1}}]\n";
    let budget = "budgets: [{amount_usd: 1, per: day}]\n";
    assert_eq!(apart(""), Apart::Nothing);
    assert_eq!(apart(limited), Apart::Limits);
    assert_eq!(apart(each), Apart::Limits);
    assert_eq!(apart(budget), Apart::Limits);
    assert_eq!(apart(&format!("{service}{limited}")), Apart::Nothing);
    assert_eq!(apart(&format!("{service}{budget}")), Apart::Budgets);
}
