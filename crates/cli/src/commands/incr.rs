//! `morecore incr`: adds to a number, in one step that nobody can come between.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use crate::failure::Failure;
use crate::output::Out;
use crate::target::Target;

/// Adds to the number under a key, and prints the sum
#[derive(clap::Args)]
pub(crate) struct Incr {
    #[command(flatten)]
    target: Target,
    /// The key; one that does not exist counts as 0
    key: OsString,
    /// How much to add
    #[arg(default_value_t = 1, allow_negative_numbers = true)]
    by: i64,
}

impl Incr {
    /// Adds, and prints the sum.
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        let sum = self.target.attach()?.increment(self.key.as_bytes(), self.by)?;
        Ok(writeln!(out, "{sum}")?)
    }
}
