//! When not to ask: a service that is down costs each request its timeout only until that is known.
//!
//! One for each worker; no two of them have to agree. Knows nothing of what is asked.

use crate::time::Timestamp;

/// So many failures in a row open it.
const FAILURES: u8 = 3;
const SHORTEST_MS: u32 = 1_000;
const LONGEST_MS: u32 = 10_000;

/// Lets calls through until they fail, then one at a time to see whether that is over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Breaker {
    failures: u8,
    trial: bool,
    wait_ms: u32,
    until: Timestamp,
}

impl Breaker {
    /// Whether to call at all; who is permitted must say how it ended. A trial that is not heard of again (its stream
    /// may have gone) is given up after its timeout, or after a wait if that is longer.
    pub fn permits(&mut self, now: Timestamp, timeout_ms: u32) -> bool {
        if self.failures < FAILURES {
            return true;
        }
        // A clock that was set back does not keep it open: nothing is further ahead than this.
        let furthest = now.saturating_add_ms(self.wait_ms.max(timeout_ms).into());
        if now < self.until && self.until <= furthest {
            return false;
        }
        self.trial = true;
        self.until = furthest;
        true
    }

    /// An answer came, whatever it says.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// None came, or none that can be read.
    pub fn failed(&mut self, now: Timestamp) {
        if self.failures < FAILURES {
            self.failures = self.failures.saturating_add(1);
            if self.failures < FAILURES {
                return;
            }
            self.wait_ms = SHORTEST_MS;
        } else if self.trial {
            self.wait_ms = self.wait_ms.saturating_mul(2).min(LONGEST_MS);
        } else {
            return; // asked before it opened
        }
        self.trial = false;
        self.until = now.saturating_add_ms(self.wait_ms.into());
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]

    use super::*;
    use proptest::prelude::*;

    const TIMEOUT_MS: u32 = 100;

    fn opened(at: u64) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES {
            assert!(breaker.permits(Timestamp(at), TIMEOUT_MS));
            breaker.failed(Timestamp(at));
        }
        breaker
    }

    #[test]
    fn three_failures_in_a_row_open_it() {
        let mut breaker = Breaker::default();
        let now = Timestamp(0);
        for _ in 0..10 {
            breaker.failed(now);
            breaker.failed(now);
            assert!(breaker.permits(now, TIMEOUT_MS));
            breaker.succeeded();
        }
        assert!(!opened(0).permits(now, TIMEOUT_MS));
    }

    #[test]
    fn it_waits_longer_each_time_and_closes_at_once() {
        let mut breaker = opened(0);
        let mut now = 0;
        for wait in [1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
            assert!(
                !breaker.permits(Timestamp(now + wait - 1), TIMEOUT_MS),
                "{wait}"
            );
            now += wait;
            assert!(breaker.permits(Timestamp(now), TIMEOUT_MS), "{wait}");
            breaker.failed(Timestamp(now));
        }
        now += 10_000;
        assert!(breaker.permits(Timestamp(now), TIMEOUT_MS));
        breaker.succeeded();
        assert!(breaker.permits(Timestamp(now), TIMEOUT_MS));
        breaker.failed(Timestamp(now));
        assert!(breaker.permits(Timestamp(now), TIMEOUT_MS), "begins anew");
    }

    #[test]
    fn what_was_asked_before_does_not_make_it_wait_longer() {
        let mut breaker = opened(0);
        for _ in 0..200 {
            breaker.failed(Timestamp(900));
        }
        assert!(breaker.permits(Timestamp(1_000), TIMEOUT_MS));
    }

    #[test]
    fn one_trial_at_a_time_and_a_lost_one_is_given_up() {
        let mut breaker = opened(0);
        assert!(breaker.permits(Timestamp(1_000), 5_000));
        assert!(!breaker.permits(Timestamp(1_000), 5_000));
        assert!(!breaker.permits(Timestamp(5_999), 5_000));
        assert!(breaker.permits(Timestamp(6_000), 5_000));
    }

    #[test]
    fn a_clock_set_back_does_not_keep_it_open() {
        let mut breaker = opened(1_000_000);
        assert!(!breaker.permits(Timestamp(999_999 + 1_000), TIMEOUT_MS));
        assert!(breaker.permits(Timestamp(5), TIMEOUT_MS));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

        /// A service that is down for `down` ms: few wait for it, and soon after it is back it is asked again.
        #[test]
        fn few_wait_and_none_for_long(down in 1_u64..60_000, gaps in proptest::collection::vec(1_u64..200, 2_000)) {
            let mut breaker = Breaker::default();
            let (mut now, mut waited, mut back) = (0, 0, None);
            for gap in gaps {
                now += gap;
                if !breaker.permits(Timestamp(now), TIMEOUT_MS) {
                    continue;
                }
                if now < down {
                    waited += 1;
                    breaker.failed(Timestamp(now));
                } else {
                    breaker.succeeded();
                    back = back.or(Some(now));
                }
            }
            prop_assert!(waited <= 3 + 4 + down / 10_000 + 1, "{}", waited);
            if now > down + 10_200 {
                prop_assert!(back.unwrap() <= down + 10_200, "{:?}", back);
            }
        }
    }
}
