//! `morecore set`: gives a key a value, in shared memory.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use morecore_store::{Condition, Expiry, Set as How, SetDone};

use crate::failure::Failure;
use crate::output::{Out, escaped};
use crate::target::{Target, no_such_key, now_ms, time_to_live};

/// Sets the value of a key
#[derive(clap::Args)]
pub(crate) struct Set {
    #[command(flatten)]
    target: Target,
    /// The key
    key: OsString,
    /// The value
    #[arg(required_unless_present = "stdin", allow_negative_numbers = true)]
    value: Option<OsString>,
    /// Read the value from standard input
    #[arg(short = 'x', conflicts_with = "value")]
    stdin: bool,
    /// How long the entry lives: 250ms, 10s, 2h
    #[arg(long, value_parser = time_to_live, value_name = "TIME")]
    expire: Option<u64>,
    /// Only if the key does not exist yet
    #[arg(long, conflicts_with = "if_present")]
    if_absent: bool,
    /// Only if the key exists
    #[arg(long)]
    if_present: bool,
}

impl Set {
    /// Sets the value, unless a condition forbids it.
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        let value = match self.value {
            Some(value) => value.into_vec(),
            None => {
                let mut value = Vec::new();
                io::stdin().lock().read_to_end(&mut value)?;
                value
            }
        };
        let condition = match (self.if_absent, self.if_present) {
            (true, _) => Condition::Absent,
            (_, true) => Condition::Present,
            _ => Condition::Always,
        };
        let expiry = match self.expire {
            Some(ms) => Expiry::At(now_ms().saturating_add(ms)),
            None => Expiry::Clear,
        };
        let mut store = self.target.attach()?;
        match store.set(self.key.as_bytes(), &value, &How { condition, expiry, flags: 0 })? {
            SetDone::Stored { .. } => Ok(writeln!(out, "OK")?),
            SetDone::Refused if self.if_absent => {
                Err(Failure::new(format!("key exists: {}", escaped(self.key.as_bytes()))))
            }
            SetDone::Refused => Err(no_such_key(&self.key)),
        }
    }
}
