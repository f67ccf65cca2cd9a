//! What `morecore-malloc` promises, tested from outside. The tests themselves run on it.

mod c;
mod collections;
mod forks;
mod misuse;
mod threads;

/// Every collection, string and thread of these tests lives on the heap that they test.
#[global_allocator]
static HEAP: morecore_malloc::Morecore = morecore_malloc::Morecore;

/// A generator of random numbers whose seed is printed, and taken back from `SEED`.
fn random() -> fastrand::Rng {
    let seed = std::env::var("SEED").map_or_else(|_| fastrand::u64(..), |s| s.parse().unwrap());
    println!("SEED={seed}");
    fastrand::Rng::with_seed(seed)
}
