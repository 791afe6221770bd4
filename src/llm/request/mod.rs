//! What a request's body says: its models, how much it may produce, how it may be rewritten.
//!
//! A push parser: chunks in, [`Facts`] at the end, no copy of the body kept. Whatever two readers could
//! understand differently is refused. It judges no model; that is the caller's.

mod beginning;
mod bound;
mod error;
mod json;
mod media_type;
mod multipart;
mod names;
mod output;
mod redact;
mod rewrite;
#[cfg(test)]
mod tests;
mod tools;

use self::beginning::Beginning;
pub use self::error::{Ambiguity, BodyError};
use self::json::JsonReader;
use self::media_type::{Kind, MediaType};
pub use self::multipart::FormError;
use self::multipart::FormReader;
use self::names::Names;
use self::output::{Settings, Stated};
pub(crate) use self::redact::quoted;
pub use self::rewrite::Rewrite;

use super::endpoint::{Body, Call, Streams};
use crate::guardrail::{Findings, Prompt, Screen, Search};
use crate::json::Span;
use crate::rare::{Rare, Seldom};
use std::rc::Rc;

/// What a picture or a sound costs, about: its bytes say nothing of it.
const MEDIA_TOKENS: u64 = 1_000;

/// What a request says, path and body together.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Facts {
    /// Every model it names, each once; the one that answers first.
    pub models: Vec<String>,
    /// Whether the answer will be a stream.
    pub stream: bool,
    /// `stream_options.include_usage`, where stated.
    pub include_usage: Option<bool>,
    /// The largest stated bound on output tokens.
    pub max_output_tokens: Option<u64>,
    /// How many answers to a prompt are asked for, at least 1.
    pub choices: u64,
    /// How many prompts are in a list of them; 0 where there is none.
    pub prompts: u64,
    /// Bytes of text that the model reads: string values, unescaped; four for each number of a list of tokens.
    pub text_bytes: u64,
    /// Images, sounds and files in the body, which are not in `text_bytes`.
    pub media: u64,
    /// Whether the answer is to be fetched later.
    pub background: bool,
    /// Whether the model is given tools; only where that was asked for.
    pub tools: bool,
    /// The bounds that `max_output_tokens` is the largest of.
    outputs: Vec<Stated>,
    /// Where a JSON body can be changed.
    edits: Option<Spans>,
    sought: Rare<Sought>,
}

/// What was looked for in a request's text.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Sought {
    /// What was found, where it was searched.
    findings: Findings,
    /// The text, where it was to be kept.
    prompt: Option<Prompt>,
    /// Where that is which may have to be redacted.
    marks: Marks,
}

impl Seldom for Sought {
    const NONE: &'static Self = &Self {
        findings: Findings::NONE,
        prompt: None,
        marks: Marks {
            spans: Vec::new(),
            others: false,
        },
    };
}

impl Facts {
    /// What was found in its text, where it was searched.
    pub fn findings(&self) -> &Findings {
        &self.sought.findings
    }

    /// How many answers are asked for, to all prompts together.
    pub fn answers(&self) -> u64 {
        let choices = self.choices.max(1);
        choices.saturating_mul(self.prompts.max(1))
    }

    /// What the prompt will cost, by the rule of thumb that errs least over languages: four bytes a token. No body is so long
    /// that its media overflow.
    pub const fn prompt_tokens(&self) -> u64 {
        self.text_bytes
            .div_ceil(4)
            .saturating_add(self.media.wrapping_mul(MEDIA_TOKENS))
    }
}

/// Texts that have something in them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Marks {
    /// Strings with their quotes, and numbers; in order.
    spans: Vec<Span>,
    /// There are others, which cannot be redacted.
    others: bool,
}

impl Marks {
    /// More of them are not redacted.
    const MAX: usize = 4096;

    fn add(&mut self, span: Span, text: bool) {
        if text && self.spans.len() < Self::MAX {
            self.spans.push(span);
        } else {
            self.others = true;
        }
    }
}

/// The places of a JSON body that a rewrite needs.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Spans {
    /// After the opening brace.
    top: Gap,
    /// Models, by their place in `Facts::models`, and their strings with quotes.
    models: Vec<(usize, Span)>,
    /// The path of a single key to write a default model to.
    default_key: Option<&'static str>,
    stream_options: Option<StreamOptions>,
    /// As they come.
    settings: Vec<Settings>,
}

/// A place for a new member, at the beginning of an object.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Gap {
    at: u64,
    /// Whether members follow, so that a comma is needed.
    members: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum StreamOptions {
    Null(Span),
    Object {
        gap: Gap,
        include_usage: Option<Span>,
    },
}

/// Reads one request body.
#[derive(Debug)]
pub struct Reader {
    kind: ReaderKind,
    path_models: Vec<String>,
    streams: Streams,
    agree: bool,
}

#[derive(Debug)]
enum ReaderKind {
    Form(Box<FormReader>),
    Json(Box<JsonReader>),
    Unread,
    /// Nothing came so far that tells.
    Untold(Beginning, Box<JsonReader>),
}

impl Reader {
    /// For the body of this request, with the values of these headers.
    pub fn new(
        call: &Call,
        content_type: Option<&[u8]>,
        content_encoding: Option<&[u8]>,
    ) -> Result<Self, BodyError> {
        let endpoint = call.endpoint;
        if endpoint.body != Body::None && !media_type::is_plain(content_encoding) {
            return Err(BodyError::ContentEncoding);
        }
        let media_type = MediaType::parse(content_type);
        let json = |object| Box::new(JsonReader::new(endpoint.fields, object));
        let kind = match (endpoint.body, media_type.kind) {
            (Body::None, _) => ReaderKind::Unread,
            (Body::Any, _) if endpoint.fields.models.is_empty() => ReaderKind::Unread,
            (Body::Any, kind @ (Kind::Json | Kind::Other | Kind::Unstated)) => {
                ReaderKind::Untold(Beginning::new(kind == Kind::Json), json(false))
            }
            // Servers that do not look at the content type parse these as JSON too.
            (Body::Json, Kind::Json | Kind::Unstated) | (Body::JsonOrForm, Kind::Json) => {
                ReaderKind::Json(json(true))
            }
            (Body::Any | Body::Form | Body::JsonOrForm, Kind::Form) => {
                let in_path = endpoint.path.contains("{model");
                let session = endpoint.fields.session;
                ReaderKind::Form(Box::new(
                    FormReader::new(&media_type, !in_path, session).map_err(BodyError::Form)?,
                ))
            }
            (Body::Json, _) => {
                return Err(BodyError::ContentType {
                    wanted: "application/json in UTF-8",
                });
            }
            (Body::Form, _) => {
                return Err(BodyError::ContentType {
                    wanted: "multipart/form-data",
                });
            }
            (Body::Any | Body::JsonOrForm, _) => {
                return Err(BodyError::ContentType {
                    wanted: "application/json in UTF-8 or multipart/form-data",
                });
            }
        };
        Ok(Self {
            kind,
            path_models: call.models.clone(),
            streams: endpoint.streams,
            agree: endpoint.fields.agree,
        })
    }

    /// Has the text that the model reads looked through, and remembered where these kinds are in it: only there it can be
    /// redacted. `keep`: and kept.
    pub fn search(&mut self, search: Option<&Rc<Search>>, marked: Findings, keep: bool) {
        let search = search.filter(|search| !search.is_empty());
        if search.is_none() && !keep {
            return;
        }
        let searched = Some(Box::new(Searched {
            search: search.cloned(),
            screen: Screen::telling(marked),
            prompt: keep.then(Prompt::default),
        }));
        match &mut self.kind {
            ReaderKind::Form(reader) => reader.searched = searched,
            ReaderKind::Json(reader) | ReaderKind::Untold(_, reader) => {
                reader.search(searched);
            }
            ReaderKind::Unread => {}
        }
    }

    /// Has it told whether the model is given tools.
    pub fn watch_tools(&mut self) {
        match &mut self.kind {
            ReaderKind::Json(reader) | ReaderKind::Untold(_, reader) => reader.watch_tools(),
            // A form has no tools.
            ReaderKind::Form(_) | ReaderKind::Unread => {}
        }
    }

    /// Reads the next piece. Cutting the body elsewhere changes nothing.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        match &mut self.kind {
            ReaderKind::Form(reader) => reader.push(bytes),
            ReaderKind::Json(reader) => reader.push(bytes),
            ReaderKind::Unread => Ok(()),
            ReaderKind::Untold(beginning, _) => {
                let Some((json, rest)) = beginning.tell(bytes)? else {
                    return Ok(());
                };
                match std::mem::replace(&mut self.kind, ReaderKind::Unread) {
                    ReaderKind::Untold(_, reader) if json => {
                        self.kind = ReaderKind::Json(reader);
                        self.push(rest)
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    /// The body has ended, with the stream or at its trailers.
    pub fn finish(self) -> Result<Box<Facts>, BodyError> {
        let mut found = match self.kind {
            ReaderKind::Form(reader) => reader.finish()?,
            ReaderKind::Json(reader) => reader.finish()?,
            ReaderKind::Unread | ReaderKind::Untold(..) => Found::default(),
        };
        // As a rule a request names one model, and in its body.
        if !(self.path_models.is_empty() && found.names.are_one()) {
            (found.names, found.models) =
                merged(&self.path_models, self.agree, &found.names, found.models)?;
        }
        let mut facts = found.facts;
        facts.models = found.names.into_vec();
        facts.stream = match self.streams {
            Streams::Always => true,
            Streams::Asked => found.stream.unwrap_or(false),
            Streams::Default => found.stream.unwrap_or(true),
            Streams::Never => false,
        };
        facts.choices = facts.choices.max(1);
        if let Some(edits) = &mut facts.edits {
            edits.models = found.models;
        }
        Ok(facts)
    }
}

/// The models of the path and those of the body, and each place of the body that names one.
fn merged(
    in_path: &[String],
    agree: bool,
    in_body: &Names,
    places: Vec<(usize, Span)>,
) -> Result<(Names, Vec<(usize, Span)>), BodyError> {
    let mut names = Names::of(in_path);
    let mut models = Vec::with_capacity(places.len());
    for (index, span) in places {
        let Some(name) = in_body.get(index) else {
            continue;
        };
        if agree && !names.agrees(name) {
            let reason = Ambiguity::Disagreement;
            return Err(BodyError::Ambiguous {
                param: "model".to_owned(),
                reason,
            });
        }
        if !agree || in_path.is_empty() {
            models.push((names.add(name).ok_or_else(BodyError::too_many)?, span));
        }
    }
    Ok((names, models))
}

/// What a body says by itself.
#[derive(Debug, Default)]
struct Found {
    names: Names,
    /// Each place that names a model, the main one first, as an index into `names`.
    models: Vec<(usize, Span)>,
    stream: Option<bool>,
    /// All else. They are large, and on their way to where they are judged they pass many hands.
    facts: Box<Facts>,
}

/// Text that is looked through as it is read.
#[derive(Debug)]
struct Searched {
    search: Option<Rc<Search>>,
    screen: Screen,
    /// The text itself, where it is kept.
    prompt: Option<Prompt>,
}

impl Searched {
    fn push(&mut self, piece: &[u8]) {
        if let Some(search) = &self.search {
            self.screen.push(search, piece);
        }
        if let Some(prompt) = &mut self.prompt {
            prompt.push(piece);
        }
    }

    /// Whether the text that is over has something in it to remember the place of.
    fn end(&mut self) -> bool {
        if let Some(prompt) = &mut self.prompt {
            prompt.end();
        }
        let search = self.search.as_ref();
        search.is_some_and(|search| self.screen.end(search))
    }

    /// What it has come to.
    fn finish(self, facts: &mut Facts) {
        facts.sought.findings = self.screen.into_findings();
        facts.sought.prompt = self.prompt;
    }
}

impl BodyError {
    fn too_many() -> Self {
        Self::Ambiguous {
            param: "model".to_owned(),
            reason: Ambiguity::TooMany,
        }
    }
}
