//! A gateway from its start to its end: Envoy, the policy in force, and everything that may happen to them.

use super::super::demo::upstream as demo_upstream;
use super::super::{Failure, NO_POLICY, clock};
use super::bootstrap::{self, CLUSTERS, FILTER, Part, ROUTES, Surroundings};
use super::control::{Answer, Caller, Wish, Wishes};
use super::envoy::{self, Envoy};
use super::signals::{Signals, Told};
use super::source::{Loaded, Source, Stamp};
use super::state::{self, State};
use super::{Settings, counters, listen, seed};
use crate::render::envoy::{self as render, Address, BROKEN, Filter, Listen};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::{interval, sleep};

/// How often the file is looked at; it must be the same twice.
const WATCH: Duration = Duration::from_millis(250);
/// How long Envoy has to take a change.
const TAKE_TRIES: usize = 200;
const TAKE_PAUSE: Duration = Duration::from_millis(50);
/// What the demo upstream gets in place of a provider's key.
const STAND_IN: &str = "demo-upstream-key";

/// A gateway that serves.
pub(super) struct Running {
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
    /// The file that was read last.
    seen: Stamp,
    /// Why the file as it is now is not in force.
    error: Option<String>,
    _state: State,
}

impl Running {
    /// `None`: the policy is invalid, and it was said.
    pub(super) async fn start(settings: Settings) -> Result<Option<Self>, Failure> {
        let program = envoy::find(settings.envoy.as_deref()).map_err(Failure)?;
        let wasm = envoy::find_wasm(settings.wasm.as_deref()).map_err(Failure)?;
        if let Source::File(path) = &settings.source {
            fs::File::open(path).map_err(|error| Failure::reading(path, &error, NO_POLICY))?;
        }
        let seen = settings.source.stamp();
        let loaded = match settings.source.load(secret(settings.demo.is_some())) {
            Ok(loaded) => loaded,
            Err(text) => {
                complain(&text);
                return Ok(None);
            }
        };
        let mut state = State::open()?;
        if settings.admin == settings.port {
            return Err(Failure(super::one_port(settings.port)));
        }
        if let Some(id) = state::left_behind() {
            return Err(Failure(format!(
                "the Envoy of a gateway that was killed still runs (process {id}): stop it with `kill {id}`"
            )));
        }
        // Envoy shares its ports with other Envoys, so it would not notice that one is taken.
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let option = match settings.source {
            Source::File(_) => "--admin-port",
            Source::Text(..) => "--port", // the admin page's is the one before it
        };
        drop(listen(local, settings.admin, "Envoy's admin page", option).await?);
        drop(listen(settings.address, settings.port, "the gateway", "--port").await?);
        let mut demo = None;
        if let Some(port) = settings.demo {
            let listener = listen(local, port, "the demo upstream", "--port").await?;
            demo = Some(listener.local_addr()?);
            tokio::spawn(demo_upstream::serve(listener));
        }
        let addresses =
            render::addresses(&loaded.config, &settings.upstreams, demo).map_err(Failure)?;
        if let Source::File(_) = settings.source {
            complain(&loaded.warnings);
            complain(&render::unknown(&loaded.config, &settings.upstreams));
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
        let broken = || Failure(BROKEN.to_owned());
        let document = loaded.document(&seeds(&loaded));
        let surroundings = Surroundings::new(&loaded.config, &addresses).map_err(Failure)?;
        let resource = bootstrap::filter(&filter, &loaded.config, &document).ok_or_else(broken)?;
        let start = bootstrap::bootstrap(&listen, &filter, &loaded.config).ok_or_else(broken)?;
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
            seen,
            error: None,
            _state: state,
        }))
    }

    pub(super) async fn serve(mut self, mut signals: Signals) -> Result<ExitCode, Failure> {
        let mut watch = interval(WATCH);
        let mut settling: Stamp = None;
        loop {
            tokio::select! {
                error = self.envoy.ended() => return Err(error.into()),
                signal = signals.next() => match signal {
                    Told::Stop => return self.stop(signals).await,
                    Told::Reload => {
                        self.seen = self.settings.source.stamp();
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
                            self.seen = self.settings.source.stamp();
                        }
                        self.grant(wish, caller).await;
                    }
                }
                _ = watch.tick() => {
                    let stamp = self.settings.source.stamp();
                    // Gone for a moment, or still being written: not yet.
                    if stamp.is_some() && stamp != self.seen && stamp == settling {
                        self.seen = stamp;
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
        let needed = render::addresses(&loaded.config, &self.settings.upstreams, self.demo);
        addresses.extend(needed.map_err(|error| format!("error: {error}\n"))?);
        let failed = |error: String| format!("error: {error}\n");
        let surroundings = Surroundings::new(&loaded.config, &addresses).map_err(failed)?;
        let filter = Filter {
            wasm: &self.wasm,
            stand_in: self.demo.map(|_| STAND_IN),
        };
        let resource = |of: &Loaded| {
            let resource = bootstrap::filter(&filter, &of.config, &of.document(&[]));
            resource.ok_or_else(|| failed(BROKEN.to_owned()))
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
    let logs = state::mend("events.jsonl").and_then(|()| state::logs("events.jsonl"));
    let logs = logs.and_then(|logs| {
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

fn complain(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes()); // nowhere left to say it
}

fn say(text: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}
