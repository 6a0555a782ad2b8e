//! The runner's end of a connection.
//!
//! Responsible for bytes in and out without ever blocking. Must not act on what a command says.

use super::outbox::Outbox;
use super::protocol::{Command, Decoder, FrameError, Notice, encode};
use super::sys;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// How much is read at one turn.
const READ_MAX: usize = 64 << 10;

/// Events are turned into bytes only while fewer than this wait to be written: the rest is kept
/// once, in the outbox.
const FILL_BELOW: usize = 64 << 10;

/// Warnings are dropped while this much waits: a daemon that does not read needs none.
const WARN_BELOW: usize = 256 << 10;

/// Descriptors that wait for their command are those of the last few; a peer that sends more does
/// not speak the protocol.
const DESCRIPTORS_MAX: usize = 16;

/// A connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) stream: UnixStream,
    decoder: Decoder<Command>,
    /// Descriptors that have arrived and belong to commands that were not taken yet.
    descriptors: VecDeque<OwnedFd>,
    out: Vec<u8>,
    written: usize,
    /// What happens when it ends.
    pub(super) stop_all: bool,
    /// Whether the poller waits for room to write.
    pub(super) wants_write: bool,
}

impl Conn {
    /// Takes a connection that was accepted.
    ///
    /// # Errors
    /// As fcntl(2).
    pub(super) fn new(stream: UnixStream) -> io::Result<Conn> {
        stream.set_nonblocking(true)?;
        Ok(Conn {
            stream,
            decoder: Decoder::new(),
            descriptors: VecDeque::new(),
            out: Vec::new(),
            written: 0,
            stop_all: false,
            wants_write: false,
        })
    }

    /// Reads once. `false`: the peer is gone.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> bool {
        let len = buffer.len().min(READ_MAX);
        let buffer = buffer.get_mut(..len).unwrap_or_default();
        match sys::receive(self.stream.as_fd(), buffer, &mut self.descriptors) {
            Ok(0) => false,
            Ok(len) => {
                self.decoder.feed(buffer.get(..len).unwrap_or_default());
                self.descriptors.len() <= DESCRIPTORS_MAX
            }
            Err(error) => {
                matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
            }
        }
    }

    /// The pair of descriptors that came with the command that was taken last.
    pub(super) fn take_output(&mut self) -> Option<(OwnedFd, OwnedFd)> {
        let stdout = self.descriptors.pop_front()?;
        Some((stdout, self.descriptors.pop_front()?))
    }

    /// The next command that has arrived.
    ///
    /// # Errors
    /// The peer does not speak the protocol: end the connection.
    pub(super) fn next(&mut self) -> Result<Option<Command>, FrameError> {
        self.decoder.next_message()
    }

    /// Queues a notice.
    ///
    /// # Errors
    /// It is too long for a frame.
    pub(super) fn push(&mut self, notice: &Notice) -> Result<(), FrameError> {
        self.out.extend(encode(notice)?);
        Ok(())
    }

    /// Queues a warning if there is room for such.
    pub(super) fn warn(&mut self, notice: &Notice) {
        if self.waiting() < WARN_BELOW
            && let Ok(frame) = encode(notice)
        {
            self.out.extend(frame);
        }
    }

    /// Writes what the socket takes, events from the outbox included. `false`: the peer is gone.
    pub(super) fn flush(&mut self, mut outbox: Option<&mut Outbox>) -> bool {
        loop {
            while self.waiting() < FILL_BELOW
                && let Some(notice) = outbox.as_mut().and_then(|outbox| outbox.next())
            {
                if self.push(&notice).is_err() {
                    return false;
                }
            }
            if self.waiting() == 0 {
                self.out.clear();
                self.out.shrink_to(FILL_BELOW);
                self.written = 0;
                return true;
            }
            match self.stream.write(self.out.get(self.written..).unwrap_or_default()) {
                Ok(0) => return false,
                Ok(len) => self.written += len,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return true,
                    io::ErrorKind::Interrupted => {}
                    _ => return false,
                },
            }
        }
    }

    /// How many bytes wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.out.len() - self.written
    }
}
