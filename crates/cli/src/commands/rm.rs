//! `morecore rm`: removes a store. Who has it attached keeps what he sees until he lets go.

use morecore_store::{Error, Name, Store};

use crate::failure::{Failure, hidden_stores};

/// Removes a store, with all its keys
#[derive(clap::Args)]
pub(crate) struct Rm {
    /// Names of the stores
    #[arg(required = true, value_name = "NAME")]
    names: Vec<Name>,
}

impl Rm {
    /// Removes each store; the first that cannot be removed ends it.
    pub(crate) fn run(self) -> Result<(), Failure> {
        for name in &self.names {
            // Not by way of `Failure::from`: to make the store is no advice to who removes it.
            Store::remove(name).map_err(|error| match error {
                Error::System { .. } => Failure::new(error).within(name.as_str()),
                Error::NoSuchStore { .. } if hidden_stores() != 0 => Failure::new(format!(
                    "{error}: `morecore ls` shows some that this user may not read"
                )),
                _ => Failure::new(error),
            })?;
        }
        Ok(())
    }
}
