//! A server in this process, stopped when it is dropped.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::thread::JoinHandle;

use morecore_server::{Error, Level, Model, Options, Server, Stopper};
use morecore_store::{Create, Store};

/// The size of a test's store: room for any transcript, and small enough to have many.
const STORE_BYTES: u64 = 64 << 20;

/// A running server.
pub(crate) struct House {
    pub(crate) address: SocketAddr,
    stopper: Stopper,
    running: Option<JoinHandle<Result<(), Error>>>,
}

impl House {
    /// A server as `options` say, on a free port, before an empty store.
    pub(crate) fn open(options: Options) -> Self {
        Self::before(&Create { memory_bytes: STORE_BYTES, ..Create::default() }, options)
    }

    /// The same before a store that is made like this.
    pub(crate) fn before(create: &Create, options: Options) -> Self {
        let server = Server::bind(Store::anonymous(create).unwrap(), options).unwrap();
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), server.port().unwrap());
        let stopper = server.stopper();
        let running = Some(std::thread::spawn(move || server.run()));
        Self { address, stopper, running }
    }

    /// Asks it to stop, without waiting for it.
    pub(crate) fn ask_to_stop(&self) {
        self.stopper.stop();
    }

    /// Stops it, and waits until it has.
    pub(crate) fn stop(mut self) {
        self.stopper.stop();
        self.running.take().unwrap().join().unwrap().unwrap();
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.stopper.stop();
            let ended = running.join();
            // A test that fails already must not fail twice at once.
            assert!(std::thread::panicking() || matches!(ended, Ok(Ok(()))));
        }
    }
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
