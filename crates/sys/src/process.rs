//! Who am I, is that process alive, and what has it used?
//!
//! Promises: nothing here allocates. [`is_alive`] says `false` only when it is sure: the process is
//! gone, or is another one than was meant, or is a zombie without a living thread.
//!
//! Knows nothing of processes in other pid namespaces: their numbers mean nothing here.
//!
//! Source: proc_pid_stat(5), proc_pid_status(5), pid_namespaces(7), time_namespaces(7), fork(2),
//! wait4(2), getrusage(2).

use core::ffi::CStr;
use core::fmt::Write;
use core::sync::atomic::{AtomicU32, Ordering::Acquire, Ordering::Release};

use crate::{Failed, memory};

/// The bytes of `/proc/PID/stat` that are read: the fields up to the 22nd fit, for the command's
/// name is at most 64 bytes and each number at most 20.
const STAT_BYTES: usize = 1024;

/// Returns this process's number.
#[must_use]
pub fn id() -> u32 {
    // SAFETY: `getpid` has no preconditions and cannot fail.
    unsafe { libc::getpid() as u32 }
}

/// The bytes of `/proc/self/status` that are read: `NSpid` is its 13th line, behind the name, some
/// numbers, and the groups, of which there may be many.
const STATUS_BYTES: usize = 4096;

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
    let mut status = [0u8; STATUS_BYTES];
    let count = read_file(c"/proc/self/status", &mut status)?;
    if !is_of_own_namespace(&status[..count]) {
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

/// Whether our `status` has one number for us: it lists one for each pid namespace from that of
/// /proc down to ours. A kernel without namespaces says nothing of them.
fn is_of_own_namespace(status: &[u8]) -> bool {
    let mut lines = status.split(|&byte| byte == b'\n');
    let numbers = lines.find_map(|line| line.strip_prefix(b"NSpid:\t"));
    numbers.is_none_or(|numbers| !numbers.contains(&b'\t'))
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
        assert!(is_of_own_namespace(b"Name:\tx\nNStgid:\t7\t1\nNSpid:\t7\nNSpgid:\t7\n"));
        assert!(!is_of_own_namespace(b"Name:\tx\nNSpid:\t5391\t4\nNSpgid:\t7\n"));
        assert!(is_of_own_namespace(b"Name:\tx\n"));
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
    fn a_fork_word_holds_what_is_set() {
        let word = ForkWord::new().unwrap();
        assert_eq!(word.get(), 0);
        word.set(7);
        assert_eq!(word.get(), 7);
    }
}
