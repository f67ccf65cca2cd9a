//! `morecore get`: the value of a key, read from shared memory.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use serde_json::Map;

use crate::failure::Failure;
use crate::output::Out;
use crate::target::{Target, no_such_key, put_bytes, put_meta};

/// Prints the value of a key
#[derive(clap::Args)]
pub(crate) struct Get {
    #[command(flatten)]
    target: Target,
    /// The key
    key: OsString,
    /// One JSON object, with version and expiry
    #[arg(long)]
    json: bool,
}

impl Get {
    /// Writes the value as it is, and a newline behind it only where a person reads.
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        let mut value = Vec::new();
        let meta = self.target.observe()?.get(self.key.as_bytes(), &mut value)?;
        let Some(meta) = meta else { return Err(no_such_key(&self.key)) };
        if self.json {
            let mut object = Map::new();
            put_bytes(&mut object, "key", self.key.as_bytes());
            put_bytes(&mut object, "value", &value);
            put_meta(&mut object, meta);
            return out.json(&object);
        }
        out.write_all(&value)?;
        if out.is_terminal() {
            out.write_all(b"\n")?;
        }
        Ok(())
    }
}
