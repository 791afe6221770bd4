//! Several counters at once, slots, and reserved tokens.
#![expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]

use super::worker::{Worker, held, of, slots, tokens_per_day};
use super::*;
use crate::limit::Window;
use proptest::prelude::*;
use std::cell::RefCell;

/// What a worker remembers may be out of date: then nobody is refused for it, and nobody let in.
#[test]
fn what_another_worker_did_counts() {
    let counters = [of("a", &[slots(2)])];
    let (mut shared, none) = (Fake::default(), Tokens::default());
    let [mut one, mut other] = [Worker::default(), Worker::default()];
    let first = one.admit(&mut shared, &counters, none, NOON).unwrap();
    let second = other.admit(&mut shared, &counters, none, NOON).unwrap();
    // It remembers that there was room.
    assert!(one.admit(&mut shared, &counters, none, NOON).is_err());
    let used = Ending::Used(none);
    one.settle(&mut shared, &counters, &first, used, NOON);
    one.admit(&mut shared, &counters, none, NOON).unwrap();
    other.settle(&mut shared, &counters, &second, used, NOON);
    // It remembers that there was none.
    one.admit(&mut shared, &counters, none, NOON).unwrap();
    assert!(other.admit(&mut shared, &counters, none, NOON).is_err());
    assert_eq!(held(&mut shared, &counters[0], NOON), 2);
}

#[test]
fn a_slot_is_free_again_when_its_request_ends() {
    let counters = [of("a", &[slots(2)])];
    let (mut shared, mut worker) = (Fake::default(), Worker::default());
    let none = Tokens::default();
    let first = worker.admit(&mut shared, &counters, none, NOON).unwrap();
    let second = worker.admit(&mut shared, &counters, none, NOON).unwrap();
    let refused = worker.admit(&mut shared, &counters, none, NOON);
    let Err(Refused::Over(over)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((over.limit, over.retry_after_ms), (slots(2), Some(1_000)));
    assert_eq!(
        (over.standings[0].used, over.standings[0].remaining),
        (2, 0)
    );
    let used = Ending::Used(Tokens::default());
    worker.settle(&mut shared, &counters, &first, used, NOON + 5_000);
    let third = worker
        .admit(&mut shared, &counters, none, NOON + 5_000)
        .unwrap();
    for permit in [second, third] {
        worker.settle(
            &mut shared,
            &counters,
            &permit,
            Ending::Undone,
            NOON + 6_000,
        );
    }
    assert_eq!(held(&mut shared, &counters[0], NOON + 6_000), 0);
    assert!(worker.holds.is_empty());
}

#[test]
fn no_slot_at_all_is_never_free() {
    let counters = [of("a", &[slots(0)])];
    let refused = Worker::default().admit(&mut Fake::default(), &counters, Tokens::default(), NOON);
    let Err(Refused::Over(over)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(over.retry_after_ms, None);
}

#[test]
fn reserved_tokens_are_room_that_others_do_not_have() {
    let counters = [of("a", &[tokens_per_day(1_000)])];
    let (mut shared, mut worker) = (Fake::default(), Worker::default());
    let first = worker
        .admit(&mut shared, &counters, total(600), NOON)
        .unwrap();
    let refused = worker.admit(&mut shared, &counters, total(401), NOON);
    let Err(Refused::Over(over)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(over.retry_after_ms, Some(1_000), "a reservation ends soon");
    assert_eq!(over.standings[0].remaining, 400);
    assert_eq!(over.standings[0].used, 0, "nothing was counted yet");
    let second = worker
        .admit(&mut shared, &counters, total(400), NOON)
        .unwrap();
    worker.settle(
        &mut shared,
        &counters,
        &first,
        Ending::Used(total(250)),
        NOON,
    );
    worker.settle(
        &mut shared,
        &counters,
        &second,
        Ending::Used(total(900)),
        NOON,
    );
    let standing = worker.ledger(&mut shared, &counters, NOON).standings()[0];
    assert_eq!((standing.used, standing.remaining), (1_150, 0));
}

#[test]
fn an_idle_limit_admits_one_request_whatever_it_may_cost() {
    let counters = [of("a", &[tokens_per_day(100)])];
    let (mut shared, mut worker) = (Fake::default(), Worker::default());
    let permit = worker
        .admit(&mut shared, &counters, total(5_000), NOON)
        .unwrap();
    assert_eq!(held(&mut shared, &counters[0], NOON), 100);
    assert!(
        worker
            .admit(&mut shared, &counters, total(1), NOON)
            .is_err()
    );
    worker.settle(&mut shared, &counters, &permit, Ending::Undone, NOON);
    // Nothing left of it: the next has the limit for itself again.
    assert!(
        worker
            .admit(&mut shared, &counters, total(5_000), NOON)
            .is_ok()
    );
    let nothing = [of("b", &[tokens_per_day(0)])];
    assert!(worker.admit(&mut shared, &nothing, total(0), NOON).is_err());
}

#[test]
fn what_is_undone_was_never_counted_in_its_own_window() {
    let per_minute = limit(Unit::Requests, Window::Fixed(60), 10);
    let counters = [of(
        "a",
        &[per_minute, limit(Unit::Requests, Window::Day, 10)],
    )];
    let (mut shared, mut worker) = (Fake::default(), Worker::default());
    let used = |shared: &mut Fake, ms| -> Vec<u64> {
        let mut worker = Worker::default();
        let standings = worker.ledger(shared, &counters, ms).standings();
        standings.iter().map(|standing| standing.used).collect()
    };
    let early = worker
        .admit(&mut shared, &counters, Tokens::default(), NOON + 59_000)
        .unwrap();
    let late = worker
        .admit(&mut shared, &counters, Tokens::default(), NOON + 60_000)
        .unwrap();
    assert_eq!(used(&mut shared, NOON + 60_000), [1, 2]);
    // The minute of the first is over: only its day is given back.
    worker.settle(
        &mut shared,
        &counters,
        &early,
        Ending::Undone,
        NOON + 60_000,
    );
    assert_eq!(used(&mut shared, NOON + 60_000), [1, 1]);
    worker.settle(&mut shared, &counters, &late, Ending::Undone, NOON + 60_000);
    assert_eq!(used(&mut shared, NOON + 60_000), [0, 0]);
}

#[test]
fn all_counters_are_charged_or_none() {
    let per_day = |quota| limit(Unit::Requests, Window::Day, quota);
    let counters = [
        of("consumer", &[per_day(3), slots(5)]),
        of("group", &[per_day(2)]),
        of("parent", &[per_day(9), tokens_per_day(1_000)]),
    ];
    let (mut shared, mut worker) = (Fake::default(), Worker::default());
    for _ in 0..2 {
        worker
            .admit(&mut shared, &counters, total(100), NOON)
            .unwrap();
    }
    let before: Vec<_> = counters
        .iter()
        .map(|counter| shared.value(&counter.record).unwrap().to_vec())
        .collect();
    let refused = worker.admit(&mut shared, &counters, total(100), NOON);
    let Err(Refused::Over(over)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((over.counter, over.limit), (1, per_day(2)));
    assert_eq!(over.standings.len(), 5);
    for (counter, before) in counters.iter().zip(before) {
        assert_eq!(shared.value(&counter.record).unwrap(), before);
    }
}

/// The last counter fills up between the look at it and the write to it.
#[test]
fn what_was_charged_is_undone_when_a_later_counter_refuses_after_all() {
    let per_day = |quota| limit(Unit::Requests, Window::Day, quota);
    let counters = [
        of("consumer", &[per_day(3), slots(5), tokens_per_day(1_000)]),
        of("group", &[per_day(1)]),
    ];
    let shared = RefCell::new(Fake::default());
    let mut rival = true;
    let mut writes = 0;
    let others = |shared: &mut Fake| {
        writes += 1;
        if writes == 2 && std::mem::take(&mut rival) {
            let mut other = Worker::default();
            other
                .admit(shared, &counters[1..], Tokens::default(), NOON)
                .unwrap();
        }
    };
    let mut worker = Worker::default();
    let mut ledger = Ledger {
        shared: &mut Contending {
            shared: &shared,
            others,
        },
        holds: &mut worker.holds,
        counters: &counters,
        clock: at(NOON),
    };
    let demand = Demand { tokens: total(70) };
    let refused = ledger.admit(demand, Check::All);
    assert!(
        matches!(&refused, Err(Refused::Over(over)) if over.counter == 1),
        "{refused:?}"
    );
    assert!(worker.holds.is_empty());
    let mut shared = shared.into_inner();
    let standings = worker.ledger(&mut shared, &counters, NOON).standings();
    let used: Vec<_> = standings.iter().map(|standing| standing.used).collect();
    assert_eq!(used, [0, 0, 0, 1]);
    assert_eq!(held(&mut shared, &counters[0], NOON), 0);
}

#[test]
fn renewed_holds_live_and_lost_ones_heal() {
    let counters = [of("a", &[slots(10), tokens_per_day(1_000)])];
    let mut shared = Fake::default();
    let (mut living, mut lost) = (Worker::default(), Worker::default());
    let kept = living
        .admit(&mut shared, &counters, total(70), NOON)
        .unwrap();
    lost.admit(&mut shared, &counters, total(7), NOON + 10_000)
        .unwrap();
    let mut ms = NOON;
    for _ in 0..90 {
        ms += 10_000;
        assert_eq!(living.renew(&mut shared, at(ms)), 0);
        let held = held(&mut shared, &counters[0], ms);
        let slot_of_the_lost = u64::from(ms - NOON < 60_000);
        let tokens_of_the_lost = if ms - NOON < 600_000 { 7 } else { 0 };
        if ms > NOON + 10_000 {
            assert_eq!(held, 71 + slot_of_the_lost + tokens_of_the_lost, "{ms}");
        }
    }
    living.settle(&mut shared, &counters, &kept, Ending::Used(total(50)), ms);
    assert_eq!(held(&mut shared, &counters[0], ms), 0);
    let standing = living.ledger(&mut shared, &counters, ms).standings()[1];
    assert_eq!((standing.used, standing.remaining), (50, 950));
}

#[test]
fn renewal_writes_only_what_would_go_out_of_date() {
    let counters = [of("a", &[slots(10)])];
    let (mut shared, mut worker) = (Fake::default(), Worker::default());
    let permit = worker
        .admit(&mut shared, &counters, Tokens::default(), NOON)
        .unwrap();
    shared.sets = 0;
    worker.renew(&mut shared, at(NOON + 10_000));
    assert_eq!(shared.sets, 0, "still in its first bucket");
    worker.renew(&mut shared, at(NOON + 30_000));
    assert_eq!(shared.sets, 1);
    worker.settle(
        &mut shared,
        &counters,
        &permit,
        Ending::Undone,
        NOON + 31_000,
    );
    worker.renew(&mut shared, at(NOON + 90_000));
    assert_eq!(shared.sets, 2, "nothing is held any more");
}

/// A worker that was stalled: its hold went out of date, and others have taken the room.
#[test]
fn a_late_settlement_counts_everything_and_frees_nothing_of_others() {
    let counters = [of("a", &[slots(1), tokens_per_day(100)])];
    let mut shared = Fake::default();
    let (mut stalled, mut other) = (Worker::default(), Worker::default());
    let late = stalled
        .admit(&mut shared, &counters, total(60), NOON)
        .unwrap();
    let then = NOON + 600_000;
    let current = other
        .admit(&mut shared, &counters, total(100), then)
        .unwrap();
    stalled.settle(&mut shared, &counters, &late, Ending::Used(total(60)), then);
    assert_eq!(held(&mut shared, &counters[0], then), 101);
    let standing = other.ledger(&mut shared, &counters, then).standings()[1];
    assert_eq!(standing.used, 60);
    other.settle(&mut shared, &counters, &current, Ending::Undone, then);
    assert_eq!(held(&mut shared, &counters[0], then), 0);
}

#[test]
fn who_is_judged_elsewhere_is_counted_here() {
    let counters = [of("a", &[tokens_per_day(100), slots(2)])];
    let (mut shared, mut worker) = (Fake::default(), Worker::default());
    let mut admit = |check| {
        let demand = Demand { tokens: total(80) };
        let mut ledger = worker.ledger(&mut shared, &counters, NOON);
        ledger.admit(demand, check).map(|(_, standings)| standings)
    };
    for others in [0, 80] {
        let standing = admit(Check::Own).unwrap()[0];
        assert_eq!((standing.used, standing.reserved), (0, others));
    }
    assert!(admit(Check::Own).is_err(), "there is no third slot");
    assert_eq!(admit(Check::Nothing).unwrap()[1].used, 3);
}

proptest! {
    /// Whatever ends how and when: nothing stays held, and what is counted is what was used.
    #[test]
    fn nothing_leaks(
        steps in prop::collection::vec((0..3_u8, 0..2_usize, 0..400_u64, 0..25_000_u64, any::<prop::sample::Index>()), 1..120),
    ) {
        let counters = [
            of("consumer", &[slots(8), tokens_per_day(100_000)]),
            of("group", &[limit(Unit::Requests, Window::Month, 1_000), tokens_per_day(100_000)]),
        ];
        let mut shared = Fake::default();
        let mut workers = [Worker::default(), Worker::default()];
        let mut open: Vec<(usize, Permit)> = Vec::new();
        let (mut requests, mut tokens, mut ms) = (0, 0, NOON);
        for (what, worker, amount, passed, which) in steps {
            ms += passed;
            for worker in &mut workers {
                worker.renew(&mut shared, at(ms));
            }
            if what < 2 || open.is_empty() {
                if let Ok(permit) = workers[worker].admit(&mut shared, &counters, total(amount), ms) {
                    requests += 1;
                    open.push((worker, permit));
                }
                prop_assert!(open.len() <= 8);
            } else {
                let (worker, permit) = open.swap_remove(which.index(open.len()));
                let ending = if amount % 3 == 0 {
                    requests -= 1;
                    Ending::Undone
                } else {
                    tokens += amount;
                    Ending::Used(total(amount))
                };
                workers[worker].settle(&mut shared, &counters, &permit, ending, ms);
            }
        }
        for (worker, permit) in open {
            workers[worker].settle(&mut shared, &counters, &permit, Ending::Used(total(0)), ms);
        }
        prop_assert!(workers.iter().all(|worker| worker.holds.is_empty()));
        prop_assert_eq!(counters.iter().map(|counter| held(&mut shared, counter, ms)).sum::<u64>(), 0);
        let standings = workers[0].ledger(&mut shared, &counters, ms).standings();
        let used: Vec<_> = standings.iter().map(|standing| standing.used).collect();
        prop_assert_eq!(used, [0, tokens, requests, tokens]);
    }
}
