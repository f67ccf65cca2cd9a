//! `libsnmalloc.so`: snmalloc under the C names.

use core::ffi::{c_int, c_void};

use snmalloc_sys as _;

#[path = "../../names.rs"]
#[macro_use]
mod names;

names! {
    malloc => fn sn_malloc(bytes: usize) -> *mut c_void;
    calloc => fn sn_calloc(count: usize, bytes: usize) -> *mut c_void;
    realloc => fn sn_realloc(payload: *mut c_void, bytes: usize) -> *mut c_void;
    free => fn sn_free(payload: *mut c_void);
    posix_memalign => fn sn_posix_memalign(place: *mut *mut c_void, align: usize, bytes: usize) -> c_int;
    aligned_alloc => fn sn_aligned_alloc(align: usize, bytes: usize) -> *mut c_void;
    memalign => fn sn_memalign(align: usize, bytes: usize) -> *mut c_void;
    reallocarray => fn sn_reallocarray(payload: *mut c_void, count: usize, bytes: usize) -> *mut c_void;
    valloc => fn sn_valloc(bytes: usize) -> *mut c_void;
    pvalloc => fn sn_pvalloc(bytes: usize) -> *mut c_void;
    malloc_usable_size => fn sn_malloc_usable_size(payload: *mut c_void) -> usize;
}
