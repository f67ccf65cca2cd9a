//! Contestants of the mallocs' benches: ours, and the mallocs that this machine has or that were
//! named.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::carried;
use crate::failure::Failure;

/// A malloc that competes.
pub(super) struct Contestant {
    /// What it is called.
    pub(super) name: String,
    /// What is preloaded: a path, or a name that the loader finds.
    pub(super) library: OsString,
}

/// Something that could not be measured, and what to do about it.
pub(super) struct Missing {
    pub(super) name: String,
    pub(super) remedy: String,
}

/// A malloc that we know by name.
struct Known {
    name: &'static str,
    /// Its library's name, as it stands in its file.
    library: &'static str,
    /// Where it comes from.
    origin: Origin,
}

/// Where a library comes from.
enum Origin {
    /// A package of Debian.
    Package(&'static str),
    /// The workspace `bench/peers`, which builds what crates.io has.
    Built,
}

/// The system's own, the three that Debian has beside it, and newer ones from crates.io.
const KNOWN: [Known; 7] = [
    Known { name: "glibc", library: "libc.so.6", origin: Origin::Package("libc6") },
    Known {
        name: "jemalloc",
        library: "libjemalloc.so.2",
        origin: Origin::Package("libjemalloc2"),
    },
    Known {
        name: "tcmalloc",
        library: "libtcmalloc_minimal.so.4",
        origin: Origin::Package("libtcmalloc-minimal4"),
    },
    Known {
        name: "mimalloc",
        library: "libmimalloc.so.2",
        origin: Origin::Package("libmimalloc2.0"),
    },
    Known { name: "mimalloc3", library: "libmimalloc3.so", origin: Origin::Built },
    Known { name: "snmalloc", library: "libsnmalloc.so", origin: Origin::Built },
    Known { name: "rpmalloc", library: "librpmalloc.so", origin: Origin::Built },
];

/// How `bench/peers` is built, so that its libraries lie beside this program.
const BUILD: &str =
    "cargo build --release --manifest-path bench/peers/Cargo.toml --target-dir target";

/// Where systems keep libraries; Debian and its kin put the machine's name below.
const DIRECTORIES: [&str; 5] = ["/usr/local/lib", "/usr/lib", "/usr/lib64", "/lib", "/lib64"];

/// Ours first, then the peers: all that are installed, or those that `peers` names.
///
/// # Errors
/// - A peer was named that is not there.
pub(super) fn all(peers: &[String]) -> Result<(Vec<Contestant>, Vec<Missing>), Failure> {
    let ours = carried::library()?;
    let mut contestants = vec![Contestant { name: "morecore".into(), library: ours.into() }];
    let mut missing = Vec::new();
    if peers.is_empty() {
        for known in &KNOWN {
            match known.find() {
                Some(path) => contestants.push(known.at(path)),
                None => missing.push(known.missing()),
            }
        }
    }
    for peer in peers {
        contestants.push(named(peer)?);
    }
    Ok((contestants, missing))
}

/// The peer that was asked for: by its path if there is a slash in it.
fn named(peer: &str) -> Result<Contestant, Failure> {
    if peer.contains('/') {
        let path = Path::new(peer).canonicalize();
        let path = path.map_err(|error| Failure::from(error).within(peer))?;
        let stem = path.file_stem().unwrap_or_else(|| OsStr::new(peer)).to_string_lossy();
        let name = stem.trim_start_matches("lib").split('.').next().unwrap_or(&stem);
        return Ok(Contestant { name: name.to_string(), library: path.into() });
    }
    let known = KNOWN.iter().find(|known| known.name == peer).ok_or_else(|| {
        let names = KNOWN.map(|known| known.name).join(", ");
        Failure::new(format!("no peer is called {peer}: try {names}, or the path of a library"))
    })?;
    let path = known.find().ok_or_else(|| {
        let missing = known.missing();
        Failure::new(format!("{peer} is not installed: {}", missing.remedy))
    })?;
    Ok(known.at(path))
}

impl Known {
    /// The file of its library, if this machine has it.
    fn find(&self) -> Option<PathBuf> {
        let directories = match self.origin {
            Origin::Package(_) => system_directories(),
            Origin::Built => build_directories(),
        };
        directories
            .into_iter()
            .map(|directory| directory.join(self.library))
            .find(|path| path.is_file())
    }

    fn at(&self, path: PathBuf) -> Contestant {
        Contestant { name: self.name.to_string(), library: path.into() }
    }

    fn missing(&self) -> Missing {
        let remedy = match self.origin {
            Origin::Package(package) => format!("apt-get install {package}"),
            Origin::Built => BUILD.to_string(),
        };
        Missing { name: self.name.to_string(), remedy }
    }
}

/// Where the system's libraries may be.
fn system_directories() -> Vec<PathBuf> {
    let machine = format!("{}-linux-gnu", std::env::consts::ARCH);
    DIRECTORIES
        .iter()
        .flat_map(|directory| [Path::new(directory).join(&machine), directory.into()])
        .collect()
}

/// Where what was built in this tree may be: beside this program, or, if that is not the optimised
/// one, beside it.
fn build_directories() -> Vec<PathBuf> {
    let program = std::env::current_exe().unwrap_or_default();
    let beside = program.parent().unwrap_or_else(|| Path::new(""));
    vec![beside.to_path_buf(), beside.join("../release")]
}
