//! The request's half: path → credential → group and endpoint → body → model → limits. The first failure answers.

use super::{Exchange, Identity, NewBody, Release, State, Step};
use crate::config::Mode;
use crate::credential::Credential;
use crate::headers::{HeaderEdits, Headers, is_safe_value};
use crate::inflate::{Coding, InflateError};
use crate::limit::counter::{self, Demand, Refused};
use crate::limit::{Clock, SharedData, Unit, failed_auth};
use crate::llm::endpoint::{self, Call};
use crate::llm::request::{Facts, Reader, Rewrite};
use crate::policy::Group;
use crate::refusal::Refusal;
use crate::reply::NEVER_MS;
use crate::time::Timestamp;
use std::borrow::Cow;
use std::rc::Rc;

/// Fields in which Azure and vLLM (as `SageMaker` has it) are told of a further model, or of another one.
const MODEL_HEADERS: [&str; 2] = [
    "x-amzn-sagemaker-adapter-identifier",
    "x-ms-oai-image-generation-deployment",
];

/// What no caller may say: what only the filter says; what makes Envoy's router send a request more often than it was
/// counted, elsewhere, or under a stat of the caller's choice.
const TAKEN_PREFIXES: [&[u8]; 6] = [
    b"x-cohort-",
    b"x-envoy-hedge-",
    b"x-envoy-max-retries",
    b"x-envoy-original-dst-",
    b"x-envoy-retr",
    b"x-envoy-upstream-alt-",
];

/// What there is to know of a body when the header was judged.
enum Body {
    /// Nothing comes that matters: the facts are those of the path.
    Absent(Facts),
    /// It is to be read.
    Awaited(State),
}

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
        f.debug_struct("Inbound")
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl Exchange {
    /// Takes the header in. The edits are to be made at once, whatever the step: they take the credential out before
    /// anything can log it.
    pub fn request_headers(
        &mut self,
        inbound: Inbound<'_>,
        now: Timestamp,
        shared: &mut impl SharedData,
    ) -> (HeaderEdits, Step) {
        self.started = now;
        let mut edits = HeaderEdits::default();
        let credential =
            Credential::take(inbound.headers, &self.policy.credential_headers, &mut edits);
        let step = match self.judge_headers(inbound, credential, now, shared) {
            Err(refusal) => Step::Reply(self.refuse(&refusal, now)),
            Ok(Body::Absent(facts)) => {
                self.scrub(inbound.headers, false, &mut edits);
                self.decide(facts, None, now, shared)
            }
            Ok(Body::Awaited(state)) => {
                self.scrub(
                    inbound.headers,
                    matches!(state, State::Inflating(..)),
                    &mut edits,
                );
                self.state = state;
                if !self.policy.hold_request_headers {
                    self.introduce_early(&mut edits);
                }
                Step::NeedBody
            }
        };
        (edits, step)
    }

    /// Takes the next bytes of the body in; `end` where they are the last.
    pub fn request_body(
        &mut self,
        chunk: &[u8],
        end: bool,
        now: Timestamp,
        shared: &mut impl SharedData,
    ) -> Step {
        let pushed = match &mut self.state {
            State::Inflating(_, packed, _) => {
                packed.extend_from_slice(chunk);
                Ok(())
            }
            State::Reading(reader) => reader.push(chunk),
            _ => return Step::Continue(Release::default()),
        };
        let read = match (pushed, end) {
            (Err(error), _) => Err(error.into()),
            (Ok(()), false) => return Step::NeedBody,
            (Ok(()), true) => match std::mem::replace(&mut self.state, State::Start) {
                State::Inflating(coding, packed, reader) => read_packed(coding, &packed, *reader),
                State::Reading(reader) => reader
                    .finish()
                    .map(|facts| (facts, None))
                    .map_err(Refusal::from),
                _ => Err(Refusal::Internal),
            },
        };
        match read {
            Ok((facts, plain)) => self.decide(facts, plain, now, shared),
            Err(refusal) => Step::Reply(self.refuse(&refusal, now)),
        }
    }

    /// Trailers end the body as end of stream does; a filter that only waits for that lets the request pass unjudged.
    pub fn request_trailers(&mut self, now: Timestamp, shared: &mut impl SharedData) -> Step {
        self.request_body(&[], true, now, shared)
    }

    /// Everything that can be known without the body.
    fn judge_headers(
        &mut self,
        inbound: Inbound<'_>,
        credential: Credential,
        now: Timestamp,
        shared: &mut impl SharedData,
    ) -> Result<Body, Refusal> {
        let headers = inbound.headers;
        let target = headers.first(":path").unwrap_or_default();
        let method = headers.first(":method").unwrap_or_default();
        self.dialect = endpoint::dialect_of(target);
        let upgrade = headers.first("upgrade").is_some() || headers.first(":protocol").is_some();
        let call = endpoint::classify(method, target, upgrade, &self.policy.path_prefixes)?;
        let call = match headers.first("anthropic-version") {
            Some(_) => call.with_anthropic_version(),
            None => call,
        };
        self.dialect = call.endpoint.dialect;
        self.call = Some(call);
        self.identify(credential, inbound, now, shared)?;
        let (Some(identity), Some(call)) = (&self.identity, &self.call) else {
            return Err(Refusal::Internal);
        };
        let group = &identity.group;
        let own = group.name.as_bytes();
        if headers.all("x-consumer-group").any(|wish| wish != own) {
            return Err(Refusal::ConsumerGroupNotAllowed);
        }
        let permitted = match &group.allowed_endpoints {
            Some(allowed) => call.allowed_by(allowed),
            None => call.endpoint.open(),
        };
        if !permitted {
            return Err(Refusal::EndpointNotAllowed);
        }
        let body = self.reader(call, headers, inbound.end)?;
        let named = MODEL_HEADERS.iter().flat_map(|name| headers.all(name));
        self.models = named
            .map(|model| String::from_utf8_lossy(model).into_owned())
            .collect();
        Ok(body)
    }

    /// How the body is to be read. An `upgrade` field makes no difference: whoever sends one may send a body all the same.
    fn reader(&self, call: &Call, headers: Headers<'_>, end: bool) -> Result<Body, Refusal> {
        if end || call.endpoint.body == endpoint::Body::None {
            // Where something must come that could be judged, the reader says so.
            return Ok(Body::Absent(Reader::new(call, None, None)?.finish()?));
        }
        let encoding = only(headers, "content-encoding")?;
        let coding = encoding
            .filter(|_| self.policy.decompress_requests)
            .and_then(Coding::parse);
        let encoding = if coding.is_some() { None } else { encoding };
        let reader = Box::new(Reader::new(call, only(headers, "content-type")?, encoding)?);
        Ok(Body::Awaited(match coding {
            Some(coding) => State::Inflating(coding, Vec::new(), reader),
            None => State::Reading(reader),
        }))
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
                    self.identity = Some(Identity {
                        group: Rc::clone(&key.group),
                        key_id: Rc::clone(&key.id),
                    });
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
    fn scrub(&self, headers: Headers<'_>, inflates: bool, edits: &mut HeaderEdits) {
        let read = self
            .call
            .as_ref()
            .is_some_and(|call| call.endpoint.charged() || call.endpoint.lists_models());
        for (field, _) in headers.iter() {
            // Behind CGI and what came of it an underscore is a hyphen.
            let hyphened: Cow<'_, [u8]> = if field.contains(&b'_') {
                let hyphen = |byte: &u8| if *byte == b'_' { b'-' } else { *byte };
                field.iter().map(hyphen).collect()
            } else {
                field.into()
            };
            let name = &*hyphened;
            let taken = match name {
                // An answer that is compressed cannot be read.
                b"accept-encoding" => read,
                b"content-encoding" | b"content-length" => inflates,
                // The account of a caller whose credential is not its own any more; what makes some servers (Google's)
                // take the request for another one than was judged; what only the filter may say.
                b"openai-organization"
                | b"openai-project"
                | b"x-goog-user-project"
                | b"x-http-method-override"
                | b"x-http-method"
                | b"x-method-override"
                | b"x-consumer-group"
                | b"x-consumer" => true,
                _ => TAKEN_PREFIXES.iter().any(|taken| name.starts_with(taken)),
            };
            if taken && let Ok(field) = std::str::from_utf8(field) {
                edits.remove(field);
            }
        }
    }

    fn decide(
        &mut self,
        facts: Facts,
        plain: Option<Vec<u8>>,
        now: Timestamp,
        shared: &mut impl SharedData,
    ) -> Step {
        match self.judge(facts, plain, now, shared) {
            Ok(release) => {
                self.state = State::Passed;
                Step::Continue(release)
            }
            Err(refusal) => Step::Reply(self.refuse(&refusal, now)),
        }
    }

    /// Everything else: the models, where it goes, the limits.
    fn judge(
        &mut self,
        facts: Facts,
        plain: Option<Vec<u8>>,
        now: Timestamp,
        shared: &mut impl SharedData,
    ) -> Result<Release, Refusal> {
        let policy = Rc::clone(&self.policy);
        let (Some(identity), Some(call)) = (&self.identity, &self.call) else {
            return Err(Refusal::Internal);
        };
        let group = Rc::clone(&identity.group);
        let endpoint = call.endpoint;
        self.prompt_estimate = facts.prompt_tokens();
        self.asked.stream = facts.stream;
        self.asked.background = facts.background;
        let mut rewrite = Rewrite::new(facts);
        let in_headers = std::mem::take(&mut self.models);
        self.models = models(&group, call, &mut rewrite)?;
        self.models.extend(in_headers);
        if let Some(model) = self.models.iter().find(|model| !group.models.allow(model)) {
            let refusal = Refusal::ModelNotAllowed {
                model: model.clone(),
            };
            self.waive(refusal, &group)?;
        }
        self.target = policy.target(endpoint, &self.models).cloned();
        if self.target.is_none() && !policy.targets.is_empty() {
            return Err(Refusal::NoProvider);
        }
        self.admit(&group, now, shared)?;
        let asks = self
            .target
            .as_ref()
            .is_none_or(|target| target.takes_stream_options());
        if asks && self.asked.stream && group.counts_tokens() && endpoint.streams_usage_on_request()
        {
            self.asked.usage = rewrite.facts().include_usage != Some(true);
            rewrite.include_usage();
        }
        let mut release = Release::default();
        if !self.introduced {
            self.introduce(&group, policy.hold_request_headers, &mut release.edits);
        }
        if !rewrite.is_empty() && !self.introduced {
            release.edits.remove("content-length");
        }
        release.body = match plain {
            Some(plain) if rewrite.is_empty() => Some(NewBody::Whole(plain)),
            Some(plain) => Some(NewBody::Whole(
                rewrite.apply(&plain).ok_or(Refusal::Internal)?,
            )),
            None if rewrite.is_empty() => None,
            None => Some(NewBody::Rewritten(rewrite)),
        };
        Ok(release)
    }

    /// Checks the limits and counts the request.
    fn admit(
        &mut self,
        group: &Group,
        now: Timestamp,
        shared: &mut impl SharedData,
    ) -> Result<(), Refusal> {
        let clock = Clock {
            now,
            offset: self.policy.offset,
        };
        let demand = Demand::REQUEST;
        self.standings_at = now;
        match counter::admit(shared, &group.record, &group.limits, demand, clock) {
            Ok(standings) => self.standings = standings,
            Err(Refused::Contended) => {
                self.store_errors = self.store_errors.saturating_add(1);
                return Err(Refusal::LimiterUnavailable);
            }
            Err(Refused::Over {
                limit,
                retry_after_ms,
                standings,
            }) => {
                self.standings = standings;
                let limit = group.limits.get(limit).ok_or(Refusal::Internal)?;
                let refusal = Refusal::RateLimited {
                    limit: limit.name().to_string(),
                    requests: limit.unit == Unit::Requests,
                    quota: limit.quota,
                    wait_ms: retry_after_ms.unwrap_or(NEVER_MS),
                };
                self.waive(refusal, group)?;
                if let Ok(standings) =
                    counter::count(shared, &group.record, &group.limits, demand, clock)
                {
                    self.standings = standings;
                }
            }
        }
        Ok(())
    }

    /// In shadow mode a refusal is only noted.
    fn waive(&mut self, refusal: Refusal, group: &Group) -> Result<(), Refusal> {
        if group.mode == Mode::Enforce {
            return Err(refusal);
        }
        self.shadowed = self.shadowed.or_else(|| Some(refusal.code()));
        Ok(())
    }

    /// The same where the header cannot be held until the body is judged: without the model, and with room for a body
    /// that may be rewritten.
    fn introduce_early(&mut self, edits: &mut HeaderEdits) {
        let (Some(identity), Some(call)) = (&self.identity, &self.call) else {
            return;
        };
        let group = Rc::clone(&identity.group);
        self.target = self.policy.target(call.endpoint, &[]).cloned();
        let asks_usage = group.counts_tokens() && call.endpoint.streams_usage_on_request();
        if asks_usage || group.models.default.is_some() || !group.models.aliases.is_empty() {
            edits.remove("content-length");
        }
        self.introduce(&group, false, edits);
        self.introduced = true;
    }

    /// Says upstream who asks, for what, and with whose credential.
    fn introduce(&self, group: &Group, with_model: bool, edits: &mut HeaderEdits) {
        edits.set("x-consumer-group", group.name.as_str());
        if let Some(target) = &self.target {
            edits.set("x-cohort-provider", target.id.as_str());
            if let Some(injection) = &target.injection {
                injection.apply(edits);
            }
        }
        // A model's name is the caller's text: what cannot stand in a header is not sent.
        if with_model && let Some(model) = self.models.first().filter(|model| is_safe_value(model))
        {
            edits.set("x-cohort-model", model.as_str());
        }
    }
}

/// Every model that a request names, with aliases and the default put in.
fn models(group: &Group, call: &Call, rewrite: &mut Rewrite) -> Result<Vec<String>, Refusal> {
    let mut models = rewrite.facts().models.clone();
    for model in &mut models {
        // A path's model is not aliased: it cannot be rewritten without choosing another endpoint.
        let alias = group
            .models
            .alias(model)
            .filter(|_| !call.models.contains(model));
        if let Some(target) = alias.filter(|target| rewrite.rename(model, target)) {
            target.clone_into(model);
        }
    }
    if models.is_empty() && call.endpoint.needs_model() {
        let default = group
            .models
            .default
            .as_ref()
            .filter(|model| rewrite.insert_model(model));
        models.push(default.ok_or(Refusal::ModelMissing)?.clone());
    }
    Ok(models)
}

/// A field that describes the body: sent twice, it describes two bodies.
fn only<'a>(headers: Headers<'a>, name: &str) -> Result<Option<&'a [u8]>, Refusal> {
    let mut values = headers.all(name);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Refusal::UnsupportedType(format!(
            "The request has more than one {name}. Send one."
        ))),
        (value, None) => Ok(value),
    }
}

/// Inflates a body and reads it.
fn read_packed(
    coding: Coding,
    packed: &[u8],
    mut reader: Reader,
) -> Result<(Facts, Option<Vec<u8>>), Refusal> {
    let plain = coding.inflate(packed).map_err(|error| match error {
        InflateError::Malformed => Refusal::InvalidBody {
            message: "The request body is not what its content-encoding says.".to_owned(),
            param: None,
        },
        InflateError::TooLarge => Refusal::RequestTooLarge,
    })?;
    reader.push(&plain)?;
    let facts = reader.finish()?;
    Ok((facts, Some(plain)))
}
