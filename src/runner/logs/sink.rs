//! Where a pump's bytes go.
//!
//! Responsible for the choice between a log file and the journal. Must not do anything itself.

use super::index::Stream;
use super::journal::JournalLog;
use super::write::Log;
use nix::errno::Errno;
use std::os::fd::OwnedFd;
use std::path::Path;

/// A log file or the journal.
#[derive(Debug)]
pub(in crate::runner) enum Sink {
    File(Box<Log>),
    Journal(Box<JournalLog>),
}

impl Sink {
    /// Takes bytes of one stream: whole lines, or a piece of a line that is too long to be held
    /// back or will never end. `said` gets what people should know.
    pub(super) fn append(&mut self, stream: Stream, bytes: &[u8], said: &mut Vec<String>) {
        match self {
            Sink::File(log) => log.append(stream, bytes, said),
            Sink::Journal(log) => log.append(stream, bytes, said),
        }
    }

    /// Whether it takes bytes that nobody has looked at.
    pub(super) fn takes_unseen(&mut self, stream: Stream) -> bool {
        match self {
            Sink::File(log) => log.takes_unseen(stream),
            Sink::Journal(_) => false,
        }
    }

    /// Moves bytes from a pipe without looking at them.
    pub(super) fn splice(
        &mut self,
        stream: Stream,
        pipe: &OwnedFd,
        len: usize,
    ) -> Result<usize, Errno> {
        match self {
            Sink::File(log) => log.splice(stream, pipe, len),
            Sink::Journal(_) => Err(Errno::EINVAL),
        }
    }

    /// The path of a log file that was rotated since the last call.
    pub(in crate::runner) fn take_rotated(&mut self) -> Option<&Path> {
        match self {
            Sink::File(log) => log.take_rotated(),
            Sink::Journal(_) => None,
        }
    }

    /// Closes what need not be open between two writes.
    pub(in crate::runner) fn rest(&mut self) {
        match self {
            Sink::File(log) => log.rest(),
            Sink::Journal(_) => {}
        }
    }

    /// Nothing more will come.
    pub(in crate::runner) fn end(&mut self, said: &mut Vec<String>) {
        match self {
            Sink::File(log) => log.end(said),
            Sink::Journal(log) => log.flush(said),
        }
    }

    /// The journal, if it takes nothing at the moment.
    pub(in crate::runner) fn blocked(&mut self) -> Option<&mut JournalLog> {
        match self {
            Sink::File(_) => None,
            Sink::Journal(log) => log.is_blocked().then_some(log),
        }
    }
}
