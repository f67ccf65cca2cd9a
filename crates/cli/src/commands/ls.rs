//! `morecore ls`: the stores of this machine.

use std::io::Write;

use morecore_store::{Listed, ListedState, Store};
use serde_json::json;

use crate::failure::Failure;
use crate::output::{Color, Out};
use crate::quantity::show_bytes;

/// Lists the stores of this machine
#[derive(clap::Args)]
pub(crate) struct Ls {
    /// One JSON array
    #[arg(long)]
    json: bool,
}

impl Ls {
    /// Lists every segment that a store could be in, also those that this user cannot use.
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        let stores = Store::list()?;
        if self.json {
            return out.json(&stores.iter().map(as_json).collect::<Vec<_>>());
        }
        if stores.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "{:<24} {:>10} {:>10} {:>4} {:>8}  STATE",
            "NAME", "KEY", "MEMORY", "MODE", "ATTACHED"
        )?;
        for store in stores {
            let name = out.colored(Color::Cyan, format!("{:<24}", store.name));
            let bytes = show_bytes(store.bytes);
            let (key, mode, attached) = (store.key, store.mode, store.attached);
            let state = state(&store);
            writeln!(out, "{name} 0x{key:08x} {bytes:>10} {mode:04o} {attached:>8}  {state}")?;
        }
        Ok(())
    }
}

/// A store as a JSON object.
fn as_json(store: &Listed) -> serde_json::Value {
    json!({
        "name": store.name,
        "id": store.id,
        "key": format!("0x{:08x}", store.key),
        "memory_bytes": store.bytes,
        "mode": format!("{:04o}", store.mode),
        "attached": store.attached,
        "state": state(store),
    })
}

/// Whether it can be used, in words.
fn state(store: &Listed) -> String {
    match store.state {
        ListedState::Ready => "ready".to_string(),
        ListedState::Unfinished => "unfinished".to_string(),
        ListedState::Layout { found } => format!("of another layout ({found})"),
        ListedState::Forbidden => "not readable for this user".to_string(),
    }
}
