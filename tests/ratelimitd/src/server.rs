//! What both servers share: the faults, and the record of what was asked. It knows no transport.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use hyper::body::Bytes;
use serde::Serialize;

use crate::envoy::Envoy;
use crate::grpc::Status;
use crate::limitador::Limitador;
use crate::proto::{RateLimitRequest, RateLimitResponse};

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) enum Method {
    /// `envoy.service.ratelimit.v3.RateLimitService`.
    ShouldRateLimit,
    /// `kuadrant.service.ratelimit.v1.RateLimitService`.
    CheckRateLimit,
    /// The same.
    Report,
}

impl Method {
    pub(crate) fn from_path(path: &str) -> Option<Self> {
        match path {
            "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit" => {
                Some(Self::ShouldRateLimit)
            }
            "/kuadrant.service.ratelimit.v1.RateLimitService/CheckRateLimit" => {
                Some(Self::CheckRateLimit)
            }
            "/kuadrant.service.ratelimit.v1.RateLimitService/Report" => Some(Self::Report),
            _ => None,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) response: RateLimitResponse,
    /// For each descriptor: the addend asked for, and as much of it as a counter took.
    pub(crate) hits: Vec<(u64, u64)>,
}

pub(crate) enum Dialect {
    Envoy(Envoy),
    Limitador(Limitador),
}

pub(crate) struct Server {
    dialect: Dialect,
    fault: Fault,
    counts: Counts,
}

impl Server {
    pub(crate) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            fault: Fault::None,
            counts: Counts::default(),
        }
    }

    /// A call has come, and this is to happen with it.
    pub(crate) fn begin(&mut self, method: Method) -> Fault {
        let calls = self.counts.calls.entry(method).or_default();
        *calls = calls.saturating_add(1);
        self.fault.clone()
    }

    pub(crate) fn decide(
        &mut self,
        method: Method,
        request: &RateLimitRequest,
        now: u64,
    ) -> Result<RateLimitResponse, Status> {
        let answer = match (&mut self.dialect, method) {
            (Dialect::Limitador(limitador), _) => limitador.call(method, request),
            (Dialect::Envoy(envoy), Method::ShouldRateLimit) => {
                envoy.should_rate_limit(request, now)
            }
            (Dialect::Envoy(_), _) => Err(Status::unimplemented()),
        }?;
        for (key, (asked, counted)) in request.keys().zip(answer.hits) {
            let hits = self.counts.descriptors.entry(key).or_default();
            hits.calls = hits.calls.saturating_add(1);
            hits.asked = hits.asked.saturating_add(asked);
            hits.counted = hits.counted.saturating_add(counted);
        }
        Ok(answer.response)
    }

    pub(crate) fn set_fault(&mut self, fault: Fault) {
        self.fault = fault;
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// As after a start: no counters, no record, no fault.
    pub(crate) fn reset(&mut self) -> Result<(), String> {
        self.counts = Counts::default();
        self.fault = Fault::None;
        match &mut self.dialect {
            Dialect::Envoy(envoy) => {
                envoy.reset();
                Ok(())
            }
            Dialect::Limitador(limitador) => limitador.reset(),
        }
    }
}

/// What tests ask about afterwards.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Counts {
    /// Every call that reached the server, also where a fault took it.
    calls: BTreeMap<Method, u64>,
    /// By `domain|key=value|…`, of the calls that were decided.
    descriptors: BTreeMap<String, Hits>,
}

#[derive(Debug, Default, Serialize)]
struct Hits {
    calls: u64,
    asked: u64,
    counted: u64,
}

/// What goes wrong with every call from now on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    None,
    /// No answer, ever.
    Hang,
    /// The call is decided and counted at once, and answered later: as when the store behind a server is slow.
    Delay(Duration),
    /// Status 0 with these bytes for a message.
    Message(Bytes),
    /// An HTML page.
    NotGrpc,
    /// A gRPC status.
    Status(u16),
    /// The connection is closed without an answer.
    Drop,
}

/// Ends in the middle of a varint.
const NO_MESSAGE: &[u8] = &[0xff; 4];

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("no fault: {text:?}");
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        match name {
            "none" => Ok(Self::None),
            "hang" => Ok(Self::Hang),
            "delay_ms" => value
                .parse()
                .map(|millis| Self::Delay(Duration::from_millis(millis)))
                .map_err(|_| wrong()),
            "garbage" => Ok(Self::Message(Bytes::from_static(NO_MESSAGE))),
            "message" => unhex(value).map(Self::Message).ok_or_else(wrong),
            "not_grpc" => Ok(Self::NotGrpc),
            "status" => value.parse().map(Self::Status).map_err(|_| wrong()),
            "drop" => Ok(Self::Drop),
            _ => Err(wrong()),
        }
    }
}

fn unhex(text: &str) -> Option<Bytes> {
    let digits = text
        .chars()
        .map(|digit| digit.to_digit(16))
        .collect::<Option<Vec<u32>>>()?;
    let (pairs, []) = digits.as_chunks() else {
        return None;
    };
    let bytes = pairs
        .iter()
        .map(|[high, low]| u8::try_from(high << 4 | low));
    bytes.collect::<Result<Vec<u8>, _>>().ok().map(Bytes::from)
}
