//! `libmorecore.so`: the C names of malloc(3), each forwarding to `morecore_malloc::c`, and C++'s
//! operators.
//!
//! Built with `panic = "abort"` (as every shipped profile is) it is `no_std` and links libc only.
#![cfg_attr(panic = "abort", no_std)]

mod operators;

use core::ffi::{c_int, c_void};

use morecore_malloc::c;

/// What C calls `void *`, and what the heap hands out.
type Payload = *mut c_void;

/// A panic is a broken invariant of ours: say which, and end, without unwinding or allocating.
#[cfg(panic = "abort")]
#[panic_handler]
fn panic(information: &core::panic::PanicInfo<'_>) -> ! {
    morecore_malloc::line::abort(format_args!("{}", information.message()))
}

/// Writes the C names: what each takes and gives, and the function that does it.
macro_rules! c_names {
    ($($names:ident => fn $function:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        $(
            #[doc = concat!("As `morecore_malloc::c::", stringify!($function), "`.")]
            ///
            /// # Safety
            /// - As there.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $names($($argument: $type),*) $(-> $result)? {
                // SAFETY: the duties of the caller are those of the function, passed on.
                #[allow(unused_unsafe, reason = "some of them have no duties")]
                unsafe { c::$function($($argument),*) }
            }
        )*
    };
}

c_names! {
    malloc => fn malloc(bytes: usize) -> Payload;
    calloc => fn calloc(count: usize, bytes: usize) -> Payload;
    realloc => fn realloc(payload: Payload, bytes: usize) -> Payload;
    reallocarray => fn reallocarray(payload: Payload, count: usize, bytes: usize) -> Payload;
    free => fn free(payload: Payload);
    cfree => fn free(payload: Payload);
    free_sized => fn free_sized(payload: Payload, bytes: usize);
    free_aligned_sized => fn free_aligned_sized(payload: Payload, align: usize, bytes: usize);
    posix_memalign => fn posix_memalign(place: *mut Payload, align: usize, bytes: usize) -> c_int;
    aligned_alloc => fn aligned_alloc(align: usize, bytes: usize) -> Payload;
    memalign => fn memalign(align: usize, bytes: usize) -> Payload;
    valloc => fn valloc(bytes: usize) -> Payload;
    pvalloc => fn pvalloc(bytes: usize) -> Payload;
    malloc_usable_size => fn malloc_usable_size(payload: Payload) -> usize;
    malloc_trim => fn malloc_trim(pad: usize) -> c_int;
    mallopt => fn mallopt(parameter: c_int, value: c_int) -> c_int;
    mallinfo => fn mallinfo() -> c::Mallinfo;
    mallinfo2 => fn mallinfo2() -> c::Mallinfo2;
    malloc_stats => fn malloc_stats();
    malloc_info => fn malloc_info(options: c_int, file: *mut c_void) -> c_int;
    __libc_malloc => fn malloc(bytes: usize) -> Payload;
    __libc_calloc => fn calloc(count: usize, bytes: usize) -> Payload;
    __libc_realloc => fn realloc(payload: Payload, bytes: usize) -> Payload;
    __libc_reallocarray => fn reallocarray(payload: Payload, count: usize, bytes: usize) -> Payload;
    __libc_free => fn free(payload: Payload);
    __libc_memalign => fn memalign(align: usize, bytes: usize) -> Payload;
    __libc_valloc => fn valloc(bytes: usize) -> Payload;
    __libc_pvalloc => fn pvalloc(bytes: usize) -> Payload;
    __libc_mallopt => fn mallopt(parameter: c_int, value: c_int) -> c_int;
    __libc_mallinfo => fn mallinfo() -> c::Mallinfo;
    __posix_memalign => fn posix_memalign(place: *mut Payload, align: usize, bytes: usize) -> c_int;
}

/// The loader calls this before the program begins.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = at_start;

extern "C" fn at_start() {
    c::at_start();
}

/// The loader calls this when the program ends.
#[used]
#[unsafe(link_section = ".fini_array")]
static AT_EXIT: extern "C" fn() = at_exit;

extern "C" fn at_exit() {
    c::at_exit();
}
