//! Programs that are run beside a start: hooks and probes.
//!
//! Responsible for starting them within the start's tree, for their output, and for telling how they
//! end. They hold nothing up but their own start's end: it is reported when they are gone too. Must not
//! know what they are for, or how long they may take.

use super::{Hold, Inherited, watch};
use crate::core::event::Exit;
use crate::runner::logs::index::Stream;
use crate::runner::logs::pump;
use crate::runner::protocol::{EXEC_TEXT_MAX, ExecEnd, ExecPlan, LogPlan, Notice};
use crate::runner::spawn::{Handed, Stdio};
use crate::runner::start::{Life, Part, Start};
use crate::runner::sys::{self, Wait};
use nix::sys::epoll::Epoll;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// So many may run at once: each takes two descriptors, and no sensible machine has more hooks and
/// probes that run programs under way at one moment.
pub(in crate::runner) const EXECS_MAX: usize = 256;

/// So much of what one writes is read at a time, and at most once more at its end.
const READ_MAX: usize = 4 << 10;

/// One that runs.
#[derive(Debug)]
struct Exec {
    number: u64,
    /// The key of the start that it belongs to.
    start: u64,
    pid: i32,
    pidfd: OwnedFd,
    /// What it writes, if that is captured.
    pipe: Option<OwnedFd>,
    text: Vec<u8>,
}

/// All that run.
#[derive(Debug, Default)]
pub(super) struct Execs {
    all: BTreeMap<u64, Exec>,
    numbers: BTreeMap<u64, u64>,
    /// The same by start.
    of_start: BTreeSet<(u64, u64)>,
    /// Answers for the daemon.
    answers: Vec<Notice>,
}

impl Execs {
    /// Whether one has this key.
    pub(super) fn has(&self, key: u64) -> bool {
        self.all.contains_key(&key)
    }

    /// Whether any belongs to this start.
    pub(super) fn any_of(&self, start: u64) -> bool {
        self.keys_of(start).next().is_some()
    }

    fn keys_of(&self, start: u64) -> impl Iterator<Item = u64> {
        self.of_start.range((start, 0)..=(start, u64::MAX)).map(|(_, key)| *key)
    }

    fn insert(&mut self, key: u64, exec: Exec) {
        self.numbers.insert(exec.number, key);
        self.of_start.insert((exec.start, key));
        self.all.insert(key, exec);
    }

    /// It, and whether the daemon that asked for it is still there: the number of one that is disowned
    /// may mean another by now.
    fn remove(&mut self, key: u64) -> Option<(Exec, bool)> {
        let exec = self.all.remove(&key)?;
        self.of_start.remove(&(exec.start, key));
        let owned = self.numbers.get(&exec.number) == Some(&key);
        if owned {
            self.numbers.remove(&exec.number);
        }
        Some((exec, owned))
    }

    fn answer(&mut self, number: u64, end: ExecEnd, text: &[u8]) {
        let text = String::from_utf8_lossy(text).into_owned();
        self.answers.push(Notice::ExecDone { number, end, text });
    }
}

impl Hold {
    /// Carries `Exec` out.
    pub(in crate::runner) fn exec(&mut self, epoll: &Epoll, exec: ExecPlan, inherited: Inherited) {
        let number = exec.number;
        if self.execs.numbers.contains_key(&number) {
            return;
        }
        if let Err(message) = self.try_exec(epoll, exec, inherited) {
            self.execs.answer(number, ExecEnd::Failed(message), b"");
        }
    }

    fn try_exec(
        &mut self,
        epoll: &Epoll,
        exec: ExecPlan,
        inherited: Inherited,
    ) -> Result<(), String> {
        let ExecPlan { number, capture, mut plan } = exec;
        if self.execs.all.len() >= EXECS_MAX {
            return Err(format!("{EXECS_MAX} hooks and probes run already"));
        }
        let gone = || format!("{} does not run any more", plan.instance);
        let start_key = self.key_of(plan.id).ok_or_else(gone)?;
        let start = self.starts.get(&start_key).ok_or_else(gone)?;
        if !matches!(start.life, Life::Running) {
            return Err(gone());
        }
        if !plan.rlimits.iter().any(|limit| limit.resource == "nofile") {
            plan.rlimits.extend(self.files.clone());
        }
        let failed = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
        let group = start.group.as_ref().map(|group| group.open()).transpose();
        let group = group.map_err(|error| failed("cgroup", &error))?;
        let (pipe, stdout, stderr) = if capture {
            let (pipe, end) = pump::pipe().map_err(|error| failed("output", &error))?;
            let other = end.try_clone().map_err(|error| failed("output", &error))?;
            (Some(pipe), Some(end), Some(other))
        } else {
            let (stdout, stderr) = output_of(start, &plan.log, inherited);
            (None, stdout, stderr)
        };
        let stdio = Stdio {
            stdout: stdout.as_ref().map(OwnedFd::as_fd),
            stderr: stderr.as_ref().map(OwnedFd::as_fd),
            handed: &Handed::default(),
        };
        let child = self.spawner.spawn(&plan, &stdio, group.as_ref().map(OwnedFd::as_fd))?;
        let key = self.next_key;
        self.next_key += 1;
        let mut watched = watch(epoll, child.pidfd.as_fd(), Part::Main.token(key));
        if let Some(pipe) = &pipe {
            let token = Part::Output(Stream::Stdout).token(key);
            watched = watched.and(watch(epoll, pipe.as_fd(), token));
        }
        self.mains.insert(child.pid);
        let (pid, pidfd) = (child.pid, child.pidfd);
        self.execs
            .insert(key, Exec { number, start: start_key, pid, pidfd, pipe, text: Vec::new() });
        if watched.is_err() {
            // Out of kernel memory: what cannot be watched must not run. Its start's end reaps it.
            kill(pid);
        }
        Ok(())
    }

    /// Carries `KillExec` out.
    pub(in crate::runner) fn kill_exec(&self, number: u64) {
        let key = self.execs.numbers.get(&number);
        if let Some(exec) = key.and_then(|key| self.execs.all.get(key)) {
            kill(exec.pid);
        }
    }

    /// The daemon that asked for them is gone: nobody waits for their answers.
    pub(in crate::runner) fn disown_execs(&mut self) {
        self.execs.all.values().for_each(|exec| kill(exec.pid));
        self.execs.numbers.clear();
        self.execs.answers.clear();
    }

    /// What is to be said to the daemon.
    pub(in crate::runner) fn take_answers(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.execs.answers)
    }

    /// Something of one is ready.
    pub(super) fn exec_ready(&mut self, epoll: &Epoll, key: u64, part: Part) {
        match part {
            Part::Main => self.exec_ended(epoll, key),
            Part::Output(_) => {
                if let Some(exec) = self.execs.all.get_mut(&key)
                    && !exec.read()
                    && let Some(pipe) = exec.pipe.take()
                {
                    let _gone = epoll.delete(&pipe);
                }
            }
            Part::Cgroup | Part::Named => {}
        }
    }

    /// Without cgroups: the main process of their start is gone, and they go too.
    pub(super) fn kill_execs_of(&self, start: u64) {
        let execs = self.execs.keys_of(start).filter_map(|key| self.execs.all.get(&key));
        execs.for_each(|exec| kill(exec.pid));
    }

    /// No process of the start lives: tells the ends of those that were not looked at yet.
    pub(super) fn end_execs_of(&mut self, epoll: &Epoll, start: u64) {
        let keys: Vec<u64> = self.execs.keys_of(start).collect();
        keys.into_iter().for_each(|key| self.exec_ended(epoll, key));
    }

    fn exec_ended(&mut self, epoll: &Epoll, key: u64) {
        let Some(exec) = self.execs.all.get(&key) else { return };
        let exit = match sys::wait(Wait::Pidfd(exec.pidfd.as_fd())) {
            Ok(Some(exit)) => exit,
            Ok(None) => return,
            // Somebody has reaped it for us; that is not known to happen.
            Err(_) => Exit::Unknown,
        };
        let Some((mut exec, owned)) = self.execs.remove(key) else { return };
        // What it left in the pipe. What others that it started write later is nobody's business.
        exec.read();
        // Out of the poller before they are closed: a copy in a child would keep them in there.
        let _gone = epoll.delete(&exec.pidfd);
        if let Some(pipe) = &exec.pipe {
            let _gone = epoll.delete(pipe);
        }
        self.mains.remove(&exec.pid);
        if owned {
            self.execs.answer(exec.number, ExecEnd::Exited(exit), &exec.text);
        }
        if self.adopts || !self.ending.is_empty() {
            // Its start may have waited for it.
            self.sweep = true;
        }
    }
}

impl Exec {
    /// Reads once what it has written. `false`: nobody will write any more.
    fn read(&mut self) -> bool {
        let Some(pipe) = &self.pipe else { return true };
        let mut buffer = [0; READ_MAX];
        match nix::unistd::read(pipe, &mut buffer) {
            Ok(0) => false,
            Ok(len) => {
                let room = EXEC_TEXT_MAX.saturating_sub(self.text.len());
                self.text.extend_from_slice(buffer.get(..len.min(room)).unwrap_or_default());
                true
            }
            Err(_) => true,
        }
    }
}

/// Kills its process group, which is its own: its number is taken until we reap it.
fn kill(pid: i32) {
    // ESRCH: it has ended.
    let _gone = killpg(Pid::from_raw(pid), Signal::SIGKILL);
}

/// Where the start's own output goes. A pipe that the start has closed is gone; then it is nowhere.
fn output_of(
    start: &Start,
    log: &LogPlan,
    inherited: Inherited,
) -> (Option<OwnedFd>, Option<OwnedFd>) {
    if let (LogPlan::Inherit, Some((stdout, stderr))) = (log, inherited) {
        return (Some(stdout), Some(stderr));
    }
    let end = |wanted: Stream| {
        let mut pipes = start.output.pipes();
        let (_, pipe) = pipes.find(|(stream, _)| *stream == wanted)?;
        write_end(pipe).ok()
    };
    (end(Stream::Stdout), end(Stream::Stderr))
}

/// Another write end of a pipe of which we have the read end (pipe(7), proc(5)).
fn write_end(pipe: &OwnedFd) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    Ok(OpenOptions::new().write(true).open(path)?.into())
}
