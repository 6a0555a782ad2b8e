//! Waiting for log lines.
//!
//! Responsible for telling that a log has grown, by inotify. Must not poll.

use super::read::{Cursor, Line};
use super::select::{Query, open};
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// How many bytes of lines a follower hands out at once.
const BATCH_BYTES: usize = 256 << 10;

/// Watches any number of logs with one descriptor (a user may have only 128 inotify instances).
#[derive(Debug)]
pub struct LogWatch {
    inotify: Inotify,
    dirs: BTreeMap<PathBuf, WatchDescriptor>,
    watched: BTreeSet<PathBuf>,
}

impl LogWatch {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// As inotify_init1(2).
    pub fn new() -> io::Result<LogWatch> {
        let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
        Ok(LogWatch {
            inotify: Inotify::init(flags)?,
            dirs: BTreeMap::new(),
            watched: BTreeSet::new(),
        })
    }

    /// Watches the log at this path; its directory is made if it is missing. Read the log once
    /// after this: what was written before is not reported.
    ///
    /// # Errors
    /// As inotify_add_watch(2): ENOSPC if the user watches too much.
    pub fn add(&mut self, path: &Path) -> io::Result<()> {
        let dir = path.parent().unwrap_or(Path::new("/")).to_path_buf();
        if !self.dirs.contains_key(&dir) {
            fs::DirBuilder::new().recursive(true).mode(0o750).create(&dir)?;
            let flags = AddWatchFlags::IN_MODIFY
                | AddWatchFlags::IN_CREATE
                | AddWatchFlags::IN_MOVED_TO
                | AddWatchFlags::IN_ONLYDIR;
            let descriptor = self.inotify.add_watch(&dir, flags)?;
            self.dirs.insert(dir, descriptor);
        }
        self.watched.insert(path.to_path_buf());
        Ok(())
    }

    /// Stops watching the log at this path.
    pub fn remove(&mut self, path: &Path) {
        self.watched.remove(path);
        let Some(dir) = path.parent() else { return };
        if !self.watched.iter().any(|other| other.parent() == Some(dir))
            && let Some(descriptor) = self.dirs.remove(dir)
        {
            // Gone already if the directory is.
            let _removed = self.inotify.rm_watch(descriptor);
        }
    }

    /// The watched logs that have grown or were rotated since the last call. Does not block.
    ///
    /// # Errors
    /// As read(2).
    pub fn changed(&mut self) -> io::Result<Vec<PathBuf>> {
        let mut found = BTreeSet::new();
        loop {
            let events = match self.inotify.read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    found.extend(self.watched.iter().cloned());
                    continue;
                }
                let dir = self.dirs.iter().find(|(_, wd)| **wd == event.wd).map(|(dir, _)| dir);
                if let (Some(dir), Some(name)) = (dir, event.name) {
                    let path = dir.join(name);
                    if self.watched.contains(&path) {
                        found.insert(path);
                    }
                }
            }
        }
        Ok(found.into_iter().collect())
    }
}

impl AsFd for LogWatch {
    /// Readable when there is something for [`LogWatch::changed`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// One log that is read and then followed. Its descriptor is readable when
/// [`Follower::read_new`] is worth a call.
#[derive(Debug)]
pub struct Follower {
    watch: LogWatch,
    cursor: Cursor,
    /// The watch has spoken, and not everything has been handed out.
    more: bool,
}

impl Follower {
    /// Opens a log at the first wanted line.
    ///
    /// # Errors
    /// As [`LogWatch::add`] and [`open`].
    pub fn new(path: &Path, query: &Query) -> io::Result<Follower> {
        let mut watch = LogWatch::new()?;
        // First watch, then read: nothing falls in between.
        watch.add(path)?;
        Ok(Follower { watch, cursor: open(path, query)?, more: true })
    }

    /// The lines that have come. Does not block. Call it until it gives none, then wait for the
    /// descriptor.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read_new(&mut self) -> io::Result<Vec<Line>> {
        if !self.watch.changed()?.is_empty() {
            self.more = true;
        }
        if !self.more {
            return Ok(Vec::new());
        }
        let lines = self.cursor.read_lines(BATCH_BYTES)?;
        self.more = !lines.is_empty();
        Ok(lines)
    }

    /// The unfinished lines at the end, once nothing more is to be waited for.
    pub fn finish(&mut self) -> Vec<Line> {
        self.cursor.finish()
    }
}

impl AsFd for Follower {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::super::index::Stream;
    use super::super::write::Log;
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;

    fn wait(follower: &Follower) {
        let mut fds = [PollFd::new(follower.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::from(10_000_u16)).unwrap(), 1, "no word in time");
    }

    #[test]
    fn a_follower_sees_a_log_come_grow_and_rotate() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("unit/a.log");
        let mut follower = Follower::new(&path, &Query::default()).unwrap();
        assert_eq!(follower.read_new().unwrap(), []);
        let mut log = Log::new(&path, 20, 5, true);
        for round in 0..20 {
            log.append(Stream::Stdout, format!("line {round}\n").as_bytes(), &mut Vec::new());
            let mut got = Vec::new();
            while got.is_empty() {
                wait(&follower);
                got = follower.read_new().unwrap();
            }
            assert_eq!(got.len(), 1);
            assert_eq!(got[0].text, format!("line {round}").into_bytes());
        }
        assert_eq!(follower.read_new().unwrap(), []);
        log.append(Stream::Stdout, b"last words", &mut Vec::new());
        log.end(&mut Vec::new());
        wait(&follower);
        let mut got = follower.read_new().unwrap();
        got.extend(follower.read_new().unwrap());
        got.extend(follower.finish());
        assert_eq!(got.len(), 1);
        assert!(!got[0].whole);
    }
}
