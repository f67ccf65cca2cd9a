//! What callers say to a store and hear from it: plain values, no behaviour.

/// How a store is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Create {
    /// The size of the whole segment. The system gives pages only as they are touched.
    pub memory_bytes: u64,
    /// Who may attach, as in chmod(1).
    pub mode: u32,
    /// What happens when it is full.
    pub evict: Evict,
}

impl Default for Create {
    /// One GiB for this user alone, which evicts: the defaults of `morecore create`.
    fn default() -> Self {
        Self { memory_bytes: 1 << 30, mode: 0o600, evict: Evict::Policy }
    }
}

/// What a full store does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Evict {
    /// It drops what was not visited since the hand last came by; expired entries first.
    #[default]
    Policy,
    /// It refuses with [`Error::Full`](crate::Error::Full).
    None,
}

/// What is known of an entry beside its key and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// Changes at every set of the key; 48 bits.
    pub version: u64,
    /// When the entry expires, in unix milliseconds.
    pub expiry_ms: Option<u64>,
    /// The length of the value.
    pub bytes: u64,
    /// What a client keeps beside the value; 0 for most.
    pub flags: u32,
}

/// A live entry, as [`Store::update`](crate::Store::update) shows it.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The value as it is now.
    pub value: &'a [u8],
    /// The rest.
    pub meta: Meta,
}

/// What is to become of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It stays as it is.
    Keep,
    /// It goes.
    Remove,
    /// Its value stays; it expires at this unix millisecond, or never.
    Expire(Option<u64>),
    /// It gets a new value, and expires at this unix millisecond, or never.
    Set {
        /// The new value.
        value: Vec<u8>,
        /// The new expiry.
        expiry: Option<u64>,
        /// The new flags.
        flags: u32,
    },
}

/// How a value is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Set {
    /// When it is set at all.
    pub condition: Condition,
    /// What becomes of the expiry.
    pub expiry: Expiry,
    /// What the client keeps beside the value.
    pub flags: u32,
}

/// When a value is set at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Condition {
    /// Always.
    #[default]
    Always,
    /// Only if there is no live entry.
    Absent,
    /// Only if there is a live entry.
    Present,
    /// Only if the live entry has this version.
    Version(u64),
}

/// What becomes of an entry's expiry when its value is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expiry {
    /// It never expires.
    #[default]
    Clear,
    /// It expires when it would have.
    Keep,
    /// It expires at this unix millisecond.
    At(u64),
}

/// What a set did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetDone {
    /// The value stands, under this new version.
    Stored {
        /// The entry's version.
        version: u64,
    },
    /// The condition did not hold; nothing changed.
    Refused,
}

/// A store of this machine, as `ls` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name; what can be told of one that may not be read is in `state`.
    pub name: String,
    /// The segment's number, for `ipcs` and `ipcrm`.
    pub id: i32,
    /// The segment's key.
    pub key: u32,
    /// The size of the segment.
    pub bytes: u64,
    /// Who may attach.
    pub mode: u32,
    /// How many processes have it attached.
    pub attached: u64,
    /// Whether this program can use it.
    pub state: ListedState,
}

/// Whether a listed store can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListedState {
    /// It can.
    Ready,
    /// It is being made, or its maker died over it.
    Unfinished,
    /// It has another layout.
    Layout {
        /// The number in the segment.
        found: u64,
    },
    /// This user may not read it.
    Forbidden,
}

/// What a store says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stat {
    /// The store's name; empty for anonymous ones.
    pub name: String,
    /// Entries, with those that expired and were not met yet.
    pub entries: u64,
    /// The bytes of all keys and values.
    pub content_bytes: u64,
    /// The size of the segment.
    pub memory_bytes: u64,
    /// What is in use of it: header, table, payloads, and the tags around them. Slots of nobody
    /// count neither as used nor as free.
    pub used_bytes: u64,
    /// What is free in it.
    pub free_bytes: u64,
    /// The largest payload that fits without eviction.
    pub largest_free_bytes: u64,
    /// Entries dropped for room.
    pub evictions: u64,
    /// Entries dropped because they had expired.
    pub expired: u64,
    /// Dead participants whose work was rolled back.
    pub recoveries: u64,
    /// How often somebody waited a whole second for a live owner.
    pub long_waits: u64,
    /// What a full store does.
    pub evict: Evict,
    /// When the store was made, in unix milliseconds.
    pub created_ms: u64,
    /// The shards of the table.
    pub shards: u32,
    /// How many may attach at once.
    pub participants_most: u32,
    /// Who is attached.
    pub participants: Vec<Participant>,
}

/// One who is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Participant {
    /// The number of the slot.
    pub slot: u32,
    /// Its process.
    pub pid: u32,
    /// When it attached, in unix milliseconds.
    pub since_ms: u64,
    /// False if it died and nobody cleared up after it yet.
    pub is_alive: bool,
}

/// What is where in a segment, in address order; the pieces tile it without a gap.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Census {
    /// The size of the segment.
    pub memory_bytes: u64,
    /// Every piece, by its offset.
    pub pieces: Vec<Piece>,
}

/// One stretch of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins.
    pub at: u64,
    /// How long it is, with its tags.
    pub bytes: u64,
    /// What it is.
    pub kind: PieceKind,
    /// How much of it carries content: the buckets in use of a group, the bytes of an entry.
    pub used_bytes: u64,
}

/// What a stretch of a segment is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PieceKind {
    /// Header, participants, journals, shards: what is there from the start.
    Fixed,
    /// A shard's directory of groups.
    Directory,
    /// A group of buckets.
    Group,
    /// The payload of an entry that does not fit in its bucket.
    Payload,
    /// Payload that a participant has not published yet, or has retired and not freed yet.
    Claimed,
    /// Payload of an entry that was replaced or removed while somebody leased it.
    Leased,
    /// Free.
    Free,
}

/// What a proof went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verified {
    /// Entries that find themselves.
    pub entries: u64,
    /// Buckets looked at.
    pub buckets: u64,
    /// Groups reached.
    pub groups: u64,
    /// Chunks accounted for, used and free.
    pub chunks: u64,
    /// Payloads that belong to exactly one entry.
    pub payloads: u64,
    /// Payloads that a live participant has in hand.
    pub claimed: u64,
    /// Payloads that were retired and are free when their last lease ends.
    pub pending: u64,
    /// Bytes accounted for.
    pub bytes: u64,
}

/// What was taken over from a file that was in use when the machine stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Salvaged {
    /// Entries that the file's own counts tell of. They may be older or newer than the rest.
    pub counted: u64,
    /// Entries that proved whole, and stand in the new store.
    pub kept: u64,
    /// The bytes of their keys and values.
    pub bytes: u64,
    /// Entries that were met and did not prove whole.
    pub lost: u64,
    /// Entries that were whole, and had expired meanwhile.
    pub expired: u64,
}

/// One thing that is wrong in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The invariant's name.
    pub invariant: &'static str,
    /// Where.
    pub at: u64,
    /// What was found there.
    pub what: String,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at offset {}: {}", self.invariant, self.at, self.what)
    }
}
