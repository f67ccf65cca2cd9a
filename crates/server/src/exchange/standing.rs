//! What a client is to the exchange, and what everyone who executes commands has to heed of it.
//!
//! Knows nothing of who asks for what.

/// What a client is to the exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// How many channels, patterns and channels of shards it listens to.
    pub(crate) listening: [u32; 3],
    pub(crate) is_monitor: bool,
    /// Whether it hears of changed keys.
    pub(crate) is_tracking: bool,
    /// Whether a command of it waits for the end of a pause.
    pub(crate) is_waiting: bool,
    /// Whether it hears of changed keys instead of another.
    pub(crate) is_told: bool,
}

/// What everyone who executes commands has to heed: monitors, those who hear of changes, a pause,
/// those who watch keys, whether commands are measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attention(pub(super) u64);

impl Attention {
    pub(super) const MONITORS: u64 = 1;
    pub(super) const TRACKERS: u64 = 2;
    pub(super) const WRITES_PAUSED: u64 = 4;
    pub(super) const ALL_PAUSED: u64 = 8;
    pub(super) const NOTICES: u64 = 16;
    pub(super) const MEASURES: u64 = 32;
    pub(super) const WATCHERS: u64 = 64;

    /// Whether there is anything.
    pub(crate) const fn is_any(self) -> bool {
        self.0 != 0
    }

    /// Whether somebody hears of every command.
    pub(crate) const fn has_monitors(self) -> bool {
        self.0 & Self::MONITORS != 0
    }

    /// Whether somebody hears of changes.
    pub(crate) const fn has_trackers(self) -> bool {
        self.0 & Self::TRACKERS != 0
    }

    /// Whether changes are told in channels.
    pub(crate) const fn has_notices(self) -> bool {
        self.0 & Self::NOTICES != 0
    }

    /// Whether somebody watches keys.
    pub(crate) const fn has_watchers(self) -> bool {
        self.0 & Self::WATCHERS != 0
    }

    /// Whether commands are measured.
    pub(crate) const fn measures(self) -> bool {
        self.0 & Self::MEASURES != 0
    }

    /// Whether commands wait, or those that write.
    pub(crate) const fn pauses(self, writes: bool) -> bool {
        self.0 & Self::ALL_PAUSED != 0 || (writes && self.0 & Self::WRITES_PAUSED != 0)
    }
}

impl Standing {
    /// Whether it listens to messages.
    pub(crate) fn is_listening(self) -> bool {
        self.listening != [0; 3]
    }

    /// Whether messages may come to it at all.
    pub(crate) fn is_any(self) -> bool {
        self != Self::default()
    }
}
