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

/// Whether base64 has a header in it (RFC 7515, RFC 7516): `"alg":`, wherever it stands, or what a long one begins with,
/// `{"typ":`, `{"kid":`, `{"x5c":`.
fn is_jose_header(base64: &[u8]) -> bool {
    const ALGORITHM: [&[u8]; 3] = [b"JhbGciO", b"iYWxnIj", b"ImFsZyI"];
    const FIRST: [&[u8]; 3] = [b"eyJ0eXAiO", b"eyJraWQiO", b"eyJ4NWMiO"];
    let named = |part: &[u8]| ALGORITHM.contains(&part);
    base64.windows(7).any(named) || FIRST.iter().any(|first| base64.starts_with(first))
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
