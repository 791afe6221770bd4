//! Members that a request is judged by: models, bounds, whether the answer is a stream.

use super::Visitor;
use crate::json::{Container, Scalar, Span, Text};
use crate::llm::endpoint::Watched;
use crate::llm::request::bound::{Bound, BoundKind, whole_number};
use crate::llm::request::names::model_name;
use crate::llm::request::output::{Settings, SettingsPlace, Stated};
use crate::llm::request::{Ambiguity, BodyError, Gap, StreamOptions};

/// More places that name models than this are refused: Anthropic's largest batch.
const MAX_PLACES: usize = 100_000;

/// More different bounds in one body than this are refused.
const MAX_BOUNDS: usize = 32;

impl Visitor {
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

    /// Answers its key.
    fn settings_at(&mut self, bits: u64, place: SettingsPlace) -> Option<&'static str> {
        let Some([key]) = self.fields.path(bits) else {
            return None;
        };
        if let Some(spans) = &mut self.found.facts.edits {
            spans.settings.push(Settings { key, place });
        }
        Some(key)
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
    pub(super) fn bounded(&mut self, bound: Bound, value: Scalar<'_>, span: Span) {
        let number = match value {
            Scalar::Null => None,
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
                // Ollama takes a zero, too, for no bound.
                let number = number.filter(|tokens| *tokens > 0 || bound.name != "num_predict");
                self.found.facts.max_output_tokens = self.found.facts.max_output_tokens.max(number);
                self.found.facts.outputs.push(Stated {
                    name: bound.name,
                    tokens: number.or_else(|| (value != Scalar::Null).then_some(u64::MAX)),
                    inside: self.settings,
                    span,
                });
            }
        }
    }

    /// Remembers of an object into which something may be put that it has a member.
    pub(super) fn member_at(&mut self, depth: usize) {
        let Some(edits) = &mut self.found.facts.edits else {
            return;
        };
        let settings = edits.settings.last_mut();
        match (depth, settings, &mut edits.stream_options) {
            (1, ..) => edits.top.members = true,
            (
                2,
                Some(Settings {
                    place: SettingsPlace::Object(gap),
                    ..
                }),
                _,
            ) if self.settings.is_some() => gap.members = true,
            (_, _, Some(StreamOptions::Object { gap, .. })) if self.stream_options => {
                gap.members = true;
            }
            _ => {}
        }
    }

    /// The key just read, if it is a watched one, is one that readers differ on.
    #[cold]
    pub(super) fn doubtful(&mut self, reason: Ambiguity) {
        let near = self.path.near() & self.fields.watched_bits;
        if near != 0 {
            self.ambiguous(self.param(near), reason);
        }
    }

    #[inline(never)]
    pub(super) fn bound_key(&mut self, key: Text<'_>) {
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
    pub(super) fn scalar_watched(&mut self, value: Scalar<'_>, span: Span) {
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
    pub(super) fn open_watched(&mut self, container: Container, at: u64) {
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
            Some(Watched::Settings) if container == Container::Object => {
                self.settings = self.settings_at(bits, SettingsPlace::Object(inner));
            }
            Some(Watched::Settings | Watched::StreamOptions) => {
                self.wrong_type(self.param(bits), "an object");
            }
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
