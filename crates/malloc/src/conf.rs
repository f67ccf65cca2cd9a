//! What the user asks for in the environment: `MORECORE_CONF=key:value,...`.
//!
//! | key | values | asks for |
//! | --- | --- | --- |
//! | `source` | `mmap` (default), `brk` | where core comes from |
//! | `fit` | `bins` (default), `first`, `next`, `best` | how a free chunk is chosen |
//! | `harden` | `on`, `off` (default) | overruns and writes after a free are looked for |
//! | `stats` | `exit` | statistics on standard error when the program ends |
//!
//! `MORECORE_SHOW_STATS=1` asks for the statistics as well.
//!
//! Promises: a key or a value that it does not know is named on standard error, and otherwise
//! ignored: a program must not fail because of how it is measured.

use morecore_heap::Fit;
use morecore_sys::environment;

use crate::{harden, line};

/// The longest text that is read; the rest is cut off. All keys together take 50 bytes.
const TEXT_MOST: usize = 512;

/// Where core comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// The program break, as the first Unix allocators had it.
    Brk,
    /// Anonymous mappings.
    Mmap,
}

/// All that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conf {
    /// Where core comes from.
    pub(crate) from: From,
    /// How a free chunk is chosen.
    pub(crate) fit: Fit,
    /// Is more looked for than costs nothing?
    pub(crate) is_hardened: bool,
    /// Are statistics to be printed at the end?
    pub(crate) shows_statistics: bool,
}

/// Why a word was ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unknown<'a> {
    Key(&'a [u8]),
    Value { key: &'static str, value: &'a [u8], wanted: &'static str },
}

impl Conf {
    /// What we do when nothing is asked for.
    pub(crate) const DEFAULT: Self =
        Self { from: From::Mmap, fit: Fit::Bins, is_hardened: false, shows_statistics: false };

    /// Reads the environment.
    pub(crate) fn read() -> Self {
        let mut conf = Self::DEFAULT;
        let mut text = [0; TEXT_MOST];
        // SAFETY: this is the first allocation of the process. A program that changes its
        // environment in another thread at this moment has allocated before.
        if let Some(text) = unsafe { environment::value(b"MORECORE_CONF", &mut text) } {
            conf.take(text, &mut name);
        }
        // SAFETY: as above.
        let shown = unsafe { environment::value(b"MORECORE_SHOW_STATS", &mut text) };
        conf.shows_statistics |= shown == Some(b"1");
        harden::set(conf.is_hardened);
        conf
    }

    /// Takes over what `text` asks for, and tells `name` what it does not know.
    fn take(&mut self, text: &[u8], name: &mut dyn FnMut(Unknown<'_>)) {
        for word in text.split(|byte| *byte == b',').filter(|word| !word.is_empty()) {
            let colon = word.iter().position(|byte| *byte == b':').unwrap_or(word.len());
            let (key, value) = (&word[..colon], word.get(colon + 1..).unwrap_or_default());
            if let Err(unknown) = self.set(key, value) {
                name(unknown);
            }
        }
    }

    fn set<'a>(&mut self, key: &'a [u8], value: &'a [u8]) -> Result<(), Unknown<'a>> {
        match key {
            b"source" => {
                self.from = match value {
                    b"brk" => From::Brk,
                    b"mmap" => From::Mmap,
                    _ => return unknown("source", value, "brk or mmap"),
                }
            }
            b"fit" => {
                let fit = core::str::from_utf8(value).ok().and_then(Fit::from_name);
                let Some(fit) = fit else {
                    return unknown("fit", value, "bins, first, next or best");
                };
                self.fit = fit;
            }
            b"harden" => {
                self.is_hardened = match value {
                    b"on" => true,
                    b"off" => false,
                    _ => return unknown("harden", value, "on or off"),
                }
            }
            b"stats" => match value {
                b"exit" => self.shows_statistics = true,
                _ => return unknown("stats", value, "exit"),
            },
            _ => return Err(Unknown::Key(key)),
        }
        Ok(())
    }
}

fn unknown<'a>(
    key: &'static str,
    value: &'a [u8],
    wanted: &'static str,
) -> Result<(), Unknown<'a>> {
    Err(Unknown::Value { key, value, wanted })
}

/// Names on standard error what was ignored.
fn name(unknown: Unknown<'_>) {
    match unknown {
        Unknown::Key(key) => line::print(format_args!(
            "unknown key `{}` in MORECORE_CONF, known are source, fit and stats",
            key.escape_ascii()
        )),
        Unknown::Value { key, value, wanted } => line::print(format_args!(
            "unknown value `{}` of `{key}` in MORECORE_CONF, known are {wanted}",
            value.escape_ascii()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Conf, unknown: usize) {
        let (mut conf, mut count) = (Conf::DEFAULT, 0);
        conf.take(text.as_bytes(), &mut |_| count += 1);
        assert_eq!((conf, count), (expected, unknown), "{text}");
    }

    #[test]
    fn each_word_is_taken_over() {
        check("", Conf::DEFAULT, 0);
        let brk = Conf { from: From::Brk, ..Conf::DEFAULT };
        check("source:brk", brk, 0);
        check("source:brk,fit:best", Conf { fit: Fit::Best, ..brk }, 0);
        check(
            "fit:next,,stats:exit,",
            Conf { fit: Fit::Next, shows_statistics: true, ..Conf::DEFAULT },
            0,
        );
        check("source:brk,source:mmap", Conf::DEFAULT, 0);
        check("harden:on", Conf { is_hardened: true, ..Conf::DEFAULT }, 0);
        check("harden:on,harden:off,harden:yes", Conf::DEFAULT, 1);
    }

    #[test]
    fn what_is_unknown_is_named_and_ignored() {
        check("check:on,fit:best", Conf { fit: Fit::Best, ..Conf::DEFAULT }, 1);
        check("fit:worst,source,stats:", Conf::DEFAULT, 3);
        check("\u{fc},:,a:b:c", Conf::DEFAULT, 3);
    }
}
