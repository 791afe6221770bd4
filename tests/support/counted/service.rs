//! A rate-limit service that has room for everything, as envoyproxy/ratelimit answers: for calls of a module that is metered.

use super::super::ratelimitd::proto::{
    Code, DescriptorStatus, Duration, RateLimit, RateLimitRequest, RateLimitResponse,
};
use prost::Message as _;

/// The answer to a call, in gRPC's frame as the question is.
pub(super) fn answer(request: &[u8]) -> Vec<u8> {
    let request = RateLimitRequest::decode(&request[5..]).expect("a message of the protocol");
    let statuses = request.descriptors.iter().map(|descriptor| {
        let limit = descriptor.limit.expect("our questions carry their limits");
        DescriptorStatus {
            code: Code::Ok.into(),
            current_limit: Some(RateLimit {
                requests_per_unit: limit.requests_per_unit,
                unit: limit.unit,
            }),
            limit_remaining: limit.requests_per_unit - 7,
            duration_until_reset: Some(Duration { seconds: 40 }),
        }
    });
    let response = RateLimitResponse {
        overall_code: Code::Ok.into(),
        statuses: statuses.collect(),
        response_headers_to_add: Vec::new(),
    };
    let message = response.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &message].concat()
}
