//! What of a body is text: how much of it there is, and what is looked through.

use super::Visitor;
use crate::json::{Scalar, Text};

/// Shorter strings are text wherever they stand.
const MIN_MEDIA: u64 = 256;

/// What a number of a list of tokens is counted as, in bytes of text.
const TOKEN_BYTES: u64 = 4;

#[derive(Clone, Copy, Debug)]
pub(in crate::llm::request) struct TextField {
    pub(super) depth: usize,
    /// Numbers in it are tokens.
    pub(super) tokens: bool,
    /// It is a list.
    pub(super) list: bool,
}

impl Visitor {
    /// Something begins that may be one of several prompts.
    pub(super) fn prompt(&mut self, field: TextField) {
        if field.list && self.path.depth() == field.depth.saturating_add(1) {
            let facts = &mut self.found.facts;
            facts.prompts = facts.prompts.saturating_add(1);
        }
    }

    pub(super) fn text(&mut self, value: Scalar<'_>, field: TextField) {
        if field.tokens && matches!(value, Scalar::String(_)) {
            self.prompt(field);
        }
        let facts = &mut self.found.facts;
        let bytes = match value {
            Scalar::String(text) if self.media_key && is_media(text) => {
                facts.media = facts.media.saturating_add(1);
                return;
            }
            Scalar::String(text) => text.len,
            Scalar::Number(_) if field.tokens => TOKEN_BYTES,
            _ => return,
        };
        facts.text_bytes = facts.text_bytes.saturating_add(bytes);
    }

    /// All that a model might read is looked through, not only what is known to be text: of a new field nothing is let
    /// through because nobody knew its name. Numbers at the top are settings, and so are bounds.
    pub(super) fn look_through(&mut self, piece: &[u8], number: bool) {
        let bits = self.path.matches();
        let known = self.text.is_some() || self.text_field(bits).is_some();
        let setting = number && (self.path.depth() == 1 || self.bound.is_some());
        let other = !self.unread && !setting && bits & self.fields.model_bits == 0;
        if (known || other)
            && let Some(searched) = &mut self.searched
        {
            searched.push(piece);
        }
    }

    /// A value is over, of which whatever is text was looked through; whether it has something in it to remember the place of.
    pub(super) fn end_of_text(&mut self, value: Scalar<'_>) -> bool {
        let depth = self.path.depth();
        // Lists of tokens, or lists of those; further inside are the arguments of tools.
        let tokens = |field: TextField| field.tokens && depth <= field.depth.saturating_add(2);
        let tokens = self.text.is_some_and(tokens);
        let media = self.media_key;
        let Some(searched) = &mut self.searched else {
            return false;
        };
        if let Some(prompt) = &mut searched.prompt {
            match value {
                Scalar::String(text) if media && is_media(text) => prompt.discard(),
                // Text that only the model's own tokenizer can read.
                Scalar::Number(_) if tokens => prompt.lack(),
                _ => {}
            }
        }
        searched.end()
    }

    pub(super) fn text_field(&self, bits: u64) -> Option<TextField> {
        let bits = bits & self.fields.text_bits;
        if bits == 0 {
            return None;
        }
        let path = self.fields.path(bits)?;
        Some(TextField {
            depth: self.path.depth(),
            tokens: matches!(path, ["input" | "prompt"]),
            list: false,
        })
    }
}

/// Whether images, sounds and files stand under this key.
pub(super) const fn is_media_key(key: &[u8]) -> bool {
    matches!(
        key,
        b"audio"
            | b"b64_json"
            | b"bytes"
            | b"bytesBase64Encoded"
            | b"data"
            | b"file_data"
            | b"image"
            | b"image_url"
            | b"images"
            | b"url"
            | b"video"
    )
}

/// Whether a string, under a key where such things stand, is a `data:` URL or base64.
fn is_media(text: Text<'_>) -> bool {
    text.len >= MIN_MEDIA
        && (text.bytes.starts_with(b"data:")
            || text
                .bytes
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+/=-_\r\n".contains(byte)))
}
