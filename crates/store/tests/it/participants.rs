//! More who want to take part than there are places, and numbers of processes that are used again
//! at once.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

use morecore_store::{Create, Error, Evict, Name, Store};

use crate::deaths::{Child, die_with_parent, shared_words};
use crate::{ALWAYS, prove, value_of};

/// The smallest store, which has eight places.
const HOW: Create = Create { memory_bytes: 1 << 20, mode: 0o600, evict: Evict::None };

/// How many want one of them, beside the test itself.
const CROWD: usize = 24;

/// The word that says how often somebody was refused.
const REFUSED: usize = CROWD;

/// Who waits for a place until there is one, writes, and keeps it.
fn come(store: &mut Store, number: usize, words: &'static [AtomicU64]) -> Child {
    Child::start(store, move |store| {
        if words[number].load(Acquire) == 0 {
            match store.set(&[number as u8], b"was here", &ALWAYS) {
                Ok(_) => words[number].store(1, Release),
                Err(Error::TooManyParticipants { most: 8 }) => {
                    words[REFUSED].fetch_add(1, Release);
                }
                Err(error) => panic!("{error}"),
            }
        }
        std::thread::yield_now();
    })
}

#[test]
fn more_than_there_are_places_come_in_as_others_die() {
    let words = shared_words(CROWD + 1);
    let mut store = Store::anonymous(&HOW).unwrap();
    store.set(b"ours", b"1", &ALWAYS).unwrap();
    let mut crowd: Vec<_> = (0..CROWD).map(|n| (n, come(&mut store, n, words))).collect();
    // All places are taken, and somebody was told so.
    crowd[0].1.wait_until(|| {
        let came = words[..CROWD].iter().filter(|word| word.load(Acquire) != 0).count();
        came == 7 && words[REFUSED].load(Acquire) != 0
    });
    // Who has a place goes on while others want it.
    store.set(b"ours", b"2", &ALWAYS).unwrap();
    while !crowd.is_empty() {
        let has_come = |(number, _): &(usize, Child)| words[*number].load(Acquire) != 0;
        crowd[0].1.wait_until(|| crowd.iter().any(has_come));
        let at = crowd.iter().position(has_come).unwrap();
        crowd.swap_remove(at).1.kill();
    }
    store.tidy().unwrap();
    assert_eq!(store.stat().participants.len(), 1);
    assert_eq!(value_of(&mut store, b"ours").unwrap(), b"2");
    for number in 0..CROWD {
        assert_eq!(value_of(&mut store, &[number as u8]).unwrap(), b"was here");
    }
    assert_eq!(prove(&mut store).claimed, 0);
}

/// What a process ends with that may not make namespaces.
const REFUSED_STATUS: i32 = 77;

/// Does something in a process that has numbers of processes of its own, and a /proc that shows
/// them: what is chosen there is no other test's. It is not done where that is refused.
fn among_numbers_of_its_own(work: impl FnOnce()) {
    let inner = || {
        let (root, proc) = (c"/".as_ptr(), c"/proc".as_ptr());
        let (none, private) = (std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE);
        // SAFETY: paths that end with a zero, and no data.
        let failed = unsafe { libc::mount(none, root, none, private, none.cast()) };
        // SAFETY: as above.
        let shown =
            unsafe { libc::mount(c"proc".as_ptr(), proc, c"proc".as_ptr(), 0, none.cast()) };
        if (failed, shown) != (0, 0) {
            return REFUSED_STATUS;
        }
        i32::from(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err())
    };
    let parent = std::process::id();
    let status = ended(|| {
        die_with_parent(parent);
        // SAFETY: no pointers are passed.
        if unsafe { libc::unshare(libc::CLONE_NEWPID | libc::CLONE_NEWNS) } != 0 {
            return REFUSED_STATUS;
        }
        ended(|| {
            // Its parent's number means nothing here.
            die_with_parent(0);
            inner()
        })
    });
    if status == REFUSED_STATUS {
        eprintln!("no new pid namespace may be made here");
    } else {
        assert_eq!(status, 0, "it failed there");
    }
}

/// Waits for a child of fork to end as `work` says.
fn ended(work: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child uses its own copy of all, and leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let status = work();
        // SAFETY: leaving at once is always allowed.
        unsafe { libc::_exit(status) }
    }
    let mut status = 0;
    // SAFETY: our own child, and a status that is ours to write.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 1 }
}

/// When a process began, in ticks of the clock.
fn start_of(pid: u32) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().split(' ').nth(19).unwrap().to_owned()
}

/// Somebody dies who holds a key, and somebody else gets its number within the tick of the clock in
/// which it began: it is not taken for the dead one.
fn check_reuse(attach: impl Fn() -> Store) {
    /// How often it is tried: a busy machine does not do all of it in a tick.
    const TRIES: usize = 300;
    const WANTED: usize = 3;
    let mut none = Store::anonymous(&HOW).unwrap();
    let usual = attach().stat().participants.len();
    let mut met = 0;
    for _ in 0..TRIES {
        let words = shared_words(2);
        let first = Child::start(&mut none, |_| {
            if words[0].load(Acquire) == 0 {
                let mut theirs = attach();
                theirs.hold_keys(&[b"k"]).unwrap();
                words[0].store(1, Release);
                std::mem::forget(theirs);
            }
            std::thread::yield_now();
        });
        let mut store = attach();
        first.wait_until(|| words[0].load(Acquire) != 0);
        let (pid, start) = (first.pid(), start_of(first.pid()));
        first.kill();
        // Where that may not be chosen, it is only a usual death.
        let _ = std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string());
        let second = Child::start(&mut none, |_| {
            if words[1].load(Acquire) == 1 {
                attach().set(b"second", b"was here", &ALWAYS).unwrap();
                words[1].store(2, Release);
            }
            std::thread::yield_now();
        });
        let is_met = second.pid() == pid && start_of(pid) == start;
        met += usize::from(is_met);
        // Whoever took the dead one for alive would wait for ten seconds, and fail.
        store.set(b"k", b"new", &ALWAYS).unwrap();
        words[1].store(1, Release);
        second.wait_until(|| words[1].load(Acquire) == 2);
        assert_eq!(value_of(&mut store, b"second").unwrap(), b"was here");
        second.kill();
        store.tidy().unwrap();
        assert_eq!((store.stat().participants.len(), prove(&mut store).claimed), (usual, 0));
        if met == WANTED {
            break;
        }
    }
    // What is printed is caught, and would be lost in a child.
    let told = format!("{met} numbers were used again within a tick\n");
    // SAFETY: the bytes are there.
    unsafe { libc::write(2, told.as_ptr().cast(), told.len()) };
}

#[test]
fn a_number_that_is_used_again_at_once_is_told_by_its_seat_in_memory() {
    let store = Store::memfd(&HOW).unwrap();
    let attach = || Store::from_fd(store.as_fd().unwrap().try_clone_to_owned().unwrap()).unwrap();
    among_numbers_of_its_own(|| check_reuse(attach));
}

#[test]
fn a_number_that_is_used_again_at_once_is_told_by_its_seat_beside_a_segment() {
    struct Removed(Name);
    impl Drop for Removed {
        fn drop(&mut self) {
            let _ = Store::remove(&self.0);
        }
    }
    let name = Removed(Name::new(&format!("it-reuse-{}", std::process::id())).unwrap());
    drop(Store::create(&name.0, &HOW).unwrap());
    among_numbers_of_its_own(|| check_reuse(|| Store::attach(&name.0).unwrap()));
}
