//! Files and memory that some process has mapped to share it: where stores may be.
//!
//! ```text
//!   /proc/PID/maps   7f10-7f20 rw-s 00000000 fd:01 4711   /var/lib/cache
//!                    7f30-7f40 rw-s 00000000 00:01 4712   /memfd:morecore (deleted)
//!   /proc/PID/fd/3   -> the same; it can be opened though it has no name
//! ```
//!
//! Promises: opens regular files and sealed memory only, to read; passes over what this user may
//! not look at.
//! Source: proc_pid_maps(5), proc_pid_fd(5), proc_net_unix(5).

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{io, process};

/// What the memory of a store is called in `/proc`.
const MEMORY: &str = "/memfd:morecore";

/// What stands behind a name that is not there any more.
const REMOVED: &str = " (deleted)";

/// What the flags of a Unix socket say of one that somebody listens at.
const LISTENS: &str = "00010000";

/// Something that is mapped, and by whom.
pub(super) struct Mapped {
    path: String,
    is_removed: bool,
    pids: Vec<u32>,
    /// By what it can be opened, and what it is.
    door: Option<(PathBuf, Metadata)>,
}

/// The bits of a mode that say who may open something.
pub(super) fn mode_of(told: &Metadata) -> u32 {
    told.permissions().mode() & 0o777
}

/// All that is mapped by any process that this user may look at, but us.
pub(super) fn all() -> Vec<Mapped> {
    // By device and inode, as the maps say them, and the name.
    let mut found: BTreeMap<(String, String), Vec<u32>> = BTreeMap::new();
    for pid in pids().filter(|pid| *pid != process::id()) {
        let maps = fs::read(format!("/proc/{pid}/maps")).unwrap_or_default();
        for line in String::from_utf8_lossy(&maps).lines() {
            let Some((place, path)) = shared_mapping(line) else { continue };
            let pids = found.entry((path.to_string(), place)).or_default();
            if pids.last() != Some(&pid) {
                pids.push(pid);
            }
        }
    }
    let mapped = |((path, _), pids): ((String, String), Vec<u32>)| Mapped::new(&path, pids);
    let all = found.into_iter().map(mapped);
    all.filter(|one| one.is_memory() || one.door.is_some()).collect()
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Device and inode, and the path, of a line of a process's maps that is shared and has a file.
fn shared_mapping(line: &str) -> Option<(String, &str)> {
    let mut rest = line;
    let mut next = || {
        let (field, behind) = rest.split_once(' ')?;
        rest = behind.trim_start();
        Some(field)
    };
    let (_range, flags, _offset, device, inode) = (next()?, next()?, next()?, next()?, next()?);
    let is_shared = flags.as_bytes().get(3) == Some(&b's');
    // What has no file of its own: segments, and what devices and the kernel map.
    let is_file = rest.starts_with('/')
        && !["/SYSV", "/dev/", "/anon_", "/proc/", "/sys/"].iter().any(|it| rest.starts_with(it))
        || rest.starts_with("/dev/shm/");
    (is_shared && is_file && inode != "0").then(|| (format!("{device} {inode}"), rest))
}

impl Mapped {
    fn new(path: &str, pids: Vec<u32>) -> Self {
        let is_removed = path.ends_with(REMOVED);
        let door = if is_removed { door_of(path, &pids) } else { regular(Path::new(path)) };
        let path = path.strip_suffix(REMOVED).unwrap_or(path).to_string();
        Self { path, is_removed, pids, door }
    }

    /// Whether it is memory without a name, as stores have it.
    pub(super) fn is_memory(&self) -> bool {
        self.is_removed && self.path == MEMORY
    }

    /// Whether it has no name any more.
    pub(super) fn is_removed(&self) -> bool {
        self.is_removed
    }

    /// Its name, or the one that it had.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Who has it mapped.
    pub(super) fn pids(&self) -> &[u32] {
        &self.pids
    }

    /// How long it is.
    pub(super) fn bytes(&self) -> u64 {
        self.door.as_ref().map_or(0, |(_, told)| told.len())
    }

    /// Who may open it.
    pub(super) fn mode(&self) -> u32 {
        self.door.as_ref().map_or(0, |(_, told)| mode_of(told))
    }

    /// Opens it to be read; `None` if nothing is known by which it could be.
    pub(super) fn open(&self) -> Option<io::Result<File>> {
        self.door.as_ref().map(|(door, _)| File::open(door))
    }

    /// The socket at which one of those who have it hands it over.
    pub(super) fn shared_at(&self) -> Option<String> {
        let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
        self.pids.iter().filter(|pid| shares(**pid)).find_map(|pid| {
            links_of(*pid).find_map(|(_, link)| {
                let inode = link.strip_prefix("socket:[")?.strip_suffix(']')?.to_string();
                listening(&sockets, &inode)
            })
        })
    }
}

/// A file of this name, if it is a regular one: others must not be opened by way of trial.
fn regular(path: &Path) -> Option<(PathBuf, Metadata)> {
    let told = fs::metadata(path).ok()?;
    told.is_file().then(|| (path.to_path_buf(), told))
}

/// A descriptor of what has no name any more.
fn door_of(path: &str, pids: &[u32]) -> Option<(PathBuf, Metadata)> {
    let mut doors = pids.iter().flat_map(|pid| links_of(*pid));
    doors.find_map(|(door, link)| if link == path { regular(&door) } else { None })
}

/// A process's descriptors, and what each leads to.
fn links_of(pid: u32) -> impl Iterator<Item = (PathBuf, String)> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let link = fs::read_link(entry.path()).ok()?;
        Some((entry.path(), link.to_string_lossy().into_owned()))
    })
}

/// Whether a process is `morecore share`: others that have a store may listen for their clients.
fn shares(pid: u32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = line.split(|byte| *byte == 0);
    words.next().is_some_and(|program| program.ends_with(b"morecore"))
        && words.next() == Some(b"share")
}

/// The path at which the socket with this inode listens, in the system's list of Unix sockets.
fn listening(sockets: &str, inode: &str) -> Option<String> {
    sockets.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_it = fields.get(6) == Some(&inode) && fields.get(3) == Some(&LISTENS);
        is_it.then(|| fields.get(7).map(ToString::to_string)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Option<(&str, &str)>) {
        let found = shared_mapping(line);
        assert_eq!(found.as_ref().map(|(place, path)| (place.as_str(), *path)), expected, "{line}");
    }

    #[test]
    fn shared_mappings_of_files_and_memory_are_found_by_their_lines() {
        let memory = "7f1000-7f2000 rw-s 00000000 00:01 12   /memfd:morecore (deleted)";
        check(memory, Some(("00:01 12", "/memfd:morecore (deleted)")));
        let file = "7f1000-7f2000 r--s 00000000 fd:01 4711                  /var/a b";
        check(file, Some(("fd:01 4711", "/var/a b")));
        check("7f1000-7f2000 r--p 00000000 fd:01 4711     /var/lib/x", None);
        check("7f1000-7f2000 rw-s 00000000 00:01 3     /SYSV6d630001 (deleted)", None);
        check("7f1000-7f2000 rw-s 00000000 00:05 3     /dev/dri/card0", None);
        check(
            "7f1000-7f2000 rw-s 00000000 00:05 3     /dev/shm/x",
            Some(("00:05 3", "/dev/shm/x")),
        );
        check("7f1000-7f2000 rw-p 00000000 00:00 0 ", None);
        check("", None);
    }

    #[test]
    fn the_socket_that_somebody_listens_at_is_found_by_its_inode() {
        let sockets = "Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000: 00000003 00000000 00000000 0001 03 77 /run/other\n\
            0000: 00000002 00000000 00010000 0001 01 78 /run/cache\n";
        assert_eq!(listening(sockets, "78").as_deref(), Some("/run/cache"));
        assert_eq!(listening(sockets, "77"), None);
        assert_eq!(listening(sockets, "7"), None);
    }
}
