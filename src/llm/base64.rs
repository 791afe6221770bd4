//! Base64, only to be read, and only a piece at a time.
//!
//! <https://www.rfc-editor.org/rfc/rfc4648#section-4>. Lenient about padding: what is read here is a
//! copy of what the client gets, which is the one to complain.

/// Gives `text`, decoded, to `take`, in pieces of at most 384 bytes. Ends at the first byte that is not
/// of the alphabet.
pub(crate) fn decode(text: &[u8], mut take: impl FnMut(&[u8])) {
    for piece in text.chunks(512) {
        let mut decoded = [0; 384];
        let mut len = 0_usize;
        for (quad, bytes) in piece.chunks(4).zip(decoded.chunks_exact_mut(3)) {
            let sextets = quad.iter().map_while(|byte| sextet(*byte));
            let (bits, count) = sextets.fold((0_u32, 0_usize), |(bits, count), sextet| {
                ((bits << 6) | u32::from(sextet), count.saturating_add(1))
            });
            // A short quad has its bits at the top, as if padded.
            let bits = (0..4_usize.saturating_sub(count)).fold(bits, |bits, _| bits << 6);
            for (byte, value) in bytes.iter_mut().zip(bits.to_be_bytes().into_iter().skip(1)) {
                *byte = value;
            }
            len = len.saturating_add(count.saturating_sub(1).min(3));
            if count < 4 {
                take(decoded.get(..len).unwrap_or_default());
                return;
            }
        }
        take(decoded.get(..len).unwrap_or_default());
    }
}

fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte.wrapping_sub(b'A')),
        b'a'..=b'z' => Some(byte.wrapping_sub(b'a').wrapping_add(26)),
        b'0'..=b'9' => Some(byte.wrapping_sub(b'0').wrapping_add(52)),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        decode(text.as_bytes(), |piece| bytes.extend(piece));
        bytes
    }

    #[test]
    fn the_vectors_of_the_rfc() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE", "fooba"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(decoded(text), bytes.as_bytes());
        }
        assert_eq!(decoded("+/+/"), [0xfb, 0xff, 0xbf]);
    }

    #[test]
    fn long_texts_come_in_pieces_and_bad_ones_end() {
        assert_eq!(decoded(&"Zm9v".repeat(500)), b"foo".repeat(500));
        assert_eq!(decoded("Zm9v*m9v"), b"foo");
        assert_eq!(decoded("Z"), b"");
    }
}
