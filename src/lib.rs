//! Consumer groups for LLM traffic, as an Envoy filter.
//!
//! The crate is a deterministic core with thin drivers around it. The core does no I/O, reads no clock, holds no globals
//! and logs no secrets: inputs are method calls, `now` is an argument, outputs are values. `host` (wasm only) drives it
//! inside Envoy, the command line drives it on a terminal, the tests drive it with a fake clock.
//!
//! # Life of a request
//!
//! 1. `host` copies the request's header into [`headers::Headers`] and gives it to an [`exchange::Exchange`].
//! 2. [`credential`] finds the API key, digests it, and notes the edits that take it out; the key goes no further.
//! 3. [`llm::endpoint`] tells from method and path which API this is; [`policy`] finds the key's group.
//! 4. The body goes chunk by chunk through [`llm::request`], which validates all of it and keeps only what matters.
//! 5. At its end (or at trailers) every model it names is held against the group's allow-list.
//! 6. [`limit`] checks and counts the request in one compare-and-swap on the group's record.
//! 7. A [`refusal::Refusal`] becomes a [`reply::Reply`] in the caller's API; else the request goes on, with the
//!    provider's credential and our identity headers.
//! 8. The answer passes through [`llm::response`], which reads the usage on the way.
//! 9. On every ending [`exchange::Exchange::finish`] charges the tokens and writes the event.
//!
//! # Layers
//!
//! `tests/layers.rs` holds the modules to this table: a module uses only what stands in its row.
//!
//! | module | may use |
//! |---|---|
//! | `time` | |
//! | `headers` | |
//! | `credential` | headers |
//! | `guardrail` | json |
//! | `inflate` | |
//! | `json` | |
//! | `protobuf` | |
//! | `rare` | |
//! | `limit` | time |
//! | `llm` | guardrail, headers, json, rare |
//! | `config` | credential, guardrail, json, limit, protobuf, spend, time |
//! | `spend` | json |
//! | `service` | config, limit, protobuf, time |
//! | `policy` | config, credential, guardrail, headers, limit, llm, spend, time |
//! | `refusal` | llm, policy |
//! | `reply` | config, headers, json, limit, llm, refusal, spend |
//! | `analytics` | json, limit, policy, refusal, reply, spend, time |
//! | `exchange` | analytics, config, credential, guardrail, headers, inflate, limit, llm, policy, rare, refusal, reply, service, spend, time |
//! | `host` | analytics, config, credential, exchange, guardrail, headers, limit, llm, policy, reply, service, time |
//! | `render` | config, limit, service |
//! | `cli` | analytics, config, credential, exchange, headers, limit, llm, policy, render, reply, spend, time |

pub mod analytics;
pub mod config;
pub mod credential;
pub mod exchange;
pub mod guardrail;
pub mod headers;
pub mod inflate;
pub mod json;
pub mod limit;
pub mod llm;
pub mod policy;
pub mod protobuf;
pub mod rare;
pub mod refusal;
pub mod reply;
pub mod service;
pub mod spend;
pub mod time;

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod render;

#[cfg(target_arch = "wasm32")]
mod host;
