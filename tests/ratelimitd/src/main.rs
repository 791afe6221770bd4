//! Servers of Envoy's global rate-limit protocol for Cohort's tests, in memory, with faults to switch on.
//!
//! | `--dialect` | what answers |
//! |---|---|
//! | `limitador` | Limitador's own library, called as limitador-server calls it: [`mod@crate::limitador`] |
//! | `envoy` | a MODEL of envoyproxy/ratelimit, written from its source: [`crate::envoy`] says what was read there |
//!
//! ```text
//! ratelimitd --dialect envoy --limits a.yaml [--limits b.yaml] [--listen 127.0.0.1:0] [--admin 127.0.0.1:0]
//!            [--rate-limit-headers DRAFT_VERSION_03]
//! ```
//!
//! `--limits` are in the format of the server that the dialect is of. The first line on stdout tells the addresses:
//! `{"grpc":"127.0.0.1:40001","admin":"127.0.0.1:40002"}`. [`crate::admin`] is the tests' own door.

mod admin;
mod envoy;
mod grpc;
mod limitador;
mod proto;
mod server;

use std::env;
use std::error::Error;
use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;

use crate::envoy::Envoy;
use crate::limitador::Limitador;
use crate::server::{Dialect, Server};

type Shared = Arc<Mutex<Server>>;

/// Also after a panic of the limitador crate, which leaves nothing half done.
fn lock(server: &Shared) -> MutexGuard<'_, Server> {
    server.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unix_time() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse(env::args().skip(1))?;
    let files: Vec<String> = options
        .limits
        .iter()
        .map(|path| fs::read_to_string(path).map_err(|error| format!("{path}: {error}")))
        .collect::<Result<_, _>>()?;
    let dialect = match options.dialect.as_str() {
        "envoy" => Dialect::Envoy(Envoy::load(&files)?),
        "limitador" => Dialect::Limitador(Limitador::load(&files, options.headers)?),
        other => return Err(format!("no dialect: {other:?}").into()),
    };
    let server = Arc::new(Mutex::new(Server::new(dialect)));
    let grpc = TcpListener::bind(options.listen).await?;
    let admin = TcpListener::bind(options.admin).await?;
    let addresses = serde_json::json!({"grpc": grpc.local_addr()?, "admin": admin.local_addr()?});
    writeln!(io::stdout(), "{addresses}")?;
    tokio::join!(
        grpc::serve(grpc, Shared::clone(&server)),
        admin::serve(admin, server),
    );
    Ok(())
}

struct Options {
    dialect: String,
    limits: Vec<String>,
    listen: SocketAddr,
    admin: SocketAddr,
    headers: bool,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut options = Self {
            dialect: String::new(),
            limits: Vec::new(),
            listen: any,
            admin: any,
            headers: false,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} what?"))?;
            match name.as_str() {
                "--dialect" => options.dialect = value,
                "--limits" => options.limits.push(value),
                "--listen" => options.listen = value.parse()?,
                "--admin" => options.admin = value.parse()?,
                "--rate-limit-headers" => options.headers = value == "DRAFT_VERSION_03",
                _ => return Err(format!("no option: {name}").into()),
            }
        }
        Ok(options)
    }
}
