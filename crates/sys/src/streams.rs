//! The lock that the C library has for the list of its streams.
//!
//! `fork` takes it after all handlers (pthread_atfork(3)) have run, so a handler that takes locks
//! of its own must take this one before them: a thread that has it, to flush all streams for
//! example, may be about to wait for those. The same thread may take it again.
//!
//! Promises: where the C library is not glibc, there is no such lock, and nothing is done.
//! Source: glibc, sysdeps/nptl/fork.c and libio/genops.c.

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    #[link_name = "_IO_list_lock"]
    safe fn list_lock();
    #[link_name = "_IO_list_unlock"]
    safe fn list_unlock();
    #[link_name = "_IO_list_resetlock"]
    safe fn list_resetlock();
}

/// Takes the lock.
pub fn hold() {
    #[cfg(target_env = "gnu")]
    list_lock();
}

/// Lets it go once.
pub fn let_go() {
    #[cfg(target_env = "gnu")]
    list_unlock();
}

/// Makes it a free lock, in the child of a fork: who had it is not there.
pub fn reset() {
    #[cfg(target_env = "gnu")]
    list_resetlock();
}
