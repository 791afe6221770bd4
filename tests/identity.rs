//! Who asks, as Envoy's `jwt_authn` has settled it: names out of a token's payload.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use support::client::Request;
use support::crowd::all_at_once;
use support::envoy::{Gateway, HCM};
use support::upstream::{Answer, Upstream};

const SECRET: &[u8; 32] = b"a secret of thirty-two bytes, ok";

/// RFC 4648, section 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut bits = [0; 4];
        bits[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(bits);
        for letter in 0..=chunk.len() {
            let index = (bits >> (18 - 6 * letter)) & 63;
            text.push(char::from(LETTERS[index as usize]));
        }
    }
    text
}

/// RFC 2104.
fn hmac(text: &[u8]) -> Vec<u8> {
    let pad = |byte: u8| -> Vec<u8> {
        let mut key = SECRET.to_vec();
        key.resize(64, 0);
        key.iter().map(|own| own ^ byte).collect()
    };
    let inner = Sha256::digest([pad(0x36), text.to_vec()].concat());
    Sha256::digest([pad(0x5c), inner.to_vec()].concat()).to_vec()
}

/// RFC 7519, signed with HMAC.
fn token(payload: &Value) -> String {
    let header = base64url(br#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{header}.{}", base64url(payload.to_string().as_bytes()));
    format!("{signed}.{}", base64url(&hmac(signed.as_bytes())))
}

fn jwt_authn() -> Value {
    let keys = json!({"keys": [{"kty": "oct", "alg": "HS256", "k": base64url(SECRET)}]});
    json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"issuer": {
                "issuer": "https://issuer.test",
                "local_jwks": {"inline_string": keys.to_string()},
                "payload_in_metadata": "payload",
            }},
            "rules": [{"match": {"prefix": "/"}, "requires": {"requires_any": {"requirements": [
                {"provider_name": "issuer"},
                {"allow_missing": {}},
            ]}}}],
        },
    })
}

#[tokio::test]
async fn a_tokens_payload_names_consumer_and_group() {
    let upstream = Upstream::start(|_| Answer::json(&json!({"ok": true}))).await;
    let policy = json!({
        "version": "1",
        "identity": {"metadata": {
            "filter": "envoy.filters.http.jwt_authn",
            "consumer": ["payload", "sub"],
            "group": ["payload", "org", "team"],
        }},
        "consumer_groups": [
            {"name": "red", "api_key": "key-of-red", "allowed_models": ["m1"]},
            {"name": "blue", "allowed_models": ["m2"]},
        ],
        "consumers": [{"name": "ann", "groups": ["red"]}],
    });
    let gateway = Gateway::new(policy).cluster("upstream", upstream.address());
    let gateway = gateway.edit(|bootstrap| {
        let hcm = bootstrap.pointer_mut(HCM).unwrap();
        hcm["http_filters"]
            .as_array_mut()
            .unwrap()
            .insert(0, jwt_authn());
    });
    let Some(gateway) = gateway.start().await else {
        return;
    };
    let issued = |mut payload: Value| {
        payload["iss"] = json!("https://issuer.test");
        payload["exp"] = json!(4_102_444_800_u64);
        token(&payload)
    };
    let cases = [
        (
            issued(json!({"sub": "ann"})),
            "m1",
            200,
            Some("red"),
            Some("ann"),
        ),
        (
            issued(json!({"sub": "ann"})),
            "m2",
            403,
            Some("red"),
            Some("ann"),
        ),
        (
            issued(json!({"sub": "zoe", "org": {"team": "blue"}})),
            "m2",
            200,
            Some("blue"),
            Some("zoe"),
        ),
        // Valid, but of nobody here; and not even text.
        (issued(json!({"sub": "zoe"})), "m2", 401, None, None),
        (
            issued(json!({"sub": 7, "org": {"team": "none"}})),
            "m2",
            401,
            None,
            None,
        ),
        // Without a token, keys are what they were.
        ("key-of-red".to_owned(), "m1", 200, Some("red"), None),
    ];
    for (number, (token, model, status, group, consumer)) in (1..).zip(cases) {
        upstream.clear();
        let body = json!({"model": model, "messages": []}).to_string();
        let mut request = Request::new("POST", "/v1/chat/completions").body(body.into_bytes());
        // A key that is no token must not be where `jwt_authn` looks for one.
        let field = if token.contains('.') {
            "authorization"
        } else {
            "x-api-key"
        };
        let value = if token.contains('.') {
            format!("Bearer {token}")
        } else {
            token.clone()
        };
        request = request
            .header(field, value)
            .header("content-type", "application/json");
        let answer = gateway.send(request).await;
        assert_eq!(answer.status, status, "{number}: {}", answer.text());
        let event = gateway.events(number).await.swap_remove(number - 1);
        assert_eq!(event["consumer_group"].as_str(), group, "{number}: {event}");
        if consumer.is_some() {
            assert_eq!(event["consumer"].as_str(), consumer, "{number}: {event}");
            assert_eq!(event["key_id"], "identity");
        }
        assert!(!event.to_string().contains(&token));
        for seen in upstream.seen() {
            let names: Vec<_> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
            assert!(!names.contains(&"authorization"), "{names:?}");
        }
    }
    gateway.assert_healthy().await;
}

/// Names that nobody has written down: as many as there is room for count by themselves, whoever comes when.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_names_than_there_is_room_for_share_counters() {
    const OWN: usize = 40;
    let upstream = Upstream::start(|_| Answer::json(&json!({"ok": true}))).await;
    let policy = json!({
        "version": "1",
        "identity": {"consumer_header": "x-user", "trusted": true, "max_consumers": OWN},
        "default_group": "everyone",
        "consumer_groups": [{"name": "everyone", "consumer_rate_limits": {"requests_per_day": 10}}],
    });
    let gateway = Gateway::new(policy).cluster("upstream", upstream.address());
    let Some(gateway) = gateway.start().await else {
        return;
    };
    let ask = |user: usize| {
        Request::post("/v1/chat/completions")
            .header("x-user", format!("user-{user}"))
            .json(&json!({"model": "m", "messages": []}))
    };
    // Five of each, over all workers.
    let rush = async |users: std::ops::Range<usize>| {
        let mut answers = Vec::new();
        for at_once in users.collect::<Vec<_>>().chunks(20) {
            let requests = at_once.iter().flat_map(|user| vec![ask(*user); 5]);
            answers.extend(all_at_once(gateway.address(), requests).await);
        }
        answers
    };
    let answers = rush(0..OWN).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    // A thousand more: 256 counters, of 10 requests each.
    let answers = rush(OWN..OWN + 1_000).await;
    let passed = answers.iter().filter(|answer| answer.status == 200).count();
    // Two workers may have made the last one at the same moment.
    assert!((2_000..=2_560 + 10).contains(&passed), "{passed}");
    // Who was there before is untouched by it.
    for user in 0..OWN {
        let answer = gateway.send(ask(user)).await;
        let left = answer.header("ratelimit-remaining");
        assert_eq!((answer.status, left), (200, Some("4")), "user-{user}");
    }
    let stats = gateway.stats().await;
    let shared = stats["wasmcustom.cohort.shared_counters.group.everyone"];
    assert!((4_990..=5_000).contains(&shared), "{shared}");
    gateway.assert_healthy().await;
}
