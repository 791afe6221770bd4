//! Numbers as people write them: with spaces, hyphens and dots between the digits.

use std::net::Ipv6Addr;

/// Digits from a place on, single separators between them left out; with each, whether a number may end behind it.
pub(super) struct Digits<'a> {
    rest: &'a [u8],
}

impl<'a> Digits<'a> {
    pub(super) fn new(text: &'a [u8], at: usize) -> Self {
        Self {
            rest: text.get(at..).unwrap_or_default(),
        }
    }
}

impl Iterator for Digits<'_> {
    type Item = (u8, bool);

    fn next(&mut self) -> Option<Self::Item> {
        let (digit, tail) = self.rest.split_first()?;
        if !digit.is_ascii_digit() {
            return None;
        }
        self.rest = separator(tail)
            .and_then(|len| tail.get(len..))
            .filter(|behind| behind.first().is_some_and(u8::is_ascii_digit))
            .unwrap_or(tail);
        let last = !tail.first().is_some_and(u8::is_ascii_alphanumeric);
        Some((digit.wrapping_sub(b'0'), last))
    }
}

/// The length of what may part the groups of a number: a space, of whatever kind, a hyphen, a dash, a dot.
fn separator(text: &[u8]) -> Option<usize> {
    match text {
        [b' ' | b'-' | b'.', ..] => Some(1),
        // U+00A0; what is between U+2000 and U+2015, spaces and hyphens; U+202F; U+2212.
        [0xc2, 0xa0, ..] => Some(2),
        [0xe2, 0x80, 0x80..=0x95 | 0xaf, ..] | [0xe2, 0x88, 0x92, ..] => Some(3),
        _ => None,
    }
}

/// Groups of digits as a pattern has them, with separators that are all the same; what follows is no digit. The groups, or
/// `None`.
fn groups<const N: usize>(text: &[u8], at: usize, lengths: [usize; N]) -> Option<[u32; N]> {
    let mut rest = text.get(at..)?;
    let mut values = [0; N];
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
        let (digits, tail) = rest.split_at_checked(len)?;
        for digit in digits {
            if !digit.is_ascii_digit() {
                return None;
            }
            let digit = u32::from(digit.wrapping_sub(b'0'));
            *value = u32::saturating_mul(*value, 10).saturating_add(digit);
        }
        rest = tail;
    }
    ends_here(rest).then_some(values)
}

/// Whether a number is over: neither a letter nor a digit follows, nor a hyphen or a dot with more digits.
fn ends_here(rest: &[u8]) -> bool {
    match rest {
        [b'-' | b'.', behind, ..] => !behind.is_ascii_digit(),
        [first, ..] => !first.is_ascii_alphanumeric(),
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

/// Whether a US social security number begins here: in its three groups, or nine digits after its name.
pub(super) fn is_ssn(text: &[u8], at: usize) -> bool {
    if continues(text, at) {
        return false;
    }
    let valid = |area: u32, group: u32, serial: u32| {
        !matches!(area, 0 | 666 | 900..) && group != 0 && serial != 0
    };
    if let Some([area, group, serial]) = groups(text, at, [3, 2, 4]) {
        return valid(area, group, serial);
    }
    let Some([number]) = groups(text, at, [9]) else {
        return false;
    };
    let (area, rest) = (number / 1_000_000, number % 1_000_000);
    valid(area, rest / 10_000, rest % 10_000) && is_named_ssn(text, at)
}

/// Whether the words before say what the number is.
fn is_named_ssn(text: &[u8], at: usize) -> bool {
    const BEFORE: usize = 40;
    let before = text.get(at.saturating_sub(BEFORE)..at).unwrap_or_default();
    let before = before.to_ascii_lowercase();
    let names: [&[u8]; 3] = [b"ssn", b"social security", b"social-security"];
    names
        .iter()
        .any(|name| before.windows(name.len()).any(|part| part == *name))
}

/// Whether a telephone number begins here: `+` and a country's code, or North America's three groups.
pub(super) fn is_phone(text: &[u8], at: usize) -> bool {
    let rest = text.get(at..).unwrap_or_default();
    match rest {
        [b'+', digit, ..] => *digit != b'0' && is_international(text, at.saturating_add(1)),
        [b'(', ..] => {
            let open = at.saturating_add(1);
            let area = text.get(open..open.saturating_add(3)).unwrap_or_default();
            let behind = text.get(open.saturating_add(3)..).unwrap_or_default();
            let Some((b')', behind)) = behind.split_first() else {
                return false;
            };
            let space = usize::from(behind.first() == Some(&b' '));
            let number = open.saturating_add(4).saturating_add(space);
            is_area(area) && groups(text, number, [3, 4]).is_some_and(|[office, _]| office >= 200)
        }
        _ => {
            let area = rest.get(..3).unwrap_or_default();
            let office = |[_, office, _]: [u32; 3]| office >= 200;
            !continues(text, at) && is_area(area) && groups(text, at, [3, 3, 4]).is_some_and(office)
        }
    }
}

/// An area of the North American Numbering Plan.
fn is_area(digits: &[u8]) -> bool {
    matches!(digits, [b'2'..=b'9', b'0'..=b'9', b'0'..=b'9']) && !digits.ends_with(b"11")
}

/// ITU-T E.164: fifteen digits at most, with the country's code.
fn is_international(text: &[u8], at: usize) -> bool {
    let mut digits = 0_usize;
    let mut rest = text.get(at..).unwrap_or_default();
    loop {
        let run = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        digits = digits.saturating_add(run);
        rest = rest.get(run..).unwrap_or_default();
        let part = match rest {
            [b')', b' ', ..] | [b' ', b'(', ..] => 2,
            [b'(' | b')', ..] => 1,
            _ => separator(rest).unwrap_or(0),
        };
        let behind = rest.get(part..).unwrap_or_default();
        if run == 0 || part == 0 || !behind.first().is_some_and(u8::is_ascii_digit) {
            return (8..=15).contains(&digits)
                && !rest.first().is_some_and(u8::is_ascii_alphanumeric);
        }
        rest = behind;
    }
}

/// Whether an address of the Internet begins here, and is not part of something longer, as a version is.
pub(super) fn is_ip_address(text: &[u8], at: usize) -> bool {
    const LONGEST: usize = 45;
    let before = text.get(..at).unwrap_or_default().last();
    if before.is_some_and(|byte| b".:-_/".contains(byte) && *byte != b'/') {
        return false;
    }
    let rest = text.get(at..).unwrap_or_default();
    let part = |byte: &u8| byte.is_ascii_hexdigit() || b".:".contains(byte);
    let len = rest
        .iter()
        .position(|byte| !part(byte))
        .unwrap_or(rest.len());
    let (token, behind) = rest.split_at_checked(len).unwrap_or_default();
    if token.len() > LONGEST || behind.first().is_some_and(u8::is_ascii_alphanumeric) {
        return false;
    }
    // The end of a sentence, or of what introduces something.
    let token = token.strip_suffix(b".").unwrap_or(token);
    if token.split(|byte| *byte == b':').count() < 4 {
        // A port may follow.
        let address = token.split(|byte| *byte == b':').next();
        return is_ipv4(address.unwrap_or_default());
    }
    let text = std::str::from_utf8(token).unwrap_or_default();
    let text = text
        .strip_suffix(':')
        .filter(|text| !text.ends_with(':'))
        .unwrap_or(text);
    text.parse::<Ipv6Addr>().is_ok()
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
