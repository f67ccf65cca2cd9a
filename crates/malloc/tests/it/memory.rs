//! What goes back to the system, and what stays warm.

/// Of payloads of the chunk tier, far larger than anything else here.
const LARGE_BYTES: usize = 20 << 20;

#[test]
fn what_is_large_and_freed_once_goes_back_at_once() {
    crate::alone("memory::what_is_large_and_freed_once_goes_back_at_once", || {
        let before = crate::resident_bytes();
        let payload = vec![1u8; LARGE_BYTES];
        assert!(crate::resident_bytes() > before + LARGE_BYTES / 2);
        drop(payload);
        let kept = crate::resident_bytes().saturating_sub(before);
        assert!(kept < 3_000_000, "{kept} bytes");
    });
}

#[test]
fn what_goes_up_and_down_stays_warm() {
    crate::alone("memory::what_goes_up_and_down_stays_warm", || {
        let before = faults();
        for mark in 0..200u8 {
            drop(std::hint::black_box(vec![mark; LARGE_BYTES]));
        }
        // Once is 5120 faults. What goes back early is faulted in a second time, hardly a third; a
        // slow machine may find that it rested in between.
        let count = faults() - before;
        assert!(count < 20 * 5120, "{count} faults");
    });
}

/// Returns how many pages this process has been given so far.
fn faults() -> usize {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // Behind the name in brackets, which may have blanks, the eighth word: proc_pid_stat(5).
    let words = stat.rsplit_once(')').unwrap().1;
    words.split_whitespace().nth(7).unwrap().parse().unwrap()
}

/// The ledger has a leaf for so many bytes, of which a thread keeps one in mind.
const LEAF_BYTES: usize = 512 << 20;

#[test]
fn a_thread_frees_and_takes_again_what_is_far_apart() {
    use morecore_malloc::c::{free, malloc};
    const COUNT: usize = 64;
    crate::alone("memory::a_thread_frees_and_takes_again_what_is_far_apart", || {
        let some = || (0..COUNT).map(|_| malloc(5_000)).collect::<Vec<_>>();
        let near = some();
        // Nobody touches these, so they are addresses only.
        let between: Vec<_> =
            (0..2 * LEAF_BYTES / LARGE_BYTES).map(|_| malloc(LARGE_BYTES)).collect();
        let far = some();
        assert_ne!(near[0].addr() / LEAF_BYTES, far[COUNT - 1].addr() / LEAF_BYTES);
        for pair in near.iter().zip(far.iter().rev()) {
            for payload in [*pair.0, *pair.1, *pair.1, *pair.0] {
                // SAFETY: it came from `malloc`, and nobody uses it.
                unsafe { free(payload) };
                // What was freed last is handed out next, wherever it is.
                assert_eq!(malloc(5_000), payload);
            }
        }
        for payload in near.into_iter().chain(between).chain(far) {
            // SAFETY: as above.
            unsafe { free(payload) };
        }
    });
}
