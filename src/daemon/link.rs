//! The loop's end of the socket to the runner.
//!
//! Responsible for carrying frames in both directions without ever keeping the loop waiting.
//! Must not interpret them.

use super::input::{Input, Inputs};
use super::runner::RunnerNumber;
use crate::runner::client::{Link, needs_output, send_with_output};
use crate::runner::protocol::{Command, Decoder, FrameError, Notice, encode};
use std::io;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

/// Bytes on their way to the runner.
#[derive(Debug)]
struct Frames {
    bytes: Vec<u8>,
    /// Our own stdout and stderr travel beside them.
    with_output: bool,
}

/// Commands on their way to the runner. Dropping it ends the connection.
#[derive(Debug)]
pub struct RunnerLink {
    frames: mpsc::UnboundedSender<Frames>,
    out: Vec<u8>,
}

impl RunnerLink {
    /// Takes a greeted connection into the reactor. Notices arrive as [`Input::Runner`], the end
    /// of the connection as [`Input::RunnerLost`].
    ///
    /// # Errors
    /// As epoll_ctl(2) and fcntl(2).
    pub fn new(number: RunnerNumber, link: Link, inputs: Inputs) -> io::Result<RunnerLink> {
        let (stream, decoder, _) = link.into_parts();
        stream.set_nonblocking(true)?;
        let (read, write) = UnixStream::from_std(stream)?.into_split();
        // Unbounded, as the loop may not wait for the runner: what is in it is bounded by what
        // the core asks for in the moments in which the runner is busy.
        let (frames, queue) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let end = receive(number, read, decoder, &inputs).await;
            let why = match end {
                Ok(()) => "it closed the connection".to_owned(),
                Err(error) => error.to_string(),
            };
            inputs.send(Input::RunnerLost(number, why));
        });
        tokio::spawn(send(write, queue));
        Ok(RunnerLink { frames, out: Vec::new() })
    }

    /// Puts a command in line for [`RunnerLink::flush`].
    ///
    /// # Errors
    /// It is too long; it was not put in line then.
    pub fn queue(&mut self, command: &Command) -> Result<(), FrameError> {
        let frame = encode(command)?;
        if needs_output(command) {
            self.flush();
            let _gone = self.frames.send(Frames { bytes: frame, with_output: true });
        } else {
            self.out.extend(frame);
        }
        Ok(())
    }

    /// Sends what is in line.
    pub fn flush(&mut self) {
        if !self.out.is_empty() {
            // If the runner is gone, the end of the connection is told by the reading side.
            let bytes = std::mem::take(&mut self.out);
            let _ = self.frames.send(Frames { bytes, with_output: false });
        }
    }
}

async fn receive(
    number: RunnerNumber,
    read: OwnedReadHalf,
    mut decoder: Decoder<Notice>,
    inputs: &Inputs,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        while let Some(notice) = decoder.next_message()? {
            inputs.send(Input::Runner(number, notice));
        }
        read.readable().await?;
        match read.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) => decoder.feed(buffer.get(..len).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

async fn send(mut write: OwnedWriteHalf, mut queue: mpsc::UnboundedReceiver<Frames>) {
    use tokio::io::AsyncWriteExt;
    while let Some(frames) = queue.recv().await {
        let mut sent = 0;
        if frames.with_output {
            match send_beside(write.as_ref(), &frames.bytes).await {
                Ok(len) => sent = len,
                Err(_) => return,
            }
        }
        if write.write_all(frames.bytes.get(sent..).unwrap_or_default()).await.is_err() {
            return;
        }
    }
}

async fn send_beside(stream: &UnixStream, bytes: &[u8]) -> io::Result<usize> {
    loop {
        stream.writable().await?;
        match stream.try_io(Interest::WRITABLE, || send_with_output(stream, bytes)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
    }
}
