//! The commands that are about to be executed: read together, and their keys' memory fetched
//! together, so that no command waits for it alone.
//!
//! ```text
//!   read     GET a | GET b | GET c | ...     up to 64 plain commands
//!   fetch    home(a)  home(b)  home(c)       the line where each look-up begins
//!   fetch    what the homes of a, b, c lead to, where that is another line
//!   execute  one by one: nearly all is in the first cache
//! ```
//!
//! Promises: what it reads ahead changes nothing: a command that is not executed after all is read
//! again. Knows nothing of what commands mean, but that the first argument is mostly a key.

use morecore_store::Fetching;
use morecore_wire::{Arguments, Batch, Limits};

use crate::desk::Desk;
use crate::keyspace::Keyspace;

/// Commands that are read together. Two lines of memory for each are a sixth of the first cache,
/// and their replies and arguments fit beside them.
const COMMANDS_MOST: usize = 64;

/// Commands of one client that were read and not executed yet.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    batch: Batch,
    /// The first that was not executed.
    next: usize,
    /// Where the batch begins in the client's bytes.
    base: usize,
    fetching: Vec<Fetching>,
    /// Up to where memcached's commands were looked at.
    fetched: usize,
}

/// A client's bytes, and from where on they are not executed yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Input<'a> {
    pub(super) fn rest(self) -> &'a [u8] {
        &self.bytes[self.at..]
    }
}

impl Ahead {
    /// Forgets what was read: other bytes come.
    pub(super) fn forget(&mut self) {
        (self.next, self.base, self.fetched) = (0, 0, 0);
        self.batch.clear();
    }

    /// The plain command that the rest of `input` begins with, if one does, and how long it is.
    #[inline]
    pub(super) fn next<'a>(
        &'a mut self,
        input: Input<'a>,
        limits: &Limits,
        keyspace: &Keyspace,
    ) -> Option<(Arguments<'a>, usize)> {
        if self.next == self.batch.len() {
            self.read(input, limits, keyspace);
        }
        let (arguments, end) = self.batch.get(self.next, &input.bytes[self.base..])?;
        self.next += 1;
        Some((arguments, self.base + end - input.at))
    }

    fn read(&mut self, input: Input<'_>, limits: &Limits, keyspace: &Keyspace) {
        let rest = input.rest();
        self.batch.read(rest, COMMANDS_MOST, limits.bulk_bytes_most);
        (self.next, self.base) = (0, input.at);
        if self.batch.len() < 2 {
            return;
        }
        self.fetching.clear();
        for index in 0..self.batch.len() {
            // Where a command has keys, the first argument is one.
            let key = self.batch.get(index, rest).and_then(|(arguments, _)| arguments.get(1));
            self.fetching.extend(key.map(|key| keyspace.begin_fetch(key)));
        }
        // By now the first have come, and tell where to go on.
        self.fetching.iter().for_each(|fetching| keyspace.fetch_on(*fetching));
    }

    /// Has the memory of the keys in the next commands of memcached's on its way, from the second
    /// of a pipeline on.
    pub(super) fn fetch_memcached(&mut self, input: Input<'_>, desk: &mut Desk) {
        if input.at > 0 && input.at >= self.fetched {
            self.fetched = input.at + desk.fetch_ahead_memcached(input.rest());
        }
    }
}
