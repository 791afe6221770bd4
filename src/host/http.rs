//! One HTTP stream of Envoy, driving one exchange.

use super::abi::{self, Action, Buffer, Level, Map};
use super::pairs;
use super::root::Serving;
use super::shared_data::EnvoySharedData;
use crate::exchange::{Exchange, Inbound, NewBody, Release, Step};
use crate::headers::{HeaderEdits, Headers};
use crate::llm::response::Forward as Chunk;
use crate::reply::Reply;
use crate::time::Timestamp;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

/// One stream.
pub(super) struct Http {
    serving: Rc<Serving>,
    exchange: Exchange,
    /// How much of the request's body the exchange has seen: while it is held, Envoy shows all of it each time.
    scanned: usize,
    /// How much of an answer's body is held.
    held: usize,
    /// Whether the answer's body has begun.
    answering: bool,
    /// When Envoy was last asked for the time. That costs, and most pieces of a body need no time of their own.
    clock: Timestamp,
    phase: Phase,
}

/// What is left to do with the request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// The body is awaited.
    Held,
    /// Nothing: it went on.
    Released,
    /// Nothing: it was answered here.
    Answered,
    /// Nothing: our error stands under the upstream's header, and no more of its body goes on.
    Cut,
}

impl Http {
    pub(super) fn new(serving: Rc<Serving>) -> Self {
        let exchange = Exchange::new(Rc::clone(&serving.policy));
        Self {
            serving,
            exchange,
            scanned: 0,
            held: 0,
            answering: false,
            clock: Timestamp::default(),
            phase: Phase::Held,
        }
    }

    fn now(&mut self) -> Timestamp {
        self.clock = Timestamp(abi::now_nanoseconds() / 1_000_000);
        self.clock
    }

    /// `body` is the size of the body as it is held now.
    fn carry_out(&mut self, step: Step, body: usize) -> Action {
        match step {
            Step::Continue(release) => {
                if let_go(release, body) {
                    self.phase = Phase::Released;
                    return Action::Continue;
                }
                self.fail("the request could not be changed", body)
            }
            Step::Reply(reply) => {
                self.phase = Phase::Answered;
                answer(&reply);
                Action::Pause
            }
            _ => Action::Pause,
        }
    }

    /// Refuses a request with which Envoy did not do as told: what it would send on is not what was judged.
    fn fail(&mut self, what: &str, body: usize) -> Action {
        abi::log(Level::Error, &format!("{what}; the request is refused"));
        let reply = self.exchange.fail(self.clock);
        self.carry_out(Step::Reply(reply), body)
    }

    /// Holds an answer until it is whole, then lets the filtered one go on.
    fn filter_response(&mut self, size: usize, end_of_stream: bool) -> Action {
        let filtered = match self.exchange.response_held(size, self.clock) {
            Some(reply) => Err(reply),
            None if !end_of_stream => return Action::Pause,
            None => self
                .exchange
                .filter_response(&abi::buffer(Buffer::ResponseBody, 0, size), self.clock),
        };
        match filtered {
            Ok(body) => {
                abi::replace_buffer(Buffer::ResponseBody, size, &body);
            }
            Err(reply) if self.serving.policy.hold_request_headers => {
                self.phase = Phase::Answered;
                answer(&reply);
                return Action::Pause;
            }
            // The header has gone out already: what is left is to put the error where the list was.
            Err(reply) => {
                self.phase = Phase::Cut;
                abi::replace_buffer(Buffer::ResponseBody, size, &reply.body);
            }
        }
        Action::Continue
    }
}

/// What Envoy calls.
impl Http {
    pub(super) fn on_request_headers(&mut self, end_of_stream: bool) -> Action {
        let raw = abi::header_map(Map::Request);
        let fields = pairs::decode(&raw);
        let inbound = Inbound {
            headers: Headers::new(&fields),
            end: end_of_stream,
            source: &source_address,
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

    pub(super) fn on_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        match self.phase {
            Phase::Released => return Action::Continue,
            Phase::Answered | Phase::Cut => return Action::Pause,
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
        self.scanned = size;
        let now = if end_of_stream {
            self.now()
        } else {
            self.clock
        };
        let step = self
            .exchange
            .request_body(&chunk, end_of_stream, now, &mut EnvoySharedData);
        self.carry_out(step, size)
    }

    /// Trailers end the body: without this an HTTP/2 client could pass a body that was never judged.
    pub(super) fn on_request_trailers(&mut self) -> Action {
        match self.phase {
            Phase::Released => return Action::Continue,
            Phase::Answered | Phase::Cut => return Action::Pause,
            Phase::Held => {}
        }
        let now = self.now();
        let step = self.exchange.request_trailers(now, &mut EnvoySharedData);
        self.carry_out(step, self.scanned)
    }

    pub(super) fn on_response_headers(&mut self, end_of_stream: bool) -> Action {
        if self.phase == Phase::Answered {
            return Action::Continue;
        }
        let raw = abi::header_map(Map::Response);
        let fields = pairs::decode(&raw);
        let now = self.now();
        let step = self
            .exchange
            .response_headers(Headers::new(&fields), end_of_stream, now);
        if let Some(reply) = step.reply {
            self.phase = Phase::Answered;
            answer(&reply);
            return Action::Pause;
        }
        if !rewrite(Map::Response, &fields, &step.edits) {
            apply(Map::Response, &step.edits);
        }
        if step.hold {
            Action::Pause
        } else {
            Action::Continue
        }
    }

    pub(super) fn on_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if self.phase == Phase::Cut {
            abi::replace_buffer(Buffer::ResponseBody, size, &[]);
        }
        if matches!(self.phase, Phase::Answered | Phase::Cut) {
            return Action::Continue;
        }
        if self.exchange.filters_response() {
            self.held = size;
            return self.filter_response(size, end_of_stream);
        }
        if !self.exchange.reads_response() {
            return Action::Continue;
        }
        let chunk = if size == 0 {
            Vec::new()
        } else {
            abi::buffer(Buffer::ResponseBody, 0, size)
        };
        if !self.answering && size > 0 {
            self.answering = true;
            self.now();
        }
        let edit = self
            .exchange
            .response_body(&chunk, end_of_stream, self.clock);
        if let Chunk::Replace(bytes) = edit {
            abi::replace_buffer(Buffer::ResponseBody, size, bytes);
        }
        Action::Continue
    }

    /// Trailers end a held answer as well: without this it would go on as it came.
    pub(super) fn on_response_trailers(&mut self) -> Action {
        self.exchange.response_trailers();
        if !matches!(self.phase, Phase::Answered | Phase::Cut) && self.exchange.filters_response() {
            return self.filter_response(self.held, true);
        }
        Action::Continue
    }

    /// Envoy calls this on every ending: also when the client went away, on a timeout, on a reset.
    pub(super) fn on_log(&mut self) {
        let now = self.now();
        let settlement = self.exchange.finish(now, &mut EnvoySharedData);
        abi::set_property("cohort_event", settlement.event.as_bytes());
        self.serving.stats.count(&settlement);
        self.serving.stats.tell_memory();
    }
}

/// The caller's address as Envoy trusts it (`use_remote_address`, `xff_num_trusted_hops`), without the port. Of an IPv6
/// address its network: one caller may have all of it.
fn source_address() -> Vec<u8> {
    let address = abi::property("source\0address").unwrap_or_default();
    let parsed = std::str::from_utf8(&address)
        .ok()
        .and_then(|text| text.parse::<SocketAddr>().ok());
    match parsed.map(|address| address.ip()) {
        Some(IpAddr::V4(address)) => address.octets().to_vec(),
        Some(IpAddr::V6(address)) => address.octets().into_iter().take(8).collect(),
        None => address,
    }
}

/// Makes every change; `false` where Envoy did not take one.
fn apply(map: Map, edits: &HeaderEdits) -> bool {
    let removed = edits
        .remove
        .iter()
        .all(|name| abi::remove_header(map, name));
    let mut set = edits.set.iter();
    removed && set.all(|(name, value)| abi::set_header(map, name, value))
}

/// Makes every change in one call, by writing the whole map anew: cheaper than a call for each where there are many.
/// `false` where Envoy did not take it.
fn rewrite(map: Map, fields: &[(&[u8], &[u8])], edits: &HeaderEdits) -> bool {
    let touched = |name: &[u8]| {
        let set = edits.set.iter().map(|(name, _)| name.as_bytes());
        let removed = edits.remove.iter().map(String::as_bytes);
        removed.chain(set).any(|touched| touched == name)
    };
    let kept = fields.iter().copied().filter(|(name, _)| !touched(name));
    let set = edits
        .set
        .iter()
        .map(|(name, value)| (name.as_bytes(), &**value));
    abi::set_header_map(map, &pairs::encode(kept.chain(set)))
}

/// `false` where Envoy did not take a change.
fn let_go(release: Release, size: usize) -> bool {
    if !apply(Map::Request, &release.edits) {
        return false;
    }
    match release.body {
        None => true,
        Some(NewBody::Rewritten(rewrite)) => {
            let body = abi::buffer(Buffer::RequestBody, 0, size);
            let new = rewrite.apply(&body);
            new.is_some_and(|new| abi::replace_buffer(Buffer::RequestBody, size, &new))
        }
        Some(NewBody::Whole(body)) => abi::replace_buffer(Buffer::RequestBody, size, &body),
    }
}

fn answer(reply: &Reply) {
    let headers = pairs::encode(
        reply
            .headers
            .set
            .iter()
            .map(|(name, value)| (name.as_bytes(), &**value)),
    );
    abi::send_local_response(reply.status, reply.details, &headers, &reply.body);
}
