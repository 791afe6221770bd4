//! Bodies that end with HTTP/2 trailers: judged, rewritten and cut down as those that end without.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::client::Request;
use support::envoy::{Gateway, Running};
use support::upstream::{Answer, Upstream, chat};

const POLICY: &str = "
version: '1'
consumer_groups:
  - name: marketing
    api_key: marketing-key
    allowed_models: [gpt-4o-mini]
    model_aliases: {fast: gpt-4o-mini, best: gpt-4o}
    default_model: gpt-4o-mini
    rate_limits: {tokens_per_minute: 1000000}
";
/// How a body may end.
const ENDS: [&[(&str, &str)]; 2] = [&[], &[("x-checksum", "0"), ("x-more", "1")]];

async fn start() -> Option<(Upstream, Running)> {
    let upstream = Upstream::start(chat).await;
    let gateway = Gateway::new(support::yaml(POLICY)).cluster("openai", upstream.address());
    Some((upstream, gateway.start().await?))
}

/// With and without `content-length`, in large and in small frames.
fn requests(body: &Value) -> [Request; 3] {
    let request = Request::post("/v1/chat/completions")
        .bearer("marketing-key")
        .json(body);
    let length = body.to_string().len().to_string();
    [
        request.clone(),
        request.clone().chunked(1),
        request.header("content-length", length),
    ]
}

#[tokio::test]
async fn a_forbidden_model_never_passes() {
    let Some((upstream, gateway)) = start().await else {
        return;
    };
    let hello = json!([{"role": "user", "content": "Hello"}]);
    for body in [
        json!({"model": "gpt-4o", "messages": hello}),
        json!({"model": "gpt-4o", "messages": hello, "stream": true}),
        json!({"model": "best", "messages": hello}),
    ] {
        for request in requests(&body) {
            for trailers in ENDS {
                let answer = request.send_http2(gateway.address(), trailers).await;
                let answer = answer.unwrap();
                assert_eq!(
                    (answer.status, answer.code().as_str()),
                    (403, "model_not_allowed"),
                    "{request:?} {trailers:?}"
                );
            }
        }
    }
    // What is no JSON yet is none with trailers behind it either.
    let cut = Request::post("/v1/chat/completions")
        .bearer("marketing-key")
        .header("content-type", "application/json")
        .body(r#"{"model":"gpt-4o-mini""#);
    for trailers in ENDS {
        let answer = cut.send_http2(gateway.address(), trailers).await.unwrap();
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "invalid_body")
        );
    }
    // Trailers alone are a body too: an empty one.
    let empty = Request::post("/v1/chat/completions")
        .bearer("marketing-key")
        .header("content-type", "application/json");
    let answer = empty.send_http2(gateway.address(), ENDS[1]).await.unwrap();
    assert_eq!(answer.status, 400);
    assert_eq!(upstream.count(), 0);
    gateway.assert_healthy().await;
}

#[tokio::test]
async fn an_allowed_request_arrives_whole() {
    let Some((upstream, gateway)) = start().await else {
        return;
    };
    let text = "word ".repeat(40_000); // more than an HTTP/2 window
    let usage = json!({"include_usage": true});
    let cases = [
        (json!({"model": "gpt-4o-mini", "messages": []}), json!({})),
        (
            json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}]}),
            json!({}),
        ),
        (
            json!({"model": "gpt-4o-mini", "stream": true}),
            json!({"stream_options": usage}),
        ),
        (json!({"messages": []}), json!({"model": "gpt-4o-mini"})),
        (json!({"model": "fast"}), json!({"model": "gpt-4o-mini"})),
        (
            json!({"model": "fast", "stream": true, "messages": [{"role": "user", "content": text}]}),
            json!({"model": "gpt-4o-mini", "stream_options": usage}),
        ),
    ];
    for (body, changes) in cases {
        let mut expected = body.clone();
        for (key, value) in changes.as_object().unwrap() {
            expected[key] = value.clone();
        }
        for mut request in requests(&body) {
            if body.to_string().len() > 1000 {
                request = request.chunked(4096);
            }
            for trailers in ENDS {
                let answer = request.send_http2(gateway.address(), trailers).await;
                let answer = answer.unwrap();
                assert_eq!(answer.status, 200, "{}", answer.text());
                assert!(answer.complete);
                let seen = upstream.last();
                assert!(seen.json() == expected, "{:.200}", seen.json().to_string());
                if let Some(length) = seen.header("content-length") {
                    let length: usize = std::str::from_utf8(length).unwrap().parse().unwrap();
                    assert_eq!(Some(length), seen.body.map(|body| body.len()));
                }
            }
        }
    }
    gateway.assert_healthy().await;
}

/// An HTTP/2 upstream that ends every answer, which is this one, with trailers.
async fn answering(content_type: &'static str, body: String) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = body.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let head = hyper::Response::builder()
                        .header("content-type", content_type)
                        .body(())
                        .unwrap();
                    let mut body = respond.send_response(head, false).unwrap();
                    body.send_data(answer.clone().into(), false).unwrap();
                    let mut trailers = hyper::HeaderMap::new();
                    trailers.insert("x-checksum", "0".parse().unwrap());
                    body.send_trailers(trailers).unwrap();
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_list_of_models_is_cut_down() {
    let list = json!({"data": [{"id": "gpt-4o"}, {"id": "gpt-4o-mini"}]});
    let upstream = answering("application/json", list.to_string()).await;
    for hold in [true, false] {
        let mut policy = support::yaml(
            "{version: '1', consumer_groups: [{name: marketing, api_key: marketing-key, allowed_models: [gpt-4o-mini]}]}",
        );
        policy["hold_request_headers"] = hold.into();
        let mut gateway = Gateway::new(policy)
            .cluster("openai", upstream)
            .http2_upstreams();
        if !hold {
            gateway = gateway.without_header_hold();
        }
        let Some(gateway) = gateway.start().await else {
            return;
        };
        let request = Request::get("/v1/models").bearer("marketing-key");
        let answer = gateway.send(request).await;
        assert_eq!(
            answer.text(),
            r#"{"data":[{"id":"gpt-4o-mini"}]}"#,
            "{hold}"
        );
        gateway.assert_healthy().await;
    }
}

/// An answer that waits for its verdict: of what is held nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_judged_with_their_end() {
    let event = |text: &str| {
        let event = json!({"choices": [{"index": 0, "delta": {"content": text}}]});
        format!("data: {event}\n\n")
    };
    let body = event("mail jane@") + &event("example.com or call 415");
    let upstream = answering("text/event-stream", body.clone()).await;
    let moderation =
        Upstream::start(|_| Answer::json(&json!({"results": [{"categories": {"hate": false}}]})))
            .await;
    let phone = json!({"name": "p", "type": "pii_detector", "action": "block", "config": {"entities": ["phone"]}});
    let mail = json!({"name": "m", "type": "pii_detector", "action": "redact", "config": {"entities": ["email"]}});
    let judge = json!({"name": "j", "type": "content_filter", "config": {"cluster": "moderation", "failure_mode": "deny"}});
    for (policies, new) in [
        (json!([judge]), body.clone()),
        (
            json!([judge, mail, phone]),
            event("mail [REDACTED_EMAIL]") + &event(" or call 415"),
        ),
    ] {
        let policy = json!({"version": "1", "consumer_groups": [{"name": "g", "api_key": "marketing-key", "output_policies": policies}]});
        let gateway = Gateway::new(policy)
            .cluster("openai", upstream)
            .cluster("moderation", moderation.address())
            .http2_upstreams()
            .edit(|bootstrap| {
                let clusters = bootstrap.pointer_mut("/static_resources/clusters").unwrap();
                for cluster in clusters.as_array_mut().unwrap() {
                    if cluster["name"] == "moderation" {
                        cluster["typed_extension_protocol_options"].take();
                    }
                }
            });
        let Some(gateway) = gateway.start().await else {
            return;
        };
        let request = Request::post("/v1/chat/completions")
            .bearer("marketing-key")
            .json(&json!({"model": "m", "stream": true, "messages": []}));
        let answer = gateway.send(request).await;
        assert_eq!(answer.text(), new, "{policies}");
        gateway.assert_healthy().await;
    }
}
