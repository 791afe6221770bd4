//! Which places of a text can be judged before all is there that could begin at them: of an answer that is written while
//! it is read, a word should be held back and not a line.

use super::Search;
use super::pattern::Scan;

/// Whether what begins at a place is known, whatever follows.
pub(super) fn is_settled(search: &Search, scan: &Scan, text: &[u8], at: usize) -> bool {
    let rest = text.get(at..).unwrap_or_default();
    (search.entities.is_empty() || are_entities(rest))
        && search.words.iter().all(|list| {
            list.words.is_settled(text, at) && (list.patterns.is_empty() || scan.is_settled(at))
        })
}

fn are_entities(rest: &[u8]) -> bool {
    // What is begun, a word as a rule, must have ended.
    if rest.iter().all(|byte| is_token(*byte)) {
        return false;
    }
    match rest {
        // An account goes on behind a space, with letters and digits.
        [a, b, c, d, ..]
            if [a, b].into_iter().all(u8::is_ascii_alphabetic)
                && [c, d].into_iter().all(u8::is_ascii_digit) =>
        {
            has_ended(rest, false)
        }
        [b'0'..=b'9' | b'+' | b'(' | 0xef, ..] => has_ended(rest, true),
        // The first line of a private key has spaces in it.
        [b'-', ..] => rest
            .iter()
            .zip(b"-----BEGIN ")
            .any(|(byte, wanted)| byte != wanted),
        _ => true,
    }
}

/// Of what keys, addresses and numbers are written with.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'.' | b'_' | b'%' | b'+' | b'-' | b':' | b'@' | b'~' | b'/'
        )
}

/// Whether a number in groups is over: at a byte that none has; behind a space also at a letter, where it has no letters.
fn has_ended(rest: &[u8], digits: bool) -> bool {
    // Of what is beyond ASCII: what separators and full-width digits begin with, and what follows that.
    let beyond = |byte| matches!(byte, 0x80..=0xbf | 0xc2 | 0xe2 | 0xe3 | 0xef);
    let goes_on = |byte: &u8| is_token(*byte) || b" ()".contains(byte) || beyond(*byte);
    let letter = |pair: &[u8]| matches!(pair, [b' ', behind] if behind.is_ascii_alphabetic());
    !rest.iter().all(goes_on) || (digits && rest.windows(2).any(letter))
}
