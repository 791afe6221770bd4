#![expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]

use super::*;
use proptest::prelude::*;

fn at(text: &str, offset: &str) -> Clock {
    let offset = UtcOffset::parse(offset).unwrap();
    Clock {
        now: Timestamp::parse_rfc3339(text, offset).unwrap(),
        offset,
    }
}

fn utc(ms: u64) -> Clock {
    Clock {
        now: Timestamp(ms),
        offset: UtcOffset(0),
    }
}

impl Clock {
    fn after(self, ms: u64) -> Self {
        Self {
            now: self.now.saturating_add_ms(ms),
            ..self
        }
    }
}

impl Buckets {
    fn used_at(&self, window: Window, clock: Clock) -> u64 {
        self.used(window, window.bucket(self.index, clock))
    }

    fn wait_for_at(&self, amount: u64, quota: u64, window: Window, clock: Clock) -> Option<u64> {
        self.wait_for(amount, quota, window, window.bucket(self.index, clock))
    }
}

/// Buckets of the moment.
fn filled(window: Window, clock: Clock, current: u64, previous: u64) -> Buckets {
    Buckets {
        index: window.index(clock),
        current,
        previous,
    }
}

fn rolled(mut buckets: Buckets, window: Window, clock: Clock) -> Buckets {
    buckets.roll(window, clock);
    buckets
}

fn passes(buckets: Buckets, amount: u64, quota: u64, window: Window, clock: Clock) -> bool {
    let used = rolled(buckets, window, clock).used_at(window, clock);
    u128::from(used) + u128::from(amount) <= u128::from(quota)
}

#[test]
fn buckets_begin_and_end_where_the_calendar_says() {
    let cases = [
        // window, offset, first moment, last millisecond
        (
            Window::Sliding(1),
            "Z",
            "2026-11-21T05:11:40Z",
            "2026-11-21T05:11:40.999Z",
        ),
        (
            Window::Sliding(60),
            "+05:45",
            "2026-11-21T05:11:00Z",
            "2026-11-21T05:11:59.999Z",
        ),
        (
            Window::Fixed(3600),
            "-03:30",
            "2026-11-21T05:00:00Z",
            "2026-11-21T05:59:59.999Z",
        ),
        (
            Window::Sliding(90),
            "Z",
            "1970-01-01T00:01:30Z",
            "1970-01-01T00:02:59.999Z",
        ),
        (
            Window::Day,
            "Z",
            "2026-11-21T00:00:00Z",
            "2026-11-21T23:59:59.999Z",
        ),
        (
            Window::Day,
            "+09:00",
            "2026-11-20T15:00:00Z",
            "2026-11-21T14:59:59.999Z",
        ),
        (
            Window::Day,
            "-03:30",
            "2026-12-31T03:30:00Z",
            "2027-01-01T03:29:59.999Z",
        ),
        (
            Window::Month,
            "Z",
            "2026-11-01T00:00:00Z",
            "2026-11-30T23:59:59.999Z",
        ),
        (
            Window::Month,
            "Z",
            "2024-02-01T00:00:00Z",
            "2024-02-29T23:59:59.999Z",
        ),
        (
            Window::Month,
            "Z",
            "2100-02-01T00:00:00Z",
            "2100-02-28T23:59:59.999Z",
        ),
        (
            Window::Month,
            "+14:00",
            "2026-12-31T10:00:00Z",
            "2027-01-31T09:59:59.999Z",
        ),
        (
            Window::Month,
            "-14:00",
            "2026-12-01T14:00:00Z",
            "2027-01-01T13:59:59.999Z",
        ),
    ];
    for (window, offset, first, last) in cases {
        let (first, last) = (at(first, offset), at(last, offset));
        let index = window.index(first);
        let edge = format!("{window:?} {offset} {first:?}");
        assert_eq!(window.index(last), index, "{edge}");
        assert_eq!(window.index(last.after(1)), index + 1, "{edge}");
        assert_eq!(
            window.index(Clock {
                now: Timestamp(first.now.0 - 1),
                ..first
            }),
            index - 1,
            "{edge}"
        );
        let bucket = window.bucket(index, first);
        assert_eq!(bucket.length, last.now.0 + 1 - first.now.0, "{edge}");
        assert_eq!(
            (bucket.remaining, bucket.lead),
            (bucket.length, 0),
            "{edge}"
        );
        assert_eq!(window.bucket(index, last).remaining, 1, "{edge}");
    }
}

#[test]
fn a_sliding_window_takes_the_previous_share_rounded_up() {
    let minute = Window::Sliding(60);
    let cases = [
        // milliseconds into the minute, current, previous, used
        (0, 0, 30, 30),
        (1, 0, 30, 30),
        (2_000, 0, 30, 29),
        (2_001, 0, 30, 29),
        (30_000, 5, 30, 20),
        (30_001, 5, 30, 20),
        (58_000, 0, 30, 1),
        (59_999, 0, 30, 1),
        (59_999, 7, 0, 7),
    ];
    for (ms, current, previous, used) in cases {
        let clock = utc(600_000 + ms);
        assert_eq!(
            filled(minute, clock, current, previous).used_at(minute, clock),
            used,
            "{ms}"
        );
        let fixed = Window::Fixed(60);
        assert_eq!(
            filled(fixed, clock, current, previous).used_at(fixed, clock),
            current,
            "{ms}"
        );
    }
}

#[test]
fn calendar_windows_start_empty() {
    let last = at("2026-11-30T23:59:59.999Z", "Z");
    for window in [Window::Day, Window::Month] {
        let full = filled(window, last, 10, 99);
        assert_eq!(full.used_at(window, last), 10);
        assert_eq!(full.wait_for_at(1, 10, window, last), Some(1));
        assert_eq!(
            rolled(full, window, last.after(1)).used_at(window, last.after(1)),
            0
        );
    }
    let noon = at("2026-11-30T12:00:00Z", "+09:00");
    assert_eq!(
        filled(Window::Day, noon, 10, 0).wait_for_at(1, 10, Window::Day, noon),
        Some(3 * 3_600_000)
    );
    let sixth_hour = at("2026-11-30T21:00:00Z", "+09:00");
    let december = filled(Window::Month, sixth_hour, 10, 0);
    let rest = (31 * 24 - 6) * 3_600_000;
    assert_eq!(
        december.wait_for_at(1, 10, Window::Month, sixth_hour),
        Some(rest)
    );
}

#[test]
fn what_can_never_pass_has_no_wait() {
    let clock = utc(90_000);
    for window in [
        Window::Sliding(60),
        Window::Fixed(60),
        Window::Day,
        Window::Month,
    ] {
        assert_eq!(
            filled(window, clock, 0, 0).wait_for_at(1, 0, window, clock),
            None
        );
        assert_eq!(
            filled(window, clock, 0, 0).wait_for_at(6, 5, window, clock),
            None
        );
        assert_eq!(
            filled(window, clock, 0, 0).wait_for_at(5, 5, window, clock),
            Some(0)
        );
    }
}

#[test]
fn rolling_moves_the_current_bucket_on_and_forgets_older_ones() {
    let minute = Window::Sliding(60);
    let buckets = filled(minute, utc(60_000), 3, 4);
    assert_eq!(rolled(buckets, minute, utc(119_999)), buckets);
    assert_eq!(
        rolled(buckets, minute, utc(120_000)),
        filled(minute, utc(120_000), 0, 3)
    );
    assert_eq!(
        rolled(buckets, minute, utc(180_000)),
        filled(minute, utc(180_000), 0, 0)
    );
}

#[test]
fn a_clock_set_back_frees_and_loses_nothing() {
    let minute = Window::Sliding(60);
    let buckets = filled(minute, utc(120_000), 3, 4);
    let before = utc(119_000);
    assert_eq!(rolled(buckets, minute, before), buckets);
    assert_eq!(buckets.used_at(minute, before), 7);
    assert_eq!(
        buckets.wait_for_at(1, 7, minute, before),
        Some(1_000 + 15_000)
    );
    assert_eq!(
        buckets.wait_for_at(7, 7, minute, before),
        Some(1_000 + 60_000 + 60_000)
    );
    let fixed = Window::Fixed(60);
    assert_eq!(
        buckets.wait_for_at(1, 3, fixed, before),
        Some(1_000 + 60_000)
    );
    // The lesser ones of a minute stay as well, so that a stalled worker cannot throw away what others counted since.
    let (second, at_three) = (Window::Sliding(1), utc(3_000));
    let buckets_of_seconds = filled(second, utc(63_999), 3, 4);
    assert_eq!(
        rolled(buckets_of_seconds, second, at_three),
        buckets_of_seconds
    );
    assert_eq!(
        buckets_of_seconds.wait_for_at(4, 7, second, at_three),
        Some(60_000 + 1_000)
    );
    assert_eq!(
        rolled(buckets_of_seconds, second, utc(2_999)),
        filled(second, utc(2_999), 7, 0)
    );
    // Further back: counted from then on, and freed in its time.
    let long_before = utc(59_000);
    let back = rolled(buckets, minute, long_before);
    assert_eq!(
        back,
        Buckets {
            index: 0,
            current: 7,
            previous: 0
        }
    );
    assert_eq!(
        rolled(back, minute, utc(120_000)).used_at(minute, utc(120_000)),
        0
    );
}

#[test]
fn the_ends_of_all_numbers_are_no_panic() {
    let ends = [0, 1, u64::MAX - 1, u64::MAX];
    for window in [
        Window::Sliding(0),
        Window::Sliding(u32::MAX),
        Window::Fixed(0),
        Window::Day,
        Window::Week,
        Window::Month,
        Window::Total,
    ] {
        for now in ends {
            for offset in [i32::MIN, 0, i32::MAX] {
                let clock = Clock {
                    now: Timestamp(now),
                    offset: UtcOffset(offset),
                };
                for index in [i64::MIN, 0, i64::MAX] {
                    let buckets = Buckets {
                        index,
                        current: u64::MAX,
                        previous: u64::MAX,
                    };
                    let buckets = rolled(buckets, window, clock);
                    let _ = buckets.used_at(window, clock);
                    for quota in ends {
                        let wait = buckets.wait_for_at(1, quota, window, clock);
                        assert!(window == Window::Total || wait.is_some() == (quota > 0));
                    }
                }
            }
        }
    }
}

#[test]
fn weeks_begin_on_monday_and_a_total_never_ends() {
    // 2026-11-21 is a Saturday; Monday begins in +09:00 while it is Sunday 15:00 in UTC.
    let clock = |ms, hours: i32| Clock {
        now: Timestamp(ms),
        offset: UtcOffset(hours * 3_600),
    };
    let saturday_noon = 1_795_262_400_000;
    let full = |window, clock| filled(window, clock, 10, 0);
    let wait = |window, clock| full(window, clock).wait_for_at(1, 10, window, clock);
    let hours = |hours: u64| Some(hours * 3_600_000);
    assert_eq!(wait(Window::Week, clock(saturday_noon, 0)), hours(36));
    assert_eq!(wait(Window::Week, clock(saturday_noon, 9)), hours(27));
    assert_eq!(wait(Window::Total, clock(saturday_noon, 0)), None);
    let mut total = full(Window::Total, clock(0, 0));
    total.roll(Window::Total, clock(saturday_noon, 9));
    assert_eq!(total.used_at(Window::Total, clock(saturday_noon, 9)), 10);
}

fn windows() -> impl Strategy<Value = Window> {
    prop_oneof![
        (1..=3600_u32).prop_map(Window::Sliding),
        (1..=3600_u32).prop_map(Window::Fixed),
        Just(Window::Day),
        Just(Window::Week),
        Just(Window::Month),
    ]
}

/// Small numbers, where rounding shows, and any.
fn counts() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 0..50_u64, 2 => 0..10_000_000_u64, 1 => any::<u64>()]
}

prop_compose! {
    fn clocks()(ms in 0..4_102_444_800_000_u64, quarters in -56..=56_i32) -> Clock {
        Clock { now: Timestamp(ms), offset: UtcOffset(quarters * 900) }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_share_is_the_least_whole_number_that_covers_it(
        seconds in 1..=3600_u32, clock in clocks(), current in 0..u64::MAX / 2, previous in 0..u64::MAX / 2,
    ) {
        let window = Window::Sliding(seconds);
        let length = u128::from(seconds) * 1_000;
        let remaining = length - u128::from(clock.now.0) % length;
        let share = u128::from(filled(window, clock, current, previous).used_at(window, clock) - current);
        let exact = u128::from(previous) * remaining;
        prop_assert!(share * length >= exact);
        prop_assert!(share == 0 || (share - 1) * length < exact);
    }

    #[test]
    fn the_wait_is_exact(
        window in windows(), clock in clocks(), current in counts(), previous in counts(),
        amount in counts(), spare in counts(), ahead in 0..=1_i64,
    ) {
        let mut buckets = filled(window, clock, current, previous);
        buckets.index += ahead;
        let quota = amount.saturating_add(spare);
        let wait = buckets.wait_for_at(amount, quota, window, clock).unwrap();
        prop_assert!(passes(buckets, amount, quota, window, clock.after(wait)));
        if wait > 0 {
            prop_assert!(!passes(buckets, amount, quota, window, clock.after(wait - 1)));
            prop_assert!(!passes(buckets, amount, quota, window, clock));
        }
    }

    #[test]
    fn rolling_in_steps_is_rolling_at_once(
        window in windows(), clock in clocks(), current in counts(), previous in counts(), step in 0..10_000_000_u64, more in 0..10_000_000_u64,
    ) {
        let buckets = filled(window, clock, current, previous);
        let step_by_step = rolled(rolled(buckets, window, clock.after(step)), window, clock.after(step + more));
        prop_assert_eq!(step_by_step, rolled(buckets, window, clock.after(step + more)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Every millisecond, so that nothing rests on usage only ever falling.
    #[test]
    fn nothing_passes_before_the_wait_is_over(
        ms in 0..5_000_u64, current in 0..30_u64, previous in 0..30_u64, amount in 1..10_u64, spare in 0..20_u64, ahead in 0..=3_i64,
    ) {
        let (window, clock) = (Window::Sliding(1), utc(ms));
        let mut buckets = filled(window, clock, current, previous);
        buckets.index += ahead;
        let brute = (0..=6_000).find(|&wait| passes(buckets, amount, amount + spare, window, clock.after(wait)));
        prop_assert_eq!(buckets.wait_for_at(amount, amount + spare, window, clock), brute);
    }
}
