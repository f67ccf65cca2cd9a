//! The name of a store: where it is, and the System V key that a plain name hashes to.

use crate::Error;
use std::path::Path;
use std::{fmt, str::FromStr};

/// The longest name: it stands in the header, and fits a file name with room for a prefix.
pub const NAME_BYTES_MOST: usize = 64;

/// What a name of a store in a file begins with.
const FILE: &str = "file:";

/// What a name of a store that is handed over at a socket begins with.
const SOCKET: &str = "unix:";

/// The upper half of every key: "mc". `ipcs -m` shows it, and `ls` looks for it.
pub(crate) const KEY_PREFIX: u32 = 0x6d63_0000;

/// How many keys above its own a name may be found at, when names collide. With 16 bits of hash,
/// eight keys are only all taken on a machine with tens of thousands of stores.
pub(crate) const KEY_PROBES: u32 = 8;

/// A name that a store can have: 1 to 64 bytes, printable, no blanks and no slashes; or `file:PATH`
/// for one in a file, or `unix:PATH` for one that is handed over at that socket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// Where a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// In a System V segment, under this name.
    Segment,
    /// In this file.
    File(&'a Path),
    /// With whoever listens at this socket.
    Socket(&'a Path),
}

impl Name {
    /// Returns `text` as a name.
    ///
    /// # Errors
    /// [`Error::BadName`] tells what is wrong with it.
    pub fn new(text: &str) -> Result<Self, Error> {
        let path = text.strip_prefix(FILE).or(text.strip_prefix(SOCKET));
        if path.is_some_and(|path| !path.is_empty() && !path.contains('\0')) {
            return Ok(Self(text.to_owned()));
        }
        let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
        let why = if text.is_empty() {
            "it is empty"
        } else if path.is_some() {
            "a path must follow"
        } else if text.len() > NAME_BYTES_MOST {
            "it is longer than 64 bytes"
        } else if !text.bytes().all(is_plain) {
            "only printable ASCII without blanks and slashes is possible"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(Error::BadName { name: text.to_owned(), why })
    }

    /// Returns the name as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns where a store of this name is.
    pub(crate) fn place(&self) -> Place<'_> {
        match (self.0.strip_prefix(FILE), self.0.strip_prefix(SOCKET)) {
            (Some(path), _) => Place::File(Path::new(path)),
            (_, Some(path)) => Place::Socket(Path::new(path)),
            _ => Place::Segment,
        }
    }

    /// Returns the `probe`-th key where a store of this name may stand.
    pub(crate) fn key(&self, probe: u32) -> u32 {
        // FNV-1a, folded: the key is for finding, not for defence.
        let fold = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        let hash = self.0.bytes().fold(0x811c_9dc5, fold);
        KEY_PREFIX | ((hash ^ (hash >> 16)).wrapping_add(probe) & 0xffff)
    }
}

impl Default for Name {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_short() {
        assert!(Name::new("cache-1.prod:eu").is_ok());
        assert_eq!(Name::default().place(), Place::Segment);
        let (file, socket) = (Name::new("file:a b/c").unwrap(), Name::new("unix:/d").unwrap());
        assert_eq!(file.place(), Place::File(Path::new("a b/c")));
        assert_eq!(socket.place(), Place::Socket(Path::new("/d")));
        for bad in ["file:", "unix:", "file:a\0b", "", "a b", "a/b", "käse", &"x".repeat(65)] {
            assert!(matches!(Name::new(bad), Err(Error::BadName { .. })), "{bad:?}");
        }
    }

    #[test]
    fn keys_begin_with_mc_and_probe_upwards() {
        let name = Name::default();
        assert_eq!(name.key(0) >> 16, 0x6d63);
        assert_eq!(name.key(1) & 0xffff, (name.key(0) + 1) & 0xffff);
    }
}
