//! What the filter costs Envoy, beside Envoy's own filters at the same work: CPU time of the Envoy process per request.
//!
//! One Envoy, one worker, one listener for each contender, the upstream outside; rounds are interleaved, so that what else
//! the machine does meets all of them. `make bench` runs it and writes the table into `docs/performance.md`;
//! `make bench QUICK=1` only prints a short one. Needs `wrk`.
#![allow(
    clippy::pedantic,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark fails by panicking, and prints"
)]

mod upstream;

use serde_json::{Value, json};
use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

/// Of each contender: its name, and its file in this folder, an Envoy that does nothing else.
const PEERS: [(&str, &str); 5] = [
    ("passthrough", include_str!("passthrough.yaml")),
    ("native", include_str!("native.yaml")),
    ("native-usage", include_str!("native-usage.yaml")),
    ("native-ai-usage", include_str!("native-ai-usage.yaml")),
    ("lua", include_str!("lua.yaml")),
];
/// Does what we do: key, allow-list, limit, usage; and has a line of JSON for each request in its access log.
const SAME_WORK: &str = "native-usage";
const OURS: &str = "cohort";

const BEGIN: &str = "<!-- make bench: begin -->\n";
const END: &str = "<!-- make bench: end -->\n";

fn main() {
    if let Some(port) = env::args()
        .skip_while(|argument| argument != "upstream")
        .nth(1)
    {
        let listener = TcpListener::bind(("127.0.0.1", port.parse().unwrap())).unwrap();
        return upstream::serve(&listener);
    }
    if Command::new("wrk").arg("-v").output().is_err() {
        println!("NOT MEASURED: wrk is missing (Debian's package wrk)");
        return;
    }
    let (Ok(envoy), Ok(wasm)) = (env::var("ENVOY"), env::var("COHORT_WASM")) else {
        println!("NOT MEASURED: ENVOY and COHORT_WASM are not set; `make bench` sets them");
        return;
    };
    let quick = env::var("QUICK").is_ok_and(|quick| !quick.is_empty());
    let mut report = String::new();
    let mut kinds = vec![
        ("200 B", 200, false),
        ("16 KB", 16 << 10, false),
        ("256 KB", 256 << 10, false),
        ("SSE answer", 200, true),
    ];
    if !quick {
        kinds.push(("900 KB", 900 << 10, false));
    }
    let rounds = if quick { 3 } else { 5 };
    let seconds = 1;
    let bench = Bench::start(&envoy, &wasm, 1, 101, false);
    let names: Vec<&str> = PEERS.iter().map(|(name, _)| *name).chain([OURS]).collect();
    let _ = writeln!(
        report,
        "CPU microseconds of Envoy per request (times `{SAME_WORK}` in the same round, median of {rounds} rounds of {seconds} s; 101 keys, 6 groups, 10 models a group):\n"
    );
    let _ = writeln!(
        report,
        "| | {} |",
        kinds
            .iter()
            .map(|(name, ..)| *name)
            .collect::<Vec<_>>()
            .join(" | ")
    );
    let _ = writeln!(report, "|---|{}", "---|".repeat(kinds.len()));
    let mut columns = Vec::new();
    for (_, size, stream) in &kinds {
        columns.push(bench.measure(&names, *size, *stream, rounds, seconds));
    }
    for (row, name) in names.iter().enumerate() {
        let cells: Vec<String> = columns
            .iter()
            .map(|column| {
                let (cpu, ratio) = column[row];
                format!("{cpu:.0} ({ratio:.2})")
            })
            .collect();
        let _ = writeln!(report, "| {name} | {} |", cells.join(" | "));
    }
    drop(bench);
    if !quick {
        let _ = writeln!(
            report,
            "\nThe filter with more keys, 200 B (times `{SAME_WORK}`, which has 101), and with two workers:\n"
        );
        let _ = writeln!(
            report,
            "| keys | workers | CPU us | start of Envoy | memory of a VM |\n|---|---|---|---|---|"
        );
        for (keys, workers, crowd) in [
            (10, 1, false),
            (10_000, 1, false),
            (100_000, 1, false),
            (100_000, 1, true),
            (101, 2, false),
        ] {
            let bench = Bench::start(&envoy, &wasm, workers, keys, crowd);
            let column = bench.measure(&[SAME_WORK, OURS], 200, false, rounds, seconds);
            let (cpu, ratio) = column[1];
            let of = if crowd {
                " of 10,000 consumers in 1,000 groups"
            } else {
                ""
            };
            let _ = writeln!(
                report,
                "| {keys}{of} | {workers} | {cpu:.0} ({ratio:.2}) | {} ms | {:.1} MB |",
                bench.started_in.as_millis(),
                bench.memory() as f64 / 1e6,
            );
        }
    }
    println!("{report}");
    if !quick {
        let version = Command::new(&envoy)
            .arg("--version")
            .output()
            .unwrap()
            .stdout;
        let version = String::from_utf8_lossy(&version);
        let version = version.split('/').nth(1).unwrap_or("?").to_owned();
        let date = Command::new("date")
            .arg("+%Y-%m-%d")
            .output()
            .unwrap()
            .stdout;
        let size = fs::metadata(&wasm).unwrap().len();
        let head = format!(
            "{}, Envoy {version}, `cohort.wasm` of {size} bytes.\n\n",
            String::from_utf8_lossy(&date).trim()
        );
        write_down(&(head + &report));
    }
}

/// An Envoy with all contenders, and their upstream.
struct Bench {
    envoy: Child,
    upstream: Child,
    ports: Vec<(String, u16)>,
    admin: u64,
    folder: PathBuf,
    started_in: Duration,
}

impl Bench {
    fn start(envoy: &str, wasm: &str, workers: u32, keys: usize, crowd: bool) -> Self {
        let folder = env::temp_dir().join(format!(
            "cohort-bench-{}-{keys}-{workers}",
            std::process::id()
        ));
        fs::create_dir_all(&folder).unwrap();
        let port = free_port();
        let upstream = Command::new(env::current_exe().unwrap())
            .args(["upstream", &port.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let policy = if crowd { crowded(keys) } else { policy(keys) };
        let (bootstrap, ports) = bootstrap(port, wasm, &policy, &folder);
        let admin = &bootstrap["admin"]["address"]["socket_address"]["port_value"];
        let admin = admin.as_u64().unwrap();
        let file = folder.join("envoy.json");
        fs::write(&file, bootstrap.to_string()).unwrap();
        let log = fs::File::create(folder.join("envoy.log")).unwrap();
        let began = std::time::Instant::now();
        let envoy = Command::new(envoy)
            .args([
                "--concurrency",
                &workers.to_string(),
                "--disable-hot-restart",
                "--log-level",
                "error",
                "-c",
            ])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut bench = Self {
            envoy,
            upstream,
            ports,
            admin,
            folder,
            started_in: Duration::ZERO,
        };
        let ours = bench.port(OURS);
        while std::net::TcpStream::connect(("127.0.0.1", ours)).is_err() {
            thread::sleep(Duration::from_millis(5));
            assert!(
                bench.envoy.try_wait().unwrap().is_none(),
                "{}",
                fs::read_to_string(bench.folder.join("envoy.log")).unwrap()
            );
        }
        bench.started_in = began.elapsed();
        bench
    }

    fn port(&self, name: &str) -> u16 {
        self.ports.iter().find(|(of, _)| of == name).unwrap().1
    }

    /// CPU microseconds per request and the ratio to [`SAME_WORK`], medians, for each contender.
    fn measure(
        &self,
        names: &[&str],
        size: usize,
        stream: bool,
        rounds: usize,
        seconds: u32,
    ) -> Vec<(f64, f64)> {
        let script = self.folder.join("request.lua");
        fs::write(self.folder.join("body"), body(size, stream)).unwrap();
        fs::write(
            &script,
            format!(
                "local f = io.open('{}', 'rb') wrk.method = 'POST' wrk.body = f:read('*a') f:close()\n\
                 wrk.headers['authorization'] = 'Bearer sk-team-1-00-0123456789abcdef'\n\
                 wrk.headers['content-type'] = 'application/json'\n",
                self.folder.join("body").display()
            ),
        )
        .unwrap();
        for name in names {
            self.load(name, &script, 1); // warm up
        }
        let mut all: Vec<Vec<f64>> = vec![Vec::new(); names.len()];
        for round in 0..rounds {
            for turn in 0..names.len() {
                let at = (turn + round) % names.len();
                all[at].push(self.load(names[at], &script, seconds));
            }
        }
        let same = names.iter().position(|name| *name == SAME_WORK).unwrap();
        let ratios = |cpu: &[f64]| cpu.iter().zip(&all[same]).map(|(a, b)| a / b).collect();
        all.iter()
            .map(|cpu| (median(cpu.clone()), median(ratios(cpu))))
            .collect()
    }

    /// Sends requests for so long; CPU microseconds of Envoy for each.
    fn load(&self, name: &str, script: &Path, seconds: u32) -> f64 {
        let before = self.cpu();
        let output = Command::new("wrk")
            .args([
                "-t1",
                "-c16",
                &format!("-d{seconds}s"),
                "--timeout",
                "30s",
                "-s",
            ])
            .arg(script)
            .arg(format!(
                "http://127.0.0.1:{}/v1/chat/completions",
                self.port(name)
            ))
            .output()
            .unwrap();
        let spent = self.cpu() - before;
        let output = String::from_utf8_lossy(&output.stdout);
        if output.contains("Non-2xx") {
            let why = Command::new("curl")
                .args([
                    "-s",
                    "-i",
                    "-H",
                    "authorization: Bearer sk-team-1-00-0123456789abcdef",
                    "-H",
                    "content-type: application/json",
                    "--data-binary",
                ])
                .arg(format!("@{}", self.folder.join("body").display()))
                .arg(format!(
                    "http://127.0.0.1:{}/v1/chat/completions",
                    self.port(name)
                ))
                .output()
                .unwrap();
            panic!("{name}: {}", String::from_utf8_lossy(&why.stdout));
        }
        let requests: f64 = output
            .lines()
            .find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())
            .expect("wrk says how many");
        spent / requests / 1_000.0
    }

    /// Bytes that a worker's VM holds, as it tells Envoy once it has been asked something.
    fn memory(&self) -> u64 {
        let stats = format!(
            "http://127.0.0.1:{}/stats?filter=vm_memory_bytes",
            self.admin
        );
        let output = Command::new("curl").args(["-s", &stats]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let number = text
            .trim()
            .rsplit_once(": ")
            .and_then(|(_, number)| number.parse().ok());
        number.expect("the gauge is there")
    }

    /// Nanoseconds that all threads of Envoy have run so far.
    fn cpu(&self) -> f64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.envoy.id())).unwrap();
        threads
            .filter_map(|thread| {
                let schedstat = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
                schedstat.split(' ').next()?.parse::<f64>().ok()
            })
            .sum()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for process in [&mut self.envoy, &mut self.upstream] {
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A chat request of about so many bytes, with escapes and characters beyond ASCII; the model stands behind the prompt.
fn body(size: usize, stream: bool) -> String {
    let head = r#"{"messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":""#;
    let stream = if stream { r#","stream":true"# } else { "" };
    let tail =
        format!(r#""}}],"model":"gpt-4o-mini","temperature":0.7,"max_tokens":256{stream}}}"#);
    let unit = "Translate this: \\\"the quick brown fox\\\" jumps over the lazy dog.\\nLine two \u{2013} caf\u{e9}. ";
    let room = size.saturating_sub(head.len() + tail.len());
    let text = unit.repeat(room / unit.len());
    let fill = "x".repeat(room - text.len());
    format!("{head}{text}{fill}{tail}")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// All contenders in one bootstrap, and their ports.
fn bootstrap(
    upstream: u16,
    wasm: &str,
    policy: &Value,
    folder: &Path,
) -> (Value, Vec<(String, u16)>) {
    let read = |text: &str| -> Value { serde_saphyr::from_str(text).unwrap() };
    let mut base = read(PEERS[0].1);
    base["admin"]["address"]["socket_address"]["port_value"] = free_port().into();
    let (mut listeners, mut clusters, mut ports) = (Vec::new(), Vec::<Value>::new(), Vec::new());
    let mut add = |name: &str, mut listener: Value| {
        let port = free_port();
        listener["name"] = name.into();
        listener["address"]["socket_address"]["port_value"] = port.into();
        listeners.push(listener);
        ports.push((name.to_owned(), port));
    };
    for (name, text) in PEERS {
        let peer = read(text);
        let resources = &peer["static_resources"];
        let mut listener = resources["listeners"][0].clone();
        if name == SAME_WORK {
            let format = json!({"json_format": {
                "time": "%START_TIME%", "status": "%RESPONSE_CODE%", "details": "%RESPONSE_CODE_DETAILS%", "ms": "%DURATION%",
                "path": "%REQ(:PATH)%", "consumer": "%REQ(x-consumer)%", "in": "%BYTES_RECEIVED%", "out": "%BYTES_SENT%", "upstream": "%UPSTREAM_HOST%",
            }});
            manager(&mut listener)["access_log"] = file_log(folder, "native.log", format);
        }
        add(name, listener);
        for cluster in resources["clusters"].as_array().unwrap() {
            if !clusters
                .iter()
                .any(|known| known["name"] == cluster["name"])
            {
                let text = cluster.to_string().replace("22100", &upstream.to_string());
                clusters.push(serde_json::from_str(&text).unwrap());
            }
        }
    }
    let mut ours = base["static_resources"]["listeners"][0].clone();
    let event = json!({"text_format_source": {"inline_string": "%FILTER_STATE(wasm.cohort_event:PLAIN)%\n"}});
    let filter = json!({
        "name": "cohort",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "cohort",
                "failure_policy": "FAIL_RELOAD",
                "allow_on_headers_stop_iteration": true,
                "vm_config": {"vm_id": "cohort", "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": wasm}}},
                "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": policy.to_string()},
            },
        },
    });
    ours["per_connection_buffer_limit_bytes"] = (32 << 20).into();
    let hcm = manager(&mut ours);
    hcm["access_log"] = file_log(folder, "events.log", event);
    hcm["http_filters"]
        .as_array_mut()
        .unwrap()
        .insert(0, filter);
    add(OURS, ours);
    base["static_resources"] = json!({"listeners": listeners, "clusters": clusters});
    (base, ports)
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

/// Six groups with the tutorial's kinds of limits, none of which trips.
fn policy(keys: usize) -> Value {
    let groups: Vec<Value> = (0..6)
        .map(|group| {
            let own = if group < 5 { keys.div_ceil(5) } else { 1 };
            let keys: Vec<String> = (0..own).map(|key| format!("sk-team-{group}-{key:02}-0123456789abcdef")).collect();
            let models: Vec<String> = (0..8).map(|model| format!("model-{model}")).chain(["gpt-4o-mini".to_owned(), "gpt-4o".to_owned()]).collect();
            json!({
                "name": format!("team-{group}"),
                "api_keys": keys,
                "allowed_models": models,
                "rate_limits": {"requests_per_minute": 100_000_000_u64, "tokens_per_minute": 1_000_000_000_000_u64, "tokens_per_day": 10_000_000_000_000_u64},
            })
        })
        .collect();
    json!({"version": "1", "consumer_groups": groups})
}

/// A thousand groups of the same kind, ten thousand consumers in them, and their keys.
fn crowded(keys: usize) -> Value {
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

/// Puts the report between the marks of its page.
fn write_down(report: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has the marks");
    let (_, after) = rest.split_once(END).expect("the page has the marks");
    fs::write(&path, format!("{before}{BEGIN}{report}{END}{after}")).unwrap();
}
