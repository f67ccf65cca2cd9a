//! In a steady state no command costs an allocation.
//!
//! A binary of its own, because it counts the allocations of the whole process: the server runs in
//! it, and the client makes all that it sends and receives before it counts.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use morecore_server::{Level, Model, Options, Server};
use morecore_store::{Create, Store};
use morecore_wire::encode_command;

/// The system's allocator, and how often it was asked.
struct Counting(AtomicU64);

#[global_allocator]
static ALLOCATOR: Counting = Counting(AtomicU64::new(0));

// SAFETY: all of it is the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.fetch_add(1, SeqCst);
        // SAFETY: the caller's duties are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        self.0.fetch_add(1, SeqCst);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, bytes) }
    }
}

/// Commands in a batch.
const PIPELINE: usize = 64;

/// Batches until every buffer has its size.
const WARM_UPS: usize = 100;

/// Stretches that are counted each for itself, and batches in one. How many clients a turn of the
/// server meets is for the scheduler to say, and a turn that meets more than any before takes
/// buffers and longer lists: that happens a bounded number of times, in whichever stretch, while a
/// command that allocates does so in every stretch.
const STRETCHES: usize = 10;
const BATCHES: usize = 50;

/// Clients, each with a batch under way at the same time.
const CLIENTS: usize = 8;

/// The same of long values, which are received into the store and sent from there.
const LONG_PIPELINE: usize = 4;
const LONG_BYTES: usize = 100 << 10;

/// What is sent, written for a number, what is answered, and how many make a batch.
type Phase<'a> = (&'a dyn Fn(&mut Vec<u8>, usize), String, usize);

/// How often the server allocates in each stretch of each phase, once its buffers have their size.
fn allocations(model: Model, phases: &[Phase<'_>]) -> Vec<[u64; STRETCHES]> {
    let store = Store::anonymous(&Create { memory_bytes: 64 << 20, ..Create::default() }).unwrap();
    let options = Options {
        port: Some(0),
        model,
        threads: NonZeroUsize::new(1),
        log: Level::Nothing,
        ..Options::default()
    };
    let server = Server::bind(store, options).unwrap();
    let (port, stopper) = (server.port().unwrap(), server.stopper());
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let running = std::thread::spawn(move || server.run().unwrap());
    forget_slow_commands(address);
    let found = phases.iter().map(|phase| count(address, phase)).collect();
    stopper.stop();
    running.join().unwrap();
    found
}

/// On a machine with other work any command may be a slow one, and each that is remembered is kept
/// in memory.
fn forget_slow_commands(address: SocketAddr) {
    let mut command = Vec::new();
    encode_command(&mut command, &[b"CONFIG", b"SET", b"slowlog-log-slower-than", b"-1"]);
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(&command).unwrap();
    let mut heard = [0; 5];
    client.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"+OK\r\n");
}

fn count(address: SocketAddr, (spell, reply, pipeline): &Phase<'_>) -> [u64; STRETCHES] {
    let mut batch = Vec::new();
    (0..*pipeline).for_each(|number| spell(&mut batch, number));
    let mut heard = vec![0; reply.len() * pipeline];
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut exchange = |rounds| {
        for _ in 0..rounds {
            clients.iter_mut().for_each(|client| client.write_all(&batch).unwrap());
            for client in &mut clients {
                client.read_exact(&mut heard).unwrap();
                assert!(heard.chunks(reply.len()).all(|one| one == reply.as_bytes()));
            }
        }
    };
    exchange(WARM_UPS);
    assert!(ALLOCATOR.0.load(SeqCst) > 0, "nothing is counted");
    std::array::from_fn(|_| {
        let before = ALLOCATOR.0.load(SeqCst);
        exchange(BATCHES);
        ALLOCATOR.0.load(SeqCst) - before
    })
}

/// Every model that serves in this process.
const MODELS: [Model; 4] = [Model::Epoll, Model::Select, Model::Thread, Model::Uring];

#[test]
fn no_command_of_a_pipeline_allocates() {
    let key = |number| format!("key:{number:012}");
    let value = "v".repeat(32);
    let set = |batch: &mut Vec<u8>, number| {
        encode_command(batch, &[b"SET", key(number).as_bytes(), value.as_bytes()]);
    };
    let get = |batch: &mut Vec<u8>, number| {
        encode_command(batch, &[b"GET", key(number).as_bytes()]);
    };
    let absent = |batch: &mut Vec<u8>, number: usize| {
        batch.extend_from_slice(format!("get absent:{number}\r\n").as_bytes());
    };
    let long = "v".repeat(LONG_BYTES);
    let set_long = |batch: &mut Vec<u8>, number: usize| {
        encode_command(batch, &[b"SET", format!("long:{number}").as_bytes(), long.as_bytes()]);
    };
    let get_long = |batch: &mut Vec<u8>, number: usize| {
        encode_command(batch, &[b"GET", format!("long:{number}").as_bytes()]);
    };
    for model in MODELS {
        let phases: [Phase<'_>; 5] = [
            (&set, "+OK\r\n".into(), PIPELINE),
            (&get, format!("$32\r\n{value}\r\n"), PIPELINE),
            (&absent, "END\r\n".into(), PIPELINE),
            (&set_long, "+OK\r\n".into(), LONG_PIPELINE),
            (&get_long, format!("${LONG_BYTES}\r\n{long}\r\n"), LONG_PIPELINE),
        ];
        let found = allocations(model, &phases);
        for (what, counts) in ["SET", "GET", "get", "long SET", "long GET"].iter().zip(found) {
            let quiet = counts.iter().filter(|&&count| count == 0).count();
            assert!(quiet > STRETCHES / 2, "{what} under {model}: {counts:?} allocations");
        }
    }
}
