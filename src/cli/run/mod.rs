//! `cohort run`: a real Envoy with the filter and a policy file, for as long as this command runs.
//!
//! Renders what Envoy gets, starts it, and replaces the policy when the file changes: the parts that may change are
//! files that Envoy watches, so no request is lost and the counters stay. A file that is invalid changes nothing. Decides
//! nothing about requests.

mod bootstrap;
mod control;
mod counters;
mod envoy;
mod seed;
mod source;
mod state;
mod status;
mod upstream;

pub(super) use control::Reload;
pub(super) use source::Source;
pub(super) use status::Status;

use super::demo::upstream as demo_upstream;
use super::{Failure, clock};
use bootstrap::{CLUSTERS, FILTER, Filter, Listen, Part, ROUTES, Surroundings};
use control::{Answer, Caller, Wish, Wishes};
use envoy::Envoy;
use serde_json::{Value, json};
use source::{Loaded, Stamp};
use state::State;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{interval, sleep};
use upstream::{Address, Upstream};

/// How often the file is looked at; it must be the same twice.
const WATCH: Duration = Duration::from_millis(250);
/// How long Envoy has to take a change.
const TAKE_TRIES: usize = 200;
const TAKE_PAUSE: Duration = Duration::from_millis(50);
/// What the demo upstream gets in place of a provider's key.
const STAND_IN: &str = "demo-upstream-key";

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
    /// Where the gateway listens
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// Where the gateway listens
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
    /// The Envoy to start; default: the one on PATH, or .envoy/envoy
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
        let signals = Signals::new()?;
        match Running::start(settings).await? {
            Some(running) => running.serve(signals).await,
            None => Ok(ExitCode::FAILURE),
        }
    })
}

/// A gateway that serves.
struct Running {
    settings: Settings,
    wasm: PathBuf,
    demo: Option<SocketAddr>,
    envoy: Envoy,
    wishes: Wishes,
    /// Counts what Envoy was given.
    version: u64,
    in_force: Loaded,
    loaded_at: String,
    /// Clusters are added and changed, never taken away: a request under way may still need one.
    addresses: BTreeMap<String, Address>,
    /// What Envoy has of these.
    surroundings: Surroundings,
    /// Why the file as it is now is not in force.
    error: Option<String>,
    _state: State,
}

impl Running {
    /// `None`: the policy is invalid, and it was said.
    async fn start(settings: Settings) -> Result<Option<Self>, Failure> {
        let program = envoy::find(settings.envoy.as_deref()).map_err(Failure)?;
        let wasm = envoy::find_wasm(settings.wasm.as_deref()).map_err(Failure)?;
        let loaded = match settings.source.load(secret(settings.demo.is_some())) {
            Ok(loaded) => loaded,
            Err(text) => {
                complain(&text);
                return Ok(None);
            }
        };
        let mut state = State::open()?;
        if settings.admin == settings.port {
            return Err(Failure(format!(
                "the gateway and Envoy's admin page cannot both have port {}",
                settings.port
            )));
        }
        if let Some(id) = state::left_behind() {
            return Err(Failure(format!(
                "the Envoy of a gateway that was killed still runs (process {id}): stop it with `kill {id}`"
            )));
        }
        // Envoy shares its ports with other Envoys, so it would not notice that one is taken.
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        drop(listen(local, settings.admin, "Envoy's admin page").await?);
        drop(listen(settings.address, settings.port, "the gateway").await?);
        let mut demo = None;
        if let Some(port) = settings.demo {
            let listener = listen(local, port, "the demo upstream").await?;
            demo = Some(listener.local_addr()?);
            tokio::spawn(demo_upstream::serve(listener));
        }
        let addresses =
            upstream::addresses(&loaded.config, &settings.upstreams, demo).map_err(Failure)?;
        if let Source::File(_) = settings.source {
            complain(&loaded.warnings);
        }

        let filter = Filter {
            wasm: &wasm,
            stand_in: demo.map(|_| STAND_IN),
        };
        let listen = Listen {
            address: settings.address,
            port: settings.port,
            admin: settings.admin,
        };
        let broken = || Failure(bootstrap::BROKEN.to_owned());
        let document = loaded.document(&seeds(&loaded));
        let surroundings = Surroundings::new(&loaded.config, &addresses).map_err(Failure)?;
        let resource = bootstrap::filter(&filter, &loaded, &document).ok_or_else(broken)?;
        let start = bootstrap::bootstrap(&listen, &filter).ok_or_else(broken)?;
        state::write(
            CLUSTERS.file,
            &bootstrap::response(0, &surroundings.clusters),
        )?;
        let routes = std::slice::from_ref(&surroundings.routes);
        state::write(ROUTES.file, &bootstrap::response(0, routes))?;
        state::write(FILTER.file, &bootstrap::response(0, &[resource]))?;
        state::write("envoy.json", &start)?;
        let _ = fs::remove_file(state::path("counters.sock")); // of an Envoy that was killed

        let mut envoy = Envoy::start(envoy::Start {
            program: &program,
            bootstrap: &state::path("envoy.json"),
            log: state::path("envoy.log"),
            admin: settings.admin,
            workers: settings.workers,
        })?;
        state.sign()?;
        if let Some(id) = envoy.id() {
            state::write(state::ENVOY, &id.to_string())?;
        }
        let wishes = Wishes::listen()?;
        envoy.ready().await?;
        say(&settings.greeting)?;
        Ok(Some(Self {
            settings,
            wasm,
            demo,
            envoy,
            wishes,
            version: 0,
            in_force: loaded,
            loaded_at: clock::now().to_string(),
            addresses,
            surroundings,
            error: None,
            _state: state,
        }))
    }

    async fn serve(mut self, mut signals: Signals) -> Result<ExitCode, Failure> {
        let mut watch = interval(WATCH);
        let mut seen = self.settings.source.stamp();
        let mut settling: Stamp = None;
        loop {
            tokio::select! {
                error = self.envoy.ended() => return Err(error.into()),
                signal = signals.next() => match signal {
                    Told::Stop => return self.stop(signals).await,
                    Told::Reload => {
                        seen = self.settings.source.stamp();
                        let _ = self.reload_aloud().await; // said there
                    }
                    Told::ReopenLogs => drop(self.envoy.tell("/reopen_logs").await),
                },
                caller = self.wishes.next() => {
                    let Ok(mut caller) = caller else {
                        sleep(WATCH).await; // too many open files: it may pass
                        continue;
                    };
                    if let Some(wish) = caller.wish().await {
                        if wish == Wish::Reload {
                            seen = self.settings.source.stamp();
                        }
                        self.grant(wish, caller).await;
                    }
                }
                _ = watch.tick() => {
                    let stamp = self.settings.source.stamp();
                    // Gone for a moment, or still being written: not yet.
                    if stamp.is_some() && stamp != seen && stamp == settling {
                        seen = stamp;
                        let _ = self.reload_aloud().await; // said there
                    }
                    settling = stamp;
                }
            }
        }
    }

    async fn stop(self, mut signals: Signals) -> Result<ExitCode, Failure> {
        complain("Stopping: requests under way end first; once more stops at once.\n");
        tokio::select! {
            () = self.envoy.drain(self.settings.drain) => {}
            () = signals.stop() => {}
        }
        self.envoy.quit().await?;
        let _ = fs::remove_file(state::path(state::ENVOY)); // only says who was left behind
        Ok(ExitCode::SUCCESS)
    }

    async fn grant(&mut self, wish: Wish, caller: Caller) {
        let mut answer = Answer::default();
        match wish {
            Wish::Reload => match self.reload_aloud().await {
                Ok((warnings, line)) => {
                    answer.done = true;
                    (answer.text, answer.line) = (warnings, line);
                }
                Err(text) => answer.text = text,
            },
            Wish::Status => match self.status().await {
                Ok(status) => {
                    answer.done = true;
                    answer.status = status;
                }
                Err(error) => answer.text = format!("the counters cannot be read: {error}"),
            },
        }
        caller.answer(&answer).await;
    }

    async fn status(&self) -> io::Result<Value> {
        let config = &self.in_force.config;
        let clock = self.in_force.policy.clock(clock::now());
        let note = config.counters.service.as_ref().map(|service| {
            format!(
                "The rate-limit service '{}' counts; what this Envoy holds is its own part only.",
                service.cluster
            )
        });
        Ok(json!({
            "config": self.settings.source.name(),
            "loaded_at": self.loaded_at,
            "error": self.error,
            "note": note,
            "process": std::process::id(),
            "envoy": self.envoy.id(),
            "limits": counters::read(config, clock).await?,
        }))
    }

    /// Reads the policy again, and says here what came of it.
    async fn reload_aloud(&mut self) -> Result<(String, String), String> {
        let done = self.reload().await;
        let name = self.settings.source.name();
        match &done {
            Ok((warnings, line)) => {
                self.error = None;
                complain(&format!("{warnings}{line}\n"));
            }
            Err(text) => {
                self.error = Some(anstream::adapter::strip_str(text).to_string());
                complain(&format!(
                    "{text}{name} is not taken; what was in force still is.\n"
                ));
            }
        }
        done
    }

    /// Puts the policy as it is now in force; warnings, and what was done.
    async fn reload(&mut self) -> Result<(String, String), String> {
        let name = self.settings.source.name();
        let loaded = self.settings.source.load(secret(self.demo.is_some()))?;
        if loaded.text == self.in_force.text {
            return Ok((String::new(), format!("{name} is in force already")));
        }
        let mut addresses = self.addresses.clone();
        let needed = upstream::addresses(&loaded.config, &self.settings.upstreams, self.demo);
        addresses.extend(needed.map_err(|error| format!("error: {error}\n"))?);
        let failed = |error: String| format!("error: {error}\n");
        let surroundings = Surroundings::new(&loaded.config, &addresses).map_err(failed)?;
        let filter = Filter {
            wasm: &self.wasm,
            stand_in: self.demo.map(|_| STAND_IN),
        };
        let resource = |of: &Loaded| {
            let resource = bootstrap::filter(&filter, of, &of.document(&[]));
            resource.ok_or_else(|| failed(bootstrap::BROKEN.to_owned()))
        };
        let (new, old) = (resource(&loaded)?, resource(&self.in_force)?);
        // What a part needs comes before it.
        if surroundings.clusters != self.surroundings.clusters {
            self.give(&CLUSTERS, &surroundings.clusters).await?;
            self.surroundings.clusters = surroundings.clusters;
            self.addresses = addresses;
        }
        let routes = surroundings.routes;
        let others = routes != self.surroundings.routes;
        if others {
            self.give(&ROUTES, std::slice::from_ref(&routes)).await?;
        }
        // Envoy takes no notice of what says the same: another comment, another layout.
        let same = new == old;
        if !same && let Err(error) = self.give(&FILTER, &[new]).await {
            // So that what Envoy will not have is not what it finds one day, and the old policy has its routes.
            let _ = state::write(FILTER.file, &bootstrap::response(self.version, &[old]));
            if others {
                let routes = self.surroundings.routes.clone();
                self.give(&ROUTES, &[routes]).await?;
            }
            return Err(error);
        }
        self.surroundings.routes = routes;
        self.in_force = loaded;
        self.loaded_at = clock::now().to_string();
        let warnings = self.in_force.warnings.clone();
        Ok((warnings, format!("{name} is in force")))
    }

    /// Gives Envoy another version of a part, and waits until it has taken it.
    async fn give(&mut self, part: &Part, resources: &[Value]) -> Result<(), String> {
        let failed = |error: io::Error| format!("error: {error}\n");
        let taken = self.envoy.stat(part.taken).await.map_err(failed)?;
        let refused = self.envoy.stat(part.refused).await.map_err(failed)?;
        let log = self.envoy.log();
        self.version = self.version.saturating_add(1);
        let text = bootstrap::response(self.version, resources);
        state::write(part.file, &text).map_err(failed)?;
        for _ in 0..TAKE_TRIES {
            if self.envoy.stat(part.refused).await.map_err(failed)? > refused {
                return Err(format!(
                    "error: Envoy refuses it; from its log:\n{}",
                    log.refusals()
                ));
            }
            if self.envoy.stat(part.taken).await.map_err(failed)? > taken {
                return Ok(());
            }
            sleep(TAKE_PAUSE).await;
        }
        Err("error: Envoy does not take notice of it\n".to_owned())
    }
}

/// What the windows held when the last Envoy here ended: of the event log, and what it was before it was rotated.
fn seeds(loaded: &Loaded) -> Vec<crate::limit::seed::Seed> {
    let logs = state::logs("events.jsonl").and_then(|logs| {
        let readers = logs.into_iter().map(io::BufReader::new);
        seed::sum(readers, &loaded.policy, clock::now())
    });
    logs.unwrap_or_else(|error| {
        complain(&format!(
            "warning: the event log cannot be read, so counters start at zero: {error}\n"
        ));
        Vec::new()
    })
}

/// Where secrets come from; the demo upstream gets none that is real.
fn secret(demo: bool) -> impl Fn(&str) -> Option<String> {
    move |name| {
        if demo {
            Some(STAND_IN.to_owned())
        } else {
            std::env::var(name).ok()
        }
    }
}

/// What a signal asks for.
enum Told {
    ReopenLogs,
    Reload,
    Stop,
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    user: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.terminate.recv() => Told::Stop,
            // A terminal that goes takes its commands along; to others the signal means a new configuration.
            _ = self.hangup.recv() => if io::stdout().is_terminal() { Told::Stop } else { Told::Reload },
            _ = self.user.recv() => Told::ReopenLogs,
        }
    }

    async fn stop(&mut self) {
        while !matches!(self.next().await, Told::Stop) {}
    }
}

pub(super) async fn listen(address: IpAddr, port: u16, what: &str) -> io::Result<TcpListener> {
    let address = SocketAddr::new(address, port);
    TcpListener::bind(address)
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => io::Error::other(format!(
                "{address} is taken, {what} needs it: stop what listens there and try again"
            )),
            _ => io::Error::other(format!("{address}, for {what}: {error}")),
        })
}

fn complain(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes()); // nowhere left to say it
}

fn say(text: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}
