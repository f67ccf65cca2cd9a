//! Children: to start one, to end it, and to learn what it used.
//!
//! ```text
//!   fork --> its work, with the descriptors that it was left --> _exit
//!     |        ^ ends with the thread that started it (PR_SET_PDEATHSIG)
//!     +------> a pid, and a descriptor that is readable from its end on (pidfd)
//! ```
//!
//! Promises: nothing here allocates; a child never goes on as its parent.
//!
//! Source: fork(2), pidfd_open(2), close_range(2), prctl(2), wait4(2), getrusage(2).

use super::{id, stat};
use crate::descriptor::{self, Descriptor};
use crate::{Errno, Failed};

/// A child of fork.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    end: Descriptor,
}

/// Starts a child: a copy of this process that does `work` and ends. Of the descriptors beyond the
/// standard ones it has `kept` alone, so `work` must use no other. It does not outlive the thread
/// that started it.
///
/// # Errors
/// As fork(2) and `pidfd_open`(2); `EBUSY` where other threads run, because what they have in hand
/// would stay in hand for ever in the child.
pub fn fork(kept: [&Descriptor; 2], work: impl FnOnce()) -> Result<Child, Failed> {
    let parent = id();
    if stat(parent).is_some_and(|found| found.threads > 1) {
        return Err(Failed { call: "fork", errno: Errno(libc::EBUSY) });
    }
    // SAFETY: no other thread runs, so the child finds nothing half done.
    match unsafe { libc::fork() } {
        -1 => Err(Failed::last("fork")),
        0 => {
            live(parent, kept, work);
            unreachable!("a child ends in `live`")
        }
        pid => Child::new(pid as u32),
    }
}

/// A child's whole life.
fn live(parent: u32, kept: [&Descriptor; 2], work: impl FnOnce()) {
    let end = EndHere;
    // SAFETY: the calls take no pointers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // SAFETY: `getppid` has no preconditions and cannot fail.
    let is_orphan = unsafe { libc::getppid() } as u32 != parent;
    let [one, two] = kept.map(|kept| kept.number() as u32);
    let (low, high) = (one.min(two), one.max(two));
    close(3, low.saturating_sub(1));
    close(low.saturating_add(1).max(3), high.saturating_sub(1));
    close(high.saturating_add(1).max(3), u32::MAX);
    if !is_orphan {
        work();
    }
    drop(end);
}

/// Closes the descriptors from `first` to `last`.
fn close(first: u32, last: u32) {
    if first > last {
        return;
    }
    // SAFETY: no pointers are passed; nobody in this process uses these descriptors any more.
    let failed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if failed != 0 {
        close_one_by_one(first, last);
    }
}

/// The same where the kernel has no `close_range` (before 5.9), or a filter refuses it.
fn close_one_by_one(first: u32, last: u32) {
    /// What a process can have unless somebody raised it (`fs.nr_open`).
    const NUMBERS: u64 = 1 << 20;
    let most = descriptor::limit().map_or(NUMBERS, |limit| limit.most.min(NUMBERS)) as u32;
    for number in first..=last.min(most) {
        // SAFETY: no pointers are passed; as in `close`.
        unsafe { libc::close(number as i32) };
    }
}

/// Ends the process when it is dropped, also by a panic: a child never goes on as its parent.
struct EndHere;

impl Drop for EndHere {
    fn drop(&mut self) {
        // SAFETY: `_exit` has no preconditions.
        unsafe { libc::_exit(0) };
    }
}

impl Child {
    fn new(pid: u32) -> Result<Self, Failed> {
        // SAFETY: no pointers are passed.
        let made = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        // SAFETY: `made` is what pidfd_open returned in the line above.
        match unsafe { Descriptor::from_call("pidfd_open", made as i32) } {
            Ok(end) => Ok(Self { pid, end }),
            Err(failed) => {
                kill(pid);
                wait(pid)?;
                Err(failed)
            }
        }
    }

    /// Returns its number.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns a descriptor that is readable from the child's end on.
    #[must_use]
    pub const fn descriptor(&self) -> &Descriptor {
        &self.end
    }

    /// Ends it at once. Its number is its own until it is waited for.
    pub fn kill(&self) {
        kill(self.pid);
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// As [`wait`].
    pub fn wait(self) -> Result<Ended, Failed> {
        wait(self.pid)
    }
}

fn kill(pid: u32) {
    // SAFETY: no pointers are passed. It fails only if the process is gone.
    unsafe { libc::kill(pid as i32, libc::SIGKILL) };
}

/// How a child ended, and what it and those of its own children that it waited for have used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The status as wait(2) packs it.
    pub status: i32,
    /// Processor time in the program, in microseconds.
    pub user_us: u64,
    /// Processor time in the kernel, in microseconds.
    pub system_us: u64,
    /// The most memory that one of them had resident at a time, in bytes. Not less than its parent
    /// had when it was started: until it executes a program, a child is resident in its parent's.
    pub peak: u64,
}

/// Waits for a child's end.
///
/// # Errors
/// As wait4(2) has it.
pub fn wait(pid: u32) -> Result<Ended, Failed> {
    let mut status = 0;
    let mut used = core::mem::MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: the status and the structure are ours to write.
        let found = unsafe { libc::wait4(pid as i32, &raw mut status, 0, used.as_mut_ptr()) };
        if found >= 0 {
            break;
        }
        let failed = Failed::last("wait4");
        if failed.errno.0 != libc::EINTR {
            return Err(failed);
        }
    }
    // SAFETY: the call filled it, and all zeroes is a valid one as well.
    let used = unsafe { used.assume_init() };
    let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    // Linux counts `ru_maxrss` in KiB.
    let peak = used.ru_maxrss as u64 * 1024;
    Ok(Ended { status, user_us: micros(used.ru_utime), system_us: micros(used.ru_stime), peak })
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::Ordering::{Acquire, Release};

    use super::super::SharedWords;
    use super::*;

    extern crate std;

    #[test]
    fn an_end_tells_what_was_used() {
        let mut shell = std::process::Command::new("sh");
        #[expect(clippy::zombie_processes, reason = "`wait` waits for it")]
        let child = shell.args(["-c", "exit 7"]).spawn().unwrap();
        let ended = wait(child.id()).unwrap();
        assert_eq!(ended.status, 7 << 8);
        assert!(ended.peak > 0);
        assert_eq!(wait(child.id()).unwrap_err().errno.0, libc::ECHILD);
    }

    #[test]
    fn what_is_not_kept_is_closed_by_a_kernel_without_close_range_too() {
        let other = crate::ready::Waker::new().unwrap();
        // SAFETY: the child uses system calls only, and ends with `_exit`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            close_one_by_one(3, u32::MAX);
            let is_open = other.descriptor().write(&[0; 8]).is_ok();
            // SAFETY: `_exit` has no preconditions.
            unsafe { libc::_exit(i32::from(is_open)) };
        }
        assert_eq!(wait(pid as u32).unwrap().status, 0);
    }

    #[test]
    fn a_child_shares_words_keeps_one_descriptor_and_does_not_go_on_as_its_parent() {
        let words = SharedWords::new(4).unwrap();
        let waker = crate::ready::Waker::new().unwrap();
        let other = crate::ready::Waker::new().unwrap();
        let among_threads = fork([waker.descriptor(); 2], || ()).unwrap_err();
        assert_eq!(among_threads.errno.0, libc::EBUSY);
        // SAFETY: the child uses atomics and system calls only, and ends with `_exit`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let end = EndHere;
            let child = fork([waker.descriptor(); 2], || {
                words[0].store(u64::from(id()), Release);
                words[1].store(u64::from(waker.descriptor().write(&[0; 8]).is_ok()), Release);
                words[2].store(u64::from(other.descriptor().write(&[0; 8]).is_err()), Release);
                panic!("as a child may");
            });
            let ended = child.and_then(|child| {
                words[3].store(u64::from(child.pid()), Release);
                child.wait()
            });
            assert!(ended.is_ok());
            drop(end);
        }
        wait(pid as u32).unwrap();
        assert_ne!(words[0].load(Acquire), 0);
        assert_eq!(words[0].load(Acquire), words[3].load(Acquire));
        assert_eq!((words[1].load(Acquire), words[2].load(Acquire)), (1, 1));
    }
}
