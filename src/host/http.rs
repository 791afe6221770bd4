//! One HTTP stream of Envoy, driving one exchange.

use super::abi::{self, Buffer, Map};
use super::attributes::{broken_off, property, reached_upstream};
use super::pairs;
use super::root::Serving;
use super::shared_data::EnvoySharedData;
use crate::exchange::{AnswerStep, Exchange, Inbound, NewBody, Release, Step};
use crate::headers::{Edit, HeaderEdits, Headers};
use crate::reply::Reply;
use crate::time::Timestamp;
use proxy_wasm::traits::HttpContext;
use proxy_wasm::types::Action;
use std::rc::Rc;

/// One stream.
pub(super) struct Http {
    pub(super) id: u32,
    pub(super) serving: Rc<Serving>,
    pub(super) exchange: Exchange,
    /// How much of the request's body the exchange has seen: while it is held, Envoy shows all of it each time.
    pub(super) scanned: usize,
    /// A small body that came in one piece, in case that it is rewritten.
    body: Vec<u8>,
    /// How much of an answer's body Envoy holds.
    pub(super) held: usize,
    /// Whether the answer's body has begun.
    pub(super) answering: bool,
    /// When Envoy was last asked for the time. That costs, and most pieces of a body need no time of their own.
    pub(super) clock: Timestamp,
    /// Whether the whole answer had come by then: what is left is to end the stream, which takes no time.
    pub(super) complete: bool,
    pub(super) phase: Phase,
    /// Calls that the request waits for, or its answer, in the order in which they were asked for.
    pub(super) calls: Vec<Option<u32>>,
}

/// What is left to do with the request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// The rate-limit service is being asked.
    Asking,
    /// Moderation endpoints are.
    Moderating,
    /// The body is awaited.
    Held,
    /// Moderation endpoints are being asked about its answer.
    Judging,
    /// Nothing: it went on.
    Released,
    /// Nothing: it was answered here.
    Answered,
    /// Nothing: our error stands under the upstream's header, and no more of its body goes on.
    Cut,
}

impl Http {
    /// So much of a body is kept until it goes on.
    const KEPT: usize = 4096;

    pub(super) fn new(id: u32, serving: Rc<Serving>) -> Self {
        let exchange = Exchange::new(Rc::clone(&serving.policy), Rc::clone(&serving.worker));
        Self {
            id,
            serving,
            exchange,
            scanned: 0,
            body: Vec::new(),
            held: 0,
            answering: false,
            clock: Timestamp::default(),
            complete: false,
            phase: Phase::Held,
            calls: Vec::new(),
        }
    }

    pub(super) fn now(&mut self) -> Timestamp {
        self.clock = now();
        self.clock
    }

    /// `body` is the size of the body as it is held now.
    pub(super) fn carry_out(&mut self, step: Step, body: usize) -> Action {
        match step {
            Step::Continue(release) => {
                if !let_go(release, std::mem::take(&mut self.body), body) {
                    return self.fail("the request could not be changed", body);
                }
                self.phase = Phase::Released;
                let inquiries = self.exchange.inquiries();
                if !inquiries.is_empty() {
                    super::moderation::ask_aside(&self.serving, self.id, inquiries);
                }
                Action::Continue
            }
            Step::Reply(reply) => {
                self.phase = Phase::Answered;
                let now = self.clock;
                self.exchange.settle(&|| false, now, &mut EnvoySharedData);
                answer(&reply);
                Action::Pause
            }
            Step::Ask(calls) => {
                let step = self.ask(&calls);
                self.carry_out(step, body)
            }
            Step::Moderate => {
                self.phase = Phase::Moderating;
                let inquiries = self.exchange.inquiries();
                self.calls = super::moderation::ask(&self.serving, self.id, inquiries);
                let now = self.clock;
                let step = self.exchange.moderated(now, &mut EnvoySharedData);
                self.carry_out(step, body)
            }
            _ => Action::Pause,
        }
    }

    /// Refuses a request with which Envoy did not do as told: what it would send on is not what was judged.
    fn fail(&mut self, what: &str, body: usize) -> Action {
        log::error!("{what}; the request is refused");
        let reply = self.exchange.fail(self.clock);
        self.carry_out(Step::Reply(reply), body)
    }
}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        let raw = abi::header_map(Map::Request);
        let fields = pairs::decode(&raw);
        let inbound = Inbound {
            headers: Headers::new(&fields),
            end: end_of_stream,
            property: &property,
        };
        let now = self.now();
        let (edits, step) = self
            .exchange
            .request_headers(inbound, now, &mut EnvoySharedData);
        if !apply(Map::Request, &edits) {
            return self.fail("the request header could not be changed", 0);
        }
        let waits = matches!(step, Step::NeedBody);
        let action = self.carry_out(step, 0);
        if waits && !self.serving.policy.hold_request_headers {
            Action::Continue
        } else {
            action
        }
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        match self.phase {
            Phase::Judging | Phase::Released => return Action::Continue,
            Phase::Answered | Phase::Asking | Phase::Moderating | Phase::Cut => {
                return Action::Pause;
            }
            Phase::Held => {}
        }
        let fresh = size.saturating_sub(self.scanned);
        let chunk = if fresh == 0 {
            Vec::new()
        } else {
            abi::buffer(Buffer::RequestBody, self.scanned, fresh)
        };
        if chunk.len() != fresh {
            // Judging part of a body would let the rest through unseen.
            return self.fail("the request body could not be read", size);
        }
        let whole = self.scanned == 0 && fresh <= Self::KEPT;
        self.scanned = size;
        let now = if end_of_stream {
            self.now()
        } else {
            self.clock
        };
        let step = self
            .exchange
            .request_body(&chunk, end_of_stream, now, &mut EnvoySharedData);
        if whole {
            self.body = chunk;
        }
        self.carry_out(step, size)
    }

    /// Trailers end the body: without this an HTTP/2 client could pass a body that was never judged.
    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        match self.phase {
            Phase::Judging | Phase::Released => return Action::Continue,
            Phase::Answered | Phase::Asking | Phase::Moderating | Phase::Cut => {
                return Action::Pause;
            }
            Phase::Held => {}
        }
        let now = self.now();
        let step = self.exchange.request_trailers(now, &mut EnvoySharedData);
        self.carry_out(step, self.scanned)
    }

    fn on_http_response_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        if self.phase == Phase::Answered {
            return Action::Continue;
        }
        let raw = abi::header_map(Map::Response);
        let fields = pairs::decode(&raw);
        let now = self.now();
        let headers = Headers::new(&fields);
        let step = self
            .exchange
            .response_headers(headers, end_of_stream, &reached_upstream, now);
        if let Some(reply) = step.reply {
            self.phase = Phase::Answered;
            answer(&reply);
            return Action::Pause;
        }
        apply_to(Map::Response, headers, &step.edits);
        self.settle(true);
        if step.hold {
            Action::Pause
        } else {
            Action::Continue
        }
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if self.phase == Phase::Cut {
            abi::replace_buffer(Buffer::ResponseBody, size, &[]);
        }
        if matches!(self.phase, Phase::Answered | Phase::Cut) {
            return Action::Continue;
        }
        if self.phase == Phase::Judging {
            return Action::Pause;
        }
        if self.exchange.filters_response() {
            self.held = size;
            return match self.exchange.response_held(size, self.clock) {
                AnswerStep::Hold => self.filter_response(size, end_of_stream),
                AnswerStep::Pass(_) => self.read_response(size, end_of_stream),
                step => self.carry_out_answer(step, size),
            };
        }
        if self.exchange.reads_response() {
            return self.read_response(size, end_of_stream);
        }
        self.exchange.passed(size);
        if end_of_stream {
            self.exchange.response_end();
        }
        self.settle(false);
        Action::Continue
    }

    /// Trailers end a held answer as well: without this it would go on as it came.
    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        match self.phase {
            Phase::Answered | Phase::Cut => {}
            Phase::Judging => return Action::Pause,
            _ if self.exchange.filters_response() => return self.filter_response(self.held, true),
            _ if self.exchange.withholds_response() => return self.read_response(0, true),
            _ => {}
        }
        self.exchange.response_end();
        self.settle(false);
        Action::Continue
    }

    /// Envoy calls this on every ending: also when the client went away, on a timeout, on a reset.
    fn on_log(&mut self) {
        let now = if self.complete && self.phase == Phase::Released {
            self.clock
        } else {
            self.now()
        };
        if self.exchange.is_unseen() {
            self.exchange.unseen(broken_off(0).status, now);
        }
        if self.exchange.is_open() && !self.exchange.is_over() {
            self.exchange.break_off(broken_off(self.held));
        }
        let settlement = self
            .exchange
            .finish(&reached_upstream, now, &mut EnvoySharedData);
        abi::set_property("cohort_event", &settlement.event);
        if !settlement.inquiries.is_empty() {
            super::moderation::ask_aside(&self.serving, self.id, &settlement.inquiries);
        }
        if settlement.unmatched {
            self.serving.warn_unmatched();
        }
        self.serving.stats.count(&settlement);
        self.serving.stats.tell_memory();
        if let Some(service) = &self.serving.policy.service
            && !settlement.reports.is_empty()
        {
            // This stream ends here; the root is there when the answers come.
            abi::act_as(self.serving.root);
            for report in &settlement.reports {
                super::service::call(service, report);
            }
        }
    }
}

pub(super) fn now() -> Timestamp {
    Timestamp(abi::now_nanoseconds() / 1_000_000)
}

/// Makes every change; `false` where Envoy did not take one.
fn apply(map: Map, edits: &HeaderEdits) -> bool {
    edits.iter().all(|edit| match edit {
        Edit::Remove(name) => abi::remove_header(map, name),
        Edit::Set(name, value) => abi::set_header(map, name, value),
    })
}

/// The same of a header whose fields are known: what none of them has the name of is only put in, which takes less.
fn apply_to(map: Map, headers: Headers<'_>, edits: &HeaderEdits) {
    for edit in edits.iter() {
        match edit {
            Edit::Remove(name) => {
                abi::remove_header(map, name);
            }
            Edit::Set(name, value) if headers.has(name.as_bytes()) => {
                abi::set_header(map, name, value);
            }
            Edit::Set(name, value) => abi::add_header(map, name, value),
        }
    }
}

/// `false` where Envoy did not take a change. `body`: what is known of the body, perhaps not all of its `size` bytes.
fn let_go(release: Release, mut body: Vec<u8>, size: usize) -> bool {
    if !apply(Map::Request, &release.edits) {
        return false;
    }
    match release.body {
        None => true,
        Some(NewBody::Rewritten(rewrite)) => {
            if body.len() != size {
                body = abi::buffer(Buffer::RequestBody, 0, size);
            }
            let new = rewrite.apply(&body);
            new.is_some_and(|new| abi::replace_buffer(Buffer::RequestBody, size, &new))
        }
        Some(NewBody::Whole(body)) => abi::replace_buffer(Buffer::RequestBody, size, &body),
    }
}

pub(super) fn answer(reply: &Reply) {
    let fields = reply.headers.fields();
    let headers = pairs::encode(fields.map(|(name, value)| (name.as_bytes(), value)));
    abi::send_local_response(reply.status, reply.details, &headers, &reply.body);
}
