//! What one HTTP stream waits for: calls to the rate-limit service and to moderation endpoints.

use super::http::{Http, Phase};
use super::shared_data::EnvoySharedData;
use super::{abi, moderation, service};
use crate::exchange::Step;
use crate::service::Call;
use proxy_wasm::traits::{Context, HttpContext as _};
use proxy_wasm::types::Action;
use std::rc::Rc;

impl Http {
    /// Makes the calls. One that cannot be made is answered at once: nothing will ever come of it.
    pub(super) fn ask(&mut self, calls: &[Call]) -> Step {
        let serving = Rc::clone(&self.serving);
        let Some(service) = &serving.policy.service else {
            return Step::Wait;
        };
        self.phase = Phase::Asking;
        abi::act_as(serving.root);
        self.calls = (calls.iter())
            .map(|call| service::call(service, call))
            .collect();
        match self.calls.iter().position(Option::is_none) {
            // What follows is the stream's; else nothing does until there is an answer, and Envoy knows who is next.
            Some(failed) => {
                abi::act_as(self.id);
                let now = self.clock;
                let shared = &mut EnvoySharedData;
                self.exchange.answered(failed, None, now, shared)
            }
            None => Step::Wait,
        }
    }

    /// Which of the calls that the request waits for this is.
    fn awaited(&self, token: u32) -> Option<usize> {
        let mut calls = self.calls.iter();
        let call = calls.position(|call| *call == Some(token));
        call.filter(|_| {
            matches!(
                self.phase,
                Phase::Asking | Phase::Moderating | Phase::Judging
            )
        })
    }

    /// Carries out what a call's answer led to, and lets the request go on if it may.
    fn go_on(&mut self, step: Step) {
        if self.carry_out(step, self.scanned) == Action::Continue {
            self.resume_http_request();
        }
    }
}

impl Context for Http {
    fn on_http_call_response(&mut self, token: u32, _: usize, size: usize, _: usize) {
        let Some(call) = self.awaited(token) else {
            return;
        };
        if self.phase == Phase::Asking {
            let answer = service::answer(self.serving.root, self.id, size);
            let now = self.now();
            let shared = &mut EnvoySharedData;
            let step = self.exchange.answered(call, answer, now, shared);
            return self.go_on(step);
        }
        let answer = moderation::answer_to(&self.serving, self.id, size);
        let judging = self.phase == Phase::Judging;
        let inquiries = if judging {
            self.exchange.answer_inquiries()
        } else {
            self.exchange.inquiries()
        };
        if let Some(inquiry) = inquiries.get(call) {
            inquiry.answered(answer.as_deref());
        }
        let now = self.now();
        if !judging {
            let step = self.exchange.moderated(now, &mut EnvoySharedData);
            return self.go_on(step);
        }
        let step = self.exchange.answer_moderated(now);
        if self.carry_out_answer(step, self.held) == Action::Continue {
            self.resume_http_response();
        }
    }
}
