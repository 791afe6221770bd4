//! Consumers that the configuration does not name: how many of them may have records of their own.
//!
//! Whoever issues names decides how many there are, and a record in shared data stays for as long as Envoy lives. So up to
//! a bound each has its own; those that come later share a fixed number of them.

use super::record::Record;
use super::shared_data::{Cas, Change, SharedData, update};
use sha2::{Digest, Sha256};

/// How many there are by now, as a little-endian `u32`.
const COUNT: &str = "cohort/1/unlisted";

/// How many counters the later ones of a group share: as many as a byte has values.
pub const SHARED: usize = 256;

/// Whether a consumer is counted in this record, its own, which is made if there is still room for one.
///
/// Workers that make the last ones at the same moment may make one too many each.
pub fn has_own(shared: &mut impl SharedData, record: &str, max: u32) -> bool {
    if shared.get(record).1 != Cas::ABSENT {
        return true;
    }
    if count(&shared.get(COUNT).0.unwrap_or_default()) >= max {
        return false;
    }
    let mut empty = Vec::new();
    Record::open(&mut empty);
    // Made before it is counted: a request that is refused leaves nothing else behind, and comes again.
    if shared.set(record, &empty, Cas::ABSENT).is_ok() {
        // A count that is lost lets one more have its own.
        let _ = update(shared, COUNT, |bytes| {
            *bytes = count(bytes).saturating_add(1).to_le_bytes().into();
            Change::Write(())
        });
    }
    true
}

/// Under which name a consumer is counted that has no record of its own. No consumer and no key can be called so.
pub fn shared_name(consumer: &str) -> String {
    let [slot, ..] = <[u8; 32]>::from(Sha256::digest(consumer));
    format!("*{slot}")
}

fn count(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn up_to_the_bound_each_has_its_own_and_keeps_it() {
        let mut shared = Fake::default();
        let own = |shared: &mut Fake, consumer: usize| has_own(shared, &consumer.to_string(), 3);
        for consumer in [1, 2, 1, 3, 2] {
            assert!(own(&mut shared, consumer), "{consumer}");
        }
        for consumer in 4..1_000 {
            assert!(!own(&mut shared, consumer), "{consumer}");
        }
        assert!(own(&mut shared, 3), "it has one");
        assert_eq!(shared.keys().count(), 3 + 1);
    }

    #[test]
    fn no_room_is_no_record() {
        let mut shared = Fake::default();
        assert!(!has_own(&mut shared, "ann", 0));
        assert_eq!(shared.keys().count(), 0);
    }

    #[test]
    fn one_that_another_worker_makes_first_counts_once() {
        let mut shared = Fake::default();
        assert!(has_own(&mut shared, "ann", 9));
        assert!(has_own(&mut shared, "ann", 9));
        assert_eq!(count(shared.value(COUNT).unwrap()), 1);
    }

    #[test]
    fn the_others_are_spread_over_all_that_they_share() {
        let names: BTreeSet<_> = (0..10_000)
            .map(|consumer| shared_name(&consumer.to_string()))
            .collect();
        assert_eq!(names.len(), SHARED);
        assert_eq!(shared_name("ann"), shared_name("ann"));
    }
}
