//! Who am I, and is that process alive? Beside it, children, and what they share with us.
//!
//! Promises: nothing here allocates. [`is_alive`] says `false` only when it is sure: the process is
//! gone, or is another one than was meant, or is a zombie without a living thread.
//!
//! Knows nothing of processes in other pid namespaces: their numbers mean nothing here.
//!
//! Source: proc_pid_stat(5), proc_pid_status(5), pid_namespaces(7), time_namespaces(7).

mod child;
mod shared;
mod usage;

use core::ffi::CStr;
use core::fmt::Write;

pub use child::{Child, Ended, fork, wait};
pub use shared::{ForkWord, SharedWords};
pub use usage::{Used, give_free_memory_back, used, used_by_children};

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
}
