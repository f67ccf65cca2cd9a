//! What a connection knows of who speaks through it.

use std::sync::Arc;

use morecore_wire::{Choice, Version};

use crate::clients::{Place, Seen};
use crate::desk::Desk;
use crate::exchange::{Inbox, Message, Standing, WAITING_BYTES_CROWDED, append, waiting_most};
use crate::transaction::{Transaction, Watched};

/// Bytes of messages that may wait for a client for a while, and for how long: Redis's soft limit
/// for those who listen (`client-output-buffer-limit pubsub 32mb 8mb 60`).
const FAIR_BYTES: usize = 8 << 20;
const FAIR_MS: u64 = 60_000;

/// What a connection knows of who speaks through it.
#[derive(Debug)]
pub(crate) struct Caller {
    /// Its place among the clients, with what others may see of it.
    pub(crate) place: Place,
    /// The version of RESP that it gets its replies in.
    pub(crate) version: Version,
    /// Whether it told the password, or none is wanted.
    pub(crate) is_authenticated: bool,
    /// The last command that it asked for.
    pub(crate) last_command: &'static str,
    /// What few clients ask for; where there is none, a command has a shorter way.
    pub(crate) extras: Option<Box<Extras>>,
}

/// What few clients ask for.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    /// The commands since MULTI.
    pub(crate) transaction: Option<Transaction>,
    /// The keys of WATCH.
    pub(crate) watched: Watched,
    /// What it is to the exchange.
    pub(crate) standing: Standing,
    /// Where what others say waits for it, if the exchange is this process's.
    inbox: Option<Arc<Inbox>>,
    /// What it is told of keys that change.
    pub(crate) tracking: Option<Tracking>,
    /// Whether its commands are answered.
    pub(crate) muted: Muted,
    /// Whether it is to go when its reply is sent.
    pub(crate) is_leaving: bool,
    /// Since when more than a fair part of its messages waits, in unix milliseconds.
    pub(crate) behind_since_ms: Option<u64>,
}

/// What a client is told of keys that change, as far as its own commands have to know.
#[derive(Clone, Debug)]
pub(crate) struct Tracking {
    pub(crate) redirect: Option<u64>,
    pub(crate) is_no_loop: bool,
    /// OPTIN or OPTOUT, and what CLIENT CACHING said of the next command.
    pub(crate) choice: Option<Choice>,
    pub(crate) is_chosen: bool,
    /// The prefixes of BCAST.
    pub(crate) prefixes: Option<Vec<Vec<u8>>>,
}

/// Which commands are not answered.
///
/// ```text
///   Nothing --SKIP--> Next --a command--> Nothing
///      ^ `-------OFF-------> Everything --ON--> Nothing
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Muted {
    #[default]
    Nothing,
    Next,
    Everything,
}

impl Caller {
    pub(crate) fn new(place: Place, is_authenticated: bool) -> Self {
        Self {
            place,
            version: Version::default(),
            is_authenticated,
            last_command: "NULL",
            extras: None,
        }
    }

    /// Whether it may ask anything: it told the password, or none is wanted any more.
    pub(crate) fn is_let_in(&mut self, desk: &Desk) -> bool {
        self.is_authenticated = self.is_authenticated || !desk.shared.password.is_wanted();
        self.is_authenticated
    }

    /// Its extras, to have some.
    pub(crate) fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    /// Forgets that it ever had extras, if it has none now.
    pub(crate) fn drop_idle_extras(&mut self) {
        if self.extras.as_ref().is_some_and(|extras| extras.is_idle()) {
            self.extras = None;
        }
    }

    /// Takes note of what it is to the exchange now, which `is_here` or in another process.
    pub(crate) fn stand(&mut self, standing: Standing, is_here: bool) {
        if self.extras.is_none() && !standing.is_any() {
            return;
        }
        self.place.is_member = standing.is_any();
        let wants_inbox = is_here && standing.is_any();
        let inbox = wants_inbox.then(|| self.place.exchange().inbox(self.place.id)).flatten();
        let extras = self.extras();
        (extras.standing, extras.inbox) = (standing, inbox);
    }

    /// Whether it is to go when its reply is sent.
    pub(crate) fn is_leaving(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| extras.is_leaving)
    }

    /// Who hears of changed keys instead of it: 0 nobody, -1 where it hears of none.
    pub(crate) fn redirect(&self) -> i64 {
        let tracking = self.extras.as_ref().and_then(|extras| extras.tracking.as_ref());
        tracking.map_or(-1, |tracking| tracking.redirect.map_or(0, u64::cast_signed))
    }

    /// What it is to the exchange.
    pub(crate) fn standing(&self) -> Standing {
        self.extras.as_ref().map_or_else(Standing::default, |extras| extras.standing)
    }

    /// Where what others say waits for it.
    pub(crate) fn inbox(&self) -> Option<&Inbox> {
        self.extras.as_ref()?.inbox.as_deref()
    }

    /// Appends messages as it is to get them.
    pub(crate) fn hear(&self, messages: &[Message], out: &mut Vec<u8>) {
        let is_listening = self.standing().is_listening();
        for message in messages {
            append(message, self.version, is_listening, out);
        }
    }

    /// Whether it does not take its messages, of which `unsent` bytes wait; it is complained of.
    pub(crate) fn is_behind(&mut self, unsent: usize, now_ms: u64) -> bool {
        let most = waiting_most(unsent > WAITING_BYTES_CROWDED && self.place.is_crowded());
        let Some(extras) = &mut self.extras else { return false };
        extras.behind_since_ms = match extras.behind_since_ms {
            _ if unsent <= FAIR_BYTES => None,
            None => Some(now_ms),
            since => since,
        };
        let since = extras.behind_since_ms.unwrap_or(now_ms);
        let is_slow = now_ms.saturating_sub(since) > FAIR_MS;
        if unsent > most || is_slow {
            let most = if is_slow { FAIR_BYTES } else { most };
            self.place.exchange().complain(self.place.id, most);
            return true;
        }
        false
    }

    /// Bytes that it has us keep beside its buffers.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.extras.as_ref().map_or(0, |extras| extras.bytes())
    }

    /// Lets others see what it did last; returns what else they may see, for a change.
    pub(crate) fn publish(&self, now_ms: u64) -> Seen<'_> {
        let mut about = self.place.about();
        about.command = self.last_command.into();
        about.active_ms = now_ms;
        about.standing = self.standing();
        about.redirect = self.redirect();
        let transaction = self.extras.as_ref().and_then(|extras| extras.transaction.as_ref());
        about.is_watching = self.extras.as_ref().is_some_and(|extras| !extras.watched.is_empty());
        match transaction {
            None => about.queued = None,
            Some(transaction) => {
                let queued = &mut **about.queued.get_or_insert_default();
                (queued.count, queued.bytes) = (transaction.count() as u32, transaction.bytes());
            }
        }
        about
    }
}

impl Extras {
    fn is_idle(&self) -> bool {
        self.transaction.is_none()
            && self.watched.is_empty()
            && !self.standing.is_any()
            && self.tracking.is_none()
            && self.muted == Muted::Nothing
            && !self.is_leaving
    }

    fn bytes(&self) -> usize {
        self.transaction.as_ref().map_or(0, Transaction::bytes) + self.watched.bytes()
    }
}
