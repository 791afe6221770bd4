//! The request's half: path → credential → group and endpoint → body → model → limits. The first failure answers.

use super::{Exchange, Identity, Release, State, Step};
use crate::credential::Credential;
use crate::guardrail::Findings;
use crate::headers::{HeaderEdits, Headers};
use crate::inflate::{Coding, InflateError};
use crate::limit::SharedData;
use crate::llm::endpoint::{self, Call};
use crate::llm::request::{Facts, Reader};
use crate::policy::Group;
use crate::refusal::Refusal;
use crate::time::Timestamp;
use memchr::memchr;
use std::borrow::Cow;
use std::rc::Rc;

/// The field in which vLLM, as `SageMaker` has it, is told of a further model, or of another one.
const ADAPTER: &str = "x-amzn-sagemaker-adapter-identifier";

/// The same of Azure.
const DEPLOYMENT: &str = "x-ms-oai-image-generation-deployment";

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

/// The account of a caller whose credential is not its own any more; what makes some servers (Google's) take the request
/// for another one than was judged, or leave the usage out of its answer; what only the filter may say.
const TAKEN: [&[u8]; 9] = [
    b"openai-organization",
    b"openai-project",
    b"x-consumer",
    b"x-consumer-group",
    b"x-goog-fieldmask",
    b"x-goog-user-project",
    b"x-http-method",
    b"x-http-method-override",
    b"x-method-override",
];

/// What is not true any more of a body that was inflated.
const ENCODING_FIELDS: [&[u8]; 2] = [b"content-encoding", b"content-length"];

/// What there is to know of a body when the header was judged.
enum Body {
    /// Nothing comes that matters: the facts are those of the path.
    Absent(Box<Facts>),
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
    /// Gives what the host knows of the request besides; empty where it knows nothing. Asked only for what is needed.
    pub property: &'a dyn Fn(Property<'_>) -> Vec<u8>,
}

/// What a host knows of a request besides its header.
#[derive(Clone, Copy, Debug)]
pub enum Property<'a> {
    /// The name of the cluster that the request goes to, as it came in.
    Cluster,
    /// A text in the dynamic metadata of a filter: the filter's name there, and the path from there down.
    Metadata(&'a str, &'a [String]),
    /// The name of the route that the request came in by.
    Route,
    /// The caller's address as the host trusts it.
    Source,
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
        let mut edits = HeaderEdits::with_capacity(4);
        let credential =
            Credential::take(inbound.headers, &self.policy.credential_headers, &mut edits);
        let step = match self.judge_headers(inbound, &credential, now, shared) {
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
        self.body_bytes = self.body_bytes.saturating_add(chunk.len() as u64);
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
                State::Inflating(coding, packed, reader) => read_packed(coding, &packed, reader),
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
        credential: &Credential,
        now: Timestamp,
        shared: &mut impl SharedData,
    ) -> Result<Body, Refusal> {
        let headers = inbound.headers;
        let target = headers.first(":path").unwrap_or_default();
        let method = headers.first(":method").unwrap_or_default();
        let upgrade = headers.has(b"upgrade") || headers.has(b":protocol");
        let prefixes = &self.policy.path_prefixes;
        let mut targets = self.worker.targets.borrow_mut();
        let call = targets.classify(method, target, upgrade, prefixes);
        drop(targets);
        let call = call.inspect_err(|_| self.dialect = endpoint::dialect_of(target))?;
        let call = if headers.has(b"anthropic-version") {
            Rc::new(Call::clone(&call).with_anthropic_version())
        } else {
            call
        };
        self.dialect = call.endpoint.dialect;
        self.call = Some(call);
        self.identify(credential, inbound, now, shared)?;
        let (Some(identity), Some(call)) = (&mut self.identity, &self.call) else {
            return Err(Refusal::Internal);
        };
        for wish in headers.all("x-consumer-group") {
            if !wish.is_empty() && !identity.narrow(|group| group.name.as_bytes() == wish) {
                return Err(Refusal::ConsumerGroupNotAllowed);
            }
        }
        if !identity.narrow(|group| group.permits(call)) {
            return Err(Refusal::EndpointNotAllowed);
        }
        let body = self.reader(call, headers, inbound.end)?;
        if headers.has(ADAPTER.as_bytes()) || headers.has(DEPLOYMENT.as_bytes()) {
            self.models = further_models(headers);
        }
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
        let mut reader = Reader::new(call, only(headers, "content-type")?, encoding)?;
        if let Some(identity) = &self.identity
            && identity.groups().any(Group::inspects)
        {
            self.inspect(identity, &mut reader);
        }
        Ok(Body::Awaited(match coding {
            Some(coding) => State::Inflating(coding, Vec::new(), reader),
            None => State::Reading(reader),
        }))
    }

    /// Has a body read for what the groups' policies and limits ask of it. Which of several groups is charged is not known
    /// yet: all look for the same, and judge what concerns them.
    #[inline(never)]
    fn inspect(&self, identity: &Identity, reader: &mut Reader) {
        let (mut looks, mut keeps, mut tools) = (false, false, false);
        let mut redacted = Findings::default();
        for group in identity.groups() {
            if group.screening.is_concerned() {
                looks = true;
                redacted.add(&group.screening.redacted());
            }
            keeps |= !group.screening.moderators.is_empty();
            tools |= group.request_limits.iter().any(|limits| !limits.tools);
        }
        reader.search(looks.then_some(&self.policy.search), redacted, keeps);
        if tools {
            reader.watch_tools();
        }
    }

    /// Takes out what a caller may not say of itself.
    fn scrub(&self, headers: Headers<'_>, inflates: bool, edits: &mut HeaderEdits) {
        let read = self
            .call
            .as_ref()
            .is_some_and(|call| call.endpoint.charged() || call.endpoint.lists_models());
        for (field, _) in headers.iter() {
            if self.policy.identity.is_none() && !may_be_taken(field) {
                continue;
            }
            // Behind CGI and what came of it an underscore is a hyphen.
            let hyphened: Cow<'_, [u8]> = if memchr(b'_', field).is_some() {
                let hyphen = |byte: &u8| if *byte == b'_' { b'-' } else { *byte };
                field.iter().map(hyphen).collect()
            } else {
                field.into()
            };
            let name = &*hyphened;
            let taken = if ENCODING_FIELDS.contains(&name) {
                inflates
            } else if name == b"accept-encoding" {
                // An answer that is compressed cannot be read.
                read
            } else {
                TAKEN.contains(&name) || TAKEN_PREFIXES.iter().any(|taken| name.starts_with(taken))
            };
            if taken || self.says_identity(name) {
                edits.remove(field);
            }
        }
    }
}

/// Whether a field that is taken without being configured to be may have this name: none begins otherwise. Most names are
/// not worth a closer look.
const fn may_be_taken(field: &[u8]) -> bool {
    match field {
        [b'a', ..] => field.len() == 15,
        [b'c', ..] => matches!(field.len(), 14 | 16),
        [b'o', ..] => matches!(field.len(), 14 | 19),
        [b'x', _, b'c' | b'e' | b'g' | b'h' | b'm', ..] => true,
        _ => false,
    }
}

/// The models that are named beside the body.
#[cold]
fn further_models(headers: Headers<'_>) -> Vec<String> {
    let named = headers.all(ADAPTER).chain(headers.all(DEPLOYMENT));
    named
        .map(|model| String::from_utf8_lossy(model).into_owned())
        .collect()
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
#[cold]
fn read_packed(
    coding: Coding,
    packed: &[u8],
    mut reader: Reader,
) -> Result<(Box<Facts>, Option<Vec<u8>>), Refusal> {
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
