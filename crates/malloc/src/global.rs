//! The heap of this process as a Rust program's allocator.
//!
//! ```
//! #[global_allocator]
//! static HEAP: morecore_malloc::Morecore = morecore_malloc::Morecore;
//!
//! assert_eq!(vec![7; 1000].iter().sum::<i32>(), 7000);
//! ```

use core::alloc::{GlobalAlloc, Layout};

use crate::tiers;

/// What to name in `#[global_allocator]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Morecore;

/// What every payload is aligned to.
const ALIGN: usize = 16;

// SAFETY: the heap hands out payloads of at least the size and the alignment that were asked for,
// each to one owner until it is freed, and does not unwind.
unsafe impl GlobalAlloc for Morecore {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= ALIGN {
            return tiers::allocate(layout.size());
        }
        tiers::allocate_aligned(layout.size(), layout.align())
    }

    #[inline]
    unsafe fn dealloc(&self, payload: *mut u8, _layout: Layout) {
        // SAFETY: the caller gives back what is its own.
        unsafe { tiers::free(payload) };
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= ALIGN {
            return tiers::allocate_zeroed(layout.size());
        }
        let payload = tiers::allocate_aligned(layout.size(), layout.align());
        if !payload.is_null() {
            // SAFETY: the payload is new, and so long.
            unsafe { payload.write_bytes(0, layout.size()) };
        }
        payload
    }

    unsafe fn realloc(&self, payload: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        if layout.align() <= ALIGN {
            // SAFETY: the caller resizes what is its own.
            return unsafe { tiers::resize(payload, bytes) };
        }
        let moved = tiers::allocate_aligned(bytes, layout.align());
        if !moved.is_null() {
            let count = layout.size().min(bytes);
            // SAFETY: both are payloads of at least so many bytes, and the new one is nobody
            // else's.
            unsafe { moved.copy_from_nonoverlapping(payload, count) };
            // SAFETY: the caller gives the old one up.
            unsafe { tiers::free(payload) };
        }
        moved
    }
}
