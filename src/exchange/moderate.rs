//! Moderation: what endpoints that judge prompts and answers are asked, and what follows from what they say.
//!
//! Policies that may refuse a request, or stop an answer, hold it until they know. The others do not: what they find goes
//! into the request's event if it is there when that is written, else into a line of its own.

use super::{Exchange, State, Step};
use crate::analytics;
use crate::guardrail::{Findings, Prompt, Redaction, question, redact};
use crate::limit::SharedData;
use crate::llm::request::Rewrite;
use crate::policy::{Group, Hit, Moderator, Screening};
use crate::refusal::Refusal;
use crate::time::Timestamp;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

/// A question to a moderation endpoint: a POST of JSON. Its answer is worth reading with status 200 only, and up to
/// [`MAX_ANSWER`](crate::guardrail::MAX_ANSWER) bytes.
pub struct Inquiry {
    /// Whom it goes to.
    pub moderator: Rc<Moderator>,
    /// Whether it is about an answer.
    answer: bool,
    body: Cell<Rc<String>>,
    outcome: RefCell<Outcome>,
}

impl fmt::Debug for Inquiry {
    /// Without the text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inquiry")
            .field("moderator", &self.moderator)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum Outcome {
    /// Nothing is known.
    Open,
    /// What policies have to say, and whether the request is refused for not being judged.
    Known(Vec<Hit>, bool),
    /// It has come to nothing while it mattered: this event is written.
    Over(String),
}

impl Inquiry {
    /// What is sent, once: it may be large, and is not kept until there is an answer.
    pub fn take_body(&self) -> Rc<String> {
        self.body.take()
    }

    /// Takes in what has come of it: the answer, or `None` if there is none. What comes back is a line for the event log,
    /// where the request's own is written already.
    pub fn answered(&self, answer: Option<&[u8]>) -> Option<String> {
        let mut hits = Vec::new();
        let denied = self.moderator.judge(answer, &mut hits);
        let mut outcome = self.outcome.borrow_mut();
        if let Outcome::Over(event) = &*outcome {
            return (!hits.is_empty()).then(|| analytics::late(event, &hits, self.answer));
        }
        *outcome = Outcome::Known(hits, denied);
        None
    }

    /// Has nothing come of it, where it is not asked.
    pub fn pass(&self) {
        *self.outcome.borrow_mut() = Outcome::Known(Vec::new(), false);
    }

    /// The event is written without it.
    pub(super) fn leave(&self, event: &str) {
        *self.outcome.borrow_mut() = Outcome::Over(event.to_owned());
    }

    pub(super) fn is_awaited(&self) -> bool {
        self.moderator.holds() && matches!(*self.outcome.borrow(), Outcome::Open)
    }
}

/// A request that waits for moderation endpoints, as long as it does.
pub(super) type Waiting = Option<(Rewrite, Option<Vec<u8>>)>;

impl Exchange {
    /// What is to be asked and has not come to anything: at [`Step::Moderate`] those whose moderator
    /// [holds](Moderator::holds) a request, at [`Step::Continue`] all that are left.
    pub fn inquiries(&self) -> &[Rc<Inquiry>] {
        &self.noted.inquiries
    }

    /// Finds out what is to be asked; `true` where the request has to wait for some of it.
    pub(super) fn consult(
        &mut self,
        group: &Group,
        rewrite: &mut Rewrite,
    ) -> Result<bool, Refusal> {
        if group.screening.moderators.is_empty() {
            return Ok(false);
        }
        let prompt = rewrite.take_prompt();
        let findings = rewrite.facts().findings();
        self.noted.inquiries = self.ask_about(&group.screening, prompt, findings, false);
        self.take_findings()?;
        Ok(self
            .noted
            .inquiries
            .iter()
            .any(|inquiry| inquiry.is_awaited()))
    }

    /// The questions about a text, of which nothing comes where it is not there; none about no text.
    pub(super) fn ask_about(
        &self,
        screening: &Screening,
        text: Prompt,
        findings: &Findings,
        answer: bool,
    ) -> Vec<Rc<Inquiry>> {
        if screening.moderators.is_empty() {
            return Vec::new();
        }
        let mut text = text.into_text();
        let kinds = screening.redacted();
        if kinds.meets(findings) {
            // What must not be told to the other side is nobody else's business either.
            let search = Rc::clone(&self.policy.search);
            text = text.and_then(|text| redacted(text, &Redaction { search, kinds }));
        }
        if text.as_ref().is_some_and(String::is_empty) {
            return Vec::new();
        }
        let body = Rc::new(text.as_deref().map(question).unwrap_or_default());
        let inquiries = screening.moderators.iter().map(|moderator| {
            let inquiry = Inquiry {
                moderator: Rc::clone(moderator),
                answer,
                body: Cell::new(Rc::clone(&body)),
                outcome: RefCell::new(Outcome::Open),
            };
            if text.is_none() {
                inquiry.answered(None);
            }
            Rc::new(inquiry)
        });
        inquiries.collect()
    }

    /// Holds a request until it is judged.
    pub(super) fn await_moderators(&mut self, rewrite: Rewrite, plain: Option<Vec<u8>>) -> Step {
        self.state = State::Moderating(Box::new(Some((rewrite, plain))));
        Step::Moderate
    }

    /// Goes on if [everything that the request waits for](Self::inquiries) has come to something.
    pub fn moderated(&mut self, now: Timestamp, shared: &mut impl SharedData) -> Step {
        if self
            .noted
            .inquiries
            .iter()
            .any(|inquiry| inquiry.is_awaited())
        {
            return Step::Wait;
        }
        let State::Moderating(waiting) = &mut self.state else {
            return Step::Wait;
        };
        let Some((rewrite, plain)) = waiting.take() else {
            return Step::Wait;
        };
        let result = self
            .take_findings()
            .and_then(|()| self.afford(rewrite, plain, now, shared));
        self.step(result, now)
    }

    /// Does what policies say by now.
    pub(super) fn take_findings(&mut self) -> Result<(), Refusal> {
        let (hits, denied) = known(&mut self.noted.inquiries);
        self.heed_policies(hits, false)?;
        if denied {
            return Err(Refusal::ContentFilterUnavailable);
        }
        Ok(())
    }
}

/// What has come of questions, and whether what they are about is refused for not being judged; the others stay.
pub(super) fn known(inquiries: &mut Vec<Rc<Inquiry>>) -> (Vec<Hit>, bool) {
    let (mut hits, mut denied) = (Vec::new(), false);
    inquiries.retain(|inquiry| match &mut *inquiry.outcome.borrow_mut() {
        Outcome::Known(found, unjudged) => {
            hits.append(found);
            denied |= *unjudged;
            false
        }
        _ => true,
    });
    (hits, denied)
}

fn redacted(text: String, what: &Redaction) -> Option<String> {
    match redact(what, text.as_bytes()).0 {
        Some(new) => String::from_utf8(new).ok(),
        None => Some(text),
    }
}
