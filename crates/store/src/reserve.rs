//! Filling a value in place: room is reserved in the segment, filled, and sealed under its key.
//!
//! ```text
//!   reserve --> claimed, nobody else knows it --seal--> the entry's value
//!                        |
//!                        +-- dropped, or its maker died --> free
//! ```
//!
//! Promises: a sealed value was never copied; until then no look-up finds it; whatever ends a
//! reservation but `seal` leaves nothing.

use std::ops::{Deref, DerefMut};

use crate::bucket::{INLINE_BYTES, Sought};
use crate::change::{PAYLOAD_ALIGN, check_key};
use crate::payload::Shape;
use crate::session::{Session, Turn};
use crate::{Act, Error, Set, SetDone, Store};

/// Room for a value, in the segment, which nobody sees until it is sealed: [`Store::reserve`].
///
/// Its bytes are whatever stood there before. Dropped without [`Reserve::seal`], also by the death
/// of its process, it leaves nothing.
#[derive(Debug)]
pub struct Reserve<'a> {
    turn: Turn<'a>,
    key: Vec<u8>,
    room: Room,
}

#[derive(Debug)]
enum Room {
    /// A value that will stand in its bucket is collected here.
    Small(Vec<u8>),
    /// `count` bytes from `begin`, in the payload at `at`.
    Payload { at: u64, claim: u64, begin: *mut u8, count: usize },
}

// SAFETY: the payload that `room` points to is claimed by the session that this borrows, which may
// be sent, and by nobody else.
unsafe impl Send for Reserve<'_> {}

impl Deref for Reserve<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.room {
            Room::Small(value) => value,
            // SAFETY: `count` bytes from `begin` are inside the mapping that the session keeps, and
            // claimed: nobody else reads or writes them.
            Room::Payload { begin, count, .. } => unsafe {
                std::slice::from_raw_parts(*begin, *count)
            },
        }
    }
}

impl DerefMut for Reserve<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.room {
            Room::Small(value) => value,
            // SAFETY: as in `deref`; and `self` is borrowed exclusively.
            Room::Payload { begin, count, .. } => unsafe {
                std::slice::from_raw_parts_mut(*begin, *count)
            },
        }
    }
}

impl Store {
    /// Reserves room for a value of `bytes`, to be filled in place and then sealed under `key`: a
    /// large value that is made here is never copied. The session is busy with it until then;
    /// whoever fills several at a time has a session for each ([`Store::try_clone`]).
    ///
    /// ```
    /// # use morecore_store::{Create, Set, Store};
    /// # let how = Create { memory_bytes: 8 << 20, ..Create::default() };
    /// # let mut store = Store::anonymous(&how)?;
    /// let mut page = store.reserve(b"page", 100_000)?;
    /// page.fill(b'x');
    /// page.seal(&Set::default())?;
    /// assert_eq!(store.lease(b"page")?.expect("it was sealed")[99_999], b'x');
    /// # Ok::<(), morecore_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Store::set`].
    pub fn reserve(&mut self, key: &[u8], bytes: u64) -> Result<Reserve<'_>, Error> {
        self.session.enter_to_change()?;
        check_key(key)?;
        let turn = Turn(&mut self.session);
        let room = turn.0.room(key, bytes)?;
        Ok(Reserve { turn, key: key.to_vec(), room })
    }
}

impl Reserve<'_> {
    /// Makes the value shorter than what was reserved, when it turns out to be.
    ///
    /// # Panics
    /// If `bytes` is more than there are.
    pub fn truncate(&mut self, bytes: usize) {
        assert!(bytes <= self.len(), "{bytes} bytes of {} that were reserved", self.len());
        match &mut self.room {
            Room::Small(value) => value.truncate(bytes),
            Room::Payload { count, .. } => *count = bytes,
        }
    }

    /// Publishes the value under its key, if the condition holds; at once and whole, as
    /// [`Store::set`] does.
    ///
    /// # Errors
    /// As [`Store::set`].
    pub fn seal(self, how: &Set) -> Result<SetDone, Error> {
        self.turn.0.check_own()?;
        if let Room::Payload { at, .. } = self.room {
            let shape = Shape::extended(self.key.len() as u64, self.len() as u64);
            self.turn.0.put_sum(at + shape.bytes, &self.key, &self);
        }
        let session = &mut *self.turn.0;
        let sought = Sought::new(session.seed, &self.key);
        let act = match &self.room {
            Room::Small(value) => session.prepare(&sought, value, how.flags)?,
            &Room::Payload { at, claim, count, .. } => {
                let (key, count) = (self.key.len() as u64, count as u64);
                let bucket = Shape::extended(key, count).bucket(at, key, count, how.flags);
                Act::Put(bucket, Some(claim))
            }
        };
        session.put_if(&sought, act, how)
    }
}

impl Session {
    /// Room for a value of a key, claimed if it is in the segment.
    fn room(&mut self, key: &[u8], bytes: u64) -> Result<Room, Error> {
        let most = self.plan.value_bytes_most();
        if bytes > most {
            return Err(Error::ValueTooLong { bytes, most });
        }
        if key.len() as u64 + bytes <= INLINE_BYTES as u64 {
            return Ok(Room::Small(vec![0; bytes as usize]));
        }
        let shape = Shape::extended(key.len() as u64, bytes);
        let (at, claim) = self.claim_evicting(self.payload_bytes(shape), PAYLOAD_ALIGN)?;
        self.view.copy_in(at + shape.key_at, key);
        let begin = self.view.stretch(at + shape.value_at, bytes)?;
        Ok(Room::Payload { at, claim, begin, count: bytes as usize })
    }
}
