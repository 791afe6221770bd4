//! The time, and how people write how long something lasts. The only clock of the command line.

use super::Failure;
use crate::time::{Timestamp, UtcOffset};
use std::time::{Duration, SystemTime};

pub(super) fn now() -> Timestamp {
    #[expect(
        clippy::disallowed_methods,
        reason = "on a terminal this is where `now` comes from"
    )]
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let ms = since.unwrap_or_default().as_millis();
    Timestamp(u64::try_from(ms).unwrap_or(u64::MAX))
}

/// What `--since` says.
pub(super) fn since(text: Option<&str>) -> Result<Option<Timestamp>, Failure> {
    let moment = |text: &str| {
        moment(text).ok_or_else(|| {
            Failure(format!(
                "--since: '{text}' is neither a date, nor a moment, nor a time like 36h or 7d"
            ))
        })
    };
    text.map(moment).transpose()
}

/// A date, a moment, or how long ago.
fn moment(text: &str) -> Option<Timestamp> {
    if let Ok(ago) = parse_duration(text) {
        let ago = u64::try_from(ago.as_millis()).ok()?;
        return Some(Timestamp(now().0.saturating_sub(ago)));
    }
    Timestamp::parse_rfc3339(text, UtcOffset(0))
}

/// `90s`, `30m`, `24h`, `7d`, `2w`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        "" if number == "0" => 1,
        _ => return Err("a number with s, m, h, d or w: 90s, 30m, 24h, 7d, 2w".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "not a number".to_owned())?;
    let seconds = number.checked_mul(seconds);
    let seconds = seconds.filter(|seconds| *seconds <= 10 * 366 * 86_400);
    let seconds = seconds.ok_or_else(|| "longer than ten years".to_owned())?;
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::parse_duration;

    #[test]
    fn durations_have_a_unit() {
        for (text, seconds) in [
            ("0", 0),
            ("0s", 0),
            ("90s", 90),
            ("2m", 120),
            ("24h", 86_400),
            ("7d", 604_800),
            ("2w", 1_209_600),
        ] {
            assert_eq!(parse_duration(text).unwrap().as_secs(), seconds, "{text}");
        }
        for text in [
            "",
            "5",
            "h",
            "1.5h",
            "-1h",
            "1 h",
            "99999999999999999999s",
            "9999d",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
