//! One start of one instance, as the runner holds it.
//!
//! Responsible for the start's data and for the names of its descriptors in the poller. Must not
//! decide about other starts.

use super::cgroup::Group;
use super::hold::sockets::Open;
use super::logs::index::Stream;
use super::logs::pump::{Pump, Turn};
use super::logs::sink::Sink;
use super::logs::watch::Watch;
use super::orphans::Orphan;
use super::protocol::{Held, SpawnPlan};
use crate::core::event::Exit;
use crate::core::time::Mono;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

/// Which of a start's descriptors is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The process that we started has ended.
    Main,
    /// The program has written.
    Output(Stream),
    /// The cgroup's population has changed.
    Cgroup,
    /// The main process that it has named itself has ended.
    Named,
}

impl Part {
    /// The poller's name for a part of the start with this key.
    pub(super) fn token(self, key: u64) -> u64 {
        let code = match self {
            Part::Main => 0,
            Part::Output(Stream::Stdout) => 1,
            Part::Output(Stream::Stderr) => 2,
            Part::Cgroup => 3,
            Part::Named => 4,
        };
        key << 3 | code
    }

    /// The key and the part of a token.
    pub(super) fn of(token: u64) -> (u64, Part) {
        let part = match token & 7 {
            0 => Part::Main,
            1 => Part::Output(Stream::Stdout),
            2 => Part::Output(Stream::Stderr),
            3 => Part::Cgroup,
            _ => Part::Named,
        };
        (token >> 3, part)
    }
}

/// How far it has come.
#[derive(Debug)]
pub(super) enum Life {
    /// The main process lives.
    Running,
    /// The main process has ended; what it left behind lives.
    Ending {
        /// How it ended.
        exit: Exit,
        /// When.
        at: Mono,
        /// The left-behind have got the signal that asks them to end.
        asked: bool,
        /// The cgroup's events, while they are watched.
        watch: Option<File>,
    },
}

/// A main process that we have not started ourselves.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    /// Its parent has reaped it, so that its number is free.
    pub(super) reaped: bool,
}

/// One start.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) held: Held,
    /// The number of the process that we started, which is the main process unless another one was
    /// named. Without cgroups it stays a zombie until its tree is gone, so that the number of its
    /// session cannot become somebody else's.
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    /// That process has ended, and is in the poller no more.
    pub(super) first_ended: bool,
    /// The main process that the program has named (`MAINPID=`).
    pub(super) named: Option<Named>,
    /// A name that was not followed was warned of.
    pub(super) misnamed: bool,
    pub(super) group: Option<Group>,
    pub(super) life: Life,
    /// The signal of `Terminate`, if that has come.
    pub(super) stop: Option<i32>,
    /// `KillTree` has come.
    pub(super) kill: bool,
    /// How its orphans are recognised without cgroups.
    pub(super) marks: Vec<Vec<u8>>,
    /// How many sockets it was handed.
    pub(super) sockets: usize,
    /// That it may not have more descriptors kept was warned of.
    pub(super) refused_store: bool,
    /// The sockets that it was handed: as long as it has them, they are open.
    pub(super) _sockets: Vec<Rc<Open>>,
    /// It may speak for itself.
    pub(super) notify: bool,
    pub(super) output: Output,
}

impl Start {
    /// The main process.
    pub(super) fn main(&self) -> BorrowedFd<'_> {
        self.named.as_ref().map_or(&self.pidfd, |named| &named.pidfd).as_fd()
    }

    /// The main process's number.
    pub(super) fn main_pid(&self) -> i32 {
        self.named.as_ref().map_or(self.pid, |named| named.pid)
    }

    /// The numbers of the processes that lead its tree, as far as those are still theirs: in a cgroup
    /// the process that we started is reaped as soon as it has ended.
    pub(super) fn leaders(&self) -> impl Iterator<Item = i32> + Clone {
        let first = (!self.first_ended || self.group.is_none()).then_some(self.pid);
        let named = self.named.as_ref().filter(|named| !named.reaped);
        first.into_iter().chain(named.map(|named| named.pid))
    }

    /// Whether an adopted process is of its tree, as far as can be told.
    pub(super) fn owns(&self, orphan: &Orphan) -> bool {
        self.leaders().any(|leader| orphan.belongs(leader, &self.marks))
    }

    /// What it leaves behind is to be killed: nobody has asked it to end (it ended by itself), or
    /// the time for that is over.
    pub(super) fn must_kill(&self) -> bool {
        self.kill || self.stop.is_none()
    }
}

/// A start's pipes and the log that they lead to.
#[derive(Debug, Default)]
pub(super) struct Output {
    log: Option<Sink>,
    stdout: Option<Pump>,
    stderr: Option<Pump>,
    compress: bool,
    /// Lines that are waited for.
    watch: Watch,
    /// In which turn of the loop it was carried last, and how much of its budget is spent.
    spent: (u64, usize),
}

impl Output {
    /// Pipes that lead to a log.
    pub(super) fn new(
        log: Sink,
        compress: bool,
        watch: Watch,
        stdout: OwnedFd,
        stderr: OwnedFd,
    ) -> Output {
        Output {
            log: Some(log),
            compress,
            watch,
            stdout: Some(Pump::new(stdout, Stream::Stdout)),
            stderr: Some(Pump::new(stderr, Stream::Stderr)),
            spent: (0, 0),
        }
    }

    /// The open pipes.
    pub(super) fn pipes(&self) -> impl Iterator<Item = (Stream, &OwnedFd)> {
        [(Stream::Stdout, &self.stdout), (Stream::Stderr, &self.stderr)]
            .into_iter()
            .filter_map(|(stream, pump)| Some((stream, &pump.as_ref()?.pipe)))
    }

    /// One bounded turn of one pipe: both together get no more than `buffer`'s length within one
    /// turn of the loop. `Ended`: the pipe is to be taken out of the poller, then
    /// [`Output::close`]d.
    pub(super) fn turn(
        &mut self,
        stream: Stream,
        loop_turn: u64,
        buffer: &mut [u8],
        said: &mut Vec<String>,
    ) -> Turn {
        if self.spent.0 != loop_turn {
            self.spent = (loop_turn, 0);
        }
        let left = buffer.len().saturating_sub(self.spent.1);
        let buffer = buffer.get_mut(..left).unwrap_or_default();
        let pump = match stream {
            Stream::Stdout => self.stdout.as_mut(),
            Stream::Stderr => self.stderr.as_mut(),
        };
        let (Some(pump), Some(log)) = (pump, self.log.as_mut()) else { return Turn::Ended };
        if let Some(journal) = log.blocked() {
            journal.flush(said);
            if journal.is_blocked() {
                return Turn::Blocked;
            }
        }
        if buffer.is_empty() {
            // The poller says again that there is something.
            return Turn::Carried(0);
        }
        let turn = pump.turn(log, &mut self.watch, buffer, said);
        if let Turn::Carried(len) = turn {
            self.spent.1 += len;
            if self.is_blocked() {
                return Turn::Blocked;
            }
        }
        turn
    }

    /// Lines that were waited for and have come: what for, and the line.
    pub(super) fn take_found(&mut self) -> Vec<(String, String)> {
        self.watch.take_found()
    }

    /// Gives a pipe up that has ended; what it held back is written.
    pub(super) fn close(&mut self, stream: Stream, said: &mut Vec<String>) {
        let pump = match stream {
            Stream::Stdout => self.stdout.take(),
            Stream::Stderr => self.stderr.take(),
        };
        if let (Some(mut pump), Some(log)) = (pump, self.log.as_mut()) {
            pump.release(log, &mut self.watch, said);
        }
    }

    /// The path of the log, if it was rotated since the last call and its files are to be
    /// compressed.
    pub(super) fn take_rotated(&mut self) -> Option<&Path> {
        let rotated = self.log.as_mut().and_then(Sink::take_rotated);
        rotated.filter(|_| self.compress)
    }

    /// Whether the journal has not taken all.
    pub(super) fn is_blocked(&mut self) -> bool {
        self.log.as_mut().is_some_and(|log| log.blocked().is_some())
    }

    /// Sends what the journal did not take before. `false`: it still does not take all.
    pub(super) fn resume(&mut self, said: &mut Vec<String>) -> bool {
        let Some(journal) = self.log.as_mut().and_then(Sink::blocked) else { return true };
        journal.flush(said);
        !journal.is_blocked()
    }

    /// What the journal has not taken of it, at its end.
    pub(super) fn take_rest(&mut self) -> Option<Sink> {
        self.log.take().and_then(|mut log| log.blocked().is_some().then_some(log))
    }

    /// Closes the log's files until the next write.
    pub(super) fn rest(&mut self) {
        if let Some(log) = self.log.as_mut() {
            log.rest();
        }
    }

    /// Carries all that is left, once no process of the tree lives.
    pub(super) fn finish(&mut self, buffer: &mut [u8], said: &mut Vec<String>) {
        let Some(log) = self.log.as_mut() else { return };
        for mut pump in [self.stdout.take(), self.stderr.take()].into_iter().flatten() {
            pump.drain(log, &mut self.watch, buffer, said);
        }
        log.end(said);
    }
}

/// The name of a start's cgroup: readable, and never used twice.
pub(super) fn cgroup_name(plan: &SpawnPlan) -> String {
    /// File names have at most 255 bytes; an instance's name is far shorter.
    const NAME_MAX: usize = 128;
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = plan.instance.chars().map(safe).take(NAME_MAX).collect();
    format!("i-{name}.{:x}.{}", plan.id.slot, plan.id.generation)
}
