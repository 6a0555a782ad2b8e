//! One cgroup for each start, in the cgroup2 tree.
//!
//! Responsible for making, signalling, killing and removing what is below the directory that
//! `place` finds, and with `limits` for what is bounded there. Must not decide when. Where it
//! cannot be done it says why.

mod limits;
mod place;

use super::sys;
pub(super) use limits::{Controller, Missing, none_enforced};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use place::{Place, own_path};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long what a dead runner left behind may take to die.
const LEFTOVER_PATIENCE: Duration = Duration::from_secs(5);

/// How often a cgroup of an old kernel (before 5.14, no `cgroup.kill`) is gone through: what forks
/// faster than that goes on dying as its ends are reported.
const KILL_ROUNDS: u32 = 64;

/// How deep below a start's cgroup its own sub-cgroups are looked for. The kernel's limit is the
/// length of a path; nobody nests deeper than a few.
const DEPTH_MAX: u32 = 16;

/// So many cgroups are removed before the loop looks for something better to do: a millisecond's work.
const CLEAR_BATCH: usize = 32;

/// So many that could not be removed are tried again with each new one: the number of those that can
/// never be (deeper than we go) must not make every end slower.
const BUSY_RETRIED: usize = 8;

/// The directory in which all of a runner's cgroups are.
#[derive(Debug)]
pub(super) struct Cgroups {
    place: Place,
    dir: PathBuf,
    /// What /proc/PID/cgroup calls it.
    shown: String,
    /// Controllers that have been switched on for the starts.
    enabled: BTreeSet<Controller>,
    /// Directories that are to be removed.
    waste: Vec<PathBuf>,
    /// Those that could not be removed yet: tried again when there are more.
    busy: Vec<PathBuf>,
}

impl Cgroups {
    /// Finds the place for the runner of this runtime directory and makes it, if it may be used.
    ///
    /// # Errors
    /// The reason for people.
    pub(super) fn find(runtime_dir: &Path) -> Result<Cgroups, String> {
        let place = Place::find()?;
        let dir = place.base().join(format!("wsup-{}", identity(runtime_dir)));
        match fs::create_dir(&dir) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(format!(
                    "cannot make a cgroup in {}: {}",
                    place.base().display(),
                    why(&error)
                ));
            }
        }
        let (waste, busy) = (Vec::new(), Vec::new());
        let shown = place.shown(&dir);
        let cgroups = Cgroups { place, dir, shown, enabled: BTreeSet::new(), waste, busy };
        cgroups.clear_leftovers()?;
        Ok(cgroups)
    }

    /// The name of the start's cgroup that a process is in, if it is in one of ours, by its
    /// `/proc/PID/cgroup`.
    pub(super) fn start_in<'t>(&self, text: &'t str) -> Option<&'t str> {
        first_below(&self.shown, text)
    }

    /// The directory, for people.
    pub(super) fn path(&self) -> &Path {
        &self.dir
    }

    /// A runner that died left these behind and nobody can hold them any more: two generations of
    /// an instance must never run side by side.
    fn clear_leftovers(&self) -> Result<(), String> {
        let failed = |error: io::Error| {
            format!("cannot clear {} of a former runner: {}", self.dir.display(), why(&error))
        };
        let deadline = Instant::now() + LEFTOVER_PATIENCE;
        for child in subdirs(&self.dir).map_err(failed)? {
            let group = Group { dir: child };
            group.kill().map_err(failed)?;
            let events = group.events().map_err(failed)?;
            while read_populated(&events).map_err(failed)? {
                let left = deadline.saturating_duration_since(Instant::now()).as_millis();
                if left == 0 {
                    return Err(failed(io::ErrorKind::TimedOut.into()));
                }
                let mut fds = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
                let _woken = poll(&mut fds, u16::try_from(left).unwrap_or(u16::MAX));
            }
            remove_tree(&group.dir, DEPTH_MAX).map_err(failed)?;
        }
        Ok(())
    }

    /// Makes a cgroup of this name. Gives it and its directory, opened.
    ///
    /// # Errors
    /// As mkdir(2).
    pub(super) fn make(&self, name: &str) -> io::Result<(Group, OwnedFd)> {
        let dir = self.dir.join(name);
        match fs::create_dir(&dir) {
            // A former runner, on its way out, removed the directory above.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&dir)?;
            }
            other => other?,
        }
        let group = Group { dir };
        let open = group.open()?;
        Ok((group, open))
    }

    /// Has an empty cgroup removed by [`Cgroups::clear`].
    pub(super) fn remove(&mut self, group: Group) {
        self.waste.push(group.dir);
        let again = self.busy.len().min(BUSY_RETRIED);
        self.waste.extend(self.busy.drain(..again));
    }

    /// How many are to be removed.
    pub(super) fn untidy(&self) -> usize {
        self.waste.len()
    }

    /// Removes some of what was given to [`Cgroups::remove`].
    pub(super) fn clear(&mut self) {
        for _ in 0..CLEAR_BATCH {
            let Some(dir) = self.waste.pop() else { return };
            if remove_tree(&dir, DEPTH_MAX).is_err() {
                self.busy.push(dir);
            }
        }
    }

    /// Removes everything, at the runner's end.
    pub(super) fn remove_all(&mut self) {
        self.waste.append(&mut self.busy);
        self.waste.retain(|dir| remove_tree(dir, DEPTH_MAX).is_err());
        // Fails if something is left in it, which then is for the next runner to clear.
        let _left = fs::remove_dir(&self.dir);
    }
}

/// A start's cgroup.
#[derive(Debug)]
pub(super) struct Group {
    dir: PathBuf,
}

impl Group {
    /// Its directory, opened.
    ///
    /// # Errors
    /// As open(2).
    pub(super) fn open(&self) -> io::Result<OwnedFd> {
        Ok(File::open(&self.dir)?.into())
    }

    /// Kills everything in it at once.
    ///
    /// # Errors
    /// As write(2), other than that it is gone.
    pub(super) fn kill(&self) -> io::Result<()> {
        match write(&self.dir.join("cgroup.kill"), "1") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                for _ in 0..KILL_ROUNDS {
                    if !self.dir.exists() || self.signal(nix::libc::SIGKILL)? == 0 {
                        break;
                    }
                }
                Ok(())
            }
            other => other,
        }
    }

    /// Sends a signal to everything in it, and tells how many processes that were.
    ///
    /// # Errors
    /// The members cannot be read.
    pub(super) fn signal(&self, signal: i32) -> io::Result<usize> {
        let mut count = 0;
        each_dir(&self.dir, DEPTH_MAX, &mut |dir| {
            for pid in members(dir)? {
                // The number may be somebody else's by now; a pidfd that is open while the
                // process is still listed is not.
                let Ok(pidfd) = sys::pidfd_open(pid) else { continue };
                if self.holds(pid) && sys::pidfd_send_signal(pidfd.as_fd(), signal).is_ok() {
                    count += 1;
                }
            }
            Ok(())
        })?;
        Ok(count)
    }

    /// Whether a process is in it, by the process's own word.
    fn holds(&self, pid: i32) -> bool {
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/cgroup")) else { return false };
        let Some(name) = self.dir.file_name().and_then(|n| n.to_str()) else { return false };
        own_path(&text).is_some_and(|path| path.split('/').any(|part| part == name))
    }

    /// Its `cgroup.events`, which reports EPOLLPRI when it becomes empty.
    ///
    /// # Errors
    /// As open(2).
    pub(super) fn events(&self) -> io::Result<File> {
        File::open(self.dir.join("cgroup.events"))
    }
}

/// Whether any process lives in the cgroup of this `cgroup.events`. Reading also makes it report
/// the next change.
///
/// # Errors
/// As read(2). ENODEV: the cgroup was removed, so nothing lives in it: `false`.
pub(super) fn read_populated(events: &File) -> io::Result<bool> {
    // Two short lines, and whatever later kernels add.
    let mut text = [0; 256];
    match events.read_at(&mut text, 0) {
        Ok(len) => {
            let text = text.get(..len).unwrap_or_default();
            Ok(!text.split(|byte| *byte == b'\n').any(|line| line == b"populated 0"))
        }
        Err(error) if error.raw_os_error() == Some(Errno::ENODEV as i32) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The first part of a process's path below this one. By the whole path: others may have a tree of their
/// own, and call what is in it as they like.
fn first_below<'t>(shown: &str, text: &'t str) -> Option<&'t str> {
    own_path(text)?.strip_prefix(shown)?.strip_prefix('/')?.split('/').next()
}

fn why(error: &io::Error) -> String {
    sys::errno_text(error)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

fn members(dir: &Path) -> io::Result<Vec<i32>> {
    match fs::read_to_string(dir.join("cgroup.procs")) {
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
        Err(error) if is_gone(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(Errno::ENODEV as i32)
        // A cgroup whose threads are managed apart has no list of processes of its own.
        || error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32)
}

fn subdirs(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn each_dir(
    dir: &Path,
    depth: u32,
    visit: &mut dyn FnMut(&Path) -> io::Result<()>,
) -> io::Result<()> {
    visit(dir)?;
    if depth == 0 {
        return Ok(());
    }
    match subdirs(dir) {
        Ok(children) => children.iter().try_for_each(|child| each_dir(child, depth - 1, visit)),
        Err(error) if is_gone(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes a cgroup, and first what the workload may have made below it.
fn remove_tree(dir: &Path, depth: u32) -> io::Result<()> {
    match fs::remove_dir(dir) {
        Ok(()) => return Ok(()),
        Err(error) if is_gone(&error) => return Ok(()),
        Err(error) if depth == 0 => return Err(error),
        Err(_) => {}
    }
    for child in subdirs(dir)? {
        remove_tree(&child, depth - 1)?;
    }
    fs::remove_dir(dir)
}

/// Tells runtime directories apart, also those that carry the same path in different mount
/// namespaces. The same in every version of wsup (FNV-1a, 64 bits): the next one must find it.
fn identity(runtime_dir: &Path) -> String {
    let mut bytes = runtime_dir.as_os_str().as_bytes().to_vec();
    if let Ok(meta) = fs::metadata(runtime_dir) {
        bytes.extend(meta.dev().to_le_bytes());
        bytes.extend(meta.ino().to_le_bytes());
    }
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_of_the_same_name_elsewhere_is_not_ours() {
        let ours = "/system.slice/wsup.service/wsup-1a";
        let line = |path: &str| format!("4:memory:/x\n0::{path}\n");
        let inside = line(&format!("{ours}/i-web-0.5.3"));
        assert_eq!(first_below(ours, &inside), Some("i-web-0.5.3"));
        let deeper = line(&format!("{ours}/i-web-0.5.3/own/part"));
        assert_eq!(first_below(ours, &deeper), Some("i-web-0.5.3"));
        for path in [
            "/user.slice/user-7.slice/wsup-1a/i-web-0.5.3".to_owned(),
            format!("/user.slice{ours}/i-web-0.5.3"),
            format!("{ours}b/i-web-0.5.3"),
            ours.to_owned(),
            "/".to_owned(),
        ] {
            assert_eq!(first_below(ours, &line(&path)), None, "{path}");
        }
    }
}
