//! Sixteen bytes at a time: where text ends that needs no look at its bytes one by one.

use super::lanes::{LANES, Lanes};

/// Bytes looked at together.
const BLOCK: usize = LANES;

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

/// Where the first line ends: at a line feed or a carriage return.
pub fn line_end(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    let at = loop {
        let Some((block, tail)) = rest.split_first_chunk::<BLOCK>() else {
            let ends = |byte: &u8| matches!(byte, b'\n' | b'\r');
            break rest.iter().position(ends)?;
        };
        let lanes = Lanes::of(block);
        let ends = lanes.is(b'\n').or(lanes.is(b'\r')).bits();
        if ends != 0 {
            break ends.trailing_zeros() as usize;
        }
        rest = tail;
    };
    Some(bytes.len().wrapping_sub(rest.len()).wrapping_add(at))
}

/// How many bytes of a block are plain text before the first that is not, and whether those are ASCII.
#[expect(clippy::inline_always, reason = "most texts end in the first block")]
#[inline(always)]
fn plain_in(block: &[u8; BLOCK]) -> (usize, bool) {
    let lanes = Lanes::of(block);
    let high_bits = u32::from(lanes.bits());
    // The exclusive or makes a space of a quote, and leaves what is less than one.
    let stops = lanes.xor(Lanes::all(b'"' ^ b' ')).below(0x21);
    let stops = u32::from(stops.or(lanes.is(b'\\')).bits()) & !high_bits;
    // One bit behind them stops in any case.
    let stops = stops | 1 << BLOCK;
    let before = (stops & stops.wrapping_neg()).wrapping_sub(1);
    (stops.trailing_zeros() as usize, high_bits & before == 0)
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
                let end = matches!(byte, b'\n' | b'\r').then_some(at);
                assert_eq!(line_end(&bytes), end, "{byte} at {at}");
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
