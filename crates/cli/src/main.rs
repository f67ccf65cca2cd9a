//! The program `morecore`: one heap engine as a malloc, a store and a server.
//!
//! ```text
//! command line --clap--> Command --run--> answer on standard output, exit status 0
//!                                  \----> Failure: one sentence on standard error, a status
//! ```
//!
//! Knows nothing of how any of it works: it parses, calls a face, and prints.
#![forbid(unsafe_code)]

mod carried;
mod client;
mod commands;
mod failure;
mod lab;
mod mess;
mod output;
mod program;
mod quantity;
mod target;

use std::env;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::commands::Command;
use crate::output::Out;

/// `run` keeps 2 for the program that it runs, as coreutils' env does: its own usage errors are
/// failures of its own.
const USAGE_OF_RUN: u8 = 125;

/// One heap engine as a malloc, a shared store and a server
#[derive(clap::Parser)]
#[command(name = "morecore", version, max_term_width = 100, subcommand_value_name = "COMMAND")]
#[command(disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let mut out = Out::standard();
    let outcome = cli.command.run(&mut out);
    // Also after a failure: what was found until then is worth showing.
    let flushed = out.flush();
    match outcome.and_then(|status| Ok(flushed.map(|()| status)?)) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            if let Some(sentence) = failure.sentence() {
                eprintln!("morecore: {sentence}");
            }
            ExitCode::from(failure.status())
        }
    }
}

/// Prints help or a complaint about the command line, as clap has it.
fn usage(error: &clap::Error) -> ExitCode {
    // Standard output may be gone; there is nobody left to tell.
    let _ = error.print();
    let is_run = env::args_os().nth(1).is_some_and(|command| command == "run");
    match u8::try_from(error.exit_code()) {
        Ok(0) => ExitCode::SUCCESS,
        _ if is_run => ExitCode::from(USAGE_OF_RUN),
        Ok(code) => ExitCode::from(code),
        Err(_) => ExitCode::FAILURE,
    }
}
