//! Calls to the rate-limit service, through an Envoy cluster.
//!
//! They are made in the name of the root: so they outlive their stream, and one that ends early is heard of all the same.
//!
//! gRPC by hand, over Envoy's HTTP calls: of each of its gRPC calls Envoy first looks up a client by a message that says
//! where it goes, which takes as long as the call itself. <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>

use super::abi::{self, Buffer, Map};
use crate::config::LimitService;
use crate::service::{self, Call, MAX_ANSWER};
use proxy_wasm::hostcalls;
use std::time::Duration;

/// Makes a call; the number under which its answer comes, or `None` where Envoy has no such cluster.
pub(super) fn call(service: &LimitService, call: &Call) -> Option<u32> {
    hostcalls::dispatch_http_call(
        &service.cluster,
        vec![
            (":method", "POST"),
            (":path", call.path),
            (":authority", &service.cluster),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ],
        Some(&call.message),
        Vec::new(),
        Duration::from_millis(service.timeout_ms.into()),
    )
    .ok()
}

/// The message that has come for `root`, where it is one, with gRPC's status 0.
pub(super) fn answer(root: u32, stream: u32, size: usize) -> Option<Vec<u8>> {
    if size > MAX_ANSWER {
        return None;
    }
    abi::act_as(root);
    let status = abi::header(Map::CallTrailers, "grpc-status");
    let body = if status.as_deref() == Some(b"0") {
        abi::buffer(Buffer::CallAnswer, 0, size)
    } else {
        Vec::new()
    };
    abi::act_as(stream);
    service::unframed(body)
}
