//! Upstreams that fail and clients that leave: the client gets a clean end, and each request is counted once.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use support::client::Request;
use support::envoy::{Gateway, Running};
use support::upstream::{Answer, Upstream, chat, nobody};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

const POLICY: &str = "
version: '1'
consumer_groups:
  - name: engineering
    api_key: engineering-key
    rate_limits: {requests_per_minute: 1000, tokens_per_minute: 100000}
";
const A_MOMENT: Duration = Duration::from_millis(50);
const FOR_EVER: Duration = Duration::from_mins(1);

async fn start(address: SocketAddr) -> Option<Running> {
    Gateway::new(support::yaml(POLICY))
        .cluster("openai", address)
        .start()
        .await
}

fn stream() -> Request {
    let body = json!({"model": "gpt-4o", "stream": true, "messages": []});
    Request::post("/v1/chat/completions")
        .bearer("engineering-key")
        .json(&body)
}

fn plain() -> Request {
    Request::chat("engineering-key", "gpt-4o")
}

fn chunk(text: &str) -> String {
    let choices = json!([{"index": 0, "delta": {"content": text}}]);
    format!("data: {}\n\n", json!({"choices": choices}))
}

/// An upstream that writes `answers` as they stand, one to each connection, and then hangs up, or never does.
async fn raw(answers: Vec<Vec<u8>>, hang_up: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for answer in answers.into_iter().cycle() {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = [0; 16_384];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(&answer).await;
                if !hang_up {
                    sleep(FOR_EVER).await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn no_answer_is_an_error_and_costs_nothing() {
    let (_nobody, address) = nobody();
    for address in [
        address,
        raw(vec![Vec::new()], true).await,
        raw(vec![b"SSH-2.0\r\n".to_vec()], true).await,
    ] {
        let Some(gateway) = start(address).await else {
            return;
        };
        for request in [plain(), stream()] {
            let answer = gateway.send(request).await;
            assert!([502, 503].contains(&answer.status), "{answer:?}");
            assert_eq!(answer.header("x-consumer-group"), Some("engineering"));
        }
        for event in gateway.events(2).await {
            assert_eq!(
                (&event["result"], &event["reason"]),
                (&json!("error"), &json!("upstream_error"))
            );
            assert_eq!(event["usage"]["total_tokens"], 0);
        }
        gateway.assert_healthy().await;
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_counted_by_what_came() {
    let upstream = Upstream::start(|seen| {
        if seen.json()["stream"] == true {
            let event = chunk("x".repeat(400).as_str());
            Answer::sse(event)
                .pause(A_MOMENT)
                .bytes("data: {\"cho")
                .reset()
        } else {
            Answer::new(200)
                .header("content-type", "application/json")
                .bytes(r#"{"choices":[{"message":{"content":"xxxx"#)
                .pause(A_MOMENT)
                .reset()
        }
    })
    .await;
    let Some(gateway) = start(upstream.address()).await else {
        return;
    };
    let answer = gateway.send(stream()).await;
    assert_eq!(answer.status, 200);
    assert!(!answer.complete);
    assert!(answer.text().starts_with(&chunk(&"x".repeat(400))));
    let answer = gateway.send(plain()).await;
    assert!(!answer.complete);
    let events = gateway.events(2).await;
    let of = |stream: bool| {
        let mut events = events.iter();
        events.find(|event| event["stream"] == stream).unwrap()
    };
    assert_eq!(of(true)["estimated"], true);
    assert_eq!(of(true)["usage"]["completion_tokens"], 100);
    assert_eq!(of(false)["estimated"], true);
    for event in &events {
        assert_eq!(
            (&event["status"], &event["result"], &event["reason"]),
            (&json!(200), &json!("error"), &json!("upstream_error")),
            "{event}"
        );
    }
    // What was charged is what the next answer says to be gone.
    let charged = |event: &Value| event["usage"]["total_tokens"].as_u64().unwrap();
    let left = 100_000 - charged(of(true)) - charged(of(false));
    let answer = gateway.send(stream()).await;
    assert_eq!(
        answer.header("x-ratelimit-remaining-tokens"),
        Some(left.to_string().as_str())
    );
    gateway.assert_healthy().await;
}

/// Of a held answer nothing has gone out when the upstream breaks off: the client gets an error of Envoy's.
#[tokio::test]
async fn a_held_answer_that_breaks_off_is_an_error_and_counted() {
    let upstream = Upstream::start(|_| {
        Answer::new(200)
            .header("content-type", "application/json")
            .bytes(format!(
                r#"{{"choices":[{{"message":{{"content":"{}"#,
                "x".repeat(365)
            ))
            .pause(A_MOMENT)
            .reset()
    })
    .await;
    let mut policy = support::yaml(POLICY);
    policy["consumer_groups"][0]["output_policies"] = json!([
        {"name": "mail", "type": "pii_detector", "config": {"entities": ["email"]}}
    ]);
    let gateway = Gateway::new(policy).cluster("openai", upstream.address());
    let Some(gateway) = gateway.start().await else {
        return;
    };
    let answer = gateway.send(plain()).await;
    assert!([502, 503].contains(&answer.status), "{answer:?}");
    let event = gateway.events(1).await.remove(0);
    assert_eq!(
        (&event["status"], &event["result"], &event["reason"]),
        (
            &json!(answer.status),
            &json!("error"),
            &json!("upstream_error")
        ),
        "{event}"
    );
    assert_eq!(event["estimated"], true);
    assert_eq!(event["usage"]["completion_tokens"], 100);
    gateway.assert_healthy().await;
}

#[tokio::test]
async fn a_client_may_leave_at_any_time() {
    let upstream = Upstream::start(|_| {
        Answer::sse(chunk("xxxx"))
            .pause(FOR_EVER)
            .bytes(chunk("never"))
    })
    .await;
    let silent = raw(vec![Vec::new()], false).await;
    for (address, status, reason) in [
        (silent, 0, json!("no_response")),
        (upstream.address(), 200, json!(null)),
    ] {
        let Some(gateway) = start(address).await else {
            return;
        };
        let left = timeout(Duration::from_millis(500), stream().send(gateway.address())).await;
        left.expect_err("the answer does not end");
        let event = gateway.events(1).await.remove(0);
        assert_eq!(
            (&event["status"], &event["reason"]),
            (&json!(status), &reason),
            "{event}"
        );
        assert_eq!(
            event["usage"]["completion_tokens"],
            i32::from(status == 200)
        );
        gateway.assert_healthy().await;
    }
}

#[tokio::test]
async fn an_upstreams_own_refusals_pass_and_cost_nothing() {
    let upstream = Upstream::start(|seen| {
        let status = seen.json()["seed"].as_u64().unwrap_or(200);
        chat(seen)
            .status(u16::try_from(status).unwrap())
            .header("retry-after", "7")
    })
    .await;
    let Some(gateway) = start(upstream.address()).await else {
        return;
    };
    for status in [400, 401, 403, 404, 413, 429, 500, 503, 529] {
        let body = json!({"model": "gpt-4o", "seed": status});
        let request = Request::post("/v1/chat/completions").bearer("engineering-key");
        let answer = gateway.send(request.json(&body)).await;
        assert_eq!(answer.status, status);
        // In the upstream's words, under the gateway's counters.
        assert_eq!(answer.json()["object"], "chat.completion");
        assert_eq!(answer.header("retry-after"), Some("7"));
        assert_eq!(
            answer.header("x-ratelimit-remaining-tokens"),
            Some("100000")
        );
    }
    for event in gateway.events(9).await {
        assert_eq!(
            (&event["result"], &event["reason"]),
            (&json!("error"), &json!("upstream_error"))
        );
        assert_eq!(event["usage"]["total_tokens"], 0);
    }
    gateway.assert_healthy().await;
}

#[tokio::test]
async fn an_upstream_may_send_any_bytes() {
    let deep = "[".repeat(20_000);
    let json = "content-type: application/json";
    let events = "content-type: text/event-stream\r\n\r\n";
    // (an answer after its status line, whether it can be whole, the status that the client gets)
    let answers: [(Vec<u8>, bool, u16); 11] = [
        (format!("{json}\r\ncontent-length: 5\r\n\r\n{{\"usa").into(), true, 200),
        (format!("{json}\r\ncontent-length: 50\r\n\r\n{{\"usa").into(), false, 200),
        (format!("{json}\r\ncontent-length: 20000\r\n\r\n{deep}").into(), true, 200),
        (format!("{json}\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n").into(), false, 200),
        (format!("{json}\r\ncontent-encoding: gzip\r\n\r\n{{\"usage\":7}}").into(), true, 200),
        (b"content-type: \xff\xfe\r\ncontent-encoding: \xff\r\nx-ratelimit-limit: \xff\r\ncontent-length: 0\r\n\r\n".into(), true, 200),
        (b"x-ratelimit-\xff: 1\r\ncontent-length: 0\r\n\r\n".into(), true, 502),
        (format!("{events}data: {deep}\n\n").into(), true, 200),
        (format!("{events}data: {{\"usage\":{{\"total_tokens\":-1e999}}}}\n\n\r\r\n: x\ndata\n\n").into(), true, 200),
        ([events.as_bytes(), b"data: \xff\xfe\0\n\ndata"].concat(), true, 200),
        (events.into(), true, 200),
    ];
    let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n".as_slice();
    let address = raw(
        answers
            .iter()
            .map(|(answer, ..)| [head, answer].concat())
            .collect(),
        true,
    );
    let Some(gateway) = start(address.await).await else {
        return;
    };
    for request in [plain(), stream()] {
        for (sent, whole, status) in &answers {
            let shown = String::from_utf8_lossy(&sent[..sent.len().min(150)]);
            let answer = gateway.send(request.clone()).await;
            assert_eq!(
                (answer.status, answer.complete),
                (*status, *whole),
                "{shown:?}"
            );
            if *whole && *status == 200 {
                let body = sent
                    .windows(4)
                    .position(|four| four == b"\r\n\r\n")
                    .unwrap()
                    + 4;
                assert!(
                    answer.body == sent[body..],
                    "{shown:?}: {:.200}",
                    answer.text()
                );
            }
        }
    }
    gateway.events(2 * answers.len()).await;
    gateway.assert_healthy().await;
}
