//! The filter inside Envoy: the only code that knows proxy-wasm.
//!
//! A thin driver. It fetches what Envoy has, hands it to an [`crate::exchange::Exchange`], and does what that says.

mod abi;
mod callbacks;
mod http;
mod pairs;
mod root;
mod shared_data;
mod stats;

/// Instead of std's; see the README before choosing it.
#[cfg(feature = "wee_alloc")]
#[global_allocator]
static ALLOCATOR: wee_alloc::WeeAlloc<'static> = wee_alloc::WeeAlloc::INIT;
