//! `morecore keys`: the keys that match a pattern, in order.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use morecore_wire::is_match;
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::output::Out;
use crate::target::{Target, put_bytes, scan_all};

/// Prints the keys that match a pattern, sorted
#[derive(clap::Args)]
pub(crate) struct Keys {
    #[command(flatten)]
    target: Target,
    /// A pattern as Redis has it: `*`, `?`, `[a-z]`, `\` before a letter that means itself
    pattern: OsString,
    /// One JSON array of objects
    #[arg(long)]
    json: bool,
}

impl Keys {
    /// Collects first, so that each key stands there once, and in order.
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        let mut keys = BTreeSet::new();
        scan_all(&mut self.target.observe()?, |key, _| {
            if is_match(self.pattern.as_bytes(), key) {
                keys.insert(key.to_vec());
            }
            Ok(())
        })?;
        if self.json {
            return out.json(&keys.iter().map(|key| as_json(key)).collect::<Vec<_>>());
        }
        for key in &keys {
            out.line(key)?;
        }
        Ok(())
    }
}

/// A key as a JSON object, because a key need not be text.
fn as_json(key: &[u8]) -> Value {
    let mut object = Map::new();
    put_bytes(&mut object, "key", key);
    Value::Object(object)
}
