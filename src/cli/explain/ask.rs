//! The exchange, driven with one request and counters that nothing has used.

use super::super::simulate::Store;
use super::super::{Failure, clock};
use super::Explain;
use super::message::Message;
use super::origin::{self, Origin, Standpoint};
use crate::config::{Config, IdentitySource};
use crate::exchange::{Exchange, Inbound, NewBody, Property, Step, Worker};
use crate::headers::{HeaderEdits, Headers};
use crate::limit::counter::standings;
use crate::policy::Policy;
use crate::reply::Reply;
use serde_json::Value;
use std::rc::Rc;

/// What a provider's secret is called here: nobody asks for the real one.
pub(super) const SECRET: &str = "cohort-explain-secret";

/// In place of a key.
const CONSUMER: &str = "x-cohort-explain-consumer";
const GROUP: &str = "x-cohort-explain-group";

/// What would become of a request.
pub(super) struct Explained {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) event: Value,
    /// The answer that would be given in place of the upstream's.
    pub(super) reply: Option<Reply>,
    /// Whether something else would have to be asked first: a rate-limit service, a moderation endpoint.
    pub(super) asks: bool,
    pub(super) origins: Vec<Origin>,
    pub(super) limits: Vec<Limit>,
    /// Fields that the upstream sees in place of the caller's; `None`: they are taken out.
    pub(super) fields: Vec<(String, Option<String>)>,
    /// The body that goes upstream, where it is another one.
    pub(super) body: Option<String>,
}

/// One limit or budget that applies.
pub(super) struct Limit {
    pub(super) name: String,
    pub(super) quota: u64,
    /// Millionths of a dollar.
    pub(super) is_budget: bool,
    pub(super) of: String,
}

/// A name that is misspelt is not a caller who is refused.
pub(super) fn is_known(config: &Config, flags: &Explain) -> Result<(), Failure> {
    let mut groups = config.consumer_groups.iter();
    if let Some(name) = &flags.group
        && !groups.any(|group| group.name == *name)
    {
        return Err(Failure(format!("no consumer group is called '{name}'")));
    }
    let mut consumers = config.consumers.iter();
    let in_a_group = |name| {
        config
            .consumer_groups
            .iter()
            .any(|group| group.consumers.contains(name))
    };
    // Any is in the default group.
    if let Some(name) = &flags.consumer
        && config.default_group.is_none()
        && flags.group.is_none()
        && !consumers.any(|consumer| consumer.name == *name)
        && !in_a_group(name)
    {
        return Err(Failure(format!("no consumer is called '{name}'")));
    }
    Ok(())
}

pub(super) fn ask(
    config: &Config,
    message: &Message,
    flags: &Explain,
) -> Result<Explained, Failure> {
    let mut config = config.clone();
    let mut fields = message.fields.clone();
    if flags.consumer.is_some() || flags.group.is_some() && !has_key(&fields, &config) {
        config.identity = Some(IdentitySource::Headers {
            consumer: Some(CONSUMER.to_owned()),
            group: Some(GROUP.to_owned()),
        });
        let named = [(CONSUMER, &flags.consumer), (GROUP, &flags.group)];
        for (name, value) in named {
            fields.extend(value.clone().map(|value| (name.to_owned(), value)));
        }
    } else if let Some(group) = &flags.group {
        fields.push(("x-consumer-group".to_owned(), group.clone()));
    }
    let unchanged = config.clone();
    let policy = Policy::compile(config, |_| Some(SECRET.to_owned())).map_err(|errors| {
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        Failure(errors.join("; "))
    })?;
    let policy = Rc::new(policy);
    let now = clock::now();
    let mut store = Store::default();
    let mut exchange = Exchange::new(Rc::clone(&policy), Rc::new(Worker::default()));
    let raw: Vec<_> = (fields.iter())
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    let text = |value: &Option<String>| value.clone().unwrap_or_default().into_bytes();
    let property = |of: Property<'_>| match of {
        Property::Route => text(&flags.route),
        Property::Cluster => text(&flags.service),
        Property::Metadata(..) | Property::Source => Vec::new(),
    };
    let inbound = Inbound {
        headers: Headers::new(&raw),
        end: message.body.is_empty(),
        property: &property,
    };
    let (edits, mut step) = exchange.request_headers(inbound, now, &mut store);
    let mut changed = Changed::default();
    changed.take(&edits);
    if matches!(step, Step::NeedBody) {
        step = exchange.request_body(&message.body, true, now, &mut store);
    }
    let (mut reply, mut asks, mut body) = (None, false, None);
    match step {
        Step::Continue(release) => {
            changed.take(&release.edits);
            body = release.body.and_then(|new| match new {
                NewBody::Rewritten(rewrite) => rewrite.apply(&message.body),
                NewBody::Whole(whole) => Some(whole),
            });
        }
        Step::Reply(refused) => reply = Some(refused),
        _ => asks = true,
    }
    let settlement = exchange.finish(&|| reply.is_none(), now, &mut store);
    let mut event: Value = serde_json::from_slice(&settlement.event).unwrap_or_default();
    if fields
        .iter()
        .any(|(name, _)| matches!(name.as_str(), CONSUMER | GROUP))
    {
        // Nobody has asked with a key.
        event
            .as_object_mut()
            .and_then(|event| event.insert("key_id".to_owned(), Value::Null));
    }
    let name = |field: &str| event.get(field).and_then(Value::as_str);
    let mut explained = Explained {
        method: field(&fields, ":method"),
        path: shown_path(&field(&fields, ":path")),
        reply,
        asks,
        origins: Vec::new(),
        limits: Vec::new(),
        fields: changed.0,
        body: body.map(|body| String::from_utf8_lossy(&body).into_owned()),
        event: event.clone(),
    };
    if let Some(group) = name("consumer_group") {
        let consumer = name("consumer");
        let at = Standpoint {
            consumer,
            group,
            route: flags.route.as_deref(),
            service: flags.service.as_deref(),
        };
        explained.origins = origin::origins(&unchanged, &at);
        let place = policy.place(&text(&flags.route), &text(&flags.service));
        let known = policy.groups.iter().find(|known| known.name == group);
        let consumers = policy.consumers.iter();
        let own = consumers.clone().find(|own| Some(&*own.name) == consumer);
        if let Some(known) = known {
            let resolved = policy.resolve(known, own.map(|own| &**own), place);
            let whose = consumer.or_else(|| name("key_id")).unwrap_or_default();
            explained.limits = limits(
                &resolved.counters(&Rc::from(whose), &models(&event)),
                policy.clock(now),
            );
        }
    }
    Ok(explained)
}

fn limits(
    counters: &[Rc<crate::limit::counter::Counter>],
    clock: crate::limit::Clock,
) -> Vec<Limit> {
    let each = counters.iter().flat_map(|counter| {
        let descriptor = &counter.descriptor;
        let group = descriptor.group.as_deref();
        let mut of = match group {
            Some(group) => format!("consumer group {group}"),
            None => "ceilings".to_owned(),
        };
        if let Some(consumer) = &descriptor.consumer {
            of = format!("{of}, consumer {consumer}");
        }
        if let Some(models) = &descriptor.models {
            of = format!("{of}, models {models}");
        }
        let standings = standings(counter, None, clock);
        standings.into_iter().map(move |standing| Limit {
            name: standing.limit.name().to_string(),
            quota: standing.limit.quota,
            is_budget: standing.limit.unit == crate::limit::Unit::Cost,
            of: of.clone(),
        })
    });
    each.collect()
}

fn models(event: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match event.get("models").and_then(Value::as_array) {
        Some(models) => models.iter().filter_map(text).collect(),
        None => event.get("model").and_then(text).into_iter().collect(),
    }
}

/// What the upstream sees of the header that the caller did not send.
#[derive(Default)]
struct Changed(Vec<(String, Option<String>)>);

impl Changed {
    fn take(&mut self, edits: &HeaderEdits) {
        for name in edits.removed() {
            self.put(&String::from_utf8_lossy(name), None);
        }
        for (name, value) in edits.fields() {
            let value = String::from_utf8_lossy(value).into_owned();
            self.put(name, Some(value));
        }
    }

    fn put(&mut self, name: &str, value: Option<String>) {
        self.0.retain(|(known, _)| known != name);
        if !matches!(name, CONSUMER | GROUP) {
            self.0.push((name.to_owned(), value));
        }
    }
}

fn has_key(fields: &[(String, String)], config: &Config) -> bool {
    let mut fields = fields.iter();
    fields.any(|(name, value)| {
        config.credential_headers.contains(name) || (name == ":path" && value.contains("key="))
    })
}

fn field(fields: &[(String, String)], name: &str) -> String {
    let mut fields = fields.iter();
    let found = fields.find(|(known, _)| known == name);
    found.map(|(_, value)| value.clone()).unwrap_or_default()
}

/// A query may hold a key.
fn shown_path(path: &str) -> String {
    path.split('?').next().unwrap_or_default().to_owned()
}
