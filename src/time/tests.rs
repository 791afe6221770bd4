use super::*;
use proptest::prelude::*;

fn utc(text: &str) -> Option<u64> {
    Timestamp::parse_rfc3339(text, UtcOffset(0)).map(|at| at.0)
}

#[test]
fn the_calendar_agrees_with_counting_days() {
    let (mut date, mut last) = (
        Date {
            year: 1600,
            month: 1,
            day: 1,
        },
        31,
    );
    for days in -135_140..250_000 {
        assert_eq!(Date::from_days(days), date);
        assert_eq!(date.days_since_epoch(), days);
        date.day += 1;
        if date.day > last {
            date = Date {
                month: date.month + 1,
                day: 1,
                ..date
            };
            if date.month > 12 {
                date = Date {
                    year: date.year + 1,
                    month: 1,
                    day: 1,
                };
            }
            let leap = date.year % 4 == 0 && (date.year % 100 != 0 || date.year % 400 == 0);
            last = match date.month {
                2 => 28 + i64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            assert_eq!(Date::first_of_month(date.months_since_epoch()), date);
        }
    }
    assert_eq!(
        Date::from_days(0),
        Date {
            year: 1970,
            month: 1,
            day: 1
        }
    );
}

#[test]
fn reads_date_times() {
    let cases = [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01", 0),
        ("2026-11-21T05:11:40.123Z", 1_795_237_900_123),
        ("2026-11-21t05:11:40.123z", 1_795_237_900_123),
        ("2026-11-21 14:11:40.1239999+09:00", 1_795_237_900_123),
        ("2026-11-21T01:41:40.1-03:30", 1_795_237_900_100),
        ("2026-11-20T05:12:40.12-23:59", 1_795_237_900_120),
        ("2026-11-21T05:11:40-00:00", 1_795_237_900_000),
        ("1969-12-31T23:00:00-01:00", 0),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ("2017-01-01T08:59:60.5+09:00", 1_483_228_800_500),
        ("2024-02-29", 1_709_164_800_000),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    ];
    for (text, ms) in cases {
        assert_eq!(utc(text), Some(ms), "{text}");
    }
}

#[test]
fn refuses_what_is_no_date_time() {
    let cases = [
        "",
        "2026",
        "2026-11-21T",
        "2026-11-21T05:11Z",
        "2026-11-21T05:11:40",
        "2026-11-21T05:11:40.Z",
        "2026-11-21T05:11:40,5Z",
        "2026-11-21T05:11:40Z ",
        " 2026-11-21",
        "2026-11-21T05:11:40+0900",
        "2026-11-21T05:11:40+24:00",
        "2026-11-21T05:11:40+09:60",
        "2026-11-21T24:00:00Z",
        "2026-11-21T23:60:00Z",
        "2026-11-21T23:59:61Z",
        "2026-11-21T12:59:60Z",
        "2026-00-01",
        "2026-13-01",
        "2026-01-00",
        "2026-01-32",
        "2026-02-29",
        "1900-02-29",
        "2026-1-1",
        "+2026-01-01",
        "-026-01-01",
        "1969-12-31",
        "1969-12-31T23:59:59.999Z",
        "1970-01-01T00:00:00+00:01",
        "２026-11-21",
    ];
    for text in cases {
        assert_eq!(utc(text), None, "{text}");
    }
}

#[test]
fn a_plain_date_begins_at_midnight_of_the_configured_offset() {
    let parse =
        |offset| Timestamp::parse_rfc3339("2026-11-21", UtcOffset(offset)).map(|at| at.to_string());
    assert_eq!(parse(9 * 3600).as_deref(), Some("2026-11-20T15:00:00.000Z"));
    assert_eq!(parse(-12_600).as_deref(), Some("2026-11-21T03:30:00.000Z"));
    assert_eq!(Timestamp::parse_rfc3339("1970-01-01", UtcOffset(1)), None);
}

#[test]
fn offsets() {
    let cases = [
        ("Z", Some(0)),
        ("UTC", Some(0)),
        ("+00:00", Some(0)),
        ("+09:00", Some(32_400)),
        ("-03:30", Some(-12_600)),
        ("+14:00", Some(50_400)),
        ("-14:00", Some(-50_400)),
        ("+14:01", None),
        ("-14:01", None),
        ("+23:00", None),
        ("09:00", None),
        ("+9:00", None),
        ("+0900", None),
        ("+09:0", None),
        ("+09:00 ", None),
        ("Zulu", None),
        ("utc", None),
        ("Europe/Berlin", None),
        ("", None),
    ];
    for (text, seconds) in cases {
        assert_eq!(
            UtcOffset::parse(text).map(|offset| offset.0),
            seconds,
            "{text}"
        );
    }
}

#[test]
fn writes_date_times() {
    assert_eq!(
        Timestamp(1_795_237_900_123).to_string(),
        "2026-11-21T05:11:40.123Z"
    );
    assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000Z");
    assert_eq!(
        Timestamp(1_709_251_199_999).to_string(),
        "2024-02-29T23:59:59.999Z"
    );
}

#[test]
fn the_end_of_time_is_no_panic() {
    assert!(Timestamp(u64::MAX).to_string().ends_with('Z'));
    assert_eq!(
        Timestamp(1).saturating_add_ms(u64::MAX),
        Timestamp(u64::MAX)
    );
    assert_eq!(Timestamp(1_999).seconds(), 1);
    for offset in [i32::MIN, i32::MAX] {
        let _ = LocalTime::new(Timestamp(u64::MAX), UtcOffset(offset)).utc_ms();
        let _ = Timestamp::parse_rfc3339("9999-12-31", UtcOffset(offset));
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(ms in 0..253_402_300_800_000_u64) {
        prop_assert_eq!(utc(&Timestamp(ms).to_string()), Some(ms));
    }

    #[test]
    fn any_text_is_read_without_panic(text in "[0-9TZ:.+ -]{0,40}", offset: i32) {
        let _ = Timestamp::parse_rfc3339(&text, UtcOffset(offset));
        let _ = UtcOffset::parse(&text);
    }
}
