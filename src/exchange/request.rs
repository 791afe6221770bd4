//! The request's half: path → credential → group and endpoint → body → model → limits. The first failure answers.

use super::{Exchange, Release, Identity, State, Step};
use crate::config::Mode;
use crate::credential::Credential;
use crate::headers::{HeaderEdits, Headers, is_safe_value};
use crate::limit::counter::{self, Clock, SharedData};
use crate::limit::failed_auth;
use crate::llm::endpoint;
use crate::llm::request::{Facts, Reader};
use crate::refusal::Refusal;
use crate::time::Timestamp;
use std::rc::Rc;

/// What must never reach an upstream as a caller wrote it.
const IDENTITY_HEADERS: [&str; 2] = ["x-consumer-group", "x-consumer"];
const IDENTITY_PREFIX: &[u8] = b"x-cohort-";
/// They choose an account of the caller's; the credential is not the caller's any more.
const ACCOUNT_HEADERS: [&str; 3] = ["openai-organization", "openai-project", "x-goog-user-project"];

/// A request's header, and what else there is to know by then.
#[derive(Clone, Copy)]
pub struct Inbound<'a> {
    /// The fields.
    pub headers: Headers<'a>,
    /// Whether no body follows.
    pub end: bool,
    /// Gives the caller's address as the host trusts it; asked only when a credential fails.
    pub source: &'a dyn Fn() -> Vec<u8>,
}

impl std::fmt::Debug for Inbound<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbound").field("end", &self.end).finish_non_exhaustive()
    }
}

impl Exchange {
    /// Takes the header in. The edits are to be made at once, whatever the step: they take the credential out before
    /// anything can log it.
    pub fn request_headers(&mut self, inbound: Inbound<'_>, now: Timestamp, shared: &mut impl SharedData) -> (HeaderEdits, Step) {
        self.started = now;
        let mut edits = HeaderEdits::default();
        let credential = Credential::take(inbound.headers, &self.policy.credential_headers, &mut edits);
        let step = match self.judge_headers(inbound, credential, now, shared) {
            Err(refusal) => Step::Reply(self.refuse(&refusal, now)),
            Ok(Some(reader)) => {
                self.state = State::Reading(Box::new(reader));
                self.scrub(inbound.headers, &mut edits);
                Step::NeedBody
            }
            Ok(None) => {
                self.scrub(inbound.headers, &mut edits);
                self.decide(Facts::default(), now, shared)
            }
        };
        (edits, step)
    }

    /// Takes the next bytes of the body in; `end` where they are the last.
    pub fn request_body(&mut self, chunk: &[u8], end: bool, now: Timestamp, shared: &mut impl SharedData) -> Step {
        let State::Reading(reader) = &mut self.state else {
            return Step::Continue(Release::default());
        };
        if let Err(error) = reader.push(chunk) {
            return Step::Reply(self.refuse(&error.into(), now));
        }
        if !end {
            return Step::NeedBody;
        }
        let State::Reading(reader) = std::mem::replace(&mut self.state, State::Start) else {
            return Step::NeedBody;
        };
        match reader.finish() {
            Ok(facts) => self.decide(facts, now, shared),
            Err(error) => Step::Reply(self.refuse(&error.into(), now)),
        }
    }

    /// Trailers end the body as end of stream does; a filter that only waits for that lets the request pass unjudged.
    pub fn request_trailers(&mut self, now: Timestamp, shared: &mut impl SharedData) -> Step {
        self.request_body(&[], true, now, shared)
    }

    /// Everything that can be known without the body; a reader where it is needed.
    fn judge_headers(
        &mut self,
        inbound: Inbound<'_>,
        credential: Credential,
        now: Timestamp,
        shared: &mut impl SharedData,
    ) -> Result<Option<Reader>, Refusal> {
        let headers = inbound.headers;
        let target = headers.first(":path").unwrap_or_default();
        let method = headers.first(":method").unwrap_or_default();
        self.dialect = endpoint::dialect_of(target);
        let upgrade = headers.first("upgrade").is_some() || headers.first(":protocol").is_some();
        let call = endpoint::classify(method, target, upgrade, &self.policy.path_prefixes)?;
        self.dialect = call.endpoint.dialect;
        self.identify(credential, inbound, now, shared)?;
        let Some(identity) = &self.identity else { return Err(Refusal::InvalidKey) };
        let group = &identity.group;
        if headers.all("x-consumer-group").any(|wish| wish != group.name.as_bytes()) {
            self.call = Some(call);
            return Err(Refusal::ConsumerGroupNotAllowed);
        }
        let permitted = match &group.allowed_endpoints {
            Some(allowed) => call.allowed_by(allowed),
            None => call.endpoint.open,
        };
        let reader = if permitted { Reader::new(&call, headers) } else { Ok(None) };
        let closed = inbound.end || upgrade;
        self.call = Some(call);
        if !permitted {
            return Err(Refusal::EndpointNotAllowed);
        }
        match reader? {
            Some(reader) if closed => {
                // Without a body there is nothing to wait for, and nothing that could name a model.
                reader.finish().map(|_| None).map_err(Refusal::from)
            }
            reader => Ok(reader),
        }
    }

    fn identify(
        &mut self,
        credential: Credential,
        inbound: Inbound<'_>,
        now: Timestamp,
        shared: &mut impl SharedData,
    ) -> Result<(), Refusal> {
        let refusal = match credential {
            Credential::Ambiguous => Refusal::AmbiguousCredentials,
            Credential::Missing => Refusal::MissingKey,
            Credential::Key(digest) => match self.policy.authenticate(&digest, now) {
                Ok(key) => {
                    self.identity = Some(Identity { group: Rc::clone(&key.group), key_id: Rc::clone(&key.id) });
                    return Ok(());
                }
                Err(reason) => {
                    self.detail = Some(reason.name());
                    Refusal::InvalidKey
                }
            },
        };
        let quota = self.policy.failed_auth_per_minute;
        if quota == 0 {
            return Err(refusal);
        }
        match failed_auth::check_and_count(shared, &(inbound.source)(), quota, now) {
            failed_auth::Verdict::Within => Err(refusal),
            failed_auth::Verdict::Over { retry_after_ms } => Err(Refusal::RateLimited {
                limit: "failed_auth_per_minute".to_owned(),
                requests: true,
                quota: u64::from(quota),
                wait_ms: retry_after_ms,
            }),
        }
    }

    /// Takes out what a caller may not say of itself.
    fn scrub(&self, headers: Headers<'_>, edits: &mut HeaderEdits) {
        let read = self.call.as_ref().is_some_and(|call| call.endpoint.usage_is_read());
        for (name, _) in headers.iter() {
            let Ok(name) = std::str::from_utf8(name) else { continue };
            let identity = IDENTITY_HEADERS.contains(&name) || name.as_bytes().starts_with(IDENTITY_PREFIX);
            // An answer that is compressed cannot be read.
            if identity || ACCOUNT_HEADERS.contains(&name) || (read && name == "accept-encoding") {
                edits.remove(name);
            }
        }
    }

    fn decide(&mut self, facts: Facts, now: Timestamp, shared: &mut impl SharedData) -> Step {
        match self.judge(facts, now, shared) {
            Ok(forward) => {
                self.state = State::Passed;
                Step::Continue(forward)
            }
            Err(refusal) => Step::Reply(self.refuse(&refusal, now)),
        }
    }

    /// Everything else: the models, where it goes, the limits.
    fn judge(&mut self, facts: Facts, now: Timestamp, shared: &mut impl SharedData) -> Result<Release, Refusal> {
        let policy = Rc::clone(&self.policy);
        let Some(identity) = &self.identity else { return Err(Refusal::InvalidKey) };
        let group = Rc::clone(&identity.group);
        let mut forward = Release::default();
        // MODELS
        self.prompt_estimate = facts.prompt_tokens_estimate();
        self.stream = facts.stream;

        let admitted = counter::admit(shared, &group.record, &group.limits, Clock { now, offset: policy.offset });
        let _ = (admitted, group.mode == Mode::Shadow, is_safe_value(""), &mut forward);
        Ok(forward)
    }
}
