//! An Envoy with contenders in it, the load on it, and what that costs.

use crate::contenders::{Contender, bootstrap, free_port};
use crate::service::Service;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// Of the programs that are measured, where they are.
pub(crate) struct Programs {
    pub(crate) envoy: String,
    pub(crate) wasm: String,
    /// The rate-limit service.
    pub(crate) ratelimitd: String,
}

/// What a contender took in the rounds of a measurement, medians.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    /// Microseconds of Envoy's CPU for each request.
    pub(crate) cpu: f64,
    /// To the one that it is compared with, in the same round.
    pub(crate) ratio: f64,
    /// Of the rate-limit service, for each request.
    pub(crate) calls: f64,
}

/// How long a measurement takes.
#[derive(Clone, Copy)]
pub(crate) struct Rounds {
    pub(crate) count: usize,
    pub(crate) seconds: u32,
}

/// What one load took.
struct Load {
    requests: f64,
    /// Nanoseconds.
    cpu: f64,
    calls: f64,
}

/// An Envoy with all contenders, and their upstream.
pub(crate) struct Bench {
    envoy: Child,
    upstream: Child,
    service: Option<Service>,
    ports: Vec<(&'static str, u16)>,
    admin: u16,
    folder: PathBuf,
    pub(crate) started_in: Duration,
}

impl Bench {
    /// With the rate-limit service if `asks`.
    pub(crate) fn start(
        programs: &Programs,
        workers: u32,
        contenders: &[Contender],
        asks: bool,
    ) -> Self {
        let admin = free_port();
        let folder = env::temp_dir().join(format!("cohort-bench-{}-{admin}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let port = free_port();
        let upstream = Command::new(env::current_exe().unwrap())
            .args(["upstream", &port.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let service = asks.then(|| Service::start(&programs.ratelimitd, &folder));
        let address = service.as_ref().map(|service| service.address);
        let wasm = &programs.wasm;
        let (bootstrap, ports) = bootstrap(contenders, admin, port, address, wasm, &folder);
        let file = folder.join("envoy.json");
        fs::write(&file, bootstrap.to_string()).unwrap();
        let log = fs::File::create(folder.join("envoy.log")).unwrap();
        let began = Instant::now();
        let envoy = Command::new(&programs.envoy)
            .args(["--concurrency", &workers.to_string()])
            .args(["--disable-hot-restart", "--log-level", "error", "-c"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut bench = Self {
            envoy,
            upstream,
            service,
            ports,
            admin,
            folder,
            started_in: Duration::ZERO,
        };
        let (_, port) = bench.ports.last().copied().unwrap();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
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

    /// For each contender, with requests of `size` bytes; ratios to `same`.
    pub(crate) fn measure(
        &self,
        names: &[&str],
        same: &str,
        size: usize,
        stream: Stream,
        rounds: Rounds,
    ) -> Vec<Cost> {
        let script = self.script(size, stream);
        for name in names {
            self.load(name, &script, 1); // warm up
        }
        let mut all: Vec<Vec<Load>> = names.iter().map(|_| Vec::new()).collect();
        for round in 0..rounds.count {
            for turn in 0..names.len() {
                let at = (turn + round) % names.len();
                all[at].push(self.load(names[at], &script, rounds.seconds));
            }
        }
        let cpu = |load: &Load| load.cpu / load.requests / 1_000.0;
        let same = &all[names.iter().position(|name| *name == same).unwrap()];
        let of = |loads: &Vec<Load>| Cost {
            cpu: median(loads.iter().map(cpu)),
            ratio: median(loads.iter().zip(same).map(|(a, b)| cpu(a) / cpu(b))),
            calls: median(loads.iter().map(|load| load.calls / load.requests)),
        };
        all.iter().map(of).collect()
    }

    /// Sends so many small requests at least, and says how many.
    pub(crate) fn send(&self, name: &str, requests: f64) -> f64 {
        let script = self.script(200, Stream::None);
        let mut sent = 0.0;
        while sent < requests {
            sent += self.load(name, &script, 10).requests;
        }
        sent
    }

    /// Nanoseconds of CPU that one worker took until it had answered its first request.
    pub(crate) fn first_answer(&self, name: &str) -> f64 {
        self.script(200, Stream::None);
        let answer = self.ask(name);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        self.cpu_of("wrk:worker_0")
    }

    /// What wrk is to send.
    fn script(&self, size: usize, stream: Stream) -> PathBuf {
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
        script
    }

    /// Sends requests for so long.
    fn load(&self, name: &str, script: &Path, seconds: u32) -> Load {
        let calls = || self.service.as_ref().map_or(0.0, Service::calls);
        let (cpu_before, calls_before) = (self.cpu(), calls());
        let output = Command::new("wrk")
            .args(["-t1", "-c16", &format!("-d{seconds}s")])
            .args(["--timeout", "30s", "-s"])
            .arg(script)
            .arg(self.url(name))
            .output()
            .unwrap();
        let cpu = self.cpu() - cpu_before;
        let calls = calls() - calls_before;
        let output = String::from_utf8_lossy(&output.stdout);
        assert!(
            !output.contains("Non-2xx"),
            "{name}: {output}{}",
            self.ask(name)
        );
        let requests = output
            .lines()
            .find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())
            .expect("wrk says how many");
        Load {
            requests,
            cpu,
            calls,
        }
    }

    /// One request, and its answer with the header.
    fn ask(&self, name: &str) -> String {
        let output = Command::new("curl")
            .args(["-s", "-i", "-H"])
            .arg("authorization: Bearer sk-team-1-00-0123456789abcdef")
            .args(["-H", "content-type: application/json", "--data-binary"])
            .arg(format!("@{}", self.folder.join("body").display()))
            .arg(self.url(name))
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn url(&self, name: &str) -> String {
        let (_, port) = self.ports.iter().find(|(of, _)| *of == name).unwrap();
        format!("http://127.0.0.1:{port}/v1/chat/completions")
    }

    /// Bytes that a worker's VM holds, as it tells Envoy once it has been asked something.
    pub(crate) fn memory(&self) -> u64 {
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
        self.cpu_of("")
    }

    /// The same, of the threads whose names begin so.
    fn cpu_of(&self, thread: &str) -> f64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.envoy.id())).unwrap();
        threads
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let name = fs::read_to_string(path.join("comm")).ok()?;
                let schedstat = fs::read_to_string(path.join("schedstat")).ok()?;
                name.starts_with(thread)
                    .then(|| schedstat.split(' ').next()?.parse::<f64>().ok())?
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

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Whether the answer is to be a stream, and whether the client asks for its usage. If not, the filter does.
#[derive(Clone, Copy)]
pub(crate) enum Stream {
    None,
    Plain,
    WithUsage,
}

/// A chat request of about so many bytes, with escapes and characters beyond ASCII; the model stands behind the prompt.
fn body(size: usize, stream: Stream) -> String {
    let head = r#"{"messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":""#;
    let stream = match stream {
        Stream::None => "",
        Stream::Plain => r#","stream":true"#,
        Stream::WithUsage => r#","stream":true,"stream_options":{"include_usage":true}"#,
    };
    let tail =
        format!(r#""}}],"model":"gpt-4o-mini","temperature":0.7,"max_tokens":256{stream}}}"#);
    let unit = "Translate this: \\\"the quick brown fox\\\" jumps over the lazy dog.\\nLine two \u{2013} caf\u{e9}. ";
    let room = size.saturating_sub(head.len() + tail.len());
    let text = unit.repeat(room / unit.len());
    let fill = "x".repeat(room - text.len());
    format!("{head}{text}{fill}{tail}")
}
