//! What is compared: Envoy's own filters, and ours with a policy. Each gets a listener in one bootstrap.

use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

/// Of each contender: its name, and its file in this folder, an Envoy that does nothing else.
const PEERS: [(&str, &str); 5] = [
    ("passthrough", include_str!("passthrough.yaml")),
    ("native", include_str!("native.yaml")),
    (SAME_WORK, include_str!("native-usage.yaml")),
    ("native-ai-usage", include_str!("native-ai-usage.yaml")),
    ("lua", include_str!("lua.yaml")),
];
/// Does what we do: key, allow-list, limit, usage; and has a line of JSON for each request in its access log.
pub(crate) const SAME_WORK: &str = "native-usage";
/// The same with Envoy's `ratelimit` filter in place of `local_ratelimit`.
pub(crate) const SAME_WORK_ASKING: &str = "native-usage, ratelimit filter";
pub(crate) const OURS: &str = "cohort";

/// What a listener does.
pub(crate) enum Contender {
    /// Envoy's own filters, one of [`PEERS`].
    Peer(&'static str),
    /// [`SAME_WORK`], counted by a rate-limit service.
    PeerAsking,
    /// Our filter with this policy.
    Ours(&'static str, Value),
}

impl Contender {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Peer(name) | Self::Ours(name, _) => name,
            Self::PeerAsking => SAME_WORK_ASKING,
        }
    }

    /// All of Envoy's own.
    pub(crate) fn peers() -> impl Iterator<Item = Self> {
        PEERS.iter().map(|(name, _)| Self::Peer(name))
    }

    fn listener(&self, wasm: &str, folder: &Path) -> Value {
        let log = format!("{}.log", self.name());
        match self {
            Self::Peer(name) => {
                let mut listener = peer(name)["listeners"][0].clone();
                if *name == SAME_WORK {
                    manager(&mut listener)["access_log"] = file_log(folder, &log, line());
                }
                listener
            }
            Self::PeerAsking => {
                let mut listener = Self::Peer(SAME_WORK).listener(wasm, folder);
                let manager = manager(&mut listener);
                manager["access_log"] = file_log(folder, &log, line());
                manager["route_config"]["virtual_hosts"][0]["rate_limits"] = json!([{"actions": [
                    {"request_headers": {"header_name": "x-group", "descriptor_key": "group"}},
                ]}]);
                let filters = manager["http_filters"].as_array_mut().unwrap();
                let local = filters
                    .iter_mut()
                    .find(|filter| filter["name"] == "envoy.filters.http.local_ratelimit");
                *local.unwrap() = json!({
                    "name": "envoy.filters.http.ratelimit",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit",
                        "domain": "cohort",
                        "timeout": "10s",
                        "failure_mode_deny": true,
                        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
                        "rate_limit_service": {
                            "transport_api_version": "V3",
                            "grpc_service": {"envoy_grpc": {"cluster_name": "ratelimit"}},
                        },
                    },
                });
                listener
            }
            Self::Ours(name, policy) => {
                let mut listener = peer("passthrough")["listeners"][0].clone();
                listener["per_connection_buffer_limit_bytes"] = (32 << 20).into();
                let event = json!({"text_format_source": {"inline_string": "%FILTER_STATE(wasm.cohort_event:PLAIN)%\n"}});
                let filter = json!({
                    "name": "cohort",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                        "config": {
                            "name": name,
                            "root_id": name,
                            "failure_policy": "FAIL_RELOAD",
                            "allow_on_headers_stop_iteration": true,
                            "vm_config": {"vm_id": name, "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": wasm}}},
                            "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": policy.to_string()},
                        },
                    },
                });
                let manager = manager(&mut listener);
                manager["access_log"] = file_log(folder, &log, event);
                let filters = manager["http_filters"].as_array_mut().unwrap();
                filters.insert(0, filter);
                listener
            }
        }
    }
}

fn peer(name: &str) -> Value {
    let (_, text) = PEERS.iter().find(|(of, _)| *of == name).unwrap();
    let mut peer: Value = serde_saphyr::from_str(text).unwrap();
    peer["static_resources"].take()
}

/// As much as our event says, and Envoy knows.
fn line() -> Value {
    json!({"json_format": {
        "time": "%START_TIME%", "status": "%RESPONSE_CODE%", "details": "%RESPONSE_CODE_DETAILS%", "ms": "%DURATION%",
        "path": "%REQ(:PATH)%", "consumer": "%REQ(x-consumer)%", "in": "%BYTES_RECEIVED%", "out": "%BYTES_SENT%", "upstream": "%UPSTREAM_HOST%",
    }})
}

fn manager(listener: &mut Value) -> &mut Value {
    &mut listener["filter_chains"][0]["filters"][0]["typed_config"]
}

fn file_log(folder: &Path, name: &str, format: Value) -> Value {
    json!([{"name": "envoy.access_loggers.file", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": folder.join(name),
        "log_format": format,
    }}])
}

/// All of them in one bootstrap with this port for Envoy's admin interface, and their ports.
pub(crate) fn bootstrap(
    contenders: &[Contender],
    admin: u16,
    upstream: u16,
    service: Option<SocketAddr>,
    wasm: &str,
    folder: &Path,
) -> (Value, Vec<(&'static str, u16)>) {
    let (mut listeners, mut ports) = (Vec::new(), Vec::new());
    for contender in contenders {
        let port = free_port();
        let mut listener = contender.listener(wasm, folder);
        listener["name"] = contender.name().into();
        listener["address"]["socket_address"]["port_value"] = port.into();
        listeners.push(listener);
        ports.push((contender.name(), port));
    }
    let mut clusters = Vec::<Value>::new();
    for (name, _) in PEERS {
        for cluster in peer(name)["clusters"].as_array().unwrap() {
            if !(clusters.iter()).any(|known| known["name"] == cluster["name"]) {
                let text = cluster.to_string().replace("22100", &upstream.to_string());
                clusters.push(serde_json::from_str(&text).unwrap());
            }
        }
    }
    if let Some(service) = service {
        let address = json!({"socket_address": {"address": service.ip().to_string(), "port_value": service.port()}});
        clusters.push(json!({
            "name": "ratelimit",
            "type": "STATIC",
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }},
            "load_assignment": {"cluster_name": "ratelimit", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]},
        }));
    }
    let bootstrap = json!({
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin}}},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    });
    (bootstrap, ports)
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Six groups with the tutorial's kinds of limits, none of which trips, and none too large for a rate-limit service.
pub(crate) fn policy(keys: usize) -> Value {
    let groups: Vec<Value> = (0..6)
        .map(|group| {
            let own = if group < 5 { keys.div_ceil(5) } else { 1 };
            let keys: Vec<String> = (0..own).map(|key| format!("sk-team-{group}-{key:02}-0123456789abcdef")).collect();
            let models: Vec<String> = (0..8).map(|model| format!("model-{model}")).chain(["gpt-4o-mini".to_owned(), "gpt-4o".to_owned()]).collect();
            json!({
                "name": format!("team-{group}"),
                "api_keys": keys,
                "allowed_models": models,
                "rate_limits": {"requests_per_minute": 100_000_000_u64, "tokens_per_minute": 4_000_000_000_u64, "tokens_per_day": 4_000_000_000_u64},
            })
        })
        .collect();
    json!({"version": "1", "consumer_groups": groups})
}

/// The same, with something said at the top.
pub(crate) fn policy_with(keys: usize, field: &str, value: Value) -> Value {
    let mut policy = policy(keys);
    policy[field] = value;
    policy
}

/// A thousand groups of the same kind, ten thousand consumers in them, and their keys.
pub(crate) fn crowded(keys: usize) -> Value {
    let mut policy = policy(0);
    let group = policy["consumer_groups"][0].clone();
    let groups = (0..1_000).map(|number| {
        let mut group = group.clone();
        group["name"] = format!("group-{number}").into();
        group.as_object_mut().unwrap().remove("api_keys");
        group
    });
    let consumers = (0..10_000).map(|number| {
        let own: Vec<String> = (0..keys / 10_000)
            .map(|key| match (number, key) {
                (0, 0) => "sk-team-1-00-0123456789abcdef".to_owned(),
                _ => format!("sk-user-{number:05}-{key:02}-0123456789abcdef"),
            })
            .collect();
        let group = format!("group-{}", number % 1_000);
        json!({"name": format!("user-{number}"), "groups": [group], "api_keys": own})
    });
    policy["consumers"] = consumers.collect();
    policy["consumer_groups"] = groups.collect();
    policy
}
