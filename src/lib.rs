//! Consumer groups for LLM traffic, as an Envoy filter.
//!
//! The crate is a deterministic core with thin drivers around it. The core does no I/O, reads no clock,
//! holds no globals and logs no secrets: inputs are method calls, `now` is an argument, outputs are values.
//! `host` (wasm only) drives it inside Envoy, the command line drives it on a terminal, the tests drive it
//! with a fake clock.

pub mod config;
pub mod credential;
pub mod limit;
pub mod llm;
pub mod time;

#[cfg(feature = "cli")]
pub mod cli;
