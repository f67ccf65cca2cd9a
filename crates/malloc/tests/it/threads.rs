//! Many threads: payloads that are freed where they were not allocated, and threads that end.

use std::cell::RefCell;
use std::ffi::c_void;
use std::sync::{Barrier, mpsc};
use std::thread;

use morecore_malloc::c::{free, malloc, malloc_usable_size, realloc};

/// A payload that may travel between threads, filled with a number that tells who made it.
struct Parcel {
    payload: *mut c_void,
    bytes: usize,
    mark: u8,
}

// SAFETY: a parcel is its payload's only owner.
unsafe impl Send for Parcel {}

impl Parcel {
    fn new(bytes: usize, mark: u8) -> Self {
        let payload = malloc(bytes);
        assert!(!payload.is_null());
        // SAFETY: the payload is new, and so long.
        unsafe { payload.cast::<u8>().write_bytes(mark, bytes) };
        Self { payload, bytes, mark }
    }

    fn contents(&self) -> &[u8] {
        // SAFETY: the payload is ours alone, and so long.
        unsafe { std::slice::from_raw_parts(self.payload.cast(), self.bytes) }
    }

    /// Makes it as long as it may be, in place or elsewhere.
    fn grow(&mut self, bytes: usize) {
        // SAFETY: the payload is ours alone.
        self.payload = unsafe { realloc(self.payload, bytes) };
        self.bytes = self.bytes.min(bytes);
    }

    fn check(&self) {
        assert!(self.contents().iter().all(|byte| *byte == self.mark), "{}", self.bytes);
        // SAFETY: the payload is ours.
        assert!(unsafe { malloc_usable_size(self.payload) } >= self.bytes);
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        self.check();
        // SAFETY: the payload is ours alone, and used no more.
        unsafe { free(self.payload) };
    }
}

/// Mostly small, some medium, few large.
fn some_bytes(random: &mut fastrand::Rng) -> usize {
    match random.u32(0..1000) {
        0 => random.usize(0..2_000_000),
        1..20 => random.usize(0..100_000),
        _ => random.usize(0..600),
    }
}

#[test]
fn parcels_arrive_whole_when_every_thread_frees_what_others_made() {
    const THREADS: usize = 4;
    let mut random = crate::random();
    let (doors, rooms): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| mpsc::channel()).unzip();
    thread::scope(|scope| {
        for (own, room) in rooms.into_iter().enumerate() {
            let doors: Vec<mpsc::Sender<Parcel>> = doors.clone();
            let mut random = random.fork();
            scope.spawn(move || {
                let mut shelf = Vec::new();
                for _ in 0..30_000 {
                    let mut parcel = Parcel::new(some_bytes(&mut random), own as u8);
                    if random.u8(..) < 10 {
                        parcel.grow(some_bytes(&mut random).max(1));
                    }
                    let _ = doors[random.usize(0..THREADS)].send(parcel);
                    shelf.extend(room.try_iter());
                    while shelf.len() > 500 {
                        shelf.swap_remove(random.usize(0..shelf.len()));
                    }
                }
                drop(doors);
                drop(shelf);
                room.into_iter().for_each(drop);
            });
        }
        drop(doors);
    });
}

#[test]
fn a_pipeline_that_allocates_here_and_frees_there_does_not_grow() {
    crate::alone("threads::a_pipeline_that_allocates_here_and_frees_there_does_not_grow", || {
        let (door, room) = mpsc::sync_channel::<Parcel>(1000);
        let freer = thread::spawn(move || room.into_iter().for_each(drop));
        // 200 bytes x 300,000: 60 MB go through, 200 KB are alive. Anything that loses what was
        // freed elsewhere would need most of the 60.
        let before = crate::resident_bytes();
        for mark in 0..300_000u32 {
            door.send(Parcel::new(200, mark as u8)).unwrap();
        }
        let grown = crate::resident_bytes().saturating_sub(before);
        drop(door);
        freer.join().unwrap();
        assert!(grown < 3_000_000, "{grown} bytes");
    });
}

#[test]
fn what_a_thread_leaves_behind_is_used_by_the_next() {
    crate::alone("threads::what_a_thread_leaves_behind_is_used_by_the_next", || {
        let round = |mark| {
            let work = move || (0..2_000).map(|_| Parcel::new(300, mark)).collect::<Vec<_>>();
            thread::spawn(work).join().unwrap()
        };
        drop(round(0));
        let before = crate::resident_bytes();
        for mark in 1..100 {
            drop(round(mark));
        }
        // 99 rounds of 600 KB each.
        let grown = crate::resident_bytes().saturating_sub(before);
        assert!(grown < 2_000_000, "{grown} bytes");
    });
}

#[test]
fn the_others_use_what_a_thread_left_behind() {
    crate::alone("threads::the_others_use_what_a_thread_left_behind", || {
        let work = || (0..20_000).map(|_| Parcel::new(300, 1)).collect::<Vec<_>>();
        let mut left = thread::spawn(work).join().unwrap();
        // Every slab of the thread that is gone keeps a block, so none of them is empty.
        let mut index = 0;
        left.retain(|_| {
            index += 1;
            index % 50 == 0
        });
        let before = crate::resident_bytes();
        let here = work();
        let grown = crate::resident_bytes().saturating_sub(before);
        assert!(grown < 2_000_000, "{grown} bytes for {}", here.len());
    });
}

#[test]
fn what_many_threads_left_behind_makes_room_for_other_sizes() {
    crate::alone("threads::what_many_threads_left_behind_makes_room_for_other_sizes", || {
        let parcels = |bytes| (0..4_000).map(move |_| Parcel::new(bytes, 1)).collect::<Vec<_>>();
        // All live at once, so that each has a record of its own.
        let all_have_some = Barrier::new(24);
        let left: Vec<_> = thread::scope(|scope| {
            let work = || {
                let some = parcels(300);
                all_have_some.wait();
                some
            };
            let threads: Vec<_> = (0..24).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        drop(left);
        let before = crate::resident_bytes();
        let here: Vec<_> = (0..24).map(|_| parcels(200)).collect();
        let grown = crate::resident_bytes().saturating_sub(before);
        assert!(grown < 8_000_000, "{grown} bytes for {}", here.len());
    });
}

#[test]
fn a_destructor_of_a_dying_thread_may_still_allocate() {
    struct Late(Vec<Parcel>);
    impl Drop for Late {
        fn drop(&mut self) {
            self.0.push(Parcel::new(100, 9));
            self.0.extend((0..200).map(|i| Parcel::new(i * 10, 5)));
        }
    }
    thread_local! {
        static LATE: RefCell<Late> = const { RefCell::new(Late(Vec::new())) };
    }
    for _ in 0..20 {
        thread::spawn(|| LATE.with(|late| late.borrow_mut().0.push(Parcel::new(50, 1))))
            .join()
            .unwrap();
    }
}
