//! What a connection knows of who speaks through it.

use morecore_wire::Version;

use crate::clients::{Place, Seen};
use crate::options::Options;

/// What a connection knows of who speaks through it.
#[derive(Debug)]
pub(crate) struct Caller {
    /// Its place among the clients, with what others may see of it.
    pub(crate) place: Place,
    /// The version of RESP that it gets its replies in.
    pub(crate) version: Version,
    /// Whether it told the password, or none is wanted.
    pub(crate) is_authenticated: bool,
    /// The last command that it asked for.
    pub(crate) last_command: &'static str,
}

impl Caller {
    pub(crate) fn new(place: Place, options: &Options) -> Self {
        Self {
            place,
            version: Version::default(),
            is_authenticated: options.password.is_none(),
            last_command: "NULL",
        }
    }

    /// Lets others see what it did last; returns what else they may see, for a change.
    pub(crate) fn publish(&self, now_ms: u64) -> Seen<'_> {
        let mut about = self.place.about();
        about.command = self.last_command.into();
        about.active_ms = now_ms;
        about
    }
}
