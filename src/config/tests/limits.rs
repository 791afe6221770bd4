use super::*;

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
