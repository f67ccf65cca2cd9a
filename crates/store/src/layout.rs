//! Every byte of a segment.
//!
//! ```text
//!   +--------+-------------------------+--------+---------+------------+----------------------+
//!   | header | slots: identity, claims | shards | visits, | leased and |  heap: directories,  |
//!   | 1 page | leases and journal each |        | ghosts, | heap state |  groups, payloads    |
//!   |        |                         |        |  dues   |            |                      |
//!   +--------+-------------------------+--------+---------+------------+----------------------+
//! ```
//!
//! Promises: all of it follows from the segment's size alone, which the kernel tells; nothing that
//! stands in a segment can move a part of it elsewhere.

use crate::space;

/// "morecore", as it reads in a dump.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"morecore");

/// The number of this layout: another one is never touched.
pub(crate) const LAYOUT: u64 = 6;

/// The bytes of a word.
pub(crate) const WORD: u64 = 8;

/// A line of the cache.
const LINE: u64 = 64;

/// The bytes of a page; segments and their parts are whole pages.
pub(crate) const PAGE: u64 = 4096;

/// The smallest store: header, 8 slots and 16 shards take a fifth of it.
pub(crate) const BYTES_LEAST: u64 = 1 << 20;

/// The largest store: what 46 bits name, so that an offset fits in a group's word beside its count.
pub(crate) const BYTES_MOST: u64 = 1 << 46;

/// The longest key, as memcached's largest and Redis's usual ones are far below it.
pub(crate) const KEY_BYTES_MOST: u64 = 64 * 1024;

/// The words of the header.
pub(crate) mod header {
    pub(crate) const MAGIC_AT: u64 = 0;
    pub(crate) const LAYOUT_AT: u64 = 8;
    pub(crate) const BYTES_AT: u64 = 16;
    /// One of the three states below.
    pub(crate) const STATE_AT: u64 = 24;
    /// Who makes the store, while it is being made.
    pub(crate) const MAKER_AT: u64 = 32;
    pub(crate) const CREATED_MS_AT: u64 = 40;
    /// What every hash begins with, so that no client can choose keys that collide.
    pub(crate) const SEED_AT: u64 = 48;
    pub(crate) const EVICT_AT: u64 = 56;
    pub(crate) const NAME_BYTES_AT: u64 = 64;
    pub(crate) const NAME_AT: u64 = 72;
    /// How often a dead participant's work was rolled back.
    pub(crate) const RECOVERIES_AT: u64 = 256;
    /// How often somebody waited a second for a live owner.
    pub(crate) const LONG_WAITS_AT: u64 = 264;
    /// The eviction hand: counts its turns.
    pub(crate) const HAND_AT: u64 = 272;
    /// Which due is looked at next.
    pub(crate) const DUE_HAND_AT: u64 = 280;
    /// How far the heap reaches, in stretches; how far it has huge pages, or somebody is at it.
    pub(crate) const HEAP_REACH_AT: u64 = 288;
    pub(crate) const HUGE_TO_AT: u64 = 296;
    /// Which shard is looked at next for having become empty.
    pub(crate) const SHARD_HAND_AT: u64 = 304;
    /// The hold of the heap, and its version; on a line of their own.
    pub(crate) const HEAP_HOLD_AT: u64 = 320;
    pub(crate) const HEAP_VERSION_AT: u64 = 328;
    /// In a file: the boot of the machine in which it was last in use, and whether it was closed
    /// since, with every byte on the disk.
    pub(crate) const BOOT_AT: u64 = 512;
    pub(crate) const CLEAN_AT: u64 = 520;

    /// States: nothing yet; being laid out; usable.
    pub(crate) const RAW: u64 = 0;
    pub(crate) const MAKING: u64 = 1;
    pub(crate) const READY: u64 = 2;
}

/// The words of a participant's slot, from its begin.
pub(crate) mod slot {
    /// Who it belongs to; 0 = free.
    pub(crate) const IDENTITY: u64 = 0;
    /// Who clears up after its dead owner; 0 = nobody.
    pub(crate) const RESCUER: u64 = 8;
    pub(crate) const SINCE_MS: u64 = 16;
    /// How many of the slot's leases may be in use: the first ones.
    pub(crate) const LEASED: u64 = 24;
    /// Payloads that only this participant knows: not yet published, or retired and not yet freed.
    pub(crate) const CLAIMS: u64 = 128;
    /// How many there can be: they fill the rest of the slot's first page.
    pub(crate) const CLAIMS_MOST: u64 = (super::PAGE - CLAIMS) / super::WORD;
    /// The last of them are for the stock: twice what is claimed for it at once, so that values of
    /// a few sizes that take turns stay in it.
    pub(crate) const STOCK_MOST: u64 = 16;
    pub(crate) const STOCK_FIRST: u64 = CLAIMS_MOST - STOCK_MOST;
    /// The second page: payloads that this participant reads in place.
    pub(crate) const LEASES: u64 = super::PAGE;
    /// How many there can be: a page of them, which costs nothing until one is taken.
    pub(crate) const LEASES_MOST: u64 = super::PAGE / super::WORD;
    /// The journal begins with the third page.
    pub(crate) const JOURNAL: u64 = 2 * super::PAGE;
}

/// What all participants must know of leases, from where it begins.
pub(crate) mod leased {
    /// The first payload that was retired and is still leased; each one's first word names the
    /// next. It changes under the heap's hold, by way of the journal.
    pub(crate) const PENDING: u64 = 0;
    /// Not 0: a lease ended that may have been the last of a pending payload.
    pub(crate) const DROPPED: u64 = 8;
    /// A bit for each slot that has leases, on the following lines.
    pub(crate) const SLOTS: u64 = 64;
    /// The bytes of all that, on lines of its own.
    pub(crate) const BYTES: u64 = 64 + super::SLOTS_MOST / 8;
}

/// The most participants: more than the processors of any machine that we know.
pub(crate) const SLOTS_MOST: u64 = 1024;

/// The words of a shard, from its begin: what readers need is on its first line.
pub(crate) mod shard {
    /// Two lines: the processor fetches lines in pairs, and no two shards share one.
    pub(crate) const BYTES: u64 = 128;
    pub(crate) const HOLD: u64 = 0;
    /// Odd while a transaction changes the shard.
    pub(crate) const VERSION: u64 = 8;
    /// Where the directory is, and its depth; 0 = there is none yet.
    pub(crate) const DIRECTORY: u64 = 16;
    pub(crate) const ENTRIES: u64 = 24;
    pub(crate) const CONTENT_BYTES: u64 = 32;
    pub(crate) const EVICTIONS: u64 = 72;
    pub(crate) const EXPIRED: u64 = 80;
}

/// Where everything is in a segment of a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) bytes: u64,
    pub(crate) slots: u64,
    pub(crate) slot_bytes: u64,
    /// The notes that a journal has room for.
    pub(crate) notes: u64,
    pub(crate) shards_at: u64,
    /// A power of two.
    pub(crate) shards: u64,
    pub(crate) visits_at: u64,
    /// A power of two.
    pub(crate) visits_words: u64,
    pub(crate) ghosts_at: u64,
    /// A power of two.
    pub(crate) ghosts_words: u64,
    pub(crate) dues_at: u64,
    /// A power of two, at least as many as shards.
    pub(crate) dues: u64,
    pub(crate) leased_at: u64,
    pub(crate) heap_state_at: u64,
    pub(crate) heap_at: u64,
}

impl Plan {
    /// Lays out a segment of `bytes`, whole pages between the least and the most.
    pub(crate) fn new(bytes: u64) -> Self {
        // A journal of 1023 notes takes back any change of one key, and a few dozen at once; a
        // large store can afford 4095, which stay untouched (and so cost nothing) until needed.
        let journal_bytes = if bytes >= 256 << 20 { 64 << 10 } else { 16 << 10 };
        let slot_bytes = slot::JOURNAL + journal_bytes;
        // A sixteenth of the memory for participants at most, as far as that gives eight.
        let slots = (bytes / 16 / slot_bytes).clamp(8, SLOTS_MOST);
        let shards_at = PAGE + slots * slot_bytes;
        // A shard for each MiB: groups are tens of KiB, so shards have several, and 16 suffice that
        // a few writers seldom meet; beyond 1024 meetings are rare whatever the number.
        let shards = (bytes >> 20).next_power_of_two().clamp(16, 1024);
        let visits_at = shards_at + shards * shard::BYTES;
        // Two bits for each 64 bytes: as many pairs as there can be entries, so that few share one.
        let visits_words = (bytes / 256 / WORD).next_power_of_two();
        let ghosts_at = visits_at + visits_words * WORD;
        // A byte for each 256 bytes: what was dropped lately is remembered, as many small entries
        // as a third of those that are there, and several times as many larger ones.
        let ghosts_words = (bytes / 256 / WORD).next_power_of_two();
        let dues_at = ghosts_at + ghosts_words * WORD;
        // A word for each 32 KiB: the size of a full group, so that a word is about one group.
        let dues = (bytes >> 15).next_power_of_two().max(shards);
        let leased_at = (dues_at + dues * WORD).next_multiple_of(LINE);
        let heap_state_at = (leased_at + leased::BYTES).next_multiple_of(space::STATE_ALIGN);
        let heap_at = (heap_state_at + space::state_bytes(bytes)).next_multiple_of(PAGE);
        let notes = (journal_bytes - WORD) / (2 * WORD);
        Self {
            bytes,
            slots,
            slot_bytes,
            notes,
            shards_at,
            shards,
            visits_at,
            visits_words,
            ghosts_at,
            ghosts_words,
            dues_at,
            dues,
            leased_at,
            heap_state_at,
            heap_at,
        }
    }

    pub(crate) fn slot_at(&self, slot: u64) -> u64 {
        debug_assert!(slot < self.slots);
        PAGE + slot * self.slot_bytes
    }

    pub(crate) fn journal_at(&self, slot: u64) -> u64 {
        self.slot_at(slot) + slot::JOURNAL
    }

    pub(crate) fn claim_at(&self, slot: u64, claim: u64) -> u64 {
        debug_assert!(claim < slot::CLAIMS_MOST);
        self.slot_at(slot) + slot::CLAIMS + claim * WORD
    }

    pub(crate) fn lease_at(&self, slot: u64, lease: u64) -> u64 {
        debug_assert!(lease < slot::LEASES_MOST);
        self.slot_at(slot) + slot::LEASES + lease * WORD
    }

    pub(crate) fn shard_at(&self, shard: u64) -> u64 {
        debug_assert!(shard < self.shards);
        self.shards_at + shard * shard::BYTES
    }

    /// The shard of a hash: its highest bits.
    pub(crate) fn shard_of(&self, hash: u64) -> u64 {
        hash >> (64 - self.shard_bits())
    }

    /// The first hash of a shard.
    pub(crate) fn first_of_shard(&self, shard: u64) -> u64 {
        shard << (64 - self.shard_bits())
    }

    /// How many of a hash's highest bits name the shard.
    pub(crate) fn shard_bits(&self) -> u32 {
        self.shards.trailing_zeros()
    }

    /// The word with the two bits that count the visits of an entry of this hash, and the lower
    /// one.
    pub(crate) fn visits_of(&self, hash: u64) -> (u64, u64) {
        let pair = (hash >> 8) & (self.visits_words * 32 - 1);
        (self.visits_at + pair / 32 * WORD, 1 << (pair % 32 * 2))
    }

    /// The word of eight ghosts, each a byte, of which one may be that of this hash.
    pub(crate) fn ghosts_of(&self, hash: u64) -> u64 {
        self.ghosts_at + ((hash >> 16) & (self.ghosts_words - 1)) * WORD
    }

    /// The number of the stretch of hashes that share a due.
    pub(crate) fn due_of(&self, hash: u64) -> u64 {
        hash >> (64 - self.dues.trailing_zeros())
    }

    /// The first hash of a stretch that shares a due.
    pub(crate) fn first_of_due(&self, due: u64) -> u64 {
        due << (64 - self.dues.trailing_zeros())
    }

    pub(crate) fn due_at(&self, due: u64) -> u64 {
        debug_assert!(due < self.dues);
        self.dues_at + due * WORD
    }

    /// The longest value: half of the heap, so that the new one fits beside the old one.
    pub(crate) fn value_bytes_most(&self) -> u64 {
        (self.bytes - self.heap_at) / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_one_another_and_leave_most_to_the_heap() {
        for bits in 20..46 {
            let plan = Plan::new(1 << bits);
            assert!(plan.heap_at * 4 <= plan.bytes, "{plan:?}");
            assert_eq!(plan.slot_at(plan.slots - 1) + plan.slot_bytes, plan.shards_at);
            assert!(plan.shard_at(plan.shards - 1) < plan.visits_at);
            assert!(plan.visits_of(u64::MAX).0 < plan.ghosts_at);
            assert!(plan.ghosts_of(u64::MAX) < plan.dues_at);
            assert!(plan.due_at(plan.due_of(u64::MAX)) < plan.leased_at);
            assert_eq!(plan.due_of(plan.first_of_due(plan.dues - 1)), plan.dues - 1);
            assert_eq!(plan.shard_of(u64::MAX), plan.shards - 1);
        }
    }
}
