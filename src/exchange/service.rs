//! What a rate-limit service is asked about a request, and what follows from what it says.

use super::admit::over_limit;
use super::{Exchange, State, Step};
use crate::config::{FailureMode, LimitService, ServiceDialect};
use crate::limit::counter::{Check, Demand, Over, Standing, Tokens};
use crate::limit::{SharedData, Window};
use crate::llm::request::Rewrite;
use crate::refusal::Refusal;
use crate::service::lease::{Account, Ask, Spend};
use crate::service::{Call, Question, Status, Verdict};
use crate::time::{Timestamp, UtcOffset};
use std::rc::Rc;

/// Until other requests of this Envoy give back what they have reserved: nobody knows, so soon.
const RESERVED_MS: u64 = 1_000;

/// A request that waits for a rate-limit service.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) rewrite: Rewrite,
    pub(super) plain: Option<Vec<u8>>,
    pub(super) demand: Demand,
    ask: Ask,
    asked_at: Timestamp,
    answers: Vec<Option<Vec<u8>>>,
}

/// What there is to ask before a request is admitted.
pub(super) struct Inquiry {
    pub(super) calls: Vec<Call>,
    ask: Ask,
}

impl Exchange {
    /// The same where a service says it.
    #[inline(never)]
    pub(super) fn admit_with(
        &mut self,
        demand: Demand,
        now: Timestamp,
        shared: &mut impl SharedData,
    ) -> Result<Option<Inquiry>, Refusal> {
        let policy = Rc::clone(&self.policy);
        let service = policy.service.as_ref().ok_or(Refusal::Internal)?;
        self.count(demand, Check::Own, now, shared)?;
        let counters = self.counters.clone();
        let question = Question {
            service,
            counters: &counters,
        };
        let inquiry = self.inquire(question, demand, now, shared);
        match inquiry {
            Some(Inquiry { calls, ask }) if calls.is_empty() => {
                // The breaker is open.
                self.lease_failed(service, &ask, shared);
                self.do_without(service, demand, now, shared)?;
                Ok(None)
            }
            inquiry => Ok(inquiry),
        }
    }

    /// Holds a request until the service has answered.
    pub(super) fn wait(
        &mut self,
        inquiry: Inquiry,
        (rewrite, plain, demand): (Rewrite, Option<Vec<u8>>, Demand),
        now: Timestamp,
    ) -> Step {
        let Inquiry { calls, ask } = inquiry;
        self.state = State::Asking(Box::new(Pending {
            rewrite,
            plain,
            demand,
            ask,
            asked_at: now,
            answers: vec![None; calls.len()],
        }));
        Step::Ask(calls)
    }

    /// Takes in what a call of [`Step::Ask`] came to, by its position: the answer, or `None` if there is none.
    pub fn answered(
        &mut self,
        call: usize,
        answer: Option<Vec<u8>>,
        now: Timestamp,
        shared: &mut impl SharedData,
    ) -> Step {
        let failed = answer.is_none();
        match &mut self.state {
            State::Asking(pending) => {
                if let Some(place) = pending.answers.get_mut(call) {
                    *place = answer;
                }
                if !failed && pending.answers.iter().any(Option::is_none) {
                    return Step::Wait;
                }
            }
            _ => return Step::Wait,
        }
        let State::Asking(mut pending) = std::mem::replace(&mut self.state, State::Start) else {
            return Step::Wait;
        };
        let answers = std::mem::take(&mut pending.answers);
        let result = self
            .heed(&pending, answers.into_iter().collect(), now, shared)
            .and_then(|()| self.release(pending.rewrite, pending.plain));
        self.step(result, now)
    }

    /// Calls that count what the request used, where a service does that.
    pub(super) fn report(&mut self, tokens: &Tokens, shared: &mut impl SharedData) {
        let Some(service) = &self.policy.service else {
            return;
        };
        let question = Question {
            service,
            counters: &self.counters,
        };
        let Some(terms) = service.lease else {
            self.noted.reports.extend(question.report(tokens));
            return;
        };
        let account = Account::new(question, terms);
        let spent = account.spent(&mut self.worker.remembering(shared), tokens);
        if spent.is_err() {
            self.noted.reports.extend(question.report(tokens));
        }
        self.worker
            .remember_lease(account.into_key(), &self.counters);
    }

    /// What to ask the service; `None` if nothing has to be.
    fn inquire(
        &mut self,
        question: Question<'_>,
        demand: Demand,
        now: Timestamp,
        shared: &mut impl SharedData,
    ) -> Option<Inquiry> {
        let service = question.service;
        let mut ask = Ask::single();
        if let Some(terms) = service.lease {
            let account = Account::new(question, terms);
            let reserved = |counter, limit| {
                standing(&self.standings, counter, limit).map_or(0, |standing| standing.reserved)
            };
            let shared = &mut self.worker.remembering(shared);
            match account.spend(shared, &demand.tokens, &reserved, now) {
                Ok(Spend::Paid(statuses)) => {
                    self.take_over(&statuses);
                    return None;
                }
                Ok(Spend::Ask(more)) => ask = more,
                Err(_) => self.store_errors = self.store_errors.saturating_add(1),
            }
        }
        let mut calls = question.ask(ask.hits, &demand.tokens, &ask.unreported);
        if calls.is_empty() {
            return None;
        }
        if !self
            .worker
            .breaker
            .borrow_mut()
            .permits(now, service.timeout_ms)
        {
            calls.clear();
        }
        Some(Inquiry { calls, ask })
    }

    /// Does what the service says, or what is to be done if one of its `answers` is missing.
    fn heed(
        &mut self,
        pending: &Pending,
        answers: Option<Vec<Vec<u8>>>,
        now: Timestamp,
        shared: &mut impl SharedData,
    ) -> Result<(), Refusal> {
        let policy = Rc::clone(&self.policy);
        let service = policy.service.as_ref().ok_or(Refusal::Internal)?;
        let Pending { demand, ask, .. } = pending;
        let question = Question {
            service,
            counters: &self.counters,
        };
        let verdict = answers.map_or(Verdict::Malformed, |answers| {
            question.read(&answers, &demand.tokens, &|_, _| 0, now)
        });
        let (refused, statuses) = match verdict {
            Verdict::Within(statuses) => (None, statuses),
            Verdict::Over {
                counter,
                limit,
                retry_after_ms,
                statuses,
            } => (Some((counter, limit, retry_after_ms)), statuses),
            Verdict::Unmatched => {
                self.worker.breaker.borrow_mut().succeeded();
                self.unmatched = true;
                self.lease_failed(service, ask, shared);
                return self.do_without(service, *demand, now, shared);
            }
            Verdict::Malformed => {
                self.worker.breaker.borrow_mut().failed(now);
                self.store_errors = self.store_errors.saturating_add(1);
                self.lease_failed(service, ask, shared);
                return self.do_without(service, *demand, now, shared);
            }
        };
        self.worker.breaker.borrow_mut().succeeded();
        if let Some(terms) = service.lease {
            let filled = Account::new(question, terms).filled(
                &mut self.worker.remembering(shared),
                ask,
                refused.is_some(),
                &statuses,
                pending.asked_at,
            );
            self.store_errors = self.store_errors.saturating_add(u32::from(filled.is_err()));
        }
        let refused = refused.or_else(|| self.lacks_reserve(service, *demand, &statuses));
        self.take_over(&statuses);
        self.standings_at = now;
        let Some((counter, limit, retry_after_ms)) = refused else {
            return Ok(());
        };
        let limits = self.counters.get(counter).map(|counter| &counter.limits);
        let over = Over {
            counter,
            limit: *limits
                .and_then(|limits| limits.get(limit))
                .ok_or(Refusal::Internal)?,
            retry_after_ms,
            standings: Vec::new(),
        };
        self.waive(over_limit(&over, &self.counters))
    }

    /// The first token limit that has room in the service, but not beside what other requests of this Envoy have reserved
    /// or have used already without the service's knowing.
    fn lacks_reserve(
        &self,
        service: &LimitService,
        demand: Demand,
        statuses: &[Status],
    ) -> Option<(usize, usize, Option<u64>)> {
        statuses.iter().find_map(|status| {
            let own = standing(&self.standings, status.counter, status.limit)?;
            if !own.limit.unit.is_tokens() {
                return None;
            }
            // Whether the service's window is the one that is counted here.
            let aligned = service.dialect == ServiceDialect::Envoy
                && match own.limit.window {
                    Window::Fixed(_) => true,
                    Window::Day => self.policy.offset == UtcOffset(0),
                    _ => false,
                };
            let left = if aligned {
                own.limit.quota.saturating_sub(own.used)
            } else {
                u64::MAX
            };
            let need = demand.of(&own.limit);
            let wait_ms = if left < need {
                status.ends_in_ms
            } else if left.min(status.remaining) < need.saturating_add(own.reserved) {
                RESERVED_MS
            } else {
                return None;
            };
            Some((status.counter, status.limit, Some(wait_ms)))
        })
    }

    /// What holds when the service does not say anything.
    fn do_without(
        &mut self,
        service: &LimitService,
        demand: Demand,
        now: Timestamp,
        shared: &mut impl SharedData,
    ) -> Result<(), Refusal> {
        match service.failure_mode {
            FailureMode::Allow => Ok(()),
            FailureMode::Deny => self.waive(Refusal::LimiterUnavailable),
            FailureMode::Local => {
                self.undo(now, shared);
                self.count(demand, Check::All, now, shared)
            }
        }
    }

    fn lease_failed(&mut self, service: &LimitService, ask: &Ask, shared: &mut impl SharedData) {
        let question = Question {
            service,
            counters: &self.counters,
        };
        if let Some(terms) = service.lease {
            let shared = &mut self.worker.remembering(shared);
            let failed = Account::new(question, terms).failed(shared, ask).is_err();
            self.store_errors = self.store_errors.saturating_add(u32::from(failed));
        }
    }

    /// Tells the caller what the service says, where it says something.
    fn take_over(&mut self, statuses: &[Status]) {
        for status in statuses.iter().filter(|status| status.known) {
            let mut own = self.standings.iter_mut();
            let own = own.by_ref().filter(|own| own.counter == status.counter);
            if let Some(own) = own.into_iter().nth(status.limit) {
                status.tell(own);
            }
        }
    }
}

fn standing(standings: &[Standing], counter: usize, limit: usize) -> Option<&Standing> {
    let mut own = standings.iter().filter(|own| own.counter == counter);
    own.nth(limit)
}
