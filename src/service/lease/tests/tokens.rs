//! Tokens beside leases: held against what was left, and reported.

use super::*;

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
