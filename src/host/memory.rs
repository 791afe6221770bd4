//! What every request does with memory, quicker for little of it than the standard library and V8: taking and giving back
//! blocks, comparing, copying.
#![expect(
    unsafe_code,
    reason = "an allocator's blocks and the C library's functions are pointers and sizes"
)]

use core::arch::wasm32::{u8x16_all_true, u8x16_eq, v128, v128_and, v128_load};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;

/// The standard library's allocator, and in front of it the small blocks that were freed last, by size: what one request
/// gives back the next one takes, at a third of what it takes to search for room and to join what is free.
#[derive(Debug)]
pub(super) struct Allocator {
    kept: [Kept; Self::SIZES],
}

/// Blocks of one size, each of which begins with the address of the next.
#[derive(Debug)]
struct Kept {
    first: Cell<*mut u8>,
    count: Cell<u32>,
}

// SAFETY: a module of this ABI has one thread.
unsafe impl Sync for Allocator {}

impl Allocator {
    /// What the standard library's allocator adds to a block, and rounds up with it to 16: as much is a block of ours.
    const HEAD: usize = 4;
    /// Sizes up to this are kept, in steps of 16 bytes.
    const LARGE: usize = 2048;
    const SIZES: usize = Self::LARGE >> 4;
    /// How many blocks of a size: what a reload leaves behind goes back, and little memory waits for nothing.
    const MOST: u32 = 16;
    /// What the standard library's allocator aligns everything to.
    const ALIGN: usize = 8;

    pub(super) const fn new() -> Self {
        Self {
            kept: [const {
                Kept {
                    first: Cell::new(ptr::null_mut()),
                    count: Cell::new(0),
                }
            }; Self::SIZES],
        }
    }

    /// Where the blocks are that such a one is kept with, and the size that all of those have.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "several times for each allocation")]
    fn place(&self, layout: Layout) -> Option<(&Kept, usize)> {
        if layout.align() > Self::ALIGN {
            return None;
        }
        // Of no block is the size 0.
        let last = layout.size().wrapping_add(Self::HEAD).wrapping_sub(1);
        let kept = self.kept.get(last >> 4)?;
        Some((kept, (last | 15).wrapping_add(1).wrapping_sub(Self::HEAD)))
    }
}

// SAFETY: a block that is kept was freed and is handed out once; it has the size and the alignment of every layout of its
// place. All others are the standard library's.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((kept, size)) = self.place(layout) else {
            // SAFETY: the caller's promise.
            return unsafe { System.alloc(layout) };
        };
        let first = kept.first.get();
        if first.is_null() {
            // SAFETY: not of size 0, and of a size far from the greatest.
            return unsafe { System.alloc(Layout::from_size_align_unchecked(size, Self::ALIGN)) };
        }
        // SAFETY: what is kept begins with an address.
        kept.first
            .set(unsafe { first.cast::<*mut u8>().read_unaligned() });
        kept.count.set(kept.count.get().wrapping_sub(1));
        first
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match self.place(layout) {
            Some((kept, _)) if kept.count.get() < Self::MOST => {
                // SAFETY: nobody uses the block any more, and the smallest has room for an address.
                unsafe { block.cast::<*mut u8>().write_unaligned(kept.first.get()) };
                kept.first.set(block);
                kept.count.set(kept.count.get().wrapping_add(1));
            }
            Some((_, size)) => {
                // SAFETY: allocated with this layout.
                unsafe {
                    let layout = Layout::from_size_align_unchecked(size, Self::ALIGN);
                    System.dealloc(block, layout);
                }
            }
            // SAFETY: the caller's promise.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        match (self.place(layout), self.place(new)) {
            (Some((_, size)), Some((_, new_size))) if size == new_size => block,
            // SAFETY: the caller's promise.
            (None, None) => unsafe { System.realloc(block, layout, new_size) },
            _ => {
                // SAFETY: the new block is another one, and both have room for the smaller size.
                unsafe {
                    let to = self.alloc(new);
                    if !to.is_null() {
                        ptr::copy_nonoverlapping(block, to, layout.size().min(new_size));
                        self.dealloc(block, layout);
                    }
                    to
                }
            }
        }
    }
}

/// What every comparison of names and texts comes to. The C library's takes the bytes one by one.
///
/// # Safety
/// `size` bytes can be read at both.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, size: usize) -> i32 {
    const BLOCK: usize = size_of::<v128>();
    const WORD: usize = size_of::<u64>();
    const HALF: usize = size_of::<u32>();
    let difference = |x: u64, y: u64| {
        // The lowest byte is the first.
        let first = (x ^ y).trailing_zeros() & !7;
        let byte = |word: u64| i32::from((word >> first).to_le_bytes()[0]);
        byte(x).wrapping_sub(byte(y))
    };
    // SAFETY: what is read is within the size.
    unsafe {
        if size < WORD {
            if size == 0 {
                return 0;
            }
            // Bytes that are read twice differ only if they do where they are read first.
            let short = |of: *const u8| {
                if size >= HALF {
                    let half = |at| u32::from_le(of.add(at).cast::<u32>().read_unaligned());
                    u64::from(half(0)) | u64::from(half(size.wrapping_sub(HALF))) << 32
                } else {
                    let byte = |at| u64::from(*of.add(at));
                    byte(0) | byte(size >> 1) << 8 | byte(size.wrapping_sub(1)) << 16
                }
            };
            let (x, y) = (short(a), short(b));
            return if x == y { 0 } else { difference(x, y) };
        }
        let word = |of: *const u8, at| u64::from_le(of.add(at).cast::<u64>().read_unaligned());
        let block = |of: *const u8, at| v128_load(of.add(at).cast());
        let same = |at: usize| u8x16_eq(block(a, at), block(b, at));
        // Most texts that are compared are this long, or were told apart by their lengths.
        if (BLOCK..=2 * BLOCK).contains(&size)
            && u8x16_all_true(v128_and(same(0), same(size.wrapping_sub(BLOCK))))
        {
            return 0;
        }
        let mut at = 0_usize;
        // Most long texts that are compared are the same.
        while size.wrapping_sub(at) >= 4 * BLOCK {
            let first = v128_and(same(at), same(at.wrapping_add(BLOCK)));
            let (third, fourth) = (at.wrapping_add(2 * BLOCK), at.wrapping_add(3 * BLOCK));
            if !u8x16_all_true(v128_and(first, v128_and(same(third), same(fourth)))) {
                break;
            }
            at = at.wrapping_add(4 * BLOCK);
        }
        while size.wrapping_sub(at) >= BLOCK && u8x16_all_true(same(at)) {
            at = at.wrapping_add(BLOCK);
        }
        while at < size {
            // What of the last word was compared before is the same.
            let from = at.min(size.wrapping_sub(WORD));
            let (x, y) = (word(a, from), word(b, from));
            if x != y {
                return difference(x, y);
            }
            at = at.wrapping_add(WORD);
        }
    }
    0
}

/// What every copy comes to: the last step of `make build` has it called in place of `memory.copy`, for which Envoy's V8
/// leaves the module. Most copies are of a few bytes.
///
/// # Safety
/// `size` bytes can be read at `from` and written at `to`, which may overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn copy_bytes(to: *mut u8, from: *const u8, size: usize) {
    // SAFETY: within the size; all is read before anything is written.
    unsafe {
        match size {
            0 => {}
            1..4 => {
                let (first, last) = (*from, *from.add(size.wrapping_sub(1)));
                let middle = *from.add(size >> 1);
                *to = first;
                *to.add(size >> 1) = middle;
                *to.add(size.wrapping_sub(1)) = last;
            }
            4..8 => copy_ends::<u32>(to, from, size),
            8..16 => copy_ends::<u64>(to, from, size),
            16..=32 => copy_ends::<v128>(to, from, size),
            33..=64 => copy_ends::<[v128; 2]>(to, from, size),
            _ => ptr::copy(from, to, size),
        }
    }
}

/// Copies what is as long as one `T`, as two, or in between: its first bytes and its last, some of them perhaps twice.
///
/// # Safety
/// As for [`copy_bytes`], of a `size` like that.
#[inline(always)]
#[expect(clippy::inline_always, reason = "a few instructions")]
unsafe fn copy_ends<T: Copy>(to: *mut u8, from: *const u8, size: usize) {
    let behind = size.wrapping_sub(size_of::<T>());
    // SAFETY: within the size; all is read before anything is written.
    unsafe {
        let first = from.cast::<T>().read_unaligned();
        let last = from.add(behind).cast::<T>().read_unaligned();
        to.cast::<T>().write_unaligned(first);
        to.add(behind).cast::<T>().write_unaligned(last);
    }
}
