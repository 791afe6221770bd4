//! Numbers: the grammar of RFC 8259, section 6, and whether a double can hold them.

use super::{JsonErrorKind, Token};

/// The largest decimal exponent of a double: its maximum is 1.797…e308.
const MAX_EXPONENT: i64 = 308;

/// Longer numbers are read digit by digit.
const MAX_SIMPLE: usize = 16;

/// The number that begins here, if it is all there and neither long nor written with an exponent: then a double holds it.
pub(super) fn simple(bytes: &[u8]) -> Option<&[u8]> {
    let mut point = None;
    for (at, byte) in bytes.iter().take(MAX_SIMPLE).enumerate() {
        match byte {
            b'0'..=b'9' => {}
            b'.' if point.is_none() && at > 0 => point = Some(at),
            b'-' | b'+' | b'.' | b'e' | b'E' => return None,
            _ => {
                let number = bytes.get(..at)?;
                // A zero that digits follow, and a point that none do.
                let padded = bytes.first() == Some(&b'0') && point.unwrap_or(at) > 1;
                let ends = number.last() != Some(&b'.');
                return (ends && !padded).then_some(number);
            }
        }
    }
    None
}

/// A number being read, digit by digit.
#[derive(Debug)]
pub(super) struct Number {
    state: State,
    /// Whether a digit other than zero came.
    nonzero: bool,
    /// Power of ten of the first such digit, without the exponent part.
    leading: i64,
    exponent: i64,
    negative_exponent: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Start,
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    E,
    Sign,
    Exponent,
}

impl Number {
    pub(super) const fn new() -> Self {
        Self {
            state: State::Start,
            nonzero: false,
            leading: 0,
            exponent: 0,
            negative_exponent: false,
        }
    }

    /// Takes one more byte, or returns false at the first that is not part of the number.
    pub(super) fn accept(&mut self, byte: u8) -> Result<bool, JsonErrorKind> {
        self.state = match (self.state, byte) {
            (State::Start, b'-') => State::Minus,
            (State::Start | State::Minus, b'0') => State::Zero,
            (State::Start | State::Minus, b'1'..=b'9') => {
                self.nonzero = true;
                State::Integer
            }
            (State::Integer, b'0'..=b'9') => {
                self.leading = self.leading.saturating_add(1);
                State::Integer
            }
            (State::Zero | State::Integer, b'.') => State::Point,
            (State::Point | State::Fraction, b'0'..=b'9') => {
                if !self.nonzero {
                    self.leading = self.leading.saturating_sub(1);
                    self.nonzero = byte != b'0';
                }
                State::Fraction
            }
            (State::Zero | State::Integer | State::Fraction, b'e' | b'E') => State::E,
            (State::E, b'+' | b'-') => {
                self.negative_exponent = byte == b'-';
                State::Sign
            }
            (State::E | State::Sign | State::Exponent, b'0'..=b'9') => {
                let digit = i64::from(byte.wrapping_sub(b'0'));
                self.exponent = self.exponent.saturating_mul(10).saturating_add(digit);
                State::Exponent
            }
            // `01`, `1.2.3`, `1e5e5` end here, and what follows is refused as the byte after a value.
            (State::Zero | State::Integer | State::Fraction | State::Exponent, _) => {
                return Ok(false);
            }
            (State::Start | State::Minus | State::Point | State::E | State::Sign, _) => {
                return Err(JsonErrorKind::Syntax);
            }
        };
        Ok(true)
    }

    /// The number has ended after `token`.
    pub(super) fn finish(&self, token: &Token) -> Result<(), JsonErrorKind> {
        if matches!(
            self.state,
            State::Start | State::Minus | State::Point | State::E | State::Sign
        ) {
            return Err(JsonErrorKind::Incomplete);
        }
        if !self.nonzero {
            return Ok(());
        }
        // `serde_json` gives up on exponents that do not fit an `i32`, whatever the digits before them.
        let in_range = if self.negative_exponent {
            self.leading.saturating_sub(self.exponent) < MAX_EXPONENT
        } else {
            self.exponent <= i64::from(i32::MAX)
                && self.leading.saturating_add(self.exponent) < MAX_EXPONENT
        };
        if in_range || self.on_the_edge(token) {
            return Ok(());
        }
        Err(JsonErrorKind::NumberOutOfRange)
    }

    /// Numbers near the largest double, which JSON schemas do state as a `maximum`. Rounding is part of the question,
    /// and `serde_json` does it the short way: so is it done here.
    fn on_the_edge(&self, token: &Token) -> bool {
        let exponent = if self.negative_exponent {
            self.exponent.saturating_neg()
        } else {
            self.exponent
        };
        let text = token.text();
        self.leading.saturating_add(exponent) == MAX_EXPONENT && text.whole && is_finite(text.bytes)
    }
}

/// Powers of ten, from that of the first digit of a number on the edge down to that of its twentieth.
const POWERS: [f64; 20] = [
    1e308, 1e307, 1e306, 1e305, 1e304, 1e303, 1e302, 1e301, 1e300, 1e299, 1e298, 1e297, 1e296,
    1e295, 1e294, 1e293, 1e292, 1e291, 1e290, 1e289,
];

/// Whether a number whose first digit stands for 10^308 is a double: as many digits as fit an integer of 64 bits, times
/// a power of ten.
fn is_finite(number: &[u8]) -> bool {
    let digits = number
        .iter()
        .take_while(|byte| !matches!(byte, b'e' | b'E'))
        .filter(|byte| byte.is_ascii_digit())
        .skip_while(|byte| **byte == b'0');
    let (mut significand, mut power) = (0_u64, 0.0);
    for (byte, next) in digits.zip(POWERS) {
        let digit = u64::from(byte.wrapping_sub(b'0'));
        let Some(longer) = significand
            .checked_mul(10)
            .and_then(|shifted| shifted.checked_add(digit))
        else {
            break;
        };
        (significand, power) = (longer, next);
    }
    #[expect(clippy::cast_precision_loss, reason = "the rounding that is asked for")]
    let rounded = significand as f64 * power;
    rounded.is_finite()
}

/// The value of a number that the scanner has accepted. Its last digits need not be exact: those that are cost the
/// standard library 14 KB of tables.
pub fn decimal(text: &str) -> f64 {
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let negative = exponent.starts_with('-');
    let limit = if negative { i64::MIN } else { i64::MAX };
    let mut exponent: i64 = exponent.parse().unwrap_or(limit);
    let (mut value, mut place) = (0.0, 0);
    for byte in digits.bytes() {
        match byte {
            b'.' => place = 1,
            b'0'..=b'9' if value < 1e300 => {
                value = value * 10.0 + f64::from(byte.wrapping_sub(b'0'));
                exponent = exponent.saturating_sub(place);
            }
            b'0'..=b'9' => exponent = exponent.saturating_add(1).saturating_sub(place),
            _ => {}
        }
    }
    // A double holds no larger power of ten; after three of them the smallest are zero.
    for _ in 0..3 {
        let step = exponent.clamp(-MAX_EXPONENT, MAX_EXPONENT);
        exponent = exponent.saturating_sub(step);
        let power = 10_f64.powi(i32::try_from(step.unsigned_abs()).unwrap_or_default());
        if step < 0 {
            value /= power;
        } else {
            value *= power;
        }
    }
    if text.starts_with('-') { -value } else { value }
}
