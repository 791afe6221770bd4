//! A rate-limit service in a process of its own: `tests/ratelimitd/`, whose docs tell what is real in it and what a model.
//!
//! ```ignore
//! let Some(mut service) = Ratelimitd::start(Dialect::Envoy, LIMITS).await else { return };
//! let gateway = Gateway::new(policy).grpc_cluster("ratelimit", service.address());
//! service.fault(Fault::Hang).await;
//! assert_eq!(service.counts().await.hits("cohort|group=gold|limit=tokens_per_minute").counted, 15);
//! service.kill().await;
//! service.restart().await;
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use prost::Message as _;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::client::Request;
use super::envoy::{Dir, required};

/// The server's own: whether they are right on the wire is shown by Envoy's filter, in `tests/ratelimitd.rs`.
#[path = "../ratelimitd/src/proto.rs"]
pub(crate) mod proto;

use proto::{RateLimitRequest, RateLimitResponse};

pub(crate) const SHOULD_RATE_LIMIT: &str =
    "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
pub(crate) const CHECK_RATE_LIMIT: &str =
    "/kuadrant.service.ratelimit.v1.RateLimitService/CheckRateLimit";
pub(crate) const REPORT: &str = "/kuadrant.service.ratelimit.v1.RateLimitService/Report";

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Dialect {
    /// The model of envoyproxy/ratelimit.
    Envoy,
    Limitador,
    /// With `X-RateLimit-*`, which limitador-server does not send by default.
    LimitadorWithHeaders,
}

/// What goes wrong with every call, until another is set.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    None,
    /// No answer, ever; nothing is counted.
    Hang,
    /// Counted at once and answered later.
    Delay(Duration),
    /// Status 0, and bytes that are no message.
    Garbage,
    /// Status 0, and these bytes.
    Message(Vec<u8>),
    /// An HTML page.
    NotGrpc,
    /// A gRPC status.
    Status(u16),
    /// The connection closes.
    Drop,
}

impl Fault {
    fn text(&self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Hang => "hang".to_owned(),
            Self::Delay(delay) => format!("delay_ms={}", delay.as_millis()),
            Self::Garbage => "garbage".to_owned(),
            Self::Message(bytes) => bytes.iter().fold("message=".to_owned(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            }),
            Self::NotGrpc => "not_grpc".to_owned(),
            Self::Status(code) => format!("status={code}"),
            Self::Drop => "drop".to_owned(),
        }
    }
}

/// What the server was asked since it started, or was reset.
#[derive(Debug, Deserialize)]
pub(crate) struct Counts {
    calls: BTreeMap<String, u64>,
    descriptors: BTreeMap<String, Hits>,
}

impl Counts {
    /// Calls of a method that arrived, whatever became of them.
    pub(crate) fn calls(&self, path: &str) -> u64 {
        let method = path.rsplit('/').next().unwrap();
        self.calls.get(method).copied().unwrap_or_default()
    }

    /// Of one descriptor, `domain|key=value|key=value`.
    pub(crate) fn hits(&self, descriptor: &str) -> Hits {
        self.descriptors
            .get(descriptor)
            .copied()
            .unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub(crate) struct Hits {
    /// Calls that were decided, looks as well.
    pub(crate) calls: u64,
    /// The sum of the addends.
    pub(crate) asked: u64,
    /// As much of it as a counter took: nothing where there is no limit, or where Limitador refused.
    pub(crate) counted: u64,
}

/// Why a call has no message for an answer.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Failed {
    Status(u16),
    /// No answer, or none that is gRPC.
    NotGrpc,
}

/// A server that serves, until it is killed or dropped.
pub(crate) struct Ratelimitd {
    program: String,
    arguments: Vec<String>,
    _dir: Dir,
    child: Child,
    addresses: Addresses,
}

#[derive(Deserialize)]
struct Addresses {
    grpc: SocketAddr,
    admin: SocketAddr,
}

impl Ratelimitd {
    /// Starts it on a port of its own, with limits in the format of the server that it stands for; those of several
    /// domains are several files there and are divided by lines of `---` here. `None`: it was not built, the test is
    /// skipped.
    pub(crate) async fn start(dialect: Dialect, limits: &str) -> Option<Self> {
        let program = required("RATELIMITD")?;
        let dir = Dir::new();
        let mut arguments: Vec<String> = match dialect {
            Dialect::Envoy => vec!["--dialect", "envoy"],
            Dialect::Limitador => vec!["--dialect", "limitador"],
            Dialect::LimitadorWithHeaders => vec![
                "--dialect",
                "limitador",
                "--rate-limit-headers",
                "DRAFT_VERSION_03",
            ],
        }
        .into_iter()
        .map(str::to_owned)
        .collect();
        for (index, file) in limits.split("\n---\n").enumerate() {
            let path: PathBuf = dir.path(&format!("limits-{index}.yaml"));
            fs::write(&path, file).unwrap();
            arguments.extend(["--limits".to_owned(), path.to_str().unwrap().to_owned()]);
        }
        let (child, addresses) = spawn(&program, &arguments).await;
        Some(Self {
            program,
            arguments,
            _dir: dir,
            child,
            addresses,
        })
    }

    /// Where it serves gRPC.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses.grpc
    }

    pub(crate) async fn fault(&self, fault: Fault) {
        let request = Request::new("PUT", "/fault").body(fault.text());
        self.admin(request).await;
    }

    pub(crate) async fn counts(&self) -> Counts {
        let counts = self.admin(Request::get("/counts")).await;
        serde_json::from_str(&counts).unwrap()
    }

    /// As after a start: no counters, no record, no fault.
    pub(crate) async fn reset(&self) {
        self.admin(Request::post("/reset")).await;
    }

    /// Ends it: connections to it are refused.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Kills it if it still runs, and starts it again at the same address, with counters at zero.
    pub(crate) async fn restart(&mut self) {
        self.kill().await;
        let mut arguments = self.arguments.clone();
        arguments.extend(["--listen".to_owned(), self.addresses.grpc.to_string()]);
        (self.child, self.addresses) = spawn(&self.program, &arguments).await;
    }

    /// Calls it directly.
    pub(crate) async fn call(
        &self,
        path: &str,
        request: &RateLimitRequest,
    ) -> Result<RateLimitResponse, Failed> {
        let message = request.encode_to_vec();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let request = Request::post(path)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body([&[0], length.as_slice(), &message].concat());
        let answer = request.send_http2(self.addresses.grpc, &[]).await;
        let answer = answer.map_err(|_| Failed::NotGrpc)?;
        // Only an answer without a message has its status in the headers.
        if let Some(status) = answer.header("grpc-status") {
            return Err(Failed::Status(status.parse().unwrap()));
        }
        let message = answer.body.get(5..).ok_or(Failed::NotGrpc)?;
        RateLimitResponse::decode(message).map_err(|_| Failed::NotGrpc)
    }

    async fn admin(&self, request: Request) -> String {
        let answer = request.send(self.addresses.admin).await;
        let answer = answer.expect("the server's admin port answers");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }
}

async fn spawn(program: &str, arguments: &[String]) -> (Child, Addresses) {
    let mut child = Command::new(program)
        .args(arguments)
        .env("RUST_BACKTRACE", "0") // Limitador's library panics where a test wants it to
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("ratelimitd starts");
    let mut line = String::new();
    let stdout = child.stdout.as_mut().unwrap();
    BufReader::new(stdout).read_line(&mut line).await.unwrap();
    let addresses = serde_json::from_str(&line).expect("ratelimitd tells its addresses");
    (child, addresses)
}
