//! `morecore exists`: which of some keys are there.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use serde_json::json;

use crate::failure::Failure;
use crate::output::Out;
use crate::target::Target;

/// Prints how many of the keys exist
#[derive(clap::Args)]
pub(crate) struct Exists {
    #[command(flatten)]
    target: Target,
    /// The keys
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<OsString>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Exists {
    /// Counts; exit status 1 if one of the keys is not there.
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        let observer = self.target.observe()?;
        let mut found = 0;
        for key in &self.keys {
            found += usize::from(observer.peek(key.as_bytes())?.is_some());
        }
        if self.json {
            out.json(&json!({ "exist": found, "asked": self.keys.len() }))?;
        } else {
            writeln!(out, "{found}")?;
        }
        if found < self.keys.len() { Err(Failure::silent(1)) } else { Ok(()) }
    }
}
