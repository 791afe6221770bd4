//! Questions and answers against a model of envoyproxy/ratelimit, and against answers as limitador-server gives them.

#![expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]

use super::wire::{Answer, CurrentLimit, Duration, Header, Request, Status as WireStatus};
use super::*;
use crate::config::{FailureMode, Lease};
use crate::limit::Descriptor;
use proptest::prelude::*;
use prost::Message;
use std::collections::BTreeMap;

pub(crate) fn service(dialect: ServiceDialect) -> LimitService {
    LimitService {
        cluster: "ratelimit".to_owned(),
        domain: "cohort".to_owned(),
        dialect,
        timeout_ms: 100,
        failure_mode: FailureMode::Local,
        lease: Some(Lease {
            requests: 8,
            max_age_ms: 30_000,
        }),
    }
}

pub(crate) fn limit(unit: Unit, window: Window, quota: u64) -> Limit {
    Limit {
        unit,
        window,
        quota,
    }
}

pub(crate) fn counter(
    group: Option<&str>,
    consumer: Option<&str>,
    models: Option<&str>,
    limits: Vec<Limit>,
) -> Rc<Counter> {
    let rc = |text: Option<&str>| text.map(Rc::from);
    Rc::new(Counter::new(
        Descriptor {
            group: rc(group),
            consumer: rc(consumer),
            models: rc(models),
        },
        limits,
    ))
}

pub(crate) const MINUTE: Window = Window::Sliding(60);

pub(crate) fn total(total: u64) -> Tokens {
    Tokens {
        total,
        ..Tokens::default()
    }
}

/// All levels at once.
fn everything() -> Vec<Rc<Counter>> {
    vec![
        counter(
            Some("child"),
            None,
            Some("gpt-4*,o1"),
            vec![limit(Unit::Requests, MINUTE, 5)],
        ),
        counter(
            Some("child"),
            Some("ann"),
            None,
            vec![limit(Unit::Requests, Window::Sliding(1), 2)],
        ),
        counter(
            Some("child"),
            None,
            None,
            vec![
                limit(Unit::Requests, MINUTE, 60),
                limit(Unit::Tokens, Window::Day, 1_000),
                limit(Unit::ConcurrentRequests, Window::InFlight, 4),
            ],
        ),
        counter(
            Some("parent"),
            None,
            Some("gpt-*"),
            vec![limit(Unit::PromptTokens, Window::Month, 1 << 40)],
        ),
        counter(
            None,
            None,
            None,
            vec![limit(Unit::CompletionTokens, Window::Fixed(3_600), 70)],
        ),
    ]
}

/// A descriptor as `key=value …; quota per unit; hits`.
fn descriptors(call: &Call) -> Vec<String> {
    let request = Request::decode(&*unframed(call.message.clone()).unwrap()).unwrap();
    assert_eq!(request.domain, "cohort");
    let shown = request.descriptors.iter().map(|descriptor| {
        let entries = descriptor.entries.iter();
        let entries: Vec<_> = entries.map(|e| format!("{}={}", e.key, e.value)).collect();
        let limit = descriptor
            .limit
            .map(|limit| format!("; {} per {}", limit.requests_per_unit, limit.unit));
        let hits = descriptor.hits_addend;
        let hits = hits.map_or_else(
            || format!("; all {}", request.hits_addend),
            |hits| format!("; {hits}"),
        );
        entries.join(" ") + &limit.unwrap_or_default() + &hits
    });
    shown.collect()
}

/// envoyproxy/ratelimit's fixed window counters, as its source has them: a descriptor's own limit and hits, over when
/// more than the limit is used, everything counted. It is a model, not the server.
#[derive(Default)]
pub(crate) struct Model(BTreeMap<(String, u64), u64>);

impl Model {
    /// What was counted in the window of `now`.
    pub(crate) fn counted(&self, descriptor: &str, now: u64) -> u64 {
        let key = (descriptor.to_owned(), now / 60_000);
        self.0.get(&key).copied().unwrap_or(0)
    }

    pub(crate) fn answer(&mut self, call: &Call, now: u64) -> Vec<u8> {
        assert_eq!(call.path, ASK);
        let request = Request::decode(&*unframed(call.message.clone()).unwrap()).unwrap();
        let statuses = request.descriptors.iter().map(|descriptor| {
            let limit = descriptor.limit.unwrap();
            let length =
                [1, 60, 3_600, 86_400, 2_592_000][usize::try_from(limit.unit).unwrap() - 1];
            let entries = descriptor.entries.iter();
            let name: Vec<_> = entries.map(|e| format!("{}={}", e.key, e.value)).collect();
            let used = self
                .0
                .entry((name.join(" "), now / (length * 1_000)))
                .or_default();
            *used += descriptor.hits_addend.unwrap();
            let quota = u64::from(limit.requests_per_unit);
            WireStatus {
                code: if *used > quota { 2 } else { 1 },
                current_limit: Some(CurrentLimit::default()),
                limit_remaining: u32::try_from(quota.saturating_sub(*used)).unwrap(),
                duration_until_reset: Some(Duration {
                    seconds: i64::try_from(length - now / 1_000 % length).unwrap(),
                    nanos: 0,
                }),
            }
        });
        let statuses: Vec<_> = statuses.collect();
        let over = statuses.iter().any(|status| status.code == 2);
        Answer {
            overall_code: if over { 2 } else { 1 },
            statuses,
            ..Answer::default()
        }
        .encode_to_vec()
    }
}

const NOBODY: &dyn Fn(usize, usize) -> u64 = &|_, _| 0;
const NOW: Timestamp = Timestamp(1_764_201_599_000); // 2025-11-26 23:59:59

#[test]
fn envoy_is_asked_once_about_every_limit() {
    let (service, counters) = (service(ServiceDialect::Envoy), everything());
    let question = Question {
        service: &service,
        counters: &counters,
    };
    let unreported = Tokens {
        prompt: 3,
        completion: 0,
        total: 7,
        cost: 0,
    };
    let calls = question.ask(4, &total(100), &unreported);
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].path, ASK);
    assert_eq!(
        descriptors(&calls[0]),
        [
            "group=child model=gpt-4*,o1 limit=requests_per_minute; 5 per 2; 4",
            "group=child consumer=ann limit=requests_per_second; 2 per 1; 4",
            "group=child limit=requests_per_minute; 60 per 2; 4",
            "group=child limit=tokens_per_day; 1000 per 4; 7",
            "group=parent model=gpt-* limit=prompt_tokens_per_month; 4294967295 per 5; 3",
            "scope=ceilings limit=completion_tokens_per_hour; 70 per 3; 0",
        ]
    );
    let reports = question.report(&unreported);
    assert_eq!(reports.len(), 1);
    assert_eq!(
        descriptors(&reports[0]),
        [
            "group=child limit=tokens_per_day; 1000 per 4; 7",
            "group=parent model=gpt-* limit=prompt_tokens_per_month; 4294967295 per 5; 3",
        ]
    );
    assert_eq!(question.report(&Tokens::default()), []);
}

#[test]
fn kuadrant_is_asked_once_about_every_unit() {
    let (service, counters) = (service(ServiceDialect::Kuadrant), everything());
    let question = Question {
        service: &service,
        counters: &counters,
    };
    let tokens = Tokens {
        prompt: 30,
        completion: 0,
        total: 1 << 40,
        cost: 0,
    };
    let shown = |calls: &[Call]| -> Vec<_> {
        calls
            .iter()
            .map(|call| (call.path.to_owned(), descriptors(call).join("\n")))
            .collect()
    };
    let of = |service: &str, method: &str, rest: &str| {
        (
            format!("/{service}.RateLimitService/{method}"),
            format!("group=child consumer=ann model=|gpt-4*,o1|gpt-*| limit={rest}"),
        )
    };
    let (envoy, kuadrant) = (
        "envoy.service.ratelimit.v3",
        "kuadrant.service.ratelimit.v1",
    );
    assert_eq!(
        shown(&question.ask(4, &tokens, &tokens)),
        [
            of(envoy, "ShouldRateLimit", "requests; all 4"),
            of(kuadrant, "CheckRateLimit", "tokens; all 4294967295"),
            of(kuadrant, "CheckRateLimit", "prompt_tokens; all 30"),
            of(kuadrant, "CheckRateLimit", "completion_tokens; all 0"),
        ]
    );
    assert_eq!(
        shown(&question.report(&tokens)),
        [
            of(kuadrant, "Report", "tokens; all 4294967295"),
            of(kuadrant, "Report", "prompt_tokens; all 30"),
        ]
    );
}

#[test]
fn what_the_service_does_not_count_is_not_asked() {
    let concurrent = limit(Unit::ConcurrentRequests, Window::InFlight, 4);
    let odd = limit(Unit::Requests, Window::Fixed(90), 4);
    for (dialect, limit, calls) in [
        (ServiceDialect::Envoy, &concurrent, 0),
        (ServiceDialect::Envoy, &odd, 0),
        (ServiceDialect::Kuadrant, &concurrent, 0),
        (ServiceDialect::Kuadrant, &odd, 1),
    ] {
        let service = service(dialect);
        let counters = [counter(Some("a"), None, None, vec![*limit])];
        let question = Question {
            service: &service,
            counters: &counters,
        };
        let asked = question.ask(1, &total(1), &total(1));
        assert_eq!(asked.len(), calls, "{limit:?}");
        if calls == 0 {
            assert_eq!(
                question.read(&[], &total(1), NOBODY, NOW),
                Verdict::Within(vec![])
            );
        }
    }
}

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

/// One group with `requests_per_minute: 2`, `tokens_per_minute: 100`, `requests_per_hour: 3`.
fn small() -> Vec<Rc<Counter>> {
    let limits = vec![
        limit(Unit::Requests, MINUTE, 2),
        limit(Unit::Tokens, MINUTE, 100),
        limit(Unit::Requests, Window::Fixed(3_600), 3),
    ];
    vec![counter(Some("a"), None, None, limits)]
}

fn over(verdict: &Verdict) -> Option<(usize, Option<u64>)> {
    match verdict {
        Verdict::Over {
            limit,
            retry_after_ms,
            ..
        } => Some((*limit, *retry_after_ms)),
        Verdict::Within(_) => None,
        _ => panic!("{verdict:?}"),
    }
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
