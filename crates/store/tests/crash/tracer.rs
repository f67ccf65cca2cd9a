//! Stops a child while it runs one operation, so that a test can look at what it has done so far.
//!
//! ```text
//!   fork --> prepare --> . --run--> STOP --run--> STOP ... --run--> over
//!                        |           |             |
//!                      begin        each: the parent looks, and says go on
//! ```
//!
//! The child watches itself. The memory that others share is read-only for it while it runs, so a
//! write there is a fault: it opens the page, does this one instruction under the processor's trap
//! flag, closes the page again, and tells its parent. Where nothing is written there, nothing
//! changes that anybody else could see, so a kill there is the same kill as at the last stop.
//!
//! Promises: every instruction that writes to the memory is a stop of its own (each turn of a
//! repeated one, too; a system call counts as one instruction); the child is gone when this is
//! dropped, and when the parent's thread ends.
//! Knows nothing of stores. It is for the processors of the x86-64 family alone.
//! Source: sigaction(2), mprotect(2); Intel's manual, volume 3, "Single-Stepping".

use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
use std::time::Duration;

use morecore_sys::futex;

use crate::image::{PAGE, Shared};

/// Which instructions are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grain {
    /// Those that write to the memory; the others run at full speed.
    Writes,
    /// Each is trapped and counted; those that write to the memory are told of.
    Counted,
    /// Each is told of: for memory that is mapped elsewhere, too.
    Each,
}

/// How the child came to its last stop.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It has just done an instruction that may have changed the memory: in `near`, or anywhere.
    Stepped { near: Option<Range<usize>> },
    /// The operation is over.
    Over,
}

/// A child process that runs one operation.
pub(crate) struct Traced {
    pid: libc::pid_t,
    bytes: usize,
    told: Shared<Told>,
}

/// What child and parent say to one another.
#[derive(Default)]
struct Told {
    /// Whose turn it is.
    turn: AtomicU32,
    /// The first byte that was written last, from where the memory begins; or [`ANYWHERE`].
    at: AtomicUsize,
    instructions: AtomicU64,
}

/// Turns: the child runs; the parent looks; the operation is over.
const RUN: u32 = 0;
const LOOK: u32 = 1;
const OVER: u32 = 2;

/// A system call may have written, or nobody knows.
const ANYWHERE: usize = usize::MAX;

/// The most bytes that one instruction writes: a register of the processor's largest kind.
const WRITTEN_MOST: usize = 64;

/// How long the parent waits before it looks whether the child still lives.
const NAP: Duration = Duration::from_millis(200);

impl Traced {
    /// Forks a child that calls `prepare`, and then runs `operation` and stops in it as `grain`
    /// says. `memory` is what it shares with others. Returns when it is about to begin.
    pub(crate) fn spawn<T>(
        memory: (*const u8, u64),
        grain: Grain,
        prepare: impl FnOnce() -> T,
        operation: impl FnOnce(&mut T),
    ) -> Self {
        let (told, parent) = (Shared::<Told>::default(), std::process::id());
        // SAFETY: the child runs only `prepare` and `operation`, and then leaves without unwinding
        // or running exit handlers; glibc keeps malloc usable in a child of a threaded program.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork: {}", io::Error::last_os_error());
        if pid == 0 {
            // SAFETY: no pointers are passed.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            // The parent may have died before that.
            let is_orphan = std::os::unix::process::parent_id() != parent;
            let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                assert!(!is_orphan, "the parent is dead");
                let mut prepared = prepare();
                told.give_turn(LOOK);
                watch(memory, grain, &told);
                operation(&mut prepared);
                end_watch();
                told.give_turn(OVER);
            }));
            // SAFETY: leaving at once is always allowed; nothing of the parent's is flushed.
            unsafe { libc::_exit(i32::from(ran.is_err())) }
        }
        let traced = Self { pid, bytes: memory.1 as usize, told };
        assert_ne!(traced.wait(), OVER, "the child did not come to its begin");
        traced
    }

    /// The child's process id.
    pub(crate) fn pid(&self) -> u32 {
        u32::try_from(self.pid).expect("a pid is positive")
    }

    /// How many instructions it has done, as far as they are counted.
    pub(crate) fn instructions(&self) -> u64 {
        self.told.instructions.load(Relaxed)
    }

    /// Lets the child run up to its next stop.
    pub(crate) fn step(&self) -> Stop {
        self.told.hand(RUN);
        if self.wait() == OVER {
            return Stop::Over;
        }
        let at = self.told.at.load(Relaxed);
        let near = at..at.saturating_add(WRITTEN_MOST).min(self.bytes);
        Stop::Stepped { near: (at != ANYWHERE).then_some(near) }
    }

    /// Waits for the parent's turn, and returns which one it is.
    fn wait(&self) -> u32 {
        loop {
            // Acquire pairs with the Release in `hand`: what the child did is seen.
            let turn = self.told.turn.load(Acquire);
            if turn != RUN {
                return turn;
            }
            futex::wait(&self.told.turn, RUN, NAP);
            let mut status = 0;
            // SAFETY: `status` is ours and writable.
            let ended = unsafe { libc::waitpid(self.pid, &raw mut status, libc::WNOHANG) };
            assert_eq!(ended, 0, "the child ended early, with status {status:#x}");
        }
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // SAFETY: our child: nobody waited for it to its end, or the test has failed already.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        // SAFETY: a null status is allowed.
        unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
    }
}

impl Told {
    fn hand(&self, turn: u32) {
        // Release pairs with the Acquire of whoever waits for the turn.
        self.turn.store(turn, Release);
        futex::wake(&self.turn, 1);
    }

    /// Tells the parent, and waits for it.
    fn give_turn(&self, turn: u32) {
        self.hand(turn);
        // Acquire pairs with the Release in `hand`.
        while self.turn.load(Acquire) != RUN {
            futex::wait(&self.turn, turn, NAP);
        }
    }
}

/// What the handlers of signals know: of a child alone, which has one thread.
static BASE: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);
static TOLD: AtomicUsize = AtomicUsize::new(0);
/// Whether instructions that write nothing are trapped, and told of.
static IS_TRAPPED: AtomicBool = AtomicBool::new(false);
static IS_EACH: AtomicBool = AtomicBool::new(false);
/// Where the instruction under way writes; 0 = nowhere.
static WRITES_AT: AtomicUsize = AtomicUsize::new(0);

/// The trap flag among the processor's flags.
const TRAP: i64 = 1 << 8;

/// The instruction `syscall`.
const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// From here on this process stops as `grain` says.
fn watch(memory: (*const u8, u64), grain: Grain, told: &Told) {
    BASE.store(memory.0.expose_provenance(), Relaxed);
    BYTES.store(memory.1 as usize, Relaxed);
    TOLD.store(std::ptr::from_ref(told).expose_provenance(), Relaxed);
    IS_EACH.store(grain == Grain::Each, Relaxed);
    handle(libc::SIGSEGV, on_write);
    handle(libc::SIGTRAP, on_trap);
    if grain != Grain::Each {
        allow(BASE.load(Relaxed), BYTES.load(Relaxed), libc::PROT_READ);
    }
    if grain != Grain::Writes {
        IS_TRAPPED.store(true, Relaxed);
        // The handler finds the flag to be set when it returns.
        // SAFETY: raising a signal has no preconditions.
        unsafe { libc::raise(libc::SIGTRAP) };
    }
}

/// From here on it does not stop.
fn end_watch() {
    IS_EACH.store(false, Relaxed);
    IS_TRAPPED.store(false, Relaxed);
}

type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

fn handle(signal: i32, handler: Handler) {
    // SAFETY: all zeroes is a valid value of the structure.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_flags = libc::SA_SIGINFO;
    action.sa_sigaction = handler as *const () as usize;
    // SAFETY: the structure is filled, and the old one is not asked for.
    let failed = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    assert_eq!(failed, 0, "sigaction: {}", io::Error::last_os_error());
}

/// Sets what may be done with some pages of the memory.
fn allow(at: usize, bytes: usize, protection: i32) {
    let from = std::ptr::with_exposed_provenance_mut(at);
    // SAFETY: the pages are the segment's, and mapped; who writes where it may not is stopped.
    let failed = unsafe { libc::mprotect(from, bytes, protection) };
    assert_eq!(failed, 0, "mprotect: {}", io::Error::last_os_error());
}

/// The two pages that an instruction which writes at `at` may touch, as far as they are ours.
fn pages_at(at: usize) -> (usize, usize) {
    let end = BASE.load(Relaxed) + BYTES.load(Relaxed);
    let first = at / PAGE * PAGE;
    (first, (first + 2 * PAGE).min(end) - first)
}

/// An instruction wants to write where it may not: it may, and is trapped when it is done.
extern "C" fn on_write(_: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands us a filled structure.
    let info = unsafe { &*info };
    // SAFETY: this signal is about an address.
    let at = unsafe { info.si_addr() }.expose_provenance();
    let base = BASE.load(Relaxed);
    if !(base..base + BYTES.load(Relaxed)).contains(&at) || WRITES_AT.load(Relaxed) != 0 {
        // A fault of the program's own: the next time it ends it.
        // SAFETY: the default action has no preconditions.
        unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
        return;
    }
    WRITES_AT.store(at, Relaxed);
    let (first, bytes) = pages_at(at);
    allow(first, bytes, libc::PROT_READ | libc::PROT_WRITE);
    *flags(context) |= TRAP;
}

/// An instruction is done.
extern "C" fn on_trap(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let told = std::ptr::with_exposed_provenance::<Told>(TOLD.load(Relaxed));
    // SAFETY: `watch` was handed it by somebody who keeps it while the child runs.
    let told = unsafe { &*told };
    let (base, at) = (BASE.load(Relaxed), WRITES_AT.swap(0, Relaxed));
    if at == ANYWHERE {
        allow(base, BYTES.load(Relaxed), libc::PROT_READ);
    } else if at != 0 {
        let (first, bytes) = pages_at(at);
        allow(first, bytes, libc::PROT_READ);
    }
    let is_each = IS_EACH.load(Relaxed);
    if at != 0 || is_each {
        let is_known = at != 0 && at != ANYWHERE;
        told.at.store(if is_known { at - base } else { ANYWHERE }, Relaxed);
        told.give_turn(LOOK);
    }
    if !IS_TRAPPED.load(Relaxed) {
        *flags(context) &= !TRAP;
        return;
    }
    told.instructions.fetch_add(1, Relaxed);
    *flags(context) |= TRAP;
    if !is_each && next_instruction(context) == SYSCALL {
        WRITES_AT.store(ANYWHERE, Relaxed);
        allow(base, BYTES.load(Relaxed), libc::PROT_READ | libc::PROT_WRITE);
    }
}

/// The registers that the interrupted program goes on with.
fn registers(context: *mut libc::c_void) -> &'static mut [i64; 23] {
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the kernel hands a handler a filled structure, which is its own until it returns.
    unsafe { &mut (*context).uc_mcontext.gregs }
}

fn flags(context: *mut libc::c_void) -> &'static mut i64 {
    &mut registers(context)[libc::REG_EFL as usize]
}

fn next_instruction(context: *mut libc::c_void) -> [u8; 2] {
    let at = registers(context)[libc::REG_RIP as usize] as usize;
    // SAFETY: the program goes on there, and its text does not end with its last instruction.
    unsafe { std::ptr::with_exposed_provenance::<[u8; 2]>(at).read_unaligned() }
}
