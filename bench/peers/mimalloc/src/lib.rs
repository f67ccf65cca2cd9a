//! `libmimalloc3.so`: mimalloc 3 under the C names.

use core::ffi::{c_int, c_void};

use libmimalloc_sys as _;

#[path = "../../names.rs"]
#[macro_use]
mod names;

names! {
    malloc => fn mi_malloc(bytes: usize) -> *mut c_void;
    calloc => fn mi_calloc(count: usize, bytes: usize) -> *mut c_void;
    realloc => fn mi_realloc(payload: *mut c_void, bytes: usize) -> *mut c_void;
    free => fn mi_free(payload: *mut c_void);
    posix_memalign => fn mi_posix_memalign(place: *mut *mut c_void, align: usize, bytes: usize) -> c_int;
    aligned_alloc => fn mi_aligned_alloc(align: usize, bytes: usize) -> *mut c_void;
    memalign => fn mi_memalign(align: usize, bytes: usize) -> *mut c_void;
    reallocarray => fn mi_reallocarray(payload: *mut c_void, count: usize, bytes: usize) -> *mut c_void;
    valloc => fn mi_valloc(bytes: usize) -> *mut c_void;
    pvalloc => fn mi_pvalloc(bytes: usize) -> *mut c_void;
    malloc_usable_size => fn mi_usable_size(payload: *mut c_void) -> usize;
}
