//! The rate-limit service that contenders ask: `tests/ratelimitd/`, the model of envoyproxy/ratelimit, in a process of its
//! own. What it costs is outside Envoy.

use serde_json::Value;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// For Envoy's filter; our filter's questions carry their limits.
const LIMITS: &str = "domain: cohort\ndescriptors: [{key: group, rate_limit: {unit: minute, requests_per_unit: 1000000000}}]\n";

pub(crate) struct Service {
    child: Child,
    pub(crate) address: SocketAddr,
    admin: String,
}

impl Service {
    pub(crate) fn start(program: &str, folder: &Path) -> Self {
        let limits = folder.join("limits.yaml");
        fs::write(&limits, LIMITS).unwrap();
        let mut child = Command::new(program)
            .args(["--dialect", "envoy", "--limits"])
            .arg(limits)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let addresses: Value = serde_json::from_str(&line).unwrap();
        let text = |name: &str| addresses[name].as_str().unwrap().to_owned();
        Self {
            child,
            address: text("grpc").parse().unwrap(),
            admin: text("admin"),
        }
    }

    /// Calls so far.
    pub(crate) fn calls(&self) -> f64 {
        let counts = format!("http://{}/counts", self.admin);
        let output = Command::new("curl").args(["-s", &counts]).output().unwrap();
        let counts: Value = serde_json::from_slice(&output.stdout).unwrap();
        counts["calls"]["ShouldRateLimit"].as_f64().unwrap_or(0.0)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
