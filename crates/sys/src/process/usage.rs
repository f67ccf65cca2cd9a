//! What processes have used of the processors.
//!
//! Source: getrusage(2).

use crate::Failed;

/// What processes have used of the processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// Processor time outside the kernel, in microseconds.
    pub user_us: u64,
    /// Processor time in the kernel, in microseconds.
    pub system_us: u64,
}

/// What this process has used.
///
/// # Errors
/// As getrusage(2).
pub fn used() -> Result<Used, Failed> {
    used_by(libc::RUSAGE_SELF)
}

/// What those children of this process have used that have ended and were waited for.
///
/// # Errors
/// As getrusage(2).
pub fn used_by_children() -> Result<Used, Failed> {
    used_by(libc::RUSAGE_CHILDREN)
}

fn used_by(who: i32) -> Result<Used, Failed> {
    let mut used = core::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the structure is ours to write.
    if unsafe { libc::getrusage(who, used.as_mut_ptr()) } != 0 {
        return Err(Failed::last("getrusage"));
    }
    // SAFETY: the call filled it, and all zeroes is a valid one as well.
    let used = unsafe { used.assume_init() };
    let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    Ok(Used { user_us: micros(used.ru_utime), system_us: micros(used.ru_stime) })
}

/// Has the C library's malloc give the memory back that is free in it, so that a child of fork does
/// not begin with a copy of it.
///
/// Source: malloc_trim(3).
pub fn give_free_memory_back() {
    // SAFETY: it has no preconditions; what is in use stays where it is.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_counted() {
        let before = used().unwrap();
        let sum = |used: Used| used.user_us + used.system_us;
        while sum(used().unwrap()) == sum(before) {}
        assert!(used_by_children().is_ok());
    }
}
