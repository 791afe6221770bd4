//! Sixteen bytes that are worked on together: the few operations that the scan of text is made of.
//!
//! In Envoy they are the vector instructions of the virtual machine, which no compiler makes of loops where it optimises
//! for size; elsewhere they are what those instructions are defined to do.

#![expect(clippy::inline_always, reason = "each is an instruction or two")]

pub(super) use self::machine::Lanes;

/// How many there are.
pub(super) const LANES: usize = 16;

impl Lanes {
    /// So many of the first ones, and 0 for the others.
    pub(super) fn first(self, count: usize) -> Self {
        let mut kept = [0; LANES];
        for lane in kept.iter_mut().take(count) {
            *lane = 0xFF;
        }
        self.and(Self::of(&kept))
    }

    /// The lower four bits of each.
    #[inline(always)]
    pub(super) fn low_nibbles(self) -> Self {
        self.and(Self::all(0x0F))
    }
}

#[cfg(target_feature = "simd128")]
mod machine {
    use super::LANES;
    use core::arch::wasm32::{
        i8x16_lt, i8x16_splat, u8x16_bitmask, u8x16_eq, u8x16_shuffle, u8x16_splat, u8x16_sub,
        u8x16_sub_sat, u8x16_swizzle, u16x8_shr, u64x2, v128, v128_and, v128_any_true, v128_or,
        v128_xor,
    };

    #[derive(Clone, Copy, Debug)]
    pub(in super::super) struct Lanes(v128);

    impl Lanes {
        #[inline(always)]
        pub(in super::super) fn of(bytes: &[u8; LANES]) -> Self {
            let word = u128::from_le_bytes(*bytes);
            #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
            Self(u64x2(word as u64, (word >> 64) as u64))
        }

        #[inline(always)]
        pub(in super::super) fn all(byte: u8) -> Self {
            Self(u8x16_splat(byte))
        }

        /// All bits of the lanes that are this.
        #[inline(always)]
        pub(in super::super) fn is(self, byte: u8) -> Self {
            Self(u8x16_eq(self.0, u8x16_splat(byte)))
        }

        /// All bits of the lanes that are below this as signed numbers, as whatever is not ASCII is.
        #[inline(always)]
        pub(in super::super) fn below(self, bound: i8) -> Self {
            Self(i8x16_lt(self.0, i8x16_splat(bound)))
        }

        #[inline(always)]
        pub(in super::super) fn and(self, other: Self) -> Self {
            Self(v128_and(self.0, other.0))
        }

        #[inline(always)]
        pub(in super::super) fn or(self, other: Self) -> Self {
            Self(v128_or(self.0, other.0))
        }

        #[inline(always)]
        pub(in super::super) fn xor(self, other: Self) -> Self {
            Self(v128_xor(self.0, other.0))
        }

        #[inline(always)]
        pub(in super::super) fn wrapping_sub(self, byte: u8) -> Self {
            Self(u8x16_sub(self.0, u8x16_splat(byte)))
        }

        #[inline(always)]
        pub(in super::super) fn saturating_sub(self, byte: u8) -> Self {
            Self(u8x16_sub_sat(self.0, u8x16_splat(byte)))
        }

        /// The upper four bits of each.
        #[inline(always)]
        pub(in super::super) fn high_nibbles(self) -> Self {
            // Few machines shift single bytes.
            Self(u16x8_shr(self.0, 4)).low_nibbles()
        }

        /// The table's byte at each lane's index; 0 where it has none.
        #[inline(always)]
        pub(in super::super) fn look_up(self, table: Self) -> Self {
            Self(u8x16_swizzle(table.0, self.0))
        }

        /// What stood so many places before, 1 to 3, where the lanes `before` came before these.
        #[inline(always)]
        #[rustfmt::skip]
        pub(in super::super) fn shifted<const PLACES: usize>(self, before: Self) -> Self {
            let (a, b) = (before.0, self.0);
            Self(match PLACES {
                1 => u8x16_shuffle::<15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30>(a, b),
                2 => u8x16_shuffle::<14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29>(a, b),
                _ => u8x16_shuffle::<13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28>(a, b),
            })
        }

        /// The highest bit of each, that of the first lane lowest.
        #[inline(always)]
        pub(in super::super) fn bits(self) -> u16 {
            u8x16_bitmask(self.0)
        }

        /// Whether any bit of any is set.
        #[inline(always)]
        pub(in super::super) fn any(self) -> bool {
            v128_any_true(self.0)
        }
    }
}

#[cfg(not(target_feature = "simd128"))]
mod machine {
    use super::LANES;

    #[derive(Clone, Copy, Debug)]
    pub(in super::super) struct Lanes([u8; LANES]);

    impl Lanes {
        #[inline(always)]
        pub(in super::super) fn of(bytes: &[u8; LANES]) -> Self {
            Self(*bytes)
        }

        #[inline(always)]
        pub(in super::super) fn all(byte: u8) -> Self {
            Self([byte; LANES])
        }

        /// All bits of the lanes that are this.
        #[inline(always)]
        pub(in super::super) fn is(self, byte: u8) -> Self {
            Self(self.0.map(|lane| filled(lane == byte)))
        }

        /// All bits of the lanes that are below this as signed numbers, as whatever is not ASCII is.
        #[inline(always)]
        pub(in super::super) fn below(self, bound: i8) -> Self {
            Self(self.0.map(|lane| filled(lane.cast_signed() < bound)))
        }

        #[inline(always)]
        pub(in super::super) fn and(self, other: Self) -> Self {
            self.with(other, |a, b| a & b)
        }

        #[inline(always)]
        pub(in super::super) fn or(self, other: Self) -> Self {
            self.with(other, |a, b| a | b)
        }

        #[inline(always)]
        pub(in super::super) fn xor(self, other: Self) -> Self {
            self.with(other, |a, b| a ^ b)
        }

        #[inline(always)]
        pub(in super::super) fn wrapping_sub(self, byte: u8) -> Self {
            Self(self.0.map(|lane| lane.wrapping_sub(byte)))
        }

        #[inline(always)]
        pub(in super::super) fn saturating_sub(self, byte: u8) -> Self {
            Self(self.0.map(|lane| lane.saturating_sub(byte)))
        }

        /// The upper four bits of each.
        #[inline(always)]
        pub(in super::super) fn high_nibbles(self) -> Self {
            Self(self.0.map(|lane| lane >> 4))
        }

        /// The table's byte at each lane's index; 0 where it has none.
        #[inline(always)]
        pub(in super::super) fn look_up(self, table: Self) -> Self {
            let at = |lane: u8| table.0.get(usize::from(lane)).copied();
            Self(self.0.map(|lane| at(lane).unwrap_or_default()))
        }

        /// What stood so many places before, 1 to 3, where the lanes `before` came before these.
        #[inline(always)]
        pub(in super::super) fn shifted<const PLACES: usize>(self, before: Self) -> Self {
            let mut lanes = before.0;
            lanes.rotate_right(PLACES);
            for (lane, byte) in lanes.iter_mut().skip(PLACES).zip(self.0) {
                *lane = byte;
            }
            Self(lanes)
        }

        /// The highest bit of each, that of the first lane lowest.
        #[inline(always)]
        pub(in super::super) fn bits(self) -> u16 {
            let bits = self.0.iter().rev();
            bits.fold(0, |bits, lane| bits << 1 | u16::from(lane >> 7))
        }

        /// Whether any bit of any is set.
        #[inline(always)]
        pub(in super::super) fn any(self) -> bool {
            self.0 != [0; LANES]
        }

        #[inline(always)]
        fn with(self, other: Self, of: impl Fn(u8, u8) -> u8) -> Self {
            let mut lanes = self.0;
            for (lane, other) in lanes.iter_mut().zip(other.0) {
                *lane = of(*lane, other);
            }
            Self(lanes)
        }
    }

    const fn filled(is: bool) -> u8 {
        if is { 0xFF } else { 0 }
    }
}
