//! The filter's exchange, driven as Envoy drives it, at the times of the log.

use super::super::Failure;
use super::difference::{Difference, Outcome};
use super::keys::Keys;
use super::past::{Fate, Past, Request, Usage};
use super::request::{Message, answer};
use super::store::Store;
use crate::config::IdentitySource;
use crate::exchange::{Exchange, Inbound, Settlement, Step, Worker};
use crate::headers::Headers;
use crate::llm::endpoint::{ENDPOINTS, Endpoint};
use crate::policy::Policy;
use crate::time::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::rc::Rc;

/// A gateway without an Envoy.
pub(super) struct Replay<'a> {
    policy: Rc<Policy>,
    worker: Rc<Worker>,
    keys: Keys,
    store: Store,
    prefix: String,
    /// What is under way, by the time of its end.
    open: BTreeMap<(Timestamp, usize), Open<'a>>,
    count: usize,
}

/// A request that was let through, and waits for its answer.
struct Open<'a> {
    request: &'a Request,
    exchange: Box<Exchange>,
    row: &'static Endpoint,
    usage: Usage,
}

impl<'a> Replay<'a> {
    pub(super) fn new(mut keys: Keys) -> Result<Self, Failure> {
        let config = &mut keys.config;
        if config.counters.service.take().is_some() {
            // Counted here, in windows such as the service has.
            config.fix_windows();
        }
        if let Some(source) = &mut config.identity {
            *source = told(source);
        }
        // The log does not say from where a request came.
        config.failed_auth_per_minute = 0;
        let prefix = match config.path_prefixes.as_slice() {
            prefixes if prefixes.iter().any(String::is_empty) => String::new(),
            prefixes => prefixes.first().cloned().unwrap_or_default(),
        };
        let policy = Policy::compile(config.clone(), |_| Some("secret".to_owned()));
        let policy = policy.map_err(|errors| {
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            Failure(errors.join("; "))
        })?;
        Ok(Self {
            policy: Rc::new(policy),
            worker: Rc::default(),
            keys,
            store: Store::default(),
            prefix,
            open: BTreeMap::new(),
            count: 0,
        })
    }

    /// Asks for one request, once all is over that was by then.
    pub(super) fn start(&mut self, request: &'a Request, past: &Past, to: &mut Difference) {
        self.finish_until(request.time, to);
        let row = self.row(request).filter(|_| request.known);
        let Some(row) = row else {
            to.keep(request);
            return;
        };
        let (usage, latency) = past.usage(request);
        let key = self.keys.of(request);
        let anonymous = request.key_id.as_deref() == Some("anonymous");
        let unknown = (request.key_id.is_some() && !anonymous).then_some("unknown");
        let mut message = Message::new(
            row,
            &self.prefix,
            &request.models,
            usage.prompt,
            key.or(unknown),
        );
        if request.key_id.as_deref() == Some("identity") {
            message.fields.extend(self.identity(request));
        }
        let mut exchange = Exchange::new(Rc::clone(&self.policy), Rc::clone(&self.worker));
        match self.ask(&mut exchange, &message, request.time) {
            Ok(()) => {
                let end = request.time.saturating_add_ms(latency);
                let open = Open {
                    request,
                    exchange: Box::new(exchange),
                    row,
                    usage,
                };
                self.count = self.count.saturating_add(1);
                self.open.insert((end, self.count), open);
            }
            Err(limit) => {
                let settlement = exchange.finish(&|| false, request.time, &mut self.store);
                let outcome = outcome(&settlement, limit);
                match &outcome.fate {
                    // It is this replay that could not say what the caller had said.
                    Fate::Refused(code) if UNSAID.contains(&&**code) => to.keep(request),
                    _ => to.add(request, &outcome),
                }
            }
        }
    }

    /// What a filter before this one would say of who asks.
    fn identity(&self, request: &Request) -> Vec<(String, String)> {
        let Some(IdentitySource::Headers { consumer, group }) = &self.policy.identity else {
            return Vec::new();
        };
        let field = |name: &Option<String>, value: &Option<String>| name.clone().zip(value.clone());
        let fields = [
            field(consumer, &request.consumer),
            field(group, &request.group),
        ];
        fields.into_iter().flatten().collect()
    }

    /// Ends all that is under way.
    pub(super) fn finish(&mut self, to: &mut Difference) {
        self.finish_until(Timestamp(u64::MAX), to);
    }

    fn finish_until(&mut self, now: Timestamp, to: &mut Difference) {
        while let Some(entry) = self.open.first_entry() {
            let (end, _) = *entry.key();
            if end > now {
                return;
            }
            let Open {
                request,
                mut exchange,
                row,
                usage,
            } = entry.remove();
            let status = match request.fate {
                Fate::Failed if !request.was_answered() => request.status,
                _ => 200,
            };
            if status != 0 {
                let status = status.to_string();
                let fields = [
                    (&b":status"[..], status.as_bytes()),
                    (b"content-type", b"application/json"),
                ];
                exchange.response_headers(Headers::new(&fields), false, &|| true, end);
                if exchange.reads_response() {
                    exchange.response_body(&answer(row.usage, usage), true, end);
                }
            }
            let reached = || status != 0;
            let settlement = exchange.finish(&reached, end, &mut self.store);
            let mut outcome = outcome(&settlement, None);
            let answer = matches!(request.fate, Fate::Failed | Fate::Refused(_));
            if outcome.fate == Fate::Passed && answer && request.was_answered() {
                // What its answer came to, it comes to again.
                outcome.fate = request.fate.clone();
            }
            to.add(request, &outcome);
        }
    }

    /// `Ok`: it is let through. `Err`: the limit that it was refused for, if it was for one.
    fn ask(
        &mut self,
        exchange: &mut Exchange,
        message: &Message,
        now: Timestamp,
    ) -> Result<(), Option<String>> {
        let fields = message.fields.iter();
        let fields = fields.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let fields: Vec<_> = fields.collect();
        let inbound = Inbound {
            headers: Headers::new(&fields),
            end: message.body.is_empty(),
            // Neither routes nor addresses are in the log.
            property: &|_| Vec::new(),
        };
        let (_, mut step) = exchange.request_headers(inbound, now, &mut self.store);
        if matches!(step, Step::NeedBody) {
            step = exchange.request_body(&message.body, true, now, &mut self.store);
        }
        if matches!(step, Step::Moderate) {
            // What it said, it said of a text that is in no log.
            for inquiry in exchange.inquiries() {
                inquiry.pass();
            }
            step = exchange.moderated(now, &mut self.store);
        }
        match step {
            Step::Continue(_) => Ok(()),
            Step::Reply(reply) => Err(limit(&reply.body)),
            // A service would be asked, and there is none.
            Step::Ask(_) | Step::Moderate | Step::NeedBody | Step::Wait => Err(None),
        }
    }

    /// The endpoint of a request: of those of its name the one whose provider it went to, or where there is one.
    fn row(&self, request: &Request) -> Option<&'static Endpoint> {
        let rows = || ENDPOINTS.iter().filter(|row| row.name == request.endpoint);
        let target = |row: &Endpoint| self.policy.target(row, &request.models);
        let same = |row: &&Endpoint| {
            let target = target(row).map(|target| target.id.as_str());
            target.is_some() && target == request.provider.as_deref()
        };
        let found = rows().find(same);
        let found = found.or_else(|| rows().find(|row| target(row).is_some()));
        found.or_else(|| rows().next())
    }
}

/// The same said in header fields, which can be made here.
fn told(source: &IdentitySource) -> IdentitySource {
    let (consumer, group) = match source {
        IdentitySource::Headers { consumer, group } => (consumer.is_some(), group.is_some()),
        IdentitySource::Metadata {
            consumer, group, ..
        } => (!consumer.is_empty(), !group.is_empty()),
    };
    IdentitySource::Headers {
        consumer: consumer.then(|| "x-simulated-consumer".to_owned()),
        group: group.then(|| "x-simulated-group".to_owned()),
    }
}

/// Refusals for which a request must look as none of the log's did.
const UNSAID: [&str; 5] = [
    "invalid_body",
    "invalid_path",
    "model_ambiguous",
    "model_missing",
    "request_limit_exceeded",
];

/// What a refusal says of the limit that it is for.
fn limit(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let limit = body.pointer("/error/limit")?.as_str()?;
    Some(limit.to_owned())
}

fn outcome(settlement: &Settlement, limit: Option<String>) -> Outcome {
    use crate::analytics::Outcome as Result;
    let event: Value = serde_json::from_slice(&settlement.event).unwrap_or_default();
    let reason = event
        .get("reason")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let fate = match settlement.outcome {
        Result::Allowed => Fate::Passed,
        Result::Flagged => Fate::Spared(reason.to_owned()),
        Result::Blocked => Fate::Refused(reason.to_owned()),
        Result::Error => Fate::Failed,
    };
    Outcome {
        fate,
        limit,
        group: settlement.group_name().map(str::to_owned),
        tokens: settlement.charged.total,
        cost: settlement.charged.cost,
    }
}
