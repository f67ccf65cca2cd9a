//! A worker as the bench sees it: a process that is told things and answers.

use std::cell::RefCell;
use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use super::setting::Content;
use super::shelf::ShelfName;
use crate::failure::Failure;
use crate::mess::{Mess, Player};

/// A process of this program that works for the bench until this value is dropped.
pub(super) struct Worker<'a> {
    input: RefCell<ChildStdin>,
    output: RefCell<BufReader<ChildStdout>>,
    pid: u32,
    _player: Player<'a>,
}

impl<'a> Worker<'a> {
    /// Starts one on the store or the socket `at`; it draws its keys from `seed`.
    pub(super) fn start(
        mess: &'a Mess,
        (shelf, at): (ShelfName, &str),
        content: Content,
        seed: u64,
    ) -> Result<Worker<'a>, Failure> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["bench", "store", "--shelf", shelf.name(), "--at", at]);
        command.args(["--items", &content.items.to_string()]);
        command.args(["--value-bytes", &content.value_bytes.to_string()]);
        command.args(["--seed", &seed.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut player = mess.adopt(command.spawn()?);
        let pid = player.child().id();
        let pipes = player.child().stdin.take().zip(player.child().stdout.take());
        let (input, output) = pipes.ok_or_else(|| Failure::new("a worker without pipes"))?;
        let output = RefCell::new(BufReader::new(output));
        Ok(Worker { input: RefCell::new(input), output, pid, _player: player })
    }

    /// The number of the process.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Says one line to it.
    pub(super) fn tell(&self, line: &str) -> Result<(), Failure> {
        Ok(writeln!(self.input.borrow_mut(), "{line}")?)
    }

    /// Waits for its answer.
    pub(super) fn hear(&self) -> Result<String, Failure> {
        let mut line = String::new();
        if self.output.borrow_mut().read_line(&mut line)? == 0 {
            // It has said why on standard error.
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(line)
    }

    /// Waits for the answer to a run, as operations a second.
    pub(super) fn hear_rate(&self) -> Result<f64, Failure> {
        let [operations, ns] = self.hear_numbers()?;
        Ok(operations / ns * 1e9)
    }

    /// Waits for an answer of one number.
    pub(super) fn hear_number(&self) -> Result<f64, Failure> {
        let [number] = self.hear_numbers()?;
        Ok(number)
    }

    /// Waits for an answer of some numbers.
    pub(super) fn hear_numbers<const COUNT: usize>(&self) -> Result<[f64; COUNT], Failure> {
        let line = self.hear()?;
        let numbers: Option<Vec<f64>> =
            line.split_whitespace().map(|word| word.parse().ok()).collect();
        numbers
            .and_then(|numbers| numbers.try_into().ok())
            .ok_or_else(|| Failure::new(format!("a worker said `{}`", line.trim_end())))
    }
}
