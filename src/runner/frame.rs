//! Messages as frames, and a stream of bytes as messages.
//!
//! Responsible for the cut between one message and the next, and for its bound. Must not know what
//! messages mean, nor do any I/O.

use super::protocol::PROTOCOL;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;

/// The longest JSON text of a frame, in bytes. A `Spawn` carries at most what execve takes (2 MiB
/// by the usual limits, six times that when every byte is escaped); a `Welcome` carries about
/// 150 bytes for each of at most some ten thousand starts.
pub const FRAME_MAX: usize = 16 << 20;

/// Why a frame cannot be read or made. The connection is of no use after it.
#[derive(Debug)]
pub enum FrameError {
    /// Longer than [`FRAME_MAX`]; the length.
    TooLong(usize),
    /// Not a message of this protocol.
    Json(serde_json::Error),
    /// The peer speaks this other version.
    Version(u32),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::TooLong(len) => {
                write!(f, "a message of {len} bytes (at most {FRAME_MAX} are allowed)")
            }
            FrameError::Json(error) => write!(f, "not a message of this protocol: {error}"),
            FrameError::Version(theirs) => write!(
                f,
                "the peer speaks version {theirs} of the runner's protocol, this is {PROTOCOL}"
            ),
        }
    }
}

impl std::error::Error for FrameError {}

impl From<FrameError> for std::io::Error {
    fn from(error: FrameError) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidData, error)
    }
}

/// A message as a frame.
///
/// # Errors
/// [`FrameError::TooLong`]: a plan with an enormous environment, say. Nothing was sent then.
pub fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message).map_err(FrameError::Json)?;
    let len = frame.len() - 4;
    match u32::try_from(len) {
        Ok(short) if len <= FRAME_MAX => {
            for (place, byte) in frame.iter_mut().zip(short.to_le_bytes()) {
                *place = byte;
            }
            Ok(frame)
        }
        _ => Err(FrameError::TooLong(len)),
    }
}

/// Cuts a stream of bytes into messages.
#[derive(Debug)]
pub struct Decoder<M> {
    buffer: Vec<u8>,
    /// Everything before it has been taken.
    start: usize,
    message: PhantomData<fn() -> M>,
}

impl<M> Default for Decoder<M> {
    fn default() -> Self {
        Decoder { buffer: Vec::new(), start: 0, message: PhantomData }
    }
}

impl<M: DeserializeOwned> Decoder<M> {
    /// An empty one.
    pub fn new() -> Self {
        Decoder::default()
    }

    /// Adds bytes that have arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, if there is one.
    ///
    /// # Errors
    /// The peer sent something that is no message: end the connection.
    pub fn next_message(&mut self) -> Result<Option<M>, FrameError> {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        let Some((head, body)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let len = u32::from_le_bytes(*head) as usize;
        if len > FRAME_MAX {
            return Err(FrameError::TooLong(len));
        }
        let Some(text) = body.get(..len) else { return Ok(None) };
        let message = serde_json::from_slice(text).map_err(FrameError::Json)?;
        self.start += 4 + len;
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
            // One enormous message must not be paid for ever after.
            self.buffer.shrink_to(64 << 10);
        }
        Ok(Some(message))
    }
}

/// Refuses a peer that speaks another version.
///
/// # Errors
/// [`FrameError::Version`].
pub fn check_version(theirs: u32) -> Result<(), FrameError> {
    if theirs == PROTOCOL { Ok(()) } else { Err(FrameError::Version(theirs)) }
}
