//! A thread's part of the heap: its magazines, and the slabs that it owns.
//!
//! ```text
//!   a thread's word --> Thread   [ magazine ] x CLASSES      what it hands out next
//!                                [ ring     ] x CLASSES      its slabs with a free block
//!                                [ all      ] x CLASSES      all its slabs
//!                                [ told     ] x CLASSES      others freed something of this class
//!
//!   begins --> runs --its end--> idle --the next thread--> runs ...
//! ```
//!
//! A free block stands in exactly one of three places: a magazine, its slab's mask, or (freed by a
//! thread that does not own the slab) its slab's remote mask. A record is never given back to the
//! system, so whoever frees a block of another's may always tell its owner.
//!
//! Promises: what a thread does with its own slabs needs no lock and no atomic operation; a free of
//! another's block is one, on a word out of the block. A thread's end gives back all that is free,
//! and leaves the rest to the threads that come.
//! Knows nothing of chunks, mappings or where core comes from.

use core::cell::Cell;
use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::AtomicU8;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use morecore_heap::{CLASSES, Class, Core, Given, Loan, NoJournal, Offset, Place, Slab, Slabs};

use crate::arena::{self, Arena};
use crate::line::{abort_for, rightly};
use crate::magazine::Magazine;

/// How many slabs of a class are looked through for what others freed before a new slab is made:
/// each look is a miss of the cache, and with 8 at most 1/8 of a class's slabs are more than
/// needed.
const LOOKS: u32 = 8;

/// So many blocks of one word freed after a first one make the word the magazine. Frees at random
/// over a few words seldom hit one of them four times in a row; an exchange costs about as much as
/// two frees into a slab, and saves up to 60.
const STREAK_MOST: u64 = 3;

/// What a thread owns.
///
/// # Invariants
/// - `own`: all but `told` is used only by the thread that runs with this record; of an idle one,
///   only by who holds the arena.
/// - `whole`: the ring of all slabs of a class has each slab once whose owner is this record.
#[repr(C, align(64))]
pub(crate) struct Thread {
    magazines: [Magazine; CLASSES],
    /// The state of [`Slabs`]: a word a class.
    rings: [Cell<u64>; CLASSES],
    /// For each class, one of the slabs; the others follow by their spare words.
    all: [Cell<u64>; CLASSES],
    /// For each class, the first block of the word in which a block was freed last; in the bits
    /// that a granule leaves free, how many were freed there before in a row.
    last: [Cell<u64>; CLASSES],
    /// For each class, how many slabs there are.
    counts: [Cell<u32>; CLASSES],
    /// The next idle record.
    pub(crate) next_idle: Cell<*mut Thread>,
    told: Told,
}

/// For each class, whether others freed something. On lines of its own: others write here.
#[repr(align(64))]
struct Told([AtomicU8; CLASSES]);

/// The record of threads that have none: all its magazines are empty and stay so, so the fast paths
/// never succeed and need no question.
#[repr(transparent)]
pub(crate) struct Nobody(Thread);

// SAFETY: nothing ever writes into it: every path that does asks for these two first.
unsafe impl Sync for Nobody {}

/// A thread that has not allocated yet.
pub(crate) static NOBODY: Nobody = Nobody(Thread::new());

/// A thread whose end was seen: it has given its record back.
pub(crate) static GONE: Nobody = Nobody(Thread::new());

impl Nobody {
    pub(crate) fn record(&self) -> *mut Thread {
        ptr::from_ref(&self.0).cast_mut()
    }
}

/// The spare words of a slab that link all slabs of a thread and class.
const NEXT: u64 = 0;
const PREVIOUS: u64 = 1;

impl Thread {
    pub(crate) const fn new() -> Self {
        Self {
            magazines: [const { Magazine::new() }; CLASSES],
            rings: [const { Cell::new(0) }; CLASSES],
            all: [const { Cell::new(0) }; CLASSES],
            last: [const { Cell::new(0) }; CLASSES],
            counts: [const { Cell::new(0) }; CLASSES],
            next_idle: Cell::new(ptr::null_mut()),
            told: Told([const { AtomicU8::new(0) }; CLASSES]),
        }
    }

    /// Makes a new record ready to be a thread's.
    pub(crate) fn prepare(&self) {
        Class::all().for_each(|class| self.magazine(class).prepare(class));
    }

    /// The magazine of a class.
    #[inline(always)]
    pub(crate) fn magazine(&self, class: Class) -> &Magazine {
        &self.magazines[class.index()]
    }

    /// Loads the empty magazine of `class`, and takes a block; `None` if there is no core.
    pub(crate) fn refill(&self, class: Class) -> Option<u64> {
        let magazine = self.magazine(class);
        loop {
            if let Some(loan) = self.slabs().borrow_word(&mut core(), class) {
                // The old loan has no bit left, so nothing goes back.
                magazine.load(class, loan);
                return magazine.take();
            }
            self.collect(None, class, LOOKS);
            // What others freed may have been of the very word on loan.
            if let Some(block) = magazine.take() {
                return Some(block);
            }
            if self.slabs().head(&core(), class).is_none() && !self.more(class) {
                return None;
            }
        }
    }

    /// Frees a block of a slab that this record owns, and that is not of a word on loan.
    ///
    /// If the magazine is used up, or the last blocks freed this way were of the same word, that
    /// word becomes the magazine: who takes apart what was built in a row frees word after word.
    #[inline(never)]
    pub(crate) fn give(&self, slab: Slab, class: Class, at: Offset) {
        let place = rightly(slab.place(class, at));
        // Acquire pairs with the Release in `tell`: we see the bits that we are told of.
        if self.told.0[class.index()].load(Acquire) != 0 {
            self.check_remote(slab, class, at);
        }
        let first = slab.block(class, place.word, 0).0;
        let last = &self.last[class.index()];
        let streak = if last.get() & !STREAK_MOST == first { last.get() + 1 } else { first };
        last.set(streak);
        if streak & STREAK_MOST == STREAK_MOST || self.magazine(class).is_used_up() {
            last.set(0);
            return self.exchange(slab, class, place);
        }
        match self.slabs().give_place(&mut core(), slab, class, place) {
            Some(Given::Kept) => {}
            Some(Given::Empty) => self.unseat(None, slab, class),
            None => abort_for(&slab.twice(class, at)),
        }
    }

    /// Makes the word at `place` the magazine, with the block there free in it.
    #[inline(never)]
    fn exchange(&self, slab: Slab, class: Class, place: Place) {
        let magazine = self.magazine(class);
        self.give_loan(None, class);
        let loan = self.slabs().borrow_word_of(&mut core(), slab, class, place.word);
        magazine.load(class, loan);
        rightly(magazine.give_bits(class, place.bit));
    }

    /// Gives what is left in the magazine back to its slab.
    fn give_loan(&self, arena: Option<&mut Arena>, class: Class) {
        let Some(loan) = self.magazine(class).unload(class) else { return };
        let Loan { slab, word, bits, .. } = loan;
        let given = self.slabs().return_word(&mut core(), slab, class, word, bits);
        if rightly(given) == Given::Empty {
            self.unseat(arena, slab, class);
        }
    }

    /// Ends the process if others have freed the block at `at` already.
    #[cold]
    fn check_remote(&self, slab: Slab, class: Class, at: Offset) {
        let place = rightly(slab.place(class, at));
        if slab.remote_mask(&core(), class, place.word) & place.bit != 0 {
            abort_for(&slab.twice(class, at));
        }
    }

    /// Is the block at `at`, of a slab that this record owns, free?
    pub(crate) fn is_free(&self, slab: Slab, class: Class, at: Offset) -> bool {
        let Ok(place) = slab.place(class, at) else { return false };
        let in_slab = slab.mask(&core(), place.word) & place.bit != 0;
        in_slab || self.magazine(class).has(at)
    }

    /// Tells the owner of a slab that something in it was freed.
    ///
    /// # Safety
    /// - `owner` is a record that was made by [`Arena::thread`].
    pub(crate) unsafe fn tell(owner: *mut Self, class: Class) {
        // SAFETY: records are never given back.
        let told = unsafe { &raw const (*owner).told };
        // SAFETY: as above; this part of a record is atomic, for everyone.
        let told = unsafe { &(*told).0[class.index()] };
        if told.load(Relaxed) == 0 {
            // Release pairs with the Acquire in `give` and `collect`.
            told.store(1, Release);
        }
    }

    /// Gives back all that is free: this thread ends, or the record's owner died in a fork.
    pub(crate) fn empty(&self, arena: &mut Arena) {
        for class in Class::all() {
            self.give_loan(Some(arena), class);
            self.told.0[class.index()].store(1, Relaxed);
        }
        self.tidy(arena);
    }

    /// Gives back what others have emptied: for the record of a thread that ended.
    pub(crate) fn tidy(&self, arena: &mut Arena) {
        for class in Class::all() {
            if self.told.0[class.index()].load(Relaxed) == 0 {
                continue;
            }
            self.collect(Some(arena), class, u32::MAX);
            if let Some(spare) = self.slabs().spare(&core(), class) {
                self.unseat(Some(arena), spare, class);
            }
        }
    }

    /// Takes over slabs of `class` with free blocks from a record that is idle. `true` if any came.
    fn adopt(&self, arena: &mut Arena, idle: &Self, class: Class) -> bool {
        idle.collect(Some(arena), class, LOOKS);
        let mut has_some = false;
        for _ in 0..LOOKS {
            let Some(slab) = idle.slabs().head(&core(), class) else { break };
            idle.slabs().leave(&mut core(), class, slab);
            idle.unlink(slab, class);
            self.link(slab, class);
            slab.owner(&core()).store(ptr::from_ref(self).expose_provenance() as u64, Relaxed);
            self.slabs().join(&mut core(), class, slab);
            has_some = true;
        }
        // Whoever read the old owner's name may have told that one only.
        self.told.0[class.index()].store(1, Relaxed);
        has_some
    }

    /// Gets a slab of `class` with free blocks: one that a thread left behind, or a new one.
    #[cold]
    fn more(&self, class: Class) -> bool {
        let mut arena = arena::hold();
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
        let owner = ptr::from_ref(self).expose_provenance() as u64;
        let units = arena::units();
        let slab = self.slabs().seat(&mut core(), units, class, payload, owner);
        self.link(slab, class);
        true
    }

    /// Puts what others freed into the masks, looking at `most` slabs if it was told of any.
    fn collect(&self, mut arena: Option<&mut Arena>, class: Class, most: u32) {
        let (told, all) = (&self.told.0[class.index()], &self.all[class.index()]);
        // Acquire pairs with the Release in `tell`.
        if told.load(Relaxed) == 0 || told.swap(0, Acquire) == 0 {
            return;
        }
        let count = self.counts[class.index()].get();
        for _ in 0..count.min(most) {
            let slab = Slab::at(Offset(all.get()));
            all.set(slab.spare(&core(), class, NEXT).load(Relaxed));
            if self.collect_slab(slab, class) == Given::Empty {
                self.unseat(arena.as_deref_mut(), slab, class);
            }
        }
        if count > most {
            // We did not come round.
            told.store(1, Relaxed);
        }
    }

    /// Puts what others freed in one slab into its mask, or into the magazine.
    fn collect_slab(&self, slab: Slab, class: Class) -> Given {
        let mut became = Given::Kept;
        while let Some((word, bits)) = slab.collect(&core(), class) {
            if self.magazine(class).is_of(class, slab, word) {
                rightly(self.magazine(class).give_bits(class, bits));
            } else {
                let given = self.slabs().return_word(&mut core(), slab, class, word, bits);
                became = rightly(given);
            }
        }
        became
    }

    /// Gives an empty slab back to the arena.
    #[inline(never)]
    fn unseat(&self, arena: Option<&mut Arena>, slab: Slab, class: Class) {
        self.unlink(slab, class);
        let Some(arena) = arena else { return self.unseat_from(&mut arena::hold(), slab, class) };
        self.unseat_from(arena, slab, class);
    }

    /// The part that needs the arena: the unit map and the chunk tier are shared.
    fn unseat_from(&self, arena: &mut Arena, slab: Slab, class: Class) {
        self.slabs().unseat(&mut core(), arena::units(), slab, class);
        arena.free_slab(slab);
    }

    /// Puts a slab into the ring of all.
    fn link(&self, slab: Slab, class: Class) {
        let (all, core) = (&self.all[class.index()], core());
        self.counts[class.index()].update(|count| count + 1);
        let begin = slab.begin().0;
        let next = if all.get() == 0 { begin } else { all.get() };
        let next_slab = Slab::at(Offset(next));
        let previous = match all.get() {
            0 => begin,
            _ => next_slab.spare(&core, class, PREVIOUS).load(Relaxed),
        };
        slab.spare(&core, class, NEXT).store(next, Relaxed);
        slab.spare(&core, class, PREVIOUS).store(previous, Relaxed);
        Slab::at(Offset(previous)).spare(&core, class, NEXT).store(begin, Relaxed);
        next_slab.spare(&core, class, PREVIOUS).store(begin, Relaxed);
        // The ring is looked through from here on: a new slab comes last.
        all.set(next);
    }

    /// Takes a slab out of the ring of all.
    fn unlink(&self, slab: Slab, class: Class) {
        let (all, core) = (&self.all[class.index()], core());
        self.counts[class.index()].update(|count| count - 1);
        let next = slab.spare(&core, class, NEXT).load(Relaxed);
        let previous = slab.spare(&core, class, PREVIOUS).load(Relaxed);
        Slab::at(Offset(previous)).spare(&core, class, NEXT).store(next, Relaxed);
        Slab::at(Offset(next)).spare(&core, class, PREVIOUS).store(previous, Relaxed);
        if all.get() == slab.begin().0 {
            all.set(if next == slab.begin().0 { 0 } else { next });
        }
    }

    #[inline(always)]
    pub(crate) fn slabs(&self) -> Slabs {
        Slabs::at(Offset(self.rings.as_ptr().expose_provenance() as u64))
    }
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
