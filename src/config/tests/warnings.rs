use super::*;

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
