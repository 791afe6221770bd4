//! The wire formats of LLM APIs: where a request names its models, where an answer says what it cost.
//!
//! Push parsers only: bytes in, facts out, nothing kept that is not needed. Knows no group, no limit, no Envoy.

mod base64;
mod document;
pub mod endpoint;
mod event_stream;
pub mod models;
mod number;
mod place;
pub mod request;
pub mod response;
mod shape;
pub mod shapes;
mod sse;
pub mod usage;
mod walk;

/// Longer names of models than this are refused.
pub const MAX_MODEL: usize = 256;
