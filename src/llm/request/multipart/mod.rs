//! `multipart/form-data` (RFC 7578), in the subset that all servers read alike.
//!
//! They differ on duplicate fields and parameters, `name*`, bare line feeds, folded headers, transfer encodings,
//! character sets, and on what stands before the first and after the last part: all of that is refused.

mod boundary;
mod part;

use self::boundary::Stray;
use self::part::{MAX_SESSION, Part, watched};
use super::json::JsonReader;
use super::media_type::MediaType;
use super::names::{Names, model_name};
use super::{Ambiguity, BodyError, Found, Searched};
use crate::json::{Span, Text};
use crate::llm::endpoint::Fields;

use std::fmt;

/// The length of CRLF.
const LINE_END: usize = 2;
/// No client sends longer header lines; file names are in them.
const MAX_LINE: usize = 4096;
/// Of one form.
const MAX_PARTS: u32 = 1024;
const STRAY: &str = "the boundary must stand nowhere but at the beginning of a line";

/// Why a form was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FormError {
    /// The offset of the byte where it was noticed.
    pub at: u64,
    what: &'static str,
}

impl fmt::Display for FormError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

impl std::error::Error for FormError {}

/// Reads one form.
#[derive(Debug)]
pub(super) struct FormReader {
    /// `\r\n--boundary`
    delimiter: Vec<u8>,
    stray: Stray,
    /// How much of the delimiter the bytes just read match,
    matched: usize,
    /// of which these first ones were not there, or do not count as content.
    absent: usize,
    offset: u64,
    state: State,
    line: Vec<u8>,
    part: Part,
    parts: u32,
    /// Whether the field `model` counts here.
    named: bool,
    model: Option<String>,
    /// How to read the field `session`, where there can be one; and the models that it names.
    session: Option<&'static Fields>,
    session_names: Option<Names>,
    stream: Option<bool>,
    choices: Option<u64>,
    text_bytes: u64,
    media: u64,
    failed: Option<BodyError>,
    /// The text of its fields, where it is looked through.
    pub(super) searched: Option<Box<Searched>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Before the first delimiter, which must be the first thing.
    Start,
    /// After a delimiter: the first byte of a line end or of the final dashes.
    Delimited,
    /// After a delimiter and a carriage return.
    DelimitedReturn,
    /// After a delimiter and a dash.
    DelimitedDash,
    Header,
    /// After a carriage return in a header line.
    HeaderReturn,
    /// At the beginning of a part's content, which must not be the delimiter without its line end.
    ContentStart,
    Content,
    /// After the final dashes: a line end at most.
    End,
    EndReturn,
    EndLine,
}

impl FormReader {
    pub(super) fn new(
        media_type: &MediaType<'_>,
        named: bool,
        session: Option<&'static Fields>,
    ) -> Result<Self, FormError> {
        let boundary = boundary::named(media_type).map_err(|what| FormError { at: 0, what })?;
        Ok(Self {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            stray: Stray::new(&boundary),
            // The first delimiter has no line end before it.
            matched: LINE_END,
            absent: LINE_END,
            offset: 0,
            state: State::Start,
            line: Vec::new(),
            part: Part::default(),
            parts: 0,
            named,
            model: None,
            session,
            session_names: None,
            stream: None,
            choices: None,
            text_bytes: 0,
            media: 0,
            failed: None,
            searched: None,
        })
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.read(bytes);
        self.failed = result.as_ref().err().cloned();
        result
    }

    pub(super) fn finish(self) -> Result<Found, BodyError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if !matches!(self.state, State::End | State::EndLine) {
            let at = self.offset;
            return Err(BodyError::Form(FormError {
                at,
                what: "the final boundary is missing",
            }));
        }
        let mut found = Found {
            stream: self.stream,
            ..Found::default()
        };
        found.facts.choices = self.choices.unwrap_or(1);
        found.facts.text_bytes = self.text_bytes;
        found.facts.media = self.media;
        if let Some(searched) = self.searched {
            searched.finish(&mut found.facts);
        }
        let session = self.session_names.map(Names::into_vec);
        for model in self.model.into_iter().chain(session.into_iter().flatten()) {
            let index = found.names.add(&model).ok_or_else(BodyError::too_many)?;
            found.models.push((index, Span::default()));
        }
        Ok(found)
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        let mut rest = bytes;
        while let Some((&byte, tail)) = rest.split_first() {
            if self.state == State::Content && self.matched == 0 {
                // Nothing but a line end can begin the delimiter.
                let run = rest
                    .iter()
                    .position(|&byte| matches!(byte, b'\r' | b'\n'))
                    .unwrap_or(rest.len());
                let (content, after) = rest.split_at_checked(run).unwrap_or((rest, &[]));
                self.content(content)?;
                self.offset = self.offset.saturating_add(run as u64);
                rest = after;
                if run > 0 {
                    continue;
                }
            }
            self.byte(byte)?;
            self.offset = self.offset.saturating_add(1);
            rest = tail;
        }
        Ok(())
    }

    fn byte(&mut self, byte: u8) -> Result<(), BodyError> {
        self.state = match (self.state, byte) {
            (State::Start | State::ContentStart | State::Content, _)
                if self.delimiter.get(self.matched) == Some(&byte) =>
            {
                self.matched = self.matched.saturating_add(1);
                if self.matched < self.delimiter.len() {
                    return Ok(());
                }
                self.matched = 0;
                match self.state {
                    State::ContentStart => {
                        return Err(self.fail("an empty part must still end with CRLF"));
                    }
                    State::Content if self.absent > 0 => {
                        return Err(self.fail("a boundary must stand after CRLF"));
                    }
                    State::Content => self.end_part()?,
                    _ => {}
                }
                State::Delimited
            }
            (State::Start, _) => return Err(self.fail("the body does not begin with the boundary")),
            (State::ContentStart | State::Content, _) => {
                let partial = self.delimiter.get(self.absent..self.matched);
                let partial = partial.unwrap_or_default().to_vec();
                self.content(&partial)?;
                // Only line ends can begin a delimiter. Some servers take any of them before a boundary.
                let after_return = self.matched == 1;
                (self.matched, self.absent) = match byte {
                    b'\r' => (1, 0),
                    b'\n' => (LINE_END, 1),
                    b'-' if after_return => (LINE_END.saturating_add(1), LINE_END),
                    _ => (0, 0),
                };
                if self.matched == 0 {
                    self.content(&[byte])?;
                }
                State::Content
            }
            (State::Delimited, b'\r') => State::DelimitedReturn,
            (State::Delimited, b'-') => State::DelimitedDash,
            (State::DelimitedReturn, b'\n') => {
                self.parts = self.parts.saturating_add(1);
                if self.parts > MAX_PARTS {
                    return Err(self.fail("too many parts"));
                }
                self.part = Part::default();
                State::Header
            }
            (State::DelimitedDash, b'-') => State::End,
            (State::Delimited | State::DelimitedReturn | State::DelimitedDash, _) => {
                return Err(self.fail("a boundary must be followed by CRLF or by two dashes"));
            }
            (State::Header, b'\r') => State::HeaderReturn,
            (State::Header, b'\n' | 0) => {
                return Err(self.fail("header lines must end with CRLF and hold no NUL"));
            }
            (State::Header, _) => {
                if self.line.len() >= MAX_LINE {
                    return Err(self.fail("a header line is too long"));
                }
                self.line.push(byte);
                State::Header
            }
            (State::HeaderReturn, b'\n') => {
                let line = std::mem::take(&mut self.line);
                self.stray.restart();
                if line.is_empty() {
                    self.begin_content()?;
                    (self.matched, self.absent) = (LINE_END, LINE_END);
                    State::ContentStart
                } else if self.stray.end_in(&line).is_some() {
                    return Err(self.fail(STRAY));
                } else {
                    self.part.header(&line).map_err(|what| self.fail(what))?;
                    State::Header
                }
            }
            (State::HeaderReturn, _) => return Err(self.fail("header lines must end with CRLF")),
            (State::End, b'\r') => State::EndReturn,
            (State::EndReturn, b'\n') => State::EndLine,
            (State::End | State::EndReturn | State::EndLine, _) => {
                return Err(self.fail("nothing may follow the final boundary"));
            }
        };
        Ok(())
    }

    /// A piece of a part's content.
    fn content(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        if let Some(end) = self.stray.end_in(bytes) {
            self.offset = self.offset.saturating_add(end as u64);
            return Err(self.fail(STRAY));
        }
        self.part.push(bytes);
        if let Some(searched) = self.searched.as_mut().filter(|_| !self.part.file) {
            searched.push(bytes);
        }
        Ok(())
    }

    fn begin_content(&mut self) -> Result<(), BodyError> {
        let Some(name) = &self.part.name else {
            return Err(self.fail("a part must have a content-disposition"));
        };
        let Some((watched, exact)) = watched(name).filter(|&(watched, _)| match watched {
            "model" => self.named,
            "session" => self.session.is_some(),
            _ => true,
        }) else {
            return Ok(());
        };
        if !exact {
            return Err(ambiguous(watched, Ambiguity::CaseVariant));
        }
        if self.part.file || self.part.encoded {
            return Err(
                self.fail("a field that is read must be plain: no filename, encoding or charset")
            );
        }
        let twice = match watched {
            "model" => self.model.is_some(),
            "session" => {
                self.part.most = MAX_SESSION;
                self.session_names.is_some()
            }
            "stream" => self.stream.is_some(),
            _ => self.choices.is_some(),
        };
        if twice {
            Err(ambiguous(watched, Ambiguity::Duplicate))
        } else {
            Ok(())
        }
    }

    fn end_part(&mut self) -> Result<(), BodyError> {
        let part = std::mem::take(&mut self.part);
        if let Some(searched) = &mut self.searched {
            // Where it is does not matter: a form is not rewritten.
            searched.end();
        }
        if part.file {
            self.media = self.media.saturating_add(1);
            return Ok(());
        }
        let name = part.name.as_deref().unwrap_or_default();
        let whole = part.len == part.value.len() as u64;
        let text = std::str::from_utf8(&part.value).ok().filter(|_| whole);
        match name {
            "model" if self.named => {
                if whole && text.is_none() {
                    return Err(self.fail("the model is not UTF-8"));
                }
                let text = Text {
                    bytes: &part.value,
                    whole,
                    len: part.len,
                };
                self.model = Some(model_name(text, || "model".to_owned())?.to_owned());
            }
            "session" if let Some(fields) = self.session => {
                if !whole {
                    return Err(self.fail("the session is too long"));
                }
                let mut reader = Box::new(JsonReader::new(fields, true));
                reader.push(&part.value)?;
                self.session_names = Some(reader.finish()?.names);
            }
            "stream" => {
                self.stream = Some(match text.map(str::to_ascii_lowercase).as_deref() {
                    Some("true") => true,
                    Some("false") => false,
                    _ => return Err(wrong_type(name, "true or false")),
                });
            }
            "n" => {
                let number = text.and_then(|text| text.parse().ok());
                self.choices = Some(number.ok_or_else(|| wrong_type(name, "a number"))?);
            }
            "input" | "instructions" | "prompt" => {
                self.text_bytes = self.text_bytes.saturating_add(part.len);
            }
            _ => {}
        }
        Ok(())
    }

    fn fail(&self, what: &'static str) -> BodyError {
        BodyError::Form(FormError {
            at: self.offset,
            what,
        })
    }
}

fn ambiguous(param: &str, reason: Ambiguity) -> BodyError {
    BodyError::Ambiguous {
        param: param.to_owned(),
        reason,
    }
}

fn wrong_type(param: &str, wanted: &'static str) -> BodyError {
    BodyError::WrongType {
        param: param.to_owned(),
        wanted,
    }
}
