//! Many clients at the same moment.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::client::{Request, Response};
use super::envoy::{Gateway, Running};
use super::upstream::{Answer, Gate, Upstream};

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

/// Lets all workers decide at the same moments on the one request that fits, of so many groups one behind the other.
/// Answers how many passed, by group.
pub(crate) async fn race_for_one(groups: usize) -> Option<(Running, Vec<usize>)> {
    let limited = (0..groups).map(|at| {
        let (key, limits) = (format!("key-{at}"), json!({"requests_per_day": 1}));
        json!({"name": format!("group-{at}"), "api_key": key, "rate_limits": limits})
    });
    let policy = json!({"version": "1", "consumer_groups": limited.collect::<Vec<_>>()});
    let upstream = Upstream::start(|_| Answer::new(204)).await;
    let gateway = Gateway::new(policy)
        .cluster("openai", upstream.address())
        .start()
        .await?;
    let requests: Vec<_> = (0..groups)
        .map(|at| Request::get("/v1/models").bearer(&format!("key-{at}")))
        .collect();
    let mut passed = Vec::new();
    for requests in requests.chunks(500) {
        let answers = race(gateway.address(), 4, requests).await;
        passed.extend((0..requests.len()).map(|at| {
            let of_group = answers.iter().filter(|of_one| of_one[at] == 204);
            of_group.count()
        }));
    }
    Some((gateway, passed))
}

/// Sends all of them over each of several HTTP/2 connections, in the order given and in one go: what the workers have to
/// decide then are the same requests, one behind the other, at the same moments. Answers the statuses, by connection and
/// request. Without bodies.
async fn race(address: SocketAddr, connections: usize, requests: &[Request]) -> Vec<Vec<u16>> {
    let mut all = Vec::new();
    let mut queued = Vec::new();
    for _ in 0..connections {
        let stream = TcpStream::connect(address).await.expect("Envoy listens");
        let (mut client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        let mut answers = Vec::new();
        for request in requests {
            let (answer, _) = client
                .send_request(request.head(), true)
                .expect("it is queued");
            // Bodies have to be read, or they pile up.
            answers.push(async {
                let (head, mut body) = answer.await.expect("an answer").into_parts();
                while let Some(Ok(data)) = body.data().await {
                    let _ = body.flow_control().release_capacity(data.len());
                }
                head.status.as_u16()
            });
        }
        all.push((client, answers));
        queued.push(connection);
    }
    // Nothing was written so far.
    let running: Vec<_> = queued.into_iter().map(tokio::spawn).collect();
    let (clients, answers): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    let reading = |answers: Vec<_>| answers.into_iter().map(tokio::spawn).collect::<Vec<_>>();
    let answers: Vec<_> = answers.into_iter().map(reading).collect();
    let mut statuses = Vec::new();
    for answers in answers {
        let mut of_one = Vec::new();
        for answer in answers {
            of_one.push(answer.await.expect("it ends"));
        }
        statuses.push(of_one);
    }
    drop(clients);
    for connection in running {
        connection.abort();
    }
    statuses
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
