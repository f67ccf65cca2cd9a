//! Which keyspace notifications are wanted, as `notify-keyspace-events` says it.
//!
//! Promises: what is read is written as Redis 7.0.15 writes it.
//! Source: `keyspaceEventsStringToFlags` and `keyspaceEventsFlagsToString` of Redis 7.0.15.

/// A set of classes of events, and of the channels in which they are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notices(u64);

/// Each letter, its bit, in the order in which Redis writes them.
const LETTERS: [(u8, u64); 14] = [
    (b'g', 1 << 0),
    (b'$', 1 << 1),
    (b'l', 1 << 2),
    (b's', 1 << 3),
    (b'h', 1 << 4),
    (b'z', 1 << 5),
    (b'x', 1 << 6),
    (b'e', 1 << 7),
    (b't', 1 << 8),
    (b'd', 1 << 9),
    (b'n', 1 << 10),
    (b'K', 1 << 11),
    (b'E', 1 << 12),
    (b'm', 1 << 13),
];

/// The classes that `A` stands for: all but `n` and `m`.
const ALL: u64 = (1 << 10) - 1;

impl Notices {
    /// Commands for keys of any kind.
    pub(crate) const GENERIC: Self = Self(1 << 0);
    /// Commands for strings.
    pub(crate) const STRING: Self = Self(1 << 1);
    /// Keys that expire.
    pub(crate) const EXPIRED: Self = Self(1 << 6);
    /// Keys that come.
    pub(crate) const NEW: Self = Self(1 << 10);
    /// In the channel of the key.
    pub(crate) const BY_KEY: Self = Self(1 << 11);
    /// In the channel of the event.
    pub(crate) const BY_EVENT: Self = Self(1 << 12);

    /// What a word says that processes share.
    pub(crate) const fn of_word(word: u64) -> Self {
        Self(word)
    }

    pub(crate) const fn word(self) -> u64 {
        self.0
    }

    pub(crate) const fn has(self, class: Self) -> bool {
        self.0 & class.0 != 0
    }

    /// Whether anything is told at all: classes without channels tell nothing.
    pub(crate) const fn is_any(self) -> bool {
        self.has(Self::BY_KEY) || self.has(Self::BY_EVENT)
    }

    /// Calls `each` with every channel in which an event of a key is told, and what is said there.
    pub(crate) fn each_channel(self, event: &str, key: &[u8], mut each: impl FnMut(&[u8], &[u8])) {
        if self.has(Self::BY_KEY) {
            each(&[b"__keyspace@0__:", key].concat(), event.as_bytes());
        }
        if self.has(Self::BY_EVENT) {
            each(&[b"__keyevent@0__:", event.as_bytes()].concat(), key);
        }
    }

    /// What letters say; `None` where one says nothing.
    pub(crate) fn read(letters: &[u8]) -> Option<Self> {
        letters.iter().try_fold(Self(0), |all, letter| {
            let of = |(other, bit): &(u8, u64)| (other == letter).then_some(*bit);
            let bits = if *letter == b'A' { Some(ALL) } else { LETTERS.iter().find_map(of) };
            bits.map(|bits| Self(all.0 | bits))
        })
    }

    /// The letters.
    pub(crate) fn letters(self) -> String {
        let is_all = self.0 & ALL == ALL;
        let is_told = |(_, bit): &&(u8, u64)| self.0 & bit != 0 && !(is_all && bit & ALL != 0);
        let letters = LETTERS.iter().filter(is_told).map(|(letter, _)| char::from(*letter));
        is_all.then_some('A').into_iter().chain(letters).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Notices;

    fn check(letters: &str, written: Option<&str>) {
        let read = Notices::read(letters.as_bytes()).map(Notices::letters);
        assert_eq!(read.as_deref(), written, "{letters}");
    }

    #[test]
    fn letters_are_written_as_redis_writes_them() {
        check("", Some(""));
        check("gKE", Some("gKE"));
        check("$lshzxeKE", Some("$lshzxeKE"));
        check("KA", Some("AK"));
        check("EA", Some("AE"));
        check("KEAnm", Some("AnKEm"));
        check("q", None);
    }
}
