//! What was counted before this Envoy started, put where nothing is counted yet.
//!
//! Shared data is empty after a restart; whoever keeps the event log knows what the windows held. A record that is there
//! knows better and stays as it is. Knows nothing of where the sums come from.

use super::record::{Change, Key, Record};
use super::{Cas, Clock, Descriptor, Limit, SharedData};
use crate::time::Timestamp;

/// One entry of `counters.seed`.
#[derive(Clone, Debug)]
pub struct Seed {
    /// Whose counter.
    pub descriptor: Descriptor,
    /// When the sums were taken.
    pub time: Timestamp,
    /// What was counted by then, as `quota`.
    pub counted: Vec<Limit>,
}

/// Writes the records that are not there. What was counted goes into the window that its time is in, and weighs no longer
/// than that does. Any number of workers may do this at a time: the first writes.
pub fn fill(shared: &mut impl SharedData, seeds: &[Seed], clock: Clock) {
    let mut records: Vec<(String, Vec<&Seed>)> = Vec::new();
    for seed in seeds {
        let name = seed.descriptor.record();
        let at = records
            .binary_search_by(|(known, _)| known.cmp(&name))
            .unwrap_or_else(|at| {
                records.insert(at, (name, Vec::new()));
                at
            });
        let Some((_, of_record)) = records.get_mut(at) else {
            continue;
        };
        // The eldest first: windows only move on.
        let place = of_record.partition_point(|other| other.time <= seed.time);
        of_record.insert(place, seed);
    }
    for (name, seeds) in records {
        if shared.get(&name).1 != Cas::ABSENT {
            continue;
        }
        let mut bytes = Vec::new();
        let mut record = Record::open(&mut bytes);
        for seed in seeds {
            let then = Clock {
                // Nothing was counted in the future, whatever another machine's clock said.
                now: seed.time.min(clock.now),
                ..clock
            };
            for limit in &seed.counted {
                let change = Change {
                    count: limit.quota,
                    ..Change::default()
                };
                record.change(Key::of(limit), &change, &[], then);
            }
        }
        // Refused where another worker was first, with the same or with more.
        let _ = shared.set(&name, &bytes, Cas::ABSENT);
    }
}

#[cfg(test)]
mod tests {
    use super::super::shared_data::fake::{Contended, Fake};
    use super::super::{Unit, Window};
    use super::*;
    use crate::time::UtcOffset;
    use std::cell::RefCell;

    fn clock(time: &str) -> Clock {
        Clock {
            now: moment(time),
            offset: UtcOffset(0),
        }
    }

    fn moment(time: &str) -> Timestamp {
        Timestamp::parse_rfc3339(time, UtcOffset(0)).unwrap()
    }

    fn limit(unit: Unit, window: Window, quota: u64) -> Limit {
        Limit {
            unit,
            window,
            quota,
        }
    }

    fn seed(group: &str, time: &str, counted: &[Limit]) -> Seed {
        Seed {
            descriptor: Descriptor {
                group: Some(group.into()),
                consumer: None,
                models: None,
            },
            time: moment(time),
            counted: counted.to_vec(),
        }
    }

    fn used(shared: &Fake, group: &str, limit: Limit, at: &str) -> u64 {
        let mut bytes = shared
            .value(&format!("cohort/1/group/{group}"))
            .unwrap_or_default()
            .to_vec();
        let clock = clock(at);
        let record = Record::open(&mut bytes);
        record.tally(&limit, clock).used()
    }

    const DAY: Limit = Limit {
        unit: Unit::Tokens,
        window: Window::Day,
        quota: 500,
    };

    #[test]
    fn sums_weigh_as_long_as_their_window_lasts() {
        let minute = limit(Unit::Requests, Window::Sliding(60), 30);
        let mut shared = Fake::default();
        let seeds = [seed("a", "2026-11-21T08:00:30Z", &[DAY, minute])];
        fill(&mut shared, &seeds, clock("2026-11-21T08:01:30Z"));
        for (at, day, requests) in [
            ("2026-11-21T08:00:59Z", 500, 30),
            ("2026-11-21T08:01:30Z", 500, 15),
            ("2026-11-21T08:02:00Z", 500, 0),
            ("2026-11-21T23:59:59Z", 500, 0),
            ("2026-11-22T00:00:00Z", 0, 0),
        ] {
            assert_eq!(used(&shared, "a", DAY, at), day, "{at}");
            assert_eq!(used(&shared, "a", minute, at), requests, "{at}");
        }
    }

    #[test]
    fn a_record_that_is_there_stays() {
        let mut shared = Fake::default();
        let now = clock("2026-11-21T09:00:00Z");
        let seeds = |tokens| {
            let day = Limit {
                quota: tokens,
                ..DAY
            };
            ["a", "b"].map(|group| seed(group, "2026-11-21T08:00:00Z", &[day]))
        };
        fill(&mut shared, &seeds(500)[..1], now);
        fill(&mut shared, &seeds(7), now);
        let at = "2026-11-21T09:00:00Z";
        assert_eq!(used(&shared, "a", DAY, at), 500);
        assert_eq!(used(&shared, "b", DAY, at), 7);
        assert_eq!(shared.sets, 2);
        fill(&mut shared, &seeds(9), now);
        assert_eq!(shared.sets, 2);
    }

    #[test]
    fn entries_of_one_counter_add_up_in_whatever_order() {
        let sliding = limit(Unit::Requests, Window::Sliding(3600), 40);
        let mut shared = Fake::default();
        let seeds = [
            seed("a", "2026-11-21T08:10:00Z", &[sliding]),
            seed("b", "2026-11-21T08:10:00Z", &[sliding]),
            seed("a", "2026-11-21T07:10:00Z", &[sliding]),
            seed("a", "2026-11-21T08:20:00Z", &[DAY, sliding]),
        ];
        fill(&mut shared, &seeds, clock("2026-11-21T08:30:00Z"));
        // Of the hour before, half weighs.
        assert_eq!(used(&shared, "a", sliding, "2026-11-21T08:30:00Z"), 100);
        assert_eq!(used(&shared, "a", DAY, "2026-11-21T08:30:00Z"), 500);
        assert_eq!(used(&shared, "b", sliding, "2026-11-21T08:30:00Z"), 40);
    }

    #[test]
    fn the_future_counts_as_now() {
        let mut shared = Fake::default();
        let seeds = [seed("a", "2036-01-01T00:00:00Z", &[DAY])];
        fill(&mut shared, &seeds, clock("2026-11-21T09:00:00Z"));
        assert_eq!(used(&shared, "a", DAY, "2026-11-21T09:00:00Z"), 500);
        assert_eq!(used(&shared, "a", DAY, "2026-11-22T00:00:00Z"), 0);
    }

    #[test]
    fn of_two_workers_the_first_writes() {
        let shared = RefCell::new(Fake::default());
        let now = clock("2026-11-21T09:00:00Z");
        let other = [seed("a", "2026-11-21T08:00:00Z", &[DAY])];
        let mut contended = Contended {
            shared: &shared,
            others: |shared: &mut Fake| fill(shared, &other, now),
        };
        let later = Limit { quota: 501, ..DAY };
        let seeds = [seed("a", "2026-11-21T08:00:00Z", &[later])];
        fill(&mut contended, &seeds, now);
        assert_eq!(
            used(&shared.borrow(), "a", DAY, "2026-11-21T09:00:00Z"),
            500
        );
    }
}
