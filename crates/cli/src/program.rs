//! What a program is, before it runs: will a preloaded malloc reach it?
//!
//! ```text
//! name --PATH--> file --"#!"--> interpreter --ELF header--> static? exports malloc? 32 bits?
//! ```
//!
//! Promises: it only looks, and reads headers and symbol tables, not whole programs. What it cannot
//! read it passes over in silence: the system will say what is wrong with it.
//!
//! Source: ELF-64 Object File Format, version 1.5; ld.so(8) on `LD_PRELOAD`; execve(2) on `#!`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use object::elf::PT_INTERP;
use object::read::ReadCache;
use object::read::elf::{ElfFile64, ProgramHeader};
use object::{FileKind, Object, ObjectSymbol};

/// The kernel follows this many `#!` in a row, and no more.
const INTERPRETERS_MOST: usize = 4;

/// The kernel reads a `#!` line up to here.
const SCRIPT_LINE_BYTES: u64 = 256;

/// The permission bits that make a program run as somebody else; the loader then ignores preloads.
const RUNS_AS_ANOTHER: u32 = 0o6000;

/// Why a preloaded malloc does not reach a program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreached {
    /// It has no loader: everything it calls is inside it.
    Static,
    /// It defines and exports `malloc`, which the loader finds before any preloaded one.
    OwnMalloc,
    /// It was built for another width of addresses.
    OtherMachine,
    /// It runs with the rights of its file's owner or group.
    RunsAsAnother,
}

impl Unreached {
    /// The reason as the end of a sentence that begins with the program.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Unreached::Static => "is linked statically and keeps the malloc it was built with",
            Unreached::OwnMalloc => "brings its own malloc and keeps it",
            Unreached::OtherMachine => "is built for another machine than libmorecore.so",
            Unreached::RunsAsAnother => "is set-user-id or set-group-id, so preloads are ignored",
        }
    }
}

/// Looks at `command` as the system would run it. `None`: our malloc reaches it, or it could not be
/// read. With the reason comes the file it is about: for a script that is the interpreter.
pub(crate) fn examine(command: &OsStr) -> Option<(PathBuf, Unreached)> {
    let mut path = find(command)?;
    for _ in 0..INTERPRETERS_MOST {
        match interpreter(&path) {
            Some(next) => path = next,
            None => return examine_file(&path).map(|reason| (path, reason)),
        }
    }
    None
}

/// The file that `command` names: itself when it has a slash, else the first in PATH.
pub(crate) fn find(command: &OsStr) -> Option<PathBuf> {
    if command.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(command));
    }
    let search = env::var_os("PATH")?;
    env::split_paths(&search).map(|directory| directory.join(command)).find(|path| {
        fs::metadata(path).is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0)
    })
}

/// The interpreter in the first line of a script; that of `#!/usr/bin/env NAME` is NAME.
fn interpreter(path: &Path) -> Option<PathBuf> {
    let mut start = Vec::new();
    File::open(path).ok()?.take(SCRIPT_LINE_BYTES).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let mut words = line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
    let first = words.next()?;
    if first.ends_with(b"/env") {
        let is_program = |word: &&[u8]| !word.starts_with(b"-") && !word.contains(&b'=');
        return find(OsStr::from_bytes(words.find(is_program)?));
    }
    Some(PathBuf::from(OsString::from_vec(first.to_vec())))
}

/// What keeps a preloaded malloc out of the program in the file at `path`.
fn examine_file(path: &Path) -> Option<Unreached> {
    let file = File::open(path).ok()?;
    if file.metadata().ok()?.mode() & RUNS_AS_ANOTHER != 0 {
        return Some(Unreached::RunsAsAnother);
    }
    let cache = ReadCache::new(file);
    match FileKind::parse(&cache).ok()? {
        FileKind::Elf64 => {}
        FileKind::Elf32 => return Some(Unreached::OtherMachine),
        _ => return None,
    }
    let elf: ElfFile64<'_, object::Endianness, _> = ElfFile64::parse(&cache).ok()?;
    examine_elf(&elf)
}

/// The same for what has been recognised as a 64-bit ELF file.
fn examine_elf<'data, R: object::ReadRef<'data>>(
    elf: &ElfFile64<'data, object::Endianness, R>,
) -> Option<Unreached> {
    let has_loader = elf
        .elf_program_headers()
        .iter()
        .any(|header| ProgramHeader::p_type(header, elf.endian()) == PT_INTERP);
    let has_malloc =
        elf.dynamic_symbols().any(|symbol| symbol.is_definition() && symbol.name() == Ok("malloc"));
    let machine = elf.elf_header().e_machine.get(elf.endian());
    if machine != machine_of_library() {
        Some(Unreached::OtherMachine)
    } else if !has_loader {
        Some(Unreached::Static)
    } else if has_malloc {
        Some(Unreached::OwnMalloc)
    } else {
        None
    }
}

/// The ELF number of the machine that this program, and so its library, was built for.
fn machine_of_library() -> u16 {
    if cfg!(target_arch = "aarch64") { object::elf::EM_AARCH64 } else { object::elf::EM_X86_64 }
}
