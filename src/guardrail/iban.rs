//! Bank accounts.

use super::entity::Extent;

/// Country, then the length of its account numbers (ISO 13616 registry).
const IBAN_LENGTHS: &[u8] = b"AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27GB22GE22GI23GL18GR27GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20YE30";

/// A bank account's number from here on, with or without spaces between its groups.
pub(super) fn iban(text: &[u8], at: usize) -> Option<Extent> {
    let rest = text.get(at..)?;
    let [a, b, c, d, ..] = rest else { return None };
    let country = [a.to_ascii_uppercase(), b.to_ascii_uppercase()];
    if !c.is_ascii_digit() || !d.is_ascii_digit() {
        return None;
    }
    let mut entries = IBAN_LENGTHS.as_chunks::<4>().0.iter();
    let [.., tens, ones] = entries.find(|[a, b, ..]| [*a, *b] == country)?;
    let wanted = usize::from(tens.wrapping_sub(b'0'))
        .saturating_mul(10)
        .saturating_add(usize::from(ones.wrapping_sub(b'0')));
    let mut account = [0_u8; 34];
    let mut len = 0_usize;
    let mut bytes = rest.iter().enumerate().peekable();
    while let Some((place, byte)) = bytes.next() {
        let next = bytes.peek();
        let goes_on = next.is_some_and(|(_, next)| next.is_ascii_alphanumeric());
        if b" -".contains(byte) && goes_on && len >= 4 {
            continue;
        }
        if !byte.is_ascii_alphanumeric() {
            break;
        }
        if let Some(slot) = account.get_mut(len) {
            *slot = byte.to_ascii_uppercase();
        }
        len = len.saturating_add(1);
        if len == wanted {
            let valid = !goes_on && passes_mod_97(account.get(..len).unwrap_or_default());
            return valid.then(|| Extent::of(place.saturating_add(1)));
        }
    }
    None
}

/// ISO 7064 MOD 97-10 over the account with its first four characters moved to the end.
fn passes_mod_97(account: &[u8]) -> bool {
    let (head, tail) = account.split_at_checked(4).unwrap_or_default();
    let rest = tail.iter().chain(head).fold(0_u32, |rest, byte| {
        let (value, base) = match byte {
            b'0'..=b'9' => (byte.wrapping_sub(b'0'), 10),
            _ => (byte.wrapping_sub(b'A').wrapping_add(10), 100),
        };
        rest.wrapping_mul(base).wrapping_add(value.into()) % 97
    });
    rest == 1
}
