//! The end of an exchange: what it cost, counted exactly once, and the event that tells of it.

use super::admit::fired;
use super::decide::model_label;
use super::{Answer, Exchange, Inquiry, State};
use crate::analytics::{Alert, Charged, Event, Outcome};
use crate::limit::SharedData;
use crate::limit::counter::{Crossed, Ending, Ledger, Tokens};
use crate::llm::response::Reader;
use crate::llm::usage::{Usage, UsageFormat};
use crate::policy::Group;
use crate::service::Call;
use crate::spend::Buckets;
use crate::time::Timestamp;
use std::rc::Rc;

/// What is left of an exchange when it is over.
#[derive(Debug)]
pub struct Settlement {
    /// For the event log: one line of JSON. Before it may stand further ones, of requests that are over.
    pub event: Vec<u8>,
    /// What became of the request.
    pub outcome: Outcome,
    /// Why it was refused, if it was.
    pub refusal: Option<&'static str>,
    /// What was charged.
    pub charged: Charged,
    /// How many shares of budgets it crossed.
    pub alerts: usize,
    /// From the request's first byte to the end.
    pub latency_ms: u64,
    /// From the request's first byte to the answer's.
    pub ttft_ms: Option<u64>,
    /// Updates of a counter that were given up, and questions to a rate-limit service that were.
    pub store_errors: u32,
    /// Whether the rate-limit service does not know a limit of this request.
    pub unmatched: bool,
    /// Whether its consumer, one of too many that the file does not name, has no counters of its own.
    pub shares_counters: bool,
    /// To be sent to the rate-limit service; nobody waits for the answers.
    pub reports: Vec<Call>,
    /// To be asked about the answer; what comes of them is for a line of its own.
    pub inquiries: Vec<Rc<Inquiry>>,
    group: Option<Rc<Group>>,
    model: usize,
}

impl Settlement {
    /// Position of the group in the policy.
    pub fn group_index(&self) -> Option<usize> {
        self.group.as_ref().map(|group| group.index)
    }

    /// Name of the group.
    pub fn group_name(&self) -> Option<&str> {
        self.group.as_ref().map(|group| group.name.as_str())
    }

    /// The model as stats may name it, as a number: see [`Group::label`].
    pub const fn model_index(&self) -> usize {
        self.model
    }

    /// The model as stats may name it.
    pub fn model_label(&self) -> &str {
        self.group
            .as_ref()
            .map_or(crate::policy::OTHER_MODEL, |group| group.label(self.model))
    }
}

impl Exchange {
    /// Whether there is nothing more to come of an answer: then it is time to [`settle`](Self::settle).
    pub fn is_over(&self) -> bool {
        let over = match &self.answer {
            Answer::Read(answer) => answer.is_over(),
            _ => false,
        };
        self.charged.is_none() && (self.complete || over)
    }

    /// Whether all of an answer has come.
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// Charges what the exchange cost, and gives back what it held. Once: as soon as its answer is over, so that a client
    /// that has it all finds the room that it left; else at its [end](Self::finish).
    ///
    /// `reached` tells whether the upstream was reached at all; asked only of what failed.
    pub fn settle(
        &mut self,
        reached: &dyn Fn() -> bool,
        now: Timestamp,
        shared: &mut impl SharedData,
    ) {
        if self.charged.is_some() {
            return;
        }
        let (mut charged, estimated) = self.charge();
        if let Some(group) = self.group() {
            charged.cost = group.pricing.cost(&self.models, charged.priced);
        }
        self.charged = Some((charged, estimated));
        if !self.permit.is_empty() {
            let tokens = Tokens {
                prompt: charged.prompt,
                completion: charged.completion,
                total: charged.total,
                cost: charged.cost,
            };
            // Also where the answer is our own because the upstream's could not be filtered.
            let sent = self.screen.cut || (200..400).contains(&self.status) || reached();
            let ending = if sent {
                Ending::Used(tokens)
            } else {
                Ending::Undone
            };
            let settled = Ledger {
                shared: &mut self.worker.remembering(shared),
                holds: &mut self.worker.holds.borrow_mut(),
                counters: &self.counters,
                clock: self.policy.clock(now),
            }
            .settle(&std::mem::take(&mut self.permit), ending);
            self.store_errors = self.store_errors.saturating_add(settled.errors);
            if !settled.crossed.is_empty() {
                self.alert(settled.crossed);
            }
            if sent {
                self.report(&tokens, shared);
            }
        }
        if let Some(identity) = &self.identity
            && !estimated
            && self.asked.unbounded > 0
            && identity.group.counts_tokens()
            && charged.completion > 0
        {
            let each = charged.completion.div_ceil(self.asked.unbounded);
            let mut lengths = self.worker.lengths.borrow_mut();
            let model = model_label(&identity.group, &self.models);
            // What is written goes into the row of all writes.
            let shared = &mut self.worker.remembering(shared);
            lengths.learn(&identity.group, model, each, shared);
        }
    }

    /// Notes the shares of budgets that it crossed.
    #[cold]
    fn alert(&mut self, crossed: Vec<Crossed>) {
        let alerts = crossed.into_iter().filter_map(|crossed| {
            let counter = self.counters.get(crossed.counter)?;
            let fired = fired(crossed.limit, Some(counter));
            Some(Alert { fired, crossed })
        });
        self.noted.alerts = alerts.collect();
    }

    /// Ends the exchange and tells of it. To be called once, on every ending; see [`Self::settle`] for `reached`.
    pub fn finish(
        &mut self,
        reached: &dyn Fn() -> bool,
        now: Timestamp,
        shared: &mut impl SharedData,
    ) -> Settlement {
        self.note_answer();
        self.settle(reached, now, shared);
        if !self.noted.inquiries.is_empty() {
            // Whatever it is, it is too late to refuse the request.
            let _ = self.take_findings();
        }
        let inquiries = self.answer_asides();
        self.note_hits();
        let (charged, estimated) = self.charged.unwrap_or_default();
        let group = self
            .identity
            .as_ref()
            .map(|identity| Rc::clone(&identity.group));
        let (outcome, reason) = self.outcome();
        let since = |then: Timestamp| then.0.saturating_sub(self.started.0);
        let latency_ms = since(now);
        let ttft_ms = self.first_byte.map(since);
        let features: Vec<&str> = match &self.identity {
            Some(identity) => identity.features().collect(),
            None => Vec::new(),
        };
        let event = Event {
            time: self.started,
            consumer_group: group.as_ref().map(|group| group.name.as_str()),
            consumer: (self.identity.as_ref())
                .and_then(|identity| identity.consumer.as_ref())
                .map(|consumer| &*consumer.name),
            features: &features,
            key_id: self.identity.as_ref().map(|identity| &*identity.key_id),
            provider: self.target.as_ref().map(|target| target.id.as_str()),
            endpoint: self.call.as_ref().map(|call| call.endpoint.name),
            models: &self.models,
            status: self.status,
            stream: self.asked.stream,
            estimated,
            latency_ms,
            ttft_ms,
            result: outcome,
            reason,
            detail: self.noted.detail,
            policies: &self.noted.hits,
            answer_policies: &self.screen.hits,
            alerts: &self.noted.alerts,
            usage: charged,
        };
        let mut event = event.to_json();
        for asked in [&self.noted.inquiries, &inquiries] {
            for inquiry in asked {
                inquiry.leave(&String::from_utf8_lossy(&event));
            }
        }
        let mut late = self.worker.late.borrow_mut();
        if !late.is_empty() {
            event.splice(..0, std::mem::take(&mut *late).into_bytes());
        }
        let reports = if self.noted.reports.is_empty() {
            Vec::new()
        } else {
            std::mem::take(&mut self.noted.reports)
        };
        let model = (group.as_ref()).map_or(0, |group| model_label(group, &self.models));
        Settlement {
            event,
            refusal: reason.filter(|_| outcome == Outcome::Blocked),
            alerts: self.noted.alerts.len(),
            outcome,
            charged,
            latency_ms,
            ttft_ms,
            store_errors: self.store_errors,
            unmatched: self.unmatched,
            shares_counters: (self.identity.as_ref())
                .is_some_and(|identity| identity.shares_counters),
            reports,
            inquiries,
            group,
            model,
        }
    }

    /// What is charged, and whether that is an estimate. Nothing for what never reached an upstream, for errors, and for
    /// endpoints that only count.
    fn charge(&self) -> (Charged, bool) {
        let consumed = matches!(self.state, State::Passed)
            && (200..300).contains(&self.answered)
            && self
                .call
                .as_ref()
                .is_some_and(|call| call.endpoint.charged());
        // What is held may never be read, where the client goes before its end.
        let (Answer::Read(answer) | Answer::Held(answer, _)) = &self.answer else {
            return (Charged::default(), false);
        };
        if !consumed {
            return (Charged::default(), false);
        }
        let seen = answer.usage();
        match seen {
            Some(usage) if self.complete || answer.is_over() => (counted(usage), false),
            // An error that came behind text does not take the text back.
            None if answer.saw_error() && answer.text_bytes() == 0 => (Charged::default(), false),
            None if self.is_put_off(answer) => (Charged::default(), false),
            // Cut short, or silent: whichever is more, what was said so far or what was asked and sent.
            seen => {
                let seen = counted(seen.unwrap_or_default());
                let prompt = self.prompt_estimate;
                let text = answer.text_bytes().max(self.screen.unread);
                let completion = text.div_ceil(4);
                let total = prompt.saturating_add(completion);
                if seen.total >= total {
                    return (seen, true);
                }
                let estimate = Charged {
                    prompt,
                    completion,
                    total,
                    priced: Buckets::new(prompt, seen.cached, seen.priced.cache_write, completion),
                    ..seen
                };
                (estimate, true)
            }
        }
    }

    /// Whether an answer is to be fetched later. What came at once was paid for, whatever was asked.
    fn is_put_off(&self, answer: &Reader) -> bool {
        let call = self.call.as_ref();
        self.asked.background
            && !self.asked.stream
            && self.complete
            && answer.text_bytes() == 0
            && call.is_some_and(|call| call.endpoint.usage == UsageFormat::OpenAiResponses)
    }

    /// Whether the upstream failed behind a status that said that all was well.
    fn upstream_failed(&self) -> bool {
        let said = match &self.answer {
            Answer::Read(answer) => answer.saw_error(),
            _ => false,
        };
        self.screen.failed || said
    }

    fn outcome(&self) -> (Outcome, Option<&'static str>) {
        match (&self.state, self.refusal, self.shadowed) {
            (State::Refused, Some(code), _) if self.status < 500 => (Outcome::Blocked, Some(code)),
            (State::Refused, code, _) => (Outcome::Error, code),
            (
                State::Start
                | State::Asking(_)
                | State::Inflating(..)
                | State::Moderating(_)
                | State::Reading(_),
                ..,
            ) => (Outcome::Error, Some("request_incomplete")),
            (State::Passed, Some(code), _) if self.screen.cut => match code {
                "content_blocked" => (Outcome::Blocked, Some(code)),
                _ => (Outcome::Error, Some(code)),
            },
            (State::Passed, ..) if self.status == 0 => (Outcome::Error, Some("no_response")),
            (State::Passed, ..) if self.status >= 400 || self.upstream_failed() => {
                (Outcome::Error, Some("upstream_error"))
            }
            (State::Passed, _, Some(code)) => (Outcome::Flagged, Some(code)),
            (State::Passed, _, None) => (Outcome::Allowed, None),
        }
    }
}

/// Unknowns become zeros; a total that is not stated is the sum. No part is more than the whole, whatever an upstream says.
fn counted(usage: Usage) -> Charged {
    let prompt = usage.prompt_tokens.unwrap_or(0);
    let completion = usage.completion_tokens.unwrap_or(0);
    let cached = usage.cached_tokens.unwrap_or(0);
    let cache_write = usage.cache_write_tokens.unwrap_or(0);
    Charged {
        prompt,
        completion,
        total: usage
            .total_tokens
            .unwrap_or_else(|| prompt.saturating_add(completion)),
        cached: cached.min(prompt),
        priced: match usage.billed {
            // What came from a cache for nothing is not among it.
            Some([prompt, completion]) => Buckets::new(prompt, 0, 0, completion),
            None => Buckets::new(prompt, cached, cache_write, completion),
        },
        reasoning: usage.reasoning_tokens.unwrap_or(0).min(completion),
        cost: 0,
    }
}
