//! The event log as commands read it from its beginning, and what is the same in all of their readings.

use super::{Failure, NO_EVENTS};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

/// No event is longer; what is was not written by the filter, and is skipped.
pub(super) const LONGEST_LINE: usize = 1024 * 1024;

/// Whether a path stands for stdin.
pub(super) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// `-` is stdin.
pub(super) fn open(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if is_stdin(path) {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).map_err(|error| Failure::reading(path, &error, NO_EVENTS))?;
    Ok(Box::new(BufReader::new(file)))
}

/// Puts the next line in place of what `line` holds, with its end; `false`: there is none.
pub(super) fn next_line(log: &mut (impl BufRead + ?Sized), line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut overlong = false;
    loop {
        let block = log.fill_buf()?;
        let feed = memchr::memchr(b'\n', block);
        let part = block.get(..=feed.unwrap_or(block.len())).unwrap_or(block);
        let (taken, ended) = (part.len(), feed.is_some() || part.is_empty());
        if overlong || line.len().saturating_add(taken) > LONGEST_LINE {
            overlong = true;
            line.clear();
        } else {
            line.extend_from_slice(part);
        }
        log.consume(taken);
        if !ended {
            continue;
        }
        if !std::mem::take(&mut overlong) || taken == 0 {
            return Ok(!line.is_empty());
        }
    }
}

/// Dollars in whole millionths, however they are written: whoever passes a log on may write 0.00002 as 2e-05.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is beyond either end is that end"
)]
pub(super) fn micro_usd(dollars: f64) -> u64 {
    (dollars * 1e6).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_comes_once_and_a_line_without_end_takes_no_memory() {
        let endless = "x".repeat(LONGEST_LINE + 1);
        for (text, expected) in [
            (String::new(), vec![]),
            ("one\n\ntwo".to_owned(), vec!["one\n", "\n", "two"]),
            (format!("one\n{endless}\ntwo\n"), vec!["one\n", "two\n"]),
            (format!("one\n{endless}"), vec!["one\n"]),
            (format!("{endless}\n"), vec![]),
        ] {
            for block in [7, 8192] {
                let mut log = BufReader::with_capacity(block, text.as_bytes());
                let (mut line, mut lines) = (Vec::new(), Vec::new());
                while next_line(&mut log, &mut line).unwrap() {
                    assert!(line.capacity() <= 2 * LONGEST_LINE);
                    lines.push(String::from_utf8(line.clone()).unwrap());
                }
                assert_eq!(lines, expected);
            }
        }
    }

    #[test]
    fn dollars_are_whole_millionths() {
        for (text, micro) in [
            ("0", 0),
            ("2e-05", 20),
            ("1.5E-5", 15),
            ("0.000001", 1),
            ("1.1", 1_100_000),
            ("123456789.123457", 123_456_789_123_457),
            ("-5", 0),
            ("1e300", u64::MAX),
        ] {
            assert_eq!(micro_usd(text.parse().unwrap()), micro, "{text}");
        }
    }
}
