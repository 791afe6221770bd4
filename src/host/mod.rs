//! The filter inside Envoy: the only code that knows proxy-wasm.
//!
//! A thin driver. It fetches what Envoy has, hands it to an [`crate::exchange::Exchange`], and does what that says.

mod abi;
mod answer;
mod attributes;
mod http;
mod memory;
mod moderation;
mod pairs;
mod readout;
mod root;
mod service;
mod shared_data;
mod stats;
mod waiting;

#[cfg(not(feature = "wee_alloc"))]
#[global_allocator]
static ALLOCATOR: memory::Allocator = memory::Allocator::new();

/// Instead of std's; see the README before choosing it.
#[cfg(feature = "wee_alloc")]
#[global_allocator]
static ALLOCATOR: wee_alloc::WeeAlloc<'static> = wee_alloc::WeeAlloc::INIT;

proxy_wasm::main! {{
    // What is logged is Envoy's own choice (`--component-log-level wasm:…`).
    proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Info);
    proxy_wasm::set_root_context(|id| Box::new(root::Root::new(id)));
}}
