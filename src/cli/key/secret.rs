//! What a key looks like: `ck_WHOSE_` and letters and digits from the system's randomness, the last of them a checksum.
//!
//! The prefix lets scanners and people see what it is; the checksum tells a whole one from a mistyped one.

use crate::credential::KeyDigest;
use std::fmt::Write as _;

pub(super) const PREFIX: &str = "ck_";
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 178 bits.
const RANDOM: usize = 30;
const CHECKSUM: usize = 6;

/// A new key for a group or a consumer, or for nobody in particular.
pub(super) fn generate(
    owner: &str,
    mut random: impl FnMut() -> Result<u8, String>,
) -> Result<String, String> {
    let mut key = String::from(PREFIX);
    // Whatever a name may hold, a key goes into every header and every query as it is.
    key.extend(
        owner
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }),
    );
    if !owner.is_empty() {
        key.push('_');
    }
    let mut left = RANDOM;
    while left > 0 {
        // Only multiples of 62 leave every letter the same chance.
        let byte = random()?;
        if let (0..248, Some(letter)) = (byte, ALPHABET.get(usize::from(byte % 62))) {
            key.push(char::from(*letter));
            left = left.saturating_sub(1);
        }
    }
    let checksum = checksum(&key);
    key.push_str(&checksum);
    Ok(key)
}

/// Whether it looks like one of ours and is not.
pub(super) fn is_mistyped(key: &str) -> bool {
    let Some(at) = key
        .len()
        .checked_sub(CHECKSUM)
        .filter(|_| key.starts_with(PREFIX))
    else {
        return key.starts_with(PREFIX);
    };
    match key.split_at_checked(at) {
        Some((body, sum)) => checksum(body) != sum,
        None => true,
    }
}

/// The digest as `sha256` of a configuration has it.
pub(super) fn digest(key: &str) -> String {
    let mut text = String::with_capacity(64);
    for byte in KeyDigest::of(key.as_bytes()).0 {
        let _ = write!(text, "{byte:02x}"); // a String takes everything
    }
    text
}

fn checksum(body: &str) -> String {
    let mut number = KeyDigest::of(body.as_bytes()).prefix();
    let mut text = String::with_capacity(CHECKSUM);
    for _ in 0..CHECKSUM {
        let letter = ALPHABET.get(usize::try_from(number % 62).unwrap_or_default());
        text.push(letter.map_or('0', |letter| char::from(*letter)));
        number /= 62;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_whose_it_is_and_whether_it_is_whole() {
        let mut seed = 0_u8;
        let mut random = || {
            seed = seed.wrapping_add(37);
            Ok(seed)
        };
        let key = generate("team_a@b", &mut random).unwrap();
        assert!(key.starts_with("ck_team-a-b_"), "{key}");
        assert_eq!(key.len(), "ck_team-a-b_".len() + RANDOM + CHECKSUM);
        assert!(!is_mistyped(&key));
        for at in 3..key.len() {
            let mut typo = key.clone().into_bytes();
            typo[at] = if typo[at] == b'x' { b'y' } else { b'x' };
            assert!(is_mistyped(std::str::from_utf8(&typo).unwrap()), "{at}");
        }
        assert!(is_mistyped("ck_"));
        assert!(is_mistyped("ck_\u{e9}\u{e9}\u{e9}x"));
        assert!(!is_mistyped("sk-of-somebody-else"));
        assert_ne!(key, generate("team_a@b", &mut random).unwrap());
    }

    #[test]
    fn every_letter_has_the_same_chance() {
        let mut bytes = (0..=255_u8).cycle();
        let mut counts = [0_u32; 128];
        for _ in 0..62 {
            let key = generate("", || Ok(bytes.next().unwrap())).unwrap();
            for byte in key.bytes().skip(3).take(30) {
                counts[usize::from(byte)] += 1;
            }
        }
        let counts: Vec<_> = counts.into_iter().filter(|count| *count > 0).collect();
        assert_eq!(counts.len(), 62);
        assert!(
            counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 2,
            "{counts:?}"
        );
        assert!(generate("", || Err("none".to_owned())).is_err());
    }

    #[test]
    fn the_digest_is_that_of_sha256sum() {
        assert_eq!(
            digest("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
