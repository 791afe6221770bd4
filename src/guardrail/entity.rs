//! Kinds of personal data and secrets, and what of them begins at a place of a text.

use super::redact::Tail;
use super::{card, email, iban, number, secret};

/// A kind of thing that a `pii_detector` finds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Entity {
    /// A payment card's number: an issuer's prefix and length, and the check digit of ISO/IEC 7812-1.
    CreditCard,
    /// An address for mail (RFC 5322 `addr-spec`, without quotes and comments).
    Email,
    /// A bank account: the country's length and the check digits of ISO 13616.
    Iban,
    /// An IPv4 or IPv6 address.
    IpAddress,
    /// A number with its country code, or one of North America's as it is written there.
    Phone,
    /// A key or token of a known shape.
    Secret,
    /// A US social security number, by the rules of the SSA: no area 000, 666 or 9xx, no group 00, no serial 0000.
    Ssn,
}

impl Entity {
    /// All of them, by their names.
    pub const ALL: [(&'static str, Self); 7] = [
        ("credit_card", Self::CreditCard),
        ("ssn", Self::Ssn),
        ("email", Self::Email),
        ("phone", Self::Phone),
        ("iban", Self::Iban),
        ("ip_address", Self::IpAddress),
        ("secret", Self::Secret),
    ];

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        let mut all = Self::ALL.into_iter();
        all.find(|(_, entity)| *entity == self)
            .map_or("", |(name, _)| name)
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Entities(u8);

impl Entities {
    /// None of them.
    pub(super) const NONE: Self = Self(0);

    /// Whether no kind is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Puts a kind in.
    pub const fn insert(&mut self, entity: Entity) {
        self.0 |= 1 << entity as u8;
    }

    /// Whether one of them is in both.
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether a kind is in it.
    pub const fn contains(self, entity: Entity) -> bool {
        self.0 & 1 << entity as u8 != 0
    }

    /// Puts all of another set in.
    pub const fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// What is in this set, and not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What is in both.
    #[must_use]
    pub const fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Their names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let all = Entity::ALL.into_iter();
        all.filter(move |(_, entity)| self.contains(*entity))
            .map(|(name, _)| name)
    }
}

/// How far something reaches that begins at a place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Extent {
    /// Bytes, as far as can be seen.
    pub(super) len: usize,
    /// What of it may come behind them.
    pub(super) tail: Tail,
}

impl Extent {
    /// Of something that ends within sight.
    pub(super) const fn of(len: usize) -> Self {
        Self {
            len,
            tail: Tail::Nothing,
        }
    }
}

/// Whether something could begin here at all. Most bytes are spaces, and letters inside a word, and this is asked of each.
#[inline]
pub(super) fn may_begin(text: &[u8], at: usize) -> bool {
    match text.get(at) {
        Some(b'A'..=b'Z' | b'a'..=b'z') => {
            let last = at.checked_sub(1).and_then(|last| text.get(last));
            // Of these, some are escapes.
            !last.is_some_and(u8::is_ascii_alphanumeric)
                || matches!(last, Some(b'n' | b'r' | b't'))
                || email::ends_far(text, at)
        }
        Some(b'0'..=b'9' | b'+' | b'(' | b':' | b'-' | b'.' | b'_' | b'%' | 0xef) => true,
        _ => false,
    }
}

/// Tells of the kinds, of those that are looked for, of which one begins here.
pub(super) fn at(text: &[u8], at: usize, wanted: Entities, found: &mut dyn FnMut(Entity, Extent)) {
    let Some(&byte) = text.get(at) else {
        return;
    };
    let last = at.checked_sub(1).and_then(|last| text.get(last)).copied();
    let inside = last.is_some_and(|last| last.is_ascii_alphanumeric());
    let before = text.get(..at).unwrap_or_default();
    let starts = !inside || is_escape(before);
    let mut check = |entity, extent: fn(&[u8], usize) -> Option<Extent>| {
        if wanted.contains(entity)
            && let Some(extent) = extent(text, at)
        {
            found(entity, extent);
        }
    };
    match byte {
        b'0'..=b'9' | 0xef if number::begins(before, text, at) => {
            if starts || is_label(before) {
                check(Entity::CreditCard, card::card);
            }
            if starts {
                check(Entity::Ssn, number::ssn);
                check(Entity::Phone, number::phone);
                check(Entity::IpAddress, number::ip_address);
            }
        }
        b'+' | b'(' if starts => check(Entity::Phone, number::phone),
        b':' if last != Some(b':') && starts => check(Entity::IpAddress, number::ip_address),
        b'A'..=b'Z' | b'a'..=b'z' if starts => {
            check(Entity::Iban, iban::iban);
            check(Entity::IpAddress, number::ip_address);
            check(Entity::Secret, secret::token);
        }
        b'-' if last != Some(b'-') => check(Entity::Secret, secret::private_key),
        _ => {}
    }
    if wanted.contains(Entity::Email) && email::may_begin(text, at, byte, last) {
        check(Entity::Email, email::address);
    }
}

/// Whether a line's end stands before as JSON writes it: the arguments of tools are JSON in a string.
const fn is_escape(before: &[u8]) -> bool {
    matches!(before, [.., b'\\', b'n' | b'r' | b't'])
}

/// Whether what stands before is letters alone, as in `Visa4111111111111111`, and not part of some code.
fn is_label(before: &[u8]) -> bool {
    const LONGEST: usize = 12;
    let letters = before.iter().rev().take(LONGEST.saturating_add(1));
    let letters = letters
        .take_while(|byte| byte.is_ascii_alphabetic())
        .count();
    let start = before.len().saturating_sub(letters);
    let in_front = start.checked_sub(1).and_then(|at| before.get(at));
    (1..=LONGEST).contains(&letters) && !in_front.is_some_and(u8::is_ascii_alphanumeric)
}
