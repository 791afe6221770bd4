//! The functions of the host, and the memory in which it answers. ABI: proxy-wasm 0.2.1.
//! <https://github.com/proxy-wasm/spec/blob/main/abi-versions/v0.2.1/README.md>
//!
//! There is an SDK. Its wrappers read one header per call, panic on bytes that are no UTF-8 and on statuses they do not
//! expect, and give local replies no details; its dispatcher has Envoy call the module where nothing is to be done.
#![expect(
    unsafe_code,
    reason = "host functions are foreign functions; this file is the only one that calls them"
)]

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
    fn proxy_get_header_map_value(map: u32, key: *const u8, key_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
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

/// One field of a header map, where nothing is asked of the others; the first of its values.
pub(super) fn header(map: Map, name: &str) -> Option<Vec<u8>> {
    let (mut data, mut size) = (ptr::null_mut(), 0);
    // SAFETY: as in `header_map`.
    unsafe {
        let status = proxy_get_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            &raw mut data,
            &raw mut size,
        );
        (status == OK).then(|| take(data, size))
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
