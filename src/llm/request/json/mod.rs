//! JSON bodies: what the scanner's tokens mean where they stand.

mod text;
use super::bound::{Bound, BoundKind, whole_number};
use super::names::model_name;
use super::output::{Settings, SettingsPlace, Stated};
use super::tools::Tools;
use super::{Ambiguity, BodyError, Found, Gap, Searched, Spans, StreamOptions};
use crate::json::{
    Container, JsonError, KeyMatch, PathMatcher, Reads, Scalar, Scanner, Sink, Span, Text,
};
use crate::llm::endpoint::{Fields, Watched, dotted};
use text::{TextField, is_media_key};

/// More places that name models than this are refused: Anthropic's largest batch.
const MAX_PLACES: usize = 100_000;

/// More different bounds in one body than this are refused.
const MAX_BOUNDS: usize = 32;

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
                settings: false,
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
    /// Inside an object whose keys bound the answer as those at the top do.
    settings: bool,
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

    fn model(&mut self, value: Scalar<'_>, bits: u64, span: Span) {
        let Scalar::String(text) = value else {
            return self.ambiguous(self.param(bits), Ambiguity::NotAString);
        };
        let name = match model_name(text, || self.param(bits)) {
            Ok(name) => name,
            Err(error) => return self.refuse(error),
        };
        let Some(index) = self
            .found
            .names
            .add(name)
            .filter(|_| self.found.models.len() < MAX_PLACES)
        else {
            return self.refuse(BodyError::too_many());
        };
        self.unnamed = None;
        if bits & 1 == 1 && self.main.is_none() {
            self.main = Some(self.found.models.len());
        }
        self.found.models.push((index, span));
    }

    fn watched(&mut self, field: Watched, value: Scalar<'_>, bits: u64, span: Span) {
        match (field, value) {
            (Watched::Background, Scalar::Bool(value)) => self.found.facts.background = value,
            (Watched::Stream, Scalar::Bool(value)) => self.found.stream = Some(value),
            (Watched::IncludeUsage, Scalar::Bool(value)) => {
                self.found.facts.include_usage = Some(value);
                self.include_usage_at(span);
            }
            (Watched::IncludeUsage, Scalar::Null) => self.include_usage_at(span),
            (Watched::StreamOptions, Scalar::Null) => {
                self.stream_options_at(StreamOptions::Null(span));
            }
            (Watched::Settings, Scalar::Null) => {
                self.settings_at(bits, SettingsPlace::Null(span));
            }
            (_, Scalar::Null) => {}
            (Watched::StreamOptions | Watched::Settings, _) => {
                self.wrong_type(self.param(bits), "an object");
            }
            _ => self.wrong_type(self.param(bits), "true or false"),
        }
    }

    fn settings_at(&mut self, bits: u64, place: SettingsPlace) {
        if let Some([key]) = self.fields.path(bits)
            && let Some(spans) = &mut self.found.facts.edits
        {
            spans.settings = Some(Settings { key, place });
        }
    }

    fn stream_options_at(&mut self, place: StreamOptions) {
        if let Some(spans) = &mut self.found.facts.edits {
            spans.stream_options = Some(place);
        }
    }

    fn include_usage_at(&mut self, span: Span) {
        if let Some(spans) = &mut self.found.facts.edits
            && let Some(StreamOptions::Object { include_usage, .. }) = &mut spans.stream_options
        {
            *include_usage = Some(span);
        }
    }

    /// The value of a key that bounds the answer. A negative one means "no bound" to the servers that take it.
    fn bounded(&mut self, bound: Bound, value: Scalar<'_>, span: Span) {
        let number = match value {
            Scalar::Null => return,
            Scalar::Number(Text {
                whole: true, bytes, ..
            }) => std::str::from_utf8(bytes).ok().and_then(whole_number),
            _ => return self.wrong_type(bound.name, "a number"),
        };
        match bound.kind {
            BoundKind::Choices => {
                self.found.facts.choices = self.found.facts.choices.max(number.unwrap_or(0));
            }
            BoundKind::Input => {}
            BoundKind::Output => {
                self.found.facts.max_output_tokens = self.found.facts.max_output_tokens.max(number);
                self.found.facts.outputs.push(Stated {
                    name: bound.name,
                    tokens: number,
                    inside: self.path.depth() > 1,
                    span,
                });
            }
        }
    }

    /// Remembers of an object into which something may be put that it has a member.
    fn member_at(&mut self, depth: usize) {
        let Some(edits) = &mut self.found.facts.edits else {
            return;
        };
        match (depth, &mut edits.settings, &mut edits.stream_options) {
            (1, ..) => edits.top.members = true,
            (
                2,
                Some(Settings {
                    place: SettingsPlace::Object(gap),
                    ..
                }),
                _,
            ) if self.settings => gap.members = true,
            (_, _, Some(StreamOptions::Object { gap, .. })) if self.stream_options => {
                gap.members = true;
            }
            _ => {}
        }
    }

    /// The key just read, if it is a watched one, is one that readers differ on.
    #[cold]
    fn doubtful(&mut self, reason: Ambiguity) {
        let near = self.path.near() & self.fields.watched_bits;
        if near != 0 {
            self.ambiguous(self.param(near), reason);
        }
    }

    #[inline(never)]
    fn bound_key(&mut self, key: Text<'_>) {
        let Some((kind, folded, canonical)) = Bound::of(key) else {
            return;
        };
        let name = key.as_str().unwrap_or_default().to_owned();
        if !canonical {
            return self.ambiguous(name, Ambiguity::CaseVariant);
        }
        if self.bounds.contains(&folded) || self.bounds.len() >= MAX_BOUNDS {
            return self.ambiguous(name, Ambiguity::Duplicate);
        }
        self.bounds.push(folded);
        self.bound = Some(Bound { kind, name });
    }

    /// The bits, of those on the way to a watched place, that go on inside the current value.
    fn on_way(&self) -> u64 {
        self.path.on_path() & !self.path.matches() & self.fields.watched_bits
    }

    /// A scalar stands at a watched place, or on the way to one.
    #[inline(never)]
    fn scalar_watched(&mut self, value: Scalar<'_>, span: Span) {
        let bits = self.path.matches();
        let models = bits & self.fields.model_bits;
        if models != 0 {
            self.model(value, models, span);
        } else if let Some(field) = self.fields.watched(bits) {
            self.watched(field, value, bits, span);
        } else if self.on_way() != 0 && value != Scalar::Null {
            self.ambiguous(self.param(self.on_way()), Ambiguity::NotAString);
        }
    }

    /// A container begins on the way to a watched place, or at one: inside it models are named, or there is something
    /// wrong with it.
    #[inline(never)]
    fn open_watched(&mut self, container: Container, at: u64) {
        let bits = self.path.matches();
        let models = bits & self.fields.model_bits;
        let inside = self.path.inside(container);
        let goes_on = inside & self.fields.model_bits;
        let inner = Gap {
            at: at.saturating_add(1),
            members: false,
        };
        match self.fields.watched(bits) {
            _ if models != 0 && goes_on == 0 => {
                self.ambiguous(self.param(models), Ambiguity::NotAString);
            }
            // LiteLLM reads `{"fallbacks": [{"a": ["b"]}]}`, too.
            _ if models != 0 => self.unnamed = Some((self.path.depth(), goes_on)),
            Some(Watched::StreamOptions) if container == Container::Object => {
                self.stream_options_at(StreamOptions::Object {
                    gap: inner,
                    include_usage: None,
                });
                self.stream_options = true;
            }
            Some(Watched::Settings) => {
                self.settings = container == Container::Object;
                self.settings_at(bits, SettingsPlace::Object(inner));
            }
            Some(Watched::StreamOptions) => self.wrong_type(self.param(bits), "an object"),
            Some(_) => self.wrong_type(self.param(bits), "true or false"),
            None => {
                let on_way = self.on_way();
                if on_way != 0 && on_way & inside == 0 {
                    self.ambiguous(self.param(on_way), Ambiguity::NotAString);
                }
            }
        }
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
        if self.text.is_none() {
            self.text = self.text_field(self.path.matches());
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
            self.settings = false;
            self.stream_options = false;
        }
        self.text = self.text.filter(|field| field.depth < depth);
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
        if (depth == 1 || (depth == 2 && self.settings)) && Bound::may_be(key) {
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
            self.found.facts.marks.add(span, !model);
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
            self.text(value, field.tokens);
        }
    }
}
