//! The wire formats of LLM APIs: where a request names its models, where an answer says what it cost.
//!
//! Push parsers only: bytes in, facts out, nothing kept that is not needed. Knows no group, no limit, no Envoy.

pub mod endpoint;
pub mod json;
pub mod request;
pub mod response;
pub mod sse;
pub mod usage;

/// Longer names of models than this are refused.
pub const MAX_MODEL: usize = 256;
