//! What the catalogue says about a command, as replies: COMMAND, COMMAND INFO, COMMAND DOCS and
//! HELP.
//!
//! Promises: only what is true here. Redis shows further flags, hints and arguments; where we have
//! nothing to say a list is empty, which clients take for "not told".
//! Source: <https://redis.io/docs/latest/commands/command>, and Redis 7.0.15 for the shapes.

use super::catalogue::{
    ADMIN, Access, DANGEROUS, DENY_OOM, FAST, NO_AUTH, NO_MULTI, PUBSUB, READ_ONLY, Read, WRITE,
    row_named,
};
use super::{Bits, Command, Describe, ListFilter, Row, all_rows, find, rows};
use crate::arguments::Arguments;
use crate::encoder::Encoder;
use crate::glob::is_match_ignoring_case;
use crate::refusal::Refusal;

impl Describe<'_> {
    /// Writes the answer.
    pub fn write(self, out: &mut Encoder<'_>) {
        match self {
            Describe::Count => out.integer(rows().count() as i64),
            Describe::List { filter } => write_list(filter, out),
            Describe::Keys { arguments, has_flags } => write_keys(arguments, has_flags, out),
            Describe::Info { names } if !names.is_empty() => write_infos(names, out),
            Describe::Docs { names } if !names.is_empty() => write_docs(found(names), out),
            Describe::Docs { .. } => write_docs(rows(), out),
            Describe::Info { .. } | Describe::Every => {
                out.array(rows().count());
                rows().for_each(|row| row.write_info(out));
            }
        }
    }
}

impl Row {
    /// Writes what COMMAND INFO tells: an array of ten, the names of its parts being only in the
    /// manual.
    fn write_info(&self, out: &mut Encoder<'_>) {
        out.array(10);
        out.bulk(self.name.as_bytes());
        out.integer(self.arity.into());
        write_words(self.flag_names(), "", out);
        out.integer(self.first_key.into());
        out.integer(self.last_key.into());
        out.integer(self.key_step.into());
        write_words(self.categories(), "@", out);
        // No hints for proxies.
        out.array(0);
        // No key specifications: first, last and step say all there is.
        out.array(0);
        out.array(self.subcommands.len());
        for subcommand in self.subcommands {
            subcommand.write_info(out);
        }
    }

    /// Writes what COMMAND DOCS tells: the name, and a map. The caller has written the head of the
    /// map of all names.
    fn write_docs(&self, out: &mut Encoder<'_>) {
        out.bulk(self.name.as_bytes());
        out.map(if self.subcommands.is_empty() { 3 } else { 4 });
        for (name, text) in
            [("summary", self.summary), ("since", self.since), ("group", self.group.name())]
        {
            out.bulk(name.as_bytes());
            out.bulk(text.as_bytes());
        }
        if !self.subcommands.is_empty() {
            out.bulk(b"subcommands");
            out.map(self.subcommands.len());
            for subcommand in self.subcommands {
                subcommand.write_docs(out);
            }
        }
    }

    /// Writes what the subcommand HELP tells: a line for each subcommand and one for its summary.
    pub fn write_help(&self, out: &mut Encoder<'_>) {
        let upper = |name: &str| name.to_ascii_uppercase();
        out.array(1 + 2 * self.subcommands.len());
        let name = upper(self.name);
        out.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
        for subcommand in self.subcommands {
            out.simple(&upper(subcommand.short_name()));
            out.simple(&format!("    {}", subcommand.summary));
        }
    }

    /// Whether COMMAND LIST names it under `filter`.
    fn passes(&self, filter: ListFilter<'_>) -> bool {
        match filter {
            ListFilter::Every => true,
            ListFilter::Module(_) => false,
            ListFilter::Category(name) => {
                self.categories().any(|category| name.eq_ignore_ascii_case(category.as_bytes()))
            }
            ListFilter::Pattern(pattern) => is_match_ignoring_case(pattern, self.name.as_bytes()),
        }
    }

    fn flag_names(&self) -> impl Iterator<Item = &'static str> + Clone + '_ {
        let named = [
            (WRITE, "write"),
            (READ_ONLY, "readonly"),
            (DENY_OOM, "denyoom"),
            (ADMIN, "admin"),
            (FAST, "fast"),
            (NO_AUTH, "no_auth"),
            (NO_MULTI, "no_multi"),
            (PUBSUB, "pubsub"),
        ];
        named.into_iter().filter(|(flag, _)| self.flags.has(*flag)).map(|(_, name)| name)
    }

    /// The categories of Redis's access lists, told from the flags as Redis does.
    fn categories(&self) -> impl Iterator<Item = &'static str> + Clone + '_ {
        let has = |flag| self.flags.has(flag);
        let told = [
            self.category,
            has(WRITE).then_some("write"),
            has(READ_ONLY).then_some("read"),
            has(ADMIN).then_some("admin"),
            (has(ADMIN) || has(DANGEROUS)).then_some("dangerous"),
            Some(if has(FAST) { "fast" } else { "slow" }),
        ];
        told.into_iter().flatten()
    }
}

/// The rows that `names` name, those that do not exist left out.
fn found(names: Arguments<'_>) -> impl Iterator<Item = &'static Row> + Clone {
    names.iter().filter_map(row_named)
}

/// Writes what COMMAND INFO tells of `names`: null for one that does not exist.
fn write_infos(names: Arguments<'_>, out: &mut Encoder<'_>) {
    out.array(names.len());
    for name in names.iter() {
        match row_named(name) {
            Some(row) => row.write_info(out),
            None => out.null(),
        }
    }
}

/// Writes what COMMAND DOCS tells of `rows`: a map by their names.
fn write_docs(rows: impl Iterator<Item = &'static Row> + Clone, out: &mut Encoder<'_>) {
    out.map(rows.clone().count());
    rows.for_each(|row| row.write_docs(out));
}

/// The keys in `arguments`, each with what is done to it; what two commands do depends on more than
/// their names.
fn keys_in<'a>(
    row: &'static Row,
    arguments: Arguments<'a>,
) -> impl Iterator<Item = (&'a [u8], Access)> + Clone {
    let special = match row.read(arguments) {
        Ok(Command::Set(set)) if set.is_get => Some(Access::UPDATES),
        Ok(Command::Bits(Bits::Fields { has_writes: false, .. })) => Some(Access::READS),
        _ => None,
    };
    row.keys_in(arguments).map(move |(key, access)| (key, special.unwrap_or(access)))
}

/// Reads COMMAND GETKEYS and GETKEYSANDFLAGS of the command that `arguments` spell.
pub(super) fn read_keys<'a>(arguments: Arguments<'a>, has_flags: bool) -> Read<'a> {
    let row = find(arguments).map_err(|refusal| match refusal {
        Refusal::WrongArity { .. } => Refusal::GetKeysArity,
        _ => Refusal::GetKeysUnknown,
    })?;
    if row.keys_in(arguments).next().is_none() {
        return Err(Refusal::GetKeysNone);
    }
    Ok(Command::Describe(Describe::Keys { arguments, has_flags }))
}

/// Writes the keys of the command that `arguments` spell, whose reader has seen that it is one.
fn write_keys(arguments: Arguments<'_>, has_flags: bool, out: &mut Encoder<'_>) {
    let Ok(row) = find(arguments) else { return out.array(0) };
    let keys = keys_in(row, arguments);
    out.array(keys.clone().count());
    for (key, Access(words)) in keys {
        if !has_flags {
            out.bulk(key);
            continue;
        }
        out.array(2);
        out.bulk(key);
        write_words(words.iter().copied(), "", out);
    }
}

/// Writes the names that pass `filter`, as COMMAND LIST tells them.
fn write_list(filter: ListFilter<'_>, out: &mut Encoder<'_>) {
    let passing = all_rows().filter(|row| row.passes(filter));
    out.array(passing.clone().count());
    passing.for_each(|row| out.bulk(row.name.as_bytes()));
}

/// Writes `words` as a set of simple strings, `mark` before each.
fn write_words<'a>(
    words: impl Iterator<Item = &'a str> + Clone,
    mark: &str,
    out: &mut Encoder<'_>,
) {
    out.set(words.clone().count());
    for word in words {
        out.simple(&format!("{mark}{word}"));
    }
}
