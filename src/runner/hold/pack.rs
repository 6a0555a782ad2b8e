//! Compressing rotated log files, as far as the loop has to do with it.
//!
//! Responsible for the helper's place in the poller, and for its not being taken for an orphan.
//! Must not wait for it.

use super::{Hold, watch};
use crate::runner::boot;
use nix::sys::epoll::Epoll;

impl Hold {
    /// Starts a helper if there is work and none works. `token` is what the poller calls its end.
    pub(in crate::runner) fn compress(&mut self, epoll: &Epoll, token: u64) {
        if self.packer.is_busy() {
            return;
        }
        let begun = self.packer.begin().and_then(|begun| {
            let Some((pid, pidfd)) = begun else { return Ok(None) };
            watch(epoll, pidfd, token).map(|()| Some(pid))
        });
        match begun {
            Ok(None) => {}
            Ok(Some(pid)) => {
                self.helper = pid;
                self.mains.insert(pid);
            }
            Err(error) => {
                self.packer.stop();
                boot::note(&format!("a log cannot be compressed: {error}"));
            }
        }
    }

    /// The helper has ended.
    pub(in crate::runner) fn compressed(&mut self, epoll: &Epoll) {
        if let Some(pidfd) = self.packer.pidfd() {
            // Out of the poller before it is closed: a copy in a child would keep it in there.
            let _gone = epoll.delete(pidfd);
        }
        if let Err(error) = self.packer.end() {
            boot::note(&error.to_string());
        }
        self.mains.remove(&self.helper);
        // Others may have ended behind it.
        self.sweep |= self.adopts;
    }
}
