mod manifests;

use super::super::finding::Level;
use super::super::replicas::Apart;
use super::{Linted, check};
use crate::config::json_from_yaml;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const HCM: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

fn demo() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/envoy/demo.yaml");
    let text = fs::read_to_string(path).unwrap();
    serde_json::from_str(&json_from_yaml(&text).unwrap()).unwrap()
}

fn linted(holds: bool) -> Linted {
    Linted {
        holds,
        apart: Apart::Limits,
    }
}

/// What is said of a document: level, the end of the path, and the message.
fn said(name: &str, document: &Value, holds: bool) -> Vec<(Level, String, String)> {
    let path = std::env::temp_dir().join(format!("cohort-lint-{}-{name}", std::process::id()));
    fs::write(&path, document.to_string()).unwrap();
    let findings = check(std::slice::from_ref(&path), linted(holds))
        .ok()
        .unwrap();
    fs::remove_file(&path).unwrap();
    let shown = findings.into_iter().map(|finding| {
        let object = finding.object();
        assert!(object["help"].is_string(), "{object}");
        let place = object["path"].as_str().unwrap();
        assert_eq!(place.is_empty(), object["line"].is_null(), "{object}");
        let end = place.rsplit("typed_config.").next().unwrap().to_owned();
        (
            finding.level,
            end,
            object["message"].as_str().unwrap().to_owned(),
        )
    });
    shown.collect()
}

/// What is said once the demo's connection manager was changed, by end of path.
fn changed(name: &str, change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut document = demo();
    change(document.pointer_mut(HCM).unwrap());
    let said = said(name, &document, true);
    said.into_iter()
        .map(|(level, path, message)| {
            let level = if level == Level::Error {
                "error"
            } else {
                "warning"
            };
            let words: Vec<_> = message.split(' ').take(6).collect();
            format!("{level} {path}: {}", words.join(" "))
        })
        .collect()
}

fn plugin(manager: &mut Value) -> &mut Value {
    manager
        .pointer_mut("/http_filters/0/typed_config/config")
        .unwrap()
}

fn insert(manager: &mut Value, at: usize, name: &str, more: &Value) {
    let mut typed = more.clone();
    typed["@type"] = json!(format!(
        "type.googleapis.com/envoy.extensions.filters.http.{name}"
    ));
    let filters = manager["http_filters"].as_array_mut().unwrap();
    filters.insert(at, json!({"name": name, "typed_config": typed}));
}

#[test]
fn what_the_repository_has_fits() {
    for file in [
        "demo.yaml",
        "openai.yaml",
        "compose/envoy.yaml",
        "istio.yaml",
        "istio-wasmplugin.yaml istio.yaml",
        "envoy-gateway.yaml",
    ] {
        let envoy = Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy");
        let paths: Vec<_> = file.split(' ').map(|file| envoy.join(file)).collect();
        let findings = check(&paths, linted(true)).ok().unwrap();
        let objects: Vec<_> = findings.iter().map(super::Finding::object).collect();
        assert!(objects.is_empty(), "{file}: {objects:?}");
    }
}

#[test]
fn a_filter_that_dies_must_come_back() {
    let cases = [
        (
            json!("FAIL_OPEN"),
            "error config.failure_policy: should the filter die, its worker",
        ),
        (
            json!(3),
            "error config.failure_policy: should the filter die, its worker",
        ),
        (
            json!("FAIL_CLOSED"),
            "warning config.failure_policy: should the filter die, its worker",
        ),
        (
            Value::Null,
            "warning config.failure_policy: should the filter die, its worker",
        ),
    ];
    for (policy, expected) in cases {
        let found = changed("failure", |manager| {
            plugin(manager)["failure_policy"] = policy;
        });
        assert_eq!(found, [expected]);
    }
    let found = changed("open", |manager| plugin(manager)["fail_open"] = json!(true));
    assert_eq!(
        found,
        ["error config.fail_open: should the filter die, its worker"]
    );
    assert!(
        changed("reload", |manager| plugin(manager)["failure_policy"] =
            json!(1))
        .is_empty()
    );
}

#[test]
fn headers_wait_as_the_policy_says() {
    let flag = "allow_on_headers_stop_iteration";
    let hangs = format!("error config.{flag}: is not true, and the policy's");
    for value in [json!(false), Value::Null] {
        let found = changed("hold", |manager| plugin(manager)[flag] = value);
        assert_eq!(found, [&*hangs]);
    }
    let wrapped = json!({"value": true});
    assert!(changed("wrapped", |manager| plugin(manager)[flag] = wrapped).is_empty());
    // The policy that stands there is the one that runs.
    let both = changed("both", |manager| {
        let plugin = plugin(manager);
        plugin[flag] = json!(false);
        plugin["configuration"]["value"]["hold_request_headers"] = json!(false);
    });
    assert!(both.is_empty(), "{both:?}");
    let as_text = changed("text", |manager| {
        let policy = json!({"version": "1", "consumer_groups": [], "hold_request_headers": false});
        plugin(manager)["configuration"] = json!({"value": policy.to_string()});
    });
    assert_eq!(
        as_text,
        [format!(
            "warning config.{flag}: is true, and the policy's `hold_request_headers`"
        )]
    );
    // Where it stands elsewhere, what was linted is.
    let mut document = demo();
    let plugin = document.pointer_mut(HCM).map(plugin).unwrap();
    plugin["configuration"] = json!({"value": ""});
    assert!(said("elsewhere", &document, true).is_empty());
    assert_eq!(said("elsewhere", &document, false).len(), 1);
}

/// A text keeps the order of prices, a map does not.
#[test]
fn prices_of_a_map_do_not_hang_on_their_order() {
    let priced = |names: [&str; 2]| {
        let price = json!({"input_per_million": 1, "output_per_million": 1});
        let [a, b] = names;
        json!({"version": "1", "consumer_groups": [{"name": "a", "pricing": {a: price, b: price}}], "hold_request_headers": false})
    };
    let said_of = |policy: Value| {
        changed("prices", |manager| {
            let plugin = plugin(manager);
            plugin["allow_on_headers_stop_iteration"] = json!(false);
            plugin["configuration"] = json!({"value": policy});
        })
    };
    let mini = priced(["gpt-4o-mini", "gpt-4o*"]);
    assert_eq!(
        said_of(mini.clone()),
        [
            "warning config.configuration.value.consumer_groups[0].pricing: a map has no order: `gpt-4o*`"
        ]
    );
    assert!(said_of(json!(mini.to_string())).is_empty());
    assert!(said_of(priced(["gpt-4o", "gpt-4o*"])).is_empty());
    let manifest = json!({"kind": "WasmPlugin", "spec": {"pluginConfig": mini, "failStrategy": "FAIL_RELOAD"}});
    let found = said("wasm-plugin-order", &manifest, false);
    let (level, path, message) = found
        .iter()
        .find(|(_, path, _)| path.contains("pricing"))
        .unwrap();
    assert!(*level == Level::Warning && path == "spec.pluginConfig.consumer_groups[0].pricing");
    assert!(message.contains("before `gpt-4o-mini`"), "{message}");
}

#[test]
fn filters_stand_where_they_do_no_harm() {
    let at = "http_filters[0]";
    let body = json!({"with_request_body": {"max_request_bytes": 1}});
    let streamed = json!({"processing_mode": {"request_body_mode": "STREAMED"}});
    let none = json!({});
    for (name, more, before, behind) in [
        ("buffer.v3.Buffer", &none, "warning", "warning"),
        ("ext_authz.v3.ExtAuthz", &none, "", ""),
        ("ext_authz.v3.ExtAuthz", &body, "warning", ""),
        ("ext_proc.v3.ExternalProcessor", &none, "", ""),
        (
            "ext_proc.v3.ExternalProcessor",
            &streamed,
            "warning",
            "warning",
        ),
        ("lua.v3.Lua", &none, "warning", "warning"),
        ("cache.v3.CacheConfig", &none, "error", ""),
        (
            "credential_injector.v3.CredentialInjector",
            &none,
            "warning",
            "",
        ),
        ("jwt_authn.v3.JwtAuthentication", &none, "", ""),
        ("cors.v3.Cors", &none, "", ""),
        ("ratelimit.v3.RateLimit", &none, "", ""),
    ] {
        for (place, expected) in [(0, before), (1, behind)] {
            let found = changed("order", |manager| insert(manager, place, name, more));
            let wanted = format!("{expected} http_filters[{place}]: `{name}`");
            let fits = match expected {
                "" => found.is_empty(),
                _ => found.len() == 1 && found[0].starts_with(&wanted),
            };
            assert!(fits, "{name} at {place}: {found:?}");
        }
    }
    let found = changed("router", |manager| {
        let filters = manager["http_filters"].as_array_mut().unwrap();
        filters.swap(0, 1);
    });
    assert_eq!(found, [format!("error {at}: the router is not the last")]);
    let found = changed("none", |manager| {
        manager["http_filters"].as_array_mut().unwrap().pop();
    });
    assert_eq!(found.len(), 1);
    assert!(
        found[0].ends_with("there is no router: no request"),
        "{found:?}"
    );
    let found = changed("off", |manager| {
        manager["http_filters"][0]["disabled"] = json!(true);
    });
    assert_eq!(
        found,
        [format!("warning {at}.disabled: the filter is off but on")]
    );
}

#[test]
fn callers_pick_no_route() {
    let name = "early_header_mutation_extensions";
    let set = |mutations: Value| {
        changed("early", |manager| {
            manager[name][0]["typed_config"]["mutations"] = mutations;
        })
    };
    let gone = changed("early", |manager| {
        manager.as_object_mut().unwrap().remove(name);
    });
    assert_eq!(gone.len(), 1);
    assert!(
        gone[0].contains(&format!(
            "{name}: callers can send x-consumer, x-cohort-provider,"
        )),
        "{gone:?}"
    );
    let half = set(json!([{"remove": "X-Consumer"}]));
    assert!(
        half[0].contains("callers can send x-cohort-provider,"),
        "{half:?}"
    );
    let prefix = |text: &str| json!({"remove_on_match": {"key_matcher": {"prefix": text}}});
    assert!(set(json!([{"remove": "x-consumer"}, prefix("x-cohort")])).is_empty());
    let regex = json!({"remove_on_match": {"key_matcher": {"safe_regex": {"regex": "^x-(consumer|cohort-.*)$"}}}});
    assert!(!set(json!([regex])).is_empty());
    let regexes = json!({"remove_on_match": {"key_matcher": {"safe_regex": {"regex": "^(x-consumer|x-cohort-.*)$"}}}});
    assert!(set(json!([regexes])).is_empty());
    let all = set(json!([prefix("x-co")]));
    assert_eq!(
        all,
        [format!(
            "warning {name}: `x-consumer-group` is taken out: callers in"
        )]
    );
}

#[test]
fn callers_choose_no_address() {
    let set = |name: &str, value: Value| {
        changed("address", |manager| {
            manager
                .as_object_mut()
                .unwrap()
                .remove("use_remote_address");
            manager[name] = value;
        })
    };
    let at = "use_remote_address";
    let said = [format!(
        "warning {at}: callers choose by X-Forwarded-For under which"
    )];
    assert_eq!(set(at, json!(false)), said);
    assert_eq!(set("xff_num_trusted_hops", json!(1)), said);
    assert!(set(at, json!(true)).is_empty());
    let custom = json!([{"name": "envoy.http.original_ip_detection.custom_header"}]);
    assert!(set("original_ip_detection_extensions", custom).is_empty());
}

#[test]
fn prompts_have_room() {
    let host = "route_config.virtual_hosts[0]";
    let field = "request_body_buffer_limit";
    let room = |host_limit: Option<u64>, route: Option<(&str, u64)>, listener: Option<u64>| {
        let mut document = demo();
        if let Some(limit) = listener {
            document["static_resources"]["listeners"][0]["per_connection_buffer_limit_bytes"] =
                json!(limit);
        }
        let manager = document.pointer_mut(HCM).unwrap();
        let value = manager
            .pointer_mut("/route_config/virtual_hosts/0")
            .unwrap();
        match host_limit {
            Some(limit) => value[field] = json!(limit),
            None => drop(value.as_object_mut().unwrap().remove(field)),
        }
        if let Some((name, limit)) = route {
            // 0 and 1 leave the filter out, 2 and 3 lead to the provider.
            value["routes"][0][name] = json!(1);
            value["routes"][3][name] = json!(limit);
        }
        let found = said("room", &document, true).into_iter();
        found
            .map(|(_, path, message)| format!("{path}: {message}"))
            .collect::<Vec<_>>()
    };
    let told = |path: &str, bytes: u64| {
        [format!(
            "{path}: prompts over {bytes} bytes are refused with 413"
        )]
    };
    assert_eq!(
        room(None, None, None),
        [format!(
            "{host}: prompts over 1048576 bytes are refused with 413 (Envoy's default)"
        )]
    );
    assert_eq!(
        room(Some(65_536), None, None),
        told(&format!("{host}.{field}"), 65_536)
    );
    assert_eq!(
        room(Some(1 << 25), Some((field, 4096)), None),
        told(&format!("{host}.routes[3].{field}"), 4096)
    );
    assert_eq!(room(Some(1 << 25), None, Some(32_768)), [""; 0]);
    let lower = "per_request_buffer_limit_bytes";
    assert_eq!(
        room(None, Some((lower, 4096)), Some(1 << 24)),
        told(&format!("{host}.routes[3].{lower}"), 4096)
    );
    assert_eq!(room(None, Some((lower, 1 << 30)), Some(1 << 24)), [""; 0]);
    let listener = "static_resources.listeners[0].per_connection_buffer_limit_bytes";
    assert_eq!(room(None, None, Some(32_768)), told(listener, 32_768));
}

#[test]
fn what_is_delivered_is_looked_at_where_it_is() {
    let write = |name: &str, document: &Value| -> PathBuf {
        let path = std::env::temp_dir().join(format!("cohort-xds-{}-{name}", std::process::id()));
        fs::write(&path, document.to_string()).unwrap();
        path
    };
    let mut bootstrap = demo();
    let manager = bootstrap.pointer_mut(HCM).unwrap();
    let mut filter = manager["http_filters"][0]["typed_config"].take();
    manager["http_filters"][0] = json!({"name": "cohort", "config_discovery": {
        "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"],
    }});
    let routes = manager
        .as_object_mut()
        .unwrap()
        .remove("route_config")
        .unwrap();
    manager["rds"] = json!({"route_config_name": "llm"});
    filter["config"]["failure_policy"] = json!("FAIL_OPEN");
    let filter = json!({"resources": [{
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": "cohort",
        "typed_config": filter,
    }]});
    let mut routes = json!({"resources": [routes]});
    routes["resources"][0]["@type"] =
        json!("type.googleapis.com/envoy.config.route.v3.RouteConfiguration");
    routes["resources"][0]["virtual_hosts"][0]["request_body_buffer_limit"] = json!("4096");
    let files = [
        write("boot", &bootstrap),
        write("filter", &filter),
        write("routes", &routes),
    ];
    let paths = |files: &[PathBuf]| -> Vec<String> {
        let findings = check(files, linted(true)).ok().unwrap();
        findings.into_iter().map(|finding| finding.path).collect()
    };
    assert_eq!(
        paths(&files[..1]),
        ["static_resources.listeners[0].filter_chains[0].filters[0].typed_config.http_filters[0]"]
    );
    assert_eq!(
        paths(&files),
        [
            "resources[0].typed_config.config.failure_policy",
            "resources[0].virtual_hosts[0].request_body_buffer_limit",
        ]
    );
    assert_eq!(paths(&files[2..]).len(), 2, "and nothing runs the filter");
    for file in files {
        fs::remove_file(file).unwrap();
    }
}
