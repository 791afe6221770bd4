//! Kinds of personal data and secrets, and what of them begins at a place of a text.

use super::number::{self, Digits};
use super::{luhn, secret};

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
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Entities(u8);

impl Entities {
    /// Whether no kind is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Puts a kind in.
    pub const fn insert(&mut self, entity: Entity) {
        self.0 |= 1 << entity as u8;
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

/// The kinds, of those that are looked for, of which one begins here; of an address for mail, whose `@` is here.
pub(super) fn at(text: &[u8], at: usize, wanted: Entities) -> Entities {
    let mut found = Entities::default();
    let Some(&byte) = text.get(at) else {
        return found;
    };
    // Most bytes are letters inside a word.
    let starts = at
        .checked_sub(1)
        .and_then(|before| text.get(before))
        .copied();
    let inside_word = starts.is_some_and(|before| before.is_ascii_alphanumeric());
    let mut check = |entity, is: &dyn Fn() -> bool| {
        if wanted.contains(entity) && is() {
            found.insert(entity);
        }
    };
    match byte {
        b'@' => check(Entity::Email, &|| is_email(text, at)),
        b'0'..=b'9' if !inside_word => {
            check(Entity::CreditCard, &|| luhn::is_card(Digits::new(text, at)));
            check(Entity::Ssn, &|| number::is_ssn(text, at));
            check(Entity::Phone, &|| number::is_phone(text, at));
            check(Entity::IpAddress, &|| number::is_ip_address(text, at));
        }
        b'+' | b'(' if !inside_word => check(Entity::Phone, &|| number::is_phone(text, at)),
        b':' if starts != Some(b':') && !inside_word => {
            check(Entity::IpAddress, &|| number::is_ip_address(text, at));
        }
        b'A'..=b'Z' | b'a'..=b'z' if !inside_word => {
            check(Entity::Iban, &|| luhn::is_iban(text, at));
            check(Entity::IpAddress, &|| number::is_ip_address(text, at));
            check(Entity::Secret, &|| secret::is_secret(text, at));
        }
        b'-' if starts != Some(b'-') => check(Entity::Secret, &|| secret::is_private_key(text, at)),
        _ => {}
    }
    found
}

/// Whether the `@` here has a local part before it and a domain with a top level behind it.
fn is_email(text: &[u8], at: usize) -> bool {
    const LOCAL: usize = 64;
    let before = text.get(..at).unwrap_or_default();
    let local = before.iter().rev();
    let local = local.take_while(|byte| byte.is_ascii_alphanumeric() || b"._%+-".contains(byte));
    let mut local = local.take(LOCAL).peekable();
    // A dot is neither last nor alone.
    if local.peek().is_none_or(|byte| **byte == b'.') {
        return false;
    }
    let domain = text.get(at.saturating_add(1)..).unwrap_or_default();
    let end = domain
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric() && !b".-".contains(byte));
    let domain = domain
        .get(..end.unwrap_or(domain.len()))
        .unwrap_or_default();
    let domain = domain.strip_suffix(b".").unwrap_or(domain);
    let mut labels = domain.split(|byte| *byte == b'.');
    let top = labels.next_back().unwrap_or_default();
    let plain = |label: &[u8]| {
        !label.is_empty()
            && label.len() < 64
            && label.first() != Some(&b'-')
            && label.last() != Some(&b'-')
    };
    let mut named = labels.peekable();
    named.peek().is_some()
        && named.all(plain)
        && top.len() >= 2
        && (top.iter().all(u8::is_ascii_alphabetic) || top.starts_with(b"xn--"))
}
