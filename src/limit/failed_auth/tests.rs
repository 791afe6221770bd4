use super::*;
use crate::limit::shared_data::fake::{Contended, Fake};
use std::cell::RefCell;
use std::collections::BTreeSet;

const NOW: Timestamp = Timestamp(1_795_262_410_000); // ten seconds into a minute
const OVER: Verdict = Verdict::Over {
    retry_after_ms: 50_000,
};

fn fail(shared: &mut impl SharedData, address: &str) -> Verdict {
    check_and_count(shared, address.as_bytes(), 3, NOW)
}

#[test]
fn an_address_has_its_failures_a_minute() {
    let mut shared = Fake::default();
    for _ in 0..3 {
        assert_eq!(fail(&mut shared, "192.0.2.1"), Verdict::Within);
    }
    let sets = shared.sets;
    assert_eq!(fail(&mut shared, "192.0.2.1"), OVER);
    assert_eq!(fail(&mut shared, "192.0.2.1"), OVER);
    assert_eq!(shared.sets, sets, "over: nothing is written");
    assert_eq!(fail(&mut shared, "192.0.2.2"), Verdict::Within);
    let last = Timestamp(NOW.0 + 49_999);
    assert_eq!(
        check_and_count(&mut shared, b"192.0.2.1", 3, last),
        Verdict::Over { retry_after_ms: 1 }
    );
    let next = Timestamp(NOW.0 + 50_000);
    assert_eq!(
        check_and_count(&mut shared, b"192.0.2.1", 3, next),
        Verdict::Within
    );
    // A worker that still is in the minute before counts in the new one.
    assert_eq!(
        check_and_count(&mut shared, b"192.0.2.1", 3, last),
        Verdict::Within
    );
    assert_eq!(
        check_and_count(&mut shared, b"192.0.2.1", 3, next),
        Verdict::Within
    );
    assert_eq!(
        check_and_count(&mut shared, b"192.0.2.1", 3, next),
        Verdict::Over {
            retry_after_ms: 60_000
        }
    );
    assert_eq!(
        check_and_count(&mut shared, b"192.0.2.1", 3, last),
        Verdict::Over {
            retry_after_ms: 60_001
        }
    );
}

#[test]
fn a_limit_of_none_is_off() {
    let mut shared = Fake::default();
    assert_eq!(
        check_and_count(&mut shared, b"192.0.2.1", 0, NOW),
        Verdict::Within
    );
    assert_eq!((shared.gets.get(), shared.sets), (0, 0));
}

#[test]
fn a_flood_of_addresses_neither_grows_the_table_nor_washes_out_who_guesses() {
    let mut shared = Fake::default();
    for _ in 0..3 {
        fail(&mut shared, "192.0.2.1");
    }
    for address in 0..20_000 {
        fail(&mut shared, &format!("flood {address}"));
    }
    assert_eq!(fail(&mut shared, "192.0.2.1"), OVER);
    let keys: BTreeSet<_> = shared.keys().map(str::to_owned).collect();
    assert_eq!(
        keys,
        (0..64)
            .map(|slot| format!("cohort/1/auth/{slot}"))
            .collect()
    );
    assert!(
        keys.iter()
            .all(|key| shared.value(key).unwrap().len() == 1 + 64 * 24)
    );
    // The next minute finds room again.
    let next = Timestamp(NOW.0 + 60_000);
    for address in ["a", "b", "c"] {
        for _ in 0..3 {
            assert_eq!(
                check_and_count(&mut shared, address.as_bytes(), 3, next),
                Verdict::Within
            );
        }
        assert_eq!(
            check_and_count(&mut shared, address.as_bytes(), 3, next),
            OVER
        );
    }
}

#[test]
fn no_failure_is_lost_when_workers_interleave() {
    let shared = RefCell::new(Fake::default());
    let mut once = true;
    let others = |shared: &mut Fake| {
        if std::mem::take(&mut once) {
            assert_eq!(fail(shared, "192.0.2.1"), Verdict::Within);
        }
    };
    let mut contended = Contended {
        shared: &shared,
        others,
    };
    assert_eq!(fail(&mut contended, "192.0.2.1"), Verdict::Within);
    assert_eq!(fail(&mut contended, "192.0.2.1"), Verdict::Within);
    assert_eq!(fail(&mut contended, "192.0.2.1"), OVER);
}

#[test]
fn broken_records_start_anew() {
    for bytes in [
        &b""[..],
        b"\x01",
        &[1; 1537],
        &[2; 1537],
        &[255; 1537],
        &[1; 1538],
    ] {
        let mut shared = Fake::default();
        for slot in 0..64 {
            shared.put(&format!("cohort/1/auth/{slot}"), bytes);
        }
        assert_eq!(fail(&mut shared, "192.0.2.1"), Verdict::Within);
        assert_eq!(
            check_and_count(&mut shared, b"192.0.2.1", 3, Timestamp(u64::MAX)),
            Verdict::Within
        );
    }
}
