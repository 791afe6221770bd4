//! The functions of the host, and the memory in which it answers. ABI: proxy-wasm 0.2.1.
//! <https://github.com/proxy-wasm/spec/blob/main/abi-versions/v0.2.1/README.md>
//!
//! There is an SDK. Its wrappers read one header per call, panic on bytes that are no UTF-8 and on statuses they do not
//! expect, and give local replies no details; its dispatcher has Envoy call the module where nothing is to be done.
#![expect(
    unsafe_code,
    reason = "host functions are foreign functions; this file is the only one that calls them"
)]

use core::arch::wasm32::{u8x16_all_true, u8x16_eq, v128, v128_and, v128_load};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;

/// A header map of the current stream.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(super) enum Map {
    Request = 0,
    Response = 2,
    CallAnswer = 6,
    CallTrailers = 7,
}

/// A body buffer of the current stream.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(super) enum Buffer {
    RequestBody = 0,
    ResponseBody = 1,
    CallAnswer = 4,
}

/// A kind of stat.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(super) enum Metric {
    Counter = 0,
    Gauge = 1,
    Histogram = 2,
}

const OK: u32 = 0;

#[rustfmt::skip]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_add_header_map_value(map: u32, key: *const u8, key_size: usize, value: *const u8, value_size: usize) -> u32;
    fn proxy_replace_header_map_value(map: u32, key: *const u8, key_size: usize, value: *const u8, value_size: usize) -> u32;
    fn proxy_remove_header_map_value(map: u32, key: *const u8, key_size: usize) -> u32;
    fn proxy_get_buffer_bytes(buffer: u32, start: usize, max: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_buffer_bytes(buffer: u32, start: usize, size: usize, data: *const u8, data_size: usize) -> u32;
    fn proxy_send_local_response(status: u32, details: *const u8, details_size: usize, body: *const u8, body_size: usize, headers: *const u8, headers_size: usize, grpc_status: i32) -> u32;
    fn proxy_get_shared_data(key: *const u8, key_size: usize, data: *mut *mut u8, size: *mut usize, cas: *mut u32) -> u32;
    fn proxy_set_shared_data(key: *const u8, key_size: usize, data: *const u8, size: usize, cas: u32) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, path_size: usize, data: *const u8, size: usize) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_set_effective_context(id: u32) -> u32;
}

// Of this module: the SDK's dispatcher defines it.
unsafe extern "C" {
    fn proxy_on_queue_ready(root: u32, queue: u32);
}

/// Takes over what the host put into this module's memory.
///
/// # Safety
/// `data` is null, or was allocated with `size` bytes by [`proxy_on_memory_allocate`], and the host has filled all of it
/// and does not use it again.
unsafe fn take(data: *mut u8, size: usize) -> Vec<u8> {
    if data.is_null() {
        return Vec::new();
    }
    let capacity = size;
    // SAFETY: the caller's promise is `from_raw_parts`'s.
    unsafe { Vec::from_raw_parts(data, size, capacity) }
}

/// A whole header map in its wire form (see [`super::pairs`]), in one call.
pub(super) fn header_map(map: Map) -> Vec<u8> {
    let (mut data, mut size) = (ptr::null_mut(), 0);
    // SAFETY: both pointers are valid for a write; the host allocates what it returns as `take` wants it.
    unsafe {
        let status = proxy_get_header_map_pairs(map as u32, &raw mut data, &raw mut size);
        if status == OK {
            take(data, size)
        } else {
            Vec::new()
        }
    }
}

/// Puts a field in place of every value it had. `false` where the map can no longer be changed.
pub(super) fn set_header(map: Map, name: &str, value: &[u8]) -> bool {
    // SAFETY: the host only reads, within the sizes given, before it returns.
    let status = unsafe {
        proxy_replace_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    };
    status == OK
}

/// Puts a field in behind whatever values it had.
pub(super) fn add_header(map: Map, name: &str, value: &[u8]) {
    // SAFETY: as in `set_header`.
    unsafe {
        proxy_add_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    };
}

/// Takes a field out.
pub(super) fn remove_header(map: Map, name: &[u8]) -> bool {
    // SAFETY: as in `set_header`.
    let status = unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) };
    status == OK
}

/// A piece of a buffer; empty where there is none.
pub(super) fn buffer(buffer: Buffer, start: usize, max: usize) -> Vec<u8> {
    let (mut data, mut size) = (ptr::null_mut(), 0);
    // SAFETY: as in `header_map`.
    unsafe {
        let status =
            proxy_get_buffer_bytes(buffer as u32, start, max, &raw mut data, &raw mut size);
        if status == OK {
            take(data, size)
        } else {
            Vec::new()
        }
    }
}

/// Puts `data` in place of a buffer's first `size` bytes, which must be all of them: Envoy cannot splice.
pub(super) fn replace_buffer(buffer: Buffer, size: usize, data: &[u8]) -> bool {
    // SAFETY: as in `set_header`.
    let status =
        unsafe { proxy_set_buffer_bytes(buffer as u32, 0, size, data.as_ptr(), data.len()) };
    status == OK
}

/// Answers in the upstream's place. `details` becomes `%RESPONSE_CODE_DETAILS%`; `headers` are in wire form.
pub(super) fn send_local_response(status: u16, details: &str, headers: &[u8], body: &[u8]) -> bool {
    // SAFETY: as in `set_header`.
    let result = unsafe {
        proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            -1, // not gRPC
        )
    };
    result == OK
}

/// A value of Envoy's shared data and its compare-and-swap number.
pub(super) fn shared_data(key: &str) -> Option<(Vec<u8>, u32)> {
    let (mut data, mut size, mut cas) = (ptr::null_mut(), 0, 0);
    // SAFETY: as in `header_map`.
    unsafe {
        let status = proxy_get_shared_data(
            key.as_ptr(),
            key.len(),
            &raw mut data,
            &raw mut size,
            &raw mut cas,
        );
        (status == OK).then(|| (take(data, size), cas))
    }
}

/// Writes a value of Envoy's shared data unless someone else did so first.
pub(super) fn set_shared_data(key: &str, value: &[u8], cas: u32) -> bool {
    // SAFETY: as in `set_header`.
    let status =
        unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas) };
    status == OK
}

/// A property of the current stream; `path` has its segments separated by NUL.
pub(super) fn property(path: &str) -> Option<Vec<u8>> {
    let (mut data, mut size) = (ptr::null_mut(), 0);
    // SAFETY: as in `header_map`.
    unsafe {
        let status = proxy_get_property(path.as_ptr(), path.len(), &raw mut data, &raw mut size);
        (status == OK).then(|| take(data, size))
    }
}

/// Sets filter state `wasm.NAME` of the current stream.
pub(super) fn set_property(name: &str, value: &[u8]) -> bool {
    // SAFETY: as in `set_header`.
    let status =
        unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
    status == OK
}

/// Nanoseconds since the Unix epoch.
pub(super) fn now_nanoseconds() -> u64 {
    let mut time = 0;
    // SAFETY: the pointer is valid for a write.
    unsafe { proxy_get_current_time_nanoseconds(&raw mut time) };
    time
}

/// Defines a stat, or finds the one that has the name.
pub(super) fn define_metric(kind: Metric, name: &str) -> Option<u32> {
    let mut id = 0;
    // SAFETY: the name is read before the call returns; `id` is valid for a write.
    let status =
        unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut id) };
    (status == OK).then_some(id)
}

/// Adds to a counter.
pub(super) fn increment_metric(id: u32, offset: u64) {
    // SAFETY: plain numbers. The result is of no use: a stat that is gone cannot be counted in.
    unsafe { proxy_increment_metric(id, i64::try_from(offset).unwrap_or(i64::MAX)) };
}

/// Records a value of a histogram, or sets a gauge.
pub(super) fn record_metric(id: u32, value: u64) {
    // SAFETY: as in `increment_metric`.
    unsafe { proxy_record_metric(id, value) };
}

/// Makes the calls of a context seem to come from another one.
pub(super) fn act_as(context: u32) {
    // SAFETY: a plain number. Both contexts are there: they are those of a stream and of its configuration.
    unsafe { proxy_set_effective_context(context) };
}

/// Has a root's `on_queue_ready` run, out of a stream's callback. Calls that are made in there are the root's for the SDK,
/// which has no other way to say so: their answers go to the root.
pub(super) fn wake(root: u32) {
    // SAFETY: plain numbers. The dispatcher borrows its streams while it calls one of them, not its roots.
    unsafe { proxy_on_queue_ready(root, 0) };
}

/// Bytes of this VM's memory; it never shrinks.
pub(super) fn memory_bytes() -> u64 {
    const PAGE: u64 = 65_536;
    (core::arch::wasm32::memory_size::<0>() as u64).saturating_mul(PAGE)
}

/// The standard library's allocator, and in front of it the small blocks that were freed last, by size: what one request
/// gives back the next one takes, at a third of what it takes to search for room and to join what is free.
#[derive(Debug)]
pub(super) struct Allocator {
    kept: [Kept; Self::SIZES],
}

/// Blocks of one size, each of which begins with the address of the next.
#[derive(Debug)]
struct Kept {
    first: Cell<*mut u8>,
    count: Cell<u32>,
}

// SAFETY: a module of this ABI has one thread.
unsafe impl Sync for Allocator {}

impl Allocator {
    /// What the standard library's allocator adds to a block, and rounds up with it to 16: as much is a block of ours.
    const HEAD: usize = 4;
    /// Sizes up to this are kept, in steps of 16 bytes.
    const LARGE: usize = 2048;
    const SIZES: usize = Self::LARGE >> 4;
    /// How many blocks of a size: what a reload leaves behind goes back, and little memory waits for nothing.
    const MOST: u32 = 16;
    /// What the standard library's allocator aligns everything to.
    const ALIGN: usize = 8;

    pub(super) const fn new() -> Self {
        Self {
            kept: [const {
                Kept {
                    first: Cell::new(ptr::null_mut()),
                    count: Cell::new(0),
                }
            }; Self::SIZES],
        }
    }

    /// Where the blocks are that such a one is kept with, and the size that all of those have.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "several times for each allocation")]
    fn place(&self, layout: Layout) -> Option<(&Kept, usize)> {
        if layout.align() > Self::ALIGN {
            return None;
        }
        // Of no block is the size 0.
        let last = layout.size().wrapping_add(Self::HEAD).wrapping_sub(1);
        let kept = self.kept.get(last >> 4)?;
        Some((kept, (last | 15).wrapping_add(1).wrapping_sub(Self::HEAD)))
    }
}

// SAFETY: a block that is kept was freed and is handed out once; it has the size and the alignment of every layout of its
// place. All others are the standard library's.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((kept, size)) = self.place(layout) else {
            // SAFETY: the caller's promise.
            return unsafe { System.alloc(layout) };
        };
        let first = kept.first.get();
        if first.is_null() {
            // SAFETY: not of size 0, and of a size far from the greatest.
            return unsafe { System.alloc(Layout::from_size_align_unchecked(size, Self::ALIGN)) };
        }
        // SAFETY: what is kept begins with an address.
        kept.first
            .set(unsafe { first.cast::<*mut u8>().read_unaligned() });
        kept.count.set(kept.count.get().wrapping_sub(1));
        first
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match self.place(layout) {
            Some((kept, _)) if kept.count.get() < Self::MOST => {
                // SAFETY: nobody uses the block any more, and the smallest has room for an address.
                unsafe { block.cast::<*mut u8>().write_unaligned(kept.first.get()) };
                kept.first.set(block);
                kept.count.set(kept.count.get().wrapping_add(1));
            }
            Some((_, size)) => {
                // SAFETY: allocated with this layout.
                unsafe {
                    let layout = Layout::from_size_align_unchecked(size, Self::ALIGN);
                    System.dealloc(block, layout);
                }
            }
            // SAFETY: the caller's promise.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        match (self.place(layout), self.place(new)) {
            (Some((_, size)), Some((_, new_size))) if size == new_size => block,
            // SAFETY: the caller's promise.
            (None, None) => unsafe { System.realloc(block, layout, new_size) },
            _ => {
                // SAFETY: the new block is another one, and both have room for the smaller size.
                unsafe {
                    let to = self.alloc(new);
                    if !to.is_null() {
                        ptr::copy_nonoverlapping(block, to, layout.size().min(new_size));
                        self.dealloc(block, layout);
                    }
                    to
                }
            }
        }
    }
}

/// What every comparison of names and texts comes to. The C library's takes the bytes one by one.
///
/// # Safety
/// `size` bytes can be read at both.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, size: usize) -> i32 {
    const BLOCK: usize = size_of::<v128>();
    const WORD: usize = size_of::<u64>();
    const HALF: usize = size_of::<u32>();
    let difference = |x: u64, y: u64| {
        // The lowest byte is the first.
        let first = (x ^ y).trailing_zeros() & !7;
        let byte = |word: u64| i32::from((word >> first).to_le_bytes()[0]);
        byte(x).wrapping_sub(byte(y))
    };
    // SAFETY: what is read is within the size.
    unsafe {
        if size < WORD {
            if size == 0 {
                return 0;
            }
            // Bytes that are read twice differ only if they do where they are read first.
            let short = |of: *const u8| {
                if size >= HALF {
                    let half = |at| u32::from_le(of.add(at).cast::<u32>().read_unaligned());
                    u64::from(half(0)) | u64::from(half(size.wrapping_sub(HALF))) << 32
                } else {
                    let byte = |at| u64::from(*of.add(at));
                    byte(0) | byte(size >> 1) << 8 | byte(size.wrapping_sub(1)) << 16
                }
            };
            let (x, y) = (short(a), short(b));
            return if x == y { 0 } else { difference(x, y) };
        }
        let word = |of: *const u8, at| u64::from_le(of.add(at).cast::<u64>().read_unaligned());
        let block = |of: *const u8, at| v128_load(of.add(at).cast());
        let same = |at: usize| u8x16_eq(block(a, at), block(b, at));
        let mut at = 0_usize;
        // Most long texts that are compared are the same.
        while size.wrapping_sub(at) >= 4 * BLOCK {
            let first = v128_and(same(at), same(at.wrapping_add(BLOCK)));
            let (third, fourth) = (at.wrapping_add(2 * BLOCK), at.wrapping_add(3 * BLOCK));
            if !u8x16_all_true(v128_and(first, v128_and(same(third), same(fourth)))) {
                break;
            }
            at = at.wrapping_add(4 * BLOCK);
        }
        while size.wrapping_sub(at) >= BLOCK && u8x16_all_true(same(at)) {
            at = at.wrapping_add(BLOCK);
        }
        while at < size {
            // What of the last word was compared before is the same.
            let from = at.min(size.wrapping_sub(WORD));
            let (x, y) = (word(a, from), word(b, from));
            if x != y {
                return difference(x, y);
            }
            at = at.wrapping_add(WORD);
        }
    }
    0
}
