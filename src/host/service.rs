//! Calls to the rate-limit service, through an Envoy cluster.
//!
//! They are made in the name of the root: so they outlive their stream, and one that ends early is heard of all the same.

use super::abi::{self, Buffer};
use crate::config::LimitService;
use crate::service::{Call, grpc_service};
use proxy_wasm::hostcalls;
use std::time::Duration;

/// Makes a call; the number under which its answer comes, or `None` where Envoy has no such cluster or no endpoint of it.
pub(super) fn call(service: &LimitService, call: &Call) -> Option<u32> {
    let timeout = Duration::from_millis(service.timeout_ms.into());
    hostcalls::dispatch_grpc_call(
        &grpc_service(&service.cluster),
        call.service,
        call.method,
        Vec::new(),
        Some(&call.message),
        timeout,
    )
    .ok()
}

/// The answer that has come for `root`, where it is one: gRPC's status 0.
pub(super) fn answer(root: u32, stream: u32, status: u32, size: usize) -> Option<Vec<u8>> {
    if status != 0 {
        return None;
    }
    abi::act_as(root);
    let message = abi::buffer(Buffer::GrpcAnswer, 0, size);
    abi::act_as(stream);
    (message.len() == size).then_some(message)
}
