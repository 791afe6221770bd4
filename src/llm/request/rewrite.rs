//! Changes to a JSON body: another model, a model where none was, usage asked for, text redacted. Every other byte stays.

use super::redact::{quoted, redacted};
use super::{Facts, Gap, StreamOptions};
use crate::guardrail::{Prompt, Redaction};
use crate::json::{Span, edited};
use crate::rare::{Rare, Seldom};

/// Changes to one body, in any order.
#[derive(Debug)]
pub struct Rewrite {
    pub(super) facts: Box<Facts>,
    pub(super) changes: Rare<Changes>,
}

/// What changes.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// What stands in place of these bytes.
    pub(super) places: Vec<(Span, String)>,
    /// New members at the beginning of the document.
    pub(super) members: Vec<String>,
    /// What is taken out of its text.
    redaction: Option<Box<Redaction>>,
}

impl Seldom for Changes {
    const NONE: &'static Self = &Self {
        places: Vec::new(),
        members: Vec::new(),
        redaction: None,
    };
}

impl Rewrite {
    /// Of the body that these facts were read from.
    pub fn new(facts: Box<Facts>) -> Self {
        Self {
            facts,
            changes: Rare::default(),
        }
    }

    /// The facts.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The models, of which nothing is renamed any more.
    pub fn take_models(&mut self) -> Vec<String> {
        std::mem::take(&mut self.facts.models)
    }

    /// The text, where it was kept.
    pub fn take_prompt(&mut self) -> Prompt {
        self.facts.sought.prompt.take().unwrap_or_default()
    }

    /// Names `to` wherever the body names `model`. False where that cannot be done: in forms, paths and queries.
    pub fn rename(&mut self, model: &str, to: &str) -> bool {
        let Some(edits) = &self.facts.edits else {
            return false;
        };
        let index = self.facts.models.iter().position(|known| known == model);
        let places = edits
            .models
            .iter()
            .filter(|&&(place, _)| Some(place) == index);
        let changes = &mut self.changes.places;
        let before = changes.len();
        changes.extend(places.map(|&(_, span)| (span, quoted(to))));
        changes.len() > before
    }

    /// Names a model in a body that names none. False where that cannot be done: in forms, and in bodies with no
    /// single place for it.
    pub fn insert_model(&mut self, model: &str) -> bool {
        let Some(key) = self
            .facts
            .edits
            .as_ref()
            .and_then(|edits| edits.default_key)
        else {
            return false;
        };
        let mut member = quoted(key);
        member.push(':');
        member.push_str(&quoted(model));
        self.changes.members.push(member);
        true
    }

    /// Asks for usage at the end of the stream.
    pub fn include_usage(&mut self) {
        let Some(edits) = self
            .facts
            .edits
            .as_ref()
            .filter(|_| self.facts.include_usage != Some(true))
        else {
            return;
        };
        let (span, new) = match edits.stream_options {
            None => {
                let member = r#""stream_options":{"include_usage":true}"#;
                return self.changes.members.push(member.to_owned());
            }
            Some(StreamOptions::Null(span)) => (span, r#"{"include_usage":true}"#),
            Some(StreamOptions::Object {
                include_usage: Some(span),
                ..
            }) => (span, "true"),
            Some(StreamOptions::Object {
                gap,
                include_usage: None,
            }) => {
                return self
                    .changes
                    .places
                    .push(gap.insert(r#""include_usage":true"#));
            }
        };
        self.changes.places.push((span, new.to_owned()));
    }

    /// Takes these kinds out of the text. False where that cannot be done: in forms, in models' names, where
    /// they are in too many strings, and where they are not marked.
    pub fn redact(&mut self, redaction: Redaction) -> bool {
        let marks = &self.facts.sought.marks;
        let can = self.facts.edits.is_some() && !marks.spans.is_empty() && !marks.others;
        if can {
            self.changes.redaction = Some(Box::new(redaction));
        }
        can
    }

    /// Whether the body stays as it is.
    pub fn is_empty(&self) -> bool {
        let Changes {
            places,
            members,
            redaction,
        } = &*self.changes;
        places.is_empty() && members.is_empty() && redaction.is_none()
    }

    /// The new body. `None` if `body` is not the one that the facts are of.
    pub fn apply(mut self, body: &[u8]) -> Option<Vec<u8>> {
        let changes = &mut *self.changes;
        if !changes.members.is_empty() {
            let top = self.facts.edits.as_ref()?.top;
            (changes.places).push(top.insert(&changes.members.join(",")));
        }
        if let Some(redaction) = &changes.redaction {
            for span in &self.facts.sought.marks.spans {
                if span.of(body).is_empty() {
                    return None;
                }
                let new = redacted(body, *span, redaction);
                changes.places.extend(new.map(|new| (*span, new)));
            }
        }
        edited(body, std::mem::take(&mut changes.places))
    }
}

impl Gap {
    pub(super) fn insert(self, member: &str) -> (Span, String) {
        let at = Span {
            start: self.at,
            end: self.at,
        };
        let mut member = member.to_owned();
        if self.members {
            member.push(',');
        }
        (at, member)
    }
}
