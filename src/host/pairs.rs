//! Header maps in the wire form of proxy-wasm: `count`, then the sizes of every name and value, then each of them with a
//! NUL behind it; all numbers `u32`, little-endian.

/// Reads a map in place: no copy and no allocation per field.
pub(super) fn decode(raw: &[u8]) -> Vec<(&[u8], &[u8])> {
    let Some((count, sizes)) = take_u32(raw) else {
        return Vec::new();
    };
    let count = count as usize;
    let Some((sizes, mut data)) = count
        .checked_mul(8)
        .and_then(|bytes| sizes.split_at_checked(bytes))
    else {
        return Vec::new();
    };
    let mut next = |size: u64| take(&mut data, size);
    let fields = sizes.as_chunks::<8>().0.iter().map(|size| {
        // The name's is the lower half.
        let sizes = u64::from_le_bytes(*size);
        (next(sizes & u64::from(u32::MAX)), next(sizes >> 32))
    });
    fields.collect()
}

/// Writes a map.
pub(super) fn encode<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> Vec<u8> {
    let mut raw = Vec::with_capacity(512);
    put_size(&mut raw, fields.clone().count());
    for (name, value) in fields.clone() {
        put_size(&mut raw, name.len());
        put_size(&mut raw, value.len());
    }
    for (name, value) in fields {
        raw.extend_from_slice(name);
        raw.push(0);
        raw.extend_from_slice(value);
        raw.push(0);
    }
    raw
}

fn put_size(raw: &mut Vec<u8>, size: usize) {
    raw.extend_from_slice(&u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes());
}

fn take_u32(raw: &[u8]) -> Option<(u32, &[u8])> {
    let (bytes, rest) = raw.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*bytes), rest))
}

/// Nothing, and nothing from there on, where a field is cut short.
fn take<'a>(data: &mut &'a [u8], size: u64) -> &'a [u8] {
    let size = usize::try_from(size).ok();
    let Some((field, [_, rest @ ..])) = size.and_then(|size| data.split_at_checked(size)) else {
        *data = &[];
        return &[];
    };
    *data = rest;
    field
}
