//! `cohort run` in a folder of its own, with a policy file, and commands beside it.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::process::Child;
use tokio::time::{sleep, timeout};

use super::client::{Request, Response};
use super::demo::free_port;
use super::envoy::required;

const TIMEOUT: Duration = Duration::from_secs(30);
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// A folder with a policy file, and what runs in it.
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    pub(crate) port: u16,
}

impl Place {
    pub(crate) fn new(policy: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        static TAKEN: AtomicU16 = AtomicU16::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("run-{}-{next}", std::process::id());
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&dir).unwrap();
        // Tests of this file at the same time look from different places on.
        let mut port = free_port();
        port += 3 * TAKEN.fetch_add(1, Ordering::Relaxed);
        while !(port - 1..=port + 1).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            port += 30;
        }
        let place = Self { dir, port };
        place.write(policy);
        place
    }

    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    pub(crate) fn write(&self, policy: &str) {
        fs::write(self.dir.join("policy-config.yaml"), policy).unwrap();
    }

    pub(crate) fn policy(&self) -> String {
        fs::read_to_string(self.dir.join("policy-config.yaml")).unwrap()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cohort"));
        command
            .args(arguments)
            .current_dir(&self.dir)
            .env("COHORT_TEST_KEY", "sk-of-the-test")
            .env("COHORT_OTHER_KEY", "sk-of-the-other");
        command
    }

    pub(crate) fn cohort(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// `cohort run`, not started yet. `None`: the test is skipped.
    pub(crate) fn run(&self, upstream: SocketAddr, more: &[&str]) -> Option<Command> {
        let mut command = self.command(&["run", "--workers", "2"]);
        command.args([
            "--envoy",
            &required("ENVOY")?,
            "--wasm",
            &required("COHORT_WASM")?,
        ]);
        command.args(["--port", &self.port.to_string()]);
        command
            .args(["--upstream", &format!("openai=http://{upstream}")])
            .args(more);
        Some(command)
    }

    pub(crate) async fn start(&self, upstream: SocketAddr) -> Option<Gateway> {
        self.start_with(upstream, &[]).await
    }

    pub(crate) async fn start_with(&self, upstream: SocketAddr, more: &[&str]) -> Option<Gateway> {
        let mut command = self.run(upstream, more)?;
        let said = self.dir.join("said.txt");
        let file = fs::File::create(&said).unwrap();
        command.stdout(Stdio::null()).stderr(file);
        let child = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut gateway = Gateway { child, said };
        let health = Request::get("/healthz");
        let ready = async {
            while !health
                .send(self.address())
                .await
                .is_ok_and(|answer| answer.status == 200)
            {
                assert!(
                    gateway.child.try_wait().unwrap().is_none(),
                    "{}",
                    gateway.said()
                );
                sleep(PAUSE).await;
            }
        };
        timeout(TIMEOUT, ready).await.expect("the gateway serves");
        Some(gateway)
    }

    pub(crate) async fn send(&self, key: &str, model: &str) -> Response {
        Request::chat(key, model)
            .send(self.address())
            .await
            .expect("an answer")
    }

    /// A page of Envoy's admin interface.
    pub(crate) async fn admin(&self, path: &str) -> String {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port - 1));
        let answer = Request::get(path).send(address).await;
        answer.expect("the admin page answers").text()
    }

    pub(crate) fn status(&self) -> Value {
        let output = self.cohort(&["status", "--format", "json"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// A gateway that serves, until it is dropped.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) said: PathBuf,
}

impl Gateway {
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap()
    }

    pub(crate) async fn says(&self, words: &str) {
        let heard = async {
            while !self.said().contains(words) {
                sleep(PAUSE).await;
            }
        };
        let heard = timeout(TIMEOUT, heard).await;
        assert!(heard.is_ok(), "no {words:?} in: {}", self.said());
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        assert!(
            Command::new("kill")
                .args([name, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    pub(crate) async fn ended(mut self) -> ExitStatus {
        timeout(TIMEOUT, self.child.wait())
            .await
            .expect("it ends")
            .unwrap()
    }

    pub(crate) async fn stop(self) {
        self.signal("-TERM");
        assert_eq!(self.ended().await.code(), Some(0));
    }
}

/// A test that fails must not leave an Envoy behind.
impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(id) = self.child.id() {
            let _ = Command::new("kill")
                .args(["-INT", &id.to_string()])
                .status();
            for _ in 0..100 {
                if matches!(self.child.try_wait(), Ok(Some(_))) {
                    break;
                }
                std::thread::sleep(PAUSE);
            }
        }
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
