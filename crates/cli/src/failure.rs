//! How a command ends when it does not end well: one sentence, and an exit status.
//!
//! ```text
//! 1    no such key, or the store, the server or the system said no
//! 2    the command line makes no sense (clap says it)
//! 125  `run` itself failed; 126 cannot execute; 127 not found; 128+n ended by signal n
//! 141  whoever read our output stopped reading (128 + SIGPIPE), said by no sentence
//! ```
//!
//! Source: coreutils' env(1) and timeout(1) for 125 and above.

use std::fmt;
use std::io;

use morecore_store::{Error, ListedState, Store};

/// Whoever reads our output went away; the status that the signal SIGPIPE would have given.
const READER_GONE: u8 = 141;

/// What the library says of memory that is no store.
pub(crate) const NO_STORE: &str = "no store begins here";

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u8,
    sentence: Option<String>,
}

impl Failure {
    /// A failure that `sentence` tells, with exit status 1.
    pub(crate) fn new(sentence: impl fmt::Display) -> Failure {
        Failure { status: 1, sentence: Some(sentence.to_string()) }
    }

    /// The same with another exit status.
    pub(crate) fn with_status(status: u8, sentence: impl fmt::Display) -> Failure {
        Failure { status, sentence: Some(sentence.to_string()) }
    }

    /// An exit status alone: all that is to be said has been said.
    pub(crate) fn silent(status: u8) -> Failure {
        Failure { status, sentence: None }
    }

    /// Puts `context` and a colon before the sentence.
    pub(crate) fn within(mut self, context: &str) -> Failure {
        self.sentence = self.sentence.map(|sentence| format!("{context}: {sentence}"));
        self
    }

    /// What the program exits with.
    pub(crate) fn status(&self) -> u8 {
        self.status
    }

    /// What is told on standard error, if anything.
    pub(crate) fn sentence(&self) -> Option<&str> {
        self.sentence.as_deref()
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::silent(READER_GONE),
            _ => Failure::new(error),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Failure {
        Failure::from(io::Error::from(error))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::NoSuchStore { .. } => {
                let advice = match hidden_stores() {
                    0 => "make it with `morecore create`",
                    _ => "`morecore ls` shows some that this user may not read",
                };
                Failure::new(format!("{error}: {advice}"))
            }
            Error::Damaged { what: NO_STORE, .. } => {
                Failure::new("this is no store; `morecore ls DIRECTORY` shows those in files")
            }
            Error::Damaged { .. } => {
                Failure::new(format!("{error}; `morecore verify` tells all that is wrong"))
            }
            Error::Layout { .. } => Failure::new(format!(
                "{error}: the version that made it can read it; `morecore rm` removes it"
            )),
            Error::System { call: "shmget", .. } => Failure::new(format!(
                "{error}; the system's limits are kernel.shmmax, shmall and shmmni, and none for \
                 `file:PATH`"
            )),
            Error::Exists { .. } => {
                Failure::new(format!("{error}: `morecore rm` would remove it with all its keys"))
            }
            _ => Failure::new(error),
        }
    }
}

/// How many stores there are that this user may not read, and whose names nobody tells him.
pub(crate) fn hidden_stores() -> usize {
    let all = Store::list().unwrap_or_default();
    all.iter().filter(|store| store.state == ListedState::Forbidden).count()
}
