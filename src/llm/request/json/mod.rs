//! JSON bodies: what the scanner's tokens mean where they stand.

mod text;
mod watched;

use super::bound::Bound;
use super::tools::Tools;
use super::{Ambiguity, BodyError, Found, Searched, Spans};
use crate::json::{
    Container, JsonError, KeyMatch, PathMatcher, Reads, Scalar, Scanner, Sink, Span, Text,
};
use crate::llm::endpoint::{Fields, dotted};
use text::{TextField, is_media_key};

/// Members at the top that say who asks, and which model: no model reads them.
const UNREAD: [&str; 8] = [
    "labels",
    "metadata",
    "model",
    "models",
    "prompt_cache_key",
    "requestMetadata",
    "safety_identifier",
    "user",
];

/// Reads one JSON body.
#[derive(Debug)]
pub(super) struct JsonReader {
    scanner: Scanner,
    visitor: Visitor,
}

impl JsonReader {
    /// `object`: whether the document must be an object.
    pub(super) fn new(fields: &'static Fields, object: bool) -> Self {
        let mut found = Found::default();
        found.facts.edits = object.then(|| Spans {
            default_key: match fields.models.first() {
                Some([key]) => Some(key),
                _ => None,
            },
            ..Spans::default()
        });
        Self {
            scanner: Scanner::new(),
            visitor: Visitor {
                fields,
                object,
                path: PathMatcher::new(&fields.patterns),
                found,
                main: None,
                refusal: None,
                bound: None,
                bounds: Vec::new(),
                settings: None,
                stream_options: false,
                unnamed: None,
                text: None,
                media_key: false,
                unread: false,
                searched: None,
                tools: None,
            },
        }
    }

    pub(super) fn search(&mut self, searched: Option<Box<Searched>>) {
        self.visitor.searched = searched;
    }

    pub(super) fn watch_tools(&mut self) {
        self.visitor.tools = Some(Tools::default());
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        let scanned = self.scanner.push(bytes, &mut self.visitor);
        self.visitor.verdict(scanned)
    }

    pub(super) fn finish(mut self: Box<Self>) -> Result<Found, BodyError> {
        let scanned = self.scanner.finish(&mut self.visitor);
        self.visitor.verdict(scanned)?;
        let mut found = self.visitor.found;
        if let Some(searched) = self.visitor.searched {
            searched.finish(&mut found.facts);
        }
        if let Some(main) = self.visitor.main {
            // Stable for the rest: the others keep their order.
            if let Some(models) = found.models.get_mut(..=main) {
                models.rotate_right(1);
            }
        }
        Ok(found)
    }
}

#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "where the scanner is; they exclude each other only in part"
)]
pub(super) struct Visitor {
    pub(super) fields: &'static Fields,
    object: bool,
    pub(super) path: PathMatcher,
    pub(super) found: Found,
    /// The place in `found.models` that the main model has.
    main: Option<usize>,
    /// The first thing wrong; the scanner goes on to the end of its chunk.
    refusal: Option<BodyError>,
    /// The key just read bounds the answer.
    bound: Option<Bound>,
    /// Keys of that kind so far, folded.
    bounds: Vec<String>,
    /// Inside an object whose keys bound the answer as those at the top do: under this one.
    settings: Option<&'static str>,
    /// Inside `stream_options`.
    stream_options: bool,
    /// Inside an object, at this depth, that stands for a model and has yet to name it, where these bits say.
    unnamed: Option<(usize, u64)>,
    /// Inside a text field that was opened at this depth.
    pub(super) text: Option<TextField>,
    /// The last key is one that media stand under.
    media_key: bool,
    /// Inside a member at the top that no model reads.
    unread: bool,
    /// The text, where it is looked through.
    searched: Option<Box<Searched>>,
    /// Tools, where they are watched for.
    pub(super) tools: Option<Tools>,
}

impl Visitor {
    /// The first error in the order of the body's bytes, which does not depend on where the body was cut.
    fn verdict(&self, scanned: Result<(), JsonError>) -> Result<(), BodyError> {
        match &self.refusal {
            Some(refusal) => Err(refusal.clone()),
            None => scanned.map_err(BodyError::Json),
        }
    }

    fn refuse(&mut self, error: BodyError) {
        self.refusal.get_or_insert(error);
    }

    fn ambiguous(&mut self, param: String, reason: Ambiguity) {
        self.refuse(BodyError::Ambiguous { param, reason });
    }

    fn wrong_type(&mut self, param: String, wanted: &'static str) {
        self.refuse(BodyError::WrongType { param, wanted });
    }

    fn param(&self, bits: u64) -> String {
        self.fields.path(bits).map(dotted).unwrap_or_default()
    }
}

impl Sink for Visitor {
    fn open(&mut self, container: Container, at: u64) {
        let depth = self.path.depth();
        self.tools_open();
        if let Some(bound) = self.bound.take() {
            self.wrong_type(bound.name, "a number");
        }
        if depth == 0 {
            if container == Container::Object {
                if let Some(edits) = &mut self.found.facts.edits {
                    edits.top.at = at.saturating_add(1);
                }
            } else if self.object {
                self.refuse(BodyError::NotObject);
            }
            return self.path.open(container);
        }
        if self.path.on_path() & self.fields.watched_bits != 0 {
            self.open_watched(container, at);
        }
        match self.text {
            None => {
                let field = self.text_field(self.path.matches());
                let list = container == Container::Array;
                self.text = field.map(|field| TextField { list, ..field });
            }
            // A list in a list of them: tokens, or a conversation.
            Some(field) if container == Container::Array => self.prompt(field),
            Some(_) => {}
        }
        self.path.open(container);
    }

    fn close(&mut self, _: Container, _: u64) {
        if let Some(tools) = &mut self.tools {
            tools.begun = false;
        }
        self.path.close();
        let depth = self.path.depth();
        if let Some((_, bits)) = self.unnamed.take_if(|(at, _)| *at == depth) {
            self.ambiguous(self.param(bits), Ambiguity::NotAString);
        }
        if depth <= 1 {
            self.settings = None;
            self.stream_options = false;
        }
        if self.text.is_some_and(|field| field.depth >= depth) {
            self.text = None;
        }
    }

    fn key(&mut self, key: Text<'_>, _: Span) {
        match self.path.key(key) {
            KeyMatch::CaseVariant => self.doubtful(Ambiguity::CaseVariant),
            KeyMatch::Duplicate => self.doubtful(Ambiguity::Duplicate),
            KeyMatch::Watched | KeyMatch::Unwatched => {}
        }
        let depth = self.path.depth();
        self.member_at(depth);
        if depth == 1 && self.searched.is_some() {
            self.unread = UNREAD.iter().any(|name| key.is(name));
        }
        if self.tools.is_some() {
            self.tools_key(key, depth);
        }
        if (depth == 1 || (depth == 2 && self.settings.is_some())) && Bound::may_be(key) {
            self.bound_key(key);
        }
        self.media_key = key.whole && is_media_key(key.bytes);
    }

    fn reads(&self) -> Reads {
        if self.searched.is_some() {
            Reads::All
        } else if self.media_key || self.path.matches() & self.fields.model_bits != 0 {
            Reads::Beginning
        } else {
            Reads::Length
        }
    }

    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "comes for every run of every text, and as a rule there is nothing to do"
    )]
    fn piece(&mut self, piece: &[u8]) {
        if self.searched.is_some() {
            self.look_through(piece, false);
        }
    }

    fn scalar(&mut self, value: Scalar<'_>, span: Span) {
        if let Scalar::Number(number) = value
            && self.searched.is_some()
        {
            self.look_through(number.bytes, true);
        }
        if self.searched.is_some() && self.end_of_text(value) {
            let model = self.path.matches() & self.fields.model_bits != 0;
            self.found.facts.sought.marks.add(span, !model);
        }
        self.tools_scalar(value == Scalar::Null);
        if let Some(bound) = self.bound.take() {
            return self.bounded(bound, value, span);
        }
        if self.path.depth() == 0 {
            if self.object {
                self.refuse(BodyError::NotObject);
            }
            return;
        }
        if self.path.on_path() & self.fields.watched_bits != 0 {
            self.scalar_watched(value, span);
        }
        if let Some(field) = self.text.or_else(|| self.text_field(self.path.matches())) {
            self.text(value, field);
        }
    }
}
