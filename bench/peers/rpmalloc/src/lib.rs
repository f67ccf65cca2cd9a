//! `librpmalloc.so`: rpmalloc under the C names.

use core::ffi::{c_int, c_void};

use rpmalloc_sys as _;

#[path = "../../names.rs"]
#[macro_use]
mod names;
mod threads;

names! {
    malloc => fn rpmalloc(bytes: usize) -> *mut c_void;
    calloc => fn rpcalloc(count: usize, bytes: usize) -> *mut c_void;
    realloc => fn rprealloc(payload: *mut c_void, bytes: usize) -> *mut c_void;
    free => fn rpfree(payload: *mut c_void);
    posix_memalign => fn rpposix_memalign(place: *mut *mut c_void, align: usize, bytes: usize) -> c_int;
    aligned_alloc => fn rpaligned_alloc(align: usize, bytes: usize) -> *mut c_void;
    memalign => fn rpmemalign(align: usize, bytes: usize) -> *mut c_void;
    malloc_usable_size => fn rpmalloc_usable_size(payload: *mut c_void) -> usize;
}
