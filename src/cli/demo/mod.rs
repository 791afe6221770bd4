//! `cohort demo`: the tutorial in a real Envoy, on this machine, with or without a provider.
//!
//! `cohort run` with a policy that is part of the program and, where there is no key, an upstream that is too; prints
//! requests to try. Knows nothing of what the filter decides.

pub(super) mod upstream;

use super::Failure;
use super::run::{Settings, Source, listen, serve};
use std::env;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const TUTORIAL: &str = include_str!("../../../testdata/config/valid/tutorial.yaml");

/// A gateway to try: the tutorial's policy before a demo upstream, or before `OpenAI` where `OPENAI_API_KEY` is set
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Demo {
    #[command(subcommand)]
    part: Option<Part>,
    /// The gateway's, on 127.0.0.1; Envoy's admin page has the one before it, the demo upstream the one after
    #[arg(long, value_name = "N", default_value_t = 41002, value_parser = clap::value_parser!(u16).range(2..=65534))]
    port: u16,
    /// The Envoy to start; default: the one on PATH, or the one that `make envoy` got
    #[arg(long, value_name = "PATH")]
    envoy: Option<PathBuf>,
    /// The filter; default: target/cohort.wasm, or the one beside this program
    #[arg(long, value_name = "PATH")]
    wasm: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum Part {
    /// Run the demo upstream alone: an OpenAI- and Anthropic-like API that echoes the headers it saw
    Upstream {
        /// On 127.0.0.1; 0 picks a free one
        #[arg(long, default_value_t = 41003)]
        port: u16,
    },
}

impl Demo {
    /// Runs until interrupted.
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        if let Some(Part::Upstream { port }) = self.part {
            return Ok(upstream_alone(port).map(|()| ExitCode::SUCCESS)?);
        }
        let real = env::var_os("OPENAI_API_KEY").is_some_and(|key| !key.is_empty());
        let admin = self.port.saturating_sub(1);
        serve(Settings {
            source: Source::Text("the tutorial", TUTORIAL),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: self.port,
            admin,
            upstreams: Vec::new(),
            demo: (!real).then_some(self.port.saturating_add(1)),
            drain: Duration::from_secs(2),
            workers: 2,
            envoy: self.envoy,
            wasm: self.wasm,
            greeting: greeting(real, self.port, admin),
        })
    }
}

fn upstream_alone(port: u16) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = listen(
            Ipv4Addr::LOCALHOST.into(),
            port,
            "the demo upstream",
            "--port",
        )
        .await?;
        let address = listener.local_addr()?;
        writeln!(
            io::stdout().lock(),
            "The demo upstream listens on http://{address}"
        )?;
        upstream::serve(listener).await
    })
}

fn greeting(real: bool, gateway: u16, admin: u16) -> String {
    const STATE: &str = ".cohort";
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

Events: {STATE}/events.jsonl   Access log: {STATE}/access.log   Envoy's log: {STATE}/envoy.log   Metrics: http://127.0.0.1:{admin}/stats/prometheus"#
    )
}
