use super::*;
use crate::proto::{Entry, Override};

const LIMITS: &str = "
domain: cohort
descriptors:
  - key: group
    value: gold
    descriptors:
      - {key: limit, value: tokens, rate_limit: {unit: minute, requests_per_unit: 100}}
      - {key: limit, value: free, rate_limit: {unlimited: true}}
      - {key: limit, value: watched, rate_limit: {unit: Hour, requests_per_unit: 1}, shadow_mode: true}
  - key: group
    rate_limit: {unit: day, requests_per_unit: 7}
    descriptors:
      - {key: limit, value: tokens, rate_limit: {unit: week, requests_per_unit: 10}}
      - {key: limit, value: bulk, rate_limit: {unit: year, requests_per_unit: 10}}
";
/// 2026-11-21T08:00:10Z.
const NOW: u64 = 1_795_248_010;

fn server() -> Envoy {
    Envoy::load(&[LIMITS.to_owned()]).unwrap()
}

fn descriptor(entries: &[(&str, &str)]) -> Descriptor {
    let entries = entries.iter().map(|(key, value)| Entry {
        key: (*key).to_owned(),
        value: (*value).to_owned(),
    });
    Descriptor {
        entries: entries.collect(),
        ..Descriptor::default()
    }
}

fn gold() -> Descriptor {
    descriptor(&[("group", "gold"), ("limit", "tokens")])
}

fn request(descriptors: &[Descriptor], hits_addend: u32) -> RateLimitRequest {
    RateLimitRequest {
        domain: "cohort".to_owned(),
        descriptors: descriptors.to_vec(),
        hits_addend,
    }
}

/// One descriptor's code and what remains.
fn ask(server: &mut Envoy, descriptor: Descriptor, hits_addend: u32, now: u64) -> (Code, u32) {
    let answer = server.should_rate_limit(&request(&[descriptor], hits_addend), now);
    let status = answer.unwrap().response.statuses.remove(0);
    (status.code(), status.limit_remaining)
}

#[test]
fn a_counter_grows_past_its_limit_and_a_look_at_a_used_up_one_is_ok() {
    let server = &mut server();
    let look = Descriptor {
        hits_addend: Some(0),
        ..gold()
    };
    assert_eq!(ask(server, gold(), 0, NOW), (Code::Ok, 99));
    assert_eq!(ask(server, look.clone(), 50, NOW), (Code::Ok, 99));
    assert_eq!(ask(server, gold(), 99, NOW), (Code::Ok, 0));
    assert_eq!(ask(server, look.clone(), 0, NOW), (Code::Ok, 0));
    assert_eq!(ask(server, gold(), 500, NOW), (Code::OverLimit, 0));
    assert_eq!(ask(server, look.clone(), 0, NOW), (Code::OverLimit, 0));
    // The minute ends, not 60 seconds from the first hit.
    assert_eq!(ask(server, look.clone(), 0, NOW + 49), (Code::OverLimit, 0));
    assert_eq!(ask(server, look, 0, NOW + 50), (Code::Ok, 100));
}

#[test]
fn an_entry_is_found_by_its_value_or_else_by_its_key_and_to_the_last() {
    let server = &mut server();
    let mut remaining = |entries: &[(&str, &str)]| {
        let request = request(&[descriptor(entries)], 1);
        let answer = server.should_rate_limit(&request, NOW).unwrap();
        let status = &answer.response.statuses[0];
        assert_eq!(status.code(), Code::Ok);
        status.current_limit.map(|_| status.limit_remaining)
    };
    let lead = ("group", "lead");
    assert_eq!(remaining(&[lead]), Some(6));
    assert_eq!(remaining(&[("group", "copper")]), Some(6));
    assert_eq!(remaining(&[lead, ("limit", "tokens")]), Some(9));
    assert_eq!(remaining(&[lead, ("limit", "other")]), None);
    assert_eq!(remaining(&[lead, ("limit", "tokens"), ("a", "b")]), None);
    assert_eq!(remaining(&[("limit", "tokens"), lead]), None);
    // A value's own node hides the others' to its very end.
    assert_eq!(remaining(&[("group", "gold")]), None);
    assert_eq!(remaining(&[("group", "gold"), ("limit", "bulk")]), None);
    assert_eq!(remaining(&[]), None);
}

#[test]
fn a_status_tells_the_limit_and_the_windows_end() {
    let lead = descriptor(&[("group", "lead"), ("limit", "tokens")]);
    let answer = server().should_rate_limit(&request(&[gold(), lead], 20), NOW);
    let response = answer.unwrap().response;
    assert_eq!(response.overall_code(), Code::OverLimit);
    let statuses = response.statuses.iter().map(|status| {
        let limit = status.current_limit.unwrap();
        let reset = status.duration_until_reset.unwrap();
        (
            status.code(),
            limit.unit(),
            limit.requests_per_unit,
            reset.seconds,
        )
    });
    // A week starts on a Thursday at 00:00 UTC, and it is Saturday, 08:00:10.
    assert_eq!(
        statuses.collect::<Vec<_>>(),
        [
            (Code::Ok, Unit::Minute, 100, 50),
            (Code::OverLimit, Unit::Week, 10, 4 * 86_400 + 57_590),
        ]
    );
    let lengths = [Unit::Month, Unit::Year].map(|unit| seconds(unit).unwrap() / 86_400);
    assert_eq!(lengths, [30, 365]);
}

#[test]
fn a_limit_in_the_request_needs_only_the_domain() {
    let own = |unit: Unit| Descriptor {
        limit: Some(Override {
            requests_per_unit: 3,
            unit: unit.into(),
        }),
        ..descriptor(&[("any", "thing")])
    };
    let server = &mut server();
    assert_eq!(ask(server, own(Unit::Day), 2, NOW), (Code::Ok, 1));
    assert_eq!(ask(server, own(Unit::Day), 2, NOW), (Code::OverLimit, 0));
    let mut elsewhere = request(&[own(Unit::Day)], 9);
    "elsewhere".clone_into(&mut elsewhere.domain);
    let answer = server.should_rate_limit(&elsewhere, NOW).unwrap();
    assert_eq!(answer.response.overall_code(), Code::Ok);
    assert_eq!(answer.response.statuses[0].current_limit, None);
    assert_eq!(answer.hits, [(9, 0)]);
    let no_unit = request(&[own(Unit::Unknown)], 1);
    let error = server.should_rate_limit(&no_unit, NOW).unwrap_err();
    assert_eq!(error.code, 13);
}

#[test]
fn unlimited_and_shadowed_limits_let_pass() {
    let server = &mut server();
    let free = descriptor(&[("group", "gold"), ("limit", "free")]);
    assert_eq!(ask(server, free, 1000, NOW), (Code::Ok, u32::MAX));
    let watched = descriptor(&[("group", "gold"), ("limit", "watched")]);
    assert_eq!(ask(server, watched, 5, NOW), (Code::Ok, 0));
}

#[test]
fn what_the_server_cannot_count_is_an_error() {
    let server = &mut server();
    let huge = Descriptor {
        hits_addend: Some(u64::MAX),
        ..gold()
    };
    let mut nowhere = request(&[gold()], 1);
    nowhere.domain.clear();
    for request in [request(&[], 1), nowhere, request(&[huge], 1)] {
        let error = server.should_rate_limit(&request, NOW).unwrap_err();
        assert_eq!(error.code, 2);
    }
    assert_eq!(ask(server, gold(), 1, NOW), (Code::Ok, 99));
}

#[test]
fn limits_that_the_server_or_the_model_does_not_have_are_refused() {
    for (text, error) in [
        ("descriptors: []".to_owned(), "empty domain"),
        (
            "{domain: a, descriptors: [{value: b}]}".to_owned(),
            "empty key",
        ),
        (
            "{domain: a, descriptors: [{key: b}, {key: b}]}".to_owned(),
            "duplicate",
        ),
        (
            "{domain: a, descriptors: [{key: b, rate_limit: {unit: eon}}]}".to_owned(),
            "invalid",
        ),
        (
            "{domain: a, descriptors: [{key: b, rate_limit: {unit: day, unlimited: true}}]}"
                .to_owned(),
            "unlimited",
        ),
        (
            "{domain: a, descriptors: [{key: b, limits: 1}]}".to_owned(),
            "limits",
        ),
    ] {
        let refused = Envoy::load(std::slice::from_ref(&text)).err().expect(&text);
        assert!(refused.contains(error), "{text}: {refused}");
    }
    let twice = ["domain: a", "domain: a"].map(str::to_owned);
    assert!(
        Envoy::load(&twice)
            .err()
            .unwrap()
            .contains("duplicate domain")
    );
}
