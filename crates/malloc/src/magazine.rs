//! A magazine: a thread's short stack of free blocks of one class, or chunks of one shelf.
//!
//! ```text
//!   bottom                    top             end
//!     |                        |               |
//!     [ block ][ block ] ... [ block ]   ...        each: address, place of its bit in the ledger
//!       oldest                 newest
//! ```
//!
//! What was freed last is handed out next: it is still in the cache. The place of the bit is kept
//! beside the address, so that handing out needs no look-up.
//!
//! ```text
//!   rooms   [ 16 of class 0 ][ 16 of class 1 ] ... [ all of class 0 ] ... [ shelves ]
//!             no room --dry or full--> 8 --dry or full--> 16 --dry or full--> all
//! ```
//!
//! A class gets its large room when it has shown that it needs one: the small ones of all classes
//! together take two or three pages, where a page of each large one would be twenty.
//!
//! Promises: taking a block and giving one touch the magazine and one word of the ledger, and
//! neither the block nor its slab.
//! Knows nothing of where blocks come from and go to: that is `thread.rs`.

use core::cell::Cell;
use core::ptr;
use core::sync::atomic::AtomicU64;

use morecore_heap::{CLASSES, Class};

use crate::ledger::Bits;
use crate::shelf::{SHELVES, Shelf};

/// A magazine holds so many bytes of blocks, as far as the three numbers below let it: what waits
/// here pins its slab, but what goes back into a mask and comes out of it again costs as much as
/// the pair itself.
const BYTES: u64 = 16 << 10;

/// Of the least blocks it holds twice as many bytes: there are mostly thousands of those, a pair
/// costs more beside what is done with it, and few of their slabs are ever empty.
const BYTES_LEAST: u64 = 32 << 10;
const BLOCK_LEAST: u64 = 32;

/// It holds at most so many blocks: each takes 16 bytes of the magazine's own.
const BLOCKS_MOST: u64 = 2048;

/// And so many of blocks that are larger, but of those at most so many bytes. (With half of it a
/// program that takes and frees pages in turn took twice as long.)
const BLOCKS_LARGE: u64 = 64;
const BYTES_MOST: u64 = 64 << 10;

const BLOCKS_LEAST: u64 = 2;

/// The room that a magazine of blocks gets first, and the one that it gets next, both in the same
/// place: what a thread of a few hundred payloads needs of most classes.
const ROOM_FIRST: usize = 8;
const ROOM_NEXT: usize = 16;

/// Of chunks at most so many bytes wait, but at least one: what waits cannot coalesce.
const CHUNK_BYTES_MOST: u64 = 256 << 10;

/// A free block that waits to be handed out.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Waiting {
    block: u64,
    bits: *const AtomicU64,
}

impl Waiting {
    /// The block at `block`, of whose granules `bits` are.
    #[inline(always)]
    pub(crate) fn new(block: u64, bits: Bits) -> Self {
        Self { block, bits: bits.place() }
    }

    /// Its address.
    pub(crate) fn block(self) -> u64 {
        self.block
    }
}

/// The place above the top of a magazine.
#[derive(Clone, Copy)]
pub(crate) struct Room(*mut Waiting);

/// The blocks of a class, or the chunks of a shelf, that a thread hands out next.
///
/// # Invariants
/// - `within`: `bottom <= top <= end`, all in room of this magazine's own; all null if it has none.
/// - `waiting`: from `bottom` up to `top` stand blocks that are neither used nor in a mask.
#[repr(C, align(32))]
pub(crate) struct Magazine {
    top: Cell<*mut Waiting>,
    bottom: Cell<*mut Waiting>,
    end: Cell<*mut Waiting>,
    /// Where `top` was when somebody last asked whether the magazine rests.
    seen: Cell<*mut Waiting>,
}

// Two magazines share a line of the cache, and none lies on two.
const _: () = assert!(size_of::<Magazine>() == 32);

/// How many magazines a thread has: one for each class, then one for each shelf.
pub(crate) const MAGAZINES: usize = CLASSES + SHELVES;

/// What a magazine holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Blocks of a class.
    Blocks(Class),
    /// Chunks that serve what is asked of a shelf.
    Chunks(Shelf),
}

impl Kind {
    /// All of them, in the order of a thread's magazines.
    pub(crate) fn all() -> impl Iterator<Item = Self> + Clone {
        Class::all().map(Self::Blocks).chain(Shelf::all().map(Self::Chunks))
    }

    /// Its place among a thread's magazines.
    #[inline(always)]
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Blocks(class) => class.index(),
            Self::Chunks(shelf) => CLASSES + shelf.index(),
        }
    }

    /// How many a magazine of this kind has room for.
    pub(crate) fn room(self) -> usize {
        match self {
            Self::Blocks(class) => {
                let index = class.index();
                (LARGE_ROOMS[index + 1] - LARGE_ROOMS[index]) as usize
            }
            Self::Chunks(shelf) => (CHUNK_BYTES_MOST / shelf.bytes()).max(1) as usize,
        }
    }
}

/// The bytes of room that the magazines of a thread need.
pub(crate) fn room_bytes() -> u64 {
    let shelves: usize = Shelf::all().map(|shelf| Kind::Chunks(shelf).room()).sum();
    (LARGE_ROOMS[CLASSES] as usize + shelves) as u64 * size_of::<Waiting>() as u64
}

/// Where the large room of each class begins, in rooms that begin with the small ones; and where
/// the last one ends.
static LARGE_ROOMS: [u32; CLASSES + 1] = large_rooms();

const fn large_rooms() -> [u32; CLASSES + 1] {
    let mut rooms = [(CLASSES * ROOM_NEXT) as u32; CLASSES + 1];
    let mut number = 0;
    while number < CLASSES {
        let room = match Class::from_number(number as u8) {
            Some(class) => room_of(class),
            None => 0,
        };
        rooms[number + 1] = rooms[number] + room as u32;
        number += 1;
    }
    rooms
}

/// How many blocks of a class a magazine has room for.
const fn room_of(class: Class) -> usize {
    let bytes = class.shape().bytes as u64;
    let most = BYTES_MOST / bytes;
    let large = if most < BLOCKS_LARGE { most } else { BLOCKS_LARGE };
    let small = if bytes <= BLOCK_LEAST { BYTES_LEAST } else { BYTES } / bytes;
    let room = if small > large { small } else { large };
    assert!(room >= BLOCKS_LEAST && room <= BLOCKS_MOST);
    room as usize
}

impl Magazine {
    /// One that has no room.
    pub(crate) const fn new() -> Self {
        let none = ptr::null_mut();
        let (top, bottom) = (Cell::new(none), Cell::new(none));
        Self { top, bottom, end: Cell::new(none), seen: Cell::new(none) }
    }

    /// Gives each magazine its place in `rooms`, `room_bytes()` bytes that are theirs from now on.
    pub(crate) fn furnish(magazines: &[Self; MAGAZINES], rooms: *mut Waiting) {
        Self::narrow(magazines, rooms);
        let mut place = rooms.wrapping_add(LARGE_ROOMS[CLASSES] as usize);
        for (magazine, kind) in magazines.iter().zip(Kind::all()).skip(CLASSES) {
            magazine.begin_in(place, kind.room());
            place = place.wrapping_add(kind.room());
        }
    }

    /// Makes those of blocks, which are empty, as they were when they were furnished with `rooms`:
    /// they have no room until they ask for some.
    pub(crate) fn narrow(magazines: &[Self; MAGAZINES], rooms: *mut Waiting) {
        for (index, magazine) in magazines.iter().take(CLASSES).enumerate() {
            debug_assert!(magazine.count() == 0);
            magazine.begin_in(rooms.wrapping_add(index * ROOM_NEXT), 0);
        }
    }

    fn begin_in(&self, place: *mut Waiting, room: usize) {
        self.bottom.set(place);
        self.top.set(place);
        self.end.set(place.wrapping_add(room));
    }

    /// How many it has room for now.
    pub(crate) fn size(&self) -> usize {
        (self.end.get().addr() - self.bottom.get().addr()) / size_of::<Waiting>()
    }

    /// Gets more room, if there is more for its class; `false`: it has all. It was furnished.
    #[inline]
    pub(crate) fn widen(&self, class: Class) -> bool {
        let (size, most) = (self.size(), Kind::Blocks(class).room());
        if size == most {
            return false;
        }
        self.widen_from(class, size, most);
        true
    }

    #[cold]
    #[inline(never)]
    fn widen_from(&self, class: Class, size: usize, most: usize) {
        let bottom = self.bottom.get();
        if size < ROOM_NEXT {
            let wanted = if size < ROOM_FIRST { ROOM_FIRST } else { ROOM_NEXT };
            self.end.set(bottom.wrapping_add(wanted.min(most)));
            return;
        }
        let first = bottom.wrapping_sub(class.index() * ROOM_NEXT);
        let (room, count) = (first.wrapping_add(LARGE_ROOMS[class.index()] as usize), self.count());
        // SAFETY: by `within` so many stand in the one room, and the other is longer and this
        // magazine's own, by `furnish`.
        unsafe { ptr::copy_nonoverlapping(bottom, room, count) };
        self.bottom.set(room);
        self.top.set(room.wrapping_add(count));
        self.end.set(room.wrapping_add(most));
    }

    /// Takes the block that was freed last; it is used from now on.
    #[inline(always)]
    pub(crate) fn take(&self) -> Option<u64> {
        if self.top.get() == self.bottom.get() {
            return None;
        }
        let top = self.top.get().wrapping_sub(1);
        self.top.set(top);
        // SAFETY: by `within` and `waiting` a block stands there.
        let waiting = unsafe { top.read() };
        // SAFETY: the place came from `Bits::place`, in `Waiting::new`.
        unsafe { Bits::at(waiting.bits) }.enter(waiting.block);
        Some(waiting.block)
    }

    /// Is there no room for one more?
    #[inline(always)]
    pub(crate) fn is_full(&self) -> bool {
        self.top.get() == self.end.get()
    }

    /// Where the next free block goes, if there is room for one.
    #[inline(always)]
    pub(crate) fn room(&self) -> Option<Room> {
        let top = self.top.get();
        if top == self.end.get() { None } else { Some(Room(top)) }
    }

    /// Puts a free block on top, where `room` said; nothing was taken or pushed meanwhile.
    #[inline(always)]
    pub(crate) fn push_into(&self, room: Room, waiting: Waiting) {
        debug_assert!(room.0 == self.top.get());
        // SAFETY: by `within` there is room, and it is ours.
        unsafe { room.0.write(waiting) };
        self.top.set(room.0.wrapping_add(1));
    }

    /// How many more it has room for.
    pub(crate) fn room_left(&self) -> usize {
        (self.end.get().addr() - self.top.get().addr()) / size_of::<Waiting>()
    }

    /// How many blocks wait here.
    pub(crate) fn count(&self) -> usize {
        (self.top.get().addr() - self.bottom.get().addr()) / size_of::<Waiting>()
    }

    /// Does something wait here that nobody wanted since this was asked last? (Or has as much come
    /// as gone: that is seldom, and to be taken for idle costs little.)
    pub(crate) fn rests(&self) -> bool {
        let top = self.top.get();
        self.seen.replace(top) == top && top != self.bottom.get()
    }

    /// Puts a free block on top. There is room: the caller asked [`Magazine::is_full`].
    #[inline(always)]
    pub(crate) fn push(&self, waiting: Waiting) {
        debug_assert!(!self.is_full());
        self.push_into(Room(self.top.get()), waiting);
    }

    /// Puts `count` free blocks on top, the first that `next` gives as the highest. There is room.
    #[inline(always)]
    pub(crate) fn lay(&self, count: usize, mut next: impl FnMut() -> Waiting) {
        let top = self.top.get();
        debug_assert!(self.end.get().addr() - top.addr() >= count * size_of::<Waiting>());
        for index in (0..count).rev() {
            // SAFETY: by `within`, as there is room for `count`, and it is ours.
            unsafe { top.wrapping_add(index).write(next()) };
        }
        self.top.set(top.wrapping_add(count));
    }

    /// How far behind the first of a thread's magazines that of `class` stands, in bytes: what the
    /// ledger tells a free, so that it has nothing to compute.
    pub(crate) const fn distance(class: Class) -> u32 {
        class.number() as u32 * size_of::<Self>() as u32
    }

    /// The class of the magazine that stands so far behind the first.
    #[inline(always)]
    pub(crate) fn class(distance: u32) -> Option<Class> {
        Class::from_number((distance / size_of::<Self>() as u32) as u8)
    }

    /// The `count` that wait longest, the oldest first.
    ///
    /// # Safety
    /// - Nothing is taken or pushed while they are looked at.
    pub(crate) unsafe fn oldest(&self, count: usize) -> &[Waiting] {
        let count = count.min(self.count());
        if count == 0 {
            return &[];
        }
        // SAFETY: by `within` and `waiting` so many stand there, and the caller sees to it that
        // they stay.
        unsafe { core::slice::from_raw_parts(self.bottom.get(), count) }
    }

    /// The `count` that were freed last, the oldest of them first.
    ///
    /// # Safety
    /// - Nothing is taken or pushed while they are looked at.
    pub(crate) unsafe fn newest(&self, count: usize) -> &[Waiting] {
        let count = count.min(self.count());
        if count == 0 {
            return &[];
        }
        // SAFETY: as in `oldest`.
        unsafe { core::slice::from_raw_parts(self.top.get().wrapping_sub(count), count) }
    }

    /// Takes out the `count` that were freed last.
    pub(crate) fn drop_newest(&self, count: usize) {
        self.top.set(self.top.get().wrapping_sub(count.min(self.count())));
    }

    /// Takes out the `count` that wait longest.
    pub(crate) fn drop_oldest(&self, count: usize) {
        let (bottom, here) = (self.bottom.get(), self.count());
        let count = count.min(here);
        // SAFETY: what stays are `here - count` of them, in the magazine's own room.
        unsafe { ptr::copy(bottom.wrapping_add(count), bottom, here - count) };
        self.top.set(bottom.wrapping_add(here - count));
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn the_newest_is_taken_first_and_the_oldest_dropped() {
        static WORD: AtomicU64 = AtomicU64::new(0);
        // SAFETY: the word is there for ever.
        let bits = unsafe { Bits::at(&raw const WORD) };
        let magazines = [const { Magazine::new() }; MAGAZINES];
        assert!(magazines[0].is_full() && magazines[0].take().is_none());
        let count = room_bytes() as usize / size_of::<Waiting>();
        let mut rooms = Vec::<Waiting>::with_capacity(count);
        Magazine::furnish(&magazines, rooms.as_mut_ptr());
        for (kind, magazine) in Kind::all().zip(&magazines) {
            assert!(std::ptr::eq(magazine, &raw const magazines[kind.index()]));
            for number in 0..kind.room() as u64 {
                if magazine.is_full() {
                    assert!(matches!(kind, Kind::Blocks(class) if magazine.widen(class)));
                }
                magazine.push(Waiting::new(number * 16, bits));
            }
            assert!(magazine.is_full() && magazine.count() == kind.room());
            assert!(!matches!(kind, Kind::Blocks(class) if magazine.widen(class)));
        }
        // Each has a place of its own: what was pushed into one is in no other.
        for (kind, magazine) in Kind::all().zip(&magazines) {
            // SAFETY: nobody else uses it.
            let waiting = unsafe { magazine.oldest(usize::MAX) };
            assert_eq!(waiting.len(), kind.room());
            let is_own = |(number, one): (usize, &Waiting)| one.block() == number as u64 * 16;
            assert!(waiting.iter().enumerate().all(is_own), "{kind:?}");
        }
        let first = &magazines[0];
        let room = first.count();
        let newest = |number: usize| Some((room - number) as u64 * 16);
        assert_eq!((first.take(), first.take()), (newest(1), newest(2)));
        // SAFETY: nobody else uses it.
        let oldest = unsafe { first.oldest(3) };
        assert_eq!(oldest.iter().map(|one| one.block()).collect::<Vec<_>>(), [0, 16, 32]);
        first.drop_oldest(3);
        // SAFETY: as above.
        let last = unsafe { first.newest(2) };
        let numbers = [room as u64 - 4, room as u64 - 3];
        assert_eq!(last.iter().map(|one| one.block() / 16).collect::<Vec<_>>(), numbers);
        first.push(Waiting::new(7, bits));
        first.drop_newest(1);
        // SAFETY: as above.
        let rest = unsafe { first.oldest(usize::MAX) };
        assert_eq!((rest.len(), rest[0].block()), (room - 5, 48));
        assert_eq!((first.count(), first.take()), (room - 5, newest(3)));
        first.drop_oldest(usize::MAX);
        assert_eq!((first.count(), first.take()), (0, None));
    }
}
