//! A real Envoy with the filter. Its bootstrap is `envoy/demo.yaml`, the one that users run, with the test's
//! policy, clusters and ports put in.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use super::client::{Request, Response};

const DEMO: &str = include_str!("../../envoy/demo.yaml");
/// How often to look, and how many times, when waiting: 20 s in all, on a machine that does other things too.
const PAUSE: Duration = Duration::from_millis(20);
const TRIES: u32 = 1000;

/// The value of an environment variable that `make test` sets. Without it the test is skipped, aloud; in CI it fails.
pub(crate) fn required(variable: &str) -> Option<String> {
    let value = env::var(variable).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        let test = thread::current().name().unwrap_or("a test").to_owned();
        assert!(
            env::var_os("CI").is_none(),
            "{test}: {variable} is not set, and CI must not skip"
        );
        // Not `eprintln`: the test harness would swallow it.
        let _ = writeln!(
            io::stderr(),
            "SKIPPED {test}: {variable} is not set; `make test` sets it"
        );
    }
    value
}

/// What `envoy --mode validate` says about a configuration: it loads the filter and runs its `on_configure`.
pub(crate) async fn validate(config: &str) -> Option<Result<(), String>> {
    let (envoy, wasm) = (required("ENVOY")?, required("COHORT_WASM")?);
    let dir = Dir::new();
    fs::write(
        dir.path("envoy.yaml"),
        config.replace("target/cohort.wasm", &wasm),
    )
    .unwrap();
    fs::create_dir(dir.path(".cohort")).unwrap();
    let output = Command::new(envoy)
        .args([
            "--mode",
            "validate",
            "--log-level",
            "warning",
            "--disable-hot-restart",
            "-c",
            "envoy.yaml",
        ])
        .env("OPENAI_API_KEY", "sk-of-the-test")
        .current_dir(&dir.0)
        .output()
        .await
        .expect("Envoy starts");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(if output.status.success() {
        Ok(())
    } else {
        Err(log)
    })
}

/// Serves a bootstrap as it is, with other ports and the filter that was built; the files beside it stand in its folder.
pub(crate) async fn serve(bootstrap: &str, files: &[(&str, &str)]) -> Option<Running> {
    let (envoy, wasm) = (required("ENVOY")?, required("COHORT_WASM")?);
    let dir = Dir::new();
    fs::create_dir(dir.path(".cohort")).unwrap();
    let bootstrap = bootstrap
        .replace("port_value: 41001", "port_value: 0")
        .replace("port_value: 41002", "port_value: 0")
        .replace(".cohort/events.jsonl", "events.jsonl");
    for (name, text) in [("envoy.yaml", &*bootstrap)].iter().chain(files) {
        let path = dir.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.replace("target/cohort.wasm", &wasm)).unwrap();
    }
    Some(launch(&envoy, dir, "envoy.yaml", 2, Value::Null).await)
}

/// Starts Envoy in a folder and waits until it serves.
async fn launch(envoy: &str, dir: Dir, bootstrap: &str, workers: u32, filter: Value) -> Running {
    let log = fs::File::create(dir.path("envoy.log")).unwrap();
    let child = Command::new(envoy)
        .args([
            "--disable-hot-restart",
            "--service-node",
            "test",
            "--service-cluster",
            "test",
        ])
        .args([
            "--log-level",
            "warning",
            "--component-log-level",
            "wasm:debug",
        ])
        .args(["--file-flush-interval-msec", "50"])
        .args(["--concurrency", &workers.to_string()])
        .arg("--admin-address-path")
        .arg(dir.path("admin"))
        .args(["-c", bootstrap])
        .env("OPENAI_API_KEY", "sk-of-the-test")
        .current_dir(&dir.0)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .expect("Envoy starts");
    let mut running = Running {
        child,
        dir,
        filter,
        version: 0,
        address: ([127, 0, 0, 1], 0).into(),
        admin: None,
    };
    running.wait().await;
    running
}

type Edit = Box<dyn Fn(&mut Value) + Send>;

/// A gateway to be started. Without a cluster of its own, requests find none.
pub(crate) struct Gateway {
    policy: Value,
    clusters: Vec<(String, SocketAddr)>,
    grpc_clusters: Vec<(String, SocketAddr)>,
    edits: Vec<Edit>,
    environment: BTreeMap<String, String>,
    workers: u32,
    buffer_limit: Option<u32>,
    hold_request_headers: bool,
    reloadable: bool,
    upgrades: Vec<String>,
    http2_upstreams: bool,
}

impl Gateway {
    pub(crate) fn new(policy: Value) -> Self {
        Self {
            policy,
            clusters: Vec::new(),
            grpc_clusters: Vec::new(),
            edits: Vec::new(),
            environment: BTreeMap::new(),
            workers: 2,
            buffer_limit: None,
            hold_request_headers: true,
            reloadable: false,
            upgrades: Vec::new(),
            http2_upstreams: false,
        }
    }

    /// A route by this name to a cluster, for requests that carry a field of this value.
    pub(crate) fn route(self, name: &str, field: &str, cluster: &str) -> Self {
        let route = json!({
            "name": name,
            "match": {
                "prefix": "/",
                "headers": [{"name": field, "string_match": {"exact": name}}],
            },
            "route": {"cluster": cluster},
        });
        self.edit(move |bootstrap| {
            let routes = at(bootstrap, HCM).pointer_mut("/route_config/virtual_hosts/0/routes");
            let routes = routes
                .and_then(Value::as_array_mut)
                .expect("there are routes");
            routes.insert(0, route.clone());
        })
    }

    /// Speaks HTTP/2 to the upstreams, without TLS.
    pub(crate) fn http2_upstreams(mut self) -> Self {
        self.http2_upstreams = true;
        self
    }

    /// A cluster, and the route that the filter picks with `x-cohort-provider: NAME`; the first is the default route's.
    pub(crate) fn cluster(mut self, name: &str, address: SocketAddr) -> Self {
        self.clusters.push((name.to_owned(), address));
        self
    }

    /// A cluster that the filter calls by gRPC: over HTTP/2, and with no route to it.
    pub(crate) fn grpc_cluster(mut self, name: &str, address: SocketAddr) -> Self {
        self.grpc_clusters.push((name.to_owned(), address));
        self
    }

    /// Changes Envoy's configuration where nothing else here does, as the last step.
    pub(crate) fn edit(mut self, edit: impl Fn(&mut Value) + Send + 'static) -> Self {
        self.edits.push(Box::new(edit));
        self
    }

    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn workers(mut self, workers: u32) -> Self {
        self.workers = workers;
        self
    }

    /// In place of the example's.
    pub(crate) fn buffer_limit(mut self, bytes: u32) -> Self {
        self.buffer_limit = Some(bytes);
        self
    }

    /// As where Envoy's `allow_on_headers_stop_iteration` cannot be set. The policy's key is the test's to write.
    pub(crate) fn without_header_hold(mut self) -> Self {
        self.hold_request_headers = false;
        self
    }

    /// Reads the filter's configuration from a file that [`Running::reload`] replaces.
    pub(crate) fn reloadable(mut self) -> Self {
        self.reloadable = true;
        self
    }

    /// Lets connections upgrade to another protocol, which Envoy does not do by itself.
    pub(crate) fn upgrades(mut self, protocol: &str) -> Self {
        self.upgrades.push(protocol.to_owned());
        self
    }

    /// Starts it and waits until it serves. `None`: there is no Envoy or no filter here, the test is skipped.
    pub(crate) async fn start(self) -> Option<Running> {
        let (envoy, wasm) = (required("ENVOY")?, required("COHORT_WASM")?);
        let dir = Dir::new();
        let filter = self.filter(&wasm);
        fs::create_dir(dir.path("filter")).unwrap();
        write_filter(&dir, &filter, 0);
        fs::write(
            dir.path("envoy.json"),
            self.bootstrap(&filter, &dir).to_string(),
        )
        .unwrap();

        Some(launch(&envoy, dir, "envoy.json", self.workers, filter).await)
    }

    fn filter(&self, wasm: &str) -> Value {
        let mut filter = at(&mut example(), HCM)["http_filters"][0]["typed_config"].take();
        let config = &mut filter["config"];
        config["allow_on_headers_stop_iteration"] = json!(self.hold_request_headers);
        config["configuration"]["value"] = self.policy.clone();
        config["vm_config"]["code"]["local"]["filename"] = json!(wasm);
        let mut environment = config["vm_config"]["environment_variables"]["key_values"].take();
        for (name, value) in &self.environment {
            environment[name] = json!(value);
        }
        config["vm_config"]["environment_variables"]["key_values"] = environment;
        filter
    }

    fn bootstrap(&self, filter: &Value, dir: &Dir) -> Value {
        let mut bootstrap = example();
        *at(&mut bootstrap, "/admin/address/socket_address/port_value") = json!(0);
        let listener = at(&mut bootstrap, "/static_resources/listeners/0");
        listener["address"]["socket_address"]["port_value"] = json!(0);
        if let Some(limit) = self.buffer_limit {
            listener["per_connection_buffer_limit_bytes"] = json!(limit);
        }

        let hcm = at(&mut bootstrap, HCM);
        hcm["access_log"][0]["typed_config"]["path"] = json!(dir.path("events.jsonl"));
        hcm["access_log"][1]["typed_config"]["path"] = json!(dir.path("access.log"));
        let upgrades = self.upgrades.iter();
        hcm["upgrade_configs"] = upgrades
            .map(|protocol| json!({"upgrade_type": protocol}))
            .collect();
        hcm["http_filters"][0] = if self.reloadable {
            json!({"name": "cohort", "config_discovery": {
                "type_urls": [filter["@type"]],
                "config_source": {
                    "resource_api_version": "V3",
                    "path_config_source": {
                        "path": dir.path("filter/cohort.json"),
                        "watched_directory": {"path": dir.path("filter")},
                    },
                },
            }})
        } else {
            json!({"name": "cohort", "typed_config": filter})
        };

        let host = at(hcm, "/route_config/virtual_hosts/0");
        if let Some(limit) = self.buffer_limit {
            host["request_body_buffer_limit"] = json!(limit);
        }
        let routes = host["routes"]
            .as_array_mut()
            .expect("the example has routes");
        let mut default = routes.pop().expect("the last route is the default one");
        let provider = routes.pop().expect("the route before it is a provider's");
        for (name, _) in &self.clusters {
            let mut route = provider.clone();
            route["name"] = json!(name);
            route["match"]["headers"][0]["string_match"]["exact"] = json!(name);
            route["route"]["cluster"] = json!(name);
            routes.push(route);
        }
        default["route"]["cluster"] = json!(self.clusters.first().map_or("none", |(name, _)| name));
        routes.push(default);

        let clusters = at(&mut bootstrap, "/static_resources/clusters");
        let mut cluster = clusters[0].take();
        let mut grpc = cluster.clone();
        grpc["typed_extension_protocol_options"] = http2_options();
        if self.http2_upstreams {
            cluster["typed_extension_protocol_options"] = http2_options();
        }
        let of = |template, list: &[(String, SocketAddr)]| -> Vec<Value> {
            list.iter()
                .map(|(name, address)| with_endpoint(template, name, *address))
                .collect()
        };
        *clusters = [of(&cluster, &self.clusters), of(&grpc, &self.grpc_clusters)]
            .concat()
            .into();
        for edit in &self.edits {
            edit(&mut bootstrap);
        }
        bootstrap
    }
}

/// HTTP/2 without TLS, with prior knowledge.
fn http2_options() -> Value {
    json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        },
    })
}

fn with_endpoint(cluster: &Value, name: &str, address: SocketAddr) -> Value {
    let mut cluster = cluster.clone();
    cluster["name"] = json!(name);
    cluster["load_assignment"]["cluster_name"] = json!(name);
    *at(
        &mut cluster,
        "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address",
    ) = json!({"address": address.ip(), "port_value": address.port()});
    cluster
}

/// Where the example keeps its HTTP connection manager.
pub(crate) const HCM: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

fn example() -> Value {
    super::yaml(DEMO)
}

fn at<'a>(value: &'a mut Value, pointer: &str) -> &'a mut Value {
    value
        .pointer_mut(pointer)
        .unwrap_or_else(|| panic!("envoy/demo.yaml has no {pointer}"))
}

/// The filter's configuration as an extension-configuration resource, put in place in one step.
fn write_filter(dir: &Dir, filter: &Value, version: u32) {
    let resource = json!({
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": "cohort",
        "typed_config": filter,
    });
    let response = json!({"version_info": version.to_string(), "resources": [resource]});
    fs::write(dir.path("cohort.next"), response.to_string()).unwrap();
    fs::rename(dir.path("cohort.next"), dir.path("filter/cohort.json")).unwrap();
}

/// A gateway that serves, until it is dropped.
pub(crate) struct Running {
    child: Child,
    dir: Dir,
    filter: Value,
    version: u32,
    address: SocketAddr,
    admin: Option<SocketAddr>,
}

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it runs, with its logs.
    pub(crate) fn folder(&self) -> &Path {
        &self.dir.0
    }

    /// Sends a request that must be answered.
    pub(crate) async fn send(&self, request: Request) -> Response {
        request.send(self.address).await.expect("an answer")
    }

    /// A page of Envoy's admin interface.
    pub(crate) async fn admin(&self, path: &str) -> String {
        let address = self.admin.expect("Envoy has told its admin address");
        Request::get(path)
            .send(address)
            .await
            .expect("the admin page answers")
            .text()
    }

    /// Envoy's counters and gauges by name.
    pub(crate) async fn stats(&self) -> BTreeMap<String, u64> {
        let stats = self.admin("/stats").await;
        let numbers = stats.lines().filter_map(|line| line.rsplit_once(": "));
        numbers
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect()
    }

    /// One counter or gauge; 0 where Envoy does not know it (yet).
    pub(crate) async fn stat(&self, name: &str) -> u64 {
        self.stats().await.get(name).copied().unwrap_or_default()
    }

    /// Waits until the event log has this many lines, and gives them all.
    pub(crate) async fn events(&self, count: usize) -> Vec<Value> {
        let mut events = Vec::new();
        for _ in 0..TRIES {
            // Of a line that is being written there may be no more than the beginning.
            events = (self.file("events.jsonl").split_inclusive('\n'))
                .filter(|line| line.ends_with('\n'))
                .map(str::to_owned)
                .collect();
            if events.len() >= count {
                break;
            }
            sleep(PAUSE).await;
        }
        assert!(
            events.len() >= count,
            "{} events, not {count}: {events:#?}",
            events.len()
        );
        events
            .iter()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    }

    pub(crate) fn events_path(&self) -> PathBuf {
        self.dir.path("events.jsonl")
    }

    pub(crate) fn access_log(&self) -> String {
        self.file("access.log")
    }

    pub(crate) fn log(&self) -> String {
        self.file("envoy.log")
    }

    /// Everything Envoy and the filter say about themselves, but for the configuration: where a secret must not be.
    pub(crate) async fn everything_said(&self) -> String {
        let pages = [
            self.admin("/stats").await,
            self.admin("/stats/prometheus").await,
            self.admin("/clusters").await,
        ];
        [
            pages.concat(),
            self.log(),
            self.access_log(),
            self.file("events.jsonl"),
        ]
        .concat()
    }

    /// Replaces the policy while requests are served. The error is Envoy's log since then.
    pub(crate) async fn reload(&mut self, policy: &Value) -> Result<(), String> {
        let before = (
            self.stat(RELOADED).await,
            self.stat(REJECTED).await,
            self.log().len(),
        );
        self.filter["config"]["configuration"]["value"] = policy.clone();
        self.version += 1;
        write_filter(&self.dir, &self.filter, self.version);
        for _ in 0..TRIES {
            if self.stat(REJECTED).await > before.1 {
                return Err(self.log().split_off(before.2));
            }
            if self.stat(RELOADED).await > before.0 {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
        panic!(
            "Envoy did not take notice of the new policy: {}",
            self.log()
        );
    }

    /// Ordinary requests are served, on whichever worker, by a filter that never died.
    pub(crate) async fn assert_serves(&self, key: &str, model: &str) {
        for _ in 0..4 {
            let answer = self.send(Request::chat(key, model)).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        self.assert_healthy().await;
    }

    /// The filter's VM never died, and neither it nor Envoy had anything critical to say.
    pub(crate) async fn assert_healthy(&self) {
        let stats = self.stats().await;
        let reloads: Vec<_> = stats
            .iter()
            .filter(|(name, count)| name.contains("vm_reload") && **count > 0)
            .collect();
        assert!(
            reloads.is_empty(),
            "the filter's VM died: {reloads:?}\n{}",
            self.log()
        );
        let log = self.log();
        // "failed to load": a refused configuration, which is a test's own doing.
        let bad = log.lines().find(|line| {
            line.contains("panicked")
                || (line.contains("][critical]") && !line.contains("failed to load"))
        });
        assert_eq!(bad, None, "in Envoy's log");
    }

    async fn wait(&mut self) {
        for _ in 0..TRIES {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("Envoy stopped ({status}):\n{}", self.log());
            }
            self.admin = self.file("admin").trim().parse().ok();
            if let Some(admin) = self.admin
                && Request::get("/ready")
                    .send(admin)
                    .await
                    .is_ok_and(|answer| answer.status == 200)
            {
                let listeners: Value =
                    serde_json::from_str(&self.admin("/listeners?format=json").await).unwrap();
                let port = listeners
                    .pointer("/listener_statuses/0/local_address/socket_address/port_value");
                let port = port
                    .and_then(Value::as_u64)
                    .expect("Envoy says where it listens");
                self.address.set_port(port.try_into().unwrap());
                return;
            }
            sleep(PAUSE).await;
        }
        panic!("Envoy is not ready:\n{}", self.log());
    }

    fn file(&self, name: &str) -> String {
        fs::read(self.dir.path(name))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}

const RELOADED: &str = "extension_config_discovery.http_filter.cohort.config_reload";
const REJECTED: &str = "extension_config_discovery.http_filter.cohort.update_rejected";

/// A directory of the test's own, kept when the test fails.
pub(super) struct Dir(PathBuf);

impl Dir {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "gateway-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = writeln!(io::stderr(), "the logs are in {}", self.0.display());
        } else {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
