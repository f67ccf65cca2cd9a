//! Where addresses are limited (`ulimit -v`), what is kept for later is given up before anybody is
//! refused, and nothing is broken after a refusal.

use std::ffi::c_void;

use morecore_malloc::c::{free, malloc, realloc};

const MIB: usize = 1 << 20;

fn give_back(payload: *mut c_void) {
    // SAFETY: it came from `malloc`, and is used no more.
    unsafe { free(payload) };
}

/// Lets this process have `more` bytes of addresses beside those that it has.
fn limit_addresses(more: usize) {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').next().unwrap().parse().unwrap();
    let most = (pages * 4096 + more) as u64;
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: the limit is read only.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
}

/// Takes and frees large payloads until some are kept warm.
fn keep_some_warm() {
    for _ in 0..4 {
        let payloads = [malloc(40 * MIB), malloc(35 * MIB)];
        payloads.into_iter().for_each(give_back);
    }
}

#[test]
fn addresses_that_are_reserved_serve_a_large_request() {
    crate::alone("limits::addresses_that_are_reserved_serve_a_large_request", || {
        limit_addresses(MIB);
        let payload = malloc(300 * MIB);
        assert!(!payload.is_null());
        give_back(payload);
        assert!(malloc(1 << 40).is_null());
        let small: Vec<_> = (0..10_000).map(|_| malloc(100)).collect();
        assert!(small.iter().all(|payload| !payload.is_null()));
        small.into_iter().for_each(give_back);
    });
}

#[test]
fn what_is_kept_warm_serves_small_requests() {
    crate::alone_with("limits::what_is_kept_warm_serves_small_requests", "source:brk", || {
        keep_some_warm();
        limit_addresses(0);
        for bytes in [100, 5_000, 100_000, MIB] {
            let payloads: Vec<_> = (0..4 * MIB / bytes).map(|_| malloc(bytes)).collect();
            assert!(payloads.iter().all(|payload| !payload.is_null()), "of {bytes} bytes");
            payloads.into_iter().for_each(give_back);
        }
    });
}

#[test]
fn a_refusal_harms_nothing() {
    crate::alone("limits::a_refusal_harms_nothing", || {
        limit_addresses(50 * MIB);
        let mut payloads = Vec::with_capacity(10_000);
        for bytes in [50 * MIB, 10 * MIB, MIB, 100_000, 5_000] {
            loop {
                let payload = malloc(bytes);
                if payload.is_null() {
                    assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::ENOMEM));
                    break;
                }
                // SAFETY: the payload is new, and so long.
                unsafe { payload.cast::<u8>().write(1) };
                payloads.push(payload);
                if payloads.len() == payloads.capacity() {
                    break;
                }
            }
        }
        // SAFETY: the payload is ours; it is too long to be had, so it stays as it is.
        let grown = unsafe { realloc(payloads[0], 1 << 40) };
        assert!(grown.is_null());
        for payload in payloads {
            // SAFETY: it was written when it was new.
            assert_eq!(unsafe { payload.cast::<u8>().read() }, 1);
            give_back(payload);
        }
        let payload = malloc(40 * MIB);
        assert!(!payload.is_null(), "what was given back can be had again");
        give_back(payload);
    });
}
