//! What parts the fields of a form, and where it may not stand.

use crate::llm::request::media_type::MediaType;
use memchr::memchr_iter;

/// Longer boundaries are not legal (RFC 2046, section 5.1.1).
const MAX_BOUNDARY: usize = 70;

/// The boundary that a form's content type names, or what is wrong with that.
pub(super) fn named(media_type: &MediaType<'_>) -> Result<String, &'static str> {
    const ONE: &str = "the content type must have exactly one boundary";
    if !media_type.is_utf8() {
        // Starlette reads names and values in it: in UTF-7 `+AG0-odel` is `model`.
        return Err("the content type must have no charset but UTF-8");
    }
    if !media_type.has_only(&["boundary", "charset"]) {
        // `boundary*1` is one to Werkzeug, `xboundary` to formidable, and `x="a;boundary=b"` has one to aiohttp.
        return Err("the content type must have a boundary and nothing else");
    }
    let mut boundaries = media_type.values("boundary");
    let (Some(Some(boundary)), None) = (boundaries.next(), boundaries.next()) else {
        return Err(ONE);
    };
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    if boundary.is_empty()
        || boundary.len() > MAX_BOUNDARY
        || boundary.ends_with(' ')
        || !boundary.bytes().all(legal)
    {
        return Err("the boundary in the content type is not legal");
    }
    Ok(boundary)
}

/// Looks for the boundary in what is no delimiter: Django takes it for one wherever it stands.
#[derive(Debug)]
pub(super) struct Stray {
    /// With its dashes.
    boundary: Vec<u8>,
    /// The last bytes, in which it may have begun.
    tail: Vec<u8>,
}

impl Stray {
    pub(super) fn new(boundary: &str) -> Self {
        Self {
            boundary: format!("--{boundary}").into_bytes(),
            tail: Vec::new(),
        }
    }

    /// What comes next does not go on what came.
    pub(super) fn restart(&mut self) {
        self.tail.clear();
    }

    /// Where in these bytes it ends.
    pub(super) fn end_in(&mut self, bytes: &[u8]) -> Option<usize> {
        let most = self.boundary.len().saturating_sub(1);
        let before = self.tail.len();
        self.tail
            .extend_from_slice(bytes.get(..most).unwrap_or(bytes));
        let across = self.find(&self.tail);
        let across = across.and_then(|end| end.checked_sub(before));
        let end = across.or_else(|| self.find(bytes));
        if let Some(at) = bytes.len().checked_sub(most) {
            self.tail.clear();
            self.tail
                .extend_from_slice(bytes.get(at..).unwrap_or_default());
        }
        let excess = self.tail.len().saturating_sub(most);
        self.tail.drain(..excess);
        end
    }

    fn find(&self, bytes: &[u8]) -> Option<usize> {
        let mut dashes = memchr_iter(b'-', bytes);
        let at = dashes.find(|at| {
            let rest = bytes.get(*at..);
            rest.is_some_and(|rest| rest.starts_with(&self.boundary))
        })?;
        at.checked_add(self.boundary.len())
    }
}
