//! Who is connected: what `CLIENT LIST` tells, and how many there are.
//!
//! Promises: a client is listed from its [`Place`]'s birth to its drop. What changes with each
//! batch stands behind one uncontended lock a client.
//! Knows nothing of sockets and protocols.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::board::Board;
use crate::exchange::{Exchange, Standing, Words};
use crate::log::Log;

/// Everyone who is connected.
#[derive(Debug)]
pub(crate) struct Clients {
    last_id: AtomicU64,
    /// Bytes of all large buffers, and how many there may be. The sum only guides, so it is read
    /// and written Relaxed.
    buffered_bytes: AtomicU64,
    buffer_bytes_most: u64,
    here: Mutex<BTreeMap<u64, Arc<Client>>>,
    /// Where clients of other processes are seen, if there are such.
    board: Option<Arc<Board>>,
    /// What they say to each other.
    pub(crate) exchange: Exchange,
}

/// One client, as others may see it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    origin: Origin,
    about: Mutex<About>,
    /// Its row where other processes see it.
    shown: Option<(Arc<Board>, usize)>,
}

/// A client costs this also while it is silent, beside its seat (`model/ready.rs`): so what few
/// tell lies elsewhere.
const _: () = assert!(size_of::<Client>() <= 176);

/// What others may see of a client, for a look or a change; a change is shown when this is dropped.
pub(crate) struct Seen<'a> {
    client: &'a Client,
    about: MutexGuard<'a, About>,
}

/// Where a client came from; it does not change.
#[derive(Debug)]
pub(crate) struct Origin {
    /// The other end, as `CLIENT LIST` shows it: `127.0.0.1:40312`, or the path of our socket.
    pub(crate) remote: Box<str>,
    /// Our end; most often the same for all who came by one door.
    pub(crate) local: Arc<str>,
    /// The number of its descriptor.
    pub(crate) descriptor: i32,
    /// When it came, in unix milliseconds.
    pub(crate) since_ms: u64,
}

/// What changes while a client is here.
#[derive(Debug)]
pub(crate) struct About {
    /// What it calls itself; `None` where it did not tell, as most clients do not.
    pub(crate) told: Option<Box<Names>>,
    /// The version of RESP that it speaks; 0: it speaks memcached's language.
    pub(crate) version: u8,
    /// The last command, `NULL` before the first, as Redis has it.
    pub(crate) command: Cow<'static, str>,
    /// When it last sent something, in unix milliseconds.
    pub(crate) active_ms: u64,
    /// Bytes that came and do not make a whole command yet.
    pub(crate) pending_bytes: usize,
    /// Bytes of replies that it has not taken yet.
    pub(crate) unsent_bytes: usize,
    pub(crate) is_no_evict: bool,
    pub(crate) is_no_touch: bool,
    pub(crate) is_watching: bool,
    /// What waits for EXEC, within a transaction.
    pub(crate) queued: Option<Box<Queued>>,
    /// What it listens to.
    pub(crate) standing: Standing,
    /// Who hears of changed keys instead of it: 0 nobody, -1 where it hears of none.
    pub(crate) redirect: i64,
}

/// The commands that wait for EXEC, and their bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Queued {
    pub(crate) count: u32,
    pub(crate) bytes: usize,
}

/// What a client calls itself; what it did not tell is empty.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) name: Vec<u8>,
    pub(crate) library_name: Vec<u8>,
    pub(crate) library_version: Vec<u8>,
}

/// What is seen of a client that told nothing.
static UNTOLD: Names =
    Names { name: Vec::new(), library_name: Vec::new(), library_version: Vec::new() };

/// A client's place among the others; it leaves when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    clients: Arc<Clients>,
    client: Arc<Client>,
    /// What of the buffered bytes is this client's.
    buffered_bytes: u64,
    /// Whether the exchange knows it.
    pub(crate) is_member: bool,
}

/// Smaller buffers are not counted, and the others in multiples of this: most clients never have
/// a large one, and must not pay for those who do.
const BUFFER_GRAIN_BYTES: u64 = 64 << 10;

impl Clients {
    /// Nobody yet; their buffers together may have so many bytes. With a board they are of several
    /// processes.
    pub(crate) fn new(
        buffer_bytes_most: u64,
        board: Option<Board>,
        words: Words,
        log: Log,
    ) -> Self {
        let (last_id, buffered_bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        let (here, board) = (Mutex::default(), board.map(Arc::new));
        let exchange = Exchange::new(words, log);
        Self { last_id, buffered_bytes, buffer_bytes_most, here, board, exchange }
    }

    /// Enters a client.
    pub(crate) fn enter(self: &Arc<Self>, origin: Origin) -> Place {
        let id = self.last_id.fetch_add(1, Relaxed) + 1;
        let about = About::new(origin.since_ms);
        let shown = self
            .board
            .as_ref()
            .and_then(|board| Some((Arc::clone(board), board.enter(id, &origin, &about)?)));
        let client = Arc::new(Client { id, origin, about: Mutex::new(about), shown });
        locked(&self.here).insert(id, Arc::clone(&client));
        Place { clients: Arc::clone(self), client, buffered_bytes: 0, is_member: false }
    }

    /// Returns how many bytes are in the large buffers of all clients.
    pub(crate) fn buffered_bytes(&self) -> u64 {
        match &self.board {
            Some(board) => board.buffered_bytes(),
            None => self.buffered_bytes.load(Relaxed),
        }
    }

    /// Whether the buffers of all clients together are too large.
    pub(crate) fn is_crowded(&self) -> bool {
        self.buffered_bytes() > self.buffer_bytes_most
    }

    /// Returns how many are here.
    pub(crate) fn count(&self) -> usize {
        match &self.board {
            Some(board) => board.count(),
            None => self.count_own(),
        }
    }

    /// Returns how many places this process has given and not got back.
    pub(crate) fn count_own(&self) -> usize {
        locked(&self.here).len()
    }

    /// Calls `each` with every client and what it is known by, in the order in which they came.
    pub(crate) fn each(&self, mut each: impl FnMut(&Origin, &About)) {
        self.each_with_id(|_, origin, about| each(origin, about));
    }

    /// Whether a client is here.
    pub(crate) fn has(&self, id: u64) -> bool {
        match &self.board {
            Some(board) => board.has(id),
            None => locked(&self.here).contains_key(&id),
        }
    }

    /// Calls `each` with every client's number, origin and more.
    pub(crate) fn each_with_id(&self, mut each: impl FnMut(u64, &Origin, &About)) {
        match &self.board {
            Some(board) => board.each(each),
            None => {
                for client in locked(&self.here).values() {
                    each(client.id, &client.origin, &client.about());
                }
            }
        }
    }

    /// Appends a line about each client that `is_wanted`.
    pub(crate) fn list(
        &self,
        now_ms: u64,
        is_wanted: impl Fn(u64, &About) -> bool,
        lines: &mut String,
    ) {
        self.each_with_id(|id, origin, about| {
            if is_wanted(id, about) {
                describe(id, origin, about, now_ms, lines);
                lines.push('\n');
            }
        });
    }
}

impl Client {
    /// When it came, in unix milliseconds.
    pub(crate) const fn since_ms(&self) -> u64 {
        self.origin.since_ms
    }

    /// The other end, as `CLIENT LIST` shows it.
    pub(crate) fn remote(&self) -> &str {
        &self.origin.remote
    }

    /// What may change, for a look or a change.
    pub(crate) fn about(&self) -> Seen<'_> {
        Seen { client: self, about: locked(&self.about) }
    }

    /// Whether it was seen to watch keys, where processes share what is seen.
    pub(crate) fn is_shown_watching(&self) -> bool {
        self.shown.as_ref().is_some_and(|(board, row)| board.is_watching(*row, self.id))
    }

    /// Which row of what processes share is this client's; 0 where nothing is shared.
    pub(crate) fn row(&self) -> usize {
        self.shown.as_ref().map_or(0, |(_, row)| *row)
    }

    /// Appends what `CLIENT LIST` tells about it, without an end of line.
    pub(crate) fn describe(&self, now_ms: u64, line: &mut String) {
        describe(self.id, &self.origin, &self.about(), now_ms, line);
    }
}

/// Appends what `CLIENT LIST` tells about a client, in Redis's words. Clients' libraries fail where
/// a number is missing that Redis tells: so arguments are said to take nothing beside the input, in
/// which they lie, and replies to wait in one buffer and no list, which is as large as they are.
fn describe(id: u64, origin: &Origin, about: &About, now_ms: u64, line: &mut String) {
    let age = now_ms.saturating_sub(origin.since_ms) / 1000;
    let idle = now_ms.saturating_sub(about.active_ms) / 1000;
    let [sub, psub, ssub] = about.standing.listening;
    let names = about.names();
    let queued = about.queued.as_deref();
    let multi_bytes = queued.map_or(0, |queued| queued.bytes);
    // Writing to a String cannot fail.
    let _infallible = write!(
        line,
        "id={} addr={} laddr={} fd={} name={} age={age} idle={idle} flags={} db=0 sub={sub} \
         psub={psub} ssub={ssub} multi={} qbuf={} qbuf-free=0 argv-mem=0 multi-mem={multi_bytes} \
         rbs={} rbp={} obl={} oll=0 omem={} tot-mem={} events=r cmd={} user=default redir={} \
         resp={} lib-name={} lib-ver={}",
        id,
        origin.remote,
        origin.local,
        origin.descriptor,
        names.name.escape_ascii(),
        about.flags(),
        queued.map_or(-1, |queued| i64::from(queued.count)),
        about.pending_bytes,
        about.unsent_bytes,
        about.unsent_bytes,
        about.unsent_bytes,
        about.unsent_bytes,
        about.pending_bytes + multi_bytes + about.unsent_bytes,
        about.command,
        about.redirect,
        about.version,
        names.library_name.escape_ascii(),
        names.library_version.escape_ascii(),
    );
}

impl About {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            told: None,
            version: 2,
            command: "NULL".into(),
            active_ms: now_ms,
            pending_bytes: 0,
            unsent_bytes: 0,
            is_no_evict: false,
            is_no_touch: false,
            is_watching: false,
            queued: None,
            standing: Standing::default(),
            redirect: -1,
        }
    }

    /// What it calls itself.
    pub(crate) fn names(&self) -> &Names {
        self.told.as_deref().unwrap_or(&UNTOLD)
    }

    /// The same, for a change.
    pub(crate) fn names_mut(&mut self) -> &mut Names {
        self.told.get_or_insert_default()
    }

    /// Whether nothing came or went for `timeout_ms`. Who waits to be told something may be silent.
    pub(crate) fn is_silent(&self, now_ms: u64, timeout_ms: u64) -> bool {
        let Standing { is_monitor, is_tracking, is_waiting, .. } = self.standing;
        let waits = self.standing.is_listening() || is_monitor || is_tracking || is_waiting;
        !waits && now_ms.saturating_sub(self.active_ms) >= timeout_ms
    }

    /// What it is, a letter each, as Redis has them.
    fn flags(&self) -> String {
        let letters = [
            (self.standing.is_monitor, 'O'),
            (self.standing.is_listening(), 'P'),
            (self.queued.is_some(), 'x'),
            (self.standing.is_waiting, 'b'),
            (self.standing.is_tracking, 't'),
            (self.is_no_evict, 'e'),
            (self.is_no_touch, 'T'),
        ];
        let flags: String =
            letters.iter().filter(|(is_so, _)| *is_so).map(|(_, letter)| letter).collect();
        if flags.is_empty() { "N".into() } else { flags }
    }
}

impl Place {
    /// Counts this client's buffers as so many bytes from now on.
    pub(crate) fn count_buffers(&mut self, bytes: usize) {
        let bytes = bytes as u64 / BUFFER_GRAIN_BYTES * BUFFER_GRAIN_BYTES;
        let more = bytes.wrapping_sub(self.buffered_bytes);
        if more != 0 {
            // Wrapping, so that a negative difference takes away.
            self.clients.buffered_bytes.fetch_add(more, Relaxed);
            if let Some((board, row)) = &self.client.shown {
                board.count_buffers(*row, bytes);
            }
            self.buffered_bytes = bytes;
        }
    }

    /// Whether the buffers of all clients together are too large.
    pub(crate) fn is_crowded(&self) -> bool {
        self.clients.is_crowded()
    }

    /// What it can say to others, and hear of them.
    pub(crate) fn exchange(&self) -> &Exchange {
        &self.clients.exchange
    }
}

impl Deref for Seen<'_> {
    type Target = About;

    fn deref(&self) -> &About {
        &self.about
    }
}

impl DerefMut for Seen<'_> {
    fn deref_mut(&mut self) -> &mut About {
        &mut self.about
    }
}

impl Drop for Seen<'_> {
    fn drop(&mut self) {
        if let Some((board, row)) = &self.client.shown {
            board.show(*row, &self.about);
        }
    }
}

impl Deref for Place {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.count_buffers(0);
        if let Some((board, row)) = &self.client.shown {
            board.leave(*row, self.client.id);
        }
        locked(&self.clients.here).remove(&self.client.id);
        // Whoever hears that it left does not find it any more. Others may have what they are to
        // hear told to one that does not know it yet.
        let exchange = &self.clients.exchange;
        if self.is_member || exchange.attention().has_trackers() {
            exchange.leave(self.client.id);
        }
    }
}

/// Takes a lock. A thread that panics ends the process, so no lock is ever found poisoned where
/// it counts; in tests, which unwind, what it guards is still whole.
pub(crate) fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Level;
    use crate::shared::Count;

    #[test]
    fn a_client_is_listed_while_it_is_here() {
        let clients = Arc::new(Clients::new(
            1 << 20,
            None,
            Words::alone(),
            Log::new(Level::Nothing, Count::alone()),
        ));
        let origin = Origin {
            remote: "127.0.0.1:4000".into(),
            local: "127.0.0.1:6379".into(),
            descriptor: 7,
            since_ms: 1_000,
        };
        let place = clients.enter(origin);
        let mut lines = String::new();
        clients.list(3_500, |_, _| true, &mut lines);
        assert!(
            lines.starts_with("id=1 addr=127.0.0.1:4000 laddr=127.0.0.1:6379 fd=7 name= age=2")
        );
        drop(place);
        assert_eq!(clients.count(), 0);
    }

    #[test]
    fn large_buffers_are_counted_until_their_client_leaves() {
        let clients = Arc::new(Clients::new(
            1 << 20,
            None,
            Words::alone(),
            Log::new(Level::Nothing, Count::alone()),
        ));
        let origin = || Origin { remote: "".into(), local: "".into(), descriptor: 0, since_ms: 0 };
        let (mut one, mut two) = (clients.enter(origin()), clients.enter(origin()));
        one.count_buffers(700_000);
        two.count_buffers(1000);
        assert_eq!(clients.buffered_bytes(), 10 << 16);
        two.count_buffers(700_000);
        assert!(one.is_crowded());
        one.count_buffers(100_000);
        assert!(!one.is_crowded());
        drop(two);
        assert_eq!(clients.buffered_bytes(), 1 << 16);
    }
}
