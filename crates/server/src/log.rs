//! What the server has to say, on standard error, a line each.
//!
//! Promises: a line is written whole, in one call. Nothing is logged per command.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::Ordering::Relaxed;

use crate::shared::Count;

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

/// The log, from a level upwards, which CONFIG SET changes.
#[derive(Clone, Debug)]
pub(crate) struct Log(Count);

impl Level {
    /// Every level, the most talkative first.
    pub(crate) const ALL: [Self; 5] =
        [Self::Debug, Self::Verbose, Self::Notice, Self::Warning, Self::Nothing];

    /// Its name in CONFIG.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Verbose => "verbose",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Nothing => "nothing",
        }
    }
}

impl Log {
    /// A log from `level` upwards, which stands in `word`.
    pub(crate) fn new(level: Level, word: Count) -> Self {
        let log = Self(word);
        log.set_level(level);
        log
    }

    /// Logs from `level` upwards from now on.
    pub(crate) fn set_level(&self, level: Level) {
        self.0.store(level as u64, Relaxed);
    }

    /// From which level on is logged.
    pub(crate) fn level(&self) -> Level {
        let number = self.0.load(Relaxed);
        Level::ALL.into_iter().find(|level| *level as u64 == number).unwrap_or(Level::Nothing)
    }

    /// Writes one line if `level` is wanted.
    pub(crate) fn line(&self, level: Level, words: fmt::Arguments<'_>) {
        if level >= self.level() {
            write_line(words);
        }
    }
}

/// Writes one line, whatever is wanted.
pub(crate) fn write_line(words: fmt::Arguments<'_>) {
    let line = format!("morecore: {words}\n");
    // Where standard error is gone, nobody is left to be told.
    let _unheard = io::stderr().write_all(line.as_bytes());
}
