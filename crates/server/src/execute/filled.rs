//! A SET whose value was received where it stands in the store now.

use morecore_store::{self as store, Filler};
use morecore_wire::{Encoder, Limits, Parser, Progress, encode_command};

use super::{After, Denied, deny, execute, slow};
use crate::caller::Caller;
use crate::desk::Desk;

/// As much of the value as the slow log shows, and a byte, so that it is seen to be cut.
const SHOWN_BYTES: usize = 129;

/// Executes `SET key value`, which `filler` has whole, for a caller of whom nothing more is wanted.
pub(crate) fn execute_filled(
    filler: &mut Filler,
    caller: &mut Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) {
    desk.counts.commands += 1;
    caller.last_command = "set";
    let value = filler.room();
    let bytes = value.len();
    let mut shown = [0; SHOWN_BYTES];
    let count = bytes.min(SHOWN_BYTES);
    shown[..count].copy_from_slice(&value[..count]);
    filler.set_now(Some(desk.now_ms));
    match filler.seal(&store::Set::default()) {
        Ok(_) => reply.ok(),
        Err(error) => {
            deny(&Denied::Store(error), desk, reply);
        }
    }
    if let Some(took) = desk.watch.lap() {
        let mut value = shown[..count].to_vec();
        value.resize(bytes, 0);
        let mut command = Vec::new();
        encode_command(&mut command, &[b"SET", filler.key(), &value]);
        with_arguments(&command, |arguments| slow::note(took, arguments, caller, desk));
    }
}

/// Executes the command that is `bytes`, for a caller of whom more is wanted.
pub(crate) fn execute_encoded(
    bytes: &[u8],
    caller: &mut Caller,
    desk: &mut Desk,
    reply: &mut Encoder<'_>,
) -> After {
    let mut after = After::GoOn;
    with_arguments(bytes, |arguments| after = execute(arguments, caller, desk, reply));
    after
}

/// Calls `each` with the arguments of the command that is `bytes`.
fn with_arguments(bytes: &[u8], each: impl FnOnce(morecore_wire::Arguments<'_>)) {
    // It was read once, within the limits of then.
    let none = Limits { bulk_bytes_most: usize::MAX, ..Limits::DEFAULT };
    let mut parser = Parser::new(none);
    if let Ok(Progress::Whole { .. }) = parser.parse(bytes) {
        each(parser.arguments(bytes));
    }
}
