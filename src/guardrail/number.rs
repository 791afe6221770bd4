//! Numbers as people write them: with spaces, hyphens and dots between the digits.

use super::entity::Extent;
use std::net::Ipv6Addr;

/// The digit that a text begins with, and its length: one of ASCII, or a full-width one as it is written among Han.
pub(super) fn digit(text: &[u8]) -> Option<(u8, usize)> {
    match text {
        [digit @ b'0'..=b'9', ..] => Some((digit.wrapping_sub(b'0'), 1)),
        [0xef, 0xbc, digit @ 0x90..=0x99, ..] => Some((digit.wrapping_sub(0x90), 3)),
        _ => None,
    }
}

/// Whether a number begins at a place: a digit there, none before.
pub(super) fn begins(before: &[u8], text: &[u8], at: usize) -> bool {
    let last = before.len().saturating_sub(3);
    let inside = before.last().is_some_and(u8::is_ascii_digit)
        || before
            .get(last..)
            .and_then(digit)
            .is_some_and(|(_, len)| len == 3);
    !inside && text.get(at..).and_then(digit).is_some()
}

/// The length of what stands between two groups of digits: a separator, twice the same, or a dash between two of them.
pub(super) fn gap(text: &[u8]) -> Option<usize> {
    let first = separator(text)?;
    let (one, mut rest) = text.split_at_checked(first)?;
    let mut len = first;
    if digit(rest).is_none() {
        let second = separator(rest)?;
        let (two, behind) = rest.split_at_checked(second)?;
        len = len.saturating_add(second);
        rest = behind;
        if one != two {
            len = len.saturating_add(first);
            rest = rest.strip_prefix(one).filter(|_| two != b".")?;
        }
    }
    digit(rest).map(|_| len)
}

/// The length of what may part the groups of a number: a space, of whatever kind, a hyphen, a dash, a dot.
fn separator(text: &[u8]) -> Option<usize> {
    match text {
        [b' ' | b'-' | b'.', ..] => Some(1),
        // U+00A0; what is between U+2000 and U+2015, spaces and hyphens; U+202F; U+2212; U+3000; U+FF0D.
        [0xc2, 0xa0, ..] => Some(2),
        [0xe2, 0x80, 0x80..=0x95 | 0xaf, ..]
        | [0xe2, 0x88, 0x92, ..]
        | [0xe3, 0x80, 0x80, ..]
        | [0xef, 0xbc, 0x8d, ..] => Some(3),
        _ => None,
    }
}

/// Groups of digits as a pattern has them, with separators that are all the same; what follows is no digit. The groups, and
/// where they end.
fn groups(text: &[u8], at: usize, lengths: &[usize]) -> Option<([u32; 3], usize)> {
    let mut rest = text.get(at..)?;
    let mut values = [0; 3];
    let mut between: Option<&[u8]> = None;
    for (index, (value, len)) in values.iter_mut().zip(lengths).enumerate() {
        if index > 0 {
            let (separator, tail) = rest.split_at_checked(separator(rest)?)?;
            if between.is_some_and(|before| before != separator) {
                return None;
            }
            between = Some(separator);
            rest = tail;
        }
        for _ in 0..*len {
            let (digit, len) = digit(rest)?;
            *value = u32::saturating_mul(*value, 10).saturating_add(digit.into());
            rest = rest.get(len..)?;
        }
    }
    let before = text.get(..at).unwrap_or_default();
    let row = between == Some(b" ") && is_in_row(before, rest);
    (ends_here(rest) && !row).then(|| (values, text.len().saturating_sub(rest.len())))
}

/// Whether numbers with spaces between them stand on either side: then it is a row of a table. A country's code is none.
fn is_in_row(before: &[u8], behind: &[u8]) -> bool {
    let digits = |one: Option<&u8>| one.is_some_and(u8::is_ascii_digit);
    let alone = |head: &&[u8]| !digits(head.last());
    let country = before.strip_suffix(b"1 ").filter(alone);
    let before = country.unwrap_or(before).strip_suffix(b" ");
    let behind = behind.strip_prefix(b" ");
    digits(before.and_then(<[u8]>::last)) || digits(behind.and_then(<[u8]>::first))
}

/// Whether a number is over: neither a letter nor a digit follows, nor a hyphen or a dot with more digits.
fn ends_here(rest: &[u8]) -> bool {
    match rest {
        [b'-' | b'.', behind, ..] => !behind.is_ascii_digit(),
        [first, ..] => !first.is_ascii_alphanumeric() && digit(rest).is_none(),
        [] => true,
    }
}

/// Whether what stands before a place could be the beginning of the same number.
fn continues(text: &[u8], at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    match before {
        [.., digit, b'-' | b'.' | b'/'] => digit.is_ascii_alphanumeric(),
        _ => false,
    }
}

/// A US social security number from here on: in its three groups, or nine digits after its name.
pub(super) fn ssn(text: &[u8], at: usize) -> Option<Extent> {
    if continues(text, at) {
        return None;
    }
    let valid = |area: u32, group: u32, serial: u32| {
        !matches!(area, 0 | 666 | 900..) && group != 0 && serial != 0
    };
    let (is, end) = if let Some(([area, group, serial], end)) = groups(text, at, &[3, 2, 4]) {
        (valid(area, group, serial), end)
    } else {
        let ([number, ..], end) = groups(text, at, &[9])?;
        let (area, rest) = (number / 1_000_000, number % 1_000_000);
        let is = valid(area, rest / 10_000, rest % 10_000)
            && is_named(
                text,
                at,
                &[
                    b"ssn",
                    b"social security",
                    b"social-security",
                    b"seguro social",
                ],
            );
        (is, end)
    };
    is.then(|| Extent::of(end.saturating_sub(at)))
}

/// Whether the words before have one of these in them, in lower case.
pub(super) fn is_named(text: &[u8], at: usize, names: &[&[u8]]) -> bool {
    const BEFORE: usize = 40;
    let before = text.get(at.saturating_sub(BEFORE)..at).unwrap_or_default();
    names.iter().any(|name| {
        let mut parts = before.windows(name.len());
        parts.any(|part| part.eq_ignore_ascii_case(name))
    })
}

/// A telephone number from here on: `+` and a country's code, or North America's three groups.
pub(super) fn phone(text: &[u8], at: usize) -> Option<Extent> {
    let rest = text.get(at..)?;
    let end = match rest {
        [b'+', b'0', ..] => None,
        [b'+', ..] => international(text, at.saturating_add(1)),
        [b'(', ..] => {
            let open = at.saturating_add(1);
            let area = text.get(open..open.saturating_add(3)).unwrap_or_default();
            let behind = text.get(open.saturating_add(3)..).unwrap_or_default();
            let Some((b')', behind)) = behind.split_first() else {
                return None;
            };
            let space = usize::from(behind.first() == Some(&b' '));
            let number = open.saturating_add(4).saturating_add(space);
            let ([office, ..], end) = groups(text, number, &[3, 4])?;
            (is_area(area) && office >= 200).then_some(end)
        }
        _ => {
            let area = rest.get(..3).unwrap_or_default();
            let ([_, office, _], end) = groups(text, at, &[3, 3, 4])?;
            (is_area(area) && office >= 200 && !continues(text, at)).then_some(end)
        }
    };
    Some(Extent::of(end?.saturating_sub(at)))
}

/// An area of the North American Numbering Plan.
fn is_area(digits: &[u8]) -> bool {
    matches!(digits, [b'2'..=b'9', b'0'..=b'9', b'0'..=b'9']) && !digits.ends_with(b"11")
}

/// ITU-T E.164: fifteen digits at most, with the country's code. Where they end.
fn international(text: &[u8], at: usize) -> Option<usize> {
    let mut digits = 0_usize;
    let mut rest = text.get(at..).unwrap_or_default();
    loop {
        let mut run = 0_usize;
        while let Some((_, len)) = digit(rest) {
            run = run.saturating_add(1);
            rest = rest.get(len..).unwrap_or_default();
        }
        digits = digits.saturating_add(run);
        let part = match rest {
            [b')', b' ', ..] | [b' ', b'(', ..] => 2,
            [b'(' | b')', ..] => 1,
            _ => separator(rest).unwrap_or(0),
        };
        let behind = rest.get(part..).unwrap_or_default();
        if run == 0 || part == 0 || digit(behind).is_none() {
            let is =
                (8..=15).contains(&digits) && !rest.first().is_some_and(u8::is_ascii_alphanumeric);
            return is.then(|| text.len().saturating_sub(rest.len()));
        }
        rest = behind;
    }
}

/// An address of the Internet from here on that is not part of something longer, as a version is.
pub(super) fn ip_address(text: &[u8], at: usize) -> Option<Extent> {
    const LONGEST: usize = 45;
    let (before, rest) = text.split_at_checked(at)?;
    let part = |byte: &u8| byte.is_ascii_hexdigit() || b".:".contains(byte);
    let len = rest
        .iter()
        .position(|byte| !part(byte))
        .unwrap_or(rest.len());
    let (token, behind) = rest.split_at_checked(len).unwrap_or_default();
    if token.len() > LONGEST || behind.first().is_some_and(u8::is_ascii_alphanumeric) {
        return None;
    }
    // The end of a sentence, or of what introduces something.
    let token = token.strip_suffix(b".").unwrap_or(token);
    if token.split(|byte| *byte == b':').count() < 4 {
        // A port may follow.
        let address = token.split(|byte| *byte == b':').next();
        let address = address.unwrap_or_default();
        let is = is_ipv4(address) && !is_version(before);
        return is.then(|| Extent::of(address.len()));
    }
    let text = std::str::from_utf8(token).unwrap_or_default();
    let text = text
        .strip_suffix(':')
        .filter(|text| !text.ends_with(':'))
        .unwrap_or(text);
    let is = text.parse::<Ipv6Addr>().is_ok() && !is_version(before);
    is.then(|| Extent::of(text.len()))
}

/// Whether what stands before makes it a version, or part of something longer.
fn is_version(before: &[u8]) -> bool {
    const NAMES: [&[u8]; 11] = [
        b"build",
        b"chapter",
        b"clause",
        b"firmware",
        b"release",
        b"rev",
        b"revision",
        b"section",
        b"v",
        b"ver",
        b"version",
    ];
    const BEFORE: usize = 40;
    let near = before.len().saturating_sub(BEFORE);
    let before = before.get(near..).unwrap_or_default();
    match before {
        [.., b'.' | b':' | b'-' | b'_'] => return true,
        // `Chrome/120.0.0.0`
        [.., product, b'/'] if product.is_ascii_alphabetic() => return true,
        _ => {}
    }
    let behind_word = before.iter().rposition(|byte| !b" :=\"'".contains(byte));
    let word = before.get(..=behind_word.unwrap_or(0)).unwrap_or_default();
    let start = word.iter().rposition(|byte| !byte.is_ascii_alphabetic());
    let word = word.get(start.map_or(0, |start| start.saturating_add(1))..);
    NAMES
        .iter()
        .any(|name| word.unwrap_or_default().eq_ignore_ascii_case(name))
}

fn is_ipv4(token: &[u8]) -> bool {
    let mut parts = token.split(|byte| *byte == b'.');
    let octet = |part: &[u8]| {
        let plain = part.len() == 1 || !part.starts_with(b"0");
        let value = part.iter().try_fold(0_u32, |value, digit| {
            let digit = digit.is_ascii_digit().then(|| digit.wrapping_sub(b'0'))?;
            Some(value.saturating_mul(10).saturating_add(digit.into()))
        });
        plain && (1..=3).contains(&part.len()) && value.is_some_and(|value| value < 256)
    };
    parts.clone().count() == 4 && parts.all(octet)
}
