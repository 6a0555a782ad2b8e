//! From a pipe to a log.
//!
//! Responsible for reading a bounded amount at a turn and for holding back unfinished lines. Must
//! not decide when it is a pipe's turn.

use super::index::Stream;
use super::write::Log;
use nix::errno::Errno;
use std::io;
use std::os::fd::OwnedFd;

/// How much is read at one turn: a pipe's usual capacity. No flood gets more before the others
/// have had their turn.
pub(in crate::runner) const READ_MAX: usize = 64 << 10;

/// How much of an unfinished line is held back, so that two streams do not mix within a line.
/// What is longer is written in pieces.
const HOLD_MAX: usize = 64 << 10;

/// How much is read from a pipe whose writers are all gone but which somebody outside keeps open:
/// the most that a pipe can hold without privileges (`fs.pipe-max-size`).
const DRAIN_MAX: usize = 1 << 20;

/// The read end of a program's stdout or stderr.
#[derive(Debug)]
pub(in crate::runner) struct Pump {
    pub(in crate::runner) pipe: OwnedFd,
    stream: Stream,
    held: Vec<u8>,
}

/// What a turn came to.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::runner) enum Turn {
    /// There may be more.
    Open,
    /// Nothing to read at the moment.
    Idle,
    /// All writers are gone.
    Ended,
}

impl Pump {
    /// For the read end of a pipe that does not block.
    pub(in crate::runner) fn new(pipe: OwnedFd, stream: Stream) -> Pump {
        Pump { pipe, stream, held: Vec::new() }
    }

    /// Carries what is there, at most `buffer`'s length. `warn` gets what people should know.
    pub(in crate::runner) fn turn(
        &mut self,
        log: &mut Log,
        buffer: &mut [u8],
        warn: &mut Option<String>,
    ) -> Turn {
        match nix::unistd::read(&self.pipe, buffer) {
            Ok(0) => Turn::Ended,
            Ok(len) => {
                let said = self.carry(log, buffer.get(..len).unwrap_or_default());
                *warn = said.or(warn.take());
                Turn::Open
            }
            Err(Errno::EAGAIN) => Turn::Idle,
            Err(Errno::EINTR) => Turn::Open,
            // No other error is known for a pipe; there is nothing more to be had from it.
            Err(_) => Turn::Ended,
        }
    }

    /// Carries all that is left once no process of the tree lives, and the unfinished line.
    pub(in crate::runner) fn drain(
        &mut self,
        log: &mut Log,
        buffer: &mut [u8],
        warn: &mut Option<String>,
    ) {
        for _ in 0..DRAIN_MAX / READ_MAX + 1 {
            match self.turn(log, buffer, warn) {
                Turn::Open => {}
                Turn::Idle | Turn::Ended => break,
            }
        }
        self.release(log, warn);
    }

    /// Writes what was held back: the line will not be finished any more.
    pub(in crate::runner) fn release(&mut self, log: &mut Log, warn: &mut Option<String>) {
        let rest = std::mem::take(&mut self.held);
        let said = log.append(self.stream, &rest);
        *warn = said.or(warn.take());
    }

    fn carry(&mut self, log: &mut Log, bytes: &[u8]) -> Option<String> {
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let (lines, rest) = bytes.split_at_checked(whole).unwrap_or((bytes, b""));
        let mut said = None;
        if !lines.is_empty() {
            if self.held.is_empty() {
                said = log.append(self.stream, lines);
            } else {
                self.held.extend_from_slice(lines);
                said = log.append(self.stream, &self.held);
                self.held = Vec::new();
            }
        }
        self.held.extend_from_slice(rest);
        if self.held.len() > HOLD_MAX {
            said = log.append(self.stream, &self.held).or(said);
            self.held = Vec::new();
        }
        said
    }
}

/// A pipe for a program's output: our end does not block, neither survives execve.
///
/// # Errors
/// As pipe2(2).
pub(in crate::runner) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    nix::fcntl::fcntl(&read, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
    Ok((read, write))
}
