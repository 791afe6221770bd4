//! The answer's half: what the client is told, what is read on the way, what is taken out.

use super::answers::Plan;
use super::{Answer, AnswerStep, BrokenOff, Exchange, ResponseStep, State};
use crate::config::Mode;
use crate::headers::{HeaderEdits, Headers};
use crate::llm::models;
use crate::llm::response::{Forward, Reader};
use crate::refusal::Refusal;
use crate::reply::rate_limit;
use crate::time::Timestamp;
use std::rc::Rc;

/// What an upstream's answer says of the shared account.
const ACCOUNT_HEADERS: [&[u8]; 3] = [
    b"openai-organization",
    b"openai-project",
    b"anthropic-organization-id",
];

impl Exchange {
    /// Takes the header of an answer in: the upstream's, or one that Envoy made itself. `reached` tells whether the upstream
    /// was reached at all; asked only of a 413.
    pub fn response_headers(
        &mut self,
        headers: Headers<'_>,
        end: bool,
        reached: &dyn Fn() -> bool,
        now: Timestamp,
    ) -> ResponseStep {
        let status = headers.first(":status").and_then(number).unwrap_or(0);
        self.status = status.try_into().unwrap_or(0);
        self.answered = self.status;
        self.complete = end;
        let length = headers.first("content-length");
        self.announced = length.and_then(number);
        // Who is charged, and two families of rate-limit headers.
        let mut step = ResponseStep {
            edits: HeaderEdits::with_capacity(12),
            reply: None,
            hold: false,
        };
        match self.state {
            // It is with what was put in that the body is over its buffer's limit.
            State::Passed if self.status == 413 && !reached() => {
                step.reply = Some(self.refuse(&Refusal::RequestTooLarge, now));
                return step;
            }
            State::Passed => {}
            State::Refused => return step,
            State::Start
            | State::Asking(_)
            | State::Inflating(..)
            | State::Moderating(_)
            | State::Reading(_) => {
                // Envoy gave up before there was a decision: the body is over its buffer's limit.
                if self.status == 413 && !self.is_unseen() {
                    step.reply = Some(self.refuse(&Refusal::RequestTooLarge, now));
                }
                return step;
            }
        }
        let Some(identity) = &self.identity else {
            return step;
        };
        let policy = &self.policy;
        for (name, _) in headers.iter() {
            let account =
                matches!(name.first(), Some(b'a' | b'o')) && ACCOUNT_HEADERS.contains(&name);
            if account || rate_limit::is_upstream_limit(name) {
                step.edits.remove(name);
            }
        }
        step.edits
            .set("x-consumer-group", identity.group.name.as_str());
        let elapsed = now.0.saturating_sub(self.standings_at.0);
        rate_limit::tell(
            &policy.header_families,
            &self.counters,
            &self.standings,
            elapsed,
            &mut step.edits,
        );
        let Some(call) = &self.call else { return step };
        if call.endpoint.lists_models()
            && identity.group.mode == Mode::Enforce
            && identity.group.restricts()
            && (200..300).contains(&self.status)
            && !end
        {
            self.answer = Answer::Models;
            step.edits.remove("content-length");
            step.hold = policy.hold_request_headers;
        } else if call.endpoint.charged() {
            let encoded = headers
                .first("content-encoding")
                .is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity"));
            let strip = self.asked.usage && !encoded;
            let content_type = headers.first("content-type");
            let mut reader = Reader::new(call.endpoint.usage, self.status, content_type, strip);
            reader.recall(Rc::clone(&self.worker.shapes));
            for (name, value) in headers.iter() {
                reader.header(name, value);
            }
            self.asked.stream |= reader.is_stream();
            let plan = if end {
                Plan::Pass(false)
            } else {
                self.plan_answer(headers, encoded)
            };
            let changes = strip || !matches!(plan, Plan::Pass(false));
            if changes && length.is_some() {
                step.edits.remove("content-length");
            }
            match plan {
                Plan::Hold(order) => {
                    step.hold = self.policy.hold_request_headers;
                    self.answer = Answer::Held(reader, Box::new(order));
                }
                Plan::Pass(_) => {
                    step.hold = self.screen.is_withheld() && self.policy.hold_request_headers;
                    self.answer = Answer::Read(reader);
                }
                Plan::Refuse(refusal) => {
                    self.answer = Answer::Read(reader);
                    step.reply = Some(self.cut_answer(&refusal, now));
                    self.status = refusal.status();
                }
            }
        }
        step
    }

    /// Whether the body of the answer has to be shown to [`Self::response_body`].
    pub const fn reads_response(&self) -> bool {
        matches!(self.answer, Answer::Read(_))
    }

    /// Whether the answer has to be held whole and given to [`Self::filter_response`].
    pub const fn filters_response(&self) -> bool {
        matches!(self.answer, Answer::Held(..) | Answer::Models)
    }

    /// Whether the client gets nothing of the answer before all of it is judged.
    pub const fn withholds_response(&self) -> bool {
        self.screen.is_withheld()
    }

    /// Takes the next bytes of the answer in and says what goes to the client in their place.
    pub fn response_body(&mut self, chunk: &[u8], end: bool, now: Timestamp) -> Forward<'_> {
        if !chunk.is_empty() && self.first_byte.is_none() && !self.screen.is_withheld() {
            self.first_byte = Some(now);
        }
        if self.complete {
            return Forward::Unchanged;
        }
        self.passed(chunk.len());
        self.complete |= end;
        let end = self.complete;
        if self.screen.is_on() {
            let part = self.read_part(chunk, end);
            return self.screen_part(&part, end, now);
        }
        let Answer::Read(answer) = &mut self.answer else {
            return Forward::Unchanged;
        };
        if !end {
            return answer.push(chunk);
        }
        let mut tail = match answer.push(chunk) {
            Forward::Unchanged => None,
            Forward::Replace(bytes) => Some(bytes.to_vec()),
        };
        if let Forward::Replace(bytes) = answer.finish() {
            let tail = tail.get_or_insert_with(|| chunk.to_vec());
            tail.extend_from_slice(bytes);
        }
        let Some(tail) = tail else {
            return Forward::Unchanged;
        };
        self.noted.tail = tail;
        Forward::Replace(&self.noted.tail)
    }

    /// What of an answer would go on without policies.
    fn read_part(&mut self, chunk: &[u8], end: bool) -> Vec<u8> {
        let Answer::Read(answer) = &mut self.answer else {
            return chunk.to_vec();
        };
        let mut part = match answer.push(chunk) {
            Forward::Unchanged => chunk.to_vec(),
            Forward::Replace(bytes) => bytes.to_vec(),
        };
        if end && let Forward::Replace(bytes) = answer.finish() {
            part.extend_from_slice(bytes);
        }
        part
    }

    /// Notes that so much of an answer went by. With the last of what its header announced it is over: the client knows that,
    /// and does not wait for Envoy to say so.
    pub fn passed(&mut self, bytes: usize) {
        if let Some(left) = &mut self.announced {
            *left = left.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
            self.complete |= *left == 0;
        }
    }

    /// Ends an answer that was not read to its end by [`Self::response_body`]: in trailers, or nobody reads it.
    pub fn response_end(&mut self) {
        self.complete = true;
        if let Answer::Read(answer) = &mut self.answer {
            answer.finish();
        }
    }

    /// Whether an answer of the upstream's has begun and is not over: an exchange that ends now breaks off.
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Passed)
            && matches!(self.answered, 200..400)
            && !self.complete
            && !self.screen.cut
    }

    /// Notes that an answer [broke off](Self::is_open), before the exchange is [finished](Self::finish).
    pub fn break_off(&mut self, end: BrokenOff) {
        self.screen.failed = end.by_upstream;
        if let Answer::Held(..) | Answer::Models = self.answer {
            // The client got none of it, but what Envoy says in its place.
            self.status = end.status;
        }
        self.answer = match std::mem::replace(&mut self.answer, Answer::Unread) {
            Answer::Held(reader, _) => {
                self.screen.unread = end.held as u64;
                Answer::Read(reader)
            }
            other => other,
        };
    }

    /// Whether a held answer has become too large to be held on; what becomes of it then. Of one that goes on all the same,
    /// what is held is to be shown to [`Self::response_body`].
    pub fn response_held(&mut self, size: usize, now: Timestamp) -> AnswerStep {
        self.screen.unread = size as u64;
        if size <= self.most_held() {
            return AnswerStep::Hold;
        }
        let Answer::Held(reader, order) = std::mem::replace(&mut self.answer, Answer::Models)
        else {
            return AnswerStep::Reply(self.refuse(&Refusal::ResponseTooLarge, now));
        };
        self.answer = Answer::Read(reader);
        let identity = self.identity.as_ref();
        let group = identity.map(|identity| Rc::clone(&identity.group));
        // Where there is nothing but to be judged, it is not.
        if order.only_looks()
            && let Some(group) = group
            && self.leave_unjudged(&group).is_none()
        {
            self.screen.unread = 0;
            return AnswerStep::Pass(None);
        }
        self.status = Refusal::ResponseTooLarge.status();
        AnswerStep::Reply(self.cut_answer(&Refusal::ResponseTooLarge, now))
    }

    /// Takes out of a whole answer what may not be in it: of a list of models those that the group may not use.
    pub fn filter_response(&mut self, body: &[u8], now: Timestamp) -> AnswerStep {
        self.complete = true;
        self.screen.unread = 0;
        if let Answer::Held(reader, order) = std::mem::replace(&mut self.answer, Answer::Models) {
            return self.screen_whole(reader, &order, body, now);
        }
        let filtered = self.identity.as_ref().and_then(|identity| {
            let group = &identity.group;
            models::filter(body, self.dialect, &|model| group.allows(model))
        });
        match filtered {
            Some(filtered) => AnswerStep::Pass(Some(filtered)),
            None => AnswerStep::Reply(self.refuse(&Refusal::ResponseUnreadable, now)),
        }
    }
}

/// The whole number that a field's value is.
fn number(text: &[u8]) -> Option<u64> {
    // So many digits fit.
    if !(1..20).contains(&text.len()) {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then_some(byte & 15)?;
        Some(number.wrapping_mul(10).wrapping_add(digit.into()))
    })
}
