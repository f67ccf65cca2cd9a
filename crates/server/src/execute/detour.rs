//! The longer way of a command, for clients that have asked for more than replies: a transaction,
//! for one. All others pass it by with one test.
//!
//! Promises: a command that is put into a transaction is judged by its name and the number of its
//! arguments now, and by what they say when it is executed, as Redis does.
//! Source: `processCommand` of Redis 7.0.15.

use morecore_wire::{Arguments, Encoder, Refusal, Row, Version};

use super::notice::run_noticed;
use super::{After, admit, count_error, measured, refuse};
use crate::caller::{Caller, Muted};
use crate::desk::Desk;
use crate::exchange::Asked;
use crate::transaction::{KEPT_BYTES_MOST, Transaction, Watched};

/// What a client hears whose transaction would have no end.
const TOO_LARGE: &str = "ERR the commands of a transaction have more than 1073741824 bytes";

/// What it hears when the buffers of all clients are too large already.
const CROWDED: &str = "ERR the buffers of all clients are full";

/// Executes a command, or keeps it until EXEC.
pub(super) fn execute(
    arguments: Arguments<'_>,
    caller: &mut Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> After {
    hear(caller, desk, reply);
    if caller.standing().is_waiting {
        desk.ask(Asked::GoOn, caller, reply);
    }
    let Some(was) = caller.extras.as_ref().map(|extras| extras.muted) else {
        return judge(arguments, caller, desk, reply);
    };
    if was == Muted::Nothing {
        return judge(arguments, caller, desk, reply);
    }
    let mut nobody = Vec::new();
    let mut muted = Encoder::new(&mut nobody, caller.version);
    let after = judge(arguments, caller, desk, &mut muted);
    reply.set_version(caller.version);
    let now = caller.extras.as_mut().map(|extras| &mut extras.muted);
    match (was, now) {
        // CLIENT REPLY ON is answered, and so is RESET.
        (Muted::Everything, Some(Muted::Nothing) | None) => reply.encoded(&nobody),
        // ON ends SKIP, too; RESET is still one that is skipped.
        (Muted::Next, Some(Muted::Nothing) | None) if caller.last_command == "client|reply" => {
            reply.encoded(&nobody);
        }
        (Muted::Next, Some(now @ Muted::Next)) if after != After::Wait => *now = Muted::Nothing,
        _ => {}
    }
    if is_told_anyway(caller.last_command, &nobody) {
        reply.encoded(&nobody);
    }
    caller.drop_idle_extras();
    after
}

/// Whether a reply comes to a client that wants none: what it listens to is told it as messages
/// are, for which CLIENT REPLY does not count. Neither an error nor QUEUED is such a reply.
fn is_told_anyway(command: &str, reply: &[u8]) -> bool {
    let is_message = matches!(reply.first(), Some(b'*' | b'>'));
    is_message && is_about_listening(command)
}

/// Whether a command says what the client listens to.
fn is_about_listening(command: &str) -> bool {
    matches!(
        command,
        "subscribe" | "psubscribe" | "ssubscribe" | "unsubscribe" | "punsubscribe" | "sunsubscribe"
    )
}

/// Executes a command, keeps it until EXEC, or has it wait.
fn judge(
    arguments: Arguments<'_>,
    caller: &mut Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> After {
    let row = match admit(arguments, caller, desk) {
        Ok(row) => row,
        Err(refusal) => return reject(&refusal, caller, desk, reply),
    };
    if is_forbidden(row, caller) {
        return reject(&Refusal::Listening { command: row.name }, caller, desk, reply);
    }
    if is_kept(row, caller) && row.flags.is_for_no_transaction() {
        return reject(&Refusal::NotWithinMulti, caller, desk, reply);
    }
    let after = if is_kept(row, caller) {
        keep(arguments, caller, desk, reply);
        After::GoOn
    } else if is_paused(row, caller, desk) {
        desk.ask(Asked::Wait, caller, reply);
        return After::Wait;
    } else {
        run_noticed(row, arguments, caller, desk, reply)
    };
    forget_choice(row, caller);
    caller.drop_idle_extras();
    after
}

/// Refuses a command before it is executed.
fn reject(
    refusal: &Refusal<'_>,
    caller: &mut Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> After {
    match (refusal, &mut caller.extras) {
        (Refusal::WrongArity { command: "exec" }, Some(extras)) => {
            (extras.transaction, extras.watched) = (None, Watched::default());
        }
        _ => spoil(caller),
    }
    measured::rejected(refusal, caller, desk);
    refuse(refusal, desk, reply);
    After::GoOn
}

/// Appends what others have said until now, so that it comes before the reply.
fn hear(caller: &mut Caller, desk: &mut Desk, reply: &mut Encoder<'_>) {
    if caller.standing().is_any() {
        let messages = desk.messages_for(caller);
        let mut encoded = Vec::new();
        caller.hear(&messages, &mut encoded);
        reply.encoded(&encoded);
    }
}

/// Whether a client may not ask this while it listens: in RESP2 it could not tell a reply from a
/// message.
fn is_forbidden(row: &Row, caller: &Caller) -> bool {
    let is_bound = caller.version == Version::Resp2 && caller.standing().is_listening();
    is_bound && !matches!(row.name, "ping" | "quit" | "reset") && !is_about_listening(row.name)
}

/// Whether a command waits for the end of a pause. A pause can be ended during it.
fn is_paused(row: &Row, caller: &Caller, desk: &Desk) -> bool {
    let open = caller.extras.as_ref().and_then(|extras| extras.transaction.as_ref());
    let writes = row.flags.is_write()
        || matches!(row.name, "publish" | "spublish")
        || (row.name == "exec" && open.is_some_and(Transaction::writes));
    desk.attention.pauses(writes) && !matches!(row.name, "client|pause" | "client|unpause")
}

/// Forgets what CLIENT CACHING said of this command.
fn forget_choice(row: &Row, caller: &mut Caller) {
    let extras = caller.extras.as_mut().filter(|extras| extras.transaction.is_none());
    if let Some(tracking) = extras.and_then(|extras| extras.tracking.as_mut())
        && !row.name.starts_with("client|")
    {
        tracking.is_chosen = false;
    }
}

/// Whether a command waits for EXEC.
fn is_kept(row: &Row, caller: &Caller) -> bool {
    let is_open = caller.extras.as_ref().is_some_and(|extras| extras.transaction.is_some());
    let is_for_now = matches!(row.name, "multi" | "exec" | "discard" | "watch" | "quit" | "reset");
    is_open && !is_for_now
}

fn keep(arguments: Arguments<'_>, caller: &mut Caller, desk: &mut Desk, reply: &mut Encoder<'_>) {
    let bytes: usize = arguments.iter().map(<[u8]>::len).sum();
    let kept = caller.kept_bytes();
    let is_crowded = caller.place.is_crowded();
    let Some(transaction) = caller.extras().transaction.as_mut() else { return };
    let wrong = match () {
        () if bytes + kept > KEPT_BYTES_MOST => Some(TOO_LARGE),
        () if is_crowded => Some(CROWDED),
        () => None,
    };
    match wrong {
        Some(words) => {
            transaction.spoil();
            count_error("ERR", desk);
            reply.error(words);
        }
        None => {
            transaction.push(arguments);
            reply.simple("QUEUED");
        }
    }
}

/// Takes note that a command could not be put into the transaction, if there is one.
fn spoil(caller: &mut Caller) {
    let open = caller.extras.as_mut().and_then(|extras| extras.transaction.as_mut());
    if let Some(transaction) = open {
        transaction.spoil();
    }
}
