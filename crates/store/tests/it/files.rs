//! Stores in files and in memory that is handed over: they are attached, closed, torn and removed.

use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{Acquire, Release};

use morecore_store::{Create, Error, Evict, Name, Store};

use crate::deaths::{Child, die_with_parent, shared_words};
use crate::{ALWAYS, prove, value_of};

/// A folder of this test alone, which is removed also when the test fails.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("morecore-{test}-{}", std::process::id()));
        // What is there a run with our number left that was killed.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    fn name(&self, file: &str) -> Name {
        named(&self.path(file))
    }

    /// Whether this process may look into it: it may lie in one that is another's.
    fn is_open(&self) -> bool {
        std::fs::read_dir(&self.0).is_ok()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn named(path: &Path) -> Name {
    Name::new(&format!("file:{}", path.display())).unwrap()
}

const HOW: Create = Create { memory_bytes: 2 << 20, mode: 0o600, evict: Evict::None };

#[test]
fn a_file_that_is_in_memory_as_a_whole_is_told_as_that() {
    let folder = Folder::new("resident");
    let name = folder.name("store");
    drop(Store::create(&name, &HOW).unwrap());
    // The mode lets everybody look; what only others may write the system hides.
    let path = folder.path("store");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::set_permissions(&folder.0, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(std::fs::read(&path).unwrap().len() as u64, HOW.memory_bytes);
    let observed = || Store::observe(&name).unwrap().resident_bytes();
    assert_eq!(observed(), Some(HOW.memory_bytes));
    if !as_nobody(|| folder.is_open()).unwrap_or(false) {
        eprintln!("skipped: nobody else may be asked here");
        return;
    }
    let is_hidden = as_nobody(|| observed().is_none());
    assert_eq!(is_hidden, Some(true), "the system hides nothing from who may not write");
}

#[test]
fn a_file_keeps_what_was_in_it_when_it_was_closed() {
    let folder = Folder::new("closed");
    let name = folder.name("store");
    assert!(matches!(Store::attach(&name), Err(Error::NoSuchStore { .. })));
    let mut one = Store::create(&name, &HOW).unwrap();
    assert!(matches!(Store::create(&name, &HOW), Err(Error::Exists { .. })));
    let mut two = Store::attach(&name).unwrap();
    one.set(b"k", &[1; 5000], &ALWAYS).unwrap();
    assert_eq!(value_of(&mut two, b"k"), Some(vec![1; 5000]));
    assert_eq!((two.name().as_str(), one.stat().participants.len()), ("store", 2));
    drop(one);
    two.set(b"l", b"small", &ALWAYS).unwrap();
    drop(two);
    // Closed, it may be copied, moved, and opened by another boot of another machine.
    std::fs::copy(folder.path("store"), folder.path("copy")).unwrap();
    boot_again(&folder.path("copy"));
    let mut copy = Store::attach(&folder.name("copy")).unwrap();
    assert_eq!(value_of(&mut copy, b"k"), Some(vec![1; 5000]));
    assert_eq!(value_of(&mut copy, b"l").unwrap(), b"small");
    prove(&mut copy);
    assert_eq!(Store::observe(&name).unwrap().len(), 2);
    Store::remove(&name).unwrap();
    assert!(matches!(Store::remove(&name), Err(Error::NoSuchStore { .. })));
    let left: Vec<_> = std::fs::read_dir(&folder.0).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

/// Makes a file look as if it was last in use during another boot.
fn boot_again(path: &Path) {
    const BOOT_AT: u64 = 512;
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&7u64.to_le_bytes(), BOOT_AT).unwrap();
}

#[test]
fn a_file_in_use_when_the_machine_stopped_is_refused() {
    let folder = Folder::new("unclean");
    let mut store = Store::create(&folder.name("store"), &HOW).unwrap();
    store.set(b"k", &[1; 5000], &ALWAYS).unwrap();
    std::fs::copy(folder.path("store"), folder.path("copy")).unwrap();
    for _ in 0..2 {
        let copy = folder.name("copy");
        let error = Store::attach(&copy).unwrap_err();
        assert!(matches!(error, Error::Unclean), "{error}");
        assert!(error.to_string().contains("--salvage"), "{error}");
        assert!(matches!(Store::observe(&copy), Err(Error::Unclean)));
        boot_again(&folder.path("copy"));
    }
    // The one in use goes on.
    assert_eq!(Store::observe(&folder.name("store")).unwrap().len(), 1);
    Store::remove(&folder.name("copy")).unwrap();
}

#[test]
fn what_the_killed_left_in_a_file_is_recovered_and_closed_by_the_next() {
    let folder = Folder::new("killed");
    let name = folder.name("store");
    drop(Store::create(&name, &HOW).unwrap());
    let (mut own, done) = (None, shared_words(1));
    let mut none = Store::anonymous(&HOW).unwrap();
    let child = Child::start(&mut none, |_| {
        let store = own.get_or_insert_with(|| Store::attach(&name).unwrap());
        store.set(b"k", &[1; 5000], &ALWAYS).unwrap();
        store.hold_keys(&[b"k"]).unwrap();
        done[0].store(1, Release);
        loop {
            std::thread::park();
        }
    });
    child.wait_until(|| done[0].load(Acquire) != 0);
    child.kill();
    let mut store = Store::attach(&name).unwrap();
    store.set(b"k", &[2; 5000], &ALWAYS).unwrap();
    assert_eq!(store.stat().participants.len(), 1);
    prove(&mut store);
    drop(store);
    boot_again(&folder.path("store"));
    assert_eq!(value_of(&mut Store::attach(&name).unwrap(), b"k"), Some(vec![2; 5000]));
}

#[test]
fn what_is_no_store_is_named_and_left() {
    let folder = Folder::new("strange");
    for (file, bytes) in [("empty", 0), ("short", 100), ("zeros", 2 << 20)] {
        std::fs::write(folder.path(file), vec![0; bytes]).unwrap();
        let name = folder.name(file);
        assert!(Store::attach(&name).is_err() && Store::observe(&name).is_err());
        assert!(matches!(Store::remove(&name), Err(Error::NoSuchStore { .. })));
    }
    assert!(matches!(Store::attach(&named(&folder.0)), Err(Error::System { .. })));
    assert!(Store::create(&folder.name("no/such/folder"), &HOW).is_err());
    drop(Store::create(&folder.name("cut"), &HOW).unwrap());
    let cut = std::fs::OpenOptions::new().write(true).open(folder.path("cut")).unwrap();
    cut.set_len(1 << 20).unwrap();
    assert!(matches!(Store::observe(&folder.name("cut")), Err(Error::Damaged { .. })));
}

/// Runs `work` as a user who owns nothing, and says what it said; nothing where this process may
/// not become one: it is not root, or root of a namespace that has nobody else, or this very user.
fn as_nobody(work: impl FnOnce() -> bool) -> Option<bool> {
    // SAFETY: it only tells.
    if unsafe { libc::geteuid() } != 0 {
        return None;
    }
    let parent = std::process::id();
    // SAFETY: the child uses its own copy of all, and leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        // SAFETY: no pointers are passed.
        let is_of_nobody = unsafe { libc::setgid(65_534) } == 0;
        // SAFETY: no pointers are passed.
        let is_nobody = is_of_nobody && unsafe { libc::setuid(65_534) } == 0;
        // Who becomes another must say so again.
        die_with_parent(parent);
        let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| is_nobody && work()));
        // SAFETY: leaving at once is always allowed.
        unsafe { libc::_exit(if is_nobody { said.map_or(3, i32::from) } else { 2 }) }
    }
    let mut status = 0;
    // SAFETY: our own child, and a status that is ours to write.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert!(libc::WIFEXITED(status), "{status:#x}");
    match libc::WEXITSTATUS(status) {
        2 => None,
        said => Some(said == 1),
    }
}

#[test]
fn who_may_only_read_observes_and_cannot_attach() {
    let folder = Folder::new("modes");
    std::fs::set_permissions(&folder.0, PermissionsExt::from_mode(0o755)).unwrap();
    if !as_nobody(|| folder.is_open()).unwrap_or(false) {
        eprintln!("skipped: nobody else may be asked here");
        return;
    }
    let segment = Name::new(&format!("it-modes-{}", std::process::id())).unwrap();
    for name in [folder.name("store"), segment] {
        for (mode, may_read) in [(0o644, true), (0o600, false)] {
            let mut store = Store::create(&name, &Create { mode, ..HOW }).unwrap();
            store.set(b"k", b"v", &ALWAYS).unwrap();
            let seen = as_nobody(|| {
                let observed = Store::observe(&name).is_ok_and(|observer| observer.len() == 1);
                observed == may_read && Store::attach(&name).is_err()
            });
            Store::remove(&name).unwrap();
            assert_eq!(seen, Some(true), "{name} {mode:o}");
        }
    }
}

#[test]
fn memory_is_handed_over_a_socket() {
    let folder = Folder::new("socket");
    let path = folder.path("socket");
    let name = Name::new(&format!("unix:{}", path.display())).unwrap();
    assert!(Store::attach(&name).is_err());
    let listener = UnixListener::bind(&path).unwrap();
    let mut store = Store::memfd(&HOW).unwrap();
    store.set(b"k", b"v", &ALWAYS).unwrap();
    let mut none = Store::anonymous(&HOW).unwrap();
    let child = Child::start(&mut none, |_| {
        let mut theirs = Store::attach(&name).unwrap();
        assert_eq!(value_of(&mut theirs, b"k").unwrap(), b"v");
        theirs.set(b"from the child", &[5; 5000], &ALWAYS).unwrap();
        assert!(matches!(Store::attach(&name), Err(Error::ReadOnly)));
        let observer = Store::observe(&name).unwrap();
        theirs.set(b"seen", &[u8::from(observer.len() == 2); 9], &ALWAYS).unwrap();
        // Stays until it is killed.
        std::mem::forget(theirs);
        loop {
            std::thread::park();
        }
    });
    listener.set_nonblocking(true).unwrap();
    for is_read_only in [false, true, true] {
        let mut accepted = None;
        child.wait_until(|| {
            accepted = listener.accept().ok();
            accepted.is_some()
        });
        store.hand_over(&accepted.unwrap().0, is_read_only).unwrap();
    }
    child.wait_until(|| value_of(&mut store, b"seen") == Some(vec![1; 9]));
    assert_eq!(store.stat().participants.len(), 2);
    child.kill();
    store.tidy().unwrap();
    assert_eq!(store.stat().participants.len(), 1);
    prove(&mut store);
    assert!(matches!(
        none.hand_over(&UnixStream::pair().unwrap().0, false),
        Err(Error::NoDescriptor)
    ));
    assert!(matches!(Store::create(&name, &HOW), Err(Error::NotHere { .. })));
}

/// Whether /proc can be asked for another namespace: it takes root.
fn enter_new_pid_namespace() -> bool {
    // SAFETY: no pointers are passed.
    unsafe { libc::unshare(libc::CLONE_NEWPID) == 0 }
}

/// A process of another pid namespace holds `key` of a store, and is killed: we go on.
fn check_foreign_death(attach: impl Fn() -> Store) {
    let words = shared_words(2);
    let mut store = attach();
    store.set(b"k", b"old", &ALWAYS).unwrap();
    let mut none = Store::anonymous(&HOW).unwrap();
    let outer = Child::start(&mut none, |_| {
        if !enter_new_pid_namespace() {
            words[0].store(u64::MAX, Release);
            loop {
                std::thread::park();
            }
        }
        // SAFETY: the child uses its own copy of all, and leaves by a signal.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // Its parent's number means nothing in its namespace.
            die_with_parent(0);
            let mut theirs = attach();
            theirs.hold_keys(&[b"k"]).unwrap();
            words[1].store(1, Release);
            loop {
                std::thread::park();
            }
        }
        words[0].store(pid as u64, Release);
        // SAFETY: a null status is allowed.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        words[1].store(2, Release);
        loop {
            std::thread::park();
        }
    });
    let told = || [0, 1].map(|word: usize| words[word].load(Acquire));
    outer.wait_until(|| told()[0] == u64::MAX || !told().contains(&0));
    if told()[0] == u64::MAX {
        eprintln!("no new pid namespace may be made here");
        return;
    }
    store.tidy().unwrap();
    assert_eq!(store.stat().participants.len(), 2, "it lives");
    // SAFETY: a process that our child started, and has not waited for yet.
    unsafe { libc::kill(words[0].load(Acquire) as i32, libc::SIGKILL) };
    outer.wait_until(|| told()[1] == 2);
    // Whoever took it for alive would not be let in: that is an error.
    store.set(b"k", b"new", &ALWAYS).unwrap();
    store.tidy().unwrap();
    assert_eq!(store.stat().participants.len(), 1);
    prove(&mut store);
    outer.kill();
}

#[test]
fn the_death_of_a_process_in_another_pid_namespace_is_noticed_in_a_file() {
    let folder = Folder::new("namespace");
    let name = folder.name("store");
    drop(Store::create(&name, &HOW).unwrap());
    check_foreign_death(|| Store::attach(&name).unwrap());
}

#[test]
fn what_is_whole_in_a_torn_file_is_salvaged() {
    let mut chance = crate::chance();
    let folder = Folder::new("salvage");
    let mut store = Store::create(&folder.name("store"), &HOW).unwrap();
    let value_of_number = |number: u32| vec![number as u8; number as usize * 3 % 2000];
    for number in 0..600u32 {
        let key = [&b"key"[..], &number.to_le_bytes()].concat();
        let key = if number % 5 == 0 { key.repeat(6) } else { key };
        if number % 3 == 0 {
            store.set(&key, &value_of_number(number), &ALWAYS).unwrap();
        } else {
            let bytes = value_of_number(number);
            let mut room = store.reserve(&key, bytes.len() as u64).unwrap();
            room.copy_from_slice(&bytes);
            room.seal(&ALWAYS).unwrap();
        }
    }
    let taken = |round: u32| {
        let (from, into) = (folder.name("torn"), folder.name(&format!("new{round}")));
        let salvaged = Store::salvage(&from, &into)?;
        let mut new = Store::attach(&into)?;
        let mut seen = 0;
        new.scan(0, 10_000, |_, _| seen += 1)?;
        assert_eq!((prove(&mut new).entries, seen), (salvaged.kept, salvaged.kept));
        for number in 0..600u32 {
            let key = [&b"key"[..], &number.to_le_bytes()].concat();
            let key = if number % 5 == 0 { key.repeat(6) } else { key };
            if let Some(value) = value_of(&mut new, &key) {
                assert_eq!(value, value_of_number(number), "{number}");
            }
        }
        Store::remove(&into)?;
        Ok::<_, Error>(salvaged)
    };
    std::fs::copy(folder.path("store"), folder.path("torn")).unwrap();
    let all = taken(0).unwrap();
    assert_eq!((all.counted, all.kept, all.lost), (600, 600, 0));
    let whole = std::fs::read(folder.path("torn")).unwrap();
    let used = whole.iter().rposition(|&byte| byte != 0).unwrap() / 4096 + 1;
    let (mut kept, mut refused) = (0, 0);
    for round in 1..40 {
        // Some pages never came to the disk, and some came half.
        let mut torn = whole.clone();
        for _ in 0..1 << (round % 6) {
            let page = chance.usize(1..used) * 4096;
            let end = page + if chance.bool() { 4096 } else { 512 };
            torn[page..end].fill(0);
        }
        std::fs::write(folder.path("torn"), torn).unwrap();
        match taken(round) {
            Ok(salvaged) => kept += salvaged.kept,
            Err(_) => refused += 1,
        }
    }
    assert!(kept > 600 && refused < 5, "{kept} kept, {refused} refused");
    assert!(matches!(
        Store::salvage(&Name::default(), &folder.name("x")),
        Err(Error::NotHere { .. })
    ));
}

#[test]
fn the_death_of_a_process_in_another_pid_namespace_is_noticed_in_a_segment() {
    struct Removed(Name);
    impl Drop for Removed {
        fn drop(&mut self) {
            let _ = Store::remove(&self.0);
        }
    }
    let name = Removed(Name::new(&format!("it-namespace-{}", std::process::id())).unwrap());
    drop(Store::create(&name.0, &HOW).unwrap());
    check_foreign_death(|| Store::attach(&name.0).unwrap());
}
