//! Requests made to slip past, or to break, the filter: none reaches the upstream unjudged, none kills the filter.

mod support;

use serde_json::json;
use support::client::{self, Request};
use support::envoy::{Gateway, Running};
use support::upstream::{Answer, Upstream};

const POLICY: &str = "
version: '1'
failed_auth_per_minute: 0
consumer_groups:
  - name: marketing
    api_key: marketing-key
    allowed_models: [gpt-4o-mini]
";
const FORBIDDEN: &str = r#"{"model":"gpt-4o","messages":[]}"#;
const CHAT: &str = "/v1/chat/completions";

async fn start() -> Option<(Upstream, Running)> {
    let upstream = Upstream::start(|_| Answer::json(&json!({"usage": {"total_tokens": 1}}))).await;
    let gateway = Gateway::new(support::yaml(POLICY)).cluster("openai", upstream.address());
    Some((upstream, gateway.start().await?))
}

fn forbidden(method: &str, path: &str) -> Request {
    Request::new(method, path)
        .bearer("marketing-key")
        .header("content-type", "application/json")
        .body(FORBIDDEN)
}

#[tokio::test]
async fn no_spelling_of_the_path_opens_a_door() {
    let Some((upstream, gateway)) = start().await else {
        return;
    };
    // (what is asked for, the code that answers; none where Envoy itself refuses)
    let refused = [
        ("/v1/chat/completions", "model_not_allowed"),
        ("/v1/chat/completions/", "model_not_allowed"),
        ("/v1/chat/completions;x", "model_not_allowed"),
        ("/v1/chat;x=1/completions", "model_not_allowed"),
        ("/v1/%63hat/completions", "model_not_allowed"),
        ("/v1%2Fchat/completions", "model_not_allowed"),
        ("/v1/chat/completions%2f", "model_not_allowed"),
        ("/v1/chat/completions?model=gpt-4o-mini", "model_ambiguous"),
        ("/openai/v1/chat/completions", "model_not_allowed"),
        (
            "http://gateway.test/v1/chat/completions",
            "model_not_allowed",
        ),
        ("//v1/chat/completions", "invalid_path"),
        ("/v1//chat/completions", "invalid_path"),
        ("/v1/x/../chat/completions", "invalid_path"),
        ("/v1/%2e/chat/completions", "invalid_path"),
        ("/v1/..;/v1/chat/completions", "invalid_path"),
        ("/v1/%2563hat/completions", "invalid_path"),
        ("/v1/chat/completions%00", "invalid_path"),
        ("/v1/chat/completions%FF", "invalid_path"),
        ("/v1\\chat\\completions", "invalid_path"),
        ("/V1/chat/completions", "endpoint_not_allowed"),
        ("/v1/chat/completions/x", "endpoint_not_allowed"),
        ("/", "endpoint_not_allowed"),
        ("http://gateway.test", "endpoint_not_allowed"),
        ("/v1/chat/completions\u{e9}", ""),
        ("/v1/chat/completions#x", ""),
        ("*", ""),
        ("", ""),
    ];
    for (path, code) in refused {
        let answer = gateway.send(forbidden("POST", path)).await;
        assert!(
            (400..500).contains(&answer.status),
            "{path}: {}",
            answer.status
        );
        if !code.is_empty() {
            assert_eq!(answer.code(), code, "{path}");
        }
    }
    assert_eq!(upstream.count(), 0);

    // What may pass arrives as it was sent.
    let passed = refused
        .iter()
        .filter(|(_, code)| *code == "model_not_allowed");
    for (path, _) in passed {
        let body = FORBIDDEN.replace("gpt-4o", "gpt-4o-mini");
        let answer = gateway.send(forbidden("POST", path).body(body)).await;
        assert_eq!(answer.status, 200, "{path}");
        let own = path.trim_start_matches("http://gateway.test");
        assert_eq!(upstream.last().path, own);
    }
    gateway.assert_serves("marketing-key", "gpt-4o-mini").await;
}

#[tokio::test]
async fn no_method_opens_a_door() {
    let Some((upstream, gateway)) = start().await else {
        return;
    };
    for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"] {
        let answer = gateway.send(forbidden(method, CHAT)).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (403, "endpoint_not_allowed"),
            "{method}"
        );
    }
    for (method, status) in [("HEAD", 403), ("CONNECT", 400), ("post", 400), ("PRI", 400)] {
        let answer = gateway.send(forbidden(method, CHAT)).await;
        assert_eq!(answer.status, status, "{method}");
    }
    // Envoy's own business, in these words or others: but never a way through.
    let head = "authorization: Bearer marketing-key\r\ncontent-type: application/json";
    let length = FORBIDDEN.len();
    for (raw, status) in [
        (
            format!(
                "POST {CHAT} HTTP/1.0\r\n{head}\r\ncontent-length: {length}\r\n\r\n{FORBIDDEN}"
            ),
            426,
        ),
        (
            format!(
                "POST {CHAT} HTTP/1.1\r\nhost: a\r\n{head}\r\nupgrade: websocket\r\nconnection: upgrade\r\ncontent-length: {length}\r\n\r\n{FORBIDDEN}"
            ),
            403,
        ),
        (
            format!(
                "GET {CHAT} HTTP/1.1\r\nhost: a\r\n{head}\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            ),
            403,
        ),
        (
            format!(
                "CONNECT gateway.test:443 HTTP/1.1\r\nhost: gateway.test:443\r\n{head}\r\n\r\n"
            ),
            400,
        ),
        (
            format!(
                "POST {CHAT} HTTP/1.1\r\nhost: a\r\n{head}\r\ncontent-length: {length}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{FORBIDDEN}"
            ),
            400,
        ),
        (
            format!(
                "POST {CHAT} HTTP/1.1\r\nhost: a\r\n{head}\r\ncontent-length: 0\r\ncontent-length: {length}\r\n\r\n{FORBIDDEN}"
            ),
            400,
        ),
        (
            format!(
                "POST {CHAT} HTTP/1.1\r\nhost: a\r\n{head}\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n{FORBIDDEN}"
            ),
            400,
        ),
    ] {
        let answer = client::send_raw(gateway.address(), raw.as_bytes()).await;
        assert_eq!(answer.unwrap().status, status, "{raw}");
    }
    assert_eq!(upstream.count(), 0);
    gateway.assert_serves("marketing-key", "gpt-4o-mini").await;
}

/// Envoy, or a filter before ours, answers these itself: nobody can set the times of others' requests wrong with them.
#[tokio::test]
async fn what_does_not_come_to_the_filter_is_told_of_as_it_was() {
    let upstream = Upstream::start(|_| Answer::json(&json!({}))).await;
    let gateway = Gateway::new(support::yaml(POLICY)).cluster("openai", upstream.address());
    let gateway =
        gateway.edit(|bootstrap| {
            let filters =
                "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters";
            let filters = bootstrap.pointer_mut(filters).unwrap();
            filters.as_array_mut().unwrap().insert(0, json!({
            "name": "before",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
                "abort": {"header_abort": {}, "percentage": {"numerator": 100}},
            },
        }));
        });
    let Some(gateway) = gateway.start().await else {
        return;
    };
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer marketing-key");
    let mut expected = Vec::new();
    for (field, status) in [
        ("user-agent: \u{1}", 400),
        ("x-envoy-fault-abort-request: 401", 401),
        ("x-envoy-fault-abort-request: 413", 413),
    ] {
        let raw = format!("{head}\r\n{field}\r\ncontent-length: 2\r\n\r\n{{}}");
        let answer = client::send_raw(gateway.address(), raw.as_bytes())
            .await
            .unwrap();
        assert_eq!(answer.status, status, "{field}");
        assert!(
            !answer.text().contains("request_too_large"),
            "{field}: who said it says how"
        );
        expected.push(status);
    }
    let this_year = |time: &str| time.starts_with("20");
    for (event, status) in gateway.events(expected.len()).await.iter().zip(expected) {
        assert_eq!(event["status"], status, "{event}");
        assert_eq!(event["reason"], "request_incomplete", "{event}");
        assert!(this_year(event["time"].as_str().unwrap()), "{event}");
        assert!(event["latency_ms"].as_u64().unwrap() < 60_000, "{event}");
    }
    assert_eq!(upstream.count(), 0);
    gateway.assert_serves("marketing-key", "gpt-4o-mini").await;
}

#[tokio::test]
async fn no_header_opens_a_door() {
    let Some((upstream, gateway)) = start().await else {
        return;
    };
    for (name, value, code) in [
        ("x-http-method-override", "GET", "model_not_allowed"),
        ("x-original-url", "/healthz", "model_not_allowed"),
        ("x-rewrite-url", "/healthz", "model_not_allowed"),
        ("x-envoy-original-path", "/healthz", "model_not_allowed"),
        ("access-control-request-method", "POST", "model_not_allowed"),
        ("upgrade", "websocket", "model_not_allowed"),
        ("upgrade", "h2c", "model_not_allowed"),
        ("expect", "100-continue", "model_not_allowed"),
        ("connection", "x-consumer-group", "model_not_allowed"),
        ("x_consumer_group", "engineering", "model_not_allowed"),
        ("x-cohort-provider", "openai", "model_not_allowed"),
        ("content-encoding", "identity", "model_not_allowed"),
        ("content-encoding", "gzip", "unsupported_content_encoding"),
        ("content-type", "text/plain", "unsupported_content_type"),
        (
            "content-type",
            "application/json",
            "unsupported_content_type",
        ),
        (
            "x-consumer-group",
            "engineering",
            "consumer_group_not_allowed",
        ),
        (
            "authorization",
            "Bearer another-key",
            "ambiguous_credentials",
        ),
        ("x-api-key", "another-key", "ambiguous_credentials"),
        ("connection", "authorization", "missing_api_key"),
    ] {
        let answer = gateway
            .send(forbidden("POST", CHAT).header(name, value))
            .await;
        assert_eq!(answer.code(), code, "{name}: {value}");
    }
    let twice = forbidden("POST", CHAT)
        .header("content-encoding", "identity")
        .header("content-encoding", "gzip");
    assert_eq!(gateway.send(twice).await.status, 415);
    assert_eq!(upstream.count(), 0);
    gateway.assert_serves("marketing-key", "gpt-4o-mini").await;
}

#[tokio::test]
async fn headers_may_hold_any_bytes() {
    let Some((upstream, gateway)) = start().await else {
        return;
    };
    for (name, status) in [
        ("accept-encoding", 200),
        ("connection", 200),
        ("cookie", 200),
        ("expect", 200),
        ("openai-organization", 200),
        ("sec-websocket-protocol", 200),
        ("traceparent", 200),
        ("upgrade", 200),
        ("user-agent", 200),
        ("x-cohort-model", 200),
        ("x-consumer", 200),
        ("x-forwarded-for", 200),
        ("x-request-id", 200),
        ("host", 400),
        ("authorization", 401),
        ("x-api-key", 401),
        ("x-consumer-group", 403),
        ("content-encoding", 415),
        ("content-type", 415),
    ] {
        let request = Request::chat("marketing-key", "gpt-4o-mini").header(name, b"\xff\xfe");
        assert_eq!(gateway.send(request).await.status, status, "{name}");
    }
    upstream.clear();
    // As a key of its own too, and where there is no key at all.
    for name in ["authorization", "x-api-key", "api-key", "apikey"] {
        let request = Request::new("POST", CHAT).header(name, b"Bearer \xff\xfe");
        assert_eq!(gateway.send(request).await.status, 401, "{name}");
    }
    for path in [&b"/v1/chat/completions?\xff\xfe=\xff"[..], b"/\xff\xfe"] {
        let raw = [b"POST ", path, b" HTTP/1.1\r\nhost: a\r\n\r\n"].concat();
        let answer = client::send_raw(gateway.address(), &raw).await.unwrap();
        assert_eq!(answer.status, 400);
    }
    assert_eq!(upstream.count(), 0);
    gateway.assert_serves("marketing-key", "gpt-4o-mini").await;
}

#[tokio::test]
async fn headers_may_be_large_and_many() {
    let Some((upstream, gateway)) = start().await else {
        return;
    };
    let chat = || Request::chat("marketing-key", "gpt-4o-mini");
    let large = "a,".repeat(25_000);
    for (name, status) in [
        ("user-agent", 200),
        ("sec-websocket-protocol", 200),
        ("authorization", 401),
        ("apikey", 401),
        ("x-consumer-group", 403),
        ("content-type", 415),
    ] {
        let answer = gateway.send(chat().header(name, &large)).await;
        assert_eq!(answer.status, status, "{name}");
    }
    let path = format!("{CHAT}?{}", "key=marketing-key&".repeat(2_500));
    assert_eq!(gateway.send(forbidden("POST", &path)).await.status, 403);
    let many = |count| {
        (0..count).fold(chat(), |request, index| {
            request.header(&format!("x-cohort-{index}"), "a")
        })
    };
    assert_eq!(gateway.send(many(80)).await.status, 200);
    assert!(!format!("{:?}", upstream.last()).contains("x-cohort-7"));
    assert_eq!(gateway.send(many(1_000)).await.status, 431);
    let huge = chat().header("user-agent", "a".repeat(100_000));
    assert_eq!(gateway.send(huge).await.status, 431);
    gateway.assert_serves("marketing-key", "gpt-4o-mini").await;
}

#[tokio::test]
async fn a_key_in_the_query_is_read_as_one_elsewhere() {
    let Some((upstream, gateway)) = start().await else {
        return;
    };
    let body = FORBIDDEN.replace("gpt-4o", "gpt-4o-mini");
    for (query, bearer, status) in [
        ("?key=marketing-key", None, 200),
        ("?a=1&key=marketing-key&b=2", None, 200),
        ("?key=marketing-key&key=marketing%2Dkey", None, 200),
        ("?k%65y=marketing-key", Some("marketing-key"), 200),
        ("?key=", Some("marketing-key"), 200),
        ("?key=marketing-key&key=another", None, 401),
        ("?key=another", Some("marketing-key"), 401),
        ("?KEY=marketing-key", None, 401),
        ("?key=marketing-key%00", None, 401),
    ] {
        let mut request = Request::new("POST", &format!("{CHAT}{query}"))
            .header("content-type", "application/json")
            .body(body.clone());
        if let Some(key) = bearer {
            request = request.bearer(key);
        }
        let answer = gateway.send(request).await;
        assert_eq!(answer.status, status, "{query}");
    }
    let paths: Vec<_> = upstream.seen().into_iter().map(|seen| seen.path).collect();
    let with = format!("{CHAT}?a=1&b=2");
    assert_eq!(paths, [CHAT, &with, CHAT, CHAT, CHAT]);
    gateway.assert_serves("marketing-key", "gpt-4o-mini").await;
}

#[tokio::test]
async fn nothing_of_a_list_that_is_too_large_follows_the_error() {
    let upstream = Upstream::start(|_| {
        let models = vec![json!({"id": "gpt-4o"}); 2_000];
        Answer::json(&json!({"data": models})).split(4_096, std::time::Duration::from_millis(2))
    })
    .await;
    let mut policy = support::yaml(POLICY);
    policy["hold_request_headers"] = false.into();
    policy["max_response_bytes"] = 10_000.into();
    let gateway = Gateway::new(policy)
        .cluster("openai", upstream.address())
        .without_header_hold();
    let Some(gateway) = gateway.start().await else {
        return;
    };
    let request = Request::get("/v1/models").bearer("marketing-key");
    let answer = gateway.send(request).await;
    assert_eq!(answer.code(), "response_too_large", "{}", answer.text());
    gateway.assert_serves("marketing-key", "gpt-4o-mini").await;
}
