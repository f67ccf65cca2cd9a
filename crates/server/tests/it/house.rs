//! A server in this process, or beside it, stopped when it is dropped.

use std::io::{PipeWriter, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::panic::AssertUnwindSafe;
use std::thread::JoinHandle;

use morecore_server::{Error, Level, Model, Options, Server, Stopper};
use morecore_store::{Create, Store};

use crate::talk::Talk;

/// The size of a test's store: room for any transcript, and small enough to have many.
const STORE_BYTES: u64 = 64 << 20;

/// The size where a client may be a process: room for some hundred participants.
const APART_BYTES: u64 = 256 << 20;

/// A running server.
pub(crate) struct House {
    pub(crate) address: SocketAddr,
    running: Option<Running>,
}

/// Where it runs.
enum Running {
    Thread(Stopper, JoinHandle<Result<(), Error>>),
    /// A process of its own.
    Process(i32),
}

impl House {
    /// A server as `options` say, on a free port, before an empty store.
    pub(crate) fn open(options: Options) -> Self {
        Self::before(&Create { memory_bytes: STORE_BYTES, ..Create::default() }, options)
    }

    /// The same before a store that is made like this.
    pub(crate) fn before(create: &Create, options: Options) -> Self {
        Self::on(Store::anonymous(create).unwrap(), options)
    }

    /// The same, and beside it an attachment to the store, for one who is no client.
    pub(crate) fn shared(options: Options) -> (Self, Store) {
        let create = Create { memory_bytes: STORE_BYTES, ..Create::default() };
        let store = Store::anonymous(&create).unwrap();
        (Self::on(store.try_clone().unwrap(), options), store)
    }

    /// The same in a process of its own under every model; it can open no more than so many
    /// descriptors beside those that it has when it begins to serve.
    pub(crate) fn apart(options: Options, descriptors: Option<u64>) -> (Self, Store) {
        let create = Create { memory_bytes: APART_BYTES, ..Create::default() };
        let store = Store::anonymous(&create).unwrap();
        let (port, pid) = start_apart(store.try_clone().unwrap(), options, descriptors);
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        (Self { address, running: Some(Running::Process(pid)) }, store)
    }

    /// Kills its process.
    pub(crate) fn kill(mut self) {
        let Some(Running::Process(pid)) = self.running.take() else {
            panic!("a server in this process cannot be killed alone");
        };
        kill_process(pid as u64);
        assert_eq!(morecore_sys::process::wait(pid as u32).unwrap().status, libc::SIGKILL);
    }

    fn on(store: Store, options: Options) -> Self {
        // A server that forks must have one thread; one that selects has few descriptors, of which
        // other tests of this process have some.
        let (port, running) = if matches!(options.model, Model::Process | Model::Select) {
            let (port, pid) = start_apart(store, options, None);
            (port, Running::Process(pid))
        } else {
            let server = Server::bind(store, options).unwrap();
            let (port, stopper) = (server.port().unwrap(), server.stopper());
            (port, Running::Thread(stopper, std::thread::spawn(move || server.run())))
        };
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        Self { address, running: Some(running) }
    }

    /// A client of a server with a timeout, which asked this and was answered so before that was
    /// over: on a machine that stands still for a while it may take several goes.
    pub(crate) fn talk_in_time(&self, command: &str, reply: &str) -> Talk {
        loop {
            let mut talk = Talk::to(self.address);
            let found = talk.ask(command);
            if found == reply {
                return talk;
            }
            assert_eq!(found, "closed", "{command}");
        }
    }

    /// Asks it to stop, without waiting for it.
    pub(crate) fn ask_to_stop(&self) {
        self.running.iter().for_each(Running::ask_to_stop);
    }

    /// Waits until it has stopped, without asking for it.
    pub(crate) fn wait(mut self) {
        assert!(self.running.take().unwrap().has_ended_well());
    }

    /// Stops it, and waits until it has.
    pub(crate) fn stop(mut self) {
        self.ask_to_stop();
        assert!(self.running.take().unwrap().has_ended_well());
    }
}

impl Running {
    fn ask_to_stop(&self) {
        match self {
            Self::Thread(stopper, _) => stopper.stop(),
            // SAFETY: no pointers are passed; the process is ours and not waited for yet.
            Self::Process(pid) => assert_eq!(unsafe { libc::kill(*pid, libc::SIGTERM) }, 0),
        }
    }

    fn has_ended_well(self) -> bool {
        match self {
            Self::Thread(_, thread) => matches!(thread.join(), Ok(Ok(()))),
            Self::Process(pid) => {
                morecore_sys::process::wait(pid as u32).is_ok_and(|ended| ended.status == 0)
            }
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.ask_to_stop();
            let is_well = running.has_ended_well();
            // A test that fails already must not fail twice at once.
            assert!(std::thread::panicking() || is_well);
        }
    }
}

/// Kills a process of ours, which is not waited for yet.
pub(crate) fn kill_process(pid: u64) {
    // SAFETY: no pointers are passed.
    assert_eq!(unsafe { libc::kill(pid as i32, libc::SIGKILL) }, 0);
}

/// Starts a server in a process of its own; returns its port and its number.
fn start_apart(store: Store, options: Options, descriptors: Option<u64>) -> (u16, i32) {
    let mut store = Some(store);
    let (mut ours, theirs) = std::io::pipe().unwrap();
    // SAFETY: the child is a copy of this thread alone, and the C library makes its heap usable
    // there; it ends with `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let serve = || serve_apart(store.take().unwrap(), options, descriptors, theirs);
        let served = std::panic::catch_unwind(AssertUnwindSafe(serve));
        // SAFETY: `_exit` has no preconditions.
        unsafe { libc::_exit(i32::from(served.is_err())) };
    }
    drop(theirs);
    let mut port = [0; 2];
    ours.read_exact(&mut port).unwrap();
    (u16::from_ne_bytes(port), pid)
}

fn serve_apart(store: Store, options: Options, descriptors: Option<u64>, mut theirs: PipeWriter) {
    // What other tests have open must not stay open for our sake.
    let listed = std::fs::read_dir("/proc/self/fd").unwrap();
    let numbers: Vec<i32> =
        listed.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok()).collect();
    for number in numbers {
        if number > 2 && number != theirs.as_raw_fd() {
            // SAFETY: no pointers are passed; nobody in this process uses this descriptor.
            unsafe { libc::close(number) };
        }
    }
    // SAFETY: no pointers are passed. A test that dies takes its server along.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    let mut server = Server::bind(store, options).unwrap();
    server.stop_on_signals().unwrap();
    if let Some(more) = descriptors {
        let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
        let limit = libc::rlimit { rlim_cur: open + more, rlim_max: open + more };
        // SAFETY: the pointer is to a live limit.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    }
    theirs.write_all(&server.port().unwrap().to_ne_bytes()).unwrap();
    drop(theirs);
    server.run().unwrap();
}

/// Quiet options on a free port, with two threads.
pub(crate) fn options(model: Model) -> Options {
    Options {
        port: Some(0),
        model,
        threads: NonZeroUsize::new(2),
        log: Level::Nothing,
        ..Options::default()
    }
}

/// Runs `test` under every model.
pub(crate) fn under_every_model(test: impl Fn(Options)) {
    for model in Model::ALL {
        eprintln!("model {model}");
        test(options(model));
    }
}
