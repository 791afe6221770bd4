mod counters;
mod limits;
mod warnings;
#[cfg(feature = "cli")]
mod yaml;

use super::*;
use crate::credential::KeyDigest;
use crate::guardrail::Criteria;
use crate::limit::{Limit, Unit};
use crate::time::Timestamp;

fn errors(document: &str) -> Vec<String> {
    let errors = Config::from_json(document.as_bytes()).expect_err(document);
    errors.iter().map(ToString::to_string).collect()
}

fn with_limits(limits: &str) -> Result<Config, Vec<ConfigError>> {
    let document =
        format!(r#"{{"version":"1","consumer_groups":[{{"name":"a","rate_limits":{limits}}}]}}"#);
    Config::from_json(document.as_bytes())
}

#[test]
fn what_is_left_out_has_the_defaults_of_the_reference() {
    let config = Config::from_json(br#"{"version":"1"}"#).unwrap();
    assert_eq!(config.mode, Mode::Enforce);
    assert_eq!(
        config.credential_headers,
        [
            "authorization",
            "x-api-key",
            "api-key",
            "x-goog-api-key",
            "apikey"
        ]
    );
    assert_eq!(config.path_prefixes, ["", "/openai", "/api", "/anthropic"]);
    assert_eq!(config.failed_auth_per_minute, 60);
    assert_eq!(
        config.rate_limit_headers,
        [HeaderFamily::Standard, HeaderFamily::OpenAi]
    );
    assert_eq!(config.retry_after_jitter, 0);
    assert!(config.hold_request_headers);
    assert!(!config.decompress_requests);
    assert_eq!(config.max_response_bytes, 1024 * 1024);
    assert_eq!(config.timezone, UtcOffset(0));
}

#[test]
fn json_keeps_no_duplicate_from_us() {
    assert_eq!(
        errors(r#"{"version":"1","mode":"shadow","m\u006fde":"enforce"}"#),
        ["mode: given twice"]
    );
}

#[test]
fn what_is_not_json_is_told_so() {
    for document in [
        "",
        "version: '1'",
        "{\"version\":\"1\"} x",
        "{\"version\":\"1\",}",
        "\u{feff}{}",
    ] {
        let errors = errors(document);
        assert_eq!(errors.len(), 1);
        assert!(errors[0].starts_with("not JSON: "), "{errors:?}");
    }
    let deep = "[".repeat(100_000);
    assert!(errors(&deep)[0].starts_with("not JSON: "));
}

#[test]
fn a_path_cannot_break_the_line_it_is_logged_in() {
    let long = "x".repeat(1_000);
    let errors = errors(&format!(r#"{{"version":"1","a\nb\u001b":1,"{long}":2}}"#));
    assert!(
        errors[0].starts_with(r"a\nb\u{1b}: unknown field"),
        "{errors:?}"
    );
    let (path, _) = errors[1].split_once(": ").unwrap();
    assert!(path.len() < 100, "{errors:?}");
}

#[test]
fn a_key_is_found_by_its_digest_and_named_after_it() {
    let document = br#"{"version":"1","consumer_groups":[{"name":"a","api_key":"kt_one"},{"name":"b","api_keys":[{"sha256":
        "CB0D1F8FA64D0C0E1B6B6A5A62BC9C6E7AF7F8D1D2D3D4D5D6D7D8D9DADBDCDD"}]}]}"#;
    let config = Config::from_json(document).unwrap();
    let [a, b] = &config.consumer_groups[..] else {
        panic!()
    };
    assert_eq!(a.keys[0].digest, KeyDigest::of(b"kt_one"));
    assert_eq!(a.keys[0].id.len(), 12);
    assert!(a.keys[0].plain && !b.keys[0].plain);
    assert_eq!(b.keys[0].digest.0[..3], [0xcb, 0x0d, 0x1f]);
    assert_eq!(b.keys[0].id, "cb0d1f8fa64d");
}

#[test]
fn a_date_without_an_offset_is_in_the_documents_time_zone() {
    let document = br#"{"consumer_groups":[{"name":"a","api_keys":[{"not_before":"2026-01-01","sha256":
        "cb0d1f8fa64d0c0e1b6b6a5a62bc9c6e7af7f8d1d2d3d4d5d6d7d8d9dadbdcdd"}]}],"timezone":"+09:00","version":"1"}"#;
    let config = Config::from_json(document).unwrap();
    let expected = Timestamp::parse_rfc3339("2025-12-31T15:00:00Z", UtcOffset(0));
    assert_eq!(config.consumer_groups[0].keys[0].not_before, expected);
}

#[test]
fn a_hundred_thousand_keys_are_no_trouble() {
    let keys: Vec<String> = (0..100_000)
        .map(|n| format!("\"key_number_{n:020}\""))
        .collect();
    let document = format!(
        r#"{{"version":"1","consumer_groups":[{{"name":"a","api_keys":[{}]}}]}}"#,
        keys.join(",")
    );
    assert_eq!(
        Config::from_json(document.as_bytes())
            .unwrap()
            .consumer_groups[0]
            .keys
            .len(),
        100_000
    );
}

#[test]
fn a_content_filter_has_the_defaults_of_the_reference() {
    let of = |config: &str| {
        let document = format!(
            r#"{{"version":"1","policies":[{{"name":"p","type":"content_filter"{config}}}]}}"#
        );
        let mut config = Config::from_json(document.as_bytes()).unwrap();
        let rule = config.defaults.policies.remove(0);
        assert_eq!(rule.action, PolicyAction::Block);
        let PolicyKind::ContentFilter(moderation) = rule.kind else {
            panic!()
        };
        *moderation
    };
    let default = Moderation {
        cluster: None,
        path: "/v1/moderations".to_owned(),
        timeout_ms: 1_000,
        failure_mode: FailureMode::Allow,
        criteria: Criteria {
            categories: Vec::new(),
            threshold: None,
        },
    };
    assert_eq!(of(""), default);
    assert_eq!(of(r#","config":{}"#), default);
    let all = r#","config":{"cluster":"m","path":"/x","timeout":"2s","failure_mode":"deny","categories":["hate","a/b"],"threshold":0.123456}"#;
    assert_eq!(
        of(all),
        Moderation {
            cluster: Some("m".to_owned()),
            path: "/x".to_owned(),
            timeout_ms: 2_000,
            failure_mode: FailureMode::Deny,
            criteria: Criteria {
                categories: vec!["hate".to_owned(), "a/b".to_owned()],
                threshold: Some(123_456),
            },
        }
    );
    for (threshold, millionths) in [
        ("\"low\"", 250_000),
        ("\"medium\"", 500_000),
        ("\"high\"", 750_000),
        ("0", 0),
        ("1", 1_000_000),
        ("0.7", 700_000),
    ] {
        let read = of(&format!(r#","config":{{"threshold":{threshold}}}"#));
        assert_eq!(read.criteria.threshold, Some(millionths), "{threshold}");
    }
}

#[test]
fn groups_are_at_most_sixteen_above_each_other() {
    let chain = |levels: usize| {
        let group = |level: usize| match level {
            0 => r#"{"name":"g0"}"#.to_owned(),
            _ => format!(r#"{{"name":"g{level}","parent":"g{}"}}"#, level - 1),
        };
        let groups: Vec<_> = (0..levels).map(group).collect();
        format!(
            r#"{{"version":"1","consumer_groups":[{}]}}"#,
            groups.join(",")
        )
    };
    assert!(Config::from_json(chain(16).as_bytes()).is_ok());
    let errors = errors(&chain(17));
    assert_eq!(errors.len(), 1);
    let expected = "consumer_groups[16].parent: more than 16 levels (g16 -> g15 -> ";
    assert!(errors[0].starts_with(expected), "{errors:?}");
}

#[test]
fn a_parent_needs_neither_key_nor_list_twice() {
    let document = br#"{"version":"1","consumer_groups":[
        {"name":"a","parent":"b","api_keys":[{"sha256":
         "cb0d1f8fa64d0c0e1b6b6a5a62bc9c6e7af7f8d1d2d3d4d5d6d7d8d9dadbdcdd"}]},
        {"name":"b","allowed_models":["x"]}]}"#;
    assert_eq!(Config::from_json(document).unwrap().warnings(), []);
}
