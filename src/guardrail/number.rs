//! Numbers as people write them: with spaces, hyphens and dots between the digits.

use super::entity::Extent;
use std::net::Ipv6Addr;

/// Digits from a place on, single separators between them left out.
pub(super) struct Digits<'a> {
    text: &'a [u8],
    /// Behind the last digit.
    rest: &'a [u8],
}

impl<'a> Digits<'a> {
    pub(super) fn new(text: &'a [u8], at: usize) -> Self {
        let text = text.get(at..).unwrap_or_default();
        Self { text, rest: text }
    }

    /// How far the digits that came reach.
    pub(super) const fn len(&self) -> usize {
        self.text.len().saturating_sub(self.rest.len())
    }

    /// Whether a number may end here.
    pub(super) fn may_end(&self) -> bool {
        !self.rest.first().is_some_and(u8::is_ascii_alphanumeric)
    }
}

impl Iterator for Digits<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let part = separator(self.rest).filter(|_| self.len() > 0);
        let (digit, tail) = self.rest.get(part.unwrap_or(0)..)?.split_first()?;
        if !digit.is_ascii_digit() {
            return None;
        }
        self.rest = tail;
        Some(digit.wrapping_sub(b'0'))
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

/// Groups of digits as a pattern has them, with separators that are all the same; what follows is no digit. The groups, and
/// where they end.
fn groups<const N: usize>(
    text: &[u8],
    at: usize,
    lengths: [usize; N],
) -> Option<([u32; N], usize)> {
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
    ends_here(rest).then(|| (values, text.len().saturating_sub(rest.len())))
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

/// A US social security number from here on: in its three groups, or nine digits after its name.
pub(super) fn ssn(text: &[u8], at: usize) -> Option<Extent> {
    if continues(text, at) {
        return None;
    }
    let valid = |area: u32, group: u32, serial: u32| {
        !matches!(area, 0 | 666 | 900..) && group != 0 && serial != 0
    };
    let (is, end) = if let Some(([area, group, serial], end)) = groups(text, at, [3, 2, 4]) {
        (valid(area, group, serial), end)
    } else {
        let ([number], end) = groups(text, at, [9])?;
        let (area, rest) = (number / 1_000_000, number % 1_000_000);
        let is = valid(area, rest / 10_000, rest % 10_000) && is_named_ssn(text, at);
        (is, end)
    };
    is.then(|| Extent::of(end.saturating_sub(at)))
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
            let ([office, _], end) = groups(text, number, [3, 4])?;
            (is_area(area) && office >= 200).then_some(end)
        }
        _ => {
            let area = rest.get(..3).unwrap_or_default();
            let ([_, office, _], end) = groups(text, at, [3, 3, 4])?;
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
    let before = text.get(..at).unwrap_or_default().last();
    if before.is_some_and(|byte| b".:-_/".contains(byte) && *byte != b'/') {
        return None;
    }
    let rest = text.get(at..)?;
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
        return is_ipv4(address).then(|| Extent::of(address.len()));
    }
    let text = std::str::from_utf8(token).unwrap_or_default();
    let text = text
        .strip_suffix(':')
        .filter(|text| !text.ends_with(':'))
        .unwrap_or(text);
    (text.parse::<Ipv6Addr>().is_ok()).then(|| Extent::of(text.len()))
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
