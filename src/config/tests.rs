use super::*;
use crate::limit::{Unit, Window};

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
fn numbers_are_read_however_envoy_writes_them() {
    for (written, quota) in [
        ("60", 60),
        ("0", 0),
        ("-0.0", 0),
        ("60.0", 60),
        ("2e+06", 2_000_000),
        ("2000000.0", 2_000_000),
        ("1e15", 1_000_000_000_000_000),
        (r#""100k""#, 100_000),
        (r#""2M""#, 2_000_000),
        (r#""7""#, 7),
    ] {
        let config =
            with_limits(&format!(r#"{{"requests_per_minute":{written}}}"#)).expect(written);
        let limit = Limit {
            unit: Unit::Requests,
            window: Window::Sliding(60),
            quota,
        };
        assert_eq!(
            config.consumer_groups[0].rules.limits.rate_limits,
            [limit],
            "{written}"
        );
    }
}

#[test]
fn no_other_number_is_read() {
    for written in [
        "-1",
        "0.5",
        "1e15k",
        "1000000000000001",
        "1e16",
        "1e300",
        "-1e300",
        r#""""#,
        r#""k""#,
        r#""-1""#,
        r#""+1""#,
    ]
    .into_iter()
    .chain([
        r#""1.5k""#,
        r#""0x10""#,
        r#""010""#,
        r#""1kk""#,
        r#""99999999999999999999M""#,
        "null",
        "[]",
        "{}",
    ]) {
        assert!(
            with_limits(&format!(r#"{{"requests_per_minute":{written}}}"#)).is_err(),
            "{written}"
        );
    }
}

#[test]
fn a_struct_without_order_gives_the_same_limits() {
    let one =
        with_limits(r#"{"tokens_per_day":5,"requests_per_minute":6,"window":"fixed"}"#).unwrap();
    let other =
        with_limits(r#"{"window":"fixed","requests_per_minute":6,"tokens_per_day":5}"#).unwrap();
    assert_eq!(
        one.consumer_groups[0].rules.limits.rate_limits,
        other.consumer_groups[0].rules.limits.rate_limits
    );
    assert_eq!(
        one.consumer_groups[0].rules.limits.rate_limits[0].window,
        Window::Fixed(60)
    );
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
fn warnings_say_what_is_not_as_it_looks() {
    let document = br#"{"version":"1","consumer_groups":[
        {"name":"a","api_key":"kt_one","rate_limits":{"tokens_per_day":1},
         "policies":[{"name":"p","type":"content_filter"}],
         "input_policies":[
            {"name":"p","type":"pii_detector","config":{"entities":["ssn"]}},
            {"name":"q","type":"pii_detector","action":"redact","config":{"entities":["ssn"]}},
            {"name":"r","type":"keyword_filter","config":{"patterns":["a{1,9}"]}},
            {"name":"s","enabled":false}]},
        {"name":"b","allowed_models":[]}]}"#;
    let warnings = Config::from_json(document).unwrap().warnings();
    let paths: Vec<_> = warnings
        .iter()
        .map(|warning| warning.path.as_str())
        .collect();
    let groups = [
        "consumer_groups[0]",
        "consumer_groups[0]",
        "consumer_groups[0].policies[0]",
    ];
    assert_eq!(paths[..3], groups);
    assert_eq!(
        paths[3..],
        [
            "consumer_groups[1]",
            "consumer_groups[1].allowed_models",
            ""
        ]
    );
    assert!(warnings[2].message.contains("asks nobody"));
    assert!(
        Config::from_json(br#"{"version":"1"}"#).unwrap().warnings()[0]
            .message
            .contains("every request is refused")
    );
}

/// What is said of a `content_filter` among the `input_policies`.
fn said_of_content(target: &str, rest: &str) -> Vec<String> {
    let document = format!(
        r#"{{"version":"1","providers":{{"targets":[{{"id":"t","provider":"{target}"}}]}},
            "consumer_groups":[],"input_policies":[{{"name":"p","type":"content_filter"{rest}}}]}}"#
    );
    let warnings = Config::from_json(document.as_bytes()).unwrap().warnings();
    let own = warnings
        .into_iter()
        .filter(|warning| warning.path == "input_policies[0]");
    own.map(|warning| warning.message).collect()
}

#[test]
fn a_content_filter_without_anyone_to_ask_is_warned_of() {
    let cluster = r#","config":{"cluster":"m"}"#;
    assert_eq!(said_of_content("openai", ""), [] as [String; 0]);
    assert_eq!(said_of_content("anthropic", cluster), [] as [String; 0]);
    let [alone] = &said_of_content("anthropic", "")[..] else {
        panic!()
    };
    assert!(alone.starts_with("asks nobody"), "{alone}");
    let idle = r#","action":"flag","config":{"failure_mode":"deny"}"#;
    let [idle] = &said_of_content("openai", idle)[..] else {
        panic!()
    };
    assert!(idle.starts_with("`failure_mode: deny` does nothing"));
    let [redact] = &said_of_content("openai", r#","action":"redact""#)[..] else {
        panic!()
    };
    assert!(redact.contains("`redact` is `block` here"));
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

fn with_service(fields: &str) -> Config {
    let document = format!(
        r#"{{"version":"1","counters":{{"store":"rate_limit_service","cluster":"rls"{fields}}}}}"#
    );
    Config::from_json(document.as_bytes()).unwrap()
}

#[test]
fn a_service_has_the_defaults_of_the_reference() {
    let service = with_service("").counters.service.unwrap();
    assert_eq!((&*service.cluster, &*service.domain), ("rls", "cohort"));
    assert_eq!(service.timeout_ms, 100);
    assert_eq!(service.dialect, ServiceDialect::Envoy);
    assert_eq!(service.failure_mode, FailureMode::Local);
    assert_eq!(service.lease, None);
    let lease = with_service(r#","timeout":"2s","lease":{"requests":7}"#);
    let service = lease.counters.service.unwrap();
    assert_eq!(service.timeout_ms, 2_000);
    let expected = Lease {
        requests: 7,
        max_age_ms: 1_000,
    };
    assert_eq!(service.lease, Some(expected));
    // More than the protocol could be asked for, but it is not.
    let seeded = with_service(
        r#","seed":[{"time":"2026-01-01","counted":{"tokens_per_month":5000000000}}]"#,
    );
    assert_eq!(seeded.counters.seed[0].counted[0].quota, 5_000_000_000);
}

#[test]
fn durations_have_a_unit_and_bounds() {
    let timeout = |text: &str| {
        let document = format!(
            r#"{{"version":"1","counters":{{"store":"rate_limit_service","cluster":"rls","timeout":{text}}}}}"#
        );
        let config = Config::from_json(document.as_bytes()).ok()?;
        Some(config.counters.service?.timeout_ms)
    };
    for (text, expected) in [
        (r#""1ms""#, Some(1)),
        (r#""10000ms""#, Some(10_000)),
        (r#""10s""#, Some(10_000)),
        (r#""0ms""#, None),
        (r#""0s""#, None),
        (r#""10001ms""#, None),
        (r#""99999999s""#, None),
        (r#""1.5s""#, None),
        (r#""-1s""#, None),
        (r#""+1s""#, None),
        (r#""1 s""#, None),
        (r#""1""#, None),
        (r#""ms""#, None),
        (r#""""#, None),
        ("100", None),
    ] {
        assert_eq!(timeout(text), expected, "{text}");
    }
}

#[test]
fn concurrency_has_no_window() {
    let expected = Limit {
        unit: Unit::ConcurrentRequests,
        window: Window::InFlight,
        quota: 5,
    };
    for limits in [
        r#"{"concurrent_requests":5}"#,
        r#"[{"unit":"concurrent_requests","limit":5}]"#,
    ] {
        let config = with_limits(limits).unwrap();
        assert_eq!(
            config.consumer_groups[0].rules.limits.rate_limits,
            std::slice::from_ref(&expected)
        );
    }
}

#[test]
fn seeds_name_their_counter_as_it_names_itself() {
    let document = br#"{"version":"1","timezone":"+09:00","consumer_groups":[{"name":"a"}],"counters":{"seed":[
        {"consumer_group":"a","consumer":"c","time":"2026-01-01","counted":{"tokens_per_day":5,"requests_per_minute":6}},
        {"models":["x","y*"],"time":"2026-01-01T00:00:00Z","counted":{}}]}}"#;
    let seed = Config::from_json(document).unwrap().counters.seed;
    let [first, second] = &seed[..] else { panic!() };
    assert_eq!(first.descriptor.record(), "cohort/1/group/a/consumer/c");
    assert_eq!(
        Some(first.time),
        Timestamp::parse_rfc3339("2025-12-31T15:00:00Z", UtcOffset(0))
    );
    let counted = [
        (Unit::Requests, Window::Sliding(60), 6),
        (Unit::Tokens, Window::Day, 5),
    ];
    let counted = counted.map(|(unit, window, quota)| Limit {
        unit,
        window,
        quota,
    });
    assert_eq!(first.counted, counted);
    assert_eq!(second.descriptor.record(), "cohort/1/ceilings/models/x,y*");
}

#[test]
fn what_a_store_cannot_do_is_warned_of_only_where_it_matters() {
    const MARKS: [&str; 8] = [
        "fixed",
        "timezone",
        "30 days",
        "concurrent",
        "reserves",
        "refuses",
        "lease",
        "restart",
    ];
    let said = |counters: &str, limits: &str, more: &str| -> Vec<&str> {
        let document = format!(
            r#"{{"version":"1","counters":{{{counters}}},"consumer_groups":[{{"name":"a","rate_limits":{limits}}}]{more}}}"#
        );
        let config = Config::from_json(document.as_bytes()).expect(&document);
        let lines = config.warnings().into_iter();
        lines
            .filter_map(|line| MARKS.into_iter().find(|mark| line.message.contains(mark)))
            .collect()
    };
    let service = r#""store":"rate_limit_service","cluster":"c""#;
    let kuadrant = &format!(r#"{service},"dialect":"kuadrant""#);
    let leased = &format!(r#"{service},"lease":{{"requests":2}}"#);
    let seeded = r#""seed":[{"time":"2026-01-01","counted":{}}]"#;
    let ceiling = r#","ceilings":{"rate_limits":{"requests_per_day":1}}"#;
    let minute = r#"{"requests_per_minute":1}"#;
    let day = r#"{"requests_per_day":1}"#;
    let month = r#"{"requests_per_month":1}"#;
    let both = r#"{"requests_per_day":1,"requests_per_month":1}"#;
    for (counters, limits, more, expected) in [
        ("", minute, "", &[][..]),
        ("", day, "", &["restart"]),
        ("", minute, ceiling, &["restart"]),
        (seeded, day, "", &[]),
        (service, "{}", "", &[]),
        (service, minute, "", &["fixed"]),
        (
            service,
            r#"{"requests_per_minute":1,"window":"fixed"}"#,
            "",
            &[],
        ),
        (service, month, "", &[]),
        (kuadrant, month, "", &["30 days"]),
        (kuadrant, day, "", &[]),
        (service, day, r#","timezone":"+01:00""#, &["timezone"]),
        (service, minute, r#","timezone":"+01:00""#, &["fixed"]),
        (service, r#"{"tokens_per_day":1}"#, "", &["reserves"]),
        (service, r#"{"concurrent_requests":1}"#, "", &["concurrent"]),
        (service, both, "", &["refuses"]),
        (service, "{}", ceiling, &[]),
        (service, day, ceiling, &["refuses"]),
        (leased, "{}", "", &["lease"]),
    ] {
        assert_eq!(
            said(counters, limits, more),
            expected,
            "{counters} {limits} {more}"
        );
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

#[cfg(feature = "cli")]
mod yaml {
    use super::*;

    #[test]
    fn scalars_are_what_yaml_1_2_says() {
        let mode = |text: &str| Config::from_yaml(&format!("version: '1'\nmode: {text}\n"));
        assert!(
            mode("shadow").is_ok() && mode("'shadow'").is_ok() && mode("\"sh\\x61dow\"").is_ok()
        );
        assert!(mode("!!str shadow").is_ok() && mode("|-\n  shadow").is_ok());
        let hold = |text: &str| {
            Config::from_yaml(&format!("version: '1'\nhold_request_headers: {text}\n"))
        };
        assert!(hold("true").is_ok() && hold("False").is_ok());
        assert!(hold("yes").is_err() && hold("'true'").is_err() && hold("~").is_err());
        let jitter =
            |text: &str| Config::from_yaml(&format!("version: '1'\nretry_after_jitter: {text}\n"));
        for (text, expected) in [
            ("5", 5),
            ("'5'", 5),
            ("5.0", 5),
            ("1e1", 10),
            ("+5", 5),
            ("0", 0),
        ] {
            assert_eq!(jitter(text).unwrap().retry_after_jitter, expected, "{text}");
        }
        for text in [
            "010", "0x10", "1_0", "-1", ".5", "..", "1-2", "", "nan", ".nan",
        ] {
            assert!(jitter(text).is_err(), "{text}");
        }
    }

    #[test]
    fn aliases_cannot_fill_the_memory() {
        use std::fmt::Write;
        let mut text = "version: '1'\na0: &a0 [x]\n".to_owned();
        for level in 1..40 {
            let previous = level - 1;
            writeln!(
                text,
                "a{level}: &a{level} [*a{previous}, *a{previous}, *a{previous}, *a{previous}]"
            )
            .unwrap();
        }
        assert_eq!(
            Config::from_yaml(&text).unwrap_err()[0].message,
            "aliases copy too much"
        );
        assert!(Config::from_yaml("a: &a [*a]").is_err());
    }

    #[test]
    fn nesting_ends_before_the_stack_does() {
        for text in [
            "[".repeat(100_000),
            "- ".repeat(100_000),
            "{a: ".repeat(100_000),
        ] {
            assert!(Config::from_yaml(&text).is_err());
        }
    }

    #[test]
    fn positions_count_characters_and_lines() {
        let error = &Config::from_yaml("\u{feff}version: '1'\r\n\"m\u{f6}de\": 1 # comment\r\n")
            .unwrap_err()[0];
        let location = error.location.as_ref().unwrap();
        assert_eq!((location.line, location.column), (2, 1));
        assert_eq!(location.excerpt, "\"m\u{f6}de\": *");
        assert_eq!(
            location.excerpt.get(location.range.clone()),
            Some("\"m\u{f6}de\"")
        );
    }
}

#[test]
fn what_was_spent_can_be_said_too() {
    let document = br#"{"version":"1","counters":{"seed":[
        {"time":"2026-01-01","counted":{"budget_total":2,"budget_per_day":"1.5","tokens_per_day":"1k"}}]}}"#;
    let seed = Config::from_json(document).unwrap().counters.seed;
    let counted: Vec<_> = (seed[0].counted.iter())
        .map(|limit| (limit.name().to_string(), limit.quota))
        .collect();
    assert_eq!(
        counted,
        [
            ("tokens_per_day".to_owned(), 1_000),
            ("budget_per_day".to_owned(), 1_500_000),
            ("budget_total".to_owned(), 2_000_000),
        ]
    );
}
