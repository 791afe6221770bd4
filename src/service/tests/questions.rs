//! What the service is asked.

use super::*;

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
