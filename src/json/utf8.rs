//! UTF-8, 64 bytes a step: Keiser and Lemire, "Validating UTF-8 in less than one instruction per byte" (2021).
//!
//! Whatever is wrong shows in two bytes that follow each other, and in the three halves of them that are not the lower half
//! of the second: each half is looked up for the rules that it could break, and where all three could, it is broken.
//! That a third or a fourth byte is missing is all that this does not find.

#![expect(clippy::inline_always, reason = "its tables stay in registers")]

use super::lanes::{LANES, Lanes};

/// Two bytes break a rule where the first one's upper half, its lower half and the second one's upper half are among these:
/// a bit for each value of a half.
struct Rule {
    first: u16,
    low: u16,
    second: u16,
}

const ANY: u16 = 0xFFFF;
const ASCII: u16 = 0x00FF;
/// What goes on with a character.
const REST: u16 = 0x0F00;
/// What begins one of several bytes.
const LEAD: u16 = 0xF000;

const fn only(half: u8) -> u16 {
    1 << half
}

/// The last one's bit is the highest of a byte.
#[rustfmt::skip]
const RULES: [Rule; 8] = [
    // A character is cut short, or none was begun.
    Rule { first: LEAD, low: ANY, second: !REST },
    Rule { first: ASCII, low: ANY, second: REST },
    // Two bytes for ASCII.
    Rule { first: only(0xC), low: only(0) | only(1), second: REST },
    // Three for what has room in two.
    Rule { first: only(0xE), low: only(0), second: only(8) | only(9) },
    // Surrogates.
    Rule { first: only(0xE), low: only(0xD), second: only(0xA) | only(0xB) },
    // More than there are: F4 90 and up, F5 and up.
    Rule { first: only(0xF), low: ANY << 4, second: REST & !only(8) },
    // The same for what begins with 8 behind it, and four for what has room in three.
    Rule { first: only(0xF), low: ANY << 5 | only(0), second: only(8) },
    // None where a third or a fourth byte is due, and only there.
    Rule { first: REST, low: ANY, second: REST },
];

/// Which rules each value of a half could break: of the first byte's upper and lower half, and of the second's upper.
#[expect(clippy::indexing_slicing, reason = "at compile time")]
const TABLES: [[u8; LANES]; 3] = {
    let mut tables = [[0; LANES]; 3];
    let mut value = 0;
    while value < LANES {
        let mut rule = 0;
        while rule < RULES.len() {
            let Rule { first, low, second } = RULES[rule];
            tables[0][value] |= ((first >> value & 1) as u8) << rule;
            tables[1][value] |= ((low >> value & 1) as u8) << rule;
            tables[2][value] |= ((second >> value & 1) as u8) << rule;
            rule += 1;
        }
        value += 1;
    }
    tables
};

/// Bytes, and which rules each of them could break as the first of two.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked {
    lanes: Lanes,
    first: Lanes,
}

impl Checked {
    /// Behind ASCII, or at the beginning, where the same may follow.
    #[inline(always)]
    pub(super) fn ascii() -> Self {
        let [[first, ..], [low, ..], _] = TABLES;
        Self {
            lanes: Lanes::all(0),
            first: Lanes::all(first & low),
        }
    }

    /// Takes the next bytes, and tells what in them is not UTF-8. What they end in may be cut: that shows in the next ones.
    #[inline(always)]
    pub(super) fn go_on(&mut self, lanes: Lanes) -> Lanes {
        let [first, low, second] = TABLES;
        let before = *self;
        let high = lanes.high_nibbles();
        self.lanes = lanes;
        self.first = high
            .look_up(Lanes::of(&first))
            .and(lanes.low_nibbles().look_up(Lanes::of(&low)));
        let broken = self.first.shifted::<1>(before.first);
        let broken = broken.and(high.look_up(Lanes::of(&second)));
        // The highest bit where two places before is E0 and up, or three before F0 and up.
        let third = lanes.shifted::<2>(before.lanes).saturating_sub(0xE0 - 0x80);
        let fourth = lanes.shifted::<3>(before.lanes).saturating_sub(0xF0 - 0x80);
        third.or(fourth).and(Lanes::all(0x80)).xor(broken)
    }
}

/// How many bytes at the end of what is UTF-8 as far as it goes begin a character that is not all there.
pub(super) fn begun(bytes: &[u8]) -> usize {
    /// What a character begins with that takes more than so many bytes behind it.
    const LEADS: [u8; 3] = [0xC0, 0xE0, 0xF0];
    let mut last = bytes.iter().rev().zip(LEADS).zip(1..);
    let lead = last.find(|((byte, _), _)| **byte >= 0xC0);
    match lead {
        Some(((byte, lead), count)) if *byte >= lead => count,
        _ => 0,
    }
}
