//! A shell in a folder that looks like a clone, and the terminals beside it.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::support::demo::{are_free, free_port};
use super::support::envoy::required;

/// Ends what a command prints.
const DONE: &str = "--- done: ";
const PORT: &str = "41002";
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Session {
    shell: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    dir: PathBuf,
    port: u16,
    /// What runs in the other terminal prints here.
    terminal: Option<PathBuf>,
}

impl Session {
    /// `None`: there is no Envoy here, the test is skipped.
    pub(crate) fn start() -> Option<Self> {
        let (envoy, wasm) = (required("ENVOY")?, required("COHORT_WASM")?);
        let dir =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("readme-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        for folder in ["target/release", ".envoy"] {
            fs::create_dir_all(dir.join(folder)).unwrap();
        }
        // What `make build envoy` makes, where it makes it. No symlink: the command looks around where it is itself.
        let command = dir.join("target/release/cohort");
        fs::hard_link(env!("CARGO_BIN_EXE_cohort"), &command).unwrap();
        symlink(wasm, dir.join("target/cohort.wasm")).unwrap();
        symlink(envoy, dir.join(".envoy/envoy")).unwrap();
        let mut shell = Command::new("bash")
            .args(["--norc", "--noprofile"])
            .env_remove("OPENAI_API_KEY")
            .current_dir(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut session = Self {
            stdin: shell.stdin.take().unwrap(),
            stdout: BufReader::new(shell.stdout.take().unwrap()),
            shell,
            dir,
            port: free_port(),
            terminal: None,
        };
        session.run("exec 2>&1");
        Some(session)
    }

    /// A block with `make` or `cohort run` keeps a terminal for itself; everything else is the shell's to do.
    pub(crate) fn enter(&mut self, command: &str) -> String {
        let command = command.replace(PORT, &self.port.to_string());
        match command.as_str() {
            "make run" => {
                made("run");
                self.open("target/release/cohort demo")
            }
            _ if command.starts_with("make ") => made(command.trim_start_matches("make ")),
            _ if command.starts_with("cohort run") => self.open(&command),
            _ => self.run(&command),
        }
    }

    /// As the README has it: everybody's port.
    fn shown(&self, text: &str) -> String {
        let admin = (self.port - 1).to_string();
        text.replace(&self.port.to_string(), PORT)
            .replace(&admin, "41001")
            .replace('\r', "")
    }

    pub(crate) fn run(&mut self, command: &str) -> String {
        writeln!(self.stdin, "{command}\necho; echo '{DONE}'$?").unwrap();
        let mut said = String::new();
        loop {
            let mut line = String::new();
            assert!(
                self.stdout.read_line(&mut line).unwrap() > 0,
                "$ {command}: the shell ended"
            );
            if let Some(code) = line.strip_prefix(DONE) {
                assert_eq!(code.trim(), "0", "$ {command}\n{said}");
                break;
            }
            said += &line;
        }
        self.shown(&said)
    }

    /// What runs there prints its greeting when it serves.
    fn open(&mut self, command: &str) -> String {
        self.close();
        let log = self.dir.join("terminal.txt");
        let _ = fs::remove_file(&log);
        self.run(&format!(
            "{command} --port {} > '{}' 2>&1 & GATEWAY=$!",
            self.port,
            log.display()
        ));
        self.terminal = Some(log);
        self.wait_for("a greeting", |session| {
            session.terminal().contains("Events: ")
        });
        self.terminal()
    }

    pub(crate) fn terminal(&self) -> String {
        let log = self.terminal.as_ref().expect("a terminal is open");
        self.shown(&fs::read_to_string(log).unwrap_or_default())
    }

    /// Ctrl-C, in the other terminal.
    pub(crate) fn close(&mut self) {
        if self.terminal.take().is_some() {
            self.run("kill -INT $GATEWAY; wait $GATEWAY");
            assert!(are_free(self.port));
        }
    }

    /// Saves what the README shows.
    pub(crate) fn save(&mut self, name: &str, text: &str) {
        self.run(&format!("cat > {name} <<'END OF FILE'\n{text}END OF FILE"));
    }

    pub(crate) fn file(&mut self, name: &str) -> PathBuf {
        let folder = self.run("pwd");
        Path::new(folder.trim()).join(name)
    }

    pub(crate) fn wait_for(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..600 {
            if done(self) {
                return;
            }
            std::thread::sleep(PAUSE);
        }
        let said = self.terminal.is_some().then(|| self.terminal());
        panic!("no {what}; the other terminal: {said:?}");
    }
}

/// Makes these targets where they can be made; in CI for good, else only as far as they are there to be made.
fn made(targets: &str) -> String {
    let mut make = Command::new("make");
    if std::env::var_os("CI").is_none() || targets == "run" {
        make.arg("--dry-run");
    }
    let output = make
        .args(targets.split(' '))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "make {targets}: {output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        targets != "run" || said.contains("exec target/release/cohort demo"),
        "{said}"
    );
    said
}

/// A test that fails must leave nobody behind: neither a loop of requests nor an Envoy.
impl Drop for Session {
    fn drop(&mut self) {
        let group = format!("-{}", self.shell.id());
        for _ in 0..100 {
            let _ = Command::new("kill")
                .args(["-INT", "--", &group])
                .stderr(Stdio::null())
                .status();
            let ended = matches!(self.shell.try_wait(), Ok(Some(_)));
            if ended && are_free(self.port) {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        let _ = self.shell.kill();
        let _ = self.shell.wait();
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}
