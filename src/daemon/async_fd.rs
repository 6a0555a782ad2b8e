//! Descriptors of nix in tokio's reactor.
//!
//! Responsible for the one place where the two meet.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use tokio::io::unix::AsyncFd;

/// A descriptor that its owner lends out only for as long as it lives (`AsFd`), in the form that
/// tokio wants.
#[derive(Debug)]
pub struct Source<T>(pub T);

impl<T: AsFd> AsRawFd for Source<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Puts a descriptor into the reactor.
///
/// # Errors
/// As epoll_ctl(2).
#[expect(
    deprecated,
    reason = "its successor is unsafe, to make callers promise that the descriptor stays open and \
              the same: that is what `AsFd` and the private hold on the value give here"
)]
pub fn register<T: AsFd>(value: T) -> io::Result<AsyncFd<Source<T>>> {
    AsyncFd::new(Source(value))
}
