//! What the server has to say, on standard error, a line each.
//!
//! Promises: a line is written whole, in one call. Nothing is logged per command.

use std::fmt;
use std::io::{self, Write};

/// How much is logged, by Redis's names: each level also logs what the ones behind it do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What helps who works on the server.
    Debug,
    /// Clients that come and go.
    Verbose,
    /// What an operator wants to know: start, stop.
    Notice,
    /// What an operator must know.
    Warning,
    /// Nothing at all.
    Nothing,
}

/// The log, from a level upwards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log(pub(crate) Level);

impl Log {
    /// Writes one line if `level` is wanted.
    pub(crate) fn line(self, level: Level, words: fmt::Arguments<'_>) {
        if level >= self.0 {
            let line = format!("morecore: {words}\n");
            // Where standard error is gone, nobody is left to be told.
            let _unheard = io::stderr().write_all(line.as_bytes());
        }
    }
}
