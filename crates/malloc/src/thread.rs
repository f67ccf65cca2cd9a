//! A thread's part of the heap: its magazines, and the slabs that it owns.
//!
//! ```text
//!   a thread's word --> Thread   [ magazine ] x MAGAZINES    what it hands out next
//!                                [ ring     ] x CLASSES      its slabs with a free block
//!                                [ told     ] --> unit --> unit ...   where others freed something
//!
//!   begins --> runs --its end--> idle --the next thread--> runs ...
//! ```
//!
//! A block that is not in use stands in exactly one of two places: a magazine, or its slab's mask.
//! One that another thread has freed is used until its owner collects it from the ledger
//! (`told.rs`). A record is never given back to the system, so whoever frees a block of another's
//! may always tell its owner.
//!
//! Promises: what a thread does with its own slabs needs no lock and no atomic operation. A
//! thread's end gives back all that is free, and leaves the rest to the threads that come.
//! Knows nothing of chunks, mappings or where core comes from.

mod ahead;
mod told;

use core::cell::Cell;
use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;

use morecore_heap::abort::broken;
use morecore_heap::{CLASSES, Class, Core, Given, NoJournal, Offset, Slab, Slabs, UNIT};

use crate::arena::{self, Arena};
use crate::ledger::{self, Bits, Known, Look, Stamp, freed};
use crate::line::{abort_for, rightly};
use crate::magazine::{Kind, MAGAZINES, Magazine, Waiting, room_bytes};
use crate::shelf::Shelf;

/// How many idle records are looked through for a slab, and how many slabs are taken over from one:
/// what a thread left behind is mostly in the first, and each look is a miss of the cache.
const LOOKS: u32 = 8;

/// For each new slab, so many magazines are looked at that may rest. Blocks that were freed at
/// random pin a slab each, so a program that has gone on to other sizes would hold up to 64 of a
/// class for nothing; this way all are seen while 16 slabs are made.
const RESTS: usize = MAGAZINES / 16;

/// So many blocks are freed the slow way, which looks for what others freed, before all of that is
/// collected: by then collecting costs less than the looks that it saves.
const SLOW_MOST: u32 = 64;

/// What a thread owns.
///
/// # Invariants
/// - `own`: all but `told` is used only by the thread that runs with this record; of an idle one,
///   only by who holds the arena.
/// - `stamped`: the ledger has this record's stamp for its slabs, and for no others.
/// - `told`: a unit is in the list of `told` from when somebody else was the first to free a block
///   in it until the owner collects; meanwhile its slab is not empty.
#[repr(C, align(64))]
pub(crate) struct Thread {
    magazines: [Magazine; MAGAZINES],
    /// The units where others freed something, linked in the ledger. On a line with what
    /// each free reads, for each free reads it, and others write it seldom.
    told: AtomicU64,
    stamp: Cell<Stamp>,
    /// The leaf of the ledger that its frees look into; nobody's is none.
    known: Known,
    /// How many blocks were freed the slow way since the last collection.
    slow: Cell<u32>,
    /// The magazine that is looked at next, whether it rests.
    next_rest: Cell<usize>,
    /// The next idle record.
    pub(crate) next_idle: Cell<*mut Thread>,
    /// The state of [`Slabs`]: a word a class.
    rings: [Cell<u64>; CLASSES],
}

/// The record of threads that have none: all its magazines are empty, without room, and stay so,
/// and it owns nothing; so the fast paths never succeed and need no question.
#[repr(transparent)]
pub(crate) struct Nobody(Thread);

// SAFETY: nothing ever writes into it: every path that does asks for these two first.
unsafe impl Sync for Nobody {}

/// A thread that has not allocated yet.
pub(crate) static NOBODY: Nobody = Nobody(Thread::new(Stamp::NOBODY));

/// A thread whose end was seen: it has given its record back.
pub(crate) static GONE: Nobody = Nobody(Thread::new(Stamp::NOBODY));

impl Nobody {
    pub(crate) fn record(&self) -> *mut Thread {
        ptr::from_ref(&self.0).cast_mut()
    }
}

impl Thread {
    pub(crate) const fn new(stamp: Stamp) -> Self {
        Self {
            magazines: [const { Magazine::new() }; MAGAZINES],
            told: AtomicU64::new(0),
            stamp: Cell::new(stamp),
            known: Known::none(),
            slow: Cell::new(0),
            next_rest: Cell::new(0),
            next_idle: Cell::new(ptr::null_mut()),
            rings: [const { Cell::new(0) }; CLASSES],
        }
    }

    /// Gives a new record's magazines their room: `magazine::room_bytes()` bytes, right behind it.
    pub(crate) fn furnish(&self) {
        Magazine::furnish(&self.magazines, self.rooms());
    }

    /// Gives back all that it can, for its thread ends: the next one begins with small rooms.
    pub(crate) fn retire(&self, arena: &mut Arena) {
        self.empty(arena);
        Magazine::narrow(&self.magazines, self.rooms());
    }

    /// Where the room of its magazines is.
    fn rooms(&self) -> *mut Waiting {
        let end = Offset(self.name()) + size_of::<Self>() as u64;
        core().pointer(end, room_bytes()).cast()
    }

    /// The magazine of a class.
    #[inline(always)]
    pub(crate) fn magazine(&self, class: Class) -> &Magazine {
        // SAFETY: just so.
        unsafe { self.magazine_at(Magazine::distance(class)) }
    }

    /// The magazine that stands so far behind the first.
    ///
    /// # Safety
    /// - `distance` is what [`Magazine::distance`] told of a class.
    #[inline(always)]
    pub(crate) unsafe fn magazine_at(&self, distance: u32) -> &Magazine {
        let first = ptr::from_ref(&self.magazines).cast::<Magazine>();
        // SAFETY: the caller's duty: it is one of them.
        unsafe { &*first.wrapping_byte_add(distance as usize) }
    }

    /// The magazine of a shelf.
    #[inline(always)]
    pub(crate) fn chunks(&self, shelf: Shelf) -> &Magazine {
        &self.magazines[Kind::Chunks(shelf).index()]
    }

    /// Which slabs of the ledger are this record's.
    #[inline(always)]
    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp.get()
    }

    /// What the ledger has for the block at `at`, if it is in a slab of this record, as far as the
    /// record knows: see [`Thread::learn`].
    #[inline(always)]
    pub(crate) fn look(&self, at: u64) -> Option<(u32, Bits)> {
        ledger::look(at, &self.known, self.stamp())
    }

    /// Learns where the ledger tells of `at`; `true`: a look at it may say something else now.
    #[inline(always)]
    pub(crate) fn learn(&self, at: u64) -> bool {
        self.has_stamp() && self.known.learn(at)
    }

    /// Does the ledger know its slabs?
    #[inline(always)]
    pub(crate) fn has_stamp(&self) -> bool {
        self.stamp() != Stamp::NOBODY
    }

    /// Have others freed something in its slabs that it has not collected yet?
    #[inline(always)]
    pub(crate) fn is_told(&self) -> bool {
        self.told.load(Relaxed) != 0
    }

    /// Fills the magazine of `class`, and takes a block; `None` if there is no core.
    pub(crate) fn refill(&self, class: Class) -> Option<u64> {
        let magazine = self.magazine(class);
        loop {
            // The record of those who come after their end may have some waiting.
            if let Some(block) = magazine.take() {
                return Some(block);
            }
            let is_filled = self.fill(class) || self.collect(None) || self.more(class);
            if !is_filled {
                return None;
            }
        }
    }

    /// Fills up to half of a dry magazine out of one mask word of the first slab with a free
    /// block; `false`: there is none. (Half, so that neither a free nor a request that follows
    /// finds it at its end.)
    fn fill(&self, class: Class) -> bool {
        if self.slabs().head(&core(), class).is_none() {
            return false;
        }
        // It is dry: what it had room for was too little.
        self.magazine(class).widen(class);
        let most = (self.magazine(class).size() as u32 / 2).min(u64::BITS);
        let Some(loan) = self.slabs().borrow(&mut core(), class, most) else { return false };
        let bytes = u64::from(class.shape().bytes);
        let look = Look::at(loan.first.0);
        let count = loan.bits.count_ones() as usize;
        let mut bits = loan.bits;
        let mut next = || {
            let block = loan.first.0 + u64::from(bits.trailing_zeros()) * bytes;
            bits &= bits.wrapping_sub(1);
            block
        };
        // The lowest comes to lie on top, so that they are handed out by address.
        let magazine = self.magazine(class);
        if look.covers(loan.first.0 + 64 * bytes) {
            magazine.lay(count, || {
                let block = next();
                Waiting::new(block, look.bits(block))
            });
        } else {
            magazine.lay(count, || {
                let block = next();
                Waiting::new(block, ledger::bits_of(block))
            });
        }
        true
    }

    /// Frees a block of a slab that this record owns, where the fast path can not: the magazine is
    /// full, others have freed something, or the free is wrong.
    #[cold]
    #[inline(never)]
    pub(crate) fn give(&self, slab: Slab, class: Class, at: Offset) {
        rightly(slab.place(class, at));
        let bits = ledger::bits_of(at.0);
        let is_told = self.is_told();
        let is_remote = is_told && freed::is_freed(at);
        if is_remote || !bits.strike(at.0) {
            abort_for(&slab.twice(class, at));
        }
        let magazine = self.magazine(class);
        if magazine.is_full() && !magazine.widen(class) {
            self.make_room(magazine, class);
        }
        magazine.push(Waiting::new(at.0, bits));
        self.slow.set(self.slow.get() + u32::from(is_told));
        if self.slow.get() > SLOW_MOST {
            self.collect(None);
        }
    }

    /// Puts some of the blocks of a full magazine back into their slabs' masks: half of them, those
    /// that wait longest. But where blocks are freed in a row only as many as are looked at for
    /// that, those that were freed last: by then they are no more likely to be wanted than others,
    /// and what comes next is fetched in portions that the processor keeps up with.
    fn make_room(&self, magazine: &Magazine, class: Class) {
        // SAFETY: what `put_back` does deals with slabs, not with this magazine.
        let newest = unsafe { magazine.newest(ahead::LOOKED_AT) };
        if ahead::fetch(newest, class) {
            self.put_back(None, class, newest);
            return magazine.drop_newest(newest.len());
        }
        self.store(None, class, magazine.size() / 2);
    }

    /// Puts the `count` blocks that wait longest in a magazine back into their slabs' masks.
    fn store(&self, arena: Option<&mut Arena>, class: Class, count: usize) {
        // SAFETY: as in `make_room`.
        let oldest = unsafe { self.magazine(class).oldest(count) };
        self.put_back(arena, class, oldest);
        self.magazine(class).drop_oldest(count);
    }

    /// Puts blocks back into their slabs' masks, each by itself: where one is freed in no order,
    /// whether the next is in the same slab is a question that a processor mostly guesses wrong.
    fn put_back(&self, mut arena: Option<&mut Arena>, class: Class, waiting: &[Waiting]) {
        for at in waiting.iter().map(|one| Offset(one.block())) {
            let slab = slab_of(class, at);
            let became =
                self.slabs().give_place(&mut core(), slab, class, slab.sure_place(class, at));
            match became {
                Some(Given::Kept) => {}
                Some(Given::Empty) => self.unseat(arena.as_deref_mut(), slab, class),
                None => abort_for(&slab.twice(class, at)),
            }
        }
    }

    /// Is the block at `at`, of a slab that this record may or may not own, known to be free?
    pub(crate) fn is_free(slab: Slab, class: Class, at: Offset) -> bool {
        slab.place(class, at).is_ok() && (!ledger::is_used(at) || freed::is_freed(at))
    }

    /// Gives back all that waits in the magazines, and what others freed. The slabs of blocks in
    /// use stay: this thread ends, or gives back what it can.
    pub(crate) fn empty(&self, arena: &mut Arena) {
        Kind::all().for_each(|kind| self.empty_one(arena, kind));
        self.tidy(arena);
    }

    /// Gives back what others have emptied, and empty slabs that are kept.
    pub(crate) fn tidy(&self, arena: &mut Arena) {
        self.collect(Some(arena));
        for class in Class::all() {
            if let Some(spare) = self.slabs().spare(&core(), class) {
                self.unseat(Some(arena), spare, class);
            }
        }
    }

    /// Takes over slabs of `class` with free blocks from a record that is idle. `true` if any came.
    fn adopt(&self, arena: &mut Arena, idle: &Self, class: Class) -> bool {
        idle.collect(Some(arena));
        let mut has_some = false;
        for _ in 0..LOOKS {
            let Some(slab) = idle.slabs().head(&core(), class) else { break };
            idle.slabs().leave(&mut core(), class, slab);
            // Whoever reads the old name tells the old owner, who passes it on.
            slab.owner(&core()).store(self.name(), Relaxed);
            ledger::assign(slab, class, self.stamp(), Magazine::distance(class));
            self.slabs().join(&mut core(), class, slab);
            has_some = true;
        }
        has_some
    }

    /// Gets a slab of `class` with free blocks: one that a thread left behind, or a new one.
    #[cold]
    fn more(&self, class: Class) -> bool {
        let mut arena = arena::hold();
        self.empty_resting(&mut arena);
        let mut idle = arena.first_idle();
        for _ in 0..LOOKS {
            if idle.is_null() {
                break;
            }
            // SAFETY: idle records are never given back, and by `own` ours while we hold the arena.
            let record = unsafe { &*idle };
            if self.adopt(&mut arena, record, class) {
                return true;
            }
            idle = record.next_idle.get();
        }
        let Some(payload) = arena.allocate_slab(class) else { return false };
        let (slabs, units) = (self.slabs(), arena::units());
        let slab = slabs.seat(&mut core(), units, class, payload, self.name());
        ledger::assign(slab, class, self.stamp(), Magazine::distance(class));
        true
    }

    /// Gives back what waits in a few of the magazines, if it rests.
    fn empty_resting(&self, arena: &mut Arena) {
        let first = self.next_rest.get();
        for kind in Kind::all().cycle().skip(first).take(RESTS) {
            if self.magazines[kind.index()].rests() {
                self.empty_one(arena, kind);
            }
        }
        self.next_rest.set((first + RESTS) % MAGAZINES);
    }

    /// Gives back all that waits in one magazine.
    fn empty_one(&self, arena: &mut Arena, kind: Kind) {
        match kind {
            Kind::Blocks(class) => self.store(Some(arena), class, usize::MAX),
            Kind::Chunks(shelf) => {
                // SAFETY: to free a chunk does not touch the magazine.
                for waiting in unsafe { self.chunks(shelf).oldest(usize::MAX) } {
                    rightly(arena.free(Offset(waiting.block())));
                }
                self.chunks(shelf).drop_oldest(usize::MAX);
            }
        }
    }

    /// Gives an empty slab back to the arena.
    #[inline(never)]
    fn unseat(&self, arena: Option<&mut Arena>, slab: Slab, class: Class) {
        ledger::retract(slab, class);
        let Some(arena) = arena else { return self.unseat_from(&mut arena::hold(), slab, class) };
        self.unseat_from(arena, slab, class);
    }

    /// The part that needs the arena: the unit map and the chunk tier are shared.
    fn unseat_from(&self, arena: &mut Arena, slab: Slab, class: Class) {
        self.slabs().unseat(&mut core(), arena::units(), slab, class);
        arena.free_slab(slab);
    }

    /// What the owner word of its slabs says.
    pub(crate) fn name(&self) -> u64 {
        ptr::from_ref(self).expose_provenance() as u64
    }

    #[inline(always)]
    pub(crate) fn slabs(&self) -> Slabs {
        Slabs::at(Offset(self.rings.as_ptr().expose_provenance() as u64))
    }
}

/// The slab of `class` that a block at `at` is in.
#[inline(always)]
fn slab_of(class: Class, at: Offset) -> Slab {
    if class.shape().units == 1 {
        return Slab::at(at.align_down(UNIT));
    }
    let Some((slab, _)) = arena::units().slab_of(&core(), at) else { broken("stamped", at) };
    slab
}

/// The core of this process.
#[inline(always)]
pub(crate) fn core() -> Core<NoJournal> {
    // SAFETY: every region that the arena takes up is mapped and ours until it goes back; who
    // changes a slab owns it, and who changes chunks or the unit map holds the arena.
    unsafe { Core::process() }
}

/// What the C library calls at a thread's end.
///
/// # Safety
/// - `record` is what this thread's word names.
pub(crate) unsafe extern "C" fn at_end(record: *mut c_void) {
    crate::local::set_thread(GONE.record());
    arena::hold().retire(record.cast());
}
