//! `request_limits`: what one request may ask for.

use super::Exchange;
use crate::config::{ClampOrReject, Mode, RequestLimits};
use crate::llm::endpoint::Endpoint;
use crate::llm::request::Rewrite;
use crate::policy::Group;
use crate::refusal::Refusal;

impl Exchange {
    /// Holds a request to what one request of the group may ask for. `bytes`: of its body.
    pub(super) fn bound(
        &mut self,
        group: &Group,
        endpoint: &Endpoint,
        bytes: u64,
        rewrite: &mut Rewrite,
    ) -> Result<(), Refusal> {
        for limits in &group.request_limits {
            if let Some(refusal) = exceeded(limits, bytes, rewrite) {
                self.waive(refusal)?;
            }
        }
        let caps = group.request_limits.iter();
        let cap = caps.filter_map(|limits| limits.max_output_tokens).min();
        let Some(cap) = cap.filter(|_| group.mode == Mode::Enforce) else {
            return Ok(());
        };
        let target = self.target.as_ref();
        let newer = target.is_none_or(|target| target.takes_max_completion_tokens());
        if rewrite.bound_output(endpoint, newer, cap) {
            return Ok(());
        }
        let what = format!("state how many output tokens the answer may have: {cap} at most");
        Err(over("max_tokens", &what))
    }
}

/// What is asked for and may not be.
fn exceeded(limits: &RequestLimits, bytes: u64, rewrite: &Rewrite) -> Option<Refusal> {
    let facts = rewrite.facts();
    if limits.on_exceeded == ClampOrReject::Reject
        && let Some(cap) = limits.max_output_tokens
        && let Some(param) = facts.output_over(cap)
    {
        return Some(over(param, &format!("'{param}' may be {cap} at most")));
    }
    if let Some(max) = limits.max_body_bytes.filter(|max| bytes > *max) {
        let what = format!("the body may have {max} bytes at most, it has {bytes}");
        return Some(over("body", &what));
    }
    if let Some(max) = limits.max_n.filter(|max| facts.choices > *max) {
        return Some(over("n", &format!("'n' may be {max} at most")));
    }
    if !limits.stream && facts.stream {
        return Some(over(
            "stream",
            "streams are not allowed, set 'stream' to false",
        ));
    }
    if !limits.tools && facts.tools {
        return Some(over("tools", "tools are not allowed, leave them out"));
    }
    None
}

fn over(param: &str, what: &str) -> Refusal {
    Refusal::RequestLimit {
        message: format!("The request asks for more than this consumer group may: {what}."),
        param: param.to_owned(),
    }
}
