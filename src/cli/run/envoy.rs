//! Envoy as a process: found, started, asked through its admin page, stopped.

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

const START_TIMEOUT: Duration = Duration::from_mins(1);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);
const MAX_ANSWER: usize = 64 << 20;

/// A running Envoy.
pub(super) struct Envoy {
    child: Child,
    admin: u16,
    log: PathBuf,
}

/// How Envoy is to be started.
pub(super) struct Start<'a> {
    pub(super) program: &'a Path,
    pub(super) bootstrap: &'a Path,
    pub(super) log: PathBuf,
    pub(super) admin: u16,
    pub(super) workers: usize,
}

impl Envoy {
    pub(super) fn start(start: Start<'_>) -> io::Result<Self> {
        let file = fs::File::create(&start.log)?;
        let child = Command::new(start.program)
            .args(["--disable-hot-restart", "--file-flush-interval-msec", "200"])
            .args(["--service-node", "cohort", "--service-cluster", "cohort"])
            .args(["--concurrency", &start.workers.to_string()])
            .arg("-c")
            .arg(start.bootstrap)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            // Ctrl-C is for us: Envoy ends when its requests have.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| io::Error::other(format!("{}: {error}", start.program.display())))?;
        Ok(Self {
            child,
            admin: start.admin,
            log: start.log,
        })
    }

    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until it serves.
    pub(super) async fn ready(&mut self) -> io::Result<()> {
        let admin = self.admin;
        let serving = async {
            while ask(admin, "GET", "/ready").await.is_err() {
                sleep(PAUSE).await;
            }
        };
        let ended = tokio::select! {
            status = self.child.wait() => Some(status?),
            waited = timeout(START_TIMEOUT, serving) => {
                waited.map_err(|_| io::Error::other(format!("Envoy is not ready after {START_TIMEOUT:?}")))?;
                None
            }
        };
        match ended {
            Some(status) => Err(self.stopped(status)),
            None => Ok(()),
        }
    }

    /// Waits until it ends by itself, which it should not.
    pub(super) async fn ended(&mut self) -> io::Error {
        match self.child.wait().await {
            Ok(status) => self.stopped(status),
            Err(error) => error,
        }
    }

    /// A counter or gauge; 0 where Envoy does not know it (yet).
    pub(super) async fn stat(&self, name: &str) -> io::Result<u64> {
        let answer = ask(self.admin, "GET", &format!("/stats?filter=^{name}$")).await?;
        let text = String::from_utf8_lossy(&answer);
        let value = text
            .trim()
            .rsplit(": ")
            .next()
            .and_then(|value| value.parse().ok());
        Ok(value.unwrap_or_default())
    }

    pub(super) async fn tell(&self, path: &str) -> io::Result<()> {
        ask(self.admin, "POST", path).await.map(drop)
    }

    /// What it logs from now on.
    pub(super) fn log(&self) -> Log {
        let length = fs::metadata(&self.log).map_or(0, |data| data.len());
        Log {
            path: self.log.clone(),
            start: usize::try_from(length).unwrap_or(usize::MAX),
        }
    }

    /// Takes no new connections, and waits until there are no requests any more.
    pub(super) async fn drain(&self, longest: Duration) {
        // Answers tell their clients to close; then nobody new comes in. Errors: it is ending already.
        let _ = self.tell("/healthcheck/fail").await;
        let _ = self.tell("/drain_listeners").await;
        let idle = async {
            while self
                .stat("http.llm.downstream_rq_active")
                .await
                .is_ok_and(|active| active > 0)
            {
                sleep(PAUSE).await;
            }
        };
        let _ = timeout(longest, idle).await; // then those that are left are cut
    }

    /// Asks it to stop, and makes sure that it did.
    pub(super) async fn quit(mut self) -> io::Result<()> {
        let _ = self.tell("/quitquitquit").await; // no answer: it is on its way
        if timeout(STOP_TIMEOUT, self.child.wait()).await.is_err() {
            self.child.kill().await?;
        }
        Ok(())
    }

    fn stopped(&self, status: ExitStatus) -> io::Error {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let errors = text.lines().filter(|line| {
            let levels = ["][error]", "][critical]"];
            levels.iter().any(|level| line.contains(level))
        });
        let shown = if text.contains("][critical]") {
            errors.collect()
        } else {
            text.lines().collect::<Vec<_>>()
        };
        let tail = shown.iter().rev().take(8).rev();
        let tail = tail.fold(String::new(), |tail, line| tail + "\n  " + line);
        io::Error::other(format!(
            "Envoy stopped ({status}); from {}:{tail}",
            self.log.display()
        ))
    }
}

/// The end of Envoy's log.
pub(super) struct Log {
    path: PathBuf,
    start: usize,
}

impl Log {
    /// Why it did not take something.
    pub(super) fn refusals(&self) -> String {
        let log = fs::read(&self.path).unwrap_or_default();
        let log = String::from_utf8_lossy(log.get(self.start..).unwrap_or_default());
        let mut lines: Vec<_> = log
            .lines()
            .filter(|line| {
                line.contains("refused") || line.contains("rejected") || line.contains("][error]")
            })
            .map(|line| format!("  {line}\n"))
            .collect();
        lines.dedup();
        lines.into_iter().take(8).collect()
    }
}

/// A page of the admin interface.
async fn ask(port: u16, method: &str, path: &str) -> io::Result<Bytes> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    request(stream, method, path).await
}

/// One request; what is answered with anything but 200 is an error.
pub(super) async fn request(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: &str,
    path: &str,
) -> io::Result<Bytes> {
    let exchange = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .body(Empty::<Bytes>::new())
            .map_err(io::Error::other)?;
        let answer = sender
            .send_request(request)
            .await
            .map_err(io::Error::other)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        connection.abort();
        match (status, body) {
            (StatusCode::OK, Ok(body)) => Ok(body.to_bytes()),
            (StatusCode::OK, Err(error)) => Err(io::Error::other(error)),
            (status, _) => Err(io::Error::other(format!("{path}: {status}"))),
        }
    };
    timeout(ASK_TIMEOUT, exchange)
        .await
        .map_err(|_| io::Error::other("Envoy does not answer"))?
}

/// The Envoy to be started: the one that is named, one on `PATH`, or the one that `make envoy` gets, here or where this
/// program was built.
pub(super) fn find(named: Option<&Path>) -> Result<PathBuf, String> {
    if let Some(named) = named {
        return if named.is_file() {
            absolute(named)
        } else {
            Err(format!(
                "{} is missing: `make envoy` gets an Envoy",
                named.display()
            ))
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join("envoy"));
    let built = beside().map(|dir| dir.join("../../.envoy/envoy")); // of target/release
    let mut places = on_path.chain([PathBuf::from(".envoy/envoy")]).chain(built);
    match places.find(|place| place.is_file()) {
        Some(place) => absolute(&place),
        None => Err("there is no Envoy on PATH and none in .envoy: `make envoy` gets one where Cohort was built, --envoy names one".to_owned()),
    }
}

/// Where this program is.
fn beside() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    program.parent().map(Path::to_path_buf)
}

/// The filter: the one that is named, that of the source tree, the one beside this program, the one that is installed.
pub(super) fn find_wasm(named: Option<&Path>) -> Result<PathBuf, String> {
    if let Some(named) = named {
        return if named.is_file() {
            absolute(named)
        } else {
            Err(format!(
                "{} is missing: `make build` makes it",
                named.display()
            ))
        };
    }
    let beside = beside();
    let places = [
        Some(PathBuf::from("target/cohort.wasm")),
        beside.as_ref().map(|dir| dir.join("cohort.wasm")),
        beside.as_ref().map(|dir| dir.join("../cohort.wasm")),
        Some(PathBuf::from("/usr/share/cohort/cohort.wasm")),
    ];
    match places.into_iter().flatten().find(|place| place.is_file()) {
        Some(place) => absolute(&place),
        None => Err("target/cohort.wasm is missing, and there is none beside this program: `make build` makes it, --wasm names it".to_owned()),
    }
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    fs::canonicalize(path).map_err(|error| format!("{}: {error}", path.display()))
}
