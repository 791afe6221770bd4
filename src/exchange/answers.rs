//! The policies on answers: what is looked for in an answer, what of it goes, and what stops it.

use super::moderate::known;
use super::{Answer, AnswerStep, Exchange, Inquiry};
use crate::guardrail::{Findings, Prompt};
use crate::headers::Headers;
use crate::llm::endpoint::Dialect;
use crate::llm::response::screen::{self, Course, Framing, Order, Screened, Whole};
use crate::llm::response::{Forward, Reader};
use crate::llm::usage::UsageFormat;
use crate::policy::{Group, Hit};
use crate::refusal::Refusal;
use crate::reply::{self, Reply};
use crate::time::Timestamp;
use std::rc::Rc;

/// How an answer is screened.
#[derive(Debug, Default)]
pub(super) struct Screen {
    /// As it comes.
    stream: Option<Box<Screened>>,
    /// What of an answer waits until it is judged.
    withheld: Option<Box<Withheld>>,
    /// What goes to the client in place of a chunk.
    out: Vec<u8>,
    /// Nothing more of the answer goes to the client.
    stopped: bool,
    /// The upstream's answer did not go on, or not to its end.
    pub(super) cut: bool,
    /// What policies had to say of it.
    pub(super) hits: Vec<Hit>,
    /// What is asked about it, as long as nothing is known.
    pub(super) inquiries: Vec<Rc<Inquiry>>,
    /// Bytes of an answer that nobody read.
    pub(super) unread: u64,
    /// The upstream did not send all of its answer.
    pub(super) failed: bool,
}

/// An answer that waits until moderation endpoints have judged it.
#[derive(Debug)]
struct Withheld {
    framing: Framing,
    /// What goes on in its place; `None`: itself, which the driver holds.
    body: Option<Vec<u8>>,
    /// What is given in its place.
    reply: Option<Reply>,
}

impl Screen {
    /// Whether an answer is screened as it comes.
    pub(super) const fn is_on(&self) -> bool {
        self.stream.is_some() || self.stopped
    }

    /// Whether the client gets nothing of an answer before all of it is judged.
    pub(super) const fn is_withheld(&self) -> bool {
        self.withheld.is_some()
    }
}

/// What becomes of an answer's header.
pub(super) enum Plan {
    /// Its body has to be held whole, then [`Exchange::screen_whole`].
    Hold(Order),
    /// It goes on; whether its length may change.
    Pass(bool),
    /// It cannot be read, and so cannot go on.
    Refuse(Refusal),
}

impl Exchange {
    /// What the group's policies on answers make of an answer with this header.
    pub(super) fn plan_answer(&mut self, headers: Headers<'_>, encoded: bool) -> Plan {
        let identity = self.identity.as_ref();
        let group = identity.map(|identity| &identity.group);
        let Some(group) = group.filter(|group| !group.answers.is_empty()).cloned() else {
            return Plan::Pass(false);
        };
        let Some(framing) = Framing::of(headers.first("content-type")) else {
            return Plan::Pass(false);
        };
        if !(200..300).contains(&self.status) {
            return Plan::Pass(false);
        }
        let policies = &group.answers;
        if !policies.is_concerned() && policies.moderators.is_empty() {
            // There may be some with nobody to ask.
            self.screen.hits = policies.judge(&Findings::default());
            return Plan::Pass(false);
        }
        let order = policies.order(&self.policy.search);
        let looks = order.only_looks();
        if encoded && looks {
            return match self.leave_unjudged(&group) {
                Some(refusal) => Plan::Refuse(refusal),
                None => Plan::Pass(false),
            };
        }
        if encoded {
            return Plan::Refuse(Refusal::ResponseUnreadable);
        }
        let waits = policies.awaits();
        if framing == Framing::Whole && (waits || !looks) {
            return Plan::Hold(order);
        }
        if waits {
            self.screen.withheld = Some(Box::new(Withheld {
                framing,
                body: Some(Vec::new()),
                reply: None,
            }));
        }
        self.screen.stream = Some(Box::new(Screened::new(framing, order, self.most_held())));
        Plan::Pass(waits || !looks)
    }

    /// How much of an answer is held.
    pub(super) fn most_held(&self) -> usize {
        usize::try_from(self.policy.max_response_bytes).unwrap_or(usize::MAX)
    }

    /// Has policies that ask somebody else say that they could not; the refusal where that stops the answer.
    pub(super) fn leave_unjudged(&mut self, group: &Group) -> Option<Refusal> {
        let mut text = Prompt::default();
        text.lack();
        let mut inquiries = self.ask_about(&group.answers, text, &Findings::default(), true);
        let (hits, denied) = known(&mut inquiries);
        self.screen.hits.extend(hits);
        denied.then_some(Refusal::ContentFilterUnavailable)
    }

    /// Takes the answer's next bytes, as they would go on without policies.
    pub(super) fn screen_part<'a>(
        &'a mut self,
        part: &[u8],
        end: bool,
        now: Timestamp,
    ) -> Forward<'a> {
        self.screen.out.clear();
        if self.screen.stopped {
            return Forward::Replace(&self.screen.out);
        }
        let Some(stream) = &mut self.screen.stream else {
            return Forward::Unchanged;
        };
        let mut course = stream.push(part, &mut self.screen.out);
        if end && course == Course::On {
            course = stream.finish(&mut self.screen.out);
        }
        let framing = stream.framing();
        if end || course == Course::Stopped {
            self.note_answer();
        }
        if course == Course::Stopped {
            let refusal = self.answer_refusal();
            self.stop_stream(framing, &refusal, now);
        } else if let Some(withheld) = &mut self.screen.withheld {
            let body = withheld.body.get_or_insert_default();
            body.append(&mut self.screen.out);
            let len = body.len();
            if len > self.most_held() {
                self.give_up(framing, now);
            }
        }
        Forward::Replace(&self.screen.out)
    }

    /// A stream has become too long to be held until it is judged.
    fn give_up(&mut self, framing: Framing, now: Timestamp) {
        if let Some(stream) = &mut self.screen.stream {
            stream.take_text();
        }
        self.screen.inquiries.clear();
        let identity = self.identity.as_ref();
        let group = identity.map(|identity| Rc::clone(&identity.group));
        if group.is_some_and(|group| self.leave_unjudged(&group).is_some()) {
            self.stop_stream(framing, &Refusal::ResponseTooLarge, now);
        } else {
            let withheld = self.screen.withheld.take();
            self.screen.out = withheld.and_then(|it| it.body).unwrap_or_default();
        }
    }

    /// Ends a stream with an error, or has another answer given where nothing of it went out.
    fn stop_stream(&mut self, framing: Framing, refusal: &Refusal, now: Timestamp) {
        self.screen.stopped = true;
        let reply = self.cut_answer(refusal, now);
        if let Some(withheld) = &mut self.screen.withheld {
            // Of what is not judged nothing goes out.
            self.screen.out.clear();
            if self.policy.hold_request_headers {
                self.status = reply.status;
                withheld.reply = Some(reply);
                return;
            }
            self.screen.withheld = None;
        }
        let format = self.call.as_ref().map(|call| call.endpoint.usage);
        let error = in_stream(framing, format, self.dialect, refusal, &reply);
        self.screen.out.extend_from_slice(&error);
    }

    /// What becomes of an answer after [`response_body`](Self::response_body).
    pub fn answer_step(&mut self, now: Timestamp) -> AnswerStep {
        let Some(withheld) = &mut self.screen.withheld else {
            return AnswerStep::Pass(None);
        };
        if let Some(reply) = withheld.reply.take() {
            return AnswerStep::Reply(reply);
        }
        if self.complete {
            self.judge_answer(AnswerStep::Moderate, now)
        } else {
            AnswerStep::Hold
        }
    }

    /// Goes on with an answer if [everything that it waits for](Self::answer_inquiries) has come to something.
    pub fn answer_moderated(&mut self, now: Timestamp) -> AnswerStep {
        self.judge_answer(AnswerStep::Hold, now)
    }

    /// What is to be asked about an answer and has not come to anything: at [`AnswerStep::Moderate`] those whose moderator
    /// [holds](crate::policy::Moderator::holds) it.
    pub fn answer_inquiries(&self) -> &[Rc<Inquiry>] {
        &self.screen.inquiries
    }

    /// `wait`: what to do while something is awaited.
    fn judge_answer(&mut self, wait: AnswerStep, now: Timestamp) -> AnswerStep {
        let mut inquiries = self.screen.inquiries.iter();
        if inquiries.any(|inquiry| inquiry.is_awaited()) {
            return wait;
        }
        let Some(withheld) = self.screen.withheld.take() else {
            return AnswerStep::Pass(None);
        };
        let (hits, denied) = known(&mut self.screen.inquiries);
        let refuses = hits.iter().any(|hit| hit.refuses() && !hit.shadow);
        self.screen.hits.extend(hits);
        let refusal = match (refuses, denied) {
            (true, _) => self.answer_refusal(),
            (false, true) => Refusal::ContentFilterUnavailable,
            (false, false) => {
                self.first_byte.get_or_insert(now);
                return AnswerStep::Pass(withheld.body);
            }
        };
        if withheld.framing == Framing::Whole || self.policy.hold_request_headers {
            let reply = self.cut_answer(&refusal, now);
            self.status = reply.status;
            return AnswerStep::Reply(reply);
        }
        self.screen.out.clear();
        self.stop_stream(withheld.framing, &refusal, now);
        AnswerStep::Pass(Some(std::mem::take(&mut self.screen.out)))
    }

    /// Screens a held answer.
    pub(super) fn screen_whole(
        &mut self,
        mut reader: Box<Reader>,
        order: &Order,
        body: &[u8],
        now: Timestamp,
    ) -> AnswerStep {
        reader.push(body);
        reader.finish();
        self.answer = Answer::Read(reader);
        let identity = self.identity.as_ref();
        let group = identity.map(|identity| Rc::clone(&identity.group));
        let whole = screen::whole(body, order);
        let mut refusal = None;
        let mut new = None;
        match (whole, &group) {
            (Some(whole), Some(group)) => {
                self.screen.hits = group.answers.judge(&whole.findings);
                if order.stops.meets(&whole.findings) {
                    refusal = Some(self.answer_refusal());
                } else {
                    let Whole { findings, text, .. } = whole;
                    self.screen.inquiries = self.ask_about(&group.answers, text, &findings, true);
                    new = whole.body;
                }
            }
            (None, Some(group)) if order.only_looks() => refusal = self.leave_unjudged(group),
            _ => refusal = Some(Refusal::ResponseUnreadable),
        }
        if let Some(refusal) = refusal {
            let reply = self.cut_answer(&refusal, now);
            self.status = reply.status;
            return AnswerStep::Reply(reply);
        }
        self.screen.withheld = Some(Box::new(Withheld {
            framing: Framing::Whole,
            body: new,
            reply: None,
        }));
        self.judge_answer(AnswerStep::Moderate, now)
    }

    /// The answer in place of one that does not go on. What it cost was used all the same.
    pub(super) fn cut_answer(&mut self, refusal: &Refusal, now: Timestamp) -> Reply {
        let reply = self.reply_to(refusal, now);
        self.refusal = Some(refusal.code());
        self.screen.cut = true;
        reply
    }

    /// Looks once more at what was found: also of an answer that broke off.
    pub(super) fn note_answer(&mut self) {
        let Some(mut stream) = self.screen.stream.take() else {
            return;
        };
        let identity = self.identity.as_ref();
        if let Some(group) = identity.map(|identity| Rc::clone(&identity.group)) {
            let findings = stream.findings();
            self.screen.hits.extend(group.answers.judge(&findings));
            let text = stream.take_text();
            self.screen.inquiries = self.ask_about(&group.answers, text, &findings, true);
        }
    }

    /// What is left to be asked about an answer that is over, for which nobody waits. Nothing about one that nobody got.
    pub(super) fn answer_asides(&mut self) -> Vec<Rc<Inquiry>> {
        if self.screen.inquiries.is_empty() || self.screen.cut || self.screen.is_withheld() {
            return Vec::new();
        }
        let (hits, _) = known(&mut self.screen.inquiries);
        self.screen.hits.extend(hits);
        std::mem::take(&mut self.screen.inquiries)
    }

    /// Says in the event what was found.
    pub(super) fn note_hits(&mut self) {
        let hits = &self.screen.hits;
        if hits.is_empty() {
            return;
        }
        let noted = if hits.iter().any(Hit::refuses) {
            Some("content_blocked")
        } else if hits.iter().any(Hit::redacts) {
            Some("content_redacted")
        } else {
            (hits.iter().any(|hit| hit.found.is_some())).then_some("content_flagged")
        };
        self.shadowed = self.shadowed.or(noted);
    }

    /// Why an answer was stopped.
    fn answer_refusal(&self) -> Refusal {
        let mut hits = self.screen.hits.iter().filter(|hit| !hit.shadow);
        let hit = hits
            .clone()
            .find(|hit| hit.refuses())
            .or_else(|| hits.find(|hit| hit.redacts()));
        hit.map_or(Refusal::ResponseUnreadable, |hit| Refusal::AnswerBlocked {
            policy: hit.policy.clone(),
            found: hit.found.clone(),
        })
    }
}

/// An error that ends a stream.
fn in_stream(
    framing: Framing,
    format: Option<UsageFormat>,
    dialect: Dialect,
    refusal: &Refusal,
    reply: &Reply,
) -> Vec<u8> {
    match framing {
        Framing::Events => {
            let event: &[u8] = match dialect {
                Dialect::Anthropic => b"event: error\n",
                _ => b"",
            };
            [event, b"data: ", &reply.body, b"\n\n"].concat()
        }
        Framing::Frames => screen::exception(&reply.body),
        Framing::Lines if format == Some(UsageFormat::Ollama) => {
            let mut line = reply::plain_error(refusal);
            line.push(b'\n');
            line
        }
        Framing::Lines | Framing::Whole => [&reply.body[..], b"\n"].concat(),
    }
}
