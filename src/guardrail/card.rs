//! Payment cards.

use super::entity::Extent;
use super::number::{digit, gap, is_named};

/// The most digits of a card.
const LONGEST: usize = 19;
/// Groups have so many, but for the last.
const GROUP: usize = 4;

/// A payment card's number from here on: digits of an issuer, as many as it has, and a check digit that fits; in one
/// group, or in groups as they are embossed. What is around it may be other numbers, as a date is, but not a table of them.
pub(super) fn card(text: &[u8], at: usize) -> Option<Extent> {
    let mut number = [0_u8; LONGEST];
    let mut len = 0_usize;
    let mut found = None;
    let mut group = Group::at(text, at)?;
    let fraction = |rest: &[u8]| matches!(rest, [b'.', digit, ..] if digit.is_ascii_digit());
    for groups in 1_usize.. {
        for value in group.digits(text) {
            if let Some(place) = number.get_mut(len) {
                *place = value;
            }
            len = len.saturating_add(1);
        }
        let (Some(digits), Some(rest)) = (number.get(..len), text.get(group.end..)) else {
            break;
        };
        let whole = groups > 1 || !(is_fraction(text, at) || fraction(rest));
        let named = len == 13 && is_named(text, at, &[b"card", b"visa"]);
        if whole
            && !rest.first().is_some_and(u8::is_ascii_alphanumeric)
            && is_issued(digits, named)
            && passes_luhn(digits)
            && (groups == 1 || !is_in_table(text, at, group.end))
        {
            found = Some(Extent::of(group.end.saturating_sub(at)));
        }
        if group.len < GROUP || len >= LONGEST {
            break;
        }
        let Some(next) = gap(rest).and_then(|gap| Group::at(text, group.end.saturating_add(gap)))
        else {
            break;
        };
        group = next;
    }
    found
}

/// Digits without anything between them.
struct Group {
    start: usize,
    end: usize,
    /// How many.
    len: usize,
}

impl Group {
    fn at(text: &[u8], start: usize) -> Option<Self> {
        let (mut end, mut len) = (start, 0_usize);
        while let Some((_, bytes)) = digit(text.get(end..)?)
            && len <= LONGEST
        {
            end = end.saturating_add(bytes);
            len = len.saturating_add(1);
        }
        (len > 0).then_some(Self { start, end, len })
    }

    fn digits<'a>(&self, text: &'a [u8]) -> impl Iterator<Item = u8> + use<'a> {
        let mut rest = text.get(self.start..self.end).unwrap_or_default();
        std::iter::from_fn(move || {
            let (value, len) = digit(rest)?;
            rest = rest.get(len..)?;
            Some(value)
        })
    }
}

/// Whether what stands before makes the digits the fraction of a number.
fn is_fraction(text: &[u8], at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    matches!(before, [.., digit, b'.'] if digit.is_ascii_digit())
}

/// Where a card ends that is written in four groups of four.
fn four_groups(text: &[u8], at: usize) -> Option<usize> {
    let mut number = [0_u8; 16];
    let mut group = Group::at(text, at)?;
    for (index, four) in number.chunks_mut(GROUP).enumerate() {
        if index > 0 {
            let gap = gap(text.get(group.end..)?)?;
            group = Group::at(text, group.end.saturating_add(gap))?;
        }
        if group.len != GROUP {
            return None;
        }
        for (place, value) in four.iter_mut().zip(group.digits(text)) {
            *place = value;
        }
    }
    (is_issued(&number, false) && passes_luhn(&number)).then_some(group.end)
}

/// Whether groups stand among others of their like: a date or a code may come behind a card, or a number before it, and
/// more cards.
fn is_in_table(text: &[u8], mut at: usize, mut end: usize) -> bool {
    /// With single spaces between its groups.
    const CARD: usize = 19;
    const CARDS: usize = 4;
    while let Some(gap) = text.get(end..).and_then(gap)
        && let Some(next) = four_groups(text, end.saturating_add(gap))
    {
        end = next;
    }
    // No further back than is kept of a text.
    for _ in 0..CARDS {
        let last = at.saturating_sub(1);
        match last.checked_sub(CARD) {
            Some(start) if four_groups(text, start) == Some(last) => at = start,
            _ => break,
        }
    }
    let between = |byte: &&u8| b" -.".contains(byte);
    let is_digit = |byte: &&u8| byte.is_ascii_digit();
    let mut before = text.get(..at).unwrap_or_default();
    let mut groups_before = 0_usize;
    while groups_before < 2 {
        let gap = before.iter().rev().take_while(between).count();
        let group = before.iter().rev().skip(gap).take_while(is_digit).count();
        if group == 0 || !(1..=3).contains(&gap) {
            break;
        }
        groups_before = groups_before.saturating_add(1);
        let kept = before.len().saturating_sub(gap.saturating_add(group));
        before = before.get(..kept).unwrap_or_default();
    }
    let (mut groups_behind, mut long_behind) = (0_usize, 0_usize);
    while groups_behind < 4
        && let Some(gap) = text.get(end..).and_then(gap)
        && let Some(group) = Group::at(text, end.saturating_add(gap))
    {
        groups_behind = groups_behind.saturating_add(1);
        long_behind = long_behind.saturating_add(usize::from(group.len >= GROUP));
        end = group.end;
    }
    groups_before > 1 || groups_behind > 3 || long_behind > 1
}

/// Lengths and prefixes of the networks, as ISO/IEC 7812 assigns them.
fn is_issued(number: &[u8], named: bool) -> bool {
    let prefix = |digits: usize| {
        let first = number.iter().take(digits);
        first.fold(0_u32, |value, digit| {
            value.saturating_mul(10).saturating_add(u32::from(*digit))
        })
    };
    let [two, three, four] = [prefix(2), prefix(3), prefix(4)];
    match number.len() {
        // Long gone, and as long as what is on every product.
        13 => prefix(1) == 4 && named,
        14 => matches!(two, 36 | 38 | 39) || (300..=305).contains(&three),
        15 => matches!(two, 34 | 37),
        16..=19 => {
            let visa = prefix(1) == 4 && matches!(number.len(), 16 | 19);
            let mastercard =
                number.len() == 16 && ((51..=55).contains(&two) || (2221..=2720).contains(&four));
            let discover = four == 6011 || two == 65 || (644..=649).contains(&three);
            visa || mastercard || discover || two == 62 || (3528..=3589).contains(&four)
        }
        _ => false,
    }
}

/// ISO/IEC 7812-1, annex B. A number of one digit over and over passes, and is nobody's.
fn passes_luhn(number: &[u8]) -> bool {
    let sum = number.iter().rev().enumerate().map(|(place, digit)| {
        let doubled = digit.saturating_mul(2);
        match place & 1 {
            0 => u32::from(*digit),
            _ => u32::from(doubled / 10).saturating_add(u32::from(doubled % 10)),
        }
    });
    let same = number.iter().all(|digit| Some(digit) == number.first());
    !same && sum.sum::<u32>().is_multiple_of(10)
}
