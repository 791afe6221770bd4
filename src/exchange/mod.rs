//! One request and its answer, from the first header to the last byte: the decision path as a state machine.
//!
//! Sans-IO: the driver feeds in what Envoy has and carries out what comes back. It must call [`Exchange::finish`]
//! exactly once, on every ending. Knows no Envoy; the clock and the store are arguments.

mod admit;
mod answers;
mod bounds;
mod decide;
mod identify;
mod moderate;
mod request;
mod response;
mod service;
mod settle;
mod worker;

pub use moderate::Inquiry;
pub use request::{Inbound, Property};
pub use settle::Settlement;
pub use worker::Worker;

use crate::analytics::{Alert, Charged};
use crate::headers::HeaderEdits;
use crate::inflate::Coding;
use crate::limit::counter::{Counters, Permit, Standing};
use crate::llm::endpoint::{Call, Dialect};
use crate::llm::request::{Reader, Rewrite};
use crate::policy::{Consumer, Group, Hit, Opened, Policy, Target};
use crate::rare::{Rare, Seldom};
use crate::refusal::Refusal;
use crate::reply::{Audience, Reply, rate_limit};
use crate::service::Call as ServiceCall;
use crate::time::Timestamp;
use std::rc::Rc;

/// One request and its answer.
#[derive(Debug)]
pub struct Exchange {
    policy: Rc<Policy>,
    worker: Rc<Worker>,
    started: Timestamp,
    dialect: Dialect,
    call: Option<Rc<Call>>,
    identity: Option<Identity>,
    state: State,
    models: Vec<String>,
    target: Option<Rc<Target>>,
    refusal: Option<&'static str>,
    shadowed: Option<&'static str>,
    noted: Rare<Noted>,
    standings: Vec<Standing>,
    standings_at: Timestamp,
    /// What the request is counted in, the narrowest first.
    counters: Counters,
    permit: Permit,
    prompt_estimate: u64,
    /// Bytes of the request's body, as they came.
    body_bytes: u64,
    /// Whether the upstream was already told who asks: then its header is out of reach.
    introduced: bool,
    asked: Asked,
    status: u16,
    first_byte: Option<Timestamp>,
    answer: Answer,
    complete: bool,
    /// What is left of the answer's `content-length`.
    announced: Option<u64>,
    /// What was charged, and whether that is an estimate, once it was.
    charged: Option<(Charged, bool)>,
    /// What became of the upstream's answer, by its status.
    answered: u16,
    screen: answers::Screen,
    store_errors: u32,
    /// Whether the rate-limit service does not know a limit.
    unmatched: bool,
}

/// What there is to note of few exchanges.
#[derive(Debug, Default)]
struct Noted {
    /// What the event says of a refused credential.
    detail: Option<&'static str>,
    /// What policies had to say of the request.
    hits: Vec<Hit>,
    /// What is asked about its prompt, as long as nothing is known.
    inquiries: Vec<Rc<Inquiry>>,
    /// Shares of budgets that it crossed.
    alerts: Vec<Alert>,
    /// What is to be reported to the rate-limit service.
    reports: Vec<ServiceCall>,
    /// The last bytes of an answer whose end was rewritten.
    tail: Vec<u8>,
}

impl Seldom for Noted {
    const NONE: &'static Self = &Self {
        detail: None,
        hits: Vec::new(),
        inquiries: Vec::new(),
        alerts: Vec::new(),
        reports: Vec::new(),
        tail: Vec::new(),
    };
}

/// Who asks.
#[derive(Debug)]
struct Identity {
    /// The group that is charged, as far as it can be told by now.
    group: Rc<Group>,
    /// Further groups of the consumer, which may be charged instead.
    others: Vec<Rc<Group>>,
    consumer: Option<Rc<Consumer>>,
    key_id: Rc<str>,
    /// The key's own tags.
    features: Rc<[String]>,
    /// Whether the consumer has no counters of its own.
    shares_counters: bool,
}

impl Identity {
    /// Of what a key opens.
    fn of(opened: Opened) -> Self {
        Self {
            group: opened.group,
            others: opened.others,
            consumer: opened.consumer,
            key_id: opened.key_id,
            features: opened.features,
            shares_counters: false,
        }
    }

    /// Under which name it is counted.
    fn consumer_id(&self) -> &Rc<str> {
        let consumer = self.consumer.as_ref();
        consumer.map_or(&self.key_id, |consumer| &consumer.name)
    }

    /// All groups that may be charged.
    fn groups(&self) -> impl Iterator<Item = &Group> {
        let groups = self.others.iter().chain([&self.group]);
        groups.map(|group| &**group)
    }

    /// Leaves only the groups that fit; `false` if none does, and all stay.
    fn narrow(&mut self, fits: impl Fn(&Group) -> bool) -> bool {
        if self.others.is_empty() {
            return fits(&self.group);
        }
        let mut groups = std::mem::take(&mut self.others);
        groups.insert(0, Rc::clone(&self.group));
        let mut fitting = groups.iter().filter(|group| fits(group)).cloned();
        if let Some(first) = fitting.next() {
            self.others = fitting.collect();
            self.group = first;
            return true;
        }
        self.others = groups.split_off(1);
        false
    }

    /// Whether the group or the key has tags.
    fn is_tagged(&self) -> bool {
        !self.group.features.is_empty() || !self.features.is_empty()
    }

    /// The tags of the group and of the key, each once: reports count by them.
    fn features(&self) -> impl Iterator<Item = &str> {
        let group = &self.group.features;
        let own = (self.features.iter()).filter(|feature| !group.contains(feature));
        group.iter().chain(own).map(String::as_str)
    }
}

/// What the request asks of the answer.
#[derive(Debug, Default)]
struct Asked {
    /// To come in parts.
    stream: bool,
    /// To be fetched later.
    background: bool,
    /// To say its usage, though the client did not ask for that.
    usage: bool,
    /// So many times, without a bound on its length; 0 with one.
    unbounded: u64,
}

/// What becomes of an answer on its way.
#[derive(Debug)]
enum Answer {
    /// Held, to be looked through for what may not be in it.
    Held(
        Box<crate::llm::response::Reader>,
        Box<crate::llm::response::screen::Order>,
    ),
    /// Held, and cut down to the models that the group may use.
    Models,
    /// Read for what it cost.
    Read(Box<crate::llm::response::Reader>),
    /// Passed on.
    Unread,
}

/// Where an exchange is.
#[derive(Debug)]
enum State {
    /// Nothing was seen yet.
    Start,
    /// A rate-limit service is being asked.
    Asking(Box<service::Pending>),
    /// The body is awaited, and comes compressed.
    Inflating(Coding, Vec<u8>, Reader),
    /// Moderation endpoints are being asked.
    Moderating(Box<moderate::Waiting>),
    /// The body is awaited.
    Reading(Reader),
    /// Refused by us: the answer is our own.
    Refused,
    /// Gone upstream.
    Passed,
}

/// What the driver has to do next with a request.
#[derive(Debug)]
#[non_exhaustive]
pub enum Step {
    /// Hold the request, make these calls all at once, and hand over what comes of each: [`Exchange::answered`].
    Ask(Vec<ServiceCall>),
    /// Hold the request, and hand over its body.
    NeedBody,
    /// Hold the request, ask moderation endpoints what it [waits for](Exchange::inquiries), and say when each has come to
    /// something: [`Exchange::moderated`].
    Moderate,
    /// Let it go on, changed like this; then ask what is left of its [inquiries](Exchange::inquiries), for which nothing waits.
    Continue(Release),
    /// Answer it.
    Reply(Reply),
    /// Go on holding it.
    Wait,
}

/// How a request goes on.
#[derive(Debug, Default)]
pub struct Release {
    /// Changes to its header.
    pub edits: HeaderEdits,
    /// Changes to its body.
    pub body: Option<NewBody>,
}

/// What goes upstream in place of the body that came.
#[derive(Debug)]
pub enum NewBody {
    /// That body, with these changes.
    Rewritten(Box<Rewrite>),
    /// This one.
    Whole(Vec<u8>),
}

/// What the driver has to do with an answer's header.
#[derive(Debug, Default)]
pub struct ResponseStep {
    /// Changes to it.
    pub edits: HeaderEdits,
    /// An answer to give in its place.
    pub reply: Option<Reply>,
    /// Hold the header until the whole answer is there.
    pub hold: bool,
}

/// What the driver has to do next with an answer's body.
#[derive(Debug)]
pub enum AnswerStep {
    /// Let it go on: as it is, or this in place of all that is held.
    Pass(Option<Vec<u8>>),
    /// Hold it, and its header where that is held.
    Hold,
    /// Hold it, ask moderation endpoints what it [waits for](Exchange::answer_inquiries), and say when each has come to
    /// something: [`Exchange::answer_moderated`].
    Moderate,
    /// Answer in its place.
    Reply(Reply),
}

/// How an answer ended that did not come to its end.
#[derive(Clone, Copy, Debug)]
pub struct BrokenOff {
    /// The status that the client got; 0 where it got none.
    pub status: u16,
    /// Whether the upstream or the way to it failed, and not the client.
    pub by_upstream: bool,
    /// Bytes of the answer that were held.
    pub held: usize,
}

impl Exchange {
    /// A new exchange under the policy that is in force now, and stays so for it.
    pub fn new(policy: Rc<Policy>, worker: Rc<Worker>) -> Self {
        Self {
            policy,
            worker,
            started: Timestamp::default(),
            dialect: Dialect::default(),
            call: None,
            identity: None,
            state: State::Start,
            models: Vec::new(),
            target: None,
            refusal: None,
            shadowed: None,
            noted: Rare::default(),
            standings: Vec::new(),
            standings_at: Timestamp::default(),
            counters: Counters::default(),
            permit: Permit::default(),
            prompt_estimate: 0,
            body_bytes: 0,
            introduced: false,
            asked: Asked::default(),
            status: 0,
            first_byte: None,
            answer: Answer::Unread,
            complete: false,
            announced: None,
            charged: None,
            answered: 0,
            screen: answers::Screen::default(),
            store_errors: 0,
            unmatched: false,
        }
    }

    /// Whether no header came: Envoy itself, or a filter before this one, answered first.
    pub const fn is_unseen(&self) -> bool {
        self.started.0 == 0
    }

    /// Notes what became of a request that is [unseen](Self::is_unseen), before the exchange is [finished](Self::finish).
    #[cold]
    pub const fn unseen(&mut self, status: u16, now: Timestamp) {
        self.started = now;
        self.status = status;
    }

    /// Refuses a request that the driver could not hand over whole.
    pub fn fail(&mut self, now: Timestamp) -> Reply {
        self.refuse(&Refusal::Internal, now)
    }

    fn group(&self) -> Option<&Group> {
        self.identity.as_ref().map(|identity| &*identity.group)
    }

    #[cold]
    fn refuse(&mut self, refusal: &Refusal, now: Timestamp) -> Reply {
        self.state = State::Refused;
        self.refusal = Some(refusal.code());
        self.status = refusal.status();
        self.reply_to(refusal, now)
    }

    fn reply_to(&self, refusal: &Refusal, now: Timestamp) -> Reply {
        let group = self.group();
        let allowed = group.map_or(&[][..], |group| &group.allowed_models);
        let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
        let spread = u64::from(self.policy.retry_after_jitter).saturating_add(1);
        let audience = Audience {
            dialect: self.dialect,
            group: group.map(|group| group.name.as_str()),
            allowed_models: &allowed,
            jitter: now
                .0
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(32)
                .checked_rem(spread)
                .unwrap_or(0),
        };
        let mut reply = Reply::new(refusal, audience);
        if group.is_some() {
            let families = &self.policy.header_families;
            rate_limit::tell(
                families,
                &self.counters,
                &self.standings,
                0,
                &mut reply.headers,
            );
        }
        reply
    }
}
