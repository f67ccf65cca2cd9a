//! The models: ways to wait for many sockets and to move their bytes.
//!
//! Promises: every model serves the same [`Connection`](crate::connection::Connection), so what a
//! client is answered never depends on the model. On stop, what has arrived is still answered.
//! Knows nothing of protocols and stores.

mod epoll;
mod thread;

use std::io;
use std::time::{Duration, Instant};

use morecore_sys::descriptor::Descriptor;
use morecore_sys::socket::Wait;

use crate::clients::Place;
use crate::desk::Desk;
use crate::options::Model;

/// A client that has just been accepted.
pub(crate) struct Arrival {
    pub(crate) socket: Descriptor,
    pub(crate) place: Place,
}

/// A model at work.
pub(crate) enum Running {
    Epoll(epoll::Loops),
    Thread(thread::Threads),
}

/// How long a stopping server waits for clients that do not take their replies.
const STOP_MOST: Duration = Duration::from_secs(2);

impl Running {
    /// Starts the threads of `model`; each desk is a thread's worth of work.
    pub(crate) fn start(model: Model, desks: Vec<Desk>) -> io::Result<Self> {
        Ok(match model {
            Model::Epoll => Self::Epoll(epoll::Loops::start(desks)?),
            Model::Thread => Self::Thread(thread::Threads::new(desks)),
        })
    }

    /// How the sockets of clients are to be made.
    pub(crate) const fn wait(&self) -> Wait {
        match self {
            Self::Epoll(_) => Wait::Nonblocking,
            Self::Thread(_) => Wait::Blocking,
        }
    }

    /// Serves a client from now on.
    pub(crate) fn serve(&self, arrival: Arrival) -> io::Result<()> {
        match self {
            Self::Epoll(loops) => {
                loops.serve(arrival);
                Ok(())
            }
            Self::Thread(threads) => threads.serve(arrival),
        }
    }

    /// Answers what has arrived, says goodbye to every client, and ends.
    pub(crate) fn finish(self) {
        let until = Instant::now() + STOP_MOST;
        match self {
            Self::Epoll(loops) => loops.finish(until),
            Self::Thread(threads) => threads.finish(until),
        }
    }
}
