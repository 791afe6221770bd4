use super::*;

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
