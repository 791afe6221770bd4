//! The pure core, driven as the host drives it: a fake clock, a map for the shared data, an upstream that answers as told.

use super::scenario::ROUTE;
use super::scenario::{Answer, Outcome, Request, Seen};
use cohort::config::Config;
use cohort::exchange::{
    AnswerStep, Exchange, Inbound, Inquiry, NewBody, Property, Release, Step, Worker,
};
use cohort::headers::{HeaderEdits, Headers};
use cohort::limit::{Cas, CasMismatch, SharedData};
use cohort::llm::response::Forward;
use cohort::policy::Policy;
use cohort::reply::Reply;
use cohort::time::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// A Thursday, 2026-01-01T00:00:00Z: the start of a minute, an hour, a day and a month.
pub(crate) const START: u64 = 1_767_225_600_000;

/// Envoy's shared data as far as one thread can tell.
#[derive(Debug, Default)]
pub(crate) struct Store {
    values: HashMap<String, (Vec<u8>, u32)>,
    cas: u32,
}

impl SharedData for Store {
    fn get(&self, key: &str) -> (Option<Vec<u8>>, Cas) {
        match self.values.get(key) {
            Some((value, cas)) => (Some(value.clone()), Cas(*cas)),
            None => (None, Cas::ABSENT),
        }
    }

    fn set(&mut self, key: &str, value: &[u8], cas: Cas) -> Result<(), CasMismatch> {
        if self.get(key).1 != cas {
            return Err(CasMismatch);
        }
        self.cas += 1;
        self.values
            .insert(key.to_owned(), (value.to_vec(), self.cas));
        Ok(())
    }
}

/// A gateway without an Envoy.
#[derive(Debug)]
pub(crate) struct Core {
    policy: Rc<Policy>,
    worker: Rc<Worker>,
    pub(crate) store: Store,
    /// In how large pieces bodies come.
    pub(crate) chunk: usize,
    /// Clusters by the names of routes, as a scenario has them.
    pub(crate) routes: BTreeMap<String, String>,
    pub(crate) moderation: Moderation,
}

/// The moderation endpoints.
#[derive(Debug)]
pub(crate) struct Moderation {
    /// What one says to a question; `None`: nothing that can be used.
    pub(crate) answer: fn(&str) -> Option<Vec<u8>>,
    /// Where no request waits: whether the answer comes when the request is over.
    pub(crate) late: bool,
    /// Clusters that were asked, and what they were asked.
    pub(crate) asked: Vec<(String, Value)>,
    /// What was asked aside in the exchange under way.
    open: Vec<Rc<Inquiry>>,
}

impl Moderation {
    fn ask(&mut self, inquiry: &Inquiry) -> Option<Vec<u8>> {
        let question = inquiry.take_body();
        let answer = (self.answer)(&question);
        let question = serde_json::from_str(&question).expect("a question is JSON");
        self.asked
            .push((inquiry.moderator.cluster.clone(), question));
        answer
    }
}

type Fields = Vec<(String, String)>;

impl Core {
    pub(crate) fn new(config: &Value) -> Result<Self, String> {
        let errors = |errors: Vec<cohort::config::ConfigError>| format!("{errors:?}");
        let config = Config::from_json(config.to_string().as_bytes()).map_err(errors)?;
        let policy =
            Policy::compile(config, |name| Some(format!("secret-of-{name}"))).map_err(errors)?;
        Ok(Self {
            policy: Rc::new(policy),
            worker: Rc::default(),
            store: Store::default(),
            chunk: usize::MAX,
            routes: BTreeMap::new(),
            moderation: Moderation {
                answer: |_| None,
                late: false,
                asked: Vec::new(),
                open: Vec::new(),
            },
        })
    }

    /// One exchange, `at` milliseconds after the start.
    pub(crate) fn run(&mut self, request: &Request, answer: &Answer, at: u64) -> Outcome {
        let now = Timestamp(START + at);
        let mut exchange = Exchange::new(Rc::clone(&self.policy), Rc::clone(&self.worker));
        let mut fields = request.fields();
        fields.insert(0, (":path".to_owned(), request.path.clone()));
        fields.insert(0, (":method".to_owned(), request.method.clone()));
        let body = request.bytes();
        let mut outcome = match self.ask(&mut exchange, &mut fields, &body, now) {
            Err(reply) => from_reply(reply),
            Ok(body) => {
                let path = field(&fields, ":path");
                fields.retain(|(name, _)| !name.starts_with(':'));
                let seen = Seen {
                    path,
                    headers: fields,
                    body,
                };
                Outcome {
                    upstream: Some(seen),
                    ..self.answer(&mut exchange, answer, now)
                }
            }
        };
        let settlement = exchange.finish(&|| true, now, &mut self.store);
        self.moderation.open.extend(settlement.inquiries);
        for inquiry in std::mem::take(&mut self.moderation.open) {
            let answer = self.moderation.ask(&inquiry);
            if let Some(line) = inquiry.answered(answer.as_deref()) {
                self.worker.keep_line(&line);
            }
        }
        let mut lines = settlement.event.rsplit(|byte| *byte == b'\n');
        let event = lines.next().unwrap_or_default();
        outcome.event = serde_json::from_slice(event).expect("the event is JSON");
        outcome.late = lines
            .map(|line| serde_json::from_slice(line).expect("each line is JSON"))
            .collect();
        outcome
    }

    /// The body as it goes upstream, or the reply.
    fn ask(
        &mut self,
        exchange: &mut Exchange,
        fields: &mut Fields,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Vec<u8>, Reply> {
        let raw = borrowed(fields);
        let route = field(fields, ROUTE);
        let property = |of: Property<'_>| match of {
            Property::Source => b"192.0.2.1".to_vec(),
            Property::Route => route.as_bytes().to_vec(),
            Property::Cluster => self.routes.get(&route).cloned().unwrap_or_default().into(),
            Property::Metadata(..) => Vec::new(),
        };
        let inbound = Inbound {
            headers: Headers::new(&raw),
            end: body.is_empty(),
            property: &property,
        };
        let (edits, mut step) = exchange.request_headers(inbound, now, &mut self.store);
        apply(fields, &edits);
        let mut rest = body;
        loop {
            match step {
                Step::Continue(Release { edits, body: new }) => {
                    apply(fields, &edits);
                    for inquiry in exchange.inquiries().iter().cloned() {
                        if self.moderation.late {
                            self.moderation.open.push(inquiry);
                            continue;
                        }
                        let answer = self.moderation.ask(&inquiry);
                        assert_eq!(inquiry.answered(answer.as_deref()), None);
                    }
                    return Ok(match new {
                        None => body.to_vec(),
                        Some(NewBody::Rewritten(rewrite)) => {
                            rewrite.apply(body).expect("the body is that of the facts")
                        }
                        Some(NewBody::Whole(whole)) => whole,
                    });
                }
                Step::Reply(reply) => return Err(reply),
                Step::Moderate => {
                    step = Step::Wait;
                    let inquiries = exchange.inquiries().to_vec();
                    // In whatever order they come.
                    for inquiry in inquiries.iter().rev() {
                        if inquiry.moderator.holds() {
                            assert!(matches!(step, Step::Wait), "it does not wait for all");
                            let answer = self.moderation.ask(inquiry);
                            assert_eq!(inquiry.answered(answer.as_deref()), None);
                            step = exchange.moderated(now, &mut self.store);
                        }
                    }
                    continue;
                }
                Step::NeedBody => {}
                other => panic!("unexpected step {other:?}"),
            }
            let (chunk, after) = rest.split_at(self.chunk.min(rest.len()));
            rest = after;
            step = exchange.request_body(chunk, rest.is_empty(), now, &mut self.store);
        }
    }

    fn answer(&mut self, exchange: &mut Exchange, answer: &Answer, now: Timestamp) -> Outcome {
        let mut fields = answer.fields();
        fields.insert(0, (":status".to_owned(), answer.status.to_string()));
        let chunks = answer.chunks();
        let borrowed = borrowed(&fields);
        let headers = Headers::new(&borrowed);
        let step = exchange.response_headers(headers, chunks.is_empty(), &|| true, now);
        if let Some(reply) = step.reply {
            return from_reply(reply);
        }
        apply(&mut fields, &step.edits);
        let mut body = Vec::new();
        let whole = chunks.concat();
        let mut held = exchange.filters_response();
        if held {
            match exchange.response_held(whole.len(), now) {
                AnswerStep::Hold => {
                    let step = exchange.filter_response(&whole, now);
                    if let Err(reply) = self.judge(exchange, step, (&whole, &mut body), now) {
                        return from_reply(reply);
                    }
                }
                AnswerStep::Reply(reply) => return from_reply(reply),
                _ => held = false,
            }
        }
        if !held {
            let size = self.chunk;
            let pieces = chunks
                .iter()
                .flat_map(|chunk| chunk.chunks(size.min(chunk.len()).max(1)));
            for (piece, end) in pieces.map(|piece| (piece, false)).chain([(&b""[..], true)]) {
                match exchange.response_body(piece, end, now) {
                    Forward::Unchanged => body.extend_from_slice(piece),
                    Forward::Replace(bytes) => body.extend_from_slice(bytes),
                }
                let step = exchange.answer_step(now);
                if matches!(step, AnswerStep::Hold) {
                    assert!(body.is_empty(), "nothing goes out before it is judged");
                }
                if let Err(reply) = self.judge(exchange, step, (&[], &mut body), now) {
                    assert!(body.is_empty(), "the header has not gone out");
                    return from_reply(reply);
                }
            }
        }
        fields.retain(|(name, _)| !name.starts_with(':'));
        Outcome {
            status: answer.status,
            headers: fields,
            body,
            ..Outcome::default()
        }
    }
}

impl Core {
    /// Does what becomes of an answer of which so much is held: what is to be asked is asked.
    fn judge(
        &mut self,
        exchange: &mut Exchange,
        mut step: AnswerStep,
        (held, body): (&[u8], &mut Vec<u8>),
        now: Timestamp,
    ) -> Result<(), Reply> {
        if matches!(step, AnswerStep::Moderate) {
            step = AnswerStep::Hold;
            let inquiries = exchange.answer_inquiries().to_vec();
            for inquiry in inquiries.iter().rev() {
                if inquiry.moderator.holds() {
                    assert!(matches!(step, AnswerStep::Hold), "it does not wait for all");
                    let answer = self.moderation.ask(inquiry);
                    assert_eq!(inquiry.answered(answer.as_deref()), None);
                    step = exchange.answer_moderated(now);
                }
            }
            assert!(!matches!(step, AnswerStep::Hold), "it waits for ever");
        }
        match step {
            AnswerStep::Pass(Some(new)) => {
                assert!(body.is_empty());
                *body = new;
                Ok(())
            }
            AnswerStep::Reply(reply) => Err(reply),
            _ => {
                body.extend_from_slice(held);
                Ok(())
            }
        }
    }
}

fn borrowed(fields: &Fields) -> Vec<(&[u8], &[u8])> {
    fields
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect()
}

fn field(fields: &Fields, name: &str) -> String {
    fields
        .iter()
        .find(|(n, _)| n == name)
        .map(|(_, value)| value.clone())
        .unwrap_or_default()
}

fn apply(fields: &mut Fields, edits: &HeaderEdits) {
    fields.retain(|(name, _)| !edits.removed().any(|removed| removed == name.as_bytes()));
    for (name, value) in edits.fields() {
        fields.retain(|(n, _)| n != name);
        fields.push((name.to_owned(), String::from_utf8_lossy(value).into_owned()));
    }
}

fn from_reply(reply: Reply) -> Outcome {
    let mut headers = Vec::new();
    apply(&mut headers, &reply.headers);
    Outcome {
        status: reply.status,
        headers,
        body: reply.body,
        ..Outcome::default()
    }
}
