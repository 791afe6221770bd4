mod budgets;
mod held;
mod worker;

use super::*;
use crate::limit::counter::Budget;
use crate::limit::shared_data::fake::{Contended as Contending, Fake};
use crate::limit::{Descriptor, Limit, Window};
use crate::time::{Timestamp, UtcOffset};
use std::cell::RefCell;

const KEY: &str = "cohort/1/group/marketing";
const NOON: u64 = 1_795_262_400_000; // 2026-11-21T12:00:00Z

fn at(ms: u64) -> Clock {
    Clock {
        now: Timestamp(ms),
        offset: UtcOffset(0),
    }
}

fn limit(unit: Unit, window: Window, quota: u64) -> Limit {
    Limit {
        unit,
        window,
        quota,
    }
}

fn per_minute(quota: u64) -> [Limit; 1] {
    [limit(Unit::Requests, Window::Sliding(60), quota)]
}

fn total(tokens: u64) -> Tokens {
    Tokens {
        total: tokens,
        ..Tokens::default()
    }
}

fn counter(limits: &[Limit]) -> Vec<Rc<Counter>> {
    let descriptor = Descriptor {
        group: Some("marketing".into()),
        consumer: None,
        models: None,
    };
    match limits {
        [] => Vec::new(),
        _ => vec![Rc::new(Counter::new(descriptor, limits.to_vec()))],
    }
}

fn admit(
    shared: &mut impl SharedData,
    limits: &[Limit],
    tokens: Tokens,
    ms: u64,
) -> Result<Vec<Standing>, Refused> {
    let mut ledger = Ledger {
        shared,
        holds: &mut Holds::default(),
        counters: &counter(limits),
        clock: at(ms),
    };
    let admitted = ledger.admit(Demand { tokens }, Check::All);
    admitted.map(|(_, standings)| standings)
}

fn admit_one(
    shared: &mut impl SharedData,
    limits: &[Limit],
    ms: u64,
) -> Result<Vec<Standing>, Refused> {
    admit(shared, limits, Tokens::default(), ms)
}

/// Settles a request that had reserved nothing.
fn settle(shared: &mut impl SharedData, limits: &[Limit], tokens: Tokens, ms: u64) -> u32 {
    let lines = limits.iter().map(|limit| Line {
        bucket: 0,
        counter: 0,
        unit: limit.unit,
        key: Key::of(limit),
        counted: (0, 0),
        held: 0,
    });
    let mut ledger = Ledger {
        shared,
        holds: &mut Holds::default(),
        counters: &counter(limits),
        clock: at(ms),
    };
    let permit = Permit {
        lines: lines.collect(),
    };
    ledger.settle(&permit, Ending::Used(tokens)).errors
}

fn peek(shared: &mut Fake, limits: &[Limit], ms: u64) -> Vec<Standing> {
    let ledger = Ledger {
        shared,
        holds: &mut Holds::default(),
        counters: &counter(limits),
        clock: at(ms),
    };
    ledger.standings()
}

fn used(shared: &mut Fake, limits: &[Limit], ms: u64) -> Vec<u64> {
    peek(shared, limits, ms)
        .iter()
        .map(|standing| standing.used)
        .collect()
}

/// The tutorial's burst: 35 requests of a group that may do 30 a minute.
#[test]
fn the_tutorial_has_thirty_pass_and_five_refused() {
    let limits = [
        limit(Unit::Requests, Window::Sliding(60), 30),
        limit(Unit::Tokens, Window::Sliding(60), 50_000),
        limit(Unit::Tokens, Window::Day, 500_000),
    ];
    let mut shared = Fake::default();
    let burst = NOON + 20_000;
    for request in 1..=30 {
        let standings = admit_one(&mut shared, &limits, burst).unwrap();
        let standing = Standing {
            counter: 0,
            limit: limits[0],
            used: request,
            reserved: 0,
            remaining: 30 - request,
            reset_ms: Some(if request < 30 { 0 } else { 42_000 }),
            clear_ms: 100_000,
        };
        assert_eq!(standings[0], standing);
        assert_eq!(
            (standings[1].remaining, standings[2].remaining),
            (50_000, 500_000)
        );
    }
    let stored = shared.value(KEY).unwrap().to_vec();
    for _ in 0..5 {
        let refused = admit_one(&mut shared, &limits, burst).unwrap_err();
        // 40 s to the end of this minute, and 2 s of the next until a thirtieth of it is over.
        let Refused::Over(over) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!((over.limit, over.retry_after_ms), (limits[0], Some(42_000)));
        let standing = over.standings[0];
        assert_eq!((standing.used, standing.remaining), (30, 0));
    }
    assert_eq!(
        shared.value(KEY),
        Some(&stored[..]),
        "a refused request consumes nothing"
    );
    assert!(admit_one(&mut shared, &limits, burst + 41_999).is_err());
    assert!(admit_one(&mut shared, &limits, burst + 42_000).is_ok());
}

#[test]
fn calls_to_shared_data_are_as_few_as_can_be() {
    let limits = [per_minute(2), [limit(Unit::Tokens, Window::Day, 10)]].concat();
    let mut shared = Fake::default();
    let mut calls = |act: &dyn Fn(&mut Fake)| {
        (shared.gets, shared.sets) = (0.into(), 0);
        act(&mut shared);
        (shared.gets.get(), shared.sets)
    };
    assert_eq!(
        calls(&|s| drop(admit_one(s, &limits, NOON))),
        (1, 1),
        "first"
    );
    assert_eq!(
        calls(&|s| drop(admit_one(s, &limits, NOON))),
        (1, 1),
        "second"
    );
    assert_eq!(
        calls(&|s| drop(admit_one(s, &limits, NOON))),
        (1, 0),
        "refused"
    );
    assert_eq!(
        calls(&|s| drop(admit_one(s, &limits[1..], NOON))),
        (1, 0),
        "nothing to count yet"
    );
    assert_eq!(
        calls(&|s| drop(admit_one(s, &[], NOON))),
        (0, 0),
        "no limits"
    );
    assert_eq!(
        calls(&|s| assert_eq!(settle(s, &limits, total(3), NOON), 0)),
        (1, 1)
    );
    assert_eq!(
        calls(&|s| assert_eq!(settle(s, &limits, total(0), NOON), 0)),
        (0, 0)
    );
    assert_eq!(
        calls(&|s| assert_eq!(settle(s, &limits[..1], total(3), NOON), 0)),
        (0, 0)
    );
    assert_eq!(calls(&|s| drop(peek(s, &limits, NOON))), (1, 0));
    assert_eq!(calls(&|s| drop(peek(s, &[], NOON))), (0, 0));
}

#[test]
fn tokens_are_counted_by_kind_and_an_overdraft_is_paid_back() {
    let day = |unit| limit(unit, Window::Day, 100);
    let minute = limit(Unit::Tokens, Window::Sliding(60), 100);
    let limits = [
        day(Unit::PromptTokens),
        day(Unit::CompletionTokens),
        day(Unit::Tokens),
        day(Unit::Requests),
        minute,
    ];
    let mut shared = Fake::default();
    let tokens = Tokens {
        prompt: 30,
        completion: 40,
        total: 71,
        cost: 0,
    };
    assert_eq!(settle(&mut shared, &limits, tokens, NOON), 0);
    assert_eq!(used(&mut shared, &limits, NOON), [30, 40, 71, 0, 71]);
    assert!(
        admit_one(&mut shared, &limits, NOON).is_ok(),
        "one token of room is enough"
    );
    assert_eq!(settle(&mut shared, &limits[4..], total(329), NOON), 0);
    let standing = peek(&mut shared, &limits[4..], NOON)[0];
    assert_eq!((standing.used, standing.remaining), (400, 0));
    // 400 tokens of this minute are 99 in the next when a share of 24.75 % is left.
    assert_eq!(standing.reset_ms, Some(60_000 + 45_150));
    let refused = admit_one(&mut shared, &limits[4..], NOON + 60_000 + 45_149);
    assert!(
        matches!(
            refused,
            Err(Refused::Over(Over {
                retry_after_ms: Some(1),
                ..
            }))
        ),
        "{refused:?}"
    );
    assert!(admit_one(&mut shared, &limits[4..], NOON + 60_000 + 45_150).is_ok());
    assert_eq!(settle(&mut shared, &limits, total(u64::MAX), NOON), 0);
    assert_eq!(settle(&mut shared, &limits, total(u64::MAX), NOON), 0);
    assert_eq!(used(&mut shared, &limits[2..3], NOON), [u64::MAX]);
}

#[test]
fn demanded_tokens_must_have_room() {
    let limits = [limit(Unit::Tokens, Window::Day, 100)];
    let mut shared = Fake::default();
    assert_eq!(settle(&mut shared, &limits, total(60), NOON), 0);
    let mut demand = |tokens| {
        let before = shared.value(KEY).map(<[u8]>::to_vec);
        let admitted = admit(&mut shared, &limits, total(tokens), NOON).is_ok();
        shared.put(KEY, &before.unwrap());
        admitted
    };
    assert!(demand(40));
    assert!(!demand(41));
}

fn longest(refused: Result<Vec<Standing>, Refused>) -> (Limit, Option<u64>) {
    let Err(Refused::Over(over)) = refused else {
        panic!("{refused:?}")
    };
    (over.limit, over.retry_after_ms)
}

#[test]
fn of_several_full_limits_the_longest_wait_is_named() {
    let limits = [
        limit(Unit::Requests, Window::Fixed(60), 1),
        limit(Unit::Requests, Window::Day, 1),
        limit(Unit::Requests, Window::Fixed(1), 1),
        limit(Unit::Requests, Window::Month, 2),
    ];
    let mut shared = Fake::default();
    admit_one(&mut shared, &limits, NOON).unwrap();
    let refused = admit_one(&mut shared, &limits, NOON);
    assert_eq!(longest(refused), (limits[1], Some(43_200_000)));
    // Alike: the first. Never: longer than any other.
    let alike =
        [Window::Sliding(60), Window::Fixed(60)].map(|window| limit(Unit::Requests, window, 0));
    let refused = admit_one(&mut shared, &alike, NOON);
    assert_eq!(longest(refused).0, alike[0]);
    let never = [&limits[..], &[limit(Unit::Tokens, Window::Fixed(1), 0)]].concat();
    let refused = admit_one(&mut shared, &never, NOON);
    assert_eq!(longest(refused), (never[4], None));
    assert_eq!(used(&mut shared, &limits, NOON), [1, 1, 1, 1]);
}

#[test]
fn a_changed_quota_judges_what_was_counted_already() {
    let mut shared = Fake::default();
    for _ in 0..10 {
        admit_one(&mut shared, &per_minute(10), NOON).unwrap();
    }
    let lowered = peek(&mut shared, &per_minute(5), NOON)[0];
    assert_eq!((lowered.used, lowered.remaining), (10, 0));
    assert!(admit_one(&mut shared, &per_minute(5), NOON).is_err());
    assert!(admit_one(&mut shared, &per_minute(11), NOON).is_ok());
    // Reordered, with another before it, and from sliding to fixed.
    let reordered = [
        limit(Unit::Tokens, Window::Day, 9),
        limit(Unit::Requests, Window::Fixed(60), 12),
    ];
    assert_eq!(used(&mut shared, &reordered, NOON), [0, 11]);
    assert!(admit_one(&mut shared, &reordered, NOON).is_ok());
    assert!(admit_one(&mut shared, &reordered, NOON).is_err());
}

#[test]
fn an_old_and_a_new_configuration_count_in_one_record() {
    let day = |quota| limit(Unit::Requests, Window::Day, quota);
    let old = [per_minute(100), [day(1_000)]].concat();
    let new = [day(2_000), limit(Unit::Requests, Window::Month, 50_000)];
    let mut shared = Fake::default();
    for _ in 0..20 {
        admit_one(&mut shared, &old, NOON).unwrap();
        admit_one(&mut shared, &new, NOON).unwrap();
    }
    assert_eq!(used(&mut shared, &old, NOON), [20, 40]);
    assert_eq!(used(&mut shared, &new, NOON), [40, 20]);
}

#[test]
fn exactly_as_many_pass_as_fit_however_workers_interleave() {
    for (room, attempts, others_each) in [
        (0, 40, 1),
        (1, 40, 1),
        (30, 35, 1),
        (30, 256, 2),
        (30, 256, 7),
        (300, 256, 3),
    ] {
        let limits = per_minute(room);
        let shared = RefCell::new(Fake::default());
        let (mut passed, mut attempted) = (0, 0_u64);
        while attempted < attempts {
            attempted += 1;
            let mut theirs = 0;
            // Between our reading and our writing, until they have had enough of it.
            let others = |shared: &mut Fake| {
                for _ in 0..others_each {
                    if attempted < attempts && !(attempted + theirs).is_multiple_of(5) {
                        attempted += 1;
                        theirs += u64::from(admit_one(shared, &limits, NOON).is_ok());
                    }
                }
            };
            let ours = admit_one(
                &mut Contending {
                    shared: &shared,
                    others,
                },
                &limits,
                NOON,
            )
            .is_ok();
            passed += theirs + u64::from(ours);
        }
        assert_eq!(passed, room.min(attempts), "{attempts} attempts at {room}");
        assert_eq!(used(&mut shared.borrow_mut(), &limits, NOON), [passed]);
    }
}

#[test]
fn no_settlement_is_lost_when_workers_interleave() {
    let limits = [
        limit(Unit::Tokens, Window::Day, 100),
        limit(Unit::Requests, Window::Day, 1_000),
    ];
    let shared = RefCell::new(Fake::default());
    for _ in 0..100 {
        let mut once = true;
        let others = |shared: &mut Fake| {
            if std::mem::take(&mut once) {
                assert_eq!(settle(shared, &limits, total(3), NOON), 0);
                admit_one(shared, &limits[1..], NOON).unwrap();
            }
        };
        let mut contending = Contending {
            shared: &shared,
            others,
        };
        assert_eq!(settle(&mut contending, &limits, total(5), NOON), 0);
    }
    assert_eq!(used(&mut shared.borrow_mut(), &limits, NOON), [800, 100]);
}

#[test]
fn endless_contention_ends() {
    let shared = RefCell::new(Fake::default());
    let mut contended = Contending {
        shared: &shared,
        others: |shared: &mut Fake| shared.put(KEY, b""),
    };
    assert_eq!(
        admit_one(&mut contended, &per_minute(1), NOON),
        Err(Refused::Contended)
    );
    let limits = [limit(Unit::Tokens, Window::Day, 1)];
    assert_eq!(settle(&mut contended, &limits, total(1), NOON), 1);
}

#[test]
fn an_emptied_or_broken_record_starts_anew() {
    for bytes in [&b""[..], b"\x01\x02", b"\x00\xff\xff", &[1; 48]] {
        let mut shared = Fake::default();
        shared.put(KEY, bytes);
        assert_eq!(
            admit_one(&mut shared, &per_minute(1), NOON).unwrap()[0].used,
            1
        );
        assert!(admit_one(&mut shared, &per_minute(1), NOON).is_err());
    }
}
