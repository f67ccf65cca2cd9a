//! The lines of a redis.conf that mean something here, as flags of `serve`.
//!
//! ```text
//! maxclients 500            -> --maxclients=500
//! bind 127.0.0.1 -::1       -> --bind=127.0.0.1     (minus: only if there is such an address)
//! save 3600 1               -> named on standard error, and left out
//! ```
//!
//! Promises: nothing is left out in silence; a value that makes no sense ends the program with the
//! flag's own complaint.
//!
//! Source: the comments of redis.conf, Redis 7.0.

use std::fs;
use std::path::Path;

use clap::Parser;

use super::flags::Flags;
use crate::failure::Failure;

/// The settings that are flags of the same name and take one value.
const SAME_NAME: [&str; 13] = [
    "port",
    "unixsocket",
    "maxmemory",
    "maxmemory-policy",
    "maxclients",
    "requirepass",
    "timeout",
    "tcp-keepalive",
    "latency-tracking",
    "loglevel",
    "model",
    "protocol",
    "threads",
];

/// A command line of flags alone, so that a file's values are read exactly as a flag's are.
#[derive(Parser)]
#[command(no_binary_name = true)]
struct Lines {
    #[command(flatten)]
    flags: Flags,
}

/// Reads a file of settings, and names every line of it that has no meaning here.
pub(super) fn read(path: &Path) -> Result<Flags, Failure> {
    let told = |what: &dyn std::fmt::Display| Failure::new(format!("{}: {what}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| told(&error))?;
    let (flags, unknown) = as_flags(&text);
    for line in unknown {
        eprintln!("morecore: {}: left out: {line}", path.display());
    }
    match Lines::try_parse_from(flags) {
        Ok(lines) => Ok(lines.flags),
        Err(error) => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            Err(told(&first.trim_start_matches("error: ")))
        }
    }
}

/// The lines as flags, and beside them those that are none.
fn as_flags(text: &str) -> (Vec<String>, Vec<String>) {
    let (mut flags, mut unknown) = (Vec::new(), Vec::new());
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let name = name.to_ascii_lowercase();
        let value = unquoted(value.trim());
        if name == "bind" {
            for address in value.split_whitespace() {
                match address {
                    "*" => flags.push("--bind=0.0.0.0".to_string()),
                    _ if address.starts_with('-') => unknown.push(format!("bind {address}")),
                    _ => flags.push(format!("--bind={address}")),
                }
            }
        } else if SAME_NAME.contains(&name.as_str()) {
            flags.push(format!("--{name}={value}"));
        } else {
            unknown.push(line.to_string());
        }
    }
    (flags, unknown)
}

/// A value without the quotes around it.
fn unquoted(value: &str) -> &str {
    let inside = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inside('"').or_else(|| inside('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::as_flags;

    fn check(text: &str, flags: &[&str], unknown: &[&str]) {
        let (found, left_out) = as_flags(text);
        assert_eq!(found, flags, "{text}");
        assert_eq!(left_out, unknown, "{text}");
    }

    #[test]
    fn lines_become_flags() {
        check("port 7000\n# a comment\n\nMaxClients  5", &["--port=7000", "--maxclients=5"], &[]);
        check("requirepass \"two words\"", &["--requirepass=two words"], &[]);
        check("bind 127.0.0.1 -::1", &["--bind=127.0.0.1"], &["bind -::1"]);
        check("bind *", &["--bind=0.0.0.0"], &[]);
    }

    #[test]
    fn what_means_nothing_here_is_named() {
        check("save 3600 1\nport 1", &["--port=1"], &["save 3600 1"]);
        check("appendonly", &[], &["appendonly"]);
    }
}
