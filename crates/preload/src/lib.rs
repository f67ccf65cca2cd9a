//! `libmorecore.so`: the C names of malloc(3), each forwarding to `morecore_malloc::c`.
//!
//! Built with `panic = "abort"` (as every shipped profile is) it is `no_std` and links libc only.
#![cfg_attr(panic = "abort", no_std)]

/// A panic is a broken invariant of ours: abort, without unwinding or allocating.
#[cfg(panic = "abort")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
