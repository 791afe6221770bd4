//! `cohort demo`, as `make run` starts it, in a directory and on ports of its own.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

use super::envoy::required;

const OPTIONS: [(&str, &str); 2] = [("--envoy", "ENVOY"), ("--wasm", "COHORT_WASM")];
const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) struct Demo {
    child: Child,
    /// What it says goes here to the end.
    _lines: Lines<BufReader<ChildStdout>>,
    dir: PathBuf,
    greeting: String,
    port: u16,
}

impl Demo {
    /// Starts it and waits until it has said all that it says. `None`: it cannot run here, the test is skipped.
    pub(crate) async fn start() -> Option<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cohort"));
        command.arg("demo").env_remove("OPENAI_API_KEY");
        for (option, variable) in OPTIONS {
            command.arg(option).arg(required(variable)?);
        }
        let port = free_port();
        command.args(["--port", &port.to_string()]);
        // The README's commands are run from the top of the repository.
        let dir =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("demo-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        symlink(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata"),
            dir.join("testdata"),
        )
        .unwrap();
        command.current_dir(&dir).stdout(Stdio::piped());
        let mut child = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut greeting = String::new();
        let read = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                let last = line.starts_with("Events: ");
                greeting += &line;
                greeting.push('\n');
                if last {
                    return;
                }
            }
            panic!("the demo ended, and said {greeting:?}");
        };
        timeout(TIMEOUT, read).await.expect("the demo starts");
        Some(Self {
            child,
            _lines: lines,
            dir,
            greeting,
            port,
        })
    }

    pub(crate) fn greeting(&self) -> &str {
        &self.greeting
    }

    /// The gateway's; the admin page's is the one before, the demo upstream's the one after.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What a command line prints, on both outputs, where the demo runs.
    pub(crate) fn bash(&self, line: &str) -> String {
        let commands = Path::new(env!("CARGO_BIN_EXE_cohort")).parent().unwrap();
        let path = format!("{}:{}", commands.display(), std::env::var("PATH").unwrap());
        let output = Command::new("bash")
            .args(["-c", &format!("exec 2>&1; {line}")])
            .env("PATH", path)
            .current_dir(&self.dir)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().replace('\r', "")
    }

    /// Ctrl-C.
    pub(crate) async fn interrupt(mut self) -> ExitStatus {
        self.signal();
        let ended = timeout(TIMEOUT, self.child.wait()).await;
        ended.expect("the demo ends").unwrap()
    }

    fn signal(&self) {
        if let Some(id) = self.child.id() {
            let _ = Command::new("kill")
                .args(["-INT", &id.to_string()])
                .status();
        }
    }
}

/// A test that fails must not leave an Envoy behind.
impl Drop for Demo {
    fn drop(&mut self) {
        self.signal();
        for _ in 0..100 {
            if self.child.id().is_none() || matches!(self.child.try_wait(), Ok(Some(_))) {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// `cohort demo` that must not start, with another value of an option, and what it says.
pub(crate) fn refused(port: u16, changed: Option<(&str, &str)>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cohort"));
    command.arg("demo").env_remove("OPENAI_API_KEY");
    command.args(["--port", &port.to_string()]);
    for (option, variable) in OPTIONS {
        let value = required(variable).expect("the demo has started before");
        let changed = changed.filter(|(changed, _)| *changed == option);
        command.args([option, changed.map_or(&*value, |(_, value)| value)]);
    }
    command
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .output()
        .unwrap()
}

/// Whether a demo could serve on this port.
pub(crate) fn are_free(port: u16) -> bool {
    (port - 1..=port + 1).all(is_free)
}

/// Below those that the system gives to clients: one of them may be taken at any moment.
pub(crate) fn free_port() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range.split_whitespace().next();
    let end = first.and_then(|port| port.parse().ok()).unwrap_or(32_768);
    // Tests at the same time look from different places on.
    let start = u16::try_from(std::process::id() % 1_000 * 10).unwrap();
    let mut ports = (0..2_000).map(|at| 10_001 + (start + at * 3) % 10_000);
    ports
        .find(|port| port + 1 < end && are_free(*port))
        .expect("three free ports in a row")
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
