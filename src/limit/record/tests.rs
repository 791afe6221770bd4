#![expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]

use super::*;
use crate::time::{Timestamp, UtcOffset};
use proptest::prelude::*;

const NOON: u64 = 1_795_262_400_000; // 2026-11-21T12:00:00Z

fn at(ms: u64) -> Clock {
    Clock {
        now: Timestamp(ms),
        offset: UtcOffset(0),
    }
}

fn limit(unit: Unit, window: Window) -> Limit {
    Limit {
        unit,
        window,
        quota: 10,
    }
}

fn requests(window: Window) -> Limit {
    limit(Unit::Requests, window)
}

fn add(bytes: &mut Vec<u8>, limits: &[Limit], amount: u64, clock: Clock) {
    for limit in limits {
        let change = Change {
            count: amount,
            ..Change::default()
        };
        Record::open(bytes).change(Key::of(limit), &change, limits, clock);
    }
}

fn current(bytes: &[u8], limit: &Limit, clock: Clock) -> u64 {
    Record::open(&mut bytes.to_vec())
        .tally(limit, clock)
        .counted
        .current
}

fn entries(bytes: &[u8]) -> usize {
    (bytes.len() - 1) / ENTRY_LEN
}

#[test]
fn the_format_is_what_the_page_says() {
    let mut bytes = Vec::new();
    add(
        &mut bytes,
        &[limit(Unit::PromptTokens, Window::Sliding(90))],
        258,
        at(90_000 * 3),
    );
    let mut expected = vec![2, 3, 1, 0, 0, 90, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 2, 1];
    expected.resize(57, 0);

    assert_eq!(bytes, expected);
}

#[test]
fn every_unit_and_window_counts_for_itself() {
    let units = [
        Unit::Requests,
        Unit::Tokens,
        Unit::PromptTokens,
        Unit::CompletionTokens,
    ];
    let windows = [
        Window::Sliding(1),
        Window::Sliding(60),
        Window::Day,
        Window::Month,
    ];
    let limits: Vec<_> = units
        .iter()
        .flat_map(|&unit| windows.map(|window| limit(unit, window)))
        .collect();
    let mut bytes = Vec::new();
    for (amount, each) in (1..).zip(&limits) {
        add(&mut bytes, std::slice::from_ref(each), amount, at(NOON));
    }
    for (amount, each) in (1..).zip(&limits) {
        assert_eq!(current(&bytes, each, at(NOON)), amount);
    }
    assert_eq!(entries(&bytes), limits.len());
}

#[test]
fn counting_stops_at_the_greatest_number() {
    let limits = [requests(Window::Day)];
    let mut bytes = Vec::new();
    add(&mut bytes, &limits, u64::MAX, at(NOON));
    add(&mut bytes, &limits, 1, at(NOON));
    assert_eq!(current(&bytes, &limits[0], at(NOON)), u64::MAX);
}

#[test]
fn a_live_entry_of_another_configuration_is_kept_and_a_dead_one_dropped() {
    let old = [requests(Window::Sliding(60)), requests(Window::Day)];
    let new = [requests(Window::Sliding(1)), requests(Window::Month)];
    let mut bytes = Vec::new();
    add(&mut bytes, &old, 7, at(NOON));
    // The previous minute still has its share in the next.
    add(&mut bytes, &new[..1], 1, at(NOON + 60_000));
    assert_eq!(entries(&bytes), 3);
    assert_eq!(
        Record::open(&mut bytes)
            .tally(&old[0], at(NOON + 60_000))
            .counted
            .previous,
        7
    );
    assert_eq!(current(&bytes, &old[1], at(NOON + 60_000)), 7);
    // In the one after that it has none; the day goes on.
    add(&mut bytes, &new[1..], 1, at(NOON + 120_000));
    assert_eq!(current(&bytes, &old[1], at(NOON + 120_000)), 7);
    assert_eq!(entries(&bytes), 2, "the day and the month");
    // The next day it is over.
    let tomorrow = NOON + 86_400_000;
    add(
        &mut bytes,
        &[requests(Window::Month), requests(Window::Sliding(5))],
        1,
        at(tomorrow),
    );
    assert_eq!(entries(&bytes), 2, "the month and the five seconds");
    assert_eq!(current(&bytes, &new[1], at(tomorrow)), 2);
}

#[test]
fn a_reservation_and_an_unknown_entry_survive_a_rewrite() {
    let limits = [requests(Window::Day)];
    let mut bytes = Vec::new();
    add(&mut bytes, &limits, 1, at(NOON));
    let second = requests(Window::Sliding(1));
    let hold = Change {
        hold: 77,
        ..Change::default()
    };
    Record::open(&mut bytes).change(Key::of(&second), &hold, &limits, at(NOON));
    bytes.extend_from_slice(&[9; ENTRY_LEN]); // units and spans to come
    // Long after that second was over; what is held lives longer.
    let later = at(NOON + 299_999);
    let both = [requests(Window::Day), requests(Window::Month)];
    add(&mut bytes, &both, 1, later);
    assert_eq!(Record::open(&mut bytes).tally(&second, later).held(), 77);
    assert_eq!(bytes[1 + 2 * ENTRY_LEN..=3 * ENTRY_LEN], [9; ENTRY_LEN]);
    assert_eq!(entries(&bytes), 4);
}

/// Holds an amount at one moment, and says when it is gone.
fn lives_for(limit: &Limit, start: u64) -> u64 {
    let mut bytes = Vec::new();
    let hold = Change {
        hold: 5,
        ..Change::default()
    };
    Record::open(&mut bytes).change(Key::of(limit), &hold, &[], at(start));
    let left = |ms: u64| {
        Record::open(&mut bytes.clone())
            .tally(limit, at(start + ms))
            .held()
    };
    (0..1_000)
        .map(|seconds| seconds * 1_000)
        .find(|&ms| left(ms) == 0)
        .unwrap()
}

#[test]
fn what_nobody_renews_heals() {
    let slot = limit(Unit::ConcurrentRequests, Window::InFlight);
    assert_eq!(lives_for(&slot, NOON), 60_000);
    assert_eq!(lives_for(&slot, NOON + 29_000), 31_000);
    let tokens = limit(Unit::Tokens, Window::Day);
    assert_eq!(lives_for(&tokens, NOON), 600_000);
    assert_eq!(lives_for(&tokens, NOON + 299_000), 301_000);
}

#[test]
fn an_amount_leaves_the_bucket_that_it_entered() {
    let day = requests(Window::Fixed(60));
    let key = Key::of(&day);
    let mut bytes = Vec::new();
    let mut change = |change: Change<'_>, ms| {
        let place = Record::open(&mut bytes).change(key, &change, &[], at(NOON + ms));
        let record = Record::open(&mut bytes);
        let counted = record.tally(&day, at(NOON + ms)).counted;
        let held = record.tally(&day, at(NOON + ms)).held();
        (place, counted.current, counted.previous, held)
    };
    let count = |count, hold| Change {
        count,
        hold,
        ..Change::default()
    };
    let (first, ..) = change(count(3, 10), 0);
    let (second, current, previous, held) = change(count(1, 1), 60_000);
    assert_eq!((current, previous, held), (1, 3, 11));
    assert_eq!(second.counted, first.counted + 1);
    let undo = |bucket, amount, release| Change {
        uncount: (bucket, amount),
        release: (10, release),
        ..Change::default()
    };
    let release = [(first.held, 10)];
    let (_, current, previous, held) = change(undo(first.counted, 2, &release), 61_000);
    assert_eq!((current, previous, held), (1, 1, 1));
    // More than there is, and out of a bucket that is over.
    let release = [(first.held - 1, 1)];
    let (_, current, previous, held) = change(undo(second.counted, 9, &release), 62_000);
    assert_eq!((current, previous, held), (0, 1, 1));
}

#[test]
fn a_record_is_bounded_and_the_configured_entries_stay() {
    let clock = at(NOON);
    let mine = [requests(Window::Day)];
    let mut bytes = Vec::new();
    add(&mut bytes, &mine, 5, clock);
    for seconds in 1_000..1_100 {
        add(
            &mut bytes,
            &[mine[0], requests(Window::Fixed(seconds))],
            1,
            clock,
        );
        assert!(entries(&bytes) <= MAX_ENTRIES);
    }
    assert_eq!(entries(&bytes), MAX_ENTRIES);
    assert_eq!(current(&bytes, &mine[0], clock), 105);
    assert_eq!(current(&bytes, &requests(Window::Fixed(1_099)), clock), 1);
    assert_eq!(
        current(&bytes, &requests(Window::Fixed(1_000)), clock),
        0,
        "the eldest went"
    );
    // A configuration with more limits has them all.
    let many: Vec<_> = (1..=40)
        .map(|seconds| requests(Window::Fixed(seconds)))
        .collect();
    add(&mut bytes, &many, 1, clock);
    assert_eq!(entries(&bytes), 40);
    assert!(many.iter().all(|limit| current(&bytes, limit, clock) == 1));
}

#[test]
fn what_is_no_record_starts_empty() {
    let mut good = Vec::new();
    add(&mut good, &[requests(Window::Day)], 5, at(NOON));
    let other_version = [&[1], &good[1..]].concat();
    let longer = [&good[..], &[0]].concat();
    for bytes in [
        &b""[..],
        b"\x00",
        b"\x01",
        b"\xff",
        &good[..good.len() - 1],
        &longer,
        &other_version,
    ] {
        let mut bytes = bytes.to_vec();
        let buckets = Record::open(&mut bytes)
            .tally(&requests(Window::Day), at(NOON))
            .counted;
        assert_eq!((buckets.current, buckets.previous), (0, 0));
        assert_eq!(bytes, [VERSION]);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_and_written_without_panic(
        entries in prop::collection::vec((0..6_u8, 0..5_u8, any::<[u8; 54]>()), 0..40), ms: u64, seconds: u32, offset: i32,
    ) {
        let mut bytes = vec![VERSION];
        for (unit, span, rest) in entries {
            bytes.extend([unit, span]);
            bytes.extend(rest);
        }
        let clock = Clock { now: Timestamp(ms), offset: UtcOffset(offset) };
        let limits = [Window::Sliding(seconds), Window::Day, Window::Month].map(requests);
        let before = limits.map(|limit| current(&bytes, &limit, clock));
        add(&mut bytes, &limits, 1, clock);
        for (limit, before) in limits.iter().zip(before) {
            prop_assert_eq!(current(&bytes, limit, clock), before.saturating_add(1));
        }
    }
}
