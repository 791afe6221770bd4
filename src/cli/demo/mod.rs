//! `cohort demo`: the tutorial in a real Envoy, on this machine, with or without a provider.
//!
//! Starts what `envoy/demo.yaml` or `envoy/openai.yaml` says, both part of the program, and prints requests
//! to try. Knows nothing of what the filter decides.

mod upstream;

use std::env;
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
const PORTS: Ports = Ports {
    admin: 41001,
    gateway: 41002,
    upstream: 41003,
};

/// Where both files put the event log.
const STATE: &str = ".cohort";

const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Serve the tutorial on this machine, with `OPENAI_API_KEY` set by the real `OpenAI`
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Demo {
    #[command(subcommand)]
    part: Option<Part>,
    /// The gateway's, on 127.0.0.1; Envoy's admin page has the one before it, the demo upstream the one after
    #[arg(long, value_name = "N", default_value_t = PORTS.gateway, value_parser = clap::value_parser!(u16).range(2..=65534))]
    port: u16,
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
        #[arg(long, default_value_t = PORTS.upstream)]
        port: u16,
    },
}

#[derive(Clone, Copy)]
struct Ports {
    admin: u16,
    gateway: u16,
    upstream: u16,
}

impl Ports {
    const fn around(gateway: u16) -> Self {
        Self {
            admin: gateway.saturating_sub(1),
            gateway,
            upstream: gateway.saturating_add(1),
        }
    }

    /// In place of those that an example names.
    fn put_into(self, example: &str) -> String {
        let mut parts = example.split("port_value: ");
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let digits = part.find(|c: char| !c.is_ascii_digit());
            let (port, rest) = part.split_at(digits.unwrap_or(part.len()));
            let own = [
                (PORTS.admin, self.admin),
                (PORTS.gateway, self.gateway),
                (PORTS.upstream, self.upstream),
            ];
            let own = own.iter().find(|(named, _)| port.parse() == Ok(*named));
            let port = own.map_or_else(|| port.to_owned(), |(_, own)| own.to_string());
            text = text + "port_value: " + &port + rest;
        }
        text
    }
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
                None => serve(&self.envoy, &self.wasm, Ports::around(self.port), stop).await,
            }
        })
    }
}

async fn serve(
    envoy: &Path,
    wasm: &Path,
    ports: Ports,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let real = env::var_os("OPENAI_API_KEY").is_some_and(|key| !key.is_empty());
    if !wasm.is_file() {
        return Err(failure(format!(
            "{} is missing: `make build` makes it",
            wasm.display()
        )));
    }
    // Envoy shares its ports with other Envoys, so it would not notice that one is taken.
    for (port, what) in [
        (ports.admin, "Envoy's admin page"),
        (ports.gateway, "the gateway"),
    ] {
        drop(listen(port, what).await?);
    }
    if !real {
        tokio::spawn(upstream::serve(
            listen(ports.upstream, "the demo upstream").await?,
        ));
    }

    fs::create_dir_all(STATE)?;
    let bootstrap = Path::new(STATE).join("envoy.yaml");
    let log = Path::new(STATE).join("envoy.log");
    let wasm = serde_json::to_string(&wasm.to_string_lossy())?; // a JSON string is a YAML string
    let example = if real { OPENAI } else { DEMO };
    let example = ports.put_into(example).replace("target/cohort.wasm", &wasm);
    fs::write(&bootstrap, example)?;
    let mut child = start(envoy, &bootstrap, &log)?;

    tokio::pin!(stop);
    let ended = tokio::select! {
        ended = ready(&mut child, ports.admin) => ended?,
        () = &mut stop => return quit(child, ports.admin).await,
    };
    if let Some(status) = ended {
        return Err(stopped(status, &log));
    }
    say(&greeting(real, ports))?;
    tokio::select! {
        status = child.wait() => Err(stopped(status?, &log)),
        () = stop => quit(child, ports.admin).await,
    }
}

fn start(envoy: &Path, bootstrap: &Path, log: &Path) -> io::Result<Child> {
    let file = fs::File::create(log)?;
    let options = [
        "--disable-hot-restart",
        "--concurrency",
        "2",
        "--file-flush-interval-msec",
        "200",
    ];
    Command::new(envoy)
        .args(options)
        .arg("-c")
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
async fn ready(child: &mut Child, port: u16) -> io::Result<Option<ExitStatus>> {
    let serving = async {
        while !admin(port, "GET", "/ready")
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
async fn quit(mut child: Child, port: u16) -> io::Result<()> {
    // No answer: Ctrl-C reached it as well, and it is on its way.
    let _ = admin(port, "POST", "/quitquitquit").await;
    if timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
        child.kill().await?;
    }
    Ok(())
}

async fn admin(port: u16, method: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
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

fn greeting(real: bool, ports: Ports) -> String {
    let Ports { admin, gateway, .. } = ports;
    let upstream = if real { "OpenAI" } else { "a demo upstream" };
    format!(
        r#"Cohort serves on http://127.0.0.1:{gateway} in front of {upstream}. Ctrl-C stops it. Try:

# engineering may use gpt-4o
curl -i http://127.0.0.1:{gateway}/v1/chat/completions -H 'authorization: Bearer kt_cg_engineering_abc123' \
  -H 'content-type: application/json' -d '{{"model":"gpt-4o","messages":[{{"role":"user","content":"Hello"}}]}}'

# marketing may not: 403 model_not_allowed
curl -i http://127.0.0.1:{gateway}/v1/chat/completions -H 'authorization: Bearer kt_cg_marketing_def456' \
  -H 'content-type: application/json' -d '{{"model":"gpt-4o","messages":[{{"role":"user","content":"Hello"}}]}}'

# research, as a stream
curl -N http://127.0.0.1:{gateway}/v1/chat/completions -H 'authorization: Bearer kt_cg_research_ghi789' \
  -H 'content-type: application/json' -d '{{"model":"gpt-4o-mini","stream":true,"messages":[{{"role":"user","content":"Hello"}}]}}'

Events: {STATE}/events.jsonl   Access log: {STATE}/access.log   Envoy's log: {STATE}/envoy.log   Metrics: http://127.0.0.1:{admin}/stats/prometheus
"#
    )
}
