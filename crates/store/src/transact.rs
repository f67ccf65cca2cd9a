//! A transaction that its caller takes in steps: hold some keys, look as long as it takes, and then
//! have all that is to change change at once.
//!
//! ```text
//!   hold_keys --> get, peek, scan: as before --> commit_held --> all of it counts
//!                                         +----> let_go -------> nothing happened
//! ```
//!
//! Promises: between the two nobody else changes what is held, and whoever looks sees it as it was.
//! Whoever dies in between changed nothing. More than one journal can take back is committed in
//! parts, each of them whole, and still nobody else's change comes between.

use crate::bucket::Sought;
use crate::change::{Step, check_key};
use crate::layout::slot;
use crate::session::{Session, Turn};
use crate::{Act, Change, Error, Store};

/// Claims that a part of a commit leaves free: the eviction that makes room for it takes some.
const CLAIMS_SPARE: u64 = 80;

/// Lets go of what is held if a step fails.
struct Held<'a>(&'a mut Session, bool);

impl Store {
    /// Holds these keys: until [`Store::commit_held`] or [`Store::let_go`] nobody else changes
    /// them, and nothing may be changed by this session otherwise.
    ///
    /// # Errors
    /// [`Error::KeyTooLong`]; [`Error::Held`]. Then nothing is held.
    pub fn hold_keys(&mut self, keys: &[&[u8]]) -> Result<(), Error> {
        self.session.enter_to_change()?;
        keys.iter().try_for_each(|key| check_key(key))?;
        let session = &self.session;
        let shard = |key: &&[u8]| session.plan.shard_of(Sought::new(session.seed, key).hash);
        let mut shards: Vec<_> = keys.iter().map(shard).collect();
        shards.sort_unstable();
        shards.dedup();
        self.hold_shards(&shards)
    }

    /// Holds every key, also those that are not there.
    ///
    /// # Errors
    /// As [`Store::hold_keys`].
    pub fn hold_everything(&mut self) -> Result<(), Error> {
        self.session.enter_to_change()?;
        let shards: Vec<_> = (0..self.session.plan.shards).collect();
        self.hold_shards(&shards)
    }

    fn hold_shards(&mut self, shards: &[u64]) -> Result<(), Error> {
        let mut held = Held(&mut self.session, true);
        held.0.hold(shards)?;
        held.1 = false;
        Ok(())
    }

    /// Has what is held change, and lets go of it. With `is_cleared` every entry goes first, which
    /// takes [`Store::hold_everything`]; that is a part of its own.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::ValueTooLong`]: nothing changed, or where there was more than one
    /// part, these parts did and the others did not.
    pub fn commit_held(
        &mut self,
        is_cleared: bool,
        changes: &[(impl AsRef<[u8]>, Change)],
    ) -> Result<(), Error> {
        let turn = Turn(&mut self.session);
        turn.0.check_own()?;
        if is_cleared {
            turn.0.clear_held()?;
        }
        let seed = turn.0.seed;
        let hashes = changes.iter().map(|(key, _)| Sought::new(seed, key.as_ref()).hash);
        turn.0.sparing(hashes, |session| session.change_in_parts(changes))
    }

    /// Returns how long a value may be.
    #[must_use]
    pub fn value_bytes_most(&self) -> u64 {
        self.session.plan.value_bytes_most()
    }

    /// Lets go of what is held.
    pub fn let_go(&mut self) {
        self.session.abandon();
    }
}

impl Session {
    /// Removes every entry; all shards are held.
    fn clear_held(&mut self) -> Result<(), Error> {
        for shard in 0..self.plan.shards {
            self.clear_shard(shard)?;
        }
        Ok(())
    }

    /// Makes the changes in one transaction, or in as few as can be.
    fn change_in_parts<K: AsRef<[u8]>>(
        &mut self,
        mut changes: &[(K, Change)],
    ) -> Result<(), Error> {
        let mut part = changes.len();
        while !changes.is_empty() {
            let (now, later) = changes.split_at(part.min(changes.len()));
            let claims = self.claims;
            match self.change_part(now) {
                Ok(()) => changes = later,
                Err(Error::TooManyKeys { most, .. }) if now.len() > 1 => {
                    part = (most as usize).clamp(1, now.len() - 1);
                }
                Err(error) => return Err(error),
            }
            // What the part retired, or what it claimed in vain.
            self.free_claims(claims)?;
        }
        Ok(())
    }

    fn change_part(&mut self, changes: &[(impl AsRef<[u8]>, Change)]) -> Result<(), Error> {
        let mut steps: Vec<Step<'_>> = Vec::with_capacity(changes.len());
        for (index, (key, change)) in changes.iter().enumerate() {
            if self.claims + CLAIMS_SPARE > slot::STOCK_FIRST && changes.len() > 1 {
                let (keys, most) = (changes.len() as u64, index as u64);
                return Err(Error::TooManyKeys { keys, most });
            }
            let sought = Sought::new(self.seed, key.as_ref());
            let act = self.act_for(&sought, change)?;
            if !matches!(act, Act::Keep) {
                steps.push((sought, act));
            }
        }
        if steps.is_empty() {
            return Ok(());
        }
        let mut shards: Vec<_> = steps.iter().map(|s| self.plan.shard_of(s.0.hash)).collect();
        shards.sort_unstable();
        shards.dedup();
        self.change(&shards, &steps).map(drop)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if self.1 {
            self.0.abandon();
        }
    }
}
