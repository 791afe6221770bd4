//! What one worker remembers from one exchange to the next. Small, and lost with the worker without harm.

use crate::config::LimitService;
use crate::limit::counter::Counter;
use crate::limit::holds::Holds;
use crate::limit::written::{Remembering, Written};
use crate::limit::{Clock, SharedData};
use crate::llm::endpoint::{self, Call as Target, Endpoint, PathError};
use crate::llm::shapes::Shapes;
use crate::policy::Group;
use crate::service::breaker::Breaker;
use crate::service::lease::Account;
use crate::service::{Call, Question};
use memchr::memchr;
use std::cell::RefCell;
use std::rc::Rc;

/// What one worker remembers.
#[derive(Debug, Default)]
pub struct Worker {
    /// What it has made of request targets.
    pub(super) targets: RefCell<Targets>,
    /// What its requests hold.
    pub(super) holds: RefCell<Holds>,
    /// What it has written into shared data.
    written: RefCell<Written>,
    /// How long answers are.
    pub(super) lengths: RefCell<Lengths>,
    /// What its answers looked like.
    pub(super) shapes: Rc<Shapes>,
    /// Whether the rate-limit service answers.
    pub(super) breaker: RefCell<Breaker>,
    /// Leases that tokens were taken from since the last report, and whose they are.
    leases: RefCell<Vec<(String, Vec<Rc<Counter>>)>>,
    /// Lines that came too late for the event of their request, with their ends.
    pub(super) late: RefCell<String>,
}

/// So much of late lines is kept until there is an event that they can go with.
const MAX_LATE: usize = 64 * 1024;

impl Worker {
    /// Keeps a line for the event log until some request's event is written: only then the log can be written to.
    pub fn keep_line(&self, line: &str) {
        let mut late = self.late.borrow_mut();
        if late.len() < MAX_LATE {
            late.push_str(line);
            late.push('\n');
        }
    }

    /// Keeps what requests under way hold from going out of date; to be called every
    /// [`RENEW_EVERY_MS`](crate::limit::holds::RENEW_EVERY_MS). Answers how many records could not be written.
    pub fn renew(&self, shared: &mut impl SharedData, clock: Clock) -> u32 {
        self.holds
            .borrow_mut()
            .renew(&mut self.remembering(shared), clock)
    }

    /// Shared data, where what this worker writes of counters, leases and lengths is remembered: see [`Written`].
    pub(super) const fn remembering<'a, S>(&'a self, shared: &'a mut S) -> Remembering<'a, S> {
        Remembering {
            shared,
            written: &self.written,
        }
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
            let account = Account::new(question, terms);
            match account.take_unreported(&mut self.remembering(shared)) {
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

/// What was made of the targets of the last few requests: a gateway is asked for the same few again and again, and to find
/// one in the table of endpoints takes as long as to read a short prompt.
#[derive(Debug, Default)]
pub(super) struct Targets {
    recent: Vec<Recent>,
    /// The next one to give up.
    eldest: usize,
}

#[derive(Debug)]
struct Recent {
    method: Vec<u8>,
    target: Vec<u8>,
    call: Rc<Target>,
}

impl Targets {
    /// How many, and how long ones: a caller cannot make it grow.
    const KEPT: usize = 8;
    const MAX_LENGTH: usize = 128;

    /// As [`endpoint::classify`], under the prefixes that are always the same here.
    pub(super) fn classify(
        &mut self,
        method: &[u8],
        target: &[u8],
        upgrade: bool,
        prefixes: &[String],
    ) -> Result<Rc<Target>, PathError> {
        let mut recent = self.recent.iter();
        let known = recent.find(|known| known.target == target && known.method == method);
        if !upgrade && let Some(known) = known {
            return Ok(Rc::clone(&known.call));
        }
        let call = classify_new(method, target, upgrade, prefixes)?;
        // A query may hold a key, which is not to be kept.
        if !upgrade && target.len() <= Self::MAX_LENGTH && memchr(b'?', target).is_none() {
            self.keep(method, target, &call);
        }
        Ok(call)
    }

    #[cold]
    fn keep(&mut self, method: &[u8], target: &[u8], call: &Rc<Target>) {
        let entry = Recent {
            method: method.to_vec(),
            target: target.to_vec(),
            call: Rc::clone(call),
        };
        match self.recent.get_mut(self.eldest) {
            Some(eldest) => *eldest = entry,
            None => self.recent.push(entry),
        }
        self.eldest = self.eldest.saturating_add(1) % Self::KEPT;
    }
}

#[cold]
fn classify_new(
    method: &[u8],
    target: &[u8],
    upgrade: bool,
    prefixes: &[String],
) -> Result<Rc<Target>, PathError> {
    endpoint::classify(method, target, upgrade, prefixes).map(Rc::new)
}

/// The output tokens of an answer, where a request does not bound them: a moving average for each group and model that
/// the configuration names. Workers that have seen none yet, and those of the next configuration, begin with what another
/// one has learned.
#[derive(Debug, Default)]
pub(super) struct Lengths {
    /// Sorted by group and model.
    averages: Vec<((usize, usize), Average)>,
}

#[derive(Clone, Copy, Debug)]
struct Average {
    tokens: u64,
    /// As others can read it.
    told: u64,
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
    /// What an answer is expected to hold.
    pub(super) fn expected(
        &mut self,
        group: &Group,
        model: usize,
        endpoint: &Endpoint,
        shared: &impl SharedData,
    ) -> u64 {
        if WORDLESS.contains(&endpoint.name) {
            return 0;
        }
        match self.find(group, model) {
            Ok(at) => self.averages.get(at).map(|(_, average)| average.tokens),
            Err(at) => {
                let bytes = shared.get(&record(group, model)).0;
                let told = bytes.and_then(|bytes| bytes.try_into().ok());
                let told = told.map(u64::from_le_bytes);
                if let Some(tokens) = told {
                    let average = Average {
                        tokens,
                        told: tokens,
                    };
                    self.averages.insert(at, ((group.index, model), average));
                }
                told
            }
        }
        .unwrap_or(UNLEARNED)
    }

    /// Takes a whole answer in: an eighth of what it differs by. Tells others when that has come to something.
    pub(super) fn learn(
        &mut self,
        group: &Group,
        model: usize,
        tokens: u64,
        shared: &mut impl SharedData,
    ) {
        let at = self.find(group, model).unwrap_or_else(|at| {
            let average = Average { tokens, told: 0 };
            self.averages.insert(at, ((group.index, model), average));
            at
        });
        let Some((_, average)) = self.averages.get_mut(at) else {
            return;
        };
        let Average { tokens: old, told } = *average;
        average.tokens = if tokens > old {
            old.saturating_add(tokens.saturating_sub(old).div_ceil(8))
        } else {
            old.saturating_sub(old.saturating_sub(tokens) / 8)
        };
        if average.tokens.abs_diff(told) > told / 4 {
            average.told = average.tokens;
            let name = record(group, model);
            let (_, version) = shared.get(&name);
            // Where another worker was first, what it wrote is as good.
            let _ = shared.set(&name, &average.tokens.to_le_bytes(), version);
        }
    }

    fn find(&self, group: &Group, model: usize) -> Result<usize, usize> {
        let of = (group.index, model);
        self.averages.binary_search_by_key(&of, |(of, _)| *of)
    }
}

fn record(group: &Group, model: usize) -> String {
    format!("cohort/1/length/{}/{}", group.name, group.label(model))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Lease, ServiceDialect};
    use crate::limit::fake::Fake;
    use crate::limit::{Unit, Window};
    use crate::llm::endpoint::ENDPOINTS;
    use crate::policy::Policy;
    use crate::service::tests::{counter, limit, service, total};

    #[test]
    fn late_lines_do_not_pile_up() {
        let worker = Worker::default();
        for _ in 0..1_000 {
            worker.keep_line(&"x".repeat(1_000));
        }
        assert!(worker.late.borrow().len() < MAX_LATE + 1_002);
    }

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
        let account = || Account::new(question, terms);
        let (worker, mut shared) = (Worker::default(), Fake::default());
        for _ in 0..2 {
            account().spent(&mut shared, &total(7)).unwrap();
            worker.remember_lease(account().into_key(), &counters);
            let reports = worker.reports(&service, &mut shared);
            assert_eq!(reports, question.report(&total(7)));
            assert!(worker.leases.borrow().is_empty());
            assert_eq!(worker.reports(&service, &mut shared), []);
        }
    }

    /// Whatever came before, the answer is that of the table.
    #[test]
    fn targets_are_classified_as_the_table_says() {
        let prefixes: Vec<String> = ["", "/api"].map(str::to_owned).into();
        let mut targets = Targets::default();
        let paths = ["/v1/chat/completions", "/v1/models", "/api/v1/embeddings"];
        let odd = [
            "/v1/../x",
            "/model/a/converse",
            "/v1/models?key=k",
            "/nowhere",
        ];
        for round in 0..3 {
            for (at, path) in paths.into_iter().chain(odd).enumerate() {
                for method in ["GET", "POST"] {
                    for upgrade in [false, true] {
                        // So many that the first ones are given up, too.
                        for target in [path.to_owned(), format!("{path}/{round}-{at}")] {
                            let (method, target) = (method.as_bytes(), target.as_bytes());
                            let found = targets.classify(method, target, upgrade, &prefixes);
                            let known = endpoint::classify(method, target, upgrade, &prefixes);
                            assert_eq!(format!("{found:?}"), format!("{known:?}"));
                        }
                    }
                }
            }
        }
        assert_eq!(targets.recent.len(), Targets::KEPT);
        assert!(
            targets
                .recent
                .iter()
                .all(|known| !known.target.contains(&b'?'))
        );
    }

    #[test]
    fn lengths_are_learned_for_each_group_and_model_and_told_to_other_workers() {
        let document = serde_json::json!({
            "version": "1",
            "consumer_groups": [
                {"name": "a", "api_key": "key-of-a", "allowed_models": ["m", "n"]},
                {"name": "b", "api_key": "key-of-b"},
            ],
        });
        let config = Config::from_json(document.to_string().as_bytes()).unwrap();
        let policy = Policy::compile(config, |_| None).unwrap();
        let [a, b] = &policy.groups[..] else { panic!() };
        let endpoint = |name| ENDPOINTS.iter().find(|e| e.name == name).unwrap();
        let chat = endpoint("chat");
        let mut shared = Fake::default();
        let (mut lengths, mut other) = (Lengths::default(), Lengths::default());
        assert_eq!(lengths.expected(a, 0, chat, &shared), UNLEARNED);
        assert_eq!(lengths.expected(a, 0, endpoint("embeddings"), &shared), 0);
        lengths.learn(a, 1, 80, &mut shared);
        assert_eq!(lengths.expected(a, 1, chat, &shared), 80);
        assert_eq!(other.expected(a, 1, chat, &shared), 80);
        lengths.learn(a, 1, 161, &mut shared);
        assert_eq!(lengths.expected(a, 1, chat, &shared), 91);
        for _ in 0..100 {
            lengths.learn(a, 1, 10, &mut shared);
        }
        // Down to where an eighth is less than one.
        assert_eq!(lengths.expected(a, 1, chat, &shared), 17);
        assert_eq!(other.expected(a, 1, chat, &shared), 80, "it has its own");
        let fresh = Lengths::default().expected(a, 1, chat, &shared);
        assert!((17..=21).contains(&fresh), "{fresh}");
        assert_eq!(lengths.expected(a, 2, chat, &shared), UNLEARNED);
        assert_eq!(lengths.expected(b, 0, chat, &shared), UNLEARNED);
        let names: Vec<_> = shared.keys().collect();
        assert_eq!(names, ["cohort/1/length/a/m"]);
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
