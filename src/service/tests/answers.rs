//! What follows from Envoy's answers.

use super::*;
use proptest::prelude::*;

#[test]
fn envoys_statuses_are_the_standings() {
    let (service, counters) = (service(ServiceDialect::Envoy), everything());
    let question = Question {
        service: &service,
        counters: &counters,
    };
    let mut model = Model::default();
    let call = question.ask(1, &total(5), &total(400)).remove(0);
    let answers = [model.answer(&call, NOW.0)];
    let Verdict::Within(statuses) = question.read(&answers, &total(5), NOBODY, NOW) else {
        panic!("refused");
    };
    let shown: Vec<_> = statuses
        .iter()
        .map(|s| (s.counter, s.limit, s.quota, s.remaining, s.ends_in_ms))
        .collect();
    assert_eq!(
        shown,
        [
            (0, 0, 5, 4, 1_000),
            (1, 0, 2, 1, 1_000),
            (2, 0, 60, 59, 1_000),
            (2, 1, 1_000, 600, 1_000),
            (
                3,
                0,
                MAX_QUOTA,
                MAX_QUOTA,
                2_592_000_000 - NOW.0 % 2_592_000_000
            ),
            (4, 0, 70, 70, 1_000),
        ]
    );
    let tokens = counters[2].limits[1];
    let mut standing = Standing {
        counter: 2,
        limit: tokens,
        used: 7,
        reserved: 100,
        remaining: 893,
        reset_ms: None,
        clear_ms: 0,
    };
    statuses[3].tell(&mut standing);
    assert_eq!(
        standing,
        Standing {
            used: 400,
            remaining: 500,
            reset_ms: Some(0),
            clear_ms: 1_000,
            ..standing
        }
    );
}

#[test]
fn the_longest_wait_is_told() {
    let (service, counters) = (service(ServiceDialect::Envoy), small());
    let question = Question {
        service: &service,
        counters: &counters,
    };
    let mut model = Model::default();
    let mut ask = || {
        let call = question.ask(1, &total(1), &total(0)).remove(0);
        over(&question.read(&[model.answer(&call, 60_000)], &total(1), NOBODY, NOW))
    };
    assert_eq!(ask(), None);
    assert_eq!(ask(), None);
    assert_eq!(ask(), Some((0, Some(60_000))));
    assert_eq!(ask(), Some((2, Some(3_540_000))));
}

#[test]
fn tokens_must_have_room_for_the_estimate_and_what_others_reserved() {
    let (service, counters) = (service(ServiceDialect::Envoy), small());
    let question = Question {
        service: &service,
        counters: &counters,
    };
    // (used, estimate, reserved by others, passes)
    for (used, estimate, others, passes) in [
        (0, 100, 0, true),
        (0, 5_000, 0, true), // an idle limit admits anything
        (0, 5_000, 1, false),
        (1, 5_000, 0, false),
        (60, 40, 0, true),
        (60, 40, 1, false),
        (60, 39, 1, true),
        (99, 0, 0, true),
        (100, 0, 0, false), // a look at exactly the limit
        (101, 0, 0, false),
    ] {
        let mut model = Model::default();
        let call = question.ask(1, &total(estimate), &total(used)).remove(0);
        let answers = [model.answer(&call, NOW.0)];
        let reserved = |counter, limit| {
            assert_eq!((counter, limit), (0, 1));
            others
        };
        let verdict = question.read(&answers, &total(estimate), &reserved, NOW);
        let refused = (!passes).then_some((1, Some(1_000)));
        assert_eq!(over(&verdict), refused, "{used} {estimate} {others}");
    }
}

#[test]
fn nothing_ever_passes_a_limit_of_nothing() {
    let service = service(ServiceDialect::Envoy);
    let counters = [counter(
        Some("a"),
        None,
        None,
        vec![limit(Unit::Tokens, MINUTE, 0)],
    )];
    let question = Question {
        service: &service,
        counters: &counters,
    };
    let call = question.ask(1, &total(0), &total(0)).remove(0);
    let answers = [Model::default().answer(&call, NOW.0)];
    let verdict = question.read(&answers, &total(0), NOBODY, NOW);
    assert_eq!(over(&verdict), Some((0, None)));
}

fn ok(remaining: u32) -> WireStatus {
    WireStatus {
        code: 1,
        current_limit: Some(CurrentLimit::default()),
        limit_remaining: remaining,
        duration_until_reset: None,
    }
}

#[test]
fn a_window_without_an_end_ends_with_the_clock() {
    let (service, counters) = (service(ServiceDialect::Envoy), small());
    let question = Question {
        service: &service,
        counters: &counters,
    };
    let answer = Answer {
        overall_code: 1,
        statuses: vec![ok(1), ok(100), ok(2)],
        ..Answer::default()
    };
    let now = Timestamp(7_200_000 + 61_500);
    let Verdict::Within(statuses) =
        question.read(&[answer.encode_to_vec()], &total(1), NOBODY, now)
    else {
        panic!("refused");
    };
    let ends: Vec<_> = statuses.iter().map(|status| status.ends_in_ms).collect();
    assert_eq!(ends, [58_500, 58_500, 3_538_500]);
}

#[test]
fn what_is_no_answer_is_malformed_and_silence_about_a_limit_is_told() {
    let (service, counters) = (service(ServiceDialect::Envoy), small());
    let question = Question {
        service: &service,
        counters: &counters,
    };
    let unmatched = WireStatus {
        code: 1,
        ..WireStatus::default()
    };
    let refused = WireStatus { code: 2, ..ok(0) };
    let read = |overall_code, statuses: &[&WireStatus]| {
        let answer = Answer {
            overall_code,
            statuses: statuses.iter().copied().cloned().collect(),
            ..Answer::default()
        };
        question.read(&[answer.encode_to_vec()], &total(1), NOBODY, NOW)
    };
    let fine = ok(9);
    for (code, statuses) in [
        (0, &[&fine, &fine, &fine][..]),
        (3, &[&fine, &fine, &fine]),
        (1, &[&fine, &fine]),
        (1, &[]),
        (2, &[&fine, &fine, &fine]),
        (1, &[&fine, &fine, &refused]),
        (1, &[&fine, &fine, &fine, &fine]),
        (1, &[&fine, &fine, &WireStatus::default()]),
    ] {
        assert_eq!(
            read(code, statuses),
            Verdict::Malformed,
            "{code} {statuses:?}"
        );
    }
    assert_eq!(read(1, &[&fine, &unmatched, &fine]), Verdict::Unmatched);
    assert!(matches!(
        read(2, &[&fine, &unmatched, &refused]),
        Verdict::Over { limit: 2, .. }
    ));
    assert_eq!(
        question.read(&[], &total(1), NOBODY, NOW),
        Verdict::Malformed
    );
    assert_eq!(
        question.read(&[b"\xff".to_vec()], &total(1), NOBODY, NOW),
        Verdict::Malformed
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn no_answer_does_harm(answers: Vec<Vec<u8>>, kuadrant: bool, now: u64, estimate: u64) {
        let dialect = if kuadrant { ServiceDialect::Kuadrant } else { ServiceDialect::Envoy };
        let (service, counters) = (service(dialect), everything());
        let question = Question { service: &service, counters: &counters };
        let reserved = |_, _| u64::MAX;
        let verdict = question.read(&answers, &total(estimate), &reserved, Timestamp(now));
        prop_assert_eq!(verdict, Verdict::Malformed);
    }
}
