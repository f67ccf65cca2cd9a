//! The models: ways to wait for many sockets and to move their bytes.
//!
//! Promises: every model serves the same [`Connection`](crate::connection::Connection), so what a
//! client is answered never depends on the model. On stop, what has arrived is still answered.
//! Knows nothing of protocols and stores.

mod ear;
mod loops;
mod process;
mod ready;
mod talk;
mod thread;
mod uring;
mod watch;

use std::io;
use std::time::{Duration, Instant};

use morecore_sys::descriptor::Descriptor;
use morecore_sys::ready::{Epoll, Select};
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
    Epoll(loops::Loops),
    Process(Box<process::Children>),
    Select(loops::Loops),
    Thread(thread::Threads),
    Uring(loops::Loops),
}

/// What a client hears whose descriptor select(2) cannot wait for. It begins as the words for a
/// full house, which is what clients' libraries know.
const BEYOND_SELECT: &[u8] =
    b"-ERR max number of clients reached: select(2) has no descriptors beyond 1023\r\n";

/// How long a stopping server waits for clients that do not take their replies.
const STOP_MOST: Duration = Duration::from_secs(2);

impl Running {
    /// Starts the threads of `model`; each desk is a thread's worth of work.
    pub(crate) fn start(model: Model, desks: Vec<Desk>) -> io::Result<Self> {
        Ok(match model {
            Model::Epoll => Self::Epoll(loops::Loops::start::<ready::Loop<Epoll>>(desks)?),
            Model::Process => Self::Process(Box::new(process::Children::new(desks)?)),
            Model::Select => Self::Select(loops::Loops::start::<ready::Loop<Select>>(desks)?),
            Model::Thread => Self::Thread(thread::Threads::new(desks)),
            Model::Uring => Self::Uring(loops::Loops::start::<uring::Loop>(desks)?),
        })
    }

    /// How the sockets of clients are to be made.
    pub(crate) const fn wait(&self) -> Wait {
        match self {
            Self::Epoll(_) | Self::Select(_) => Wait::Nonblocking,
            // To the kernel, a socket that does not wait is one that it must not wait for either.
            Self::Process(_) | Self::Thread(_) | Self::Uring(_) => Wait::Blocking,
        }
    }

    /// What the accepting thread is to wait for and how long, at most, until it [`Self::tend`]s.
    pub(crate) fn tended(&self) -> Option<(&Descriptor, u32)> {
        match self {
            Self::Process(children) => Some(children.tended()),
            Self::Epoll(_) | Self::Select(_) | Self::Thread(_) | Self::Uring(_) => None,
        }
    }

    /// Does what is to be done by the accepting thread, if anything is.
    pub(crate) fn tend(&self) {
        if let Self::Process(children) = self {
            children.tend();
        }
    }

    /// What a client is told that this model cannot serve, if it cannot.
    pub(crate) fn refuses(&self, socket: &Descriptor) -> Option<&'static [u8]> {
        let is_beyond = matches!(self, Self::Select(_)) && !Select::takes(socket);
        is_beyond.then_some(BEYOND_SELECT)
    }

    /// Serves a client from now on.
    pub(crate) fn serve(&self, arrival: Arrival) -> io::Result<()> {
        match self {
            Self::Epoll(loops) | Self::Select(loops) | Self::Uring(loops) => {
                loops.serve(arrival);
                Ok(())
            }
            Self::Process(children) => children.serve(arrival),
            Self::Thread(threads) => threads.serve(arrival),
        }
    }

    /// Answers what has arrived, says goodbye to every client, and ends.
    pub(crate) fn finish(self) {
        let until = Instant::now() + STOP_MOST;
        match self {
            Self::Epoll(loops) | Self::Select(loops) | Self::Uring(loops) => loops.finish(until),
            Self::Process(children) => children.finish(until),
            Self::Thread(threads) => threads.finish(until),
        }
    }
}
