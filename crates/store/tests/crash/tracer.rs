//! Stops a child after each single instruction, so that a test can look at what it has done so far.
//!
//! ```text
//!   fork --> attach --> STOP --step--> . --step--> . ... --step--> STOP --> exit
//!                        |             |           |                 |
//!                      begin       each stop: the parent looks      end
//! ```
//!
//! Promises: every instruction of the operation in user space is a stop of its own (a system call
//! counts as one); the child is gone when the tracer is dropped, also by a panic.
//! Knows nothing of stores.
//! Source: ptrace(2), `PTRACE_SINGLESTEP`.

use std::io;

/// A child process that runs one operation, an instruction at a time.
pub(crate) struct Traced {
    pid: libc::pid_t,
}

/// How the child came to its last stop.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// One more instruction of the operation is done.
    Stepped,
    /// The operation is over.
    Over,
}

impl Traced {
    /// Forks a child that calls `prepare`, stops, and then runs `operation` under this tracer.
    /// Returns once it has stopped before the first instruction of `operation`.
    pub(crate) fn spawn<T>(prepare: impl FnOnce() -> T, operation: impl FnOnce(&mut T)) -> Self {
        // SAFETY: the child runs only `prepare` and `operation`, and then leaves without unwinding
        // or running exit handlers; glibc keeps malloc usable in a child of a threaded program.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork: {}", io::Error::last_os_error());
        if pid == 0 {
            let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let mut prepared = prepare();
                allow_tracing();
                stop();
                operation(&mut prepared);
                stop();
            }));
            // SAFETY: leaving at once is always allowed; nothing of the parent's is flushed.
            unsafe { libc::_exit(i32::from(ran.is_err())) }
        }
        let traced = Self { pid };
        assert_eq!(traced.wait(), libc::SIGSTOP, "the child did not come to its first stop");
        traced
    }

    /// The child's process id.
    pub(crate) fn pid(&self) -> u32 {
        u32::try_from(self.pid).expect("a pid is positive")
    }

    /// Runs one instruction of the child.
    pub(crate) fn step(&self) -> Stop {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: `pid` is our traced child, and it is stopped.
        let failed = unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, self.pid, none, none) };
        assert_eq!(failed, 0, "single step: {}", io::Error::last_os_error());
        match self.wait() {
            libc::SIGTRAP => Stop::Stepped,
            libc::SIGSTOP => Stop::Over,
            signal => panic!("the child was stopped by signal {signal}"),
        }
    }

    /// Waits until the child stops, and returns the signal that stopped it.
    fn wait(&self) -> i32 {
        let mut status = 0;
        // SAFETY: `status` is ours and writable.
        let waited = unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
        assert_eq!(waited, self.pid, "waitpid: {}", io::Error::last_os_error());
        assert!(libc::WIFSTOPPED(status), "the child ended early, with status {status:#x}");
        libc::WSTOPSIG(status)
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // SAFETY: it is our child, which nobody has waited for to its end.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        // SAFETY: a null status is allowed.
        unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
    }
}

/// Lets the parent trace this process.
fn allow_tracing() {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: `PTRACE_TRACEME` ignores its other arguments.
    let failed = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, none, none) };
    assert_eq!(failed, 0, "traceme: {}", io::Error::last_os_error());
}

/// Stops this process until the parent goes on with it.
fn stop() {
    // SAFETY: raising a signal has no preconditions.
    unsafe { libc::raise(libc::SIGSTOP) };
}
