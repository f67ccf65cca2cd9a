//! The lines of refusals that say the same each time.
//!
//! Source: the messages of Redis 7.0.15.

use super::Refusal;

/// The line of `refusal`, or `None` where it has something of the client's own in it.
pub(super) fn of(refusal: &Refusal<'_>) -> Option<&'static str> {
    about_arguments(refusal)
        .or_else(|| about_connections(refusal))
        .or_else(|| about_values(refusal))
}

/// About arguments that mean nothing.
fn about_arguments(refusal: &Refusal<'_>) -> Option<&'static str> {
    Some(match refusal {
        Refusal::Syntax => "ERR syntax error",
        Refusal::NotAnInteger => "ERR value is not an integer or out of range",
        Refusal::NotAFloat => "ERR value is not a valid float",
        Refusal::DecrementOverflow => "ERR decrement would overflow",
        Refusal::OffsetOutOfRange => "ERR offset is out of range",
        Refusal::TimeoutNotAnInteger => "ERR timeout is not an integer or out of range",
        Refusal::TimeoutNegative => "ERR timeout is negative",
        Refusal::NoConfigFile => "ERR The server is running without a config file that it writes",
        Refusal::SlowLogCount => "ERR count should be greater than or equal to -1",
        Refusal::NoShutdown => "ERR No shutdown in progress.",
        Refusal::GetKeysUnknown => "ERR Invalid command specified",
        Refusal::GetKeysArity => "ERR Invalid number of arguments specified for command",
        Refusal::GetKeysNone => "ERR The command has no key arguments",
        Refusal::ExpireConditionsWithNx => {
            "ERR NX and XX, GT or LT options at the same time are not compatible"
        }
        Refusal::ExpireGtWithLt => "ERR GT and LT options at the same time are not compatible",
        Refusal::InvalidCursor => "ERR invalid cursor",
        _ => return None,
    })
}

/// About the connection and its transaction.
fn about_connections(refusal: &Refusal<'_>) -> Option<&'static str> {
    Some(match refusal {
        Refusal::VersionNotAnInteger => "ERR Protocol version is not an integer or out of range",
        Refusal::UnsupportedVersion => "NOPROTO unsupported protocol version",
        Refusal::ClientName => {
            "ERR Client names cannot contain spaces, newlines or special characters."
        }
        Refusal::InvalidClientId => "ERR Invalid client ID",
        Refusal::MultiNested => "ERR MULTI calls can not be nested",
        Refusal::ExecWithoutMulti => "ERR EXEC without MULTI",
        Refusal::DiscardWithoutMulti => "ERR DISCARD without MULTI",
        Refusal::WatchWithinMulti => "ERR WATCH inside MULTI is not allowed",
        Refusal::ExecAborted => "EXECABORT Transaction discarded because of previous errors.",
        Refusal::NotWithinMulti => "ERR Command not allowed inside a transaction",
        Refusal::NoAuth => "NOAUTH Authentication required.",
        Refusal::HelloNoAuth => {
            "NOAUTH HELLO must be called with the client already authenticated, otherwise \
             the HELLO AUTH <user> <pass> option can be used to authenticate the \
             client and select the RESP protocol version at the same time"
        }
        Refusal::WrongPassword => "WRONGPASS invalid username-password pair or user is disabled.",
        Refusal::NoPasswordSet => {
            "ERR AUTH <password> called without any password configured for the default \
             user. Are you sure your configuration is correct?"
        }
        Refusal::DatabaseNoInt => {
            "ERR value is out of range, value must between -2147483648 and 2147483647"
        }
        Refusal::DatabaseOutOfRange => "ERR DB index is out of range",
        Refusal::TooManyClients => "ERR max number of clients reached",
        _ => return None,
    })
}

/// About keys and their values.
fn about_values(refusal: &Refusal<'_>) -> Option<&'static str> {
    Some(match refusal {
        Refusal::LcsLengthAndStretches => {
            "ERR If you want both the length and indexes, please just use IDX."
        }
        Refusal::RestoreExpiry => "ERR Invalid TTL value, must be >= 0",
        Refusal::RestoreIdleTime => "ERR Invalid IDLETIME value, must be >= 0",
        Refusal::RestoreFrequency => "ERR Invalid FREQ value, must be >= 0 and <= 255",
        Refusal::BusyKey => "BUSYKEY Target key name already exists.",
        Refusal::DumpFoot => "ERR DUMP payload version or checksum are wrong",
        Refusal::DumpBody => "ERR Bad data format",
        Refusal::FrequencyNotCounted => {
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. \
             Please note that when switching between policies at runtime LRU and LFU data \
             will take some time to adjust."
        }
        Refusal::IdleTimeNotCounted => {
            "ERR idle time is not tracked: eviction goes by whether a key was visited, not when"
        }
        Refusal::LcsTooLarge => {
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"
        }
        Refusal::BitOffsetOutOfRange => "ERR bit offset is not an integer or out of range",
        Refusal::BitOutOfRange => "ERR bit is not an integer or out of range",
        Refusal::BitIsNoBit => "ERR The bit argument must be 1 or 0.",
        Refusal::BitOpNotOfMany => "ERR BITOP NOT must be called with a single source key.",
        Refusal::BitFieldType => {
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not \
             supported but i64 is."
        }
        Refusal::BitFieldOverflow => "ERR Invalid OVERFLOW type specified",
        Refusal::BitFieldReadOnly => "ERR BITFIELD_RO only supports the GET subcommand",
        Refusal::NoSuchKey => "ERR no such key",
        Refusal::SameObject => "ERR source and destination objects are the same",
        Refusal::IncrementOverflow => "ERR increment or decrement would overflow",
        Refusal::IncrementNotFinite => "ERR increment would produce NaN or Infinity",
        Refusal::ValueTooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
        Refusal::OutOfMemory => "OOM command not allowed when used memory > 'maxmemory'.",
        _ => return None,
    })
}
