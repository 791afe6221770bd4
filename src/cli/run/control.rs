//! How other commands talk to a gateway that runs: one line there, one JSON document back, through `.cohort/run.sock`.

use super::super::{Failure, print};
use super::state;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream as Socket;
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

/// Both sides are on this machine; only a gateway that is stuck takes longer.
const TIMEOUT: Duration = Duration::from_mins(1);

/// What can be asked for.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Wish {
    Reload,
    Status,
}

/// What came of it.
#[derive(Default, Deserialize, Serialize)]
pub(super) struct Answer {
    pub(super) done: bool,
    /// For people: what is wrong, or to be thought about.
    pub(super) text: String,
    /// What was done.
    pub(super) line: String,
    /// For `status`.
    #[serde(default)]
    pub(super) status: Value,
}

/// Where wishes arrive.
pub(super) struct Wishes(UnixListener);

impl Wishes {
    pub(super) fn listen() -> io::Result<Self> {
        let path = state::path("run.sock");
        let _ = std::fs::remove_file(&path); // of a gateway that was killed: the folder is locked
        Ok(Self(UnixListener::bind(path)?))
    }

    /// Who wishes something next. May be given up and tried again; nobody is lost.
    pub(super) async fn next(&self) -> io::Result<Caller> {
        let (stream, _) = self.0.accept().await?;
        Ok(Caller(BufReader::new(stream)))
    }
}

impl Drop for Wishes {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(state::path("run.sock")); // its absence is what was wanted
    }
}

/// Who is at the other end.
pub(super) struct Caller(BufReader<UnixStream>);

impl Caller {
    /// What is wished; `None`: nothing that we know.
    pub(super) async fn wish(&mut self) -> Option<Wish> {
        let mut line = String::new();
        let read = timeout(Duration::from_secs(1), self.0.read_line(&mut line));
        read.await.ok()?.ok()?;
        match line.trim() {
            "reload" => Some(Wish::Reload),
            "status" => Some(Wish::Status),
            _ => None,
        }
    }

    pub(super) async fn answer(mut self, answer: &Answer) {
        let text = serde_json::to_string(answer).unwrap_or_default();
        // Who did not wait does not want it.
        let _ = timeout(Duration::from_secs(1), self.0.write_all(text.as_bytes())).await;
        let _ = self.0.shutdown().await;
    }
}

/// Asks the gateway that runs in this folder.
pub(super) fn ask(wish: &str) -> Result<Answer, Failure> {
    let path = state::path("run.sock");
    let nobody = |_| {
        Failure(format!(
            "no gateway runs in this folder ({} does not answer): `cohort run` starts one",
            path.display()
        ))
    };
    let mut socket = Socket::connect(&path).map_err(nobody)?;
    let mut exchange = || -> io::Result<String> {
        socket.set_read_timeout(Some(TIMEOUT))?;
        writeln!(socket, "{wish}")?;
        let mut text = String::new();
        socket.read_to_string(&mut text)?;
        Ok(text)
    };
    let text =
        exchange().map_err(|error| Failure(format!("the gateway does not answer: {error}")))?;
    serde_json::from_str(&text)
        .map_err(|_| Failure("the gateway does not answer: it may be stopping".to_owned()))
}

/// Make the gateway that runs in this folder read its policy file again
///
/// It does so by itself when the file changes; this waits for the outcome. Exit code 1: the file is invalid, and what
/// was in force still is.
#[derive(clap::Args)]
pub(crate) struct Reload {}

impl Reload {
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        let Self {} = self;
        let answer = ask("reload")?;
        let _ = anstream::stderr().write_all(answer.text.as_bytes()); // nowhere left to say it
        if answer.done {
            print(|out| writeln!(out, "{}", answer.line))?;
            return Ok(ExitCode::SUCCESS);
        }
        Ok(ExitCode::FAILURE)
    }
}
