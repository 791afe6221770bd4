//! Limits that a rate-limit service holds, for any number of Envoys: in real ones, with two workers each.
//!
//! The services are those of `tests/ratelimitd/`: Limitador's own library, and a model of envoyproxy/ratelimit.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

#[path = "limit_service/aborts.rs"]
mod aborts;
#[path = "limit_service/budgets.rs"]
mod budgets;
#[path = "limit_service/failures.rs"]
mod failures;
#[path = "limit_service/leases.rs"]
mod leases;
#[path = "limit_service/levels.rs"]
mod levels;
#[path = "limit_service/moderated.rs"]
mod moderated;
#[path = "limit_service/requests.rs"]
mod requests;
#[path = "limit_service/tokens.rs"]
mod tokens;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use support::client::{Request, Response};
use support::crowd::statuses;
use support::envoy::{Gateway, Running};
use support::limit_service::{STORE_ERRORS, World, policy};
use support::ratelimitd::{Counts, Dialect, Hits, Ratelimitd};
use support::upstream::{Seen, Upstream, chat};
use tokio::task::JoinSet;
use tokio::time::sleep;

const DIALECTS: [Dialect; 3] = [
    Dialect::Envoy,
    Dialect::Limitador,
    Dialect::LimitadorWithHeaders,
];

/// So many of each status; none of those that are 0.
fn expected<const N: usize>(counts: [(u16, usize); N]) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::from(counts);
    counts.retain(|_, count| *count > 0);
    counts
}

fn ask(key: &str) -> Request {
    Request::chat(key, "gpt-4o")
}

/// Where an error of ours says that it comes from.
fn fired(answer: &Response) -> [Value; 4] {
    let error = answer.json()["error"].take();
    ["code", "limit", "consumer_group", "scope"].map(|field| error[field].clone())
}
