//! Several Envoys with leases against one model of envoyproxy/ratelimit.

#![expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]

use super::*;
use crate::config::{LimitService, ServiceDialect};
use crate::limit::counter::Counter;
use crate::limit::fake::Fake;
use crate::limit::{Cas, CasMismatch, Limit, Window};
use crate::service::tests::{MINUTE, Model, counter, limit, service, total};
use crate::service::{Call, Verdict};
use proptest::prelude::*;
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
        let account = Account {
            question,
            terms: self.terms,
            key: &key(question),
        };
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
    assert_eq!(
        key(question),
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
        let name = world.at(0, |account, _| account.key.to_owned());
        world.envoys[0].put(&name, bytes);
        assert_eq!(hits(&world.spend(0, 0)), 1, "{bytes:?}");
    }
}

fn requests_and_tokens(tokens: u64) -> Vec<Limit> {
    vec![
        limit(Unit::Requests, MINUTE, 1_000),
        limit(Unit::Tokens, MINUTE, tokens),
        limit(Unit::Tokens, Window::Day, tokens * 9),
    ]
}

#[test]
fn tokens_are_held_against_what_was_left_and_reported_with_the_next_ask() {
    let mut world = World::new(1, requests_and_tokens(1_000), 100, 30_000);
    let mut passed = 0;
    while world.request(0, 100) {
        world.used(0, 100);
        passed += 1;
        assert!(passed <= 10);
    }
    assert_eq!(passed, 10);
    assert_eq!(
        world
            .model
            .counted("group=a limit=tokens_per_minute", world.now),
        1_000
    );
    assert!(world.calls <= 6, "{}", world.calls);
    // Refused for its tokens, a request costs one hit and no batch.
    let before = world.model.counted(REQUESTS, world.now);
    assert!(!world.request(0, 100));
    assert_eq!(world.model.counted(REQUESTS, world.now), before + 1);
}

#[test]
fn tokens_can_be_flushed_once() {
    let mut world = World::new(1, requests_and_tokens(1_000), 100, 30_000);
    world.used(0, 3);
    world.used(0, 4);
    let mut take = || {
        world.at(0, |account, shared| {
            account.take_unreported(shared).unwrap()
        })
    };
    assert_eq!((take(), take()), (total(7), total(0)));
}

/// There a question cannot carry them; were they taken with one that ends with its request, a long stream would keep them.
#[test]
fn limitador_is_told_of_tokens_by_the_clock_alone() {
    let mut world = World::new(1, requests_and_tokens(1_000), 100, 30_000);
    world.service.dialect = ServiceDialect::Kuadrant;
    world.used(0, 7);
    let Spend::Ask(ask) = world.spend(0, 0) else {
        panic!("paid");
    };
    assert_eq!(ask.unreported, total(0));
    let taken = world.at(0, |account, shared| {
        account.take_unreported(shared).unwrap()
    });
    assert_eq!(taken, total(7));
}

#[test]
fn others_tokens_are_missed_for_twice_the_age_at_most() {
    let (envoys, max_age, quota) = (3, 1_000, 3_000);
    let mut world = World::new(envoys, requests_and_tokens(quota), 100, max_age);
    let (mut used, mut refused) = (0, 0);
    // Each uses 100 tokens a second.
    while refused < envoys {
        refused = 0;
        for envoy in 0..envoys {
            if world.request(envoy, 10) {
                world.used(envoy, 10);
                used += 10;
            } else {
                refused += 1;
            }
        }
        world.now += 100;
    }
    assert!(world.now % 60_000 < 50_000, "within one window");
    assert!((quota..=quota + 2 * 2 * 100).contains(&used), "{used}");
    assert!(
        world.calls < 80,
        "{} for {} requests",
        world.calls,
        used / 10
    );
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

/// Other workers of the Envoy write first, twice.
struct Contended<'a>(&'a mut Fake, u8);

impl SharedData for Contended<'_> {
    fn get(&self, key: &str) -> (Option<Vec<u8>>, Cas) {
        self.0.get(key)
    }

    fn set(&mut self, key: &str, value: &[u8], cas: Cas) -> Result<(), CasMismatch> {
        if self.1 > 0 {
            self.1 -= 1;
            let same = self.0.value(key).unwrap_or_default().to_vec();
            self.0.put(key, &same);
        }
        self.0.set(key, value, cas)
    }
}

#[test]
fn a_hit_is_spent_once_whoever_writes_first() {
    let mut world = World::new(1, requests(60), 10, 30_000);
    world.warm(8);
    let now = Timestamp(world.now);
    for left in (0..7).rev() {
        let spend = world.at(0, |account, shared| {
            account.spend(&mut Contended(shared, 2), &total(0), NOBODY, now)
        });
        assert!(matches!(spend, Ok(Spend::Paid(_))), "{left}");
    }
    assert_ne!(hits(&world.spend(0, 0)), 0);
}

#[derive(Clone, Debug)]
enum Event {
    /// A request comes to one of the Envoys.
    Comes(usize),
    /// The service gets one of the calls under way.
    Processed(usize),
    /// One of the answers under way arrives.
    Answered(usize),
    /// One of the answers under way is lost.
    Lost(usize),
    /// Time passes.
    Passes(u64),
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0..3_usize).prop_map(Event::Comes),
        5 => (0..8_usize).prop_map(Event::Processed),
        5 => (0..8_usize).prop_map(Event::Answered),
        1 => (0..8_usize).prop_map(Event::Lost),
        1 => (1..7_000_u64).prop_map(Event::Passes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn never_one_too_many_in_a_window_of_the_service(
        events in proptest::collection::vec(any_event(), 0..400),
        quota in 0_u64..40,
        start in 0_u64..60_000,
    ) {
        let mut world = World::new(3, requests(quota), 8, 30_000);
        world.now += start;
        let mut admitted = BTreeMap::<u64, u64>::new();
        let mut asked = Vec::new();
        let mut processed = Vec::new();
        for event in events {
            match event {
                Event::Comes(envoy) => match world.spend(envoy, 0) {
                    Spend::Paid(_) => *admitted.entry(world.now / 60_000).or_default() += 1,
                    Spend::Ask(ask) => asked.push((envoy, ask, world.now, world.call(&ask))),
                },
                Event::Processed(at) if at < asked.len() => {
                    let (envoy, ask, when, call) = asked.remove(at);
                    let answer = world.process(&call);
                    processed.push((envoy, ask, when, world.now / 60_000, answer));
                }
                Event::Answered(at) if at < processed.len() => {
                    let (envoy, ask, when, window, answer) = processed.remove(at);
                    if world.answer(envoy, &ask, when, answer, 0) {
                        *admitted.entry(window).or_default() += 1;
                    }
                }
                Event::Lost(at) if at < processed.len() => {
                    let (envoy, ask, ..) = processed.remove(at);
                    world.at(envoy, |account, shared| account.failed(shared, &ask)).unwrap();
                }
                Event::Passes(ms) => world.now += ms,
                _ => {}
            }
            for (window, admitted) in &admitted {
                prop_assert!(*admitted <= quota, "{} in {}", admitted, window);
            }
        }
    }

    /// However requests come, less is bought in vain than is spent.
    #[test]
    fn a_batch_is_as_large_as_the_last_ones_were_fast(
        gaps in proptest::collection::vec(prop_oneof![0..20_u64, 0..2_000_u64, 900..5_000_u64], 1..300),
    ) {
        let mut world = World::new(1, requests(1 << 30), 50, 1_000);
        let (mut admitted, mut bought) = (0, 0);
        for gap in gaps {
            world.now += gap;
            let spend = world.spend(0, 0);
            if let Spend::Ask(ask) = spend {
                let call = world.call(&ask);
                let answer = world.process(&call);
                prop_assert!(world.answer(0, &ask, world.now, answer, 0));
                bought += u64::from(ask.hits);
            }
            admitted += 1;
            prop_assert!(bought <= 2 * admitted, "{} for {}", bought, admitted);
        }
    }

    /// Nothing is lost but what batches asked for beyond the quota.
    #[test]
    fn too_few_only_by_batches_that_came_too_late(
        order in proptest::collection::vec(0..4_usize, 400),
        quota in 0_u64..60,
    ) {
        let mut world = World::new(4, requests(quota), 8, 30_000);
        let (mut admitted, mut late) = (0, 0);
        for envoy in order.into_iter().chain((0..4).cycle().take(64)) {
            let Spend::Ask(ask) = world.spend(envoy, 0) else {
                admitted += 1;
                continue;
            };
            let call = world.call(&ask);
            let answer = world.process(&call);
            if world.answer(envoy, &ask, world.now, answer, 0) {
                admitted += 1;
            } else {
                late += u64::from(ask.hits) - 1;
            }
        }
        prop_assert!(admitted <= quota);
        prop_assert!(admitted + late >= quota, "{} + {}", admitted, late);
        // At the end a batch is a quarter of what was left the last time: few come too late.
        prop_assert!(late <= 4 * 7, "{}", late);
    }
}
