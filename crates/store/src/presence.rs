//! Being there: what the kernel takes back from a participant when it dies, in whatever namespace.
//!
//! ```text
//!   a file, or memory   a lock on byte 1 + slot, by an opening of the file of our own
//!   a segment           a semaphore for each slot, in a set with the segment's key (`SEM_UNDO`)
//!
//!   coming    our turn --> sit down on a slot --> identity --> next one's turn
//!   leaving   our turn --> identity = 0 --> the last one closes the file --> rise
//! ```
//!
//! A number and a start time tell who is gone within a namespace (`participant.rs`), unless the
//! number was used again within a tick of the clock. This tells it of everybody. Turns, by a lock
//! on byte 0, are for files: who comes first and who leaves last must be one.
//!
//! Promises: who has sat down is there until it rises or ends. Where a set of semaphores could not
//! be made, everybody of another namespace counts as there.
//! Source: fcntl(2), open file description locks; semop(2).

use std::time::{Duration, Instant};

use morecore_sys::descriptor::Descriptor;
use morecore_sys::file::{self, Access};
use morecore_sys::semaphore::{self, SetId};

use crate::Error;
use crate::file::{close, mark_used};
use crate::layout::{Plan, slot};
use crate::mapping::{Backing, Mapping};

/// The byte that whoever comes or leaves has locked; those of slots follow it.
const TURN_AT: u64 = 0;

/// How long somebody may take to come or to leave: the last one brings everything to the disk.
const TURN_MOST: Duration = Duration::from_secs(60);

/// How often we look whether it is our turn.
const LOOK: Duration = Duration::from_millis(1);

/// How the kernel knows that a participant is there.
#[derive(Debug)]
pub(crate) enum Presence {
    /// An opening of the file of our own, for its locks.
    Locks(Descriptor),
    /// The semaphores of a segment.
    Seats(SetId),
}

impl Presence {
    /// Takes the turn to come. In a store that is in a file this says that it is in use; `None`
    /// where the kernel is not told who is there.
    pub(crate) fn begin(mapping: &Mapping) -> Result<Option<Self>, Error> {
        let file = match mapping.backing() {
            Backing::Segment(seats) => return Ok(seats.map(Presence::Seats)),
            Backing::Inherited | Backing::Borrowed => return Ok(None),
            Backing::File(file) | Backing::Memory(file) => file,
        };
        let own = file::open_again(file, Access::Write)?;
        take_turn(&own)?;
        if let Backing::File(_) = mapping.backing() {
            mark_used(mapping)?;
        }
        Ok(Some(Presence::Locks(own)))
    }

    /// Sits down on a slot, before its identity says that it is ours; false if somebody else does.
    pub(crate) fn sit(&self, slot: u64) -> bool {
        match self {
            Presence::Locks(file) => matches!(file::try_lock(file, TURN_AT + 1 + slot), Ok(true)),
            // A set that was removed with its segment keeps nobody from what is still attached, and
            // tells of nobody that he is gone. Who cannot sit for another reason would count as
            // gone, and must not take part.
            Presence::Seats(set) => match semaphore::sit(*set, slot as u32) {
                Ok(has_sat) => has_sat,
                Err(failed) => [EIDRM, EINVAL].contains(&failed.errno.0),
            },
        }
    }

    /// Rises from a slot that is not ours any more.
    pub(crate) fn rise(&self, slot: u64) {
        // It fails where we do not sit, or the set is gone; then nothing is to be done.
        let _ = match self {
            Presence::Locks(file) => file::unlock(file, TURN_AT + 1 + slot),
            Presence::Seats(set) => semaphore::rise(*set, slot as u32),
        };
    }

    /// Lets the next one come or leave.
    pub(crate) fn end_turn(&self) -> Result<(), Error> {
        match self {
            Presence::Locks(file) => Ok(file::unlock(file, TURN_AT)?),
            Presence::Seats(_) => Ok(()),
        }
    }

    /// Whether the participant in a slot, which is not ours, is gone for sure.
    pub(crate) fn is_gone(&self, slot: u64) -> bool {
        let is_there = match self {
            Presence::Locks(file) => file::is_locked(file, TURN_AT + 1 + slot),
            Presence::Seats(set) => semaphore::is_taken(*set, slot as u32),
        };
        matches!(is_there, Ok(false))
    }

    /// Leaves a slot; the last one who leaves a file closes it. What fails leaves it in use.
    pub(crate) fn leave(&self, mapping: &Mapping, plan: &Plan, slot: u64) {
        let view = mapping.view();
        let has_turn = matches!(self, Presence::Locks(file) if take_turn(file).is_ok());
        view.store(plan.slot_at(slot) + slot::IDENTITY, 0);
        let is_empty =
            || (0..plan.slots).all(|slot| view.load(plan.slot_at(slot) + slot::IDENTITY) == 0);
        if has_turn && matches!(mapping.backing(), Backing::File(_)) && is_empty() {
            // Only if this fails it is not closed, and then nobody could be told.
            let _ = close(mapping);
        }
        self.rise(slot);
    }
}

/// errno(3): removed; and what semop(2) says of a number that no set has any more.
const EIDRM: i32 = 43;
const EINVAL: i32 = 22;

fn take_turn(file: &Descriptor) -> Result<(), Error> {
    let begin = Instant::now();
    while !file::try_lock(file, TURN_AT)? {
        if begin.elapsed() > TURN_MOST {
            return Err(Error::Busy { ms: begin.elapsed().as_millis() as u64 });
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}
