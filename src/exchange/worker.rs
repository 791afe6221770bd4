//! What one worker remembers from one exchange to the next. Small, and lost with the worker without harm.

use crate::config::LimitService;
use crate::limit::counter::Counter;
use crate::limit::holds::Holds;
use crate::limit::{Clock, SharedData};
use crate::llm::endpoint::Endpoint;
use crate::service::breaker::Breaker;
use crate::service::lease::Account;
use crate::service::{Call, Question};
use std::cell::RefCell;
use std::rc::Rc;

/// What one worker remembers.
#[derive(Debug, Default)]
pub struct Worker {
    /// What its requests hold.
    pub(super) holds: RefCell<Holds>,
    /// How long answers are.
    pub(super) lengths: RefCell<Lengths>,
    /// Whether the rate-limit service answers.
    pub(super) breaker: RefCell<Breaker>,
    /// Leases that tokens were taken from since the last report, and whose they are.
    leases: RefCell<Vec<(String, Vec<Rc<Counter>>)>>,
}

impl Worker {
    /// Keeps what requests under way hold from going out of date; to be called every
    /// [`RENEW_EVERY_MS`](crate::limit::holds::RENEW_EVERY_MS). Answers how many records could not be written.
    pub fn renew(&self, shared: &mut impl SharedData, clock: Clock) -> u32 {
        self.holds.borrow_mut().renew(shared, clock)
    }

    /// Calls that report what was used under leases that nobody has asked for again since; to be called every
    /// `max_age`.
    pub fn reports(&self, service: &LimitService, shared: &mut impl SharedData) -> Vec<Call> {
        let mut calls = Vec::new();
        let Some(terms) = service.lease else {
            return calls;
        };
        for (key, counters) in self.leases.take() {
            let question = Question {
                service,
                counters: &counters,
            };
            let account = Account {
                question,
                terms,
                key: &key,
            };
            match account.take_unreported(shared) {
                Ok(tokens) => calls.extend(question.report(&tokens)),
                Err(_) => self.remember_lease(key, &counters),
            }
        }
        calls
    }

    pub(super) fn remember_lease(&self, key: String, counters: &[Rc<Counter>]) {
        let mut leases = self.leases.borrow_mut();
        if let Err(at) = leases.binary_search_by(|(known, _)| known.cmp(&key)) {
            leases.insert(at, (key, counters.to_vec()));
        }
    }
}

/// The output tokens of an answer, where a request does not bound them: a moving average for each group and model that
/// the configuration names.
#[derive(Debug, Default)]
pub(super) struct Lengths {
    /// Sorted by group and model.
    averages: Vec<((usize, usize), u64)>,
}

/// Before anything was learned.
const UNLEARNED: u64 = 256;

/// Endpoints that answer with numbers, pictures or sound.
const WORDLESS: [&str; 10] = [
    "classifications",
    "classify",
    "embeddings",
    "images",
    "moderations",
    "pooling",
    "rerank",
    "score",
    "speech",
    "videos",
];

impl Lengths {
    /// What an answer is expected to hold. `of`: group and model, by number.
    pub(super) fn expected(&self, of: (usize, usize), endpoint: &Endpoint) -> u64 {
        if WORDLESS.contains(&endpoint.name) {
            return 0;
        }
        let known = self.find(of).ok().and_then(|at| self.averages.get(at));
        known.map_or(UNLEARNED, |(_, average)| *average)
    }

    fn find(&self, of: (usize, usize)) -> Result<usize, usize> {
        self.averages.binary_search_by_key(&of, |(of, _)| *of)
    }

    /// Takes a whole answer in: an eighth of what it differs by.
    pub(super) fn learn(&mut self, of: (usize, usize), tokens: u64) {
        let at = self.find(of).unwrap_or_else(|at| {
            self.averages.insert(at, (of, tokens));
            at
        });
        let Some((_, average)) = self.averages.get_mut(at) else {
            return;
        };
        *average = if tokens > *average {
            average.saturating_add(tokens.saturating_sub(*average).div_ceil(8))
        } else {
            average.saturating_sub(average.saturating_sub(tokens) / 8)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Lease, ServiceDialect};
    use crate::limit::fake::Fake;
    use crate::limit::{Unit, Window};
    use crate::llm::endpoint::ENDPOINTS;
    use crate::service::lease;
    use crate::service::tests::{counter, limit, service, total};

    /// A timer does not go through all that ever had a lease.
    #[test]
    fn what_was_used_under_a_lease_is_reported_once() {
        let terms = Lease {
            requests: 10,
            max_age_ms: 1_000,
        };
        let service = LimitService {
            lease: Some(terms),
            ..service(ServiceDialect::Envoy)
        };
        let limits = vec![limit(Unit::Tokens, Window::Fixed(60), 1_000)];
        let counters = [counter(Some("a"), None, None, limits)];
        let question = Question {
            service: &service,
            counters: &counters,
        };
        let key = lease::key(question);
        let account = Account {
            question,
            terms,
            key: &key,
        };
        let (worker, mut shared) = (Worker::default(), Fake::default());
        for _ in 0..2 {
            account.spent(&mut shared, &total(7)).unwrap();
            worker.remember_lease(key.clone(), &counters);
            let reports = worker.reports(&service, &mut shared);
            assert_eq!(reports, question.report(&total(7)));
            assert!(worker.leases.borrow().is_empty());
            assert_eq!(worker.reports(&service, &mut shared), []);
        }
    }

    #[test]
    fn lengths_are_learned_for_each_group_and_model() {
        let endpoint = |name| ENDPOINTS.iter().find(|e| e.name == name).unwrap();
        let mut lengths = Lengths::default();
        assert_eq!(lengths.expected((0, 0), endpoint("chat")), UNLEARNED);
        assert_eq!(lengths.expected((0, 0), endpoint("embeddings")), 0);
        lengths.learn((0, 1), 80);
        assert_eq!(lengths.expected((0, 1), endpoint("chat")), 80);
        lengths.learn((0, 1), 161);
        assert_eq!(lengths.expected((0, 1), endpoint("chat")), 91);
        for _ in 0..100 {
            lengths.learn((0, 1), 10);
        }
        // Down to where an eighth is less than one.
        assert_eq!(lengths.expected((0, 1), endpoint("chat")), 17);
        assert_eq!(lengths.expected((1, 1), endpoint("chat")), UNLEARNED);
    }

    #[test]
    fn every_wordless_endpoint_is_in_the_table() {
        for name in WORDLESS {
            assert!(
                ENDPOINTS.iter().any(|endpoint| endpoint.name == name),
                "{name}"
            );
        }
    }
}
