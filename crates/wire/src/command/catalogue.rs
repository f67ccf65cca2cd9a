//! The catalogue: one row a command, and all that is said about it anywhere.
//!
//! ```text
//!   name --hash--> SLOTS --> row: arity, flags, keys, words, reader --> Command
//! ```
//!
//! Promises: what COMMAND tells, what the arity check demands and what the parser reads come from
//! the same row. A look-up allocates nothing and compares one name in the common case.
//! Knows nothing of what the arguments of a command mean: the reader in its row does.

use super::{
    Command, bits, connection, expiry, keys, lcs, objects, pubsub, server, strings, transactions,
};
use crate::arguments::Arguments;
use crate::refusal::Refusal;

/// What came of reading a command.
pub(super) type Read<'a> = Result<Command<'a>, Refusal<'a>>;

/// Reads the arguments of one command, whose number the arity has already admitted.
pub(super) type Reader = for<'a> fn(Arguments<'a>) -> Read<'a>;

/// What a command does and demands, as COMMAND INFO tells it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Flags(u16);

/// Nothing worth a flag.
pub(super) const NONE: Flags = Flags(0);
/// May change keys.
pub(super) const WRITE: Flags = Flags(1 << 0);
/// Reads keys and changes none.
pub(super) const READ_ONLY: Flags = Flags(1 << 1);
/// Is refused when there is no memory left.
pub(super) const DENY_OOM: Flags = Flags(1 << 2);
/// Is for who runs the server.
pub(super) const ADMIN: Flags = Flags(1 << 3);
/// Takes constant or logarithmic time.
pub(super) const FAST: Flags = Flags(1 << 4);
/// May be asked by a client that has not told its password.
pub(super) const NO_AUTH: Flags = Flags(1 << 5);
/// May hurt when used without care. Redis shows it as a category, not as a flag.
pub(super) const DANGEROUS: Flags = Flags(1 << 6);
/// Is about messages.
pub(super) const PUBSUB: Flags = Flags(1 << 8);
/// Cannot be part of a transaction.
pub(super) const NO_MULTI: Flags = Flags(1 << 9);

impl Flags {
    /// These flags and `others`.
    pub(super) const fn and(self, others: Flags) -> Flags {
        Flags(self.0 | others.0)
    }

    /// Whether all of `flags` are among these.
    pub(super) const fn has(self, flags: Flags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Whether the command may change keys.
    pub const fn is_write(self) -> bool {
        self.has(WRITE)
    }

    /// Whether it is for who runs the server.
    pub const fn is_admin(self) -> bool {
        self.has(ADMIN)
    }

    /// Whether a transaction may not have it.
    pub const fn is_for_no_transaction(self) -> bool {
        self.has(NO_MULTI)
    }

    /// Whether it reads keys and changes none.
    pub const fn is_read_only(self) -> bool {
        self.has(READ_ONLY)
    }

    /// Whether a client may ask it before it has told its password.
    pub const fn is_free_to_ask(self) -> bool {
        self.has(NO_AUTH)
    }
}

/// What a command does to a key, in the words of COMMAND GETKEYSANDFLAGS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Access(pub(super) &'static [&'static str]);

impl Access {
    /// Reads the value.
    pub(super) const READS: Access = Access(&["RO", "access"]);
    /// Looks at the key, and not at its value.
    pub(super) const LOOKS: Access = Access(&["RO"]);
    /// Reads the value and changes it.
    pub(super) const UPDATES: Access = Access(&["RW", "access", "update"]);
    /// Changes the entry and tells nothing of its value.
    pub(super) const ALTERS: Access = Access(&["RW", "update"]);
    /// Adds to the value.
    pub(super) const GROWS: Access = Access(&["RW", "insert"]);
    /// Puts a value, whatever was there.
    pub(super) const OVERWRITES: Access = Access(&["OW", "update"]);
    /// Puts a value where there was none.
    pub(super) const INSERTS: Access = Access(&["OW", "insert"]);
    /// Removes the key.
    pub(super) const DELETES: Access = Access(&["RM", "delete"]);
    /// Reads the value and removes the key.
    pub(super) const TAKES: Access = Access(&["RW", "access", "delete"]);
}

/// Where the manual lists a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Commands about the bits of values.
    Bitmap,
    /// Commands about a connection.
    Connection,
    /// Commands about keys, whatever their values are.
    Generic,
    /// Commands about messages.
    PubSub,
    /// Commands about the server as a whole.
    Server,
    /// Commands about values.
    String,
    /// Commands about transactions.
    Transactions,
}

impl Group {
    /// Its name in COMMAND DOCS.
    pub const fn name(self) -> &'static str {
        match self {
            Group::Bitmap => "bitmap",
            Group::Connection => "connection",
            Group::Generic => "generic",
            Group::PubSub => "pubsub",
            Group::Server => "server",
            Group::String => "string",
            Group::Transactions => "transactions",
        }
    }
}

/// A row of the catalogue: a command, or a subcommand of one.
#[derive(Clone, Copy)]
pub struct Row {
    /// The name in lower case; a subcommand is `container|name`.
    pub name: &'static str,
    /// How many arguments, the name among them; `-n` means n or more.
    pub arity: i32,
    /// What it does and demands.
    pub flags: Flags,
    /// Index of the first argument that is a key, 0 when none is.
    pub first_key: i32,
    /// Index of the last argument that is a key; -1 is the last of all.
    pub last_key: i32,
    /// Distance from one key to the next.
    pub key_step: i32,
    /// The version of Redis that had it first.
    pub since: &'static str,
    /// One sentence about it.
    pub summary: &'static str,
    /// Where the manual lists it.
    pub group: Group,
    /// Which keys or values or connections it is about, as a category of Redis's access lists.
    pub(super) category: Option<&'static str>,
    /// The rows of its subcommands.
    pub subcommands: &'static [Row],
    /// What it does to its first key and to the others, where its flags do not say it.
    access: Option<[Access; 2]>,
    read: Reader,
}

impl Row {
    /// A row without flags, keys and words.
    pub(super) const fn new(group: Group, name: &'static str, arity: i32, read: Reader) -> Row {
        let category = match group {
            Group::Bitmap => Some("bitmap"),
            Group::Connection => Some("connection"),
            Group::Generic => Some("keyspace"),
            Group::PubSub => Some("pubsub"),
            Group::Server => None,
            Group::String => Some("string"),
            Group::Transactions => Some("transaction"),
        };
        Row {
            name,
            arity,
            flags: NONE,
            first_key: 0,
            last_key: 0,
            key_step: 0,
            since: "",
            summary: "",
            group,
            category,
            subcommands: &[],
            access: None,
            read,
        }
    }

    /// The row with its first version and its summary.
    pub(super) const fn about(mut self, since: &'static str, summary: &'static str) -> Row {
        self.since = since;
        self.summary = summary;
        self
    }

    /// The row with these flags.
    pub(super) const fn flags(mut self, flags: Flags) -> Row {
        self.flags = flags;
        self
    }

    /// The row with its keys at arguments `first` to `last`, every `step`th.
    pub(super) const fn keys(mut self, first: i32, last: i32, step: i32) -> Row {
        self.first_key = first;
        self.last_key = last;
        self.key_step = step;
        self
    }

    /// The row of a command that does this to each of its keys.
    pub(super) const fn access(self, each: Access) -> Row {
        self.accesses(each, each)
    }

    /// The row of a command that does one thing to its first key and another to the rest.
    pub(super) const fn accesses(mut self, first: Access, rest: Access) -> Row {
        self.access = Some([first, rest]);
        self
    }

    /// The row in another category than its group suggests.
    pub(super) const fn category(mut self, category: &'static str) -> Row {
        self.category = Some(category);
        self
    }

    /// The row with these subcommands.
    pub(super) const fn subcommands(mut self, subcommands: &'static [Row]) -> Row {
        self.subcommands = subcommands;
        self
    }

    /// The name without its container: `setname` of `client|setname`.
    pub fn short_name(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, short)| short)
    }

    /// The keys among `arguments`, each with what the command does to it.
    pub(super) fn keys_in<'a>(
        &self,
        arguments: Arguments<'a>,
    ) -> impl Iterator<Item = (&'a [u8], Access)> + Clone {
        let count = arguments.len() as i32;
        let last = if self.last_key < 0 { count + self.last_key } else { self.last_key };
        let keys = self.first_key..=last.min(count - 1);
        let has_keys = self.first_key > 0;
        let [first, rest] = self.access.unwrap_or_else(|| {
            let each = if self.flags.has(WRITE) { Access::UPDATES } else { Access::READS };
            [each; 2]
        });
        keys.step_by(self.key_step.max(1) as usize).filter(move |_| has_keys).enumerate().map(
            move |(index, at)| {
                let access = if index == 0 { first } else { rest };
                (arguments.at(at as usize), access)
            },
        )
    }

    /// Whether the command may have `count` arguments, its name among them.
    pub fn admits(&self, count: usize) -> bool {
        let least = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { count >= least } else { count == least }
    }

    /// Calls `each` with every key among `arguments`, which the row admits.
    pub fn each_key<'a>(&self, arguments: Arguments<'a>, each: impl FnMut(&'a [u8])) {
        let (Ok(first @ 1..), Ok(step)) =
            (usize::try_from(self.first_key), usize::try_from(self.key_step))
        else {
            return;
        };
        let last = match usize::try_from(self.last_key) {
            Ok(last) => last,
            Err(_) => arguments.len().saturating_sub(self.last_key.unsigned_abs() as usize),
        };
        let keys = (first..=last).step_by(step.max(1));
        keys.filter_map(|index| arguments.get(index)).for_each(each);
    }

    /// Reads `arguments` as this command.
    ///
    /// # Errors
    /// Too few or too many arguments, or arguments that mean nothing.
    pub fn read<'a>(&self, arguments: Arguments<'a>) -> Result<Command<'a>, Refusal<'a>> {
        if !self.admits(arguments.len()) {
            return Err(Refusal::WrongArity { command: self.name });
        }
        (self.read)(arguments)
    }
}

/// Rows are constants, and a name has one row: the name tells.
impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Row({})", self.name)
    }
}

/// The rows, by theme.
const THEMES: [&[Row]; 10] = [
    connection::ROWS,
    server::ROWS,
    strings::ROWS,
    lcs::ROWS,
    bits::ROWS,
    keys::ROWS,
    objects::ROWS,
    expiry::ROWS,
    transactions::ROWS,
    pubsub::ROWS,
];

/// Every command, without the subcommands.
pub fn rows() -> impl Iterator<Item = &'static Row> + Clone {
    THEMES.into_iter().flatten()
}

/// Every command, each with its subcommands behind it.
pub fn all_rows() -> impl Iterator<Item = &'static Row> + Clone {
    rows().flat_map(|row| std::iter::once(row).chain(row.subcommands))
}

/// The row of the command, or of the subcommand, that `arguments` name.
///
/// # Errors
/// There is no such command or subcommand, or the number of arguments is wrong.
pub fn find(arguments: Arguments<'_>) -> Result<&'static Row, Refusal<'_>> {
    let Some(mut row) = arguments.get(0).and_then(command_named) else {
        return Err(Refusal::UnknownCommand { arguments });
    };
    if let Some(name) = arguments.get(1).filter(|_| !row.subcommands.is_empty()) {
        let is_it = |row: &&Row| name.eq_ignore_ascii_case(row.short_name().as_bytes());
        let unknown = Refusal::UnknownSubcommand { command: row.name, name };
        row = row.subcommands.iter().find(is_it).ok_or(unknown)?;
    }
    if !row.admits(arguments.len()) {
        return Err(Refusal::WrongArity { command: row.name });
    }
    Ok(row)
}

/// The row of `name`, in any case of letters: a command, or `container|subcommand`.
pub(super) fn row_named(name: &[u8]) -> Option<&'static Row> {
    let is_it = |row: &&Row| name.eq_ignore_ascii_case(row.name.as_bytes());
    match name.iter().position(|&byte| byte == b'|') {
        None => command_named(name),
        Some(bar) => command_named(&name[..bar])?.subcommands.iter().find(is_it),
    }
}

/// The row of the command `name`, in any case of letters.
fn command_named(name: &[u8]) -> Option<&'static Row> {
    let mut slot = slot_of(name);
    while let Some(row) = SLOTS[slot] {
        if name.eq_ignore_ascii_case(row.name.as_bytes()) {
            return Some(row);
        }
        slot = (slot + 1) % SLOT_COUNT;
    }
    None
}

/// Slots of the look-up, a power of two: four times the commands, so that few names share one.
const SLOT_COUNT: usize = 512;

/// A bit that is set in every lower-case letter, and that alone tells it from its upper case.
const LOWER: u8 = 0x20;

/// Where the look-up of `name` begins: its length and three of its letters tell nearly all commands
/// apart, and the top bits of a product spread them (Fibonacci hashing; Knuth, The Art of Computer
/// Programming, vol. 3, section 6.4).
const fn slot_of(name: &[u8]) -> usize {
    let [first, middle, last] = match name {
        [] => [0; 3],
        _ => [name[0] | LOWER, name[name.len() / 2] | LOWER, name[name.len() - 1] | LOWER],
    };
    let folded = u32::from_le_bytes([name.len() as u8, first, middle, last]);
    (folded.wrapping_mul(0x9E37_79B9) >> (32 - SLOT_COUNT.ilog2())) as usize
}

/// The rows by the hash of their names; a name whose slot is taken has the next free one.
static SLOTS: [Option<&Row>; SLOT_COUNT] = slots();

const fn slots() -> [Option<&'static Row>; SLOT_COUNT] {
    let mut slots: [Option<&'static Row>; SLOT_COUNT] = [None; SLOT_COUNT];
    let mut theme = 0;
    while theme < THEMES.len() {
        let mut index = 0;
        while index < THEMES[theme].len() {
            let row = &THEMES[theme][index];
            let mut slot = slot_of(row.name.as_bytes());
            while slots[slot].is_some() {
                slot = (slot + 1) % SLOT_COUNT;
            }
            slots[slot] = Some(row);
            index += 1;
        }
        theme += 1;
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More would say that three letters are not enough any more.
    #[test]
    fn a_name_is_found_near_its_slot() {
        for row in rows() {
            let slot = slot_of(row.name.as_bytes());
            let is_it = |away: &usize| SLOTS[(slot + away) % SLOT_COUNT] == Some(row);
            let away = (0..SLOT_COUNT).find(is_it).expect("every row has a slot");
            assert!(away <= 3, "{} is {away} slots away", row.name);
        }
    }
}
