//! Forks of a program with many threads: both sides have a whole heap.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

/// Allocates in every tier, checks what it wrote, and frees.
fn work(random: &mut fastrand::Rng) {
    let mut values: Vec<Vec<u8>> = Vec::new();
    for mark in 0..200u8 {
        values.push(vec![mark; 1 << random.u32(0..19)]);
        if random.bool() {
            values.swap_remove(random.usize(0..values.len()));
        }
    }
    assert!(values.iter().all(|value| value.iter().all(|byte| *byte == value[0])));
}

#[test]
fn a_child_of_a_busy_program_can_allocate_free_and_fork() {
    let is_over = AtomicBool::new(false);
    let mut random = crate::random();
    thread::scope(|scope| {
        for _ in 0..3 {
            let mut random = random.fork();
            let is_over = &is_over;
            scope.spawn(move || {
                while !is_over.load(Relaxed) {
                    work(&mut random);
                }
            });
        }
        for _ in 0..30 {
            let before_the_fork = vec![7u8; 1000];
            // SAFETY: the child only uses the heap, which is what is tested, and ends by `_exit`.
            let child = unsafe { libc::fork() };
            assert!(child >= 0);
            if child == 0 {
                work(&mut random);
                drop(before_the_fork);
                // SAFETY: `_exit` has no preconditions.
                unsafe { libc::_exit(grandchild(&mut random)) };
            }
            assert_eq!(exit_code(child), 0);
            work(&mut random);
        }
        is_over.store(true, Relaxed);
    });
}

/// Forks again: a child of a child has a whole heap as well.
fn grandchild(random: &mut fastrand::Rng) -> i32 {
    // SAFETY: as in the test.
    let child = unsafe { libc::fork() };
    if child == 0 {
        work(random);
        // SAFETY: `_exit` has no preconditions.
        unsafe { libc::_exit(0) };
    }
    exit_code(child)
}

fn exit_code(child: i32) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is ours to be written.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status), "status {status:#x}");
    libc::WEXITSTATUS(status)
}
