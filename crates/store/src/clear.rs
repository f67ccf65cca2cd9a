//! Removing everything.
//!
//! Promises: each transaction removes some entries whole; whoever dies between two leaves a store
//! with the rest.

use crate::Error;
use crate::atomic::Relaxed;
use crate::evict::Sweep;
use crate::layout::{WORD, header, shard};
use crate::session::Session;
use crate::table::{Directory, Group, directory_of};
use crate::view::Look;

/// How many shards are looked at in a call of `tidy`: as many lines of the cache.
const SHARDS_LOOKED_AT: u64 = 64;

/// A shard in which fewer entries are left for each word of its directory than this may have empty
/// groups: one that only grew has fifty and more a group, and at most some words for each.
const SPARSE: u64 = 4;

/// How many words of such a directory are looked at in a visit: a few microseconds under its hold.
const WORDS_LOOKED_AT: u64 = 16;

impl Session {
    /// Removes all entries, shard by shard.
    pub(crate) fn clear_all(&mut self) -> Result<(), Error> {
        for shard in 0..self.plan.shards {
            self.hold(&[shard])?;
            let cleared = self.clear_shard(shard);
            if !self.open.is_empty() {
                self.undo();
            }
            self.let_go_last();
            cleared?;
        }
        Ok(())
    }

    /// Gives the tables of those of the next few shards back that have no entry any more, and some
    /// empty groups of those that have few: they stand between what was freed. It waits for nobody.
    pub(crate) fn drop_empty_tables(&mut self) -> Result<(), Error> {
        let first = self.view.word(header::SHARD_HAND_AT).fetch_add(SHARDS_LOOKED_AT, Relaxed);
        for step in 0..SHARDS_LOOKED_AT.min(self.plan.shards) {
            let turn = first.wrapping_add(step);
            let number = turn % self.plan.shards;
            if self.has_empty_table(number) && self.try_hold(number) {
                // Somebody may have come meanwhile.
                let is_empty = self.has_empty_table(number);
                self.drop_and_let_go(|session| {
                    if is_empty { session.clear_shard(number).map(|()| 0) } else { Ok(0) }
                })?;
            } else if self.is_sparse(number) && self.try_hold(number) {
                let begin = (turn / self.plan.shards).wrapping_mul(WORDS_LOOKED_AT);
                self.drop_and_let_go(|session| session.drop_empty_groups(number, begin))?;
            }
        }
        Ok(())
    }

    fn has_empty_table(&self, number: u64) -> bool {
        let at = self.plan.shard_at(number);
        self.view.load(at + shard::DIRECTORY) != 0 && self.view.load(at + shard::ENTRIES) == 0
    }

    /// Whether a shard with several groups has so few entries that some may be empty.
    fn is_sparse(&self, number: u64) -> bool {
        let at = self.plan.shard_at(number);
        let directory = Directory::unchecked(self.view.load(at + shard::DIRECTORY));
        directory.depth > 0 && self.view.load(at + shard::ENTRIES) < directory.count() * SPARSE
    }

    /// Drops the empty ones of a few groups of a shard that is held, from word `begin` of its
    /// directory on, which goes round; returns how many bytes that freed.
    fn drop_empty_groups(&mut self, shard: u64, begin: u64) -> Result<u64, Error> {
        let (mut freed, mut looked_at) = (0, 0);
        // Read anew each time: the directory goes with its last group.
        while let Some(directory) = directory_of(&self.view, &self.plan, shard)?
            && looked_at < WORDS_LOOKED_AT.min(directory.count())
        {
            let index = begin.wrapping_add(looked_at) % directory.count();
            looked_at += 1;
            let word = self.view.read(directory.at + index * WORD)?;
            let Some(group) = Group::from_word(word)? else { continue };
            let span = 1u64 << directory.depth.saturating_sub(group.depth);
            let claims = self.claims;
            freed += self.drop_group(shard, directory, &group, index / span * span, span)?;
            self.free_claims(claims)?;
        }
        Ok(freed)
    }

    /// Removes all entries of a shard that is held, and gives its groups and its directory
    /// back.
    pub(crate) fn clear_shard(&mut self, shard: u64) -> Result<(), Error> {
        let mut index = 0;
        // Read anew each time: the directory goes with its last group.
        while let Some(directory) = directory_of(&self.view, &self.plan, shard)?
            && index < directory.count()
        {
            let word = self.view.read(directory.at + index * WORD)?;
            let Some(group) = Group::from_word(word)? else {
                index += 1;
                continue;
            };
            let span = 1u64 << directory.depth.saturating_sub(group.depth);
            self.clear_group(shard, &group)?;
            let claims = self.claims;
            self.drop_group(shard, directory, &group, index / span * span, span)?;
            self.free_claims(claims)?;
            index = index / span * span + span;
        }
        Ok(())
    }

    /// Removes all entries of a group, as many in a transaction as its journal takes.
    fn clear_group(&mut self, shard: u64, group: &Group) -> Result<(), Error> {
        let mut next = 0;
        while next < group.places() {
            let claims = self.claims;
            (_, next) = self.sweep(shard, group, next, Sweep::Clear)?;
            self.free_claims(claims)?;
        }
        Ok(())
    }
}
