//! From a pipe to a log.
//!
//! Responsible for carrying a bounded amount at a turn and for holding back unfinished lines. Must
//! not decide when it is a pipe's turn.
//!
//! Output is written in whole lines, so that the program's other output does not get into the
//! middle of one. What fills the pipe again and again goes from it into the file by splice(2),
//! without passing through us; only its end is read, to find the end of the last line.

use super::index::Stream;
use super::sink::Sink;
use super::watch::Watch;
use nix::errno::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// How much is carried at one turn: a pipe's usual capacity. No flood gets more before the others
/// have had their turn.
pub(in crate::runner) const READ_MAX: usize = 64 << 10;

/// A turn that carries at least this much is part of a flood. Below it, reading and writing cost
/// no more than splice(2) does.
const FLOOD_MIN: usize = 16 << 10;

/// How much of a flood's end is looked at for the end of a line.
const LOOKED_AT: usize = 4 << 10;

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
    flood: bool,
}

/// What a turn came to.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::runner) enum Turn {
    /// So many bytes were carried. There may be more.
    Carried(usize),
    /// Nothing to read at the moment.
    Idle,
    /// The journal takes nothing at the moment.
    Blocked,
    /// All writers are gone.
    Ended,
}

impl Pump {
    /// For the read end of a pipe that does not block.
    pub(in crate::runner) fn new(pipe: OwnedFd, stream: Stream) -> Pump {
        Pump { pipe, stream, held: Vec::new(), flood: false }
    }

    /// Carries what is there, at most `buffer`'s length. `said` gets what people should know.
    pub(in crate::runner) fn turn(
        &mut self,
        log: &mut Sink,
        watch: &mut Watch,
        buffer: &mut [u8],
        said: &mut Vec<String>,
    ) -> Turn {
        let mut passed = 0;
        let there = if self.flood { available(&self.pipe).min(buffer.len()) } else { 0 };
        if there >= FLOOD_MIN && watch.is_over() && log.takes_unseen(self.stream) {
            // What was held back is the beginning of what comes now.
            self.release(log, watch, said);
            // If it fails, the reading shows why.
            passed = log.splice(self.stream, &self.pipe, there - LOOKED_AT).unwrap_or(0);
        }
        let room = buffer.len() - passed;
        match nix::unistd::read(&self.pipe, buffer.get_mut(..room).unwrap_or_default()) {
            Ok(0) => Turn::Ended,
            Ok(len) => {
                self.flood = passed + len >= FLOOD_MIN;
                self.carry(log, watch, buffer.get(..len).unwrap_or_default(), said);
                Turn::Carried(passed + len)
            }
            Err(Errno::EAGAIN) if passed == 0 => Turn::Idle,
            Err(Errno::EAGAIN | Errno::EINTR) => Turn::Carried(passed),
            // No other error is known for a pipe; there is nothing more to be had from it.
            Err(_) => Turn::Ended,
        }
    }

    /// Carries all that is left once no process of the tree lives, and the unfinished line.
    pub(in crate::runner) fn drain(
        &mut self,
        log: &mut Sink,
        watch: &mut Watch,
        buffer: &mut [u8],
        said: &mut Vec<String>,
    ) {
        let mut left = DRAIN_MAX;
        while left > 0 {
            match self.turn(log, watch, buffer, said) {
                // At least one, so that this ends.
                Turn::Carried(len) => left = left.saturating_sub(len.max(1)),
                Turn::Idle | Turn::Blocked | Turn::Ended => break,
            }
        }
        self.release(log, watch, said);
    }

    /// Writes what was held back: the line will not be finished any more.
    pub(in crate::runner) fn release(
        &mut self,
        log: &mut Sink,
        watch: &mut Watch,
        said: &mut Vec<String>,
    ) {
        let rest = std::mem::take(&mut self.held);
        watch.look(&rest);
        log.append(self.stream, &rest, said);
    }

    fn carry(&mut self, log: &mut Sink, watch: &mut Watch, bytes: &[u8], said: &mut Vec<String>) {
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let (lines, rest) = bytes.split_at_checked(whole).unwrap_or((bytes, b""));
        if !lines.is_empty() {
            if self.held.is_empty() {
                watch.look(lines);
                log.append(self.stream, lines, said);
            } else {
                self.held.extend_from_slice(lines);
                self.release(log, watch, said);
            }
        }
        self.held.extend_from_slice(rest);
        if self.held.len() > HOLD_MAX {
            self.release(log, watch, said);
        }
    }
}

/// How many bytes wait in a pipe.
fn available(pipe: &OwnedFd) -> usize {
    crate::runner::sys::readable_bytes(pipe.as_fd())
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
