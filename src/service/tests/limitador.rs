//! What follows from Limitador's answers.

use super::*;

fn limitador(code: i32, headers: &[(&str, &str)]) -> Vec<u8> {
    let headers = headers.iter().map(|(key, value)| Header {
        key: (*key).to_owned(),
        value: (*value).to_owned(),
    });
    Answer {
        overall_code: code,
        response_headers_to_add: headers.collect(),
        ..Answer::default()
    }
    .encode_to_vec()
}

#[test]
fn limitador_tells_the_tightest_limit_of_a_unit() {
    let (service, counters) = (service(ServiceDialect::Kuadrant), small());
    let question = Question {
        service: &service,
        counters: &counters,
    };
    let requests = [
        (
            "X-RateLimit-Limit",
            "3, 3;w=3600;name=\"a, b\", 2;w=60;name=\"c\"",
        ),
        ("X-RateLimit-Remaining", "0"),
        ("X-RateLimit-Reset", "17"),
    ];
    let tokens = [
        ("x-ratelimit-limit", "100, 100;w=60"),
        ("x-ratelimit-remaining", "30"),
    ];
    let answers = [limitador(1, &requests), limitador(1, &tokens)];
    let Verdict::Within(statuses) = question.read(&answers, &total(30), NOBODY, NOW) else {
        panic!("refused");
    };
    let shown: Vec<_> = statuses
        .iter()
        .map(|s| (s.limit, s.remaining, s.ends_in_ms, s.known))
        .collect();
    assert_eq!(
        shown,
        [
            (0, 1, 60_000, false),
            (2, 0, 17_000, true),
            (1, 30, 60_000, true),
        ]
    );
    let verdict = question.read(&answers, &total(31), NOBODY, NOW);
    assert_eq!(over(&verdict), Some((1, Some(60_000))));
    let answers = [limitador(2, &requests), limitador(1, &tokens)];
    let verdict = question.read(&answers, &total(1), NOBODY, NOW);
    assert_eq!(over(&verdict), Some((2, Some(17_000))));
}

#[test]
fn limitador_may_tell_nothing() {
    let (service, counters) = (service(ServiceDialect::Kuadrant), small());
    let question = Question {
        service: &service,
        counters: &counters,
    };
    let read = |requests, tokens| {
        let answers = [limitador(requests, &[]), limitador(tokens, &[])];
        question.read(&answers, &total(30), NOBODY, NOW)
    };
    let Verdict::Within(statuses) = read(1, 1) else {
        panic!("refused");
    };
    let shown: Vec<_> = statuses
        .iter()
        .map(|s| (s.limit, s.remaining, s.known))
        .collect();
    assert_eq!(shown, [(0, 1, false), (2, 2, false), (1, 100, false)]);
    // The one that frees first: the caller comes back and is told of the other, if that is it.
    assert_eq!(over(&read(2, 1)), Some((0, Some(60_000))));
    let Verdict::Over { statuses, .. } = read(2, 1) else {
        panic!("passed");
    };
    let shown = statuses.iter().map(|s| (s.limit, s.remaining, s.known));
    assert!(shown.eq([(0, 0, true), (2, 2, false), (1, 100, false)]));
    assert_eq!(over(&read(1, 2)), Some((1, Some(60_000))));
    assert_eq!(read(1, 0), Verdict::Malformed);
    let one = [limitador(1, &[])];
    assert_eq!(
        question.read(&one, &total(30), NOBODY, NOW),
        Verdict::Malformed
    );
    for nonsense in [
        "",
        "5",
        "5,",
        "5, 5;w=",
        "5, 5;w=x",
        "5, 5;q=60",
        "-1, 1;w=60",
        "x, 5;w=60",
    ] {
        let headers = [
            ("X-RateLimit-Limit", nonsense),
            ("X-RateLimit-Remaining", "0"),
        ];
        let answers = [limitador(1, &headers), limitador(1, &headers)];
        let verdict = question.read(&answers, &total(30), NOBODY, NOW);
        assert_eq!(over(&verdict), None, "{nonsense}");
    }
}
