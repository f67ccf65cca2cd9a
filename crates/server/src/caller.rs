//! What a connection knows of who speaks through it.

use morecore_wire::Version;

use crate::clients::{Place, Seen};
use crate::options::Options;
use crate::transaction::{Transaction, Watched};

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
    /// What few clients ask for; where there is none, a command has a shorter way.
    pub(crate) extras: Option<Box<Extras>>,
}

/// What few clients ask for.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    /// The commands since MULTI.
    pub(crate) transaction: Option<Transaction>,
    /// The keys of WATCH.
    pub(crate) watched: Watched,
}

impl Caller {
    pub(crate) fn new(place: Place, options: &Options) -> Self {
        Self {
            place,
            version: Version::default(),
            is_authenticated: options.password.is_none(),
            last_command: "NULL",
            extras: None,
        }
    }

    /// Its extras, to have some.
    pub(crate) fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    /// Forgets that it ever had extras, if it has none now.
    pub(crate) fn drop_idle_extras(&mut self) {
        if self.extras.as_ref().is_some_and(|extras| extras.is_idle()) {
            self.extras = None;
        }
    }

    /// Bytes that it has us keep beside its buffers.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.extras.as_ref().map_or(0, |extras| extras.bytes())
    }

    /// Lets others see what it did last; returns what else they may see, for a change.
    pub(crate) fn publish(&self, now_ms: u64) -> Seen<'_> {
        let mut about = self.place.about();
        about.command = self.last_command.into();
        about.active_ms = now_ms;
        about
    }
}

impl Extras {
    fn is_idle(&self) -> bool {
        self.transaction.is_none() && self.watched.is_empty()
    }

    fn bytes(&self) -> usize {
        self.transaction.as_ref().map_or(0, Transaction::bytes) + self.watched.bytes()
    }
}
