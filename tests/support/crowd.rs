//! Many clients at the same moment.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::client::{Request, Response};
use super::upstream::{Gate, Upstream};

/// Sends all of them at once, each over a connection of its own, and waits for the answers.
pub(crate) async fn all_at_once(
    address: SocketAddr,
    requests: impl IntoIterator<Item = Request>,
) -> Vec<Response> {
    let mut clients = JoinSet::new();
    for request in requests {
        clients.spawn(async move { request.send(address).await.expect("an answer") });
    }
    clients.join_all().await
}

/// How often each status came.
pub(crate) fn statuses(answers: &[Response]) -> BTreeMap<u16, usize> {
    let mut statuses = BTreeMap::new();
    for answer in answers {
        *statuses.entry(answer.status).or_default() += 1;
    }
    statuses
}

/// As [`all_at_once`], with an upstream that answers behind a gate: it opens when `passing` requests have reached the
/// upstream and all others were refused, so that the former were all under way at the same time. Answers who passed
/// and who was refused.
pub(crate) async fn held_at_once(
    address: SocketAddr,
    requests: Vec<Request>,
    passing: usize,
    upstream: &Upstream,
    gate: &Gate,
) -> (Vec<Response>, Vec<Response>) {
    gate.close();
    let before = upstream.count();
    let mut clients = JoinSet::new();
    let all = requests.len();
    for request in requests {
        clients.spawn(async move { request.send(address).await.expect("an answer") });
    }
    let mut refused = Vec::new();
    let rest = async {
        while refused.len() + passing < all {
            refused.push(
                clients
                    .join_next()
                    .await
                    .expect("a client")
                    .expect("it ends"),
            );
        }
        while upstream.count() < before + passing {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let settled = timeout(Duration::from_secs(20), rest).await;
    // Time for one too many to come through.
    sleep(Duration::from_millis(50)).await;
    let reached = upstream.count() - before;
    assert!(
        settled.is_ok() && reached == passing,
        "{reached} of {all} reached the upstream, {passing} should, {} were refused",
        refused.len()
    );
    gate.open();
    (clients.join_all().await, refused)
}
