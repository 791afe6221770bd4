//! Request bodies that came compressed, made plain with a cap on what comes out.
//!
//! Judging compressed bytes as they stand would be no judgement: small zstd frames keep the plain text. So all of the
//! body is inflated, the plain body is judged, and the plain body is what goes on.

mod gzip;

use ruzstd::decoding::errors::FrameDecoderError;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::io::Write;

/// What comes out of a body at the most, whatever goes in.
pub const MAX_OUTPUT: usize = 8 << 20;

/// A content coding that can be undone (RFC 9110 8.4.1, RFC 8878).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Coding {
    /// `gzip`, `x-gzip`
    Gzip,
    /// `zstd`
    Zstd,
}

/// Why a body did not come out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InflateError {
    /// Not what its coding says, or cut short, or with something behind it.
    Malformed,
    /// More than [`MAX_OUTPUT`].
    TooLarge,
}

impl From<std::io::Error> for InflateError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::FileTooLarge => Self::TooLarge,
            _ => Self::Malformed,
        }
    }
}

impl Coding {
    /// The coding of a `content-encoding` value; `None` for any other, and for more than one.
    pub fn parse(value: &[u8]) -> Option<Self> {
        match value.trim_ascii().to_ascii_lowercase().as_slice() {
            b"gzip" | b"x-gzip" => Some(Self::Gzip),
            b"zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The whole plain body of a whole compressed one.
    pub fn inflate(self, body: &[u8]) -> Result<Vec<u8>, InflateError> {
        match self {
            Self::Gzip => gzip::inflate(body),
            Self::Zstd => unzstd(body),
        }
    }
}

/// Takes bytes until there are too many.
#[derive(Debug, Default)]
struct Capped(Vec<u8>);

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if bytes.len() > MAX_OUTPUT.saturating_sub(self.0.len()) {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn unzstd(body: &[u8]) -> Result<Vec<u8>, InflateError> {
    let mut plain = Capped::default();
    let mut rest = body;
    let mut decoder = FrameDecoder::new();
    // A window as large as the output is all that a frame can use; RFC 8878 3.1.1.1.2 asks for no more than 8 MB.
    decoder.set_max_window_size(MAX_OUTPUT as u64);
    while !rest.is_empty() {
        decoder.init(&mut rest).map_err(|error| match error {
            FrameDecoderError::WindowSizeTooBig { .. } => InflateError::TooLarge,
            _ => InflateError::Malformed,
        })?;
        while !decoder.is_finished() {
            decoder
                .decode_blocks(&mut rest, BlockDecodingStrategy::UptoBlocks(1))
                .map_err(|_| InflateError::Malformed)?;
            decoder.collect_to_writer(&mut plain)?;
        }
    }
    Ok(plain.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(plain: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(plain, ruzstd::encoding::CompressionLevel::Fastest)
    }

    #[test]
    fn plain_bodies_come_out() {
        let plain = b"{\"model\":\"gpt-4o\"}".repeat(1_000);
        assert_eq!(Coding::Gzip.inflate(&gzip(&plain)).as_deref(), Ok(&*plain));
        assert_eq!(Coding::Zstd.inflate(&zstd(&plain)).as_deref(), Ok(&*plain));
    }

    #[test]
    fn members_and_frames_follow_each_other() {
        assert_eq!(
            Coding::Gzip
                .inflate(&[gzip(b"ab"), gzip(b"cd")].concat())
                .as_deref(),
            Ok(&b"abcd"[..])
        );
        assert_eq!(
            Coding::Zstd
                .inflate(&[zstd(b"ab"), zstd(b"cd")].concat())
                .as_deref(),
            Ok(&b"abcd"[..])
        );
    }

    #[test]
    fn bombs_and_garbage_do_not() {
        let bomb = vec![0; MAX_OUTPUT + 1];
        for (coding, packed) in [(Coding::Gzip, gzip(&bomb)), (Coding::Zstd, zstd(&bomb))] {
            assert_eq!(coding.inflate(&packed), Err(InflateError::TooLarge));
        }
        for (coding, packed) in [(Coding::Gzip, gzip(b"ab")), (Coding::Zstd, zstd(b"ab"))] {
            assert_eq!(
                coding.inflate(&[&*packed, b"{}"].concat()),
                Err(InflateError::Malformed),
                "{coding:?} with more behind"
            );
            assert_eq!(
                coding.inflate(b"{\"model\":\"gpt-4o\"}"),
                Err(InflateError::Malformed)
            );
        }
    }

    #[test]
    fn members_of_nothing_do_not_keep_a_worker_busy() {
        let members = |count| gzip(b"").repeat(count);
        assert_eq!(Coding::Gzip.inflate(&members(64)).as_deref(), Ok(&b""[..]));
        assert_eq!(
            Coding::Gzip.inflate(&members(100_000)),
            Err(InflateError::Malformed)
        );
    }

    #[test]
    fn codings() {
        assert_eq!(Coding::parse(b" GZip"), Some(Coding::Gzip));
        assert_eq!(Coding::parse(b"zstd"), Some(Coding::Zstd));
        assert_eq!(Coding::parse(b"gzip, gzip"), None);
        assert_eq!(Coding::parse(b"br"), None);
    }
}
