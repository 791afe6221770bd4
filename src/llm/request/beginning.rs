//! How a body begins whose content type does not say what it is.

use super::BodyError;
use crate::json::{JsonError, JsonErrorKind};

/// What came of a body of which nothing is told yet.
#[derive(Debug)]
pub(super) struct Beginning {
    /// The content type calls it JSON.
    json: bool,
    /// Nothing but what may stand before text in an encoding that is not UTF-8, or not plain UTF-8.
    marked: bool,
}

impl Beginning {
    pub(super) const fn new(json: bool) -> Self {
        Self {
            json,
            marked: false,
        }
    }

    /// Whether it is JSON, and what of these bytes is to be read; `None` as long as that is not told. What begins like an
    /// object is taken for one, as by servers that do not look at the content type.
    pub(super) fn tell<'a>(
        &mut self,
        bytes: &'a [u8],
    ) -> Result<Option<(bool, &'a [u8])>, BodyError> {
        if self.json {
            return Ok((!bytes.is_empty()).then_some((true, bytes)));
        }
        // Such servers find the encoding out, too.
        let mark = |byte: &u8| matches!(byte, 0 | 0xBB | 0xBF | 0xEF | 0xFE | 0xFF);
        let first = |byte: &u8| !byte.is_ascii_whitespace() && !mark(byte);
        let start = bytes.iter().position(first).unwrap_or(bytes.len());
        let (before, rest) = bytes.split_at_checked(start).unwrap_or_default();
        self.marked |= before.iter().any(mark);
        match rest.first() {
            None => Ok(None),
            Some(b'{') if self.marked => Err(BodyError::Json(JsonError {
                at: 0,
                kind: JsonErrorKind::ByteOrderMark,
            })),
            Some(first) => Ok(Some((*first == b'{', rest))),
        }
    }
}
