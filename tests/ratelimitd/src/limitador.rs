//! limitador-server with limits in memory: the `limitador` crate decides and counts, and around it is what
//! `limitador-server/src/envoy_rls/{server,kuadrant_service}.rs` of <https://github.com/Kuadrant/limitador> do.
//!
//! - Only the request's addend is read, and 0 is 1; `CheckRateLimit` reads none and asks for 1.
//! - `ShouldRateLimit` that would go over a limit counts nothing; `Report` always counts and says OK.
//! - No statuses. `X-RateLimit-*` only with `--rate-limit-headers DRAFT_VERSION_03`, and then not for `Report`. (Servers
//!   before September 2026 did not have them for `CheckRateLimit` either.)
//! - No domain: the code UNKNOWN, no error. Where a condition cannot be evaluated (`descriptors[1]` of a request with
//!   one) the crate panics, and the call breaks off.
//! - Its newest servers have `Reserve` and `Commit` too; here they are unimplemented, as in those before.

use std::collections::HashMap;

use limitador::limit::{Context, Limit, Namespace};
use limitador::{CheckResult, RateLimiter};

use crate::grpc::Status;
use crate::proto::{Code, HeaderValue, RateLimitRequest};
use crate::server::{Answer, Method};

/// More counters than a test has.
const CACHE_SIZE: u64 = 100_000;

pub(crate) struct Limitador {
    limits: Vec<Limit>,
    limiter: RateLimiter,
    headers: bool,
}

impl Limitador {
    pub(crate) fn load(files: &[String], headers: bool) -> Result<Self, String> {
        let mut limits = Vec::new();
        for text in files {
            let file: Vec<Limit> =
                serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
            limits.extend(file);
        }
        Ok(Self {
            limiter: limiter(&limits)?,
            limits,
            headers,
        })
    }

    pub(crate) fn reset(&mut self) -> Result<(), String> {
        self.limiter = limiter(&self.limits)?;
        Ok(())
    }

    pub(crate) fn call(
        &mut self,
        method: Method,
        request: &RateLimitRequest,
    ) -> Result<Answer, Status> {
        let mut answer = Answer::default();
        if request.domain.is_empty() {
            return Ok(answer);
        }
        let namespace = Namespace::from(request.domain.as_str());
        let descriptors = request.descriptors.iter().map(|descriptor| {
            let entries = descriptor.entries.iter();
            entries
                .map(|entry| (entry.key.clone(), entry.value.clone()))
                .collect::<HashMap<_, _>>()
        });
        let mut context = Context::default();
        context.list_binding("descriptors".to_owned(), descriptors.collect());

        let addend = u64::from(request.hits_addend.max(1));
        let unavailable = |_| Status::unavailable("Service unavailable");
        let (result, asked, counts) = match method {
            Method::ShouldRateLimit => {
                let result = self
                    .limiter
                    .check_rate_limited_and_update(&namespace, &context, addend);
                (result.map_err(unavailable)?, addend, true)
            }
            Method::CheckRateLimit => {
                let result = self.limiter.is_rate_limited(&namespace, &context, 1);
                (result.map_err(unavailable)?, 0, false)
            }
            Method::Report => {
                // Not asked by the server: it tells which counters there are.
                let result = self.limiter.is_rate_limited(&namespace, &context, 0);
                let result = result.map_err(unavailable)?;
                self.limiter
                    .update_counters(&namespace, &context, addend)
                    .map_err(unavailable)?;
                let result = CheckResult {
                    limited: false,
                    ..result
                };
                (result, addend, true)
            }
        };
        let counted = if counts && !result.limited && !result.counters.is_empty() {
            asked
        } else {
            0
        };
        // The descriptors are one context: what is counted is counted once, and noted at each.
        answer.hits = vec![(asked, counted); request.descriptors.len()];
        answer.response.overall_code = if result.limited {
            Code::OverLimit
        } else {
            Code::Ok
        }
        .into();
        if self.headers && method != Method::Report {
            let mut result = result;
            let headers = result.response_header().into_iter().collect();
            answer.response.response_headers_to_add = HeaderValue::list(headers);
        }
        Ok(answer)
    }
}

fn limiter(limits: &[Limit]) -> Result<RateLimiter, String> {
    let limiter = RateLimiter::new(CACHE_SIZE);
    limiter
        .configure_with(limits.iter().cloned())
        .map_err(|error| error.to_string())?;
    Ok(limiter)
}
