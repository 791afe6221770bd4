//! The messages of `envoy.service.ratelimit.v3`: as much of them as we write and read.
//!
//! Knows nothing of limits. Field numbers: `rls.proto` and `ratelimit.proto` of Envoy's API.

use crate::protobuf::{Field, fields, put_bytes, put_integer, put_message};

/// What stands before a message: whether it is compressed, and its length.
const FRAME: usize = 5;

/// Fills in the frame that [`request`] has left room for.
pub(super) fn framed(mut message: Vec<u8>) -> Vec<u8> {
    let len = u32::try_from(message.len().saturating_sub(FRAME)).unwrap_or(u32::MAX);
    if let Some((_, place)) = message
        .first_chunk_mut::<FRAME>()
        .and_then(|frame| frame.split_first_mut())
    {
        place.copy_from_slice(&len.to_be_bytes());
    }
    message
}

/// The one message of an answer, which must not be compressed: nobody asked for that.
pub fn unframed(mut body: Vec<u8>) -> Option<Vec<u8>> {
    let ([flag, length @ ..], message) = body.split_first_chunk::<FRAME>()?;
    let whole = usize::try_from(u32::from_be_bytes(*length)) == Ok(message.len());
    if *flag != 0 || !whole {
        return None;
    }
    body.drain(..FRAME);
    Some(body)
}

/// Begins a `RateLimitRequest`.
pub(super) fn request(domain: &str) -> Vec<u8> {
    // Room for a few descriptors.
    let mut message = Vec::with_capacity(256);
    message.extend([0; FRAME]);
    put_bytes(&mut message, 1, domain.as_bytes());
    message
}

/// Adds a `RateLimitDescriptor`: what it has of entries, a limit of its own (`RateLimitOverride`), and the hits on it.
pub(super) fn add_descriptor(
    request: &mut Vec<u8>,
    entries: [Option<(&str, &str)>; 4],
    limit: Option<(u64, u8)>,
    hits: Option<u64>,
) {
    put_message(request, 2, &mut |descriptor| {
        for (key, value) in entries.into_iter().flatten() {
            put_message(descriptor, 1, &mut |entry| {
                put_bytes(entry, 1, key.as_bytes());
                put_bytes(entry, 2, value.as_bytes());
            });
        }
        if let Some((quota, unit)) = limit {
            put_message(descriptor, 2, &mut |limit| {
                put_integer(limit, 1, quota);
                put_integer(limit, 2, unit.into());
            });
        }
        if let Some(hits) = hits {
            put_message(descriptor, 3, &mut |value| put_integer(value, 1, hits));
        }
    });
}

/// Adds the hits on all descriptors that have none of their own.
pub(super) fn add_hits(request: &mut Vec<u8>, hits: u32) {
    put_integer(request, 3, u64::from(hits));
}

/// `RateLimitResponse`
#[derive(Debug, Default, PartialEq)]
pub(super) struct Response<'a> {
    /// `overall_code`
    pub(super) code: u64,
    /// `statuses`
    pub(super) statuses: Vec<DescriptorStatus>,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset` out of `response_headers_to_add`.
    pub(super) headers: [Option<&'a str>; 3],
}

/// `code` of what is within its limit.
pub(super) const OK: u64 = 1;
/// `code` of what is not.
pub(super) const OVER_LIMIT: u64 = 2;

/// `DescriptorStatus`
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct DescriptorStatus {
    /// `code`
    pub(super) code: u64,
    /// Whether there is a `current_limit`.
    pub(super) limited: bool,
    /// `limit_remaining`
    pub(super) remaining: u64,
    /// `duration_until_reset`, in milliseconds.
    pub(super) reset_ms: Option<u64>,
}

/// Reads an answer, with no more statuses than were asked for.
pub(super) fn response(message: &[u8], asked: usize) -> Option<Response<'_>> {
    let mut response = Response::default();
    fields(message, &mut |field| {
        match field {
            Field::Varint(1, code) => response.code = code,
            Field::Bytes(2, message) => {
                if response.statuses.len() == asked {
                    return None;
                }
                response.statuses.push(status(message)?);
            }
            Field::Bytes(3, message) => {
                let (mut key, mut value) = ("", "");
                fields(message, &mut |field| {
                    match field {
                        Field::Bytes(1, text) => key = str::from_utf8(text).ok()?,
                        Field::Bytes(2, text) => value = str::from_utf8(text).ok()?,
                        _ => {}
                    }
                    Some(())
                })?;
                let names = [
                    "x-ratelimit-limit",
                    "x-ratelimit-remaining",
                    "x-ratelimit-reset",
                ];
                for (name, slot) in names.iter().zip(&mut response.headers) {
                    if key.eq_ignore_ascii_case(name) {
                        *slot = Some(value);
                    }
                }
            }
            _ => {}
        }
        Some(())
    })?;
    Some(response)
}

fn status(message: &[u8]) -> Option<DescriptorStatus> {
    let mut status = DescriptorStatus::default();
    fields(message, &mut |field| {
        match field {
            Field::Varint(1, code) => status.code = code,
            Field::Bytes(2, _) => status.limited = true,
            Field::Varint(3, remaining) => status.remaining = remaining,
            Field::Bytes(4, duration) => {
                let (mut seconds, mut nanos) = (0, 0);
                fields(duration, &mut |field| {
                    match field {
                        Field::Varint(1, value) => seconds = value,
                        Field::Varint(2, value) => nanos = value,
                        _ => {}
                    }
                    Some(())
                })?;
                // Both are signed: what is negative is past.
                let seconds = if i64::try_from(seconds).is_ok() {
                    seconds
                } else {
                    0
                };
                let millis = (nanos / 1_000_000).min(999);
                status.reset_ms = Some(seconds.saturating_mul(1_000).saturating_add(millis));
            }
            _ => {}
        }
        Some(())
    })?;
    Some(status)
}

#[cfg(test)]
pub(crate) mod tests;
