//! `morecore ttl`: how long an entry still lives.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use serde_json::json;

use crate::failure::Failure;
use crate::output::Out;
use crate::target::{Target, no_such_key, now_ms};

/// Prints how many seconds a key still lives; -1 is for ever
#[derive(clap::Args)]
pub(crate) struct Ttl {
    #[command(flatten)]
    target: Target,
    /// The key
    key: OsString,
    /// One JSON object, in milliseconds
    #[arg(long)]
    json: bool,
}

impl Ttl {
    /// Prints seconds, rounded as Redis does it, so that what was set a moment ago shows whole.
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        let meta = self.target.observe()?.peek(self.key.as_bytes())?;
        let Some(meta) = meta else { return Err(no_such_key(&self.key)) };
        let left_ms = meta.expiry_ms.map(|expiry_ms| expiry_ms.saturating_sub(now_ms()));
        if self.json {
            return out.json(&json!({ "ttl_ms": left_ms, "expiry_ms": meta.expiry_ms }));
        }
        match left_ms {
            Some(ms) => writeln!(out, "{}", ms.saturating_add(500) / 1000)?,
            None => writeln!(out, "-1")?,
        }
        Ok(())
    }
}
