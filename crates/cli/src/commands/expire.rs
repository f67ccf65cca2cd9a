//! `morecore expire`: gives an entry an end.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use morecore_store::Change;

use crate::failure::Failure;
use crate::output::Out;
use crate::target::{Target, no_such_key, now_ms, time_to_live};

/// Lets a key expire after a time
#[derive(clap::Args)]
pub(crate) struct Expire {
    #[command(flatten)]
    target: Target,
    /// The key
    key: OsString,
    /// How long it still lives: 250ms, 10s, 2h
    #[arg(value_parser = time_to_live, value_name = "TIME")]
    time: u64,
}

impl Expire {
    /// Sets the expiry and leaves the value as it is.
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        let expiry_ms = now_ms().saturating_add(self.time);
        let is_there = self.target.attach()?.update(self.key.as_bytes(), |entry| match entry {
            Some(_) => (Change::Expire(Some(expiry_ms)), true),
            None => (Change::Keep, false),
        })?;
        if is_there { Ok(writeln!(out, "1")?) } else { Err(no_such_key(&self.key)) }
    }
}
