//! Several Envoys with leases against one model of envoyproxy/ratelimit.

#![expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]

mod tokens;
mod workers;

use super::*;
use crate::config::{LimitService, ServiceDialect};
use crate::limit::counter::Counter;
use crate::limit::fake::Fake;
use crate::limit::{Cas, CasMismatch, Limit, Window};
use crate::service::tests::{MINUTE, Model, counter, limit, service, total};
use crate::service::{Call, Verdict};
use std::collections::BTreeMap;
use std::rc::Rc;

const NOBODY: &dyn Fn(usize, usize) -> u64 = &|_, _| 0;
const REQUESTS: &str = "group=a limit=requests_per_minute";

/// Several Envoys, their shared data, and the service that they share.
struct World {
    service: LimitService,
    counters: Vec<Rc<Counter>>,
    terms: config::Lease,
    envoys: Vec<Fake>,
    model: Model,
    now: u64,
    calls: u64,
}

impl World {
    fn new(envoys: usize, limits: Vec<Limit>, requests: u32, max_age_ms: u32) -> Self {
        Self {
            service: service(ServiceDialect::Envoy),
            counters: vec![counter(Some("a"), None, None, limits)],
            terms: config::Lease {
                requests,
                max_age_ms,
            },
            envoys: (0..envoys).map(|_| Fake::default()).collect(),
            model: Model::default(),
            now: 6_000_000_000, // a minute begins
            calls: 0,
        }
    }

    fn at<T>(&mut self, envoy: usize, act: impl FnOnce(&Account<'_>, &mut Fake) -> T) -> T {
        let question = Question {
            service: &self.service,
            counters: &self.counters,
        };
        let account = Account::new(question, self.terms);
        act(&account, &mut self.envoys[envoy])
    }

    fn spend(&mut self, envoy: usize, estimate: u64) -> Spend {
        let now = Timestamp(self.now);
        self.at(envoy, |account, shared| {
            let spend = account.spend(shared, &total(estimate), NOBODY, now);
            spend.unwrap()
        })
    }

    fn call(&mut self, ask: &Ask) -> Call {
        let question = Question {
            service: &self.service,
            counters: &self.counters,
        };
        question.ask(ask.hits, &total(0), &ask.unreported).remove(0)
    }

    /// What the service does with a call; nobody has heard of it yet.
    fn process(&mut self, call: &Call) -> Vec<u8> {
        self.calls += 1;
        self.model.answer(call, self.now)
    }

    /// Whether the answer lets the request pass.
    fn answer(&mut self, envoy: usize, ask: &Ask, at: u64, answer: Vec<u8>, estimate: u64) -> bool {
        self.at(envoy, |account, shared| {
            let question = account.question;
            let verdict = question.read(&[answer], &total(estimate), NOBODY, Timestamp(at));
            let (refused, statuses) = match verdict {
                Verdict::Within(statuses) => (false, statuses),
                Verdict::Over { statuses, .. } => (true, statuses),
                _ => panic!("{verdict:?}"),
            };
            account
                .filled(shared, ask, refused, &statuses, Timestamp(at))
                .unwrap();
            !refused
        })
    }

    /// A request from its beginning to the verdict, while nothing else happens.
    fn request(&mut self, envoy: usize, estimate: u64) -> bool {
        let Spend::Ask(ask) = self.spend(envoy, estimate) else {
            return true;
        };
        let call = self.call(&ask);
        let answer = self.process(&call);
        self.answer(envoy, &ask, self.now, answer, estimate)
    }

    /// As many requests as make the first Envoy ask for `batch`, and hold all of them but one.
    fn warm(&mut self, batch: u32) {
        loop {
            let spend = self.spend(0, 0);
            let Spend::Ask(ask) = spend else { continue };
            let call = self.call(&ask);
            let answer = self.process(&call);
            assert!(self.answer(0, &ask, self.now, answer, 0));
            if ask.hits == batch {
                break;
            }
        }
    }

    fn used(&mut self, envoy: usize, tokens: u64) {
        self.at(envoy, |account, shared| {
            account.spent(shared, &total(tokens)).unwrap();
        });
    }
}

fn requests(quota: u64) -> Vec<Limit> {
    vec![limit(Unit::Requests, MINUTE, quota)]
}

fn hits(spend: &Spend) -> u32 {
    match spend {
        Spend::Ask(ask) => ask.hits,
        Spend::Paid(_) => 0,
    }
}

#[test]
fn a_record_is_named_after_the_counters() {
    let service = service(ServiceDialect::Envoy);
    let counters = [
        counter(Some("a"), Some("ann"), None, vec![]),
        counter(Some("a"), None, None, vec![]),
        counter(None, None, None, vec![]),
    ];
    let question = Question {
        service: &service,
        counters: &counters,
    };
    let terms = config::Lease {
        requests: 1,
        max_age_ms: 1_000,
    };
    assert_eq!(
        Account::new(question, terms).into_key(),
        "cohort/1/lease/group/a/consumer/ann/group/a/ceilings"
    );
}

#[test]
fn batches_shrink_as_the_quota_falls() {
    let mut world = World::new(1, requests(60), 10, 30_000);
    let mut asked = Vec::new();
    let mut passed = 0;
    loop {
        let spend = world.spend(0, 0);
        if let Spend::Ask(ask) = spend {
            asked.push(ask.hits);
            let call = world.call(&ask);
            let answer = world.process(&call);
            if !world.answer(0, &ask, world.now, answer, 0) {
                break;
            }
        }
        passed += 1;
    }
    assert_eq!(passed, 60);
    assert_eq!(
        asked,
        [1, 2, 4, 8, 10, 8, 6, 5, 4, 3, 2, 1, 1, 1, 1, 1, 1, 1, 1]
    );
}

#[test]
fn what_is_left_is_told_as_if_every_hit_had_been_asked_for() {
    let mut world = World::new(1, requests(60), 10, 30_000);
    world.warm(8);
    world.now += 500;
    // 1, 2 and 4 before, and the one that asked.
    for left in (45..52).rev() {
        let Spend::Paid(statuses) = world.spend(0, 0) else {
            panic!("asked at {left}");
        };
        let status = Status {
            counter: 0,
            limit: 0,
            quota: 60,
            remaining: left,
            ends_in_ms: 59_500,
            known: true,
        };
        assert_eq!(statuses, [status]);
    }
    assert_eq!(hits(&world.spend(0, 0)), 10);
}

#[test]
fn while_one_asks_for_more_the_others_ask_for_themselves() {
    let mut world = World::new(1, requests(60), 10, 30_000);
    assert!(world.request(0, 0));
    world.used(0, 7);
    let Spend::Ask(refill) = world.spend(0, 0) else {
        panic!("paid");
    };
    assert_eq!((refill.hits, refill.unreported), (2, total(7)));
    let Spend::Ask(other) = world.spend(0, 0) else {
        panic!("paid");
    };
    assert_eq!((other.hits, other.unreported), (1, total(0)));
    let call = world.call(&other);
    let answer = world.process(&call);
    assert!(world.answer(0, &other, world.now, answer, 0));
    assert_eq!(hits(&world.spend(0, 0)), 1, "still asking");
    // It fails: its tokens are to be reported still, and another may ask.
    world
        .at(0, |account, shared| account.failed(shared, &refill))
        .unwrap();
    let Spend::Ask(again) = world.spend(0, 0) else {
        panic!("paid");
    };
    assert_eq!((again.hits, again.unreported), (2, total(7)));
    // It is not heard of again: the timeout says so.
    assert_eq!(hits(&world.spend(0, 0)), 1);
    world.now += 100;
    assert_eq!(hits(&world.spend(0, 0)), 2);
}

#[test]
fn a_lease_ends_with_its_age_and_before_its_window() {
    for (max_age, ends) in [(5_000, 5_000), (3_600_000, 59_000)] {
        let mut world = World::new(1, requests(60), 10, max_age);
        world.warm(8);
        world.now += ends - 1;
        assert_eq!(hits(&world.spend(0, 0)), 0, "{max_age}");
        world.now += 1;
        assert_ne!(hits(&world.spend(0, 0)), 0, "{max_age}");
    }
}

/// What is bought in the last second of a window could not be spent.
#[test]
fn nothing_is_bought_that_cannot_be_spent() {
    let second = vec![limit(Unit::Requests, Window::Fixed(1), 100)];
    let mut world = World::new(1, second, 10, 30_000);
    for _ in 0..100 {
        assert!(world.request(0, 0));
    }
    assert!(!world.request(0, 0));

    let mut world = World::new(1, requests(60), 10, 30_000);
    world.warm(8);
    world.now += 59_000;
    for _ in 0..3 {
        let Spend::Ask(ask) = world.spend(0, 0) else {
            panic!("paid");
        };
        assert_eq!(ask.hits, 1);
        let call = world.call(&ask);
        let answer = world.process(&call);
        assert!(world.answer(0, &ask, world.now, answer, 0));
    }
}

#[test]
fn the_first_ask_of_a_window_is_for_one() {
    let mut world = World::new(1, requests(60), 10, 3_600_000);
    assert!(world.request(0, 0));
    assert!(world.request(0, 0));
    world.now += 60_000;
    assert_eq!(hits(&world.spend(0, 0)), 1);
}

#[test]
fn a_clock_set_back_makes_nothing_last_longer() {
    let mut world = World::new(1, requests(60), 10, 30_000);
    assert!(world.request(0, 0));
    assert!(world.request(0, 0));
    assert_eq!(hits(&world.spend(0, 0)), 0);
    world.now -= 3_600_000;
    assert_ne!(hits(&world.spend(0, 0)), 0);
}

#[test]
fn a_changed_limit_makes_leases_worthless_and_keeps_what_is_to_be_reported() {
    let mut world = World::new(1, requests(60), 10, 30_000);
    assert!(world.request(0, 0));
    assert!(world.request(0, 0));
    world.used(0, 5);
    world.counters = vec![counter(Some("a"), None, None, requests(61))];
    let Spend::Ask(ask) = world.spend(0, 0) else {
        panic!("paid");
    };
    assert_eq!((ask.hits, ask.unreported), (1, total(5)));
}

#[test]
fn garbage_in_shared_data_is_an_empty_record() {
    for bytes in [
        &b""[..],
        b"\x01",
        b"\x02abc",
        b"\x01\xff\xff\xff",
        &[1; 200],
        &[0xff; 64],
    ] {
        let mut world = World::new(1, requests(60), 10, 30_000);
        let name = world.at(0, |account, _| account.key.clone());
        world.envoys[0].put(&name, bytes);
        assert_eq!(hits(&world.spend(0, 0)), 1, "{bytes:?}");
    }
}

#[test]
fn a_steady_stream_leaves_little_unspent() {
    let mut world = World::new(1, requests(1_000_000), 100, 1_000);
    for _ in 0..1_000 {
        assert!(world.request(0, 0));
        world.now += 37;
    }
    let bought: u64 = (0..2)
        .map(|minute| world.model.counted(REQUESTS, world.now - minute * 60_000))
        .sum();
    assert!((1_000..1_060).contains(&bought), "{bought}");
    assert!(world.calls < 60, "{}", world.calls);
}

#[test]
fn most_requests_make_no_call() {
    let mut world = World::new(1, requests(10_000), 100, 30_000);
    for _ in 0..9_000 {
        assert!(world.request(0, 0));
    }
    assert!(world.calls < 150, "{}", world.calls);
}
