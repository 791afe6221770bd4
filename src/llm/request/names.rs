//! The few distinct model names of a request.

use super::{Ambiguity, BodyError};
use crate::json::Text;
use crate::llm::MAX_MODEL;

/// More distinct models than this are not judged in one request.
const MAX_NAMES: usize = 64;

/// Distinct names, in the order they came.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<String>);

impl Names {
    pub(super) fn of(names: &[String]) -> Self {
        let mut distinct = Self::default();
        for name in names {
            distinct.add(name);
        }
        distinct
    }

    /// The index of a name, new or known; `None` when there are too many.
    pub(super) fn add(&mut self, name: &str) -> Option<usize> {
        if let Some(index) = self.0.iter().position(|known| known == name) {
            return Some(index);
        }
        if self.0.len() >= MAX_NAMES {
            return None;
        }
        self.0.push(name.to_owned());
        Some(self.0.len().saturating_sub(1))
    }

    /// Whether there are no two of them.
    pub(super) const fn are_one(&self) -> bool {
        self.0.len() < 2
    }

    pub(super) fn get(&self, index: usize) -> Option<&str> {
        self.0.get(index).map(String::as_str)
    }

    /// Whether this names what the others name. Gemini's bodies write `models/` before it, paths do not.
    pub(super) fn agrees(&self, name: &str) -> bool {
        let bare = |name: &str| name.strip_prefix("models/").unwrap_or(name).to_owned();
        self.0.iter().all(|known| bare(known) == bare(name))
    }

    pub(super) fn into_vec(self) -> Vec<String> {
        self.0
    }
}

/// A model's name, if it can be one.
pub(super) fn model_name(
    text: Text<'_>,
    param: impl FnOnce() -> String,
) -> Result<&str, BodyError> {
    let too_long = text.len > MAX_MODEL as u64;
    let reason = match text.as_str() {
        _ if too_long => Ambiguity::TooLong,
        None | Some("") => Ambiguity::NotAString,
        Some(name) if has_control(name) => Ambiguity::Control,
        Some(name) => return Ok(name),
    };
    Err(BodyError::Ambiguous {
        param: param(),
        reason,
    })
}

/// Whether a control character is in it. In all but the fewest names one look at the bytes tells.
fn has_control(name: &str) -> bool {
    !name.bytes().all(|byte| matches!(byte, b' '..=b'~')) && name.contains(char::is_control)
}
