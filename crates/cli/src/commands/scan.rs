//! `morecore scan`: every key, as it is found.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use morecore_wire::is_match;
use serde_json::Map;

use crate::failure::Failure;
use crate::output::Out;
use crate::target::{Target, put_bytes, put_meta, scan_all};

/// Prints every key as it is found, without holding anyone up
#[derive(clap::Args)]
pub(crate) struct Scan {
    #[command(flatten)]
    target: Target,
    /// Only the keys that match this pattern
    #[arg(long = "match", default_value = "*", value_name = "PATTERN")]
    pattern: OsString,
    /// One JSON object a line, with length, version and expiry
    #[arg(long)]
    json: bool,
}

impl Scan {
    /// Prints while it looks; a key that is there all the time comes at least once.
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        scan_all(&mut self.target.observe()?, |key, meta| {
            if !is_match(self.pattern.as_bytes(), key) {
                return Ok(());
            }
            if self.json {
                let mut object = Map::new();
                put_bytes(&mut object, "key", key);
                put_meta(&mut object, meta);
                return out.json(&object);
            }
            Ok(out.line(key)?)
        })
    }
}
