//! One word that every thread has of its own: where its [`Thread`] record is.
//!
//! `thread_local!` in a shared library is a function call (the general dynamic model). A symbol of
//! our own in `.tdata`, reached through `@GOTTPOFF` (the initial-exec model), is two loads, and in
//! an executable the linker makes one of them. A word of eight bytes always finds room in what
//! the loader keeps for libraries that are loaded later.
//!
//! Promises: the word of a new thread holds the address of [`NOBODY`], so that the fast paths need
//! no question whether there is a record. Whoever reads or writes it needs no lock: it is a
//! thread's own.
//!
//! Source: U. Drepper, ELF Handling For Thread-Local Storage.

use core::arch::{asm, global_asm};

use crate::thread::{NOBODY, Thread};

#[cfg(target_arch = "x86_64")]
global_asm!(
    ".pushsection .tdata,\"awT\",@progbits",
    ".hidden morecore_thread",
    ".globl morecore_thread",
    ".type morecore_thread,@object",
    ".size morecore_thread,8",
    ".balign 8",
    "morecore_thread: .quad {nobody}",
    ".popsection",
    nobody = sym NOBODY,
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    ".pushsection .tdata,\"awT\",%progbits",
    ".hidden morecore_thread",
    ".globl morecore_thread",
    ".type morecore_thread,%object",
    ".size morecore_thread,8",
    ".balign 8",
    "morecore_thread: .xword {nobody}",
    ".popsection",
    nobody = sym NOBODY,
);

/// Returns this thread's word.
#[inline(always)]
pub(crate) fn thread() -> *mut Thread {
    let thread: *mut Thread;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the offset in the global offset table is that of our word behind the thread pointer;
    // reading it touches nothing else.
    unsafe {
        asm!(
            "mov {thread}, qword ptr [rip + morecore_thread@GOTTPOFF]",
            "mov {thread}, qword ptr fs:[{thread}]",
            thread = out(reg) thread,
            options(nostack, preserves_flags, readonly),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        asm!(
            "mrs {base}, tpidr_el0",
            "adrp {thread}, :gottprel:morecore_thread",
            "ldr {thread}, [{thread}, :gottprel_lo12:morecore_thread]",
            "ldr {thread}, [{base}, {thread}]",
            base = out(reg) _,
            thread = out(reg) thread,
            options(nostack, preserves_flags, readonly),
        );
    }
    thread
}

/// Sets this thread's word.
pub(crate) fn set_thread(thread: *mut Thread) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as in `thread`; the word is this thread's own, and nobody has a reference to it.
    unsafe {
        asm!(
            "mov {offset}, qword ptr [rip + morecore_thread@GOTTPOFF]",
            "mov qword ptr fs:[{offset}], {thread}",
            offset = out(reg) _,
            thread = in(reg) thread,
            options(nostack, preserves_flags),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        asm!(
            "mrs {base}, tpidr_el0",
            "adrp {offset}, :gottprel:morecore_thread",
            "ldr {offset}, [{offset}, :gottprel_lo12:morecore_thread]",
            "str {thread}, [{base}, {offset}]",
            base = out(reg) _,
            offset = out(reg) _,
            thread = in(reg) thread,
            options(nostack, preserves_flags),
        );
    }
}

/// Returns a number that no other thread of this process has meanwhile: where the thread's own part
/// of memory is.
#[inline(always)]
pub(crate) fn thread_pointer() -> u64 {
    let pointer: u64;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the first word behind the thread pointer is the thread pointer itself; reading it
    // touches nothing else.
    unsafe {
        asm!(
            "mov {pointer}, qword ptr fs:[0]",
            pointer = out(reg) pointer,
            options(nostack, preserves_flags, readonly),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: reading the register touches nothing.
    unsafe {
        asm!(
            "mrs {pointer}, tpidr_el0",
            pointer = out(reg) pointer,
            options(nostack, preserves_flags, nomem),
        );
    }
    pointer
}
