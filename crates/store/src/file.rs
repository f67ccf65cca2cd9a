//! Stores in files: they survive a reboot if they were closed before it.
//!
//! ```text
//!   no file --made without a name, laid out, on the disk, linked--> closed
//!
//!            first comes: in use since this boot, header on the disk
//!   closed ----------------------------------------------------------> in use
//!     ^                                                                  |
//!     +-- last leaves: every page on the disk, then the mark, and that --+
//!                                                                        |
//!                            the machine stops before that: unclean <----+
//! ```
//!
//! While the machine runs, a file in use is like a segment: whoever is killed is recovered from,
//! for the pages are the kernel's. When it stops, some pages are on the disk and others are not; so
//! a file that is in use since another boot is refused, and `salvage.rs` reads what it can of it.
//!
//! Promises: a file of this name is a whole store, or none is there; every byte of it has a place
//! on the disk, so no write finds the disk full.
//! Does not know of anyone who truncates the file: who may write may destroy.
//! Source: open(2), msync(2).

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use morecore_sys::descriptor::Descriptor;
use morecore_sys::file::{self, Access};

use crate::hash::hash;
use crate::layout::{PAGE, header};
use crate::mapping::{Backing, Mapping};
use crate::system::{check, lay_out, whole_pages};
use crate::{Create, Error};

/// Makes a store in a file.
pub(crate) fn create(path: &Path, how: &Create) -> Result<Arc<Mapping>, Error> {
    let bytes = whole_pages(how.memory_bytes)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = terminated(folder.unwrap_or(Path::new(".")))?;
    let made = file::unnamed(&folder, how.mode)?;
    file::allocate(&made, bytes)?;
    let mapping = Mapping::file(made, Access::Write)?;
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    lay_out(&mapping.view(), &name, how)?;
    mapping.view().store(header::CLEAN_AT, 1);
    mapping.bring_to_disk(bytes)?;
    let Some(file) = mapping.descriptor() else {
        return Err(Error::Damaged { what: "a file that is none", at: 0 });
    };
    match file::link(file, &terminated(path)?) {
        Err(failed) if failed.errno.0 == EEXIST => Err(Error::Exists { name: shown(path) }),
        linked => Ok(linked.map(|()| Arc::new(mapping))?),
    }
}

/// Makes a store in memory that has a descriptor and no name.
pub(crate) fn create_memory(how: &Create) -> Result<Arc<Mapping>, Error> {
    let made = file::memory(c"morecore", whole_pages(how.memory_bytes)?, how.mode)?;
    let mapping = Mapping::file(made, Access::Write)?;
    lay_out(&mapping.view(), "", how)?;
    Ok(Arc::new(mapping))
}

/// Maps the store in a file.
pub(crate) fn attach(path: &Path, access: Access) -> Result<Arc<Mapping>, Error> {
    match file::open(&terminated(path)?, access) {
        Ok(file) => adopt(file, access),
        Err(failed) if failed.errno.0 == ENOENT => Err(Error::NoSuchStore { name: shown(path) }),
        Err(failed) => Err(failed.into()),
    }
}

/// Maps the store behind a descriptor.
pub(crate) fn adopt(file: Descriptor, access: Access) -> Result<Arc<Mapping>, Error> {
    let told = file::stat(&file)?;
    if !told.is_regular || told.bytes < PAGE {
        return Err(Error::Damaged { what: "no store begins here", at: 0 });
    }
    let mapping = Mapping::file(file, access)?;
    check(&mapping.view())?;
    if access == Access::Read {
        check_use(&mapping)?;
    }
    Ok(Arc::new(mapping))
}

/// Gives a file to a group.
pub(crate) fn set_group(path: &Path, group: u32) -> Result<(), Error> {
    let file = file::open(&terminated(path)?, Access::Read)?;
    Ok(file::set_group(&file, group)?)
}

/// Removes a file, if a store is in it.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    let no_such_store = || Error::NoSuchStore { name: shown(path) };
    let file = match file::open(&terminated(path)?, Access::Read) {
        Err(failed) if failed.errno.0 == ENOENT => return Err(no_such_store()),
        opened => opened?,
    };
    let told = file::stat(&file)?;
    if !told.is_regular || told.bytes < PAGE {
        return Err(no_such_store());
    }
    // Also one of another layout, or unclean; what is not ours stays.
    let mapping = Mapping::file(file, Access::Read)?;
    if mapping.view().load(header::MAGIC_AT) != crate::layout::MAGIC {
        return Err(no_such_store());
    }
    std::fs::remove_file(path).map_err(|error| Error::System { call: "unlink", error })
}

/// Says that a file is in use, if it may be; it is our turn.
pub(crate) fn mark_used(mapping: &Mapping) -> Result<(), Error> {
    check_use(mapping)?;
    let view = mapping.view();
    let own = own_use(mapping)?;
    if view.load(header::BOOT_AT) != own || view.load(header::CLEAN_AT) != 0 {
        view.store(header::BOOT_AT, own);
        view.store(header::CLEAN_AT, 0);
        mapping.bring_to_disk(PAGE)?;
    }
    Ok(())
}

/// Refuses a file that was in use when the machine stopped, or was copied while it was.
fn check_use(mapping: &Mapping) -> Result<(), Error> {
    let view = mapping.view();
    if !matches!(mapping.backing(), Backing::File(_)) || view.load(header::CLEAN_AT) == 1 {
        return Ok(());
    }
    if view.load(header::BOOT_AT) == own_use(mapping)? { Ok(()) } else { Err(Error::Unclean) }
}

/// Brings all to the disk, and then the mark that says so.
pub(crate) fn close(mapping: &Mapping) -> Result<(), Error> {
    let view = mapping.view();
    mapping.bring_to_disk(view.bytes())?;
    view.store(header::CLEAN_AT, 1);
    mapping.bring_to_disk(PAGE)
}

/// This file in this boot of this machine, as a number that no other has.
fn own_use(mapping: &Mapping) -> Result<u64, Error> {
    let Some(file) = mapping.descriptor() else { return Ok(0) };
    let failed = |error| Error::System { call: "read boot_id", error };
    let boot = std::fs::read("/proc/sys/kernel/random/boot_id").map_err(failed)?;
    let (device, inode) = file::stat(file)?.identity;
    Ok(hash(hash(device, &boot), &inode.to_le_bytes()).max(1))
}

/// A file's view while nobody checks whether it is in use: to salvage what is in it.
pub(crate) fn open_unclean(path: &Path) -> Result<Mapping, Error> {
    let file = file::open(&terminated(path)?, Access::Read)?;
    let told = file::stat(&file)?;
    if !told.is_regular || told.bytes < PAGE {
        return Err(Error::Damaged { what: "no store begins here", at: 0 });
    }
    Mapping::file(file, Access::Read)
}

/// A path as system calls take it.
fn terminated(path: &Path) -> Result<CString, Error> {
    let bytes = path.as_os_str().as_bytes();
    let why = "a path has no zero byte in it";
    CString::new(bytes).map_err(|_| Error::BadName { name: shown(path), why })
}

/// The name by which a store in this file is called.
fn shown(path: &Path) -> String {
    format!("file:{}", path.display())
}

/// errno(3): no such file; and there is one already.
const ENOENT: i32 = 2;
const EEXIST: i32 = 17;
