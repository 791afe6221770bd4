//! The answer's half of one HTTP stream: what of its body goes on, waits, or gives way to an error.

use super::abi::{self, Buffer};
use super::attributes::reached_upstream;
use super::http::{Http, Phase, answer};
use super::shared_data::EnvoySharedData;
use crate::exchange::AnswerStep;
use crate::llm::response::Forward as Chunk;
use proxy_wasm::types::Action;

impl Http {
    /// Settles an answer that is over, before its client has the end of it.
    /// `asked`: Envoy was asked for the time already.
    pub(super) fn settle(&mut self, asked: bool) {
        if self.exchange.is_over() {
            let now = if asked { self.clock } else { self.now() };
            let shared = &mut EnvoySharedData;
            self.exchange.settle(&reached_upstream, now, shared);
            self.complete = self.exchange.is_complete();
        }
    }

    /// Does what becomes of an answer of which Envoy holds so much.
    pub(super) fn carry_out_answer(&mut self, step: AnswerStep, size: usize) -> Action {
        match step {
            AnswerStep::Pass(body) => {
                self.phase = Phase::Released;
                if let Some(body) = body {
                    abi::replace_buffer(Buffer::ResponseBody, size, &body);
                }
                self.settle(false);
                Action::Continue
            }
            AnswerStep::Hold => Action::Pause,
            AnswerStep::Moderate => {
                // What it cost is known: whatever becomes of it, that was used.
                self.settle(false);
                self.phase = Phase::Judging;
                self.held = size;
                let inquiries = self.exchange.answer_inquiries();
                self.calls = super::moderation::ask(&self.serving, self.id, inquiries);
                let now = self.clock;
                let step = self.exchange.answer_moderated(now);
                self.carry_out_answer(step, size)
            }
            AnswerStep::Reply(reply) if self.serving.policy.hold_request_headers => {
                self.phase = Phase::Answered;
                answer(&reply);
                Action::Pause
            }
            // The header has gone out already: what is left is to put the error where the answer was.
            AnswerStep::Reply(reply) => {
                self.phase = Phase::Cut;
                abi::replace_buffer(Buffer::ResponseBody, size, &reply.body);
                Action::Continue
            }
        }
    }

    /// Filters a held answer, once it is whole.
    pub(super) fn filter_response(&mut self, size: usize, end_of_stream: bool) -> Action {
        if !end_of_stream {
            return Action::Pause;
        }
        let body = abi::buffer(Buffer::ResponseBody, 0, size);
        let step = self.exchange.filter_response(&body, self.clock);
        self.carry_out_answer(step, size)
    }

    /// Shows the next piece of an answer's body to the exchange.
    pub(super) fn read_response(&mut self, size: usize, end_of_stream: bool) -> Action {
        let chunk = if size == 0 {
            Vec::new()
        } else {
            abi::buffer(Buffer::ResponseBody, 0, size)
        };
        let begins = !self.answering && size > 0;
        if begins {
            self.answering = true;
            self.now();
        }
        let edit = self
            .exchange
            .response_body(&chunk, end_of_stream, self.clock);
        let left = match edit {
            Chunk::Replace(bytes) => {
                abi::replace_buffer(Buffer::ResponseBody, size, bytes);
                bytes.len()
            }
            Chunk::Unchanged => size,
        };
        if self.exchange.withholds_response() {
            let now = self.clock;
            let step = self.exchange.answer_step(now);
            return self.carry_out_answer(step, left);
        }
        self.settle(begins);
        Action::Continue
    }
}
