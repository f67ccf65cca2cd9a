//! `morecore del`: removes keys.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use crate::failure::Failure;
use crate::output::Out;
use crate::target::Target;

/// Removes keys, and prints how many there were
#[derive(clap::Args)]
pub(crate) struct Del {
    #[command(flatten)]
    target: Target,
    /// The keys
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<OsString>,
}

impl Del {
    /// Removes each key; exit status 1 if one of them was not there.
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        let mut store = self.target.attach()?;
        let mut removed = 0;
        for key in &self.keys {
            removed += usize::from(store.delete(key.as_bytes())?);
        }
        writeln!(out, "{removed}")?;
        if removed < self.keys.len() { Err(Failure::silent(1)) } else { Ok(()) }
    }
}
