//! `cohort demo`: the tutorial in a real Envoy, on this machine, with or without a provider.
//!
//! Starts what `envoy/demo.yaml` or `envoy/openai.yaml` says, both part of the program, and prints requests
//! to try. Knows nothing of what the filter decides.

mod upstream;

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use clap::{Args, Subcommand};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

const DEMO: &str = include_str!("../../../envoy/demo.yaml");
const OPENAI: &str = include_str!("../../../envoy/openai.yaml");

/// The ports that both files name.
const ADMIN_PORT: u16 = 41001;
const GATEWAY_PORT: u16 = 41002;
const UPSTREAM_PORT: u16 = 41003;

/// Where both files put the event log.
const STATE: &str = ".cohort";

const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Serve the tutorial on 127.0.0.1:41002, with `OPENAI_API_KEY` set by the real `OpenAI`
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Demo {
    #[command(subcommand)]
    part: Option<Part>,
    /// The Envoy to start
    #[arg(long, value_name = "PATH", default_value = ".envoy/envoy")]
    envoy: PathBuf,
    /// The filter
    #[arg(long, value_name = "PATH", default_value = "target/cohort.wasm")]
    wasm: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Run the demo upstream alone: an OpenAI- and Anthropic-like API that echoes the headers it saw
    Upstream {
        /// On 127.0.0.1; 0 picks a free one
        #[arg(long, default_value_t = UPSTREAM_PORT)]
        port: u16,
    },
}

impl Demo {
    /// Runs until interrupted.
    pub(super) fn run(self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let stop = interrupted()?;
            match self.part {
                Some(Part::Upstream { port }) => {
                    let listener = listen(port, "the demo upstream").await?;
                    say(&format!(
                        "The demo upstream listens on http://{}",
                        listener.local_addr()?
                    ))?;
                    tokio::select! {
                        served = upstream::serve(listener) => served,
                        () = stop => Ok(()),
                    }
                }
                None => serve(&self.envoy, &self.wasm, stop).await,
            }
        })
    }
}

async fn serve(envoy: &Path, wasm: &Path, stop: impl Future<Output = ()>) -> io::Result<()> {
    let real = env::var_os("OPENAI_API_KEY").is_some_and(|key| !key.is_empty());
    if !wasm.is_file() {
        return Err(failure(format!(
            "{} is missing: `make build` makes it",
            wasm.display()
        )));
    }
    // Envoy shares its ports with other Envoys, so it would not notice that one is taken.
    for (port, what) in [
        (ADMIN_PORT, "Envoy's admin page"),
        (GATEWAY_PORT, "the gateway"),
    ] {
        drop(listen(port, what).await?);
    }
    if !real {
        tokio::spawn(upstream::serve(
            listen(UPSTREAM_PORT, "the demo upstream").await?,
        ));
    }

    fs::create_dir_all(STATE)?;
    let bootstrap = Path::new(STATE).join("envoy.yaml");
    let log = Path::new(STATE).join("envoy.log");
    let wasm = serde_json::to_string(&wasm.to_string_lossy())?; // a JSON string is a YAML string
    let example = if real { OPENAI } else { DEMO };
    fs::write(&bootstrap, example.replace("target/cohort.wasm", &wasm))?;
    let mut child = start(envoy, &bootstrap, &log)?;

    tokio::pin!(stop);
    let ended = tokio::select! {
        ended = ready(&mut child) => ended?,
        () = &mut stop => return quit(child).await,
    };
    if let Some(status) = ended {
        return Err(stopped(status, &log));
    }
    say(&greeting(real))?;
    tokio::select! {
        status = child.wait() => Err(stopped(status?, &log)),
        () = stop => quit(child).await,
    }
}

fn start(envoy: &Path, bootstrap: &Path, log: &Path) -> io::Result<Child> {
    let file = fs::File::create(log)?;
    let options = [
        "--concurrency",
        "2",
        "--file-flush-interval-msec",
        "200",
        "-c",
    ]
    .map(OsStr::new);
    Command::new(envoy)
        .args(options)
        .arg(bootstrap)
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            failure(format!(
                "{}: {error}; `make envoy` gets it",
                envoy.display()
            ))
        })
}

/// Waits until Envoy serves; its status if it ended instead.
async fn ready(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let serving = async {
        while !admin("GET", "/ready")
            .await
            .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
        {
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        status = child.wait() => status.map(Some),
        waited = timeout(START_TIMEOUT, serving) => match waited {
            Ok(()) => Ok(None),
            Err(_) => Err(failure(format!("Envoy is not ready after {START_TIMEOUT:?}"))),
        },
    }
}

/// Asks Envoy to stop, and makes sure that it did.
async fn quit(mut child: Child) -> io::Result<()> {
    // No answer: Ctrl-C reached it as well, and it is on its way.
    let _ = admin("POST", "/quitquitquit").await;
    if timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
        child.kill().await?;
    }
    Ok(())
}

async fn admin(method: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, ADMIN_PORT)).await?;
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn listen(port: u16, what: &str) -> io::Result<TcpListener> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address)
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => failure(format!(
                "{address} is taken, {what} needs it: stop what listens there and try again"
            )),
            _ => failure(format!("{address}, for {what}: {error}")),
        })
}

/// Ready when someone wants us to stop.
fn interrupted() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

fn stopped(status: ExitStatus, log: &Path) -> io::Error {
    let text = fs::read_to_string(log).unwrap_or_default();
    let errors = text.lines().filter(|line| {
        ["][error]", "][critical]"]
            .iter()
            .any(|level| line.contains(level))
    });
    let shown = if text.contains("][critical]") {
        errors.collect()
    } else {
        text.lines().collect::<Vec<_>>()
    };
    let tail = shown
        .iter()
        .rev()
        .take(8)
        .rev()
        .fold(String::new(), |tail, line| tail + "\n  " + line);
    failure(format!(
        "Envoy stopped ({status}); from {}:{tail}",
        log.display()
    ))
}

fn failure(message: String) -> io::Error {
    io::Error::other(message)
}

fn say(text: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

fn greeting(real: bool) -> String {
    let upstream = if real { "OpenAI" } else { "a demo upstream" };
    format!(
        r#"Cohort serves on http://127.0.0.1:{GATEWAY_PORT} in front of {upstream}. Ctrl-C stops it. Try:

# engineering may use gpt-4o
curl -i http://127.0.0.1:{GATEWAY_PORT}/v1/chat/completions -H 'authorization: Bearer kt_cg_engineering_abc123' \
  -H 'content-type: application/json' -d '{{"model":"gpt-4o","messages":[{{"role":"user","content":"Hello"}}]}}'

# marketing may not: 403 model_not_allowed
curl -i http://127.0.0.1:{GATEWAY_PORT}/v1/chat/completions -H 'authorization: Bearer kt_cg_marketing_def456' \
  -H 'content-type: application/json' -d '{{"model":"gpt-4o","messages":[{{"role":"user","content":"Hello"}}]}}'

# research, as a stream
curl -N http://127.0.0.1:{GATEWAY_PORT}/v1/chat/completions -H 'authorization: Bearer kt_cg_research_ghi789' \
  -H 'content-type: application/json' -d '{{"model":"gpt-4o-mini","stream":true,"messages":[{{"role":"user","content":"Hello"}}]}}'

Events: {STATE}/events.jsonl   Access log: {STATE}/access.log   Envoy's log: {STATE}/envoy.log   Metrics: http://127.0.0.1:{ADMIN_PORT}/stats/prometheus
"#
    )
}
