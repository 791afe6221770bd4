//! A frame of the AWS event stream encoding, as a whole. <https://smithy.io/2.0/aws/amazon-eventstream.html>

/// The total length and the headers' length, four bytes each, and a checksum of the two.
const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;

/// How long the frame is that begins here, once that can be known. Never nothing: what is no frame is one byte.
pub(super) fn len(bytes: &[u8]) -> Option<usize> {
    let total = number(bytes, 0)?;
    Some(total.max(1))
}

/// What it carries.
pub(super) fn payload(frame: &[u8]) -> &[u8] {
    let headers = number(frame, 4).unwrap_or(0);
    let start = PRELUDE.saturating_add(headers);
    let end = frame.len().saturating_sub(CHECKSUM);
    frame.get(start..end).unwrap_or_default()
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_be_bytes(*four)).ok()
}

/// A frame that ends a stream with an error, as Bedrock says it.
pub fn exception(message: &[u8]) -> Vec<u8> {
    let mut headers = Vec::new();
    for (name, value) in [
        (":exception-type", "validationException"),
        (":content-type", "application/json"),
        (":message-type", "exception"),
    ] {
        headers.push(u8::try_from(name.len()).unwrap_or(0));
        headers.extend_from_slice(name.as_bytes());
        // A string, its length in two bytes.
        headers.push(7);
        headers.extend_from_slice(&u16::try_from(value.len()).unwrap_or(0).to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let word = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
    let total = headers
        .len()
        .saturating_add(message.len())
        .saturating_add(PRELUDE)
        .saturating_add(CHECKSUM);
    let mut frame = [word(total), word(headers.len())].concat();
    frame.extend_from_slice(&crc32(&frame).to_be_bytes());
    frame.extend_from_slice(&headers);
    frame.extend_from_slice(message);
    frame.extend_from_slice(&crc32(&frame).to_be_bytes());
    frame
}

/// The checksum of ISO 3309, bit by bit: it is needed once in the life of a refused answer.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            let bit = crc & 1;
            (crc >> 1) ^ if bit == 1 { 0xedb8_8320 } else { 0 }
        })
    });
    !crc
}
