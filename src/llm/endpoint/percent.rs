//! Percent-decoding (RFC 3986, section 2.1), once, and what is wrong with a request target.

use std::fmt;

/// Why a request target was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PathError {
    /// `.` or `..` as a segment.
    DotSegment,
    /// An escape that decodes to a percent sign.
    DoubleEncoding,
    /// Two slashes in a row.
    EmptySegment,
    /// A backslash, fragment, control character or byte that is not UTF-8; or no slash at the beginning.
    ForbiddenByte,
    /// The model that path or query name is too long, or the query does not name exactly one.
    Model,
    /// A query that makes Google's servers take the request for another one (`$httpMethod`, `$req.…`), or leave the usage
    /// out of its answer (`fields`).
    Override,
    /// `%` without two hex digits.
    PercentEncoding,
    /// More than one row of the table fits.
    TwoRows,
}

impl PathError {
    /// The error code that the caller sees.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Model => "model_ambiguous",
            _ => "invalid_path",
        }
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DotSegment => "the path must not have '.' or '..' as a segment",
            Self::DoubleEncoding => "the path must not be encoded twice ('%25')",
            Self::EmptySegment => "the path must not have an empty segment ('//')",
            Self::ForbiddenByte => {
                "the path must begin with '/' and must not hold control characters, '\\', '#' or bytes that are not UTF-8"
            }
            Self::Model => "the path or query must name the model exactly once, in at most 256 bytes",
            Self::Override => {
                "the query must not name '$http…', '$req…', 'fields', 'callback', or an 'alt' but 'sse' and 'json'"
            }
            Self::PercentEncoding => "every '%' in the path must be followed by two hex digits",
            Self::TwoRows => "the path could mean more than one endpoint or model",
        })
    }
}

impl std::error::Error for PathError {}

/// A segment, percent-decoded once.
pub(super) fn decode(raw: &[u8]) -> Result<String, PathError> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter().copied();
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' {
            let byte = escape(&mut bytes)?;
            if byte == b'%' {
                return Err(PathError::DoubleEncoding);
            }
            byte
        } else {
            if byte == b'#' {
                return Err(PathError::ForbiddenByte);
            }
            byte
        };
        if byte.is_ascii_control() || byte == b'\\' {
            return Err(PathError::ForbiddenByte);
        }
        decoded.push(byte);
    }
    String::from_utf8(decoded).map_err(|_| PathError::ForbiddenByte)
}

/// A name or value of a query.
pub(super) fn decode_query(raw: &[u8]) -> Result<String, PathError> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter().copied();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => escape(&mut bytes)?,
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(decoded).map_err(|_| PathError::Model)
}

/// The two digits after a percent sign.
fn escape(bytes: &mut impl Iterator<Item = u8>) -> Result<u8, PathError> {
    let mut digit = || {
        bytes
            .next()
            .and_then(|byte| char::from(byte).to_digit(16))
            .ok_or(PathError::PercentEncoding)
    };
    let (high, low) = (digit()?, digit()?);
    u8::try_from(high << 4 | low).map_err(|_| PathError::PercentEncoding)
}
