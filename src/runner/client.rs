//! The daemon's end of the socket between daemon and runner.
//!
//! Responsible for the handshake and for blocking use. A caller with an event loop of its own
//! takes the parts: the stream, the decoder (which may hold events already) and the welcome.

use super::protocol::{
    Command, Decoder, LogPlan, Notice, PROTOCOL, Welcome, check_version, encode,
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How much is read at once.
const READ_MAX: usize = 64 << 10;

/// A connection to a runner that has said welcome.
#[derive(Debug)]
pub struct Link {
    stream: UnixStream,
    decoder: Decoder<Notice>,
    welcome: Welcome,
}

impl Link {
    /// Says Hello on a fresh connection and waits for the welcome.
    ///
    /// # Errors
    /// `UnexpectedEof` and the like: the runner was just going; `TimedOut`; `InvalidData`: not a
    /// runner of this version.
    pub fn greet(stream: UnixStream, patience: Duration) -> io::Result<Link> {
        stream.set_nonblocking(false)?;
        let mut pending = Pending { stream, decoder: Decoder::new() };
        send(&mut pending.stream, &Command::Hello { protocol: PROTOCOL })?;
        match pending.receive(patience)? {
            Some(Notice::Welcome(welcome)) => {
                check_version(welcome.protocol)?;
                Ok(Link { stream: pending.stream, decoder: pending.decoder, welcome: *welcome })
            }
            Some(
                Notice::Event { .. }
                | Notice::Told { .. }
                | Notice::ExecDone { .. }
                | Notice::Warning { .. },
            ) => Err(io::Error::new(io::ErrorKind::InvalidData, "the runner did not say welcome")),
            None => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// What the runner said of itself.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Sends a command; blocks while the socket is full.
    ///
    /// # Errors
    /// As write(2), or `InvalidData` for a message that is too long.
    pub fn send(&mut self, command: &Command) -> io::Result<()> {
        send(&mut self.stream, command)
    }

    /// The next notice; `None` if none came in time.
    ///
    /// # Errors
    /// `UnexpectedEof` if the runner is gone.
    pub fn receive(&mut self, patience: Duration) -> io::Result<Option<Notice>> {
        receive(&mut self.stream, &mut self.decoder, patience)
    }

    /// The parts, for an event loop. Ask the decoder for messages before the first read.
    pub fn into_parts(self) -> (UnixStream, Decoder<Notice>, Welcome) {
        (self.stream, self.decoder, self.welcome)
    }
}

/// A connection before the welcome.
struct Pending {
    stream: UnixStream,
    decoder: Decoder<Notice>,
}

impl Pending {
    fn receive(&mut self, patience: Duration) -> io::Result<Option<Notice>> {
        receive(&mut self.stream, &mut self.decoder, patience)
    }
}

fn send(stream: &mut UnixStream, command: &Command) -> io::Result<()> {
    let frame = encode(command)?;
    let sent = if needs_output(command) { send_with_output(&*stream, &frame)? } else { 0 };
    stream.write_all(frame.get(sent..).unwrap_or_default())
}

/// Whether our own stdout and stderr go with a command.
pub fn needs_output(command: &Command) -> bool {
    match command {
        Command::Spawn(plan) => plan.log == LogPlan::Inherit,
        Command::Exec(exec) => !exec.capture && exec.plan.log == LogPlan::Inherit,
        Command::Hello { .. }
        | Command::Terminate { .. }
        | Command::KillTree { .. }
        | Command::Signal { .. }
        | Command::KillExec { .. }
        | Command::Sockets { .. }
        | Command::DropStored(_)
        | Command::Ack { .. }
        | Command::SetLastWill { .. }
        | Command::Shutdown => false,
    }
}

/// Sends as much of a frame as the socket takes, and our own stdout and stderr beside it.
///
/// # Errors
/// As sendmsg(2).
pub fn send_with_output(socket: &impl AsFd, frame: &[u8]) -> io::Result<usize> {
    let output = [io::stdout().as_raw_fd(), io::stderr().as_raw_fd()];
    let beside = [ControlMessage::ScmRights(&output)];
    let bytes = [IoSlice::new(frame)];
    let to = socket.as_fd().as_raw_fd();
    Ok(sendmsg::<()>(to, &bytes, &beside, MsgFlags::MSG_NOSIGNAL, None)?)
}

fn receive(
    stream: &mut UnixStream,
    decoder: &mut Decoder<Notice>,
    patience: Duration,
) -> io::Result<Option<Notice>> {
    let deadline = Instant::now() + patience;
    let mut buffer = vec![0; READ_MAX];
    loop {
        if let Some(notice) = decoder.next_message()? {
            return Ok(Some(notice));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if !wait_readable(stream, left)? {
            return Ok(None);
        }
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        decoder.feed(buffer.get(..len).unwrap_or_default());
    }
}

/// Waits until there is something to read, or the end. `false`: not in time.
pub(super) fn wait_readable(fd: &impl AsFd, patience: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up, so that a rest below a millisecond does not spin.
        let millis = i32::try_from(left.as_millis().saturating_add(1)).unwrap_or(i32::MAX);
        let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) if Instant::now() >= deadline => return Ok(false),
            Ok(0) | Err(nix::Error::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}
