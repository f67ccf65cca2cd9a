//! C++'s operators `new` and `delete`, in all their forms.
//!
//! ```text
//!   operator new --> malloc --> payload
//!                      | null
//!                      +--> the operator of the same name behind us (libstdc++'s, libc++'s)
//! ```
//!
//! A `new` that fails has to call the new handler and to throw `std::bad_alloc`: that is the C++
//! runtime's to do. So where there is no core, it jumps to the operator that the runtime has under
//! the same name, which asks our malloc again, and does all that C++ says. This library links no
//! C++ runtime, and unwinds nothing: its frames are gone when somebody throws.
//!
//! Source: ISO C++ 23, \[new.delete\]; the Itanium C++ ABI, 5.1.5.3 (names), for targets where
//! `size_t` is `unsigned long`.

use core::ffi::{CStr, c_char, c_void};

use morecore_malloc::c;
use morecore_malloc::line::abort;

use crate::Payload;

/// `new` of what is aligned to 16 bytes at most: a payload, or null.
extern "C" fn allocate(bytes: usize) -> Payload {
    c::malloc(bytes)
}

/// `new` of what is aligned to more.
extern "C" fn allocate_aligned(bytes: usize, align: usize) -> Payload {
    c::aligned_alloc(align, bytes)
}

/// The operator of this name that stands behind ours.
///
/// # Safety
/// - `name` is a C string.
unsafe extern "C" fn behind(name: *const c_char) -> *mut c_void {
    // SAFETY: the caller's duty.
    let name = unsafe { CStr::from_ptr(name) };
    match c::behind(name) {
        Some(operator) => operator.as_ptr(),
        None => {
            let name = name.to_str().unwrap_or("operator new");
            abort(format_args!("no memory for {name}, and no C++ runtime that could throw"))
        }
    }
}

/// Writes operators `new`: the name, the function that serves it, and for x86-64 what keeps the
/// arguments (the size, the alignment or a tag, a tag) for the operator behind: an odd number of
/// words, so that the stack is aligned for a call.
macro_rules! operators_new {
    ($keep:literal, $restore:literal: $($name:ident => $function:ident;)*) => {
        $(
            #[doc = concat!("C++'s operator of this name, by `", stringify!($function), "`.")]
            ///
            /// # Safety
            /// - As C++ has it.
            #[unsafe(no_mangle)]
            #[unsafe(naked)]
            unsafe extern "C" fn $name() {
                #[cfg(target_arch = "x86_64")]
                core::arch::naked_asm!(
                    $keep,
                    "call {function}",
                    $restore,
                    "test rax, rax",
                    "jz 2f",
                    "ret",
                    "2:",
                    $keep,
                    "lea rdi, [rip + 3f]",
                    "call {behind}",
                    $restore,
                    "jmp rax",
                    concat!("3: .asciz \"", stringify!($name), "\""),
                    function = sym $function,
                    behind = sym behind,
                );
                #[cfg(target_arch = "aarch64")]
                core::arch::naked_asm!(
                    "stp x29, x30, [sp, #-48]!",
                    "stp x0, x1, [sp, #16]",
                    "str x2, [sp, #32]",
                    "bl {function}",
                    "cbz x0, 2f",
                    "ldp x29, x30, [sp], #48",
                    "ret",
                    "2:",
                    "adr x0, 3f",
                    "bl {behind}",
                    "mov x16, x0",
                    "ldr x2, [sp, #32]",
                    "ldp x0, x1, [sp, #16]",
                    "ldp x29, x30, [sp], #48",
                    "br x16",
                    concat!("3: .asciz \"", stringify!($name), "\""),
                    ".balign 4",
                    function = sym $function,
                    behind = sym behind,
                );
            }
        )*
    };
}

operators_new! {
    "push rdi", "pop rdi":
    _Znwm => allocate;
    _Znam => allocate;
}

operators_new! {
    "push rdi; push rsi; push rdx", "pop rdx; pop rsi; pop rdi":
    _ZnwmRKSt9nothrow_t => allocate;
    _ZnamRKSt9nothrow_t => allocate;
    _ZnwmSt11align_val_t => allocate_aligned;
    _ZnamSt11align_val_t => allocate_aligned;
    _ZnwmSt11align_val_tRKSt9nothrow_t => allocate_aligned;
    _ZnamSt11align_val_tRKSt9nothrow_t => allocate_aligned;
}

/// What C++ calls `const std::nothrow_t &`: a tag that nobody looks at.
type Tag = *const c_void;

/// Writes operators `delete`: what each takes, and the function that does it.
macro_rules! operators_delete {
    ($($name:ident($($argument:ident: $type:ty),*) => $function:ident($($given:ident),*);)*) => {
        $(
            #[doc = concat!("C++'s operator of this name, by `c::", stringify!($function), "`.")]
            ///
            /// # Safety
            /// - As there.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name($($argument: $type),*) {
                // SAFETY: the duties of the caller are those of the function, passed on.
                unsafe { c::$function($($given),*) }
            }
        )*
    };
}

operators_delete! {
    _ZdlPv(it: Payload) => free(it);
    _ZdaPv(it: Payload) => free(it);
    _ZdlPvRKSt9nothrow_t(it: Payload, _tag: Tag) => free(it);
    _ZdaPvRKSt9nothrow_t(it: Payload, _tag: Tag) => free(it);
    _ZdlPvm(it: Payload, bytes: usize) => free_sized(it, bytes);
    _ZdaPvm(it: Payload, bytes: usize) => free_sized(it, bytes);
    _ZdlPvSt11align_val_t(it: Payload, _align: usize) => free(it);
    _ZdaPvSt11align_val_t(it: Payload, _align: usize) => free(it);
    _ZdlPvSt11align_val_tRKSt9nothrow_t(it: Payload, _align: usize, _tag: Tag) => free(it);
    _ZdaPvSt11align_val_tRKSt9nothrow_t(it: Payload, _align: usize, _tag: Tag) => free(it);
    _ZdlPvmSt11align_val_t(it: Payload, bytes: usize, align: usize)
        => free_aligned_sized(it, align, bytes);
    _ZdaPvmSt11align_val_t(it: Payload, bytes: usize, align: usize)
        => free_aligned_sized(it, align, bytes);
}
