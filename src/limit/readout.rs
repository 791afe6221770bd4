//! Counters for who may look at them: the records of shared data as they are, by name.
//!
//! A plugin that is configured with [`CONFIGURATION`] judges no requests and answers each with the records that its path
//! names. Whoever can send it one can read what is counted, so it belongs where only the operator gets.

use super::{SharedData, descriptor};
use std::fmt::Write as _;

/// What makes a plugin one that answers with counters.
pub const CONFIGURATION: &[u8] = br#"{"cohort":"counters"}"#;

/// Stands for a record that is not there.
const ABSENT: u32 = u32::MAX;

/// The path of a request for these records.
pub fn path<'a>(records: impl IntoIterator<Item = &'a str>) -> String {
    let mut path = String::new();
    for record in records {
        path.push('/');
        for byte in record.bytes() {
            let _ = write!(path, "{byte:02x}"); // a String takes everything
        }
    }
    path
}

/// What such a request is answered with: of each record its length and its bytes. `None`: it names something else.
pub fn answer(path: &[u8], shared: &impl SharedData) -> Option<Vec<u8>> {
    let mut answer = Vec::new();
    for name in path.strip_prefix(b"/")?.split(|byte| *byte == b'/') {
        let name = from_hex(name)?;
        if !name.starts_with(descriptor::PREFIX) {
            return None;
        }
        let value = shared.get(&name).0;
        let length = value.as_ref().map(|value| u32::try_from(value.len()));
        let length = length.map_or(Some(ABSENT), Result::ok)?;
        answer.extend_from_slice(&length.to_le_bytes());
        answer.extend(value.unwrap_or_default());
    }
    Some(answer)
}

/// The records out of an answer, in the order in which they were asked for.
pub fn read(mut answer: &[u8]) -> Option<Vec<Option<Vec<u8>>>> {
    let mut records = Vec::new();
    while !answer.is_empty() {
        let (length, rest) = answer.split_first_chunk()?;
        answer = rest;
        records.push(match u32::from_le_bytes(*length) {
            ABSENT => None,
            length => {
                let (value, rest) = answer.split_at_checked(usize::try_from(length).ok()?)?;
                answer = rest;
                Some(value.to_vec())
            }
        });
    }
    Some(records)
}

fn from_hex(text: &[u8]) -> Option<String> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(byte.wrapping_sub(b'a').wrapping_add(10)),
        _ => None,
    };
    let (pairs, rest) = text.as_chunks();
    let mut bytes = Vec::with_capacity(pairs.len());
    for [high, low] in pairs {
        bytes.push(digit(*high)? << 4 | digit(*low)?);
    }
    String::from_utf8(bytes).ok().filter(|_| rest.is_empty())
}

#[cfg(test)]
mod tests {

    use super::super::shared_data::Cas;
    use super::super::shared_data::fake::Fake;
    use super::*;

    #[test]
    fn records_come_as_they_are_and_in_order() {
        let mut shared = Fake::default();
        shared
            .set("cohort/1/group/caf\u{e9}", &[1, 2, 3], Cas::ABSENT)
            .unwrap();
        shared.set("other", b"secret", Cas::ABSENT).unwrap();
        let names = [
            "cohort/1/ceilings",
            "cohort/1/group/caf\u{e9}",
            "cohort/1/group/b",
        ];
        let answer = answer(path(names).as_bytes(), &shared).unwrap();
        assert_eq!(read(&answer), Some(vec![None, Some(vec![1, 2, 3]), None]));
        for cut in 1..answer.len() {
            assert_ne!(
                read(&answer[..cut]).map(|records| records.len()),
                Some(3),
                "{cut}"
            );
        }
    }

    #[test]
    fn nothing_else_can_be_read() {
        let mut shared = Fake::default();
        shared.set("other", b"secret", Cas::ABSENT).unwrap();
        let both = path(["cohort/1/ceilings", "other"]);
        for path in [
            "",
            "/",
            "//",
            "/zz",
            "/6",
            "/6f",
            "/ff",
            &both,
            &path(["other"]),
            "/\u{e9}",
        ] {
            assert_eq!(answer(path.as_bytes(), &shared), None, "{path}");
        }
    }
}
