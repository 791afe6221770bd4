//! What signals ask a gateway for.

use std::io::{self, IsTerminal as _};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
pub(super) enum Told {
    ReopenLogs,
    Reload,
    Stop,
}

pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    user: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }

    pub(super) async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.terminate.recv() => Told::Stop,
            // A terminal that goes takes its commands along; to others the signal means a new configuration.
            _ = self.hangup.recv() => if io::stdout().is_terminal() { Told::Stop } else { Told::Reload },
            _ = self.user.recv() => Told::ReopenLogs,
        }
    }

    pub(super) async fn stop(&mut self) {
        while !matches!(self.next().await, Told::Stop) {}
    }
}
