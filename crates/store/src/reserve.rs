//! Filling a value in place: room is reserved in the segment, filled, and sealed under its key.
//!
//! ```text
//!   reserve --> claimed, nobody else knows it --seal--> the entry's value
//!                        |
//!                        +-- dropped, or its maker died --> free
//! ```
//!
//! A [`Reserve`] borrows a session; a [`Filler`] has one of its own, so it can be put aside while a
//! value comes in pieces, and be used again for the next.
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

/// A session of its own for values that come in pieces: each is received where it will stand, and
/// nobody sees it until it is sealed. One value at a time.
///
/// ```
/// # use morecore_store::{Create, Filler, Set, Store};
/// # let how = Create { memory_bytes: 8 << 20, ..Create::default() };
/// # let mut store = Store::anonymous(&how)?;
/// let mut filler = Filler::new(store.try_clone()?);
/// filler.begin(b"page", 100_000)?;
/// filler.room()[..50_000].fill(b'x');
/// assert!(store.peek(b"page")?.is_none());
/// filler.room()[50_000..].fill(b'y');
/// filler.seal(&Set::default())?;
/// assert_eq!(store.lease(b"page")?.expect("it was sealed")[99_999], b'y');
/// # Ok::<(), morecore_store::Error>(())
/// ```
#[derive(Debug)]
pub struct Filler {
    store: Store,
    key: Vec<u8>,
    room: Option<Room>,
}

#[derive(Debug)]
enum Room {
    /// A value that will stand in its bucket is collected here.
    Small(Vec<u8>),
    /// `count` bytes from `begin`, in the payload at `at`.
    Payload { at: u64, claim: u64, begin: *mut u8, count: usize },
}

// SAFETY: the payload that it points to is claimed by one session, which may be sent, and by nobody
// else; a room stays beside its session.
unsafe impl Send for Room {}

impl Room {
    fn bytes(&self) -> &[u8] {
        match self {
            Room::Small(value) => value,
            // SAFETY: `count` bytes from `begin` are inside the mapping that the session beside
            // this keeps, and claimed: nobody else reads or writes them.
            Room::Payload { begin, count, .. } => unsafe {
                std::slice::from_raw_parts(*begin, *count)
            },
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Room::Small(value) => value,
            // SAFETY: as in `bytes`; and `self` is borrowed exclusively.
            Room::Payload { begin, count, .. } => unsafe {
                std::slice::from_raw_parts_mut(*begin, *count)
            },
        }
    }
}

impl Deref for Reserve<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.room.bytes()
    }
}

impl DerefMut for Reserve<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.room.bytes_mut()
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
        self.turn.0.seal(&self.key, &self.room, how)
    }
}

impl Filler {
    /// Values are filled in by this session from now on.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, key: Vec::new(), room: None }
    }

    /// Reserves room for a value of `bytes` under `key`. What was begun before and not sealed is
    /// abandoned.
    ///
    /// # Errors
    /// As [`Store::set`].
    pub fn begin(&mut self, key: &[u8], bytes: u64) -> Result<(), Error> {
        self.abandon();
        let session = &mut self.store.session;
        session.enter_to_change()?;
        check_key(key)?;
        match session.room(key, bytes) {
            Ok(room) => {
                self.room = Some(room);
                self.key.clear();
                self.key.extend_from_slice(key);
                Ok(())
            }
            Err(error) => {
                session.abandon();
                Err(error)
            }
        }
    }

    /// The key of the value that was begun last.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The room that is to be filled; none if nothing was begun.
    pub fn room(&mut self) -> &mut [u8] {
        self.room.as_mut().map_or(&mut [], Room::bytes_mut)
    }

    /// As [`Reserve::seal`]; where that fails, the value is gone.
    ///
    /// # Errors
    /// As [`Store::set`].
    ///
    /// # Panics
    /// If nothing was begun.
    pub fn seal(&mut self, how: &Set) -> Result<SetDone, Error> {
        let room = self.room.take().expect("a value that is sealed was begun");
        let turn = Turn(&mut self.store.session);
        turn.0.seal(&self.key, &room, how)
    }

    /// Gives up what was begun, if anything was.
    pub fn abandon(&mut self) {
        if self.room.take().is_some() {
            self.store.session.abandon();
        }
    }

    /// As [`Store::set_now`].
    pub fn set_now(&mut self, now_ms: Option<u64>) {
        self.store.set_now(now_ms);
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

    /// Publishes what is in a room under its key; what the session holds is let go by its turn.
    fn seal(&mut self, key: &[u8], room: &Room, how: &Set) -> Result<SetDone, Error> {
        self.check_own()?;
        let sought = Sought::new(self.seed, key);
        let act = match room {
            Room::Small(value) => self.prepare(&sought, value, how.flags)?,
            &Room::Payload { at, claim, count, .. } => {
                let shape = Shape::extended(key.len() as u64, count as u64);
                self.put_sum(at + shape.bytes, key, room.bytes());
                let bucket = shape.bucket(at, key.len() as u64, count as u64, how.flags);
                Act::Put(bucket, Some(claim))
            }
        };
        self.put_if(&sought, act, how)
    }
}
