//! Waiting for changes in directories, by inotify.
//!
//! Responsible for a set of watched directories and for waking when something in one of them was
//! made, removed, renamed or written. Must not know what the directories are for, and says nothing
//! about what changed: whoever is woken looks for himself.

use super::async_fd::{Source, register};
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use tokio::io::unix::AsyncFd;

/// A set of directories. Dropping it ends the watching.
#[derive(Debug)]
pub struct WatchSet {
    inotify: AsyncFd<Source<Inotify>>,
    flags: AddWatchFlags,
    watched: BTreeSet<Wd>,
    told_full: bool,
}

/// Orders watch descriptors by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wd(WatchDescriptor);

impl Ord for Wd {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.as_raw().cmp(&other.0.as_raw())
    }
}

impl PartialOrd for Wd {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl WatchSet {
    /// An empty set that wakes for names and finished files. Needs tokio's I/O.
    ///
    /// # Errors
    /// As inotify_init1(2): too many instances, say.
    pub fn new() -> io::Result<WatchSet> {
        WatchSet::with(
            AddWatchFlags::IN_CREATE
                | AddWatchFlags::IN_DELETE
                | AddWatchFlags::IN_MOVED_FROM
                | AddWatchFlags::IN_MOVED_TO
                | AddWatchFlags::IN_CLOSE_WRITE
                | AddWatchFlags::IN_ATTRIB
                | AddWatchFlags::IN_DELETE_SELF
                | AddWatchFlags::IN_MOVE_SELF,
        )
    }

    /// An empty set that wakes for everything that is written, finished or not.
    ///
    /// # Errors
    /// As [`WatchSet::new`].
    pub fn for_content() -> io::Result<WatchSet> {
        WatchSet::with(
            AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_MODIFY,
        )
    }

    fn with(flags: AddWatchFlags) -> io::Result<WatchSet> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        Ok(WatchSet {
            inotify: register(inotify)?,
            flags: flags | AddWatchFlags::IN_ONLYDIR,
            watched: BTreeSet::new(),
            told_full: false,
        })
    }

    /// Watches exactly these directories from now on. One that is not there is left out: its
    /// parent is to be in the set too. Adding a directory that is watched already changes nothing
    /// (inotify_add_watch(2)), and one that has been replaced under its name is seen anew.
    ///
    /// Look at the directories after this call, not before: what changed in between is not told.
    /// Gives whether any of them was not watched before.
    pub fn set(&mut self, directories: &BTreeSet<PathBuf>) -> bool {
        let mut now = BTreeSet::new();
        for directory in directories {
            match self.inotify.get_ref().0.add_watch(directory, self.flags) {
                Ok(wd) => {
                    now.insert(Wd(wd));
                }
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => {}
                Err(errno) => self.warn_once(directory, errno),
            }
        }
        for gone in self.watched.difference(&now) {
            // It may be gone already, with its directory.
            let _ = self.inotify.get_ref().0.rm_watch(gone.0);
        }
        let fresh = now.difference(&self.watched).next().is_some();
        self.watched = now;
        fresh
    }

    fn warn_once(&mut self, directory: &Path, errno: Errno) {
        if !std::mem::replace(&mut self.told_full, true) {
            tracing::warn!(
                "cannot watch {} for changes: {}; changes there are noticed by `wsup ctl apply` \
                 only (fs.inotify.max_user_watches may be too low)",
                directory.display(),
                errno.desc()
            );
        }
    }

    /// Waits until something has changed in one of the directories, and takes all that is known
    /// of by then.
    ///
    /// # Errors
    /// As read(2); none is expected.
    pub async fn changed(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.inotify.readable().await?;
            let mut any = false;
            loop {
                match ready.get_inner().0.read_events() {
                    Ok(events) => any |= !events.is_empty(),
                    Err(Errno::EAGAIN) => break,
                    Err(Errno::EINTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            ready.clear_ready();
            if any {
                return Ok(());
            }
        }
    }
}

/// The deepest directory on the way to `path` that is there: where its appearance shows first.
pub fn deepest_existing(path: &Path) -> PathBuf {
    let mut candidate = path;
    loop {
        if candidate.is_dir() {
            return candidate.to_path_buf();
        }
        match candidate.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => candidate = parent,
            Some(_) => return PathBuf::from("."),
            None => return PathBuf::from("/"),
        }
    }
}
