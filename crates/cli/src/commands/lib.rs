//! `morecore lib`: where the library is, for `LD_PRELOAD=$(morecore lib)`.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use crate::carried;
use crate::failure::Failure;
use crate::output::Out;

/// Prints the path of libmorecore.so
#[derive(clap::Args)]
pub(crate) struct Lib;

impl Lib {
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        let path = carried::library()?;
        out.write_all(path.as_os_str().as_bytes())?;
        Ok(out.write_all(b"\n")?)
    }
}
