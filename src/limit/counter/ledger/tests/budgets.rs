//! What is spent: reserved, settled, and told of once.

use super::worker::{Worker, of};
use super::*;
use crate::limit::Window;

fn budget(quota: u64, blocks: bool) -> Budget {
    Budget {
        limit: limit(Unit::Cost, Window::Day, quota),
        blocks,
        alert_at: vec![500, 800, 1_000],
    }
}

fn with_budget(limits: &[Limit], budget: Budget) -> Rc<Counter> {
    let counter = Counter::clone(&of("a", limits));
    Rc::new(Counter {
        budgets: [budget].into(),
        ..counter
    })
}

fn cost(cost: u64) -> Tokens {
    Tokens {
        cost,
        ..Tokens::default()
    }
}

#[test]
fn a_budget_refuses_before_anything_else_and_counts_what_it_cost() {
    let per_day = limit(Unit::Requests, Window::Day, 1);
    let counters = [with_budget(&[per_day], budget(1_000, true))];
    let (mut shared, mut worker) = (Fake::default(), Worker::default());
    let first = worker
        .admit(&mut shared, &counters, cost(600), NOON)
        .unwrap();
    // Neither the budget has room for it beside what is reserved, nor the limit.
    let refused = worker.admit(&mut shared, &counters, cost(500), NOON);
    let Err(Refused::Over(over)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(over.limit.unit, Unit::Cost);
    assert_eq!(over.standings.len(), 1, "headers do not tell of budgets");
    let settled = worker
        .ledger(&mut shared, &counters, NOON)
        .settle(&first, Ending::Used(cost(1_001)));
    assert_eq!(settled.errors, 0);
    let told: Vec<_> = settled.crossed.iter().map(|crossed| crossed.at).collect();
    assert_eq!(told, [500, 800, 1_000]);
    assert_eq!(settled.crossed[0].used, 1_001);
    let refused = worker.admit(&mut shared, &counters, cost(0), NOON);
    let Err(Refused::Over(over)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(over.retry_after_ms, Some(43_200_000));
}

#[test]
fn every_share_is_told_of_once_a_window() {
    let counters = [with_budget(&[], budget(1_000, false))];
    let (mut shared, mut worker) = (Fake::default(), Worker::default());
    let mut spend = |amount, ms| -> Vec<u32> {
        let permit = worker
            .admit(&mut shared, &counters, cost(amount), ms)
            .unwrap();
        let mut ledger = worker.ledger(&mut shared, &counters, ms);
        let settled = ledger.settle(&permit, Ending::Used(cost(amount)));
        settled.crossed.iter().map(|crossed| crossed.at).collect()
    };
    assert_eq!(spend(499, NOON), [0; 0]);
    assert_eq!(spend(1, NOON), [500]);
    assert_eq!(spend(0, NOON), [0; 0]);
    assert_eq!(spend(299, NOON), [0; 0]);
    assert_eq!(spend(900, NOON), [800, 1_000]);
    // It only tells: nothing is refused.
    assert_eq!(spend(9_000, NOON), [0; 0]);
    assert_eq!(spend(1_000, NOON + 86_400_000), [500, 800, 1_000]);
}
