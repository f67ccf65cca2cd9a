//! What rpmalloc must know of threads: when each begins, and when it ends.
//!
//! Source: rpmalloc's malloc.c, `ENABLE_PRELOAD`, which does the same.

use std::ffi::{c_int, c_void};
use std::mem;
use std::sync::OnceLock;

use libc::{pthread_attr_t, pthread_key_t, pthread_t};

/// What a thread runs.
type Work = extern "C" fn(*mut c_void) -> *mut c_void;

/// `pthread_create`, as the C library has it.
type Create =
    unsafe extern "C" fn(*mut pthread_t, *const pthread_attr_t, Work, *mut c_void) -> c_int;

/// What a thread was to run.
struct Start {
    work: Work,
    argument: *mut c_void,
}

unsafe extern "C" {
    fn rpmalloc_thread_initialize();
    fn rpmalloc_thread_finalize(gives_caches: c_int);
}

/// The key whose destructor sees the end of each thread.
static KEY: OnceLock<pthread_key_t> = OnceLock::new();

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    thread: *mut pthread_t,
    attributes: *const pthread_attr_t,
    work: Work,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: the name ends with a zero byte.
    let next = unsafe { libc::dlsym(libc::RTLD_NEXT, c"pthread_create".as_ptr()) };
    // SAFETY: the C library's function of this name is of this type.
    let create: Create = unsafe { mem::transmute::<*mut c_void, Create>(next) };
    let start = Box::into_raw(Box::new(Start { work, argument }));
    // SAFETY: the caller's duties, passed on; `begin` takes what it is given.
    unsafe { create(thread, attributes, begin, start.cast()) }
}

extern "C" fn begin(start: *mut c_void) -> *mut c_void {
    // SAFETY: a thread may call it at any time.
    unsafe { rpmalloc_thread_initialize() };
    // SAFETY: this is what `pthread_create` gave, to this thread alone.
    let Start { work, argument } = *unsafe { Box::from_raw(start.cast::<Start>()) };
    let key = *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: the key can be written.
        unsafe { libc::pthread_key_create(&raw mut key, Some(end)) };
        key
    });
    // SAFETY: the value is not null, so that the destructor is called.
    unsafe { libc::pthread_setspecific(key, (&raw const KEY).cast()) };
    work(argument)
}

unsafe extern "C" fn end(_value: *mut c_void) {
    // SAFETY: the thread ends; what it may still ask for makes it known again.
    unsafe { rpmalloc_thread_finalize(1) };
}
