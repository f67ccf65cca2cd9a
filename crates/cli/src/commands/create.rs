//! `morecore create`: makes a store.

use std::io::Write;

use morecore_store::{Create as How, Name, Store};
use nix::unistd::Group;

use super::Evict;
use crate::failure::Failure;
use crate::output::Out;
use crate::quantity;
use crate::target::{Target, refused};

/// Makes a store; an error if it exists
#[derive(clap::Args)]
pub(crate) struct Create {
    #[command(flatten)]
    target: Target,
    /// Size of the whole store; memory is taken only as it fills
    #[arg(short, long, default_value = "1gb", value_parser = quantity::bytes, value_name = "SIZE")]
    memory: u64,
    /// Who may attach, in octal as for chmod
    #[arg(long, default_value = "0600", value_parser = mode, value_name = "MODE")]
    mode: u32,
    /// The group that the middle digit of the mode is for, by name or number
    #[arg(long, value_parser = group, value_name = "GROUP")]
    group: Option<u32>,
    /// What a full store does: drop what was not used lately, or refuse
    #[arg(long, default_value = "policy", value_enum)]
    evict: Evict,
    /// Name of the store; the same as --store
    name: Option<Name>,
}

impl Create {
    /// Makes the store and says what was made.
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        let name = self.name.as_ref().unwrap_or(self.target.name());
        let how = How { memory_bytes: self.memory, mode: self.mode, evict: self.evict.into() };
        let store = Store::create(name, &how).map_err(|error| refused(name, error))?;
        if let Some(group) = self.group {
            Store::set_group(name, group)?;
        }
        let bytes = quantity::show_bytes(store.memory_bytes());
        Ok(writeln!(out, "store {name}: {bytes}, mode {:04o}", self.mode)?)
    }
}

/// Reads a group's name or number.
fn group(text: &str) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    match Group::from_name(text) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => Err(format!("no group is named {text:?}")),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads permission bits; anything beyond read and write for three means nothing to a segment.
pub(super) fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode & !0o666 == 0 && mode & 0o600 == 0o600 => Ok(mode),
        Ok(_) => Err(format!("{text} is no mode of a store; try 0600, 0640, 0644 or 0666")),
        Err(_) => Err(format!("{text} is not an octal number")),
    }
}
