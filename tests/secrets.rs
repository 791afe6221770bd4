//! No key, prompt or answer is ever said: in no log, metric, error, header or page of Envoy's.

mod support;

use serde_json::json;
use sha2::{Digest as _, Sha256};
use support::client::{Request, Response};
use support::envoy::{Gateway, Running};
use support::upstream::{Answer, Seen, Upstream};

/// Each is in one place only, so that a find tells where it leaked from.
const KEY: &str = "cK7qWv2ZsecretMARKETING";
const UNKNOWN_KEY: &str = "uN4xTf8BsecretUNKNOWN";
const SECOND_KEY: &str = "sE9hLm3DsecretSECOND";
const PROVIDER_KEY: &str = "pR6jYc1GsecretPROVIDER";
const PROMPT: &str = "wD5nRk0Hprompt";
const ANSWER: &str = "zA8bGp7Janswer";
/// A social security number, which a policy finds.
const FOUND: &str = "536-90-4399";

fn respond(seen: &Seen) -> Answer {
    let message = json!({"role": "assistant", "content": ANSWER});
    let usage = json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2});
    let body = json!({"choices": [{"message": message}], "usage": usage});
    match seen.header("x-mode").unwrap_or_default() {
        b"sse" => Answer::sse(format!(
            "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{ANSWER}\"}}}}]}}\n\ndata: [DONE]\n\n"
        )),
        b"reset" => Answer::new(200).bytes(ANSWER).reset(),
        b"500" => Answer::json(&body).status(500),
        b"odd" => Answer::json(&json!(ANSWER)).header("content-encoding", "zstd"),
        _ => Answer::json(&body),
    }
}

async fn start() -> Option<(Upstream, Running)> {
    let digest = |key: &str| {
        let digest = Sha256::digest(key.as_bytes());
        let hex = digest.iter().map(|byte| format!("{byte:02x}"));
        hex.collect::<Vec<_>>().concat()
    };
    let policy = json!({
        "version": "1",
        "providers": {"targets": [{"id": "openai", "provider": "openai", "secret_key_ref": {"env": "OPENAI_API_KEY"}}]},
        "consumer_groups": [
            {
                "name": "marketing",
                "api_keys": [{"sha256": digest(KEY)}],
                "allowed_models": ["gpt-4o-mini"],
                "rate_limits": {"requests_per_minute": 60, "tokens_per_minute": 100_000},
                "input_policies": [
                    {"name": "ids", "type": "pii_detector", "config": {"entities": ["ssn"]}},
                    {"name": "hate", "type": "content_filter", "config": {"categories": ["hate"]}},
                    {"name": "other", "type": "content_filter", "action": "flag", "config": {"path": "/other"}},
                ],
            },
            {"name": "retired", "api_keys": [{"id": "old", "sha256": digest(SECOND_KEY), "enabled": false}]},
        ],
        "failed_auth_per_minute": 12,
    });
    let upstream = Upstream::start(respond).await;
    let gateway = Gateway::new(policy)
        .cluster("openai", upstream.address())
        .environment("OPENAI_API_KEY", PROVIDER_KEY)
        .buffer_limit(65_536)
        .start();
    Some((upstream, gateway.await?))
}

fn body(model: &str) -> String {
    json!({"model": model, "user": PROMPT, "messages": [{"role": "user", "content": PROMPT}]})
        .to_string()
}

fn post(path: &str) -> Request {
    Request::post(path).header("content-type", "application/json")
}

/// Requests that fail in every way there is, and some that pass, with `key` wherever a key may be.
fn requests(key: &str) -> Vec<Request> {
    let chat = || post("/v1/chat/completions").body(body("gpt-4o-mini"));
    let mut requests = vec![
        chat().bearer(key),
        chat().header("authorization", format!("Basic {key}")),
        chat().header("authorization", key),
        chat().bearer(key).bearer(SECOND_KEY),
        chat().bearer(key).header("x-api-key", SECOND_KEY),
        chat().header(
            "sec-websocket-protocol",
            format!("realtime, openai-insecure-api-key.{key}, openai-insecure-api-key.{key}"),
        ),
        chat().header("sec-websocket-protocol", "realtime").header(
            "sec-websocket-protocol",
            format!("openai-insecure-api-key.{key}"),
        ),
        post(&format!("/v1/chat/completions?key={key}")).body(body("gpt-4o-mini")),
        post(&format!(
            "/v1/chat/completions?a=1&k%65y={key}&key={SECOND_KEY}"
        ))
        .body(body("gpt-4o-mini")),
        post(&format!("/v1beta/models/gpt-4o:generateContent?key={key}")).body(body("gpt-4o")),
        post(&format!("/v1beta/../models?key={key}")).body(body("gpt-4o")),
        Request::get(&format!("/v1/unknown?key={key}")),
        Request::get("/v1/models/gpt-4o").bearer(key),
        chat().bearer(key).header("x-consumer-group", "sales"),
        post("/v1/chat/completions")
            .bearer(key)
            .body(body("gpt-4o-mini").replace(PROMPT, FOUND)),
        chat().bearer(key).header("content-encoding", "gzip"),
        chat().bearer(key).header("x-api-key", b"\xff\xfe"),
        post("/v1/chat/completions")
            .bearer(key)
            .body(body("gpt-4o")),
        post("/v1/chat/completions")
            .bearer(key)
            .body(format!("{{\"{PROMPT}\": {PROMPT}")),
        post("/v1/chat/completions").bearer(key).body(format!(
            "{{\"model\":\"gpt-4o-mini\",\"model\":\"{PROMPT}\"}}"
        )),
        post("/v1/chat/completions")
            .bearer(key)
            .body(format!("{{\"Model\":\"{PROMPT}\"}}")),
        post("/v1/chat/completions")
            .bearer(key)
            .body(format!("{{\"user\":\"{}\"}}", PROMPT.repeat(10_000))),
        post("/v1/messages")
            .header("x-api-key", key)
            .body(body("gpt-4o")),
        post("/v1/messages").header("x-api-key", key).body(PROMPT),
    ];
    for name in ["x-api-key", "api-key", "x-goog-api-key", "apikey"] {
        requests.push(chat().header(name, key));
    }
    for mode in ["sse", "reset", "500", "odd"] {
        requests.push(chat().bearer(key).header("x-mode", mode));
    }
    requests
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "one gateway, and all that it says")]
async fn nothing_confidential_is_said() {
    let Some((upstream, gateway)) = start().await else {
        return;
    };
    let mut answers: Vec<Response> = Vec::new();
    let mut sent = 0;
    for key in [KEY, UNKNOWN_KEY, SECOND_KEY] {
        for request in requests(key) {
            answers.push(gateway.send(request).await);
            sent += 1;
        }
    }
    // Uploads that break off, and a request that nobody waits for.
    let broken = post("/v1/chat/completions")
        .bearer(KEY)
        .body(body("gpt-4o-mini"));
    broken
        .clone()
        .stop_after(40)
        .send(gateway.address())
        .await
        .expect_err("no answer");
    broken
        .send_http2(gateway.address(), &[("x-trailer", PROMPT)])
        .await
        .unwrap();
    sent += 2;

    let events = gateway.events(sent).await;
    let statuses = |status: u64| {
        events
            .iter()
            .filter(|event| event["status"] == status)
            .count()
    };
    for status in [0, 200, 400, 401, 403, 413, 415, 429, 500] {
        assert!(statuses(status) > 0, "no request ended with {status}");
    }
    gateway.assert_healthy().await;

    // The moderation endpoint is told the prompt, by both policies, and has the provider's key.
    let questions = upstream.questions();
    for path in ["/v1/moderations", "/other"] {
        let mut asked = questions.iter().filter(|seen| seen.path == path);
        let asked = asked.next().expect("it was asked");
        assert!(asked.json()["input"].as_str().unwrap().contains(PROMPT));
        let key = format!("Bearer {PROVIDER_KEY}");
        assert_eq!(asked.header("authorization"), Some(key.as_bytes()));
    }

    let mut said = gateway.everything_said().await;
    for page in [
        "/config_dump",
        "/stats?format=json",
        "/server_info",
        "/listeners",
        "/runtime",
        "/memory",
        "/contention",
        "/certs",
        "/init_dump",
        "/hot_restart_version",
    ] {
        let page = gateway.admin(page).await;
        // The provider's key stands in the configuration, where the test, as an operator, wrote it.
        said.push_str(&page.replace(PROVIDER_KEY, ""));
    }
    let mut passed = 0;
    for answer in &answers {
        let own = answer.header("x-envoy-upstream-service-time").is_none();
        said.extend([format!("{:?}", answer.headers)]);
        if own {
            said.push_str(&answer.text());
        } else {
            passed += 1;
        }
    }
    assert!(passed > 0);
    assert!(said.contains("content_blocked"));
    for secret in [
        KEY,
        UNKNOWN_KEY,
        SECOND_KEY,
        PROVIDER_KEY,
        PROMPT,
        ANSWER,
        FOUND,
    ] {
        if let Some(at) = said.find(secret) {
            let before: Vec<_> = said.chars().take(at).collect();
            let before = before.rchunks(200).next().unwrap_or_default();
            panic!(
                "{secret} was said behind {}",
                before.iter().collect::<String>()
            );
        }
    }
    for seen in upstream.seen() {
        let shown = format!(
            "{} {:?}",
            seen.path,
            seen.headers
                .iter()
                .map(|(name, value)| (name, String::from_utf8_lossy(value)))
                .collect::<Vec<_>>()
        );
        for key in [KEY, UNKNOWN_KEY, SECOND_KEY] {
            assert!(!shown.contains(key), "{shown}");
        }
        assert_eq!(
            seen.header("authorization"),
            Some(format!("Bearer {PROVIDER_KEY}").as_bytes())
        );
    }
}
