//! A stream of a plugin that answers with counters.

use super::abi::{self, Map};
use super::pairs;
use super::shared_data::EnvoySharedData;
use crate::headers::Headers;
use crate::limit::readout;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

/// Nothing that comes in here goes any further.
pub(super) struct Readout;

impl Context for Readout {}

impl HttpContext for Readout {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let raw = abi::header_map(Map::Request);
        let fields = pairs::decode(&raw);
        let path = Headers::new(&fields).first(":path").unwrap_or_default();
        let (status, body) = match readout::answer(path, &EnvoySharedData) {
            Some(records) => (200, records),
            None => (404, Vec::new()),
        };
        abi::send_local_response(status, "counters", &pairs::encode([].into_iter()), &body);
        Action::Pause
    }
}
