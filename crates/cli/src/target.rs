//! What the commands on a store have in common: which store, which key, and when is now.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::time::{SystemTime, UNIX_EPOCH};

use morecore_store::{Error, Meta, Name, Observer, Store};
use serde_json::{Map, Value};

use crate::failure::{Failure, NO_STORE};
use crate::output::escaped;
use crate::quantity;

/// How many entries one step of a scan looks for: enough that attaching costs less than reading,
/// few enough that the first line is there at once.
const SCAN_COUNT: usize = 512;

/// The store that a command is about.
#[derive(clap::Args)]
pub(crate) struct Target {
    /// Name of the store, or `file:PATH`, or `unix:SOCKET` for one that `morecore share` hands over
    #[arg(long, env = "MORECORE_STORE", default_value = "default", value_name = "NAME")]
    store: Name,
}

impl Target {
    /// Joins the store, to change it.
    pub(crate) fn attach(&self) -> Result<Store, Failure> {
        Store::attach(&self.store).map_err(|error| match error {
            Error::System { error, .. } if self.may_look(&error) => {
                Failure::new("this user may look at it, and not change it")
                    .within(self.store.as_str())
            }
            error => self.refused(error),
        })
    }

    /// Joins it to look only: nothing that we do can harm it.
    pub(crate) fn observe(&self) -> Result<Observer, Failure> {
        Store::observe(&self.store).map_err(|error| self.refused(error))
    }

    /// Whether who was refused with this error may at least look.
    fn may_look(&self, refused: &std::io::Error) -> bool {
        refused.kind() == std::io::ErrorKind::PermissionDenied && self.observe().is_ok()
    }

    /// Why the store could not be joined, with its name if the error does not have it.
    fn refused(&self, error: Error) -> Failure {
        refused(&self.store, error)
    }

    /// The store's name.
    pub(crate) fn name(&self) -> &Name {
        &self.store
    }
}

/// Why nothing could be done with a store, with its name if the error does not have it.
pub(crate) fn refused(name: &Name, error: Error) -> Failure {
    let has_name =
        matches!(error, Error::NoSuchStore { .. } | Error::Exists { .. } | Error::NotShared { .. });
    let failure = match error {
        // Not by way of `Failure::from`: what cannot be attached, `verify` cannot attach either.
        Error::Damaged { what, .. } if what != NO_STORE => Failure::new(error),
        error => Failure::from(error),
    };
    if has_name { failure } else { failure.within(name.as_str()) }
}

/// Shows `each` every entry that stays in the store meanwhile, at least once.
pub(crate) fn scan_all(
    observer: &mut Observer,
    mut each: impl FnMut(&[u8], Meta) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut cursor = 0;
    loop {
        let mut outcome = Ok(());
        cursor = observer.scan(cursor, SCAN_COUNT, |key, meta| {
            if outcome.is_ok() {
                outcome = each(key, meta);
            }
        })?;
        outcome?;
        if cursor == 0 {
            return Ok(());
        }
    }
}

/// The failure of a command whose key is not there.
pub(crate) fn no_such_key(key: &OsString) -> Failure {
    Failure::new(format!("no such key: {}", escaped(key.as_bytes())))
}

/// Puts bytes under `name` into a JSON object; what is not UTF-8 stands as hexadecimal digits under
/// `name_hex`, because JSON has no other place for it.
pub(crate) fn put_bytes(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_string(), text.into()),
        Err(_) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            object.insert(format!("{name}_hex"), digits.into())
        }
    };
}

/// Puts what is known of an entry beside its key and value into a JSON object.
pub(crate) fn put_meta(object: &mut Map<String, Value>, meta: Meta) {
    object.insert("bytes".to_string(), meta.bytes.into());
    object.insert("version".to_string(), meta.version.into());
    object.insert("expiry_ms".to_string(), meta.expiry_ms.into());
}

/// Unix time in milliseconds; 0 on a machine whose clock stands before 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Reads a time to live: at least a millisecond, as Redis has it.
pub(crate) fn time_to_live(text: &str) -> Result<u64, String> {
    match quantity::milliseconds(text)? {
        0 => Err("0 is no time to live; the least is 1ms".to_string()),
        ms => Ok(ms),
    }
}
