//! Counts as JSON writes numbers.

/// Larger counts are nonsense, and must not be charged to anybody.
const MAX_COUNT: u64 = 1_000_000_000;

/// The count that a JSON number states: an integer however written (`5`, `5.0`, `5e0`), not negative,
/// below [`MAX_COUNT`].
pub(super) fn count_of(number: &[u8]) -> Option<u64> {
    // The value is `digits` × 10^`power`, `digits` never ending in a zero that `zeros` could hold.
    let mut digits = 0_u64;
    let mut zeros = 0_i32;
    let mut fraction = None;
    let mut exponent = 0_i32;
    if let Some(count) = plain(number) {
        return Some(count);
    }
    if number.is_empty() {
        return None;
    }
    let mut bytes = number.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'0'..=b'9' => {
                if let Some(places) = &mut fraction {
                    *places = i32::saturating_add(*places, 1);
                }
                match u64::from(byte.wrapping_sub(b'0')) {
                    0 if digits == 0 => {}
                    0 => zeros = zeros.saturating_add(1),
                    digit => {
                        digits = scale(digits, zeros.saturating_add(1))?.checked_add(digit)?;
                        zeros = 0;
                    }
                }
            }
            b'.' => fraction = Some(0),
            b'e' | b'E' => {
                exponent = exponent_of(bytes.as_slice());
                break;
            }
            _ => return None,
        }
    }
    let power = zeros
        .saturating_sub(fraction.unwrap_or(0))
        .saturating_add(exponent);
    scale(digits, power)
}

/// A count that is written in a few digits and nothing else, as all are but the odd one.
fn plain(number: &[u8]) -> Option<u64> {
    if !(1..=9).contains(&number.len()) {
        return None;
    }
    number.iter().try_fold(0_u64, |count, byte| {
        let digit = byte.is_ascii_digit().then_some(byte & 15)?;
        Some(count.wrapping_mul(10).wrapping_add(digit.into()))
    })
}

/// `digits` × 10^`power`, if that is a count.
fn scale(digits: u64, power: i32) -> Option<u64> {
    if digits == 0 {
        return Some(0);
    }
    let factor = 10_u64.checked_pow(u32::try_from(power).ok()?)?;
    digits
        .checked_mul(factor)
        .filter(|count| *count < MAX_COUNT)
}

fn exponent_of(text: &[u8]) -> i32 {
    let digits = text.iter().filter(|byte| byte.is_ascii_digit());
    let value = digits.fold(0_i32, |value, digit| {
        value
            .saturating_mul(10)
            .saturating_add(i32::from(digit.wrapping_sub(b'0')))
    });
    if text.starts_with(b"-") {
        value.saturating_neg()
    } else {
        value
    }
}
