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
