//! Removing everything.
//!
//! Promises: each transaction removes some entries whole; whoever dies between two leaves a store
//! with the rest.

use crate::Error;
use crate::atomic::Relaxed;
use crate::evict::Sweep;
use crate::layout::{WORD, header, shard};
use crate::session::Session;
use crate::table::{Group, directory_of};
use crate::view::Look;

/// How many shards are looked at in a call of `tidy`: as many lines of the cache.
const SHARDS_LOOKED_AT: u64 = 64;

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

    /// Gives the tables of those of the next few shards back that have no entry any more: they
    /// stand between what was freed. It waits for nobody.
    pub(crate) fn drop_empty_shards(&mut self) -> Result<(), Error> {
        let first = self.view.word(header::SHARD_HAND_AT).fetch_add(SHARDS_LOOKED_AT, Relaxed);
        for step in 0..SHARDS_LOOKED_AT.min(self.plan.shards) {
            let number = first.wrapping_add(step) % self.plan.shards;
            if self.has_empty_table(number) && self.try_hold(number) {
                // Somebody may have come meanwhile.
                let is_empty = self.has_empty_table(number);
                self.drop_and_let_go(|session| {
                    if is_empty { session.clear_shard(number).map(|()| 0) } else { Ok(0) }
                })?;
            }
        }
        Ok(())
    }

    fn has_empty_table(&self, number: u64) -> bool {
        let at = self.plan.shard_at(number);
        self.view.load(at + shard::DIRECTORY) != 0 && self.view.load(at + shard::ENTRIES) == 0
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
