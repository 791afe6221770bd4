//! The policies on answers: what is looked for in an answer, what of it goes, and what stops it.

use super::{Answer, Exchange};
use crate::headers::Headers;
use crate::llm::endpoint::Dialect;
use crate::llm::response::screen::{self, Course, Framing, Order, Screened};
use crate::llm::response::{Forward, Reader};
use crate::llm::usage::UsageFormat;
use crate::policy::Hit;
use crate::refusal::Refusal;
use crate::reply::{self, Reply};
use crate::time::Timestamp;

/// How an answer is screened.
#[derive(Debug, Default)]
pub(super) struct Screen {
    /// As it comes.
    stream: Option<Box<Screened>>,
    /// What goes to the client in place of a chunk.
    out: Vec<u8>,
    /// Nothing more of the answer goes to the client.
    stopped: bool,
    /// The upstream's answer did not go on, or not to its end.
    pub(super) cut: bool,
    /// What policies had to say of it.
    pub(super) hits: Vec<Hit>,
    /// Bytes of an answer that nobody read.
    pub(super) unread: u64,
    /// The upstream did not send all of its answer.
    pub(super) failed: bool,
}

impl Screen {
    /// Whether an answer is screened as it comes.
    pub(super) const fn is_on(&self) -> bool {
        self.stream.is_some() || self.stopped
    }
}

/// What becomes of an answer's header.
pub(super) enum Plan {
    /// Its body has to be held whole, then [`Exchange::screen_whole`].
    Hold(Order),
    /// It goes on; whether its length may change.
    Pass(bool),
    /// It cannot be read, and so cannot go on.
    Refuse,
}

impl Exchange {
    /// What the group's policies on answers make of an answer with this header.
    pub(super) fn plan_answer(&mut self, headers: Headers<'_>, encoded: bool) -> Plan {
        let group = self.identity.as_ref().map(|identity| &identity.group);
        let Some(group) = group.filter(|group| group.answers.is_concerned()) else {
            return Plan::Pass(false);
        };
        let Some(framing) = Framing::of(headers.first("content-type")) else {
            return Plan::Pass(false);
        };
        if !(200..300).contains(&self.status) {
            return Plan::Pass(false);
        }
        let order = group.answers.order(&self.policy.search);
        let looks = order.only_looks();
        if encoded {
            return if looks {
                Plan::Pass(false)
            } else {
                Plan::Refuse
            };
        }
        if framing == Framing::Whole && !looks {
            return Plan::Hold(order);
        }
        let cap = usize::try_from(self.policy.max_response_bytes).unwrap_or(usize::MAX);
        self.screen.stream = Some(Box::new(Screened::new(framing, order, cap)));
        Plan::Pass(!looks)
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
        if course == Course::Stopped {
            self.screen.stopped = true;
            let framing = stream.framing();
            self.note_answer();
            let refusal = self.answer_refusal();
            let error = self.cut_answer(&refusal, now);
            let format = self.call.as_ref().map(|call| call.endpoint.usage);
            let error = in_stream(framing, format, self.dialect, &refusal, &error);
            self.screen.out.extend_from_slice(&error);
        } else if end {
            self.note_answer();
        }
        Forward::Replace(&self.screen.out)
    }

    /// Screens a held answer: what goes on in its place, or the reply to give instead.
    pub(super) fn screen_whole(
        &mut self,
        mut reader: Box<Reader>,
        order: &Order,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Vec<u8>, Reply> {
        reader.push(body);
        reader.finish();
        self.answer = Answer::Read(reader);
        let Some(whole) = screen::whole(body, order) else {
            return Err(self.cut_answer(&Refusal::ResponseUnreadable, now));
        };
        let group = self.identity.as_ref().map(|identity| &identity.group);
        self.screen.hits =
            group.map_or_else(Vec::new, |group| group.answers.found(&whole.findings));
        if order.stops.meets(&whole.findings) {
            let refusal = self.answer_refusal();
            return Err(self.cut_answer(&refusal, now));
        }
        self.note_hits();
        Ok(whole.body.unwrap_or_else(|| body.to_vec()))
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
        let Some(stream) = self.screen.stream.take() else {
            return;
        };
        let group = self.identity.as_ref().map(|identity| &identity.group);
        self.screen.hits =
            group.map_or_else(Vec::new, |group| group.answers.found(&stream.findings()));
        self.note_hits();
    }

    fn note_hits(&mut self) {
        let hits = &self.screen.hits;
        let noted = if hits.iter().any(Hit::refuses) {
            Some("content_blocked")
        } else if hits.iter().any(Hit::redacts) {
            Some("content_redacted")
        } else {
            (!hits.is_empty()).then_some("content_flagged")
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
