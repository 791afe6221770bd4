//! Addresses for mail.

use super::entity::Extent;
use super::redact::Tail;
use super::window::REACH;

/// RFC 5321, section 4.5.3.1.1.
const LONGEST_LOCAL: usize = 64;

const fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-')
}

/// Whether the local part of an address could begin here: at the beginning of a run of its characters, or, of one that is
/// too long, so far from its end as it may be.
pub(super) fn may_begin(text: &[u8], at: usize, byte: u8, before: Option<u8>) -> bool {
    is_local(byte) && (!before.is_some_and(is_local) || ends_far(text, at))
}

/// Whether a local part that begins here and is as long as can be would be one.
pub(super) fn ends_far(text: &[u8], at: usize) -> bool {
    text.get(at.saturating_add(LONGEST_LOCAL)) == Some(&b'@')
}

/// An address from here on: a local part, then a domain with a top level.
pub(super) fn address(text: &[u8], at: usize) -> Option<Extent> {
    let rest = text.get(at..)?;
    let local = rest.iter().take_while(|byte| is_local(**byte)).count();
    let (local, behind) = rest.split_at_checked(local)?;
    let domain = behind.strip_prefix(b"@")?;
    // A dot is neither last nor alone. `git@github.com` is a place, nobody gets mail there.
    if local.len() > LONGEST_LOCAL
        || local.last().is_none_or(|last| *last == b'.')
        || local.eq_ignore_ascii_case(b"git")
        || is_user(text.get(..at)?)
    {
        return None;
    }
    let end = domain
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric() && !b".-".contains(byte));
    let (domain, further) = domain.split_at_checked(end.unwrap_or(domain.len()))?;
    if is_path(further) {
        return None;
    }
    let domain = domain.strip_suffix(b".").unwrap_or(domain);
    let mut labels = domain.split(|byte| *byte == b'.');
    let top = labels.next_back()?;
    let plain = |label: &[u8]| {
        !label.is_empty()
            && label.len() < 64
            && label.first() != Some(&b'-')
            && label.last() != Some(&b'-')
    };
    let mut named = labels.peekable();
    let is = named.peek().is_some()
        && named.all(plain)
        && top.len() >= 2
        && (top.iter().all(u8::is_ascii_alphabetic) || top.starts_with(b"xn--"));
    let len = local.len().saturating_add(1).saturating_add(domain.len());
    // A domain may be longer than what can be seen.
    let tail = if len == rest.len() && len >= REACH {
        Tail::Token
    } else {
        Tail::Nothing
    };
    is.then_some(Extent { len, tail })
}

/// Whether it is the user in a URL (RFC 3986, section 3.2.1): `https://user:password@host`.
fn is_user(before: &[u8]) -> bool {
    const LONGEST_USER: usize = 128;
    let is = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:%".contains(byte);
    let user = before.iter().rev().take(LONGEST_USER);
    let user = user.take_while(|byte| is(byte)).count();
    let kept = before.len().saturating_sub(user);
    before.get(..kept).unwrap_or_default().ends_with(b"//")
}

/// Whether a path follows, as `scp` and `git` write them: `user@host:path/file`.
fn is_path(behind: &[u8]) -> bool {
    let Some((b':', path)) = behind.split_first() else {
        return false;
    };
    let is = |byte: &&u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(byte);
    path.iter().take_while(is).any(|byte| *byte == b'/')
}
