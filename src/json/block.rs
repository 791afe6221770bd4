//! Sixteen bytes at a time: where text ends that needs no look at its bytes one by one.
//!
//! In Envoy with the vector instructions of the virtual machine, which no compiler makes of loops where it optimises for
//! size; elsewhere with two words, which a test holds to the plain definition.

/// Bytes looked at together.
const BLOCK: usize = 16;

/// The bytes up to the first that ends or interrupts plain text (a quote, a backslash, a control character), and
/// whether all of them are ASCII.
pub(super) fn plain_run(bytes: &[u8]) -> (&[u8], bool) {
    let (mut rest, mut ascii) = (bytes, true);
    if let Some((block, tail)) = bytes.split_first_chunk::<BLOCK>() {
        let (run, is_ascii) = plain_in(block);
        // As most texts do.
        if run < BLOCK {
            return (block.get(..run).unwrap_or_default(), is_ascii);
        }
        (rest, ascii) = (tail, is_ascii);
    }
    let last = loop {
        let Some((block, tail)) = rest.split_first_chunk::<BLOCK>() else {
            // What is filled up with interrupts nothing that is not there.
            let mut block = [b'"'; BLOCK];
            for (to, from) in block.iter_mut().zip(rest) {
                *to = *from;
            }
            break plain_in(&block);
        };
        let (run, is_ascii) = plain_in(block);
        if run < BLOCK {
            break (run, is_ascii);
        }
        ascii &= is_ascii;
        rest = tail;
    };
    let (run, is_ascii) = last;
    let (_, behind) = rest.split_at_checked(run).unwrap_or_default();
    let run = bytes.len().wrapping_sub(behind.len());
    (bytes.get(..run).unwrap_or_default(), ascii & is_ascii)
}

/// How many bytes of a block are plain text before the first that is not, and whether those are ASCII.
#[cfg(target_feature = "simd128")]
#[inline(always)]
fn plain_in(block: &[u8; BLOCK]) -> (usize, bool) {
    use core::arch::wasm32::{u8x16_bitmask, u8x16_eq, u8x16_lt, u8x16_splat, u64x2, v128_or};
    let [low, high] = words(block);
    let bytes = u64x2(low, high);
    let quotes = v128_or(
        u8x16_eq(bytes, u8x16_splat(b'"')),
        u8x16_eq(bytes, u8x16_splat(b'\\')),
    );
    let stops = v128_or(quotes, u8x16_lt(bytes, u8x16_splat(0x20)));
    // One bit for each byte, and one behind them that stops in any case.
    let stops = u32::from(u8x16_bitmask(stops)) | 1 << BLOCK;
    let before = (stops & stops.wrapping_neg()).wrapping_sub(1);
    let high_bits = u32::from(u8x16_bitmask(bytes));
    (stops.trailing_zeros() as usize, high_bits & before == 0)
}

#[cfg(not(target_feature = "simd128"))]
fn plain_in(block: &[u8; BLOCK]) -> (usize, bool) {
    let [low, high] = words(block);
    match (interrupts(low), interrupts(high)) {
        (0, 0) => (BLOCK, (low | high) & each(0x80) == 0),
        (0, stops) => {
            let (run, ascii) = before(stops, high);
            (run.saturating_add(8), ascii && low & each(0x80) == 0)
        }
        (stops, _) => before(stops, low),
    }
}

fn words(block: &[u8; BLOCK]) -> [u64; 2] {
    let block = u128::from_le_bytes(*block);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    [block as u64, (block >> 64) as u64]
}

/// How many bytes of the word are before the first one that is marked, and whether those are ASCII.
#[cfg(not(target_feature = "simd128"))]
const fn before(stops: u64, word: u64) -> (usize, bool) {
    let mask = (stops & stops.wrapping_neg()).wrapping_sub(1);
    (
        (stops.trailing_zeros() / 8) as usize,
        word & each(0x80) & mask == 0,
    )
}

/// The byte, eight times over.
#[cfg(not(target_feature = "simd128"))]
const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Marks the highest bit of the bytes that are a quote, a backslash or a control character, right at least for the
/// first of them. Subtracting borrows from a byte's highest bit where the byte is the smaller one; a borrow can only go
/// wrong behind a byte that was found already.
#[cfg(not(target_feature = "simd128"))]
const fn interrupts(word: u64) -> u64 {
    const fn below(word: u64, bound: u8) -> u64 {
        word.wrapping_sub(each(bound)) & !word & each(0x80)
    }
    below(word, 0x20) | below(word ^ each(b'"'), 1) | below(word ^ each(b'\\'), 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn by_definition(bytes: &[u8]) -> (&[u8], bool) {
        let stop = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
        let run = &bytes[..bytes.iter().position(stop).unwrap_or(bytes.len())];
        (run, run.is_ascii())
    }

    #[test]
    fn every_byte_is_seen_wherever_it_is() {
        for byte in 0..=u8::MAX {
            for at in 0..40 {
                let mut bytes = [b'a'; 40];
                bytes[at] = byte;
                assert_eq!(plain_run(&bytes), by_definition(&bytes), "{byte} at {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_run_is_what_the_definition_says(
            bytes in proptest::collection::vec(
                prop_oneof![Just(b'"'), Just(b'\\'), Just(0x1f), Just(0x20), Just(0x7f), Just(0x80), any::<u8>()],
                0..70,
            )
        ) {
            prop_assert_eq!(plain_run(&bytes), by_definition(&bytes));
        }
    }
}
