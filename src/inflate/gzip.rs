//! gzip (RFC 1952): members with a header and checksums, around deflate streams.
//!
//! Only the framing; `miniz_oxide` inflates. What the header says of the file is skipped.

use super::{InflateError, MAX_OUTPUT};
use memchr::memchr;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

/// The flags of RFC 1952 2.3.1.
const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// More members than this are refused: each costs far more than the 20 bytes that an empty one has.
const MAX_MEMBERS: usize = 64;

/// The plain text of all members, one behind the other.
pub(super) fn inflate(body: &[u8]) -> Result<Vec<u8>, InflateError> {
    let mut plain = Vec::new();
    let mut rest = body;
    for _ in 0..MAX_MEMBERS {
        let start = plain.len();
        rest = after_header(rest).ok_or(InflateError::Malformed)?;
        rest = inflate_stream(rest, &mut plain)?;
        let member = plain.get(start..).unwrap_or_default();
        rest = after_trailer(rest, member).ok_or(InflateError::Malformed)?;
        if rest.is_empty() {
            return Ok(plain);
        }
    }
    Err(InflateError::Malformed)
}

fn after_header(bytes: &[u8]) -> Option<&[u8]> {
    let (fixed, mut rest) = bytes.split_first_chunk::<10>()?;
    let [0x1F, 0x8B, 8, flags, ..] = *fixed else {
        return None;
    };
    if flags & RESERVED != 0 {
        return None;
    }
    if flags & EXTRA != 0 {
        let (len, after) = rest.split_first_chunk()?;
        rest = after.get(usize::from(u16::from_le_bytes(*len))..)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let end = memchr(0, rest)?;
            rest = rest.get(end.checked_add(1)?..)?;
        }
    }
    if flags & HEADER_CRC != 0 {
        let header = bytes.get(..bytes.len().checked_sub(rest.len())?)?;
        let [low, high, ..] = crc32(header).to_le_bytes();
        rest = rest.strip_prefix(&[low, high])?;
    }
    Some(rest)
}

fn after_trailer<'a>(bytes: &'a [u8], member: &[u8]) -> Option<&'a [u8]> {
    let len = u32::try_from(member.len()).ok()?; // modulo 2^32, says the RFC; far below it, says the cap
    bytes
        .strip_prefix(&crc32(member).to_le_bytes())?
        .strip_prefix(&len.to_le_bytes())
}

/// Returns what is behind the stream.
fn inflate_stream<'a>(mut rest: &'a [u8], plain: &mut Vec<u8>) -> Result<&'a [u8], InflateError> {
    // One member cannot refer to the text of another: it sees only its own part of the buffer.
    let start = plain.len();
    let mut state = Box::<DecompressorOxide>::default();
    let mut written = 0_usize;
    loop {
        let room = plain.len().max(rest.len()).saturating_mul(2).max(1024);
        plain.resize(room.min(MAX_OUTPUT.saturating_add(1)), 0);
        let output = plain.get_mut(start..).unwrap_or_default();
        let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (status, used, more) = decompress(&mut state, rest, output, written, flags);
        rest = rest.get(used..).unwrap_or_default();
        written = written.saturating_add(more);
        let end = start.saturating_add(written);
        if end > MAX_OUTPUT {
            return Err(InflateError::TooLarge);
        }
        match status {
            TINFLStatus::Done => {
                plain.truncate(end);
                return Ok(rest);
            }
            TINFLStatus::HasMoreOutput => {}
            _ => return Err(InflateError::Malformed),
        }
    }
}

/// RFC 1952 8, a byte at a time.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        let entry = CRC.get(usize::from(low ^ byte)).copied();
        entry.unwrap_or_default() ^ (crc >> 8)
    })
}

#[expect(
    clippy::indexing_slicing,
    reason = "runs in constants: a wrong index fails the build"
)]
const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u32;
    while byte < 256 {
        let mut crc = byte;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 * (crc & 1));
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, GzBuilder, write::GzEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    fn packed(builder: GzBuilder, plain: &[u8]) -> Vec<u8> {
        let mut encoder: GzEncoder<_> = builder.write(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn flate2(body: &[u8]) -> Option<Vec<u8>> {
        let mut decoder = flate2::write::MultiGzDecoder::new(Vec::new());
        decoder.write_all(body).ok()?;
        decoder.finish().ok()
    }

    #[test]
    fn headers_are_skipped() {
        let builder = || {
            GzBuilder::new()
                .filename("a")
                .comment("b")
                .extra(vec![1, 0, 2])
        };
        let body = packed(builder(), b"plain");
        assert_eq!(inflate(&body).as_deref(), Ok(&b"plain"[..]));
        let mut summed = packed(GzBuilder::new(), b"plain");
        summed[3] |= HEADER_CRC;
        let [low, high, ..] = crc32(&summed[..10]).to_le_bytes();
        summed.splice(10..10, [low, high]);
        assert_eq!(inflate(&summed).as_deref(), Ok(&b"plain"[..]));
        summed[10] ^= 1;
        assert_eq!(inflate(&summed), Err(InflateError::Malformed));
    }

    #[test]
    fn as_much_as_may_come_out_does() {
        let plain = vec![7; MAX_OUTPUT];
        let body = packed(GzBuilder::new(), &plain);
        assert!(inflate(&body).is_ok_and(|out| out == plain));
        let body = [body, packed(GzBuilder::new(), b"x")].concat();
        assert_eq!(inflate(&body), Err(InflateError::TooLarge));
    }

    #[test]
    fn a_member_cannot_refer_to_the_one_before() {
        // A fixed block: a copy of 3 bytes from 1 byte back, then the end.
        let header = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF];
        let copy = [&header[..], &[0x03, 0x02, 0x00], &[0; 8]].concat();
        let body = [packed(GzBuilder::new(), b"aaaa"), copy].concat();
        assert_eq!(inflate(&body), Err(InflateError::Malformed));
        assert_eq!(flate2(&body), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

        #[test]
        fn damage_is_found_as_flate2_finds_it(
            parts in proptest::collection::vec("[a-c]{0,300}", 1..3),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            cut in any::<bool>(),
        ) {
            let builder = || GzBuilder::new().filename("name");
            let mut body = parts.iter().flat_map(|part| packed(builder(), part.as_bytes())).collect::<Vec<_>>();
            let at = at.index(body.len());
            if cut {
                body.truncate(at);
            } else {
                body[at] = byte;
            }
            // Of the reserved flags, which it must know, it knows nothing.
            prop_assume!(body.get(3).is_none_or(|flags| flags & RESERVED == 0));
            prop_assert_eq!(inflate(&body).ok(), flate2(&body));
        }
    }
}
