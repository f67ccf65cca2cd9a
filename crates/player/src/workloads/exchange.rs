//! Exchange: what one thread asks for, another frees, as along a pipeline of workers.
//!
//! ```text
//! two:    asks ----> frees            eight:  0 -> 1 -> 2 -> ... -> 7 -> 0
//! ```
//!
//! Asks: what does a free of another thread's payload cost, and does its memory come back to who
//! asks? Like `xmalloc-test` and `mstress`.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::{Measure, Payload, give_back, payload, small};

/// Payloads that are handed over at a time; the channel is not what is measured.
const BATCH: usize = 250;

/// Batches in all.
const BATCHES: usize = 28_000;

/// Batches on the way between two threads: what bounds the memory.
const WAITING: usize = 16;

pub(super) fn two(measure: Measure) -> u64 {
    let (sender, receiver) = sync_channel(WAITING);
    thread::scope(|scope| {
        scope.spawn(move || {
            for batch in batches(measure, 0, BATCHES) {
                send(&sender, batch);
            }
        });
        receiver.iter().map(free_all).sum()
    })
}

pub(super) fn eight(measure: Measure) -> u64 {
    const THREADS: usize = 8;
    let (senders, mut receivers): (Vec<_>, Vec<_>) =
        (0..THREADS).map(|_| sync_channel(WAITING)).unzip();
    // Each frees what the one before it sends.
    receivers.rotate_right(1);
    thread::scope(|scope| {
        let ends = senders.into_iter().zip(receivers).enumerate();
        let threads: Vec<_> = ends
            .map(|(index, (sender, receiver))| {
                scope.spawn(move || station(measure, index, BATCHES / THREADS, sender, &receiver))
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).sum()
    })
}

/// Sends and receives in turn, then receives what is left. Whoever sends has received all but one
/// of as many, so the ring cannot be full everywhere, and nobody waits for ever.
fn station(
    measure: Measure,
    index: usize,
    count: usize,
    sender: SyncSender<Vec<Payload>>,
    receiver: &Receiver<Vec<Payload>>,
) -> u64 {
    let mut sum = 0;
    for batch in batches(measure, index, count) {
        send(&sender, batch);
        sum += receiver.recv().map_or(0, free_all);
    }
    drop(sender);
    sum + receiver.iter().map(free_all).sum::<u64>()
}

/// So many batches of new payloads.
fn batches(measure: Measure, index: usize, count: usize) -> impl Iterator<Item = Vec<Payload>> {
    let mut rng = measure.rng(index);
    (0..measure.share(count))
        .map(move |_| (0..BATCH).map(|number| payload(small(&mut rng), number as u8)).collect())
}

fn send(sender: &SyncSender<Vec<Payload>>, batch: Vec<Payload>) {
    sender.send(batch).expect("who receives stays until all that send are gone");
}

fn free_all(batch: Vec<Payload>) -> u64 {
    batch.into_iter().map(give_back).sum()
}
