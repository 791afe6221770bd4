//! The functions that Envoy calls. What is not here it does not call, which is cheapest.
//!
//! Every context has a number that Envoy gives it: a root is a configuration, the others are its streams.
#![expect(
    unsafe_code,
    reason = "Envoy finds these functions by their names, which must not be mangled"
)]

use super::abi::{self, Action};
use super::http::Http;
use super::root::Root;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

thread_local! {
    static CONTEXTS: RefCell<Contexts> = RefCell::default();
}

/// All that lives in this VM.
#[derive(Default)]
struct Contexts {
    roots: Vec<(u32, Root)>,
    streams: HashMap<u32, Box<Http>, BuildHasherDefault<IdHasher>>,
}

/// Envoy counts its contexts: their numbers are spread as well as hashes are, once turned round.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, id: u32) {
        // 2^64 divided by the golden ratio.
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// Ends this VM, and with it every request in it: where the filter cannot do its work, nothing may pass.
fn fail() -> ! {
    core::arch::wasm32::unreachable()
}

fn with_contexts<T>(work: impl FnOnce(&mut Contexts) -> Option<T>) -> T {
    let done = CONTEXTS.with(|contexts| work(&mut *contexts.try_borrow_mut().ok()?));
    done.unwrap_or_else(|| fail())
}

fn with_root<T>(id: u32, work: impl FnOnce(&mut Root) -> T) -> T {
    with_contexts(|contexts| {
        let mut roots = contexts.roots.iter_mut();
        let (_, root) = roots.find(|(root, _)| *root == id)?;
        Some(work(root))
    })
}

fn with_stream<T>(id: u32, work: impl FnOnce(&mut Http) -> T) -> T {
    with_contexts(|contexts| contexts.streams.get_mut(&id).map(|stream| work(stream)))
}

#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    abi::initialize();
}

/// Says which version of the interface this is.
#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

/// `root` is 0 where the new context is a root itself.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(id: u32, root: u32) {
    if root == 0 {
        with_contexts(|contexts| {
            contexts.roots.push((id, Root::default()));
            Some(())
        });
        return;
    }
    let stream = with_root(root, |root| root.stream());
    with_contexts(|contexts| {
        contexts.streams.insert(id, Box::new(stream?));
        Some(())
    });
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(id: u32, size: usize) -> bool {
    with_root(id, |root| root.on_configure(size))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(id: u32, _: u32, end_of_stream: u32) -> Action {
    with_stream(id, |stream| stream.on_request_headers(end_of_stream != 0))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(id: u32, size: usize, end_of_stream: u32) -> Action {
    with_stream(id, |stream| {
        stream.on_request_body(size, end_of_stream != 0)
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(id: u32, _: u32) -> Action {
    with_stream(id, Http::on_request_trailers)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(id: u32, _: u32, end_of_stream: u32) -> Action {
    with_stream(id, |stream| stream.on_response_headers(end_of_stream != 0))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(id: u32, size: usize, end_of_stream: u32) -> Action {
    with_stream(id, |stream| {
        stream.on_response_body(size, end_of_stream != 0)
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_trailers(id: u32, _: u32) -> Action {
    with_stream(id, Http::on_response_trailers)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(id: u32) {
    // Of roots there is nothing to tell.
    with_contexts(|contexts| {
        if let Some(stream) = contexts.streams.get_mut(&id) {
            stream.on_log();
        }
        Some(())
    });
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(id: u32) {
    with_contexts(|contexts| {
        if contexts.streams.remove(&id).is_none() {
            contexts.roots.retain(|(root, _)| *root != id);
        }
        Some(())
    });
}
