//! Many descriptors, each known by a number of the caller's choice; a wait costs only the ready.
//!
//! Promises: level-triggered: what was not dealt with is told again at the next wait. A set by
//! edges tells of what came once, and again after a change: that saves the kernel a look at each
//! descriptor that was told at the last wait.
//! Source: epoll(7).

use crate::Failed;
use crate::descriptor::Descriptor;

/// A set of descriptors that are waited for together.
#[derive(Debug)]
pub struct Epoll {
    set: Descriptor,
    /// What is asked for with every interest.
    always: i32,
}

/// What a descriptor is waited for. Errors and the end of the other side are always told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Nothing but errors.
    None,
    /// Something can be read, or the end.
    Read,
    /// Something can be written.
    Write,
    /// Either.
    Both,
}

impl Interest {
    /// Whether it is waited for something that can be read.
    #[must_use]
    pub const fn has_read(self) -> bool {
        matches!(self, Self::Read | Self::Both)
    }
}

/// One descriptor that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The number it was added under.
    pub token: u64,
    /// A read would not wait (it may bring an error or the end).
    pub is_readable: bool,
    /// A write would not wait (it may bring an error).
    pub is_writable: bool,
    /// Behind what can be read is an end or an error.
    pub is_ended: bool,
}

/// Room for the ready ones of one wait.
pub struct Events {
    room: [libc::epoll_event; Self::MOST],
    count: usize,
}

impl Epoll {
    /// Makes an empty set.
    ///
    /// # Errors
    /// As `epoll_create1`(2): `EMFILE`.
    pub fn new() -> Result<Self, Failed> {
        Self::with(0)
    }

    /// Makes an empty set by edges. Who is told that something can be read reads until less comes
    /// than there was room for, or asks again by [`Epoll::change`].
    ///
    /// # Errors
    /// As [`Epoll::new`].
    pub fn by_edges() -> Result<Self, Failed> {
        Self::with(libc::EPOLLET | libc::EPOLLRDHUP)
    }

    fn with(always: i32) -> Result<Self, Failed> {
        // SAFETY: no pointers are passed.
        let made = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        // SAFETY: `made` is what epoll_create1 returned in the line above.
        let set = unsafe { Descriptor::from_call("epoll_create1", made) }?;
        Ok(Self { set, always })
    }

    /// Adds a descriptor under the number `token`. It leaves the set when it is closed.
    ///
    /// # Errors
    /// As `epoll_ctl`(2): `ENOSPC` (the user's limit of watches), `ENOMEM`.
    pub fn add(&self, what: &Descriptor, token: u64, interest: Interest) -> Result<(), Failed> {
        self.control(libc::EPOLL_CTL_ADD, what, token, interest)
    }

    /// Changes what a descriptor of the set is waited for. What it is ready for now is told, by
    /// edges too.
    ///
    /// # Errors
    /// As `epoll_ctl`(2).
    pub fn change(&self, what: &Descriptor, token: u64, interest: Interest) -> Result<(), Failed> {
        self.control(libc::EPOLL_CTL_MOD, what, token, interest)
    }

    /// Waits until something is ready, or `timeout_ms` is over (`None`: for ever); returns how
    /// many are. A signal ends the wait early, with none.
    ///
    /// # Errors
    /// As `epoll_wait`(2), but never `EINTR`.
    pub fn wait(&self, events: &mut Events, timeout_ms: Option<u32>) -> Result<usize, Failed> {
        let timeout = super::poll::milliseconds(timeout_ms);
        let (at, most) = (events.room.as_mut_ptr(), Events::MOST as i32);
        // SAFETY: `at` has room for `most` events, and is live and exclusive.
        let count = unsafe { libc::epoll_wait(self.set.number(), at, most, timeout) };
        events.count = super::poll::counted("epoll_wait", count)?;
        Ok(events.count)
    }

    /// Returns the set's own descriptor: it is readable when one of the set is ready.
    #[must_use]
    pub const fn descriptor(&self) -> &Descriptor {
        &self.set
    }

    fn control(
        &self,
        what_to_do: i32,
        what: &Descriptor,
        token: u64,
        interest: Interest,
    ) -> Result<(), Failed> {
        let events = bits(interest) | self.always as u32;
        let mut event = libc::epoll_event { events, u64: token };
        let (set, number) = (self.set.number(), what.number());
        // SAFETY: `event` is live, and the kernel only reads it.
        match unsafe { libc::epoll_ctl(set, what_to_do, number, &raw mut event) } {
            0 => Ok(()),
            _ => Err(Failed::last("epoll_ctl")),
        }
    }
}

impl Events {
    /// As many as one wait tells; the others are told by the next, so nobody is left out. 128
    /// keeps a turn of a loop short and the array (1.5 KiB) in the first cache.
    const MOST: usize = 128;

    /// Room, with nothing in it.
    #[must_use]
    pub const fn new() -> Self {
        Self { room: [libc::epoll_event { events: 0, u64: 0 }; Self::MOST], count: 0 }
    }

    /// Forgets what was told.
    pub(super) const fn clear(&mut self) {
        self.count = 0;
    }

    /// How many are told.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// Tells one more, if there is room; returns whether there was.
    pub(super) fn push(&mut self, token: u64, is_readable: bool, is_writable: bool) -> bool {
        let Some(event) = self.room.get_mut(self.count) else { return false };
        let interest = match (is_readable, is_writable) {
            (true, true) => Interest::Both,
            (true, false) => Interest::Read,
            (false, true) => Interest::Write,
            (false, false) => Interest::None,
        };
        *event = libc::epoll_event { events: bits(interest), u64: token };
        self.count += 1;
        true
    }

    /// Returns each event of the last wait.
    pub fn iter(&self) -> impl Iterator<Item = Event> {
        self.room[..self.count].iter().map(|event| {
            // An error or a hang-up is found out by trying, either way.
            let broken = (libc::EPOLLERR | libc::EPOLLHUP) as u32;
            let ended = broken | libc::EPOLLRDHUP as u32;
            Event {
                is_ended: event.events & ended != 0,
                token: event.u64,
                is_readable: event.events & (libc::EPOLLIN as u32 | broken) != 0,
                is_writable: event.events & (libc::EPOLLOUT as u32 | broken) != 0,
            }
        })
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

const fn bits(interest: Interest) -> u32 {
    (match interest {
        Interest::None => 0,
        Interest::Read => libc::EPOLLIN,
        Interest::Write => libc::EPOLLOUT,
        Interest::Both => libc::EPOLLIN | libc::EPOLLOUT,
    }) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ready::Waker;

    #[test]
    fn tells_who_is_ready_and_nobody_else() {
        let (set, one, two) = (Epoll::new().unwrap(), Waker::new().unwrap(), Waker::new().unwrap());
        set.add(one.descriptor(), 1, Interest::Read).unwrap();
        set.add(two.descriptor(), 2, Interest::Read).unwrap();
        let mut events = Events::new();
        assert_eq!(set.wait(&mut events, Some(0)), Ok(0));
        two.wake();
        assert_eq!(set.wait(&mut events, None), Ok(1));
        let told = Event { token: 2, is_readable: true, is_writable: false, is_ended: false };
        assert_eq!(events.iter().next(), Some(told));
    }

    #[test]
    fn a_change_of_interest_holds_from_the_next_wait() {
        let (set, one) = (Epoll::new().unwrap(), Waker::new().unwrap());
        set.add(one.descriptor(), 1, Interest::None).unwrap();
        let mut events = Events::new();
        assert_eq!(set.wait(&mut events, Some(0)), Ok(0));
        set.change(one.descriptor(), 1, Interest::Both).unwrap();
        assert_eq!(set.wait(&mut events, None), Ok(1));
        assert!(events.iter().all(|event| event.is_writable && !event.is_readable));
    }

    #[test]
    fn by_edges_it_tells_once_until_more_comes_or_it_is_asked_again() {
        let (set, one) = (Epoll::by_edges().unwrap(), Waker::new().unwrap());
        set.add(one.descriptor(), 1, Interest::Read).unwrap();
        let count = || set.wait(&mut Events::new(), Some(0)).unwrap();
        one.wake();
        assert_eq!((count(), count()), (1, 0));
        one.wake();
        assert_eq!((count(), count()), (1, 0));
        set.change(one.descriptor(), 1, Interest::Read).unwrap();
        assert_eq!((count(), count()), (1, 0));
    }

    #[test]
    fn by_edges_an_end_is_told_with_what_came_before() {
        let (ours, theirs) = crate::socket::pair().unwrap();
        let set = Epoll::by_edges().unwrap();
        set.add(&ours, 1, Interest::Read).unwrap();
        crate::socket::send(&theirs, b"last words").unwrap();
        drop(theirs);
        let mut events = Events::new();
        assert_eq!(set.wait(&mut events, None), Ok(1));
        assert!(events.iter().all(|event| event.is_readable && event.is_ended));
        assert_eq!(set.wait(&mut events, Some(0)), Ok(0));
    }

    #[test]
    fn a_closed_descriptor_leaves_the_set() {
        let (set, one) = (Epoll::new().unwrap(), Waker::new().unwrap());
        set.add(one.descriptor(), 1, Interest::Read).unwrap();
        one.wake();
        drop(one);
        assert_eq!(set.wait(&mut Events::new(), Some(0)), Ok(0));
    }
}
