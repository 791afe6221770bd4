//! What the module does with its own memory a hundred times a request: taking and giving back small blocks, and telling
//! whether bytes are the same.
//!
//! The standard library's allocator is good at large blocks. Small ones that were given back are kept by their size, and
//! the next one of a size is the last that was given back: memory that is still at hand, in a fifth of the instructions.
//! What is kept is never more than what was in use at one time.
#![expect(
    unsafe_code,
    reason = "an allocator hands out raw memory, and the C library's functions have C's interface"
)]

use std::ptr;

#[cfg(not(feature = "wee_alloc"))]
mod small {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::UnsafeCell;
    use std::ptr;

    /// Sizes of blocks are multiples of this.
    const STEP: usize = 16;
    const ALIGN: usize = 8;
    /// Larger ones are the standard library's.
    const MAX: usize = 1024;
    const CLASSES: usize = MAX / STEP;

    #[global_allocator]
    static SMALL: Small = Small(UnsafeCell::new([ptr::null_mut(); CLASSES]));

    /// The kept blocks of each size: the last one of each.
    struct Small(UnsafeCell<[*mut Kept; CLASSES]>);

    /// What stands in a block that is kept: the one before it.
    struct Kept(*mut Self);

    // SAFETY: the module has one thread, and nothing interrupts the allocator.
    unsafe impl Sync for Small {}

    /// The place of a block's size among the lists; `None` for a large one.
    fn class(layout: Layout) -> Option<usize> {
        // A size of 0, which is never asked for, becomes the largest.
        let class = layout.size().wrapping_sub(1) / STEP;
        (class < CLASSES && layout.align() <= ALIGN).then_some(class)
    }

    /// A block of the class, out of which any of its sizes can be cut.
    fn whole(class: usize) -> Layout {
        let size = class.wrapping_add(1).wrapping_mul(STEP);
        // SAFETY: the alignment is a power of two, and the size far below the largest.
        unsafe { Layout::from_size_align_unchecked(size, ALIGN) }
    }

    // SAFETY: a block goes only to the list of the class that it was allocated for, and comes from there or from the
    // standard library's allocator, with the size and alignment of the whole class.
    unsafe impl GlobalAlloc for Small {
        #[inline]
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            let Some(class) = class(layout) else {
                // SAFETY: the caller's promise.
                return unsafe { System.alloc(layout) };
            };
            // SAFETY: the class is one of the lists; what they point to is nobody's, and holds what `dealloc` wrote.
            unsafe {
                let list = self.0.get().cast::<*mut Kept>().add(class);
                let block = *list;
                if block.is_null() {
                    return System.alloc(whole(class));
                }
                *list = (*block).0;
                block.cast()
            }
        }

        #[inline]
        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            let Some(class) = class(layout) else {
                // SAFETY: the caller's promise.
                return unsafe { System.dealloc(block, layout) };
            };
            // SAFETY: as in `alloc`; the block is the caller's no more, is aligned for a pointer and has room for one.
            unsafe {
                let list = self.0.get().cast::<*mut Kept>().add(class);
                #[expect(
                    clippy::cast_ptr_alignment,
                    reason = "it was allocated with this alignment"
                )]
                let block = block.cast::<Kept>();
                (*block).0 = *list;
                *list = block;
            }
        }

        unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            // SAFETY: the caller promises that the size can be had with this alignment.
            let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
            match (class(layout), class(new)) {
                // SAFETY: the caller's promise.
                (None, None) => unsafe { System.realloc(block, layout, size) },
                (old, kept) if old == kept => block,
                // SAFETY: both blocks are as large as what is copied, and not the same.
                _ => unsafe {
                    let moved = self.alloc(new);
                    if !moved.is_null() {
                        ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                        self.dealloc(block, layout);
                    }
                    moved
                },
            }
        }
    }
}

/// The C library's, which compares byte by byte: here it is words. What is equal in Rust is found so by this function.
///
/// # Safety
/// Both point to `len` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
    // SAFETY: no read goes beyond `len` bytes, by the conditions around it.
    unsafe {
        let mut at = 0_usize;
        while at.wrapping_add(8) <= len {
            let order = words(a, b, at);
            if order != 0 {
                return order;
            }
            at = at.wrapping_add(8);
        }
        if at == len {
            return 0;
        }
        if len >= 8 {
            // The last word overlaps the one before it, which was equal.
            return words(a, b, len.wrapping_sub(8));
        }
        while at < len {
            let order = i32::from(*a.add(at)).wrapping_sub(i32::from(*b.add(at)));
            if order != 0 {
                return order;
            }
            at = at.wrapping_add(1);
        }
        0
    }
}

/// How the words at this place compare, by their first different byte.
///
/// # Safety
/// There are eight bytes at `at` of both.
#[inline]
unsafe fn words(a: *const u8, b: *const u8, at: usize) -> i32 {
    // SAFETY: the caller's promise; the different byte is one of the eight.
    unsafe {
        let different = ptr::read_unaligned(a.add(at).cast::<u64>())
            ^ ptr::read_unaligned(b.add(at).cast::<u64>());
        if different == 0 {
            return 0;
        }
        let at = at.wrapping_add((different.trailing_zeros() / 8) as usize);
        i32::from(*a.add(at)).wrapping_sub(i32::from(*b.add(at)))
    }
}
