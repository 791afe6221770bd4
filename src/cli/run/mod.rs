//! `cohort run`: a real Envoy with the filter and a policy file, for as long as this command runs.
//!
//! Renders what Envoy gets, starts it, and replaces the policy when the file changes: the parts that may change are
//! files that Envoy watches, so no request is lost and the counters stay. A file that is invalid changes nothing. Decides
//! nothing about requests.

mod bootstrap;
mod control;
mod counters;
mod envoy;
mod running;
mod seed;
mod signals;
mod source;
mod state;
mod status;

pub(super) use control::Reload;
pub(super) use source::Source;
pub(super) use status::Status;

use super::{Failure, clock};
use crate::render::envoy::Upstream;
use running::Running;
use signals::Signals;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;

/// Start a gateway: an Envoy with the filter, and a policy file that it follows
///
/// The policy file may be changed at any time: a valid one is in force a moment later, without a lost request; an invalid
/// one changes nothing, and is told of here. Ctrl-C or SIGTERM lets requests under way end first.
///
/// State and logs are in .cohort/, one gateway a folder. To rotate a log there: rename it, then send SIGUSR1.
#[derive(clap::Args)]
pub(super) struct Run {
    /// The policy file
    #[arg(
        long,
        alias = "policy-config",
        value_name = "FILE",
        default_value = "policy-config.yaml"
    )]
    config: PathBuf,
    /// The address that the gateway listens on; 0.0.0.0: all of this machine's
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// The port that the gateway listens on
    #[arg(long, value_name = "N", default_value_t = 41002, value_parser = clap::value_parser!(u16).range(2..))]
    port: u16,
    /// Envoy's admin page, on 127.0.0.1 only: metrics, statistics; default: the port before the gateway's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    admin_port: Option<u16>,
    /// Where a provider target is, by the name of its cluster (its id): vllm=http://10.0.0.7:8000
    #[arg(long = "upstream", value_name = "NAME=URL")]
    upstreams: Vec<Upstream>,
    /// Answer in the providers' place, for a try without keys
    #[arg(long)]
    demo_upstream: bool,
    /// How long requests under way may take to end when the gateway stops
    #[arg(long, value_name = "TIME", value_parser = clock::parse_duration, default_value = "30s")]
    drain: Duration,
    /// Envoy's worker threads; default: one a processor, at most 8
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    workers: Option<u16>,
    /// The Envoy to start; default: the one on PATH, or the one that `make envoy` got
    #[arg(long, value_name = "PATH")]
    envoy: Option<PathBuf>,
    /// The filter; default: target/cohort.wasm, or the one beside this program
    #[arg(long, value_name = "PATH")]
    wasm: Option<PathBuf>,
}

/// The same as `run`, spelled `gateway run --policy-config FILE`
#[derive(clap::Subcommand)]
pub(super) enum Gateway {
    Run(Run),
}

/// The same as `reload`, spelled `config reload`
#[derive(clap::Subcommand)]
pub(super) enum Config {
    Reload(Reload),
}

/// What a gateway is to be.
pub(super) struct Settings {
    pub(super) source: Source,
    pub(super) address: IpAddr,
    pub(super) port: u16,
    pub(super) admin: u16,
    pub(super) upstreams: Vec<Upstream>,
    /// The port of the demo upstream, if it is to stand in for all providers; 0: a free one.
    pub(super) demo: Option<u16>,
    pub(super) drain: Duration,
    pub(super) workers: usize,
    pub(super) envoy: Option<PathBuf>,
    pub(super) wasm: Option<PathBuf>,
    /// Said when it serves.
    pub(super) greeting: String,
}

impl Run {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let processors = std::thread::available_parallelism().map_or(2, |count| count.get().min(8));
        let admin = self
            .admin_port
            .unwrap_or_else(|| self.port.saturating_sub(1));
        let gateway = SocketAddr::new(self.address, self.port);
        let greeting = format!(
            "Cohort serves {} on http://{gateway}. Ctrl-C stops it.\nEvents: {1}/events.jsonl   Access log: {1}/access.log   Envoy's log: {1}/envoy.log   Metrics: http://127.0.0.1:{admin}/stats/prometheus",
            self.config.display(),
            state::DIR,
        );
        serve(Settings {
            source: Source::File(self.config),
            address: self.address,
            port: self.port,
            admin,
            upstreams: self.upstreams,
            demo: self.demo_upstream.then_some(0),
            drain: self.drain,
            workers: self.workers.map_or(processors, usize::from),
            envoy: self.envoy,
            wasm: self.wasm,
            greeting,
        })
    }
}

/// What to say of a port that two things are to have.
pub(crate) fn one_port(port: u16) -> String {
    format!("the gateway and Envoy's admin page cannot both have port {port}")
}

impl Gateway {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let Self::Run(run) = self;
        run.run()
    }
}

impl Config {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let Self::Reload(reload) = self;
        reload.run()
    }
}

/// Serves until it is told to stop. The exit code is 1 where the policy is invalid at the start.
pub(super) fn serve(settings: Settings) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        let started = tokio::select! {
            started = Running::start(settings) => started?,
            () = signals.stop() => return Ok(ExitCode::SUCCESS), // its Envoy ends with it
        };
        match started {
            Some(running) => running.serve(signals).await,
            None => Ok(ExitCode::FAILURE),
        }
    })
}

/// `option` is the one that names another port.
pub(super) async fn listen(
    address: IpAddr,
    port: u16,
    what: &str,
    option: &str,
) -> io::Result<TcpListener> {
    let address = SocketAddr::new(address, port);
    TcpListener::bind(address)
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => io::Error::other(format!(
                "{address} is taken, {what} needs it: stop what listens there, or say another port with {option}"
            )),
            _ => io::Error::other(format!("{address}, for {what}: {error}")),
        })
}
