//! `cohort demo`, as `make run` starts it, in a directory of its own. Its ports are fixed: one at a time.

use std::fs;
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

use super::envoy::required;

const PORTS: [u16; 3] = [41001, 41002, 41003];
const OPTIONS: [(&str, &str); 2] = [("--envoy", "ENVOY"), ("--wasm", "COHORT_WASM")];
const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) struct Demo {
    child: Child,
    /// What it says goes here to the end.
    _lines: Lines<BufReader<ChildStdout>>,
    dir: PathBuf,
    greeting: String,
}

impl Demo {
    /// Starts it and waits until it has said all that it says. `None`: it cannot run here, the test is skipped.
    pub(crate) async fn start() -> Option<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cohort"));
        command.arg("demo").env_remove("OPENAI_API_KEY");
        for (option, variable) in OPTIONS {
            command.arg(option).arg(required(variable)?);
        }
        if let Some(port) = taken().await {
            assert!(
                std::env::var_os("CI").is_none(),
                "port {port}, of the demo, is taken, and CI must not skip"
            );
            // Not `eprintln`: the test harness would swallow it.
            let _ = writeln!(io::stderr(), "SKIPPED: port {port}, of the demo, is taken");
            return None;
        }
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
        })
    }

    pub(crate) fn greeting(&self) -> &str {
        &self.greeting
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
pub(crate) fn refused(changed: Option<(&str, &str)>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cohort"));
    command.arg("demo").env_remove("OPENAI_API_KEY");
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

pub(crate) fn are_free() -> bool {
    PORTS.into_iter().all(is_free)
}

/// A port that stays taken. They are also ports that the system gives to clients: such a connection soon ends.
async fn taken() -> Option<u16> {
    let mut taken = None;
    for _ in 0..300 {
        taken = PORTS.into_iter().find(|port| !is_free(*port));
        if taken.is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    taken
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
