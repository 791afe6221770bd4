//! Keys and tokens whose issuers gave them a shape that can be told from text.

use super::entity::Extent;
use super::redact::Tail;
use super::window::REACH;

/// How such a token begins, and how many characters follow at least.
const PREFIXES: &[(&[u8], usize)] = &[
    (b"AIza", 35), // Google
    (b"AKIA", 16), // AWS
    (b"ASIA", 16), // AWS, temporary
    (b"SG.", 40),  // SendGrid
    (b"ck_", 36),  // `cohort key new`
    (b"kt_cg_", 12),
    (b"dop_v1_", 40), // DigitalOcean
    (b"ghp_", 36),    // GitHub, and the next four
    (b"gho_", 36),
    (b"ghu_", 36),
    (b"ghs_", 36),
    (b"ghr_", 36),
    (b"github_pat_", 40),
    (b"glpat-", 20), // GitLab
    (b"gsk_", 40),   // Groq
    (b"hf_", 30),    // Hugging Face
    (b"npm_", 36),
    (b"pypi-", 40),
    (b"rk_live_", 20), // Stripe, and the next three
    (b"rk_test_", 20),
    (b"sk_live_", 20),
    (b"sk_test_", 20),
    (b"sk-", 20),   // OpenAI, Anthropic, OpenRouter, …
    (b"xoxa-", 16), // Slack, and the next four
    (b"xoxb-", 16),
    (b"xoxp-", 16),
    (b"xoxr-", 16),
    (b"xoxs-", 16),
];

/// A token from here on.
pub(super) fn token(text: &[u8], at: usize) -> Option<Extent> {
    let rest = text.get(at..)?;
    if rest.starts_with(b"ey") {
        return is_jwt(rest).then(|| extent(rest));
    }
    let after = |prefix: &[u8]| rest.strip_prefix(prefix);
    let (behind, least) = PREFIXES
        .iter()
        .find_map(|(prefix, least)| Some((after(prefix)?, *least)))?;
    let token = run(behind, is_token);
    // Words joined by hyphens are no key, and neither is a version behind them: a key has a long part with digits.
    let mut parts = token.split(|byte| b"-_.".contains(byte));
    let coded = |part: &[u8]| part.len() >= 6 && part.iter().any(u8::is_ascii_digit);
    (token.len() >= least && parts.any(coded)).then(|| extent(rest))
}

/// Of what tokens are written with.
pub(super) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// How far a token reaches that begins here.
fn extent(rest: &[u8]) -> Extent {
    let (len, tail) = Tail::Token.take(rest);
    Extent { len, tail }
}

/// RFC 7519 in its compact form: a header that is an object and names an algorithm, then claims that are one, then a
/// signature.
fn is_jwt(rest: &[u8]) -> bool {
    const LEAST: usize = 10;
    let part = |rest| {
        run(rest, |byte: u8| {
            byte.is_ascii_alphanumeric() || b"_-".contains(&byte)
        })
    };
    let header = part(rest);
    if header.len() < LEAST || !is_jose_header(header) {
        return false;
    }
    if header.len() == rest.len() && rest.len() >= REACH {
        // It goes on beyond what is looked at.
        return true;
    }
    let Some([b'.', claims @ ..]) = rest.get(header.len()..) else {
        return false;
    };
    // So may the claims.
    let cut = rest.len() >= REACH && part(claims).len() == claims.len();
    cut || claims.starts_with(b"ey") && part(claims).len() >= LEAST
}

/// Whether the base64 of a JSON object begins here whose first member is one of a header (RFC 7515, RFC 7516), or which
/// names an algorithm further on.
fn is_jose_header(base64: &[u8]) -> bool {
    const NAMES: [&[u8]; 13] = [
        b"alg", b"crit", b"cty", b"enc", b"jku", b"jwk", b"kid", b"nonce", b"typ", b"ver", b"x5c",
        b"x5t", b"zip",
    ];
    let mut decoded = [0_u8; REACH];
    let mut len = 0_usize;
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in base64.iter().take(REACH) {
        let value = match byte {
            b'A'..=b'Z' => byte.wrapping_sub(b'A'),
            b'a'..=b'z' => byte.wrapping_sub(b'a').wrapping_add(26),
            b'0'..=b'9' => byte.wrapping_sub(b'0').wrapping_add(52),
            b'-' => 62,
            _ => 63,
        };
        bits = bits << 6 | u32::from(value);
        held = held.wrapping_add(6);
        if held >= 8 {
            held = held.wrapping_sub(8);
            if let (Some(place), Ok(byte)) =
                (decoded.get_mut(len), u8::try_from(bits >> held & 0xff))
            {
                *place = byte;
            }
            len = len.saturating_add(1);
        }
    }
    let Some((b'{', members)) = decoded.split_first() else {
        return false;
    };
    let members = members.trim_ascii_start();
    let named = members.strip_prefix(b"\"").is_some_and(|members| {
        let mut names = NAMES.iter();
        names.any(|name| {
            members
                .strip_prefix(*name)
                .is_some_and(|rest| rest.starts_with(b"\""))
        })
    });
    named || (members.starts_with(b"\"") && members.windows(6).any(|part| part == b"\"alg\":"))
}

/// RFC 7468: `-----BEGIN RSA PRIVATE KEY-----`, and the key.
pub(super) fn private_key(text: &[u8], at: usize) -> Option<Extent> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let label = text.get(at..)?.strip_prefix(BEGIN)?;
    let label = run(label, |byte| byte.is_ascii_uppercase() || byte == b' ');
    let is = label.ends_with(b"PRIVATE KEY") || label.ends_with(b"PRIVATE KEY BLOCK");
    is.then(|| Extent {
        len: BEGIN.len().saturating_add(label.len()),
        tail: Tail::KEY,
    })
}

pub(super) fn run(text: &[u8], is: impl Fn(u8) -> bool) -> &[u8] {
    let end = text.iter().position(|byte| !is(*byte));
    text.get(..end.unwrap_or(text.len())).unwrap_or_default()
}
