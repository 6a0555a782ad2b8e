//! The journal, as far as the loop has to do with it.
//!
//! Responsible for the one connection, and for going on with output that the journal did not take
//! at once. Must not wait for it.

use super::{Hold, Part, warning_of, watch};
use crate::runner::logs::index::Stream;
use crate::runner::logs::journal::Journal;
use crate::runner::logs::sink::Sink;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::PathBuf;

/// What the runner has to do with the journal.
#[derive(Debug)]
pub(super) struct State {
    /// Where the journal listens.
    path: PathBuf,
    connection: Option<Journal>,
    /// Pipes that are not read, since the journal takes nothing.
    pub(super) blocked: BTreeSet<(u64, Stream)>,
    /// The last words of starts that have ended.
    pub(super) parting: Vec<Sink>,
    /// The poller tells when there is room.
    watched: bool,
}

impl State {
    pub(super) const fn new(path: PathBuf) -> State {
        State {
            path,
            connection: None,
            blocked: BTreeSet::new(),
            parting: Vec::new(),
            watched: false,
        }
    }

    /// The connection.
    ///
    /// # Errors
    /// The journal is not there; for people.
    pub(super) fn connection(&mut self) -> Result<Journal, String> {
        match &self.connection {
            Some(journal) if journal.is_there() => Ok(journal.clone()),
            Some(_) | None => {
                let journal = Journal::connect(&self.path)?;
                Ok(self.connection.insert(journal).clone())
            }
        }
    }
}

impl Hold {
    /// Has the poller tell when the journal takes something, as long as something waits for it.
    pub(in crate::runner) fn await_journal(&mut self, epoll: &Epoll, token: u64) {
        let waits = !self.journal.blocked.is_empty() || !self.journal.parting.is_empty();
        let Some(journal) = &self.journal.connection else { return };
        if waits && !self.journal.watched {
            let event = EpollEvent::new(EpollFlags::EPOLLOUT, token);
            self.journal.watched = epoll.add(journal.as_fd(), event).is_ok();
        } else if !waits && self.journal.watched {
            let _gone = epoll.delete(journal.as_fd());
            self.journal.watched = false;
        }
    }

    /// The journal takes something again, or is gone.
    pub(in crate::runner) fn journal_ready(&mut self, epoll: &Epoll) {
        for mut log in std::mem::take(&mut self.journal.parting) {
            // Whose it was is known no more; what is lost is told in the journal.
            log.end(&mut Vec::new());
            if log.blocked().is_some() {
                self.journal.parting.push(log);
            }
        }
        for (key, stream) in std::mem::take(&mut self.journal.blocked) {
            let Some(start) = self.starts.get_mut(&key) else { continue };
            let mut said = Vec::new();
            let resumed = start.output.resume(&mut said);
            self.warnings.extend(said.into_iter().map(|text| warning_of(&start.held, text)));
            let token = Part::Output(stream).token(key);
            let pipe = start.output.pipes().find(|(of, _)| *of == stream);
            // Without a pipe it has ended, and all that it had is sent.
            let watched =
                pipe.is_none_or(|(_, pipe)| resumed && watch(epoll, pipe.as_fd(), token).is_ok());
            if !resumed || !watched {
                self.journal.blocked.insert((key, stream));
            }
        }
    }
}
