//! Points in time as the host gives them, and the little calendar that windows and dates need.
//!
//! Proleptic Gregorian, UTC and fixed offsets only: no time zone database, and no clock is ever read here.

use std::fmt;

const MS_PER_SECOND: i64 = 1_000;
const MS_PER_DAY: i64 = 86_400_000;

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The moment `ms` later, or the last one there is.
    #[must_use]
    pub const fn saturating_add_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Whole seconds since the epoch.
    pub const fn seconds(self) -> u64 {
        self.0 / 1_000
    }

    /// Reads an [RFC 3339] date-time, or a plain `YYYY-MM-DD`: midnight at `offset`.
    ///
    /// Digits beyond milliseconds are dropped; a leap second counts as the second after it.
    /// `None` also for moments before 1970.
    ///
    /// [RFC 3339]: https://www.rfc-editor.org/rfc/rfc3339#section-5.6
    pub fn parse_rfc3339(text: &str, offset: UtcOffset) -> Option<Self> {
        let mut text = Scanner(text.as_bytes());
        let year = text.number(4)?;
        text.one_of(b"-")?;
        let month = text.number(2)?;
        text.one_of(b"-")?;
        let date = Date::new(year, month, text.number(2)?)?;
        let midnight = date.days_since_epoch().saturating_mul(MS_PER_DAY);
        if text.is_empty() {
            return Self::from_ms(midnight.saturating_sub(offset.ms()));
        }
        text.one_of(b"Tt ")?; // section 5.6 lets applications take a space
        let (hour, minute) = text.hour_and_minute()?;
        text.one_of(b":")?;
        let second = text.number(2).filter(|&second| second <= 60)?;
        let fraction = text.fraction()?;
        let offset = text.offset()?;
        if !text.is_empty() {
            return None;
        }
        let seconds = hour
            .saturating_mul(3600)
            .saturating_add(minute.saturating_mul(60))
            .saturating_add(second);
        let whole = midnight
            .saturating_add(seconds.saturating_mul(MS_PER_SECOND))
            .saturating_sub(offset.ms());
        if second == 60 && whole.rem_euclid(MS_PER_DAY) != 0 {
            return None; // leap seconds end a day in UTC
        }
        Self::from_ms(whole.saturating_add(fraction))
    }

    fn from_ms(ms: i64) -> Option<Self> {
        u64::try_from(ms).ok().map(Self)
    }
}

impl Timestamp {
    /// RFC 3339 in UTC with milliseconds, as [`fmt::Display`] has it; of the year the last four digits.
    ///
    /// Every event has one: pairs of digits put in their places are a tenth of the work of as many arguments to format.
    pub fn rfc3339(self) -> [u8; 24] {
        let local = LocalTime::new(self, UtcOffset::default());
        let Date { year, month, day } = Date::from_days(local.days());
        let ms = u32::try_from(local.ms_of_day()).unwrap_or(0);
        let year = u32::try_from(year).unwrap_or(0);
        let [month, day] = [month, day].map(|part| u32::try_from(part).unwrap_or(0));
        let mut text = *b"0000-00-00T00:00:00.000Z";
        for (at, value) in [
            (0, year / 100),
            (2, year),
            (5, month),
            (8, day),
            (11, ms / 3_600_000),
            (14, ms / 60_000 % 60),
            (17, ms / 1_000 % 60),
            (20, ms / 10 % 100),
            (21, ms),
        ] {
            let place = text.get_mut(at..).and_then(<[u8]>::first_chunk_mut);
            if let Some([tens, ones]) = place {
                let digit = |value: u32| b'0' | (value % 10).to_le_bytes()[0];
                (*tens, *ones) = (digit(value / 10), digit(value));
            }
        }
        text
    }
}

/// RFC 3339 in UTC with milliseconds: `2026-11-21T05:11:40.123Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local = LocalTime::new(*self, UtcOffset::default());
        let years = Date::from_days(local.days()).year / 10_000;
        if years > 0 {
            write!(f, "{years}")?;
        }
        f.write_str(std::str::from_utf8(&self.rfc3339()).unwrap_or_default())
    }
}

/// A fixed offset from UTC in seconds, east positive (`timezone: "+09:00"`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct UtcOffset(pub i32);

impl UtcOffset {
    /// The furthest that any place on Earth is from UTC.
    const MAX_SECONDS: u32 = 14 * 3600;

    /// Reads `+09:00`, `-03:30`, `Z` or `UTC`, at most 14 hours either way.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "UTC" || text == "Z" {
            return Some(Self(0));
        }
        let mut text = Scanner(text.as_bytes());
        let offset = text
            .offset()
            .filter(|offset| offset.0.unsigned_abs() <= Self::MAX_SECONDS)?;
        text.is_empty().then_some(offset)
    }

    pub(crate) fn ms(self) -> i64 {
        // Far from the greatest number.
        i64::from(self.0).wrapping_mul(MS_PER_SECOND)
    }
}

/// A moment as a clock on the wall shows it: milliseconds since 1970-01-01T00:00 there.
#[derive(Clone, Copy)]
pub(crate) struct LocalTime {
    ms: i64,
    offset: UtcOffset,
}

impl LocalTime {
    pub(crate) fn new(at: Timestamp, offset: UtcOffset) -> Self {
        let ms = i64::try_from(at.0)
            .unwrap_or(i64::MAX)
            .saturating_add(offset.ms());
        Self { ms, offset }
    }

    /// Midnight at the start of a day, counted from 1970-01-01.
    pub(crate) fn midnight(days: i64, offset: UtcOffset) -> Self {
        Self {
            ms: times(days, MS_PER_DAY),
            offset,
        }
    }

    /// The day it falls on, counted from 1970-01-01.
    pub(crate) const fn days(self) -> i64 {
        self.ms.div_euclid(MS_PER_DAY)
    }

    /// Milliseconds since the epoch in UTC; negative before it.
    pub(crate) fn utc_ms(self) -> i64 {
        self.ms.saturating_sub(self.offset.ms())
    }

    const fn ms_of_day(self) -> i64 {
        self.ms.rem_euclid(MS_PER_DAY)
    }
}

/// `a * b`, or the nearest number there is. To see that a product is too large takes one of 128 bits; that of such small
/// numbers is not.
pub(crate) fn times(a: i64, b: i64) -> i64 {
    if i32::try_from(a).is_ok() && u32::try_from(b).is_ok() {
        a.wrapping_mul(b)
    } else {
        a.saturating_mul(b)
    }
}

/// A day of the calendar; the month and the day count from 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Date {
    pub(crate) year: i64,
    pub(crate) month: i64,
    pub(crate) day: i64,
}

/// Days in 400 years, after which the calendar repeats.
const DAYS_PER_ERA: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const DAYS_TO_EPOCH: i64 = 719_468;

// Years are counted from March, as in Howard Hinnant's `days_from_civil`: the leap day is then the last of its year,
// and the lengths of the months repeat every five (31, 30, 31, 30, 31), which is what `153 * month / 5` adds up.
impl Date {
    /// `None` if there is no such day.
    fn new(year: i64, month: i64, day: i64) -> Option<Self> {
        let date = Self { year, month, day };
        ((1..=12).contains(&month) && Self::from_days(date.days_since_epoch()) == date)
            .then_some(date)
    }

    /// Days since 1970-01-01.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "a year has four digits or comes from a timestamp: far from i64"
    )]
    pub(crate) const fn days_since_epoch(self) -> i64 {
        let (year, month) = if self.month > 2 {
            (self.year, self.month - 3)
        } else {
            (self.year - 1, self.month + 9)
        };
        let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
        let day_of_year = (153 * month + 2) / 5 + self.day - 1;
        era * DAYS_PER_ERA + year * 365 + year / 4 - year / 100 + day_of_year - DAYS_TO_EPOCH
    }

    /// Months since January 1970.
    #[expect(clippy::arithmetic_side_effects, reason = "as above")]
    pub(crate) const fn months_since_epoch(self) -> i64 {
        (self.year - 1970) * 12 + self.month - 1
    }

    /// The first day of the month that is so many after January 1970.
    pub(crate) const fn first_of_month(months: i64) -> Self {
        let year = months.div_euclid(12).saturating_add(1970);
        Self {
            year,
            month: months.rem_euclid(12).saturating_add(1),
            day: 1,
        }
    }

    /// The day that is `days` after 1970-01-01.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "an i64 of milliseconds has fewer than 2^37 days"
    )]
    pub(crate) const fn from_days(days: i64) -> Self {
        let days = days + DAYS_TO_EPOCH;
        let (era, day) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
        // Take the leap days out (one in 1,461 days but for centuries), and 365 divides what is left.
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let (year, month) = if month < 10 {
            (year, month + 3)
        } else {
            (year + 1, month - 9)
        };
        Self {
            year: era * 400 + year,
            month,
            day,
        }
    }
}

/// Takes a date-time apart from the left.
struct Scanner<'a>(&'a [u8]);

impl Scanner<'_> {
    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn one_of(&mut self, accepted: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        let first = accepted.contains(first).then_some(*first)?;
        self.0 = rest;
        Some(first)
    }

    /// Exactly so many digits.
    fn number(&mut self, digits: usize) -> Option<i64> {
        (0..digits).try_fold(0_i64, |number, _| {
            let digit = self.one_of(b"0123456789")?.wrapping_sub(b'0');
            Some(number.saturating_mul(10).saturating_add(i64::from(digit)))
        })
    }

    fn hour_and_minute(&mut self) -> Option<(i64, i64)> {
        let hour = self.number(2).filter(|&hour| hour < 24)?;
        self.one_of(b":")?;
        let minute = self.number(2).filter(|&minute| minute < 60)?;
        Some((hour, minute))
    }

    /// The milliseconds of an optional fraction; a dot without digits is an error.
    fn fraction(&mut self) -> Option<i64> {
        if self.one_of(b".").is_none() {
            return Some(0);
        }
        let mut ms = self.number(1)?.saturating_mul(100);
        for place in [10, 1] {
            ms = ms.saturating_add(self.number(1).unwrap_or(0).saturating_mul(place));
        }
        while self.number(1).is_some() {}
        Some(ms)
    }

    fn offset(&mut self) -> Option<UtcOffset> {
        let sign = match self.one_of(b"Zz+-")? {
            b'+' => 1,
            b'-' => -1,
            _ => return Some(UtcOffset(0)),
        };
        let (hours, minutes) = self.hour_and_minute()?;
        let seconds = hours
            .saturating_mul(3600)
            .saturating_add(minutes.saturating_mul(60))
            .saturating_mul(sign);
        i32::try_from(seconds).ok().map(UtcOffset)
    }
}

#[cfg(test)]
mod tests;
