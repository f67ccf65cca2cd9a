//! Who am I, is that process alive, and what has it used? Children, and what they share with us.
//!
//! Promises: nothing here allocates. [`is_alive`] says `false` only when it is sure: the process is
//! gone, or is another one than was meant, or is a zombie without a living thread.
//!
//! Knows nothing of processes in other pid namespaces: their numbers mean nothing here.
//!
//! Source: proc_pid_stat(5), proc_pid_status(5), pid_namespaces(7), time_namespaces(7), fork(2),
//! pidfd_open(2), close_range(2), prctl(2), wait4(2), getrusage(2).

use core::ffi::CStr;
use core::fmt::Write;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Release};

use crate::descriptor::Descriptor;
use crate::{Errno, Failed, memory, segment};

/// The bytes of `/proc/PID/stat` that are read: the fields up to the 22nd fit, for the command's
/// name is at most 64 bytes and each number at most 20.
const STAT_BYTES: usize = 1024;

/// Returns this process's number.
#[must_use]
pub fn id() -> u32 {
    // SAFETY: `getpid` has no preconditions and cannot fail.
    unsafe { libc::getpid() as u32 }
}

/// The bytes of `/proc/self/status` that are read at a time: nearly always all of it. Of the
/// groups, which stand before the line that we want, there may be 65,536.
const STATUS_BYTES: usize = 4096;

/// What the line begins with that lists a process's numbers.
const NUMBERS: &[u8] = b"NSpid:\t";

/// What `/proc/PID/stat` says that tells one process from the next of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStat {
    /// The state's letter: `Z` and `X` are dead.
    pub state: u8,
    /// How many threads live; one in a zombie, which counts itself.
    pub threads: u64,
    /// When it started, in clock ticks since the machine did.
    pub start: u64,
}

/// Returns what the system says of a process, or `None` if it cannot be read, or if /proc tells of
/// another pid namespace than ours: there the number is somebody else's.
#[must_use]
pub fn stat(pid: u32) -> Option<ProcessStat> {
    let mut numbers = Numbers::default();
    read_pieces(c"/proc/self/status", |piece| numbers.read(piece))?;
    if !numbers.are_of_own_namespace() {
        return None;
    }
    let mut path = Text::<32>::new();
    write!(path, "/proc/{pid}/stat\0").ok()?;
    let mut bytes = [0u8; STAT_BYTES];
    let count = read_file(CStr::from_bytes_until_nul(&path.bytes).ok()?, &mut bytes)?;
    parse(&bytes[..count])
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

/// Whether the process `pid` that started at `start` may still run an instruction; `is_same` tells
/// from a start time whether it is the one that is meant.
#[must_use]
pub fn is_alive(pid: u32, is_same: impl FnOnce(u64) -> bool) -> bool {
    // SAFETY: signal 0 is never delivered; only the check that comes before is made.
    let refused = unsafe { libc::kill(pid as libc::pid_t, 0) } != 0;
    if refused && crate::Errno::last().0 == libc::ESRCH {
        return false;
    }
    // A process of another user may be hidden from /proc: what cannot be read counts as alive.
    stat(pid).is_none_or(|found| {
        let is_dead = matches!(found.state, b'Z' | b'X') && found.threads <= 1;
        !is_dead && is_same(found.start)
    })
}

/// Returns the inode of this process's pid namespace, or 0 if /proc does not tell.
#[must_use]
pub fn pid_namespace() -> u64 {
    inode(c"/proc/self/ns/pid")
}

/// Returns the inode of this process's time namespace, or 0 if /proc does not tell. In another one
/// every process seems to have started at another time.
#[must_use]
pub fn time_namespace() -> u64 {
    inode(c"/proc/self/ns/time")
}

fn inode(path: &CStr) -> u64 {
    let mut status = core::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the path ends with a zero and the structure is ours to write.
    let failed = unsafe { libc::stat(path.as_ptr(), status.as_mut_ptr()) };
    if failed != 0 {
        return 0;
    }
    // SAFETY: the call filled it.
    unsafe { status.assume_init() }.st_ino
}

/// A word that is zero again in a child of fork: its page is wiped.
pub struct ForkWord(&'static AtomicU32);

impl ForkWord {
    /// Makes one; its page lives as long as the process.
    ///
    /// # Errors
    /// As mmap(2) and madvise(2) have it.
    pub fn new() -> Result<Self, Failed> {
        let bytes = memory::page_bytes();
        let at = memory::map(0, bytes)?;
        // SAFETY: the page was mapped in the line above, and nobody knows it yet.
        unsafe { memory::advise(at, bytes, memory::Advice::WipeOnFork) }?;
        let word = core::ptr::with_exposed_provenance::<AtomicU32>(at as usize);
        // SAFETY: the page is mapped for good, zeroed, aligned, and only used as this atomic.
        Ok(Self(unsafe { &*word }))
    }

    /// Returns the word: 0 in a process that has not set it yet.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u32 {
        // Acquire pairs with the Release in `set`: what was prepared before it is seen.
        self.0.load(Acquire)
    }

    /// Sets the word, for this process and not for its children.
    pub fn set(&self, value: u32) {
        self.0.store(value, Release);
    }
}

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
    if first <= last {
        // SAFETY: no pointers are passed; nobody in this process uses these descriptors any more.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
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

/// Words that a process shares with its children of fork; all zero at first.
#[derive(Debug)]
pub struct SharedWords {
    at: *const AtomicU64,
    count: usize,
}

// SAFETY: the words are atomics, mapped until this is dropped.
unsafe impl Send for SharedWords {}
// SAFETY: as above.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// Makes `count` words, at least one.
    ///
    /// # Errors
    /// As mmap(2) has it.
    pub fn new(count: usize) -> Result<Self, Failed> {
        let at = segment::map_shared((count * size_of::<AtomicU64>()) as u64)?;
        Ok(Self { at: at.cast(), count })
    }
}

impl core::ops::Deref for SharedWords {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: as many words are mapped while this lives, and used as atomics only.
        unsafe { core::slice::from_raw_parts(self.at, self.count) }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        let bytes = (self.count * size_of::<AtomicU64>()) as u64;
        // SAFETY: mapped in `new`; whoever borrowed the words borrowed this.
        let _unmapped = unsafe { segment::unmap_shared(self.at.cast_mut().cast(), bytes) };
    }
}

/// The fields that we want: the command's name, the second, may hold blanks and parentheses, so
/// fields are counted from its last `)`.
fn parse(text: &[u8]) -> Option<ProcessStat> {
    let name_end = text.iter().rposition(|&byte| byte == b')')?;
    let mut fields = text[name_end + 1..].split(|&byte| byte == b' ').filter(|f| !f.is_empty());
    let state = *fields.next()?.first()?;
    // `state` is the 3rd field; 16 further on is the 20th, and two more the 22nd.
    let threads = number(fields.nth(16)?)?;
    let start = number(fields.nth(1)?)?;
    Some(ProcessStat { state, threads, start })
}

/// How many numbers our `status` has for us, as far as it was read: one for each pid namespace from
/// that of /proc down to ours. A kernel without namespaces says nothing of them.
#[derive(Default)]
struct Numbers {
    /// How much of a line's begin is that of the line that we want; all of it: we are behind that.
    matched: usize,
    is_other_line: bool,
    is_over: bool,
    /// How many there are behind the first.
    more: usize,
}

impl Numbers {
    /// Reads on.
    fn read(&mut self, piece: &[u8]) {
        for &byte in piece {
            let is_inside = self.matched == NUMBERS.len();
            if self.is_over || (is_inside && byte == b'\n') {
                self.is_over = true;
                return;
            }
            match byte {
                b'\t' if is_inside => self.more += 1,
                _ if is_inside => {}
                b'\n' => (self.matched, self.is_other_line) = (0, false),
                _ if !self.is_other_line && byte == NUMBERS[self.matched] => self.matched += 1,
                _ => self.is_other_line = true,
            }
        }
    }

    /// Whether there is one number at most.
    fn are_of_own_namespace(&self) -> bool {
        self.more == 0
    }
}

/// Reads a file to its end, piece by piece.
fn read_pieces(path: &CStr, mut each: impl FnMut(&[u8])) -> Option<()> {
    let file = crate::file::open(path, crate::file::Access::Read).ok()?;
    let mut piece = [0u8; STATUS_BYTES];
    loop {
        match file.read(&mut piece).ok()? {
            0 => return Some(()),
            count => each(&piece[..count]),
        }
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    core::str::from_utf8(digits).ok()?.parse().ok()
}

/// Reads the begin of a file; a stat file comes whole in one read.
fn read_file(path: &CStr, bytes: &mut [u8]) -> Option<usize> {
    // SAFETY: the path ends with a zero.
    let file = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if file < 0 {
        return None;
    }
    // SAFETY: `bytes` is ours to write, for as many bytes as we say.
    let count = unsafe { libc::read(file, bytes.as_mut_ptr().cast(), bytes.len()) };
    // SAFETY: the descriptor is ours and used no more.
    unsafe { libc::close(file) };
    usize::try_from(count).ok()
}

/// A few bytes to write text into.
struct Text<const MOST: usize> {
    bytes: [u8; MOST],
    count: usize,
}

impl<const MOST: usize> Text<MOST> {
    fn new() -> Self {
        Self { bytes: [0; MOST], count: 0 }
    }
}

impl<const MOST: usize> Write for Text<MOST> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let place = self.bytes[self.count..].get_mut(..text.len()).ok_or(core::fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.count += text.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;

    #[test]
    fn a_name_with_blanks_and_parentheses_is_passed_over() {
        let text = b"42 (a) b (c)) Z 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 9 18 77 20";
        let found = parse(text).unwrap();
        assert_eq!(found, ProcessStat { state: b'Z', threads: 9, start: 77 });
    }

    #[test]
    fn a_proc_of_an_outer_namespace_is_known_by_its_second_number() {
        let check = |status: &[u8], expected: bool| {
            for cut in 1..9 {
                let mut numbers = Numbers::default();
                status.chunks(cut).for_each(|piece| numbers.read(piece));
                assert_eq!(numbers.are_of_own_namespace(), expected, "in pieces of {cut}");
            }
        };
        check(b"Name:\tx\nNStgid:\t7\t1\nNSpid:\t7\nNSpgid:\t7\t1\n", true);
        check(b"Name:\tNSpid:\t1\t2\nNStgid:\t7\t1\nNSpid:\t5391\t4\nNSpgid:\t7\n", false);
        check(b"Name:\tNSpid:\t1\t2\n", true);
        // As many groups as fill more than one piece.
        let groups = [&b"Groups:\t"[..], &[b'7'; 2 * STATUS_BYTES], b"\nNSpid:\t5391\t4\n"];
        check(&groups.concat(), false);
    }

    #[test]
    fn we_are_alive_as_ourselves_only() {
        let own = stat(id()).unwrap();
        assert!(is_alive(id(), |start| start == own.start));
        assert!(!is_alive(id(), |start| start == own.start + 1));
        assert_ne!(pid_namespace(), 0);
    }

    #[test]
    fn a_zombie_is_dead() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        while is_alive(child.id(), |_| true) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(!is_alive(child.id(), |_| true));
    }

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

    #[test]
    fn a_fork_word_holds_what_is_set() {
        let word = ForkWord::new().unwrap();
        assert_eq!(word.get(), 0);
        word.set(7);
        assert_eq!(word.get(), 7);
    }
}
