//! What this program carries inside itself, `libmorecore.so` and the small program that plays for
//! `bench malloc`, as files that a loader can open.
//!
//! Such a file is written once per content, under a name made of that content's hash, into a
//! directory that belongs to the user alone; later calls compare and reuse it. It comes into being
//! by a rename, so nobody ever maps half of it, and no running program loses the version that it
//! has mapped.
//!
//! Promises: the path has no space and no colon (`LD_PRELOAD` would split there), and nobody but
//! its owner (or root) could have written the file or any name that leads to it from the directory
//! down.

use std::env;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;

use nix::unistd::geteuid;

use crate::failure::Failure;

/// A file that is carried, as `build.rs` built it.
struct Carried {
    /// Its name is this, the hash of its content, and the ending.
    name: &'static str,
    ending: &'static str,
    content: &'static [u8],
}

const LIBRARY: Carried = Carried {
    name: "libmorecore",
    ending: ".so",
    content: include_bytes!(env!("MORECORE_LIBRARY")),
};

const PLAYER: Carried = Carried {
    name: "morecore-player",
    ending: "",
    content: include_bytes!(env!("MORECORE_PLAYER")),
};

/// Only the owner may look into the directory or change it.
const DIRECTORY_MODE: u32 = 0o700;

/// Any write access for others, to a directory that should be ours alone.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The path of the library, which is written first if it is not there.
///
/// # Errors
/// - No directory could be used; each is named with its reason.
pub(crate) fn library() -> Result<PathBuf, Failure> {
    LIBRARY.path()
}

/// The path of the player, as of the library.
///
/// # Errors
/// - As for the library.
pub(crate) fn player() -> Result<PathBuf, Failure> {
    PLAYER.path()
}

impl Carried {
    fn path(&self) -> Result<PathBuf, Failure> {
        let mut refused = Vec::new();
        for directory in candidates() {
            match self.in_directory(&directory) {
                Ok(path) => return Ok(path),
                Err(error) => refused.push(format!("{}: {error}", directory.display())),
            }
        }
        let Carried { name, ending, .. } = self;
        Err(Failure::new(format!("no place for {name}{ending}: {}", refused.join("; "))))
    }

    /// Writes the file into `directory`, unless it is there already.
    fn in_directory(&self, directory: &Path) -> io::Result<PathBuf> {
        make_private(directory)?;
        let Carried { name, ending, content } = self;
        let hash = hash(content);
        let path = directory.join(format!("{name}-{hash:016x}{ending}"));
        match fs::read(&path) {
            Ok(found) if found == *content => return Ok(path),
            _ => {}
        }
        // The process id keeps two that begin at once from writing into one file.
        let unfinished = directory.join(format!(".{}.{hash:016x}", process::id()));
        let written = write(&unfinished, content).and_then(|()| fs::rename(&unfinished, &path));
        if written.is_err() {
            // Best effort: what is left over is the error that we return anyway.
            let _ = fs::remove_file(&unfinished);
        }
        written.map(|()| path)
    }
}

/// Where such files may go, best first. The cache comes before the runtime directory because that
/// one disappears when the user logs out, and with it the library of whatever still runs.
fn candidates() -> Vec<PathBuf> {
    let below = |name: &str, rest: &str| {
        env::var_os(name)
            .map(|value| PathBuf::from(value).join(rest))
            .filter(|path| path.has_root())
    };
    let shared = env::temp_dir().join(format!("morecore-{}", geteuid()));
    [
        below("XDG_CACHE_HOME", "morecore"),
        below("HOME", ".cache/morecore"),
        below("XDG_RUNTIME_DIR", "morecore"),
        Some(shared),
    ]
    .into_iter()
    .flatten()
    .filter(|path| !path.as_os_str().as_bytes().iter().any(|byte| b" \t\n:".contains(byte)))
    .collect()
}

/// Writes all of `content` to a file that does not exist yet.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o755).open(path)?;
    file.write_all(content)
}

/// Makes a directory for this user alone, unless it is there.
///
/// # Errors
/// - It is there, and somebody else could have put something into it.
pub(crate) fn make_private(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
    prove_ours(directory)
}

/// Refuses a directory into which somebody else could put a library for us to run.
fn prove_ours(directory: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(directory)?;
    let complaint = if !found.is_dir() {
        "not a directory".to_string()
    } else if found.uid() != geteuid().as_raw() {
        format!("belongs to user {}, not {}", found.uid(), geteuid())
    } else if found.mode() & WRITABLE_BY_OTHERS != 0 {
        format!("others may write there (mode {:o})", found.mode() & 0o7777)
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, complaint))
}

/// FNV-1a: it names contents, and does not guard them; `in_directory` compares every byte.
fn hash(bytes: &[u8]) -> u64 {
    // Source: G. Fowler, L. C. Noll, K.-P. Vo; the 64-bit offset basis and prime.
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.iter().fold(BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A directory that goes away with the test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = env::temp_dir().join(format!("morecore-test-{}-{name}", process::id()));
            DirBuilder::new().mode(0o700).create(&path).unwrap();
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_library_is_written_once_and_whole() {
        let scratch = Scratch::new("once");
        let path = LIBRARY.in_directory(&scratch.0.join("a/b")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), LIBRARY.content);
        let first = fs::metadata(&path).unwrap().ino();
        assert_eq!(LIBRARY.in_directory(&scratch.0.join("a/b")).unwrap(), path);
        assert_eq!(fs::metadata(&path).unwrap().ino(), first, "it was written again");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "something is left");
    }

    #[test]
    fn a_changed_library_is_replaced() {
        let scratch = Scratch::new("changed");
        let path = LIBRARY.in_directory(&scratch.0).unwrap();
        fs::write(&path, "not a library").unwrap();
        assert_eq!(LIBRARY.in_directory(&scratch.0).unwrap(), path);
        assert_eq!(fs::read(&path).unwrap(), LIBRARY.content);
    }

    #[test]
    fn a_directory_that_others_may_write_is_refused() {
        let scratch = Scratch::new("open");
        fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o777)).unwrap();
        let error = LIBRARY.in_directory(&scratch.0).unwrap_err();
        assert_eq!(error.to_string(), "others may write there (mode 777)");
    }

    #[test]
    fn a_link_to_a_directory_is_refused() {
        let scratch = Scratch::new("link");
        symlink("/tmp", scratch.0.join("link")).unwrap();
        let error = LIBRARY.in_directory(&scratch.0.join("link")).unwrap_err();
        assert_eq!(error.to_string(), "not a directory");
    }
}
