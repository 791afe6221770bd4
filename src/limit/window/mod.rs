//! What a window holds, what one more would do to it, and when it frees.
//!
//! Every window is a row of buckets, numbered by arithmetic on the clock alone, so nothing ever has to be reset.
//! Only the bucket of `now` and the one before it matter. Knows nothing of where they are stored.

use super::Window;
use crate::time::{Date, LocalTime, Timestamp, UtcOffset, times};

/// The time of a decision, and where on Earth its days begin.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The moment.
    pub now: Timestamp,
    /// Time zone of the day and month windows.
    pub offset: UtcOffset,
}

impl Clock {
    fn now_ms(self) -> i64 {
        LocalTime::new(self.now, UtcOffset(0)).utc_ms()
    }

    fn today(self) -> i64 {
        LocalTime::new(self.now, self.offset).days()
    }
}

/// What was counted in one bucket of a window and in the one before it.
///
/// `used` and `wait_for` speak of the buckets as they are: [`roll`](Self::roll) them to the clock first. Where that leaves
/// the clock in them is worked out once, and handed to those.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Buckets {
    /// Number of the current bucket.
    pub(crate) index: i64,
    /// Counted in it.
    pub(crate) current: u64,
    /// Counted in the bucket before.
    pub(crate) previous: u64,
}

impl Buckets {
    /// Moves on to the bucket of `clock`.
    ///
    /// A clock that was set back neither frees nor loses anything. A little back (workers that see a boundary in
    /// different order do that all the time) the stored bucket stays the current one. Further back, all that was counted
    /// moves into the bucket of `clock`: better counted too long than locked until the old time comes round again.
    pub(crate) fn roll(&mut self, window: Window, clock: Clock) -> Bucket {
        // As a rule it is the bucket of `clock` already, and to see that takes no division.
        if let Some(bucket) = window.current(self.index, clock) {
            return bucket;
        }
        let now = window.index(clock);
        let (current, previous) = match now.saturating_sub(self.index) {
            1 => (0, self.current),
            2.. => (0, 0),
            _ if self.index.saturating_sub(now) <= window.tolerated_lead() => {
                return window.bucket(self.index, clock);
            }
            _ => (self.current.saturating_add(self.previous), 0),
        };
        *self = Self {
            index: now,
            current,
            previous,
        };
        window.bucket(now, clock)
    }

    /// How much of the quota is taken at this moment.
    pub(crate) fn used(&self, window: Window, bucket: Bucket) -> u64 {
        let Window::Sliding(_) = window else {
            return self.current;
        };
        let share = match self.previous {
            0 => 0,
            previous => mul_div(previous, bucket.remaining, bucket.length, Round::Up),
        };
        self.current.saturating_add(share)
    }

    /// How many milliseconds until `amount` more fits into `quota`, if nothing else is counted meanwhile.
    ///
    /// Exact: it fits then, and did not a millisecond earlier. `None` if it never does.
    pub(crate) fn wait_for(
        &self,
        amount: u64,
        quota: u64,
        window: Window,
        bucket: Bucket,
    ) -> Option<u64> {
        let allowed = quota.checked_sub(amount)?;
        let Bucket {
            remaining,
            length,
            lead,
            ..
        } = bucket;
        let Window::Sliding(_) = window else {
            let fits = self.current <= allowed;
            return match (fits, window) {
                (true, _) => Some(0),
                (false, Window::Total) => None,
                _ => Some(lead.saturating_add(remaining)),
            };
        };
        // `previous * remaining / length`, rounded up, is within the room as long as `remaining` is at most this:
        let longest = |previous: u64, room: u64| match previous {
            0 => length,
            _ => mul_div(room, length, previous, Round::Down).min(length),
        };
        let wait = match allowed.checked_sub(self.current) {
            Some(room) => match remaining.saturating_sub(longest(self.previous, room)) {
                0 => return Some(0),
                wait => wait,
            },
            // Not before the next bucket, where this one's `current` is `previous`.
            None => remaining
                .saturating_add(length)
                .saturating_sub(longest(self.current, allowed)),
        };
        Some(lead.saturating_add(wait))
    }

    /// How many milliseconds until nothing in it weighs any more, if nothing else is counted meanwhile.
    pub(crate) fn clears_in(&self, window: Window, bucket: Bucket) -> u64 {
        let Bucket {
            remaining,
            length,
            lead,
            ..
        } = bucket;
        let sliding = matches!(window, Window::Sliding(_));
        match (self.current, self.previous) {
            (1.., _) if sliding => lead.saturating_add(remaining).saturating_add(length),
            (1.., _) => lead.saturating_add(remaining),
            (0, 1..) if sliding => lead.saturating_add(remaining),
            _ => 0,
        }
    }

    /// Takes an amount out of the bucket that it went into. One that is past has taken it along already.
    pub(crate) fn take(&mut self, bucket: i64, amount: u64) {
        match self.index.saturating_sub(bucket) {
            1 => self.previous = self.previous.saturating_sub(amount),
            // A bucket yet to come: the clock was set back, and what was in it is in the current one.
            ..=0 => self.current = self.current.saturating_sub(amount),
            2.. => {}
        }
    }

    /// Whether there is anything in it.
    pub(crate) const fn weighs(&self) -> bool {
        self.current > 0 || self.previous > 0
    }

    /// Whether anything in it still counts.
    pub(crate) const fn is_live(&self, window: Window) -> bool {
        self.current > 0 || (self.previous > 0 && !window.is_calendar())
    }
}

/// Where `now` is in a bucket; milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    /// How long the bucket is.
    length: u64,
    /// What is left of it: 1 to `length`.
    remaining: u64,
    /// How long until it begins, if the clock was set back; its beginning stands in for `now` then.
    lead: u64,
}

impl Window {
    /// Number of the bucket that holds the moment.
    pub(crate) fn index(self, clock: Clock) -> i64 {
        match self {
            Self::Day => clock.today(),
            Self::Fixed(seconds) | Self::Sliding(seconds) => {
                clock.now_ms().div_euclid(length_ms(seconds))
            }
            Self::InFlight | Self::Total => 0,
            Self::Month => Date::from_days(clock.today()).months_since_epoch(),
            // The epoch began on a Thursday.
            Self::Week => clock.today().saturating_add(3).div_euclid(7),
        }
    }

    /// The moment a bucket begins; milliseconds, negative before the epoch.
    fn start_ms(self, index: i64, offset: UtcOffset) -> i64 {
        let days = match self {
            Self::Fixed(seconds) | Self::Sliding(seconds) => {
                return times(index, length_ms(seconds));
            }
            Self::InFlight | Self::Total => return index.saturating_mul(i64::MAX),
            Self::Week => index.saturating_mul(7).saturating_sub(3),
            Self::Day => index,
            Self::Month => Date::first_of_month(index).days_since_epoch(),
        };
        LocalTime::midnight(days, offset).utc_ms()
    }

    /// The bucket, if it is one of a fixed length that holds the moment.
    fn current(self, index: i64, clock: Clock) -> Option<Bucket> {
        let (length, offset) = match self {
            Self::Fixed(seconds) | Self::Sliding(seconds) => (length_ms(seconds), UtcOffset(0)),
            Self::Day => (DAY_MS, clock.offset),
            _ => return None,
        };
        // A number that has nothing to do with the moment gives a beginning that has not either, overflow or not.
        let start = index.wrapping_mul(length).wrapping_sub(offset.ms());
        let passed = clock.now.0.wrapping_sub(start.cast_unsigned());
        let length = length.cast_unsigned();
        (passed < length).then(|| Bucket {
            length,
            remaining: length.wrapping_sub(passed),
            lead: 0,
        })
    }

    pub(crate) fn bucket(self, index: i64, clock: Clock) -> Bucket {
        let start = self.start_ms(index, clock.offset);
        let end = match self {
            Self::Fixed(seconds) | Self::Sliding(seconds) => {
                start.saturating_add(length_ms(seconds))
            }
            Self::Day => start.saturating_add(DAY_MS),
            _ => self.start_ms(index.saturating_add(1), clock.offset),
        };
        let now = clock.now_ms();
        let span = |from: i64, to: i64| u64::try_from(to.saturating_sub(from)).unwrap_or(0);
        let length = span(start, end).max(1);
        Bucket {
            length,
            remaining: span(now, end).clamp(1, length),
            lead: span(now, start),
        }
    }

    /// How many buckets the clock may seem to be behind without having been set: one, or a minute of shorter ones,
    /// for a worker that was stalled between reading the clock and writing what it counted.
    fn tolerated_lead(self) -> i64 {
        match self {
            Self::Day | Self::InFlight | Self::Month | Self::Total | Self::Week => 1,
            Self::Fixed(seconds) | Self::Sliding(seconds) => {
                60_000_i64.div_euclid(length_ms(seconds)).max(1)
            }
        }
    }

    /// Whether its buckets are days or months; those start empty.
    pub(crate) const fn is_calendar(self) -> bool {
        matches!(self, Self::Day | Self::Month | Self::Week)
    }
}

const DAY_MS: i64 = 86_400_000;

fn length_ms(seconds: u32) -> i64 {
    // Far from the greatest number.
    i64::from(seconds.max(1)).wrapping_mul(1_000)
}

#[derive(Clone, Copy)]
enum Round {
    Down,
    Up,
}

/// `a * b / by`, rounded, or the greatest number there is.
fn mul_div(a: u64, b: u64, by: u64, round: Round) -> u64 {
    let by = by.max(1);
    // As a rule the product is no larger than the factors.
    if let (Ok(a), Ok(b)) = (u32::try_from(a), u32::try_from(b)) {
        let product = u64::from(a).saturating_mul(b.into());
        return match round {
            Round::Down => product.div_euclid(by),
            Round::Up => product.div_ceil(by),
        };
    }
    let (product, by) = (u128::from(a).saturating_mul(b.into()), by.into());
    let result = match round {
        Round::Down => product.div_euclid(by),
        Round::Up => product.div_ceil(by),
    };
    u64::try_from(result).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
