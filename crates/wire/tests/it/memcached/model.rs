//! A server of one map: the plainest that does what the commands say.
//!
//! Its clock stands still, so an expiry is either never, passed, or ahead. It knows what memcached
//! knows of an entry: whether it was read, is stale, or was won by somebody.

use std::collections::BTreeMap;
use std::convert::Infallible;

use morecore_wire::Expiry;
use morecore_wire::memcached::{
    Answer, Command, Counted, Delete, Encoder, Facts, Get, Increment, MetaGet, Mode, Outcome, Put,
    Refusal, Stats, parse_number,
};

/// The time, in unix milliseconds.
const NOW_MS: u64 = 1_700_000_000_000;

/// What a connection does next.
#[derive(Debug, PartialEq)]
pub(super) enum After {
    GoOn,
    Close,
    Admit,
}

#[derive(Clone, Default)]
struct Entry {
    value: Vec<u8>,
    expiry_ms: Option<u64>,
    facts: Facts,
}

impl Entry {
    fn facts(&self) -> Facts {
        let left = |at: u64| at.saturating_sub(NOW_MS) / 1000;
        Facts { bytes: self.value.len(), seconds_left: self.expiry_ms.map(left), ..self.facts }
    }
}

#[derive(Default)]
pub(super) struct Model {
    entries: BTreeMap<Vec<u8>, Entry>,
    version: u64,
}

fn at_ms(expiry: Expiry) -> Option<u64> {
    match expiry {
        Expiry::At(deadline) => Some(deadline.resolve(NOW_MS)),
        Expiry::Clear | Expiry::Keep => None,
    }
}

impl Model {
    pub(super) fn execute(
        &mut self,
        command: Result<Command<'_>, Refusal>,
        reply: &mut Encoder<'_>,
    ) -> After {
        match command {
            Err(refusal) => reply.refusal(refusal),
            Ok(Command::Ignored) => {}
            Ok(Command::Quit) => return After::Close,
            Ok(Command::Get(get)) => self.get(get, reply),
            Ok(Command::MetaGet(get)) => self.meta_get(get, reply),
            Ok(Command::Put(put)) => self.put(put, reply),
            Ok(Command::PutTooLarge { key, is_quiet }) => {
                self.entries.remove(key);
                if !is_quiet {
                    reply.refusal(Refusal::TooLarge);
                }
            }
            Ok(Command::Delete(delete)) => self.delete(delete, reply),
            Ok(Command::Increment(increment)) => self.increment(increment, reply),
            Ok(Command::Touch { key, expiry, is_quiet }) => {
                let entry = self.find(key);
                let is_there = entry.is_some();
                entry.into_iter().for_each(|entry| entry.expiry_ms = at_ms(expiry));
                reply.touched(is_there, is_quiet);
            }
            Ok(Command::Debug { key, word }) => match self.find(key) {
                Some(entry) => reply.debug(word, &entry.facts(), 1),
                None => reply.debug_miss(),
            },
            Ok(Command::NoOp) => reply.no_op(),
            Ok(Command::FlushAll { deadline, is_quiet }) => {
                if deadline.is_none() {
                    self.entries.clear();
                }
                reply.ok(is_quiet);
            }
            Ok(Command::Verbosity { is_quiet, .. }) => reply.ok(is_quiet),
            Ok(Command::Version) => reply.version("1.6.18"),
            Ok(Command::Stats(Stats::Reset)) => reply.reset(),
            Ok(Command::Stats(stats)) => {
                reply.stat("of", format_args!("{stats:?}"));
                reply.end();
            }
            Ok(Command::Authenticate(credentials)) => {
                if (credentials.user, credentials.password) != (b"user", b"pass") {
                    reply.refusal(Refusal::WrongPassword);
                } else {
                    reply.authenticated();
                    return After::Admit;
                }
            }
        }
        After::GoOn
    }

    fn next_version(&mut self, wanted: Option<u64>) -> u64 {
        self.version += 1;
        wanted.unwrap_or(self.version)
    }

    /// The entry under `key`, if it has not expired.
    fn find(&mut self, key: &[u8]) -> Option<&mut Entry> {
        let is_live = |entry: &&mut Entry| entry.expiry_ms.is_none_or(|at| at > NOW_MS);
        self.entries.get_mut(key).filter(is_live)
    }

    fn get(&mut self, get: Get<'_>, reply: &mut Encoder<'_>) {
        for key in get.keys.iter() {
            let entry = self.find(key);
            let written = reply.entry_with(key, get.is_version, 3, |out| {
                Ok::<_, Infallible>(entry.map(|entry| {
                    if let Some(expiry) = get.expiry {
                        entry.expiry_ms = at_ms(expiry);
                    }
                    entry.facts.was_read = true;
                    out.extend_from_slice(&entry.value);
                    entry.facts()
                }))
            });
            written.expect("a map does not fail");
        }
        reply.end();
    }

    fn meta_get(&mut self, get: MetaGet<'_>, reply: &mut Encoder<'_>) {
        let is_made = get.vivify.filter(|_| self.find(get.key).is_none()).is_some_and(|expiry| {
            let version = self.next_version(get.version);
            let facts = Facts { version, ..Facts::default() };
            let entry = Entry { expiry_ms: at_ms(expiry), facts, ..Entry::default() };
            self.entries.insert(get.key.to_vec(), entry);
            true
        });
        let entry = self.find(get.key);
        let written = reply.meta_entry_with(&get, 3, |out| {
            Ok::<_, Infallible>(entry.map(|entry| {
                // T counts first where it stands first; once is enough for a model.
                if let Some(expiry) = get.expiry {
                    entry.expiry_ms = at_ms(expiry);
                }
                let is_old = get.recache.is_some_and(|deadline| {
                    entry.expiry_ms.is_some_and(|at| at < deadline.resolve(NOW_MS))
                });
                let facts = entry.facts();
                let is_wanted = is_made || is_old || facts.is_stale;
                let is_won = is_wanted && !facts.is_claimed;
                entry.facts.is_claimed |= is_won;
                entry.facts.was_read |= !get.is_unnoticed;
                if get.echo.is_value() {
                    out.extend_from_slice(&entry.value);
                }
                Facts { is_won, ..facts }
            }))
        });
        written.expect("a map does not fail");
    }

    fn put(&mut self, put: Put<'_>, reply: &mut Encoder<'_>) {
        let found = self.find(put.key).map(|entry| entry.clone());
        let is_older = |entry: &Entry| put.compare.is_some_and(|at| at < entry.facts.version);
        let is_joined = matches!(put.mode, Mode::Append | Mode::Prepend);
        let is_stale = put.is_invalidate && !is_joined && found.as_ref().is_some_and(is_older);
        let is_match = found.as_ref().is_none_or(|entry| {
            put.compare.is_none_or(|version| version == entry.facts.version) || is_stale
        });
        let outcome = match (put.mode, &found) {
            (Mode::Add, Some(_)) => Outcome::NotStored,
            (Mode::Set | Mode::Replace, None) if put.compare.is_some() => Outcome::NotFound,
            (Mode::Replace, None) => Outcome::NotStored,
            (Mode::Append | Mode::Prepend, None) if !put.is_vivify => Outcome::NotStored,
            _ if is_match => Outcome::Done,
            _ => Outcome::Exists,
        };
        if outcome != Outcome::Done {
            return reply.stored(&put.answer, outcome, &Facts::default());
        }
        let version = self.next_version(put.version);
        let new = |value: Vec<u8>| {
            let facts = Facts { flags: put.flags, version, ..Facts::default() };
            Entry { value, expiry_ms: at_ms(put.expiry), facts }
        };
        let entry = match found {
            Some(Entry { expiry_ms, facts, .. }) if is_stale => {
                let mut entry = Entry { expiry_ms, ..new(put.value.to_vec()) };
                entry.facts.is_stale = true;
                entry.facts.is_claimed = facts.is_claimed;
                entry
            }
            None => new(put.value.to_vec()),
            Some(_) if !is_joined => new(put.value.to_vec()),
            Some(mut entry) => {
                let parts = [&entry.value[..], put.value];
                let [first, second] =
                    if put.mode == Mode::Append { parts } else { [parts[1], parts[0]] };
                entry.value = [first, second].concat();
                // It is a new entry with the old flags, neither stale nor won.
                let flags = entry.facts.flags;
                entry.facts = Facts { flags, version, ..Facts::default() };
                entry
            }
        };
        reply.stored(&put.answer, outcome, &entry.facts());
        self.entries.insert(put.key.to_vec(), entry);
    }

    fn delete(&mut self, delete: Delete<'_>, reply: &mut Encoder<'_>) {
        let version = self.next_version(delete.version);
        let outcome = match self.find(delete.key) {
            None => Outcome::NotFound,
            Some(entry) if delete.compare.is_some_and(|at| at != entry.facts.version) => {
                Outcome::Exists
            }
            Some(entry) if delete.is_invalidate || delete.is_emptied => {
                if delete.is_emptied {
                    entry.value.clear();
                    entry.facts.flags = 0;
                }
                if let Some(expiry) = delete.expiry {
                    entry.expiry_ms = at_ms(expiry);
                }
                entry.facts.is_stale |= delete.is_invalidate;
                entry.facts.is_claimed = false;
                entry.facts.version = version;
                Outcome::Done
            }
            Some(_) => {
                self.entries.remove(delete.key);
                Outcome::Done
            }
        };
        reply.deleted(&delete.answer, outcome);
    }

    fn increment(&mut self, increment: Increment<'_>, reply: &mut Encoder<'_>) {
        let version = self.next_version(increment.version);
        let made = match (self.find(increment.key), increment.vivify) {
            (None, Some(expiry)) => {
                let value = increment.initial.to_string().into_bytes();
                let entry = Entry { value, expiry_ms: at_ms(expiry), ..Entry::default() };
                self.entries.insert(increment.key.to_vec(), entry);
                true
            }
            _ => false,
        };
        let Some(entry) = self.find(increment.key) else {
            return reply.counted(&increment.answer, Counted::NotFound, &Facts::default());
        };
        if increment.compare.is_some_and(|version| version != entry.facts.version) && !made {
            return reply.counted(&increment.answer, Counted::Exists, &Facts::default());
        }
        let Some(number) = parse_number(&entry.value) else {
            // Errors are told but to those who said `noreply`.
            if increment.answer != (Answer::Text { is_quiet: true }) {
                reply.refusal(Refusal::NonNumeric);
            }
            return;
        };
        let number = if made { number } else { increment.apply(number) };
        entry.value = number.to_string().into_bytes();
        entry.facts.version = version;
        if let Some(expiry) = increment.expiry {
            entry.expiry_ms = at_ms(expiry);
        }
        let counted = if made { Counted::Created(number) } else { Counted::Changed(number) };
        let facts = entry.facts();
        reply.counted(&increment.answer, counted, &facts);
    }
}
