//! Processes without cgroups: finding what an instance has left behind.
//!
//! Responsible for reading /proc and for telling whose an adopted orphan is. Must not decide what
//! happens to it.
//!
//! The runner is the child subreaper, so everything that loses its parent becomes its child. An
//! orphan is an instance's if it still is in the session or the process group that the instance's
//! main process led, or if its environment carries the instance's WSUP variables, which also those
//! carry that have called setsid.

use super::sys;
use crate::core::event::Exit;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long what a dead runner left behind may take to die.
const LEFTOVER_PATIENCE: Duration = Duration::from_secs(5);

/// So many looks in a row must find nothing of a dead runner.
const CLEAN_ENOUGH: u32 = 3;

/// The variables that tell instances apart.
const MARKS: [&[u8]; 3] = [b"WSUP_KIND=", b"WSUP_UNIT=", b"WSUP_INSTANCE="];

/// What /proc/PID/stat says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    parent: i32,
    group: i32,
    session: i32,
    /// In clock ticks since boot: with the number, it names a process for good.
    started: u64,
}

/// The entries of an environment that name the instance; empty if it has none.
pub(super) fn marks<'a>(envp: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    envp.filter(|entry| MARKS.iter().any(|mark| entry.starts_with(mark)))
        .map(<[u8]>::to_vec)
        .collect()
}

/// A process that we have adopted, and what tells whose it is: looked at once, as it changes.
#[derive(Clone, Debug)]
pub(super) struct Orphan {
    pub(super) process: Process,
    /// Of its environment; not looked at where session or group say it.
    marks: Vec<Vec<u8>>,
    /// It is between two programs (in execve), or has just ended: it has no memory that could tell.
    pub(super) blank: bool,
}

impl Orphan {
    /// Looks at a child of ours; `None`: it is gone. `led`: whether a number is that of a main
    /// process that we hold.
    pub(super) fn look(pid: i32, led: impl Fn(i32) -> bool) -> Option<Orphan> {
        let process = process(pid)?;
        let (mut found, mut blank) = (Vec::new(), false);
        if !led(process.session) && !led(process.group) {
            // Not readable: somebody else's by now.
            let environ = fs::read(format!("/proc/{pid}/environ"));
            blank = environ.as_ref().is_ok_and(Vec::is_empty)
                && fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.is_empty());
            found = marks(environ.unwrap_or_default().split(|b| *b == 0));
        }
        Some(Orphan { process, marks: found, blank })
    }

    /// Whether it belongs to the start whose main process had this number and these marks.
    pub(super) fn belongs(&self, main: i32, marks: &[Vec<u8>]) -> bool {
        self.process.session == main
            || self.process.group == main
            || (!marks.is_empty() && marks.iter().all(|mark| self.marks.contains(mark)))
    }
}

/// So many steps up a tree are looked at.
const DEPTH_MAX: usize = 64;

/// Whether a process is shown to have come from one of these: it is one, is below one, or is in the
/// session that one leads, which only its descendants can be in. A process that lost its parent and
/// has left its session cannot be shown to have come from anywhere.
pub(super) fn descends(pid: i32, leaders: impl Iterator<Item = i32> + Clone) -> bool {
    let mut next = pid;
    for _ in 0..DEPTH_MAX {
        let Some(process) = process(next) else { return false };
        let mut leaders = leaders.clone();
        if leaders.any(|leader| leader == process.pid || leader == process.session) {
            return true;
        }
        next = process.parent;
    }
    false
}

/// How a process that is no child of ours has ended, while its parent has not reaped it yet.
pub(super) fn exit_of_zombie(pid: i32) -> Option<Exit> {
    let exit = exit_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    // The kernel shows 0 to whoever may not look closer (PTRACE_MODE_READ_FSCREDS), as it keeps the
    // program's path from them.
    let hidden = || {
        let link = fs::read_link(format!("/proc/{pid}/exe"));
        link.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    (!exit.is_success() || !hidden()).then_some(exit)
}

fn exit_in(stat: &str) -> Option<Exit> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    if fields.next()? != "Z" {
        return None;
    }
    // Field 52 of proc_pid_stat(5); 3 were taken.
    Some(sys::exit_of_status(fields.nth(48)?.parse().ok()?))
}

/// Our children, dead or alive.
///
/// # Errors
/// /proc cannot be read.
pub(super) fn children() -> io::Result<Vec<i32>> {
    let own = std::process::id();
    match fs::read_to_string(format!("/proc/self/task/{own}/children")) {
        Ok(text) => Ok(text.split_ascii_whitespace().filter_map(|w| w.parse().ok()).collect()),
        // A kernel without CONFIG_PROC_CHILDREN.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let own = i32::try_from(own).unwrap_or(0);
            Ok(table()?.iter().filter(|p| p.parent == own).map(|p| p.pid).collect())
        }
        Err(error) => Err(error),
    }
}

/// One process; `None` if it is gone.
pub(super) fn process(pid: i32) -> Option<Process> {
    parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// All processes.
fn table() -> io::Result<Vec<Process>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) {
            all.extend(process(pid));
        }
    }
    Ok(all)
}

fn parse(pid: i32, stat: &str) -> Option<Process> {
    // "PID (NAME) STATE PPID PGRP SESSION ...": the name may have anything in it, so from its end.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    // Field 22 of proc_pid_stat(5); 6 were taken.
    let started = fields.nth(15)?.parse().ok()?;
    Some(Process { pid, parent, group, session, started })
}

/// Kills what a dead runner of this directory has left: nobody can hold it any more, and two
/// generations of an instance must never run side by side. Such a process carries all of the
/// variables that tell instances apart, and the way to the directory's control socket.
///
/// # Errors
/// With the reason for people.
pub(super) fn clear_leftovers(runtime_dir: &Path) -> Result<(), String> {
    let failed = |error: io::Error| format!("cannot look for a former runner's processes: {error}");
    let dir = runtime_dir.canonicalize().map_err(failed)?;
    let mut own = BTreeSet::from([i32::try_from(std::process::id()).unwrap_or(0)]);
    // Not those that we were started from, should it have been within an instance.
    let mut next = own.first().copied();
    while let Some(process) = next.and_then(process) {
        next = own.insert(process.parent).then_some(process.parent);
    }
    let deadline = Instant::now() + LEFTOVER_PATIENCE;
    // What forks and ends while the table is read can be missed once.
    let mut clean = 0;
    loop {
        let left: Vec<Process> = table()
            .map_err(failed)?
            .into_iter()
            .filter(|process| !own.contains(&process.pid) && is_leftover(process.pid, &dir))
            .collect();
        let mut ends = Vec::new();
        for process in &left {
            if let Ok(pidfd) = sys::pidfd_open(process.pid) {
                signal_one(process, nix::libc::SIGKILL);
                ends.push(pidfd);
            }
        }
        clean = if ends.is_empty() { clean + 1 } else { 0 };
        if clean == CLEAN_ENOUGH {
            return Ok(());
        }
        for end in &ends {
            let wait = deadline.saturating_duration_since(Instant::now()).as_millis();
            let mut fds = [PollFd::new(end.as_fd(), PollFlags::POLLIN)];
            let _woken = poll(&mut fds, u16::try_from(wait).unwrap_or(u16::MAX));
        }
        if Instant::now() >= deadline {
            return Err(format!("{} processes of a former runner do not end", left.len()));
        }
    }
}

fn is_leftover(pid: i32, dir: &Path) -> bool {
    // A zombie, a kernel thread and somebody else's process have none that can be read.
    let Ok(environ) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    let mut entries = environ.split(|b| *b == 0);
    let marked =
        MARKS.iter().all(|mark| environ.split(|b| *b == 0).any(|entry| entry.starts_with(mark)));
    marked
        && entries.any(|entry| {
            let socket = entry.strip_prefix(b"WSUP_CONTROL=").map(OsStr::from_bytes);
            let parent = socket.and_then(|socket| Path::new(socket).parent());
            parent.and_then(|parent| parent.canonicalize().ok()).as_deref() == Some(dir)
        })
}

/// Sends a signal to these processes and everything below them, and with SIGKILL to their process
/// groups too, which catches what forks meanwhile. `keep` are not touched.
///
/// # Errors
/// /proc cannot be read.
pub(super) fn signal_trees(roots: &[i32], signal: i32, keep: &BTreeSet<i32>) -> io::Result<()> {
    let trees = below(&table()?, roots);
    let own = nix::unistd::getpgrp().as_raw();
    let mut groups = BTreeSet::new();
    for process in trees.values().filter(|p| !keep.contains(&p.pid)) {
        signal_one(process, signal);
        // The groups of our sessions' members are never ours, but a wrong guess would be fatal.
        if process.group > 1 && process.group != own {
            groups.insert(process.group);
        }
    }
    if signal == nix::libc::SIGKILL {
        for group in groups {
            // Most are gone already.
            let _sent = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
    }
    Ok(())
}

/// Signals the very process that was seen, not a later one of its number.
fn signal_one(seen: &Process, signal: i32) {
    if let Ok(pidfd) = sys::pidfd_open(seen.pid)
        && process(seen.pid).is_some_and(|now| now.started == seen.started)
    {
        // Gone, or somebody else's by a set-user-id program: then it cannot be ended by us.
        let _sent = sys::pidfd_send_signal(pidfd.as_fd(), signal);
    }
}

fn below(table: &[Process], roots: &[i32]) -> BTreeMap<i32, Process> {
    let mut children: BTreeMap<i32, Vec<&Process>> = BTreeMap::new();
    for process in table {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found: BTreeMap<i32, Process> =
        table.iter().filter(|p| roots.contains(&p.pid)).map(|p| (p.pid, *p)).collect();
    let mut next: Vec<i32> = found.keys().copied().collect();
    while let Some(parent) = next.pop() {
        for process in children.get(&parent).into_iter().flatten() {
            if found.insert(process.pid, **process).is_none() {
                next.push(process.pid);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_confuse() {
        let stat = "7 (a) S 1 (b) R 3 4 5 34816 0 6 7 8 9 10 11 12 13 14 20 0 1 0 4242 0 0";
        let expected = Process { pid: 7, parent: 3, group: 4, session: 5, started: 4242 };
        assert_eq!(parse(7, stat), Some(expected));
        let own = process(std::process::id() as i32).unwrap();
        assert_eq!(own.parent, std::os::unix::process::parent_id() as i32);
        assert!(own.started > 0);
    }

    #[test]
    fn how_a_zombie_ended_is_read() {
        let stat = |state: &str, status: i32| {
            format!("7 (a) b) {state} {} {status}", vec!["0"; 48].join(" "))
        };
        assert_eq!(exit_in(&stat("Z", 3 << 8)), Some(Exit::Code(3)));
        assert_eq!(exit_in(&stat("Z", 9)), Some(Exit::Signal(9)));
        assert_eq!(exit_in(&stat("Z", 11 | 0x80)), Some(Exit::Signal(11)), "with a core");
        assert_eq!(exit_in(&stat("S", 0)), None, "it lives");
        assert_eq!(exit_in("7 (a) Z 0"), None);
    }

    #[test]
    fn only_what_is_below_has_come_from_there() {
        let own = std::process::id() as i32;
        assert!(descends(own, [own].into_iter()));
        assert!(descends(own, [std::os::unix::process::parent_id() as i32].into_iter()));
        let session = process(own).unwrap().session;
        assert!(descends(own, [session].into_iter()));
        assert!(!descends(1, [own].into_iter()));
        assert!(!descends(0, [own].into_iter()));
    }

    #[test]
    fn everything_below_is_found() {
        let p = |pid, parent| Process { pid, parent, group: 1, session: 1, started: 0 };
        let table = [p(1, 0), p(2, 1), p(3, 2), p(4, 3), p(5, 1)];
        let found: Vec<i32> = below(&table, &[2]).into_keys().collect();
        assert_eq!(found, [2, 3, 4]);
    }
}
