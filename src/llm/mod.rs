//! The wire formats of LLM APIs: where a request names its models, where an answer says what it cost.
//!
//! Push parsers only: bytes in, facts out, nothing kept that is not needed. Knows no group, no limit, no Envoy.

mod base64;
pub mod endpoint;
pub mod event_stream;
pub mod json;
pub mod models;
pub mod request;
pub mod response;
pub mod sse;
pub mod usage;
