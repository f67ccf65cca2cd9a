//! What a loop waits with: one of the kernel's ways to tell which of many sockets are ready.

use std::io;

use morecore_sys::descriptor::Descriptor;
use morecore_sys::ready::{Epoll, Events, Interest, Select};

use crate::error::system;

/// A set of descriptors that are waited for together. What can be read may be told once only, until
/// more comes or a change asks again.
pub(crate) trait Watch: Sized + Send + 'static {
    /// The model's name: what its threads are called.
    const NAME: &'static str;

    fn new() -> io::Result<Self>;

    /// Adds a descriptor under the number `token`.
    fn add(&mut self, what: &Descriptor, token: u64, wanted: Interest) -> io::Result<()>;

    /// Changes what a descriptor of the set is waited for.
    fn change(&mut self, what: &Descriptor, token: u64, wanted: Interest) -> io::Result<()>;

    /// Removes a descriptor that is about to be closed.
    fn remove(&mut self, what: &Descriptor);

    /// Waits until something is ready, or `timeout_ms` is over.
    fn wait(&mut self, events: &mut Events, timeout_ms: Option<u32>) -> io::Result<usize>;
}

impl Watch for Epoll {
    const NAME: &'static str = "epoll";

    fn new() -> io::Result<Self> {
        Self::by_edges().map_err(system)
    }

    fn add(&mut self, what: &Descriptor, token: u64, wanted: Interest) -> io::Result<()> {
        Self::add(self, what, token, wanted).map_err(system)
    }

    fn change(&mut self, what: &Descriptor, token: u64, wanted: Interest) -> io::Result<()> {
        Self::change(self, what, token, wanted).map_err(system)
    }

    fn remove(&mut self, _: &Descriptor) {
        // It leaves the set when it is closed.
    }

    fn wait(&mut self, events: &mut Events, timeout_ms: Option<u32>) -> io::Result<usize> {
        Self::wait(self, events, timeout_ms).map_err(system)
    }
}

impl Watch for Select {
    const NAME: &'static str = "select";

    fn new() -> io::Result<Self> {
        Ok(Self::new())
    }

    fn add(&mut self, what: &Descriptor, token: u64, wanted: Interest) -> io::Result<()> {
        self.set(what, token, wanted).map_err(system)
    }

    fn change(&mut self, what: &Descriptor, token: u64, wanted: Interest) -> io::Result<()> {
        self.set(what, token, wanted).map_err(system)
    }

    fn remove(&mut self, what: &Descriptor) {
        Self::remove(self, what);
    }

    fn wait(&mut self, events: &mut Events, timeout_ms: Option<u32>) -> io::Result<usize> {
        Self::wait(self, events, timeout_ms).map_err(system)
    }
}
