//! All starts: what commands do to them and how they end.
//!
//! Responsible for carrying commands out and for reporting each start's one end, after its tree is
//! gone and its output is in the log. Must not know connections, units' specs or any policy.

mod exec;
mod fdstore;
mod journal;
mod limits;
mod main_pid;
pub(super) mod notify;
mod output;
mod pack;
pub(super) mod sockets;
mod sweep;

use super::cgroup::{self, Cgroups, Controller};
use super::logs::index::Stream;
use super::logs::packer::Packer;
use super::logs::pump::{READ_MAX, Turn};
use super::orphans;
use super::outbox::Outbox;
use super::protocol::{
    EXTEND_UNTIL, FOUND, Held, Notice, Outcome, RlimitPlan, SpawnPlan, TreeMode,
};
use super::spawn::{Spawner, Stdio};
use super::start::{Life, Output, Part, Start, cgroup_name};
use super::sys;
use crate::core::event::Exit;
use crate::core::id::{InstanceId, UnitKey};
use crate::os::clock;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

pub(super) use exec::EXECS_MAX;
pub(super) use fdstore::KEPT_MAX_ALL;

/// With more starts than this, log files are not kept open between two writes: descriptors are
/// scarcer than time then (20,000 for a process is a common limit that cannot be raised).
pub(super) const OPEN_LOGS_MAX: usize = 1_000;

/// An empty cgroup costs the kernel some KiB. With more than so many they are removed while others
/// wait.
const WASTE_MAX: usize = 2_048;

/// A start by its id.
#[derive(Debug)]
enum Known {
    /// Its key among the starts that are held.
    Live(u64),
    /// Its end is reported and not acknowledged. `None`: it never ran.
    Ended(Option<Box<Held>>),
}

/// The daemon's stdout and stderr, if they came with a command.
pub(super) type Inherited = Option<(OwnedFd, OwnedFd)>;

/// Everything that the runner holds.
#[derive(Debug)]
pub(super) struct Hold {
    spawner: Spawner,
    /// The limit of descriptors for programs whose plan names none.
    files: Option<RlimitPlan>,
    /// `None`: process groups are used.
    cgroups: Option<Cgroups>,
    mode: TreeMode,
    starts: BTreeMap<u64, Start>,
    ids: BTreeMap<InstanceId, Known>,
    /// The keys of starts whose main process has ended, without cgroups.
    ending: BTreeSet<u64>,
    /// Orphans are to be looked at before the loop waits again.
    sweep: bool,
    /// With cgroups: we are the child subreaper, and reap what we have adopted.
    adopts: bool,
    /// For how many turns in a row some orphan could not be told from others.
    blank_turns: u32,
    /// The numbers of all processes that are waited for by a pidfd.
    mains: BTreeSet<i32>,
    /// When last looked at, orphans lived of which nothing tells whose they are.
    strays: bool,
    next_key: u64,
    pub(super) outbox: Outbox,
    /// For people; given to a daemon if one listens.
    pub(super) warnings: Vec<Notice>,
    /// Limits that were warned of.
    warned: BTreeSet<(UnitKey, Controller)>,
    /// Where bytes pass through; one for all.
    buffer: Vec<u8>,
    journal: journal::State,
    execs: exec::Execs,
    sockets: sockets::Sockets,
    store: fdstore::Store,
    pub(super) notify: notify::Notify,
    packer: Packer,
    /// The process number of the packer's helper.
    helper: i32,
    /// Counts the loop's turns: each start has its budget in each.
    turn: u64,
}

impl Hold {
    /// An empty one. `first_key`: below it, the poller's tokens are the caller's. `journal`: where
    /// the journal listens.
    pub(super) fn new(
        spawner: Spawner,
        cgroups: Option<Cgroups>,
        mode: TreeMode,
        files: Option<RlimitPlan>,
        first_key: u64,
        journal: PathBuf,
        notify: notify::Notify,
    ) -> Hold {
        Hold {
            files,
            spawner,
            cgroups,
            mode,
            starts: BTreeMap::new(),
            ids: BTreeMap::new(),
            ending: BTreeSet::new(),
            sweep: false,
            adopts: false,
            blank_turns: 0,
            mains: BTreeSet::new(),
            strays: false,
            next_key: first_key,
            outbox: Outbox::default(),
            warnings: Vec::new(),
            warned: BTreeSet::new(),
            buffer: vec![0; READ_MAX],
            journal: journal::State::new(journal),
            execs: exec::Execs::default(),
            sockets: sockets::Sockets::default(),
            store: fdstore::Store::default(),
            notify,
            packer: Packer::default(),
            helper: 0,
            turn: 0,
        }
    }

    /// The loop has been woken once more.
    pub(super) fn begin_turn(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }

    /// How trees are held.
    pub(super) fn mode(&self) -> &TreeMode {
        &self.mode
    }

    /// Whether nothing is held any more.
    pub(super) fn is_empty(&self) -> bool {
        self.starts.is_empty() && !self.strays
    }

    /// Whether output of starts that have ended waits for the journal.
    pub(super) fn has_last_words(&self) -> bool {
        !self.journal.parting.is_empty()
    }

    /// Every start that ran and whose end is not acknowledged.
    pub(super) fn held(&self) -> Vec<Held> {
        self.ids
            .values()
            .filter_map(|known| match known {
                Known::Live(key) => self.starts.get(key).map(|start| start.held.clone()),
                Known::Ended(held) => held.as_deref().cloned(),
            })
            .collect()
    }

    /// Carries `Ack` out.
    pub(super) fn ack(&mut self, upto: u64) {
        for outcome in self.outbox.ack(upto) {
            if outcome.is_last() {
                self.ids.remove(&outcome.id());
            }
        }
    }

    /// Carries `Spawn` out.
    pub(super) fn spawn(&mut self, epoll: &Epoll, plan: SpawnPlan, inherited: Inherited) {
        if self.ids.contains_key(&plan.id) {
            return;
        }
        let id = plan.id;
        match self.try_spawn(plan, inherited) {
            Ok(start) => {
                let pid = start.held.pid;
                let key = self.next_key;
                self.next_key += 1;
                self.ids.insert(id, Known::Live(key));
                self.outbox.push(Outcome::Spawned { id, pid });
                self.add(epoll, key, start);
            }
            Err(message) => {
                self.ids.insert(id, Known::Ended(None));
                self.outbox.push(Outcome::SpawnFailed { id, message });
            }
        }
    }

    /// Answers `Spawn` where nothing is started any more.
    pub(super) fn refuse(&mut self, plan: &SpawnPlan) {
        if self.ids.contains_key(&plan.id) {
            return;
        }
        self.ids.insert(plan.id, Known::Ended(None));
        let message = format!("cannot start {}: the runner is shutting down", plan.instance);
        self.outbox.push(Outcome::SpawnFailed { id: plan.id, message });
    }

    fn try_spawn(&mut self, mut plan: SpawnPlan, inherited: Inherited) -> Result<Start, String> {
        if !plan.rlimits.iter().any(|limit| limit.resource == "nofile") {
            plan.rlimits.extend(self.files.clone());
        }
        let instance = plan.instance.clone();
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            format!("cannot start {instance}: {what}: {error}")
        };
        if plan.notify {
            let variable = self.notify.variable().map_err(|e| failed("notify socket", &e))?;
            plan.envp.push(variable.into());
        }
        let sockets = self.sockets.hand(&plan)?;
        let handed = self.handed(&plan, &sockets);
        let (output, stdout, stderr) =
            self.open_output(&plan, inherited).map_err(|e| failed("output", &e))?;
        let made = self.cgroups.as_mut().map(|cgroups| cgroups.make(&cgroup_name(&plan)));
        let (group, dir) = made.transpose().map_err(|e| failed("cgroup", &e))?.unzip();
        match self.limit(&plan, group.as_ref()) {
            Ok(missing) => self.warn_of_limits(&plan, &missing),
            Err(message) => {
                self.remove_group(group);
                return Err(failed("resources", &message));
            }
        }
        let stdio = Stdio {
            stdout: stdout.as_ref().map(OwnedFd::as_fd),
            stderr: stderr.as_ref().map(OwnedFd::as_fd),
            handed: &handed,
        };
        let child = match self.spawner.spawn(&plan, &stdio, dir.as_ref().map(OwnedFd::as_fd)) {
            Ok(child) => child,
            Err(message) => {
                self.remove_group(group);
                return Err(message);
            }
        };
        let held = Held {
            id: plan.id,
            pid: u32::try_from(child.pid).unwrap_or(0),
            unit: plan.unit,
            instance: plan.instance,
            ended: false,
            said: notify::Said::new(),
        };
        let marks = match group {
            Some(_) => Vec::new(),
            None => orphans::marks(plan.envp.iter().map(|entry| entry.as_bytes())),
        };
        Ok(Start {
            held,
            pid: child.pid,
            pidfd: child.pidfd,
            first_ended: false,
            named: None,
            misnamed: false,
            group,
            life: Life::Running,
            stop: None,
            kill: false,
            marks,
            notify: plan.notify,
            sockets: sockets.len(),
            refused_store: false,
            _sockets: sockets.into_iter().filter(|open| !open.is_own()).collect(),
            output,
        })
    }

    /// Has the poller watch a new start.
    fn add(&mut self, epoll: &Epoll, key: u64, mut start: Start) {
        let mut watched = watch(epoll, start.pidfd.as_fd(), Part::Main.token(key));
        for (stream, pipe) in start.output.pipes() {
            let token = Part::Output(stream).token(key);
            watched = watched.and(watch(epoll, pipe.as_fd(), token));
        }
        if self.starts.len() >= OPEN_LOGS_MAX {
            start.output.rest();
        }
        self.mains.insert(start.pid);
        if start.notify {
            self.notify.allow(start.pid, key);
        }
        self.starts.insert(key, start);
        if let Err(error) = watched {
            // Out of kernel memory: what cannot be watched must not run.
            self.warn(key, format!("cannot be watched, so it is killed: {error}"));
            self.kill_tree_of(key);
        }
    }

    fn remove_group(&mut self, group: Option<cgroup::Group>) {
        if let (Some(cgroups), Some(group)) = (self.cgroups.as_mut(), group) {
            cgroups.remove(group);
        }
    }

    /// Whether cgroups of starts that have ended are to be removed.
    pub(super) fn is_untidy(&self) -> bool {
        self.cgroups.as_ref().is_some_and(|cgroups| cgroups.untidy() > 0)
    }

    /// Removes some of them. That costs about as much as to fork, and nobody waits for it: it is done
    /// when there is nothing else to do (`idle`), or when there are too many.
    pub(super) fn tidy(&mut self, idle: bool) {
        if let Some(cgroups) = self.cgroups.as_mut()
            && (idle || cgroups.untidy() > WASTE_MAX)
        {
            cgroups.clear();
        }
    }

    fn key_of(&self, id: InstanceId) -> Option<u64> {
        match self.ids.get(&id) {
            Some(Known::Live(key)) => Some(*key),
            Some(Known::Ended(_)) | None => None,
        }
    }

    /// Carries `Signal` out.
    pub(super) fn signal(&mut self, id: InstanceId, signal: i32) {
        let Some(key) = self.key_of(id) else { return };
        let Some(start) = self.starts.get(&key) else { return };
        if matches!(start.life, Life::Running)
            && let Err(error) = sys::pidfd_send_signal(start.main(), signal)
            && error.raw_os_error() != Some(nix::libc::ESRCH)
        {
            self.warn(key, format!("cannot be sent signal {signal}: {error}"));
        }
    }

    /// Carries `Terminate` out.
    pub(super) fn terminate(&mut self, id: InstanceId, signal: i32) {
        let Some(start) = self.key_of(id).and_then(|key| self.starts.get_mut(&key)) else {
            return;
        };
        // Once it has ended by itself, its leftovers are being killed; that stands.
        if matches!(start.life, Life::Running) {
            start.stop = Some(signal);
            // What it asked for before was for its start, and not for its end.
            start.held.said.remove(EXTEND_UNTIL);
            self.signal(id, signal);
        }
    }

    /// Carries `KillTree` out.
    pub(super) fn kill_tree(&mut self, id: InstanceId) {
        if let Some(key) = self.key_of(id) {
            self.kill_tree_of(key);
        }
    }

    fn kill_tree_of(&mut self, key: u64) {
        let Some(start) = self.starts.get_mut(&key) else { return };
        start.kill = true;
        let result = match (&start.group, &start.life) {
            (Some(group), _) => group.kill(),
            (None, Life::Running) => {
                let roots: Vec<i32> = start.leaders().collect();
                orphans::signal_trees(&roots, nix::libc::SIGKILL, &BTreeSet::new())
            }
            (None, Life::Ending { .. }) => {
                self.sweep = true;
                Ok(())
            }
        };
        if let Err(error) = result {
            // At least its main process must go.
            let _sent = sys::pidfd_send_signal(start.main(), nix::libc::SIGKILL);
            self.warn(key, format!("its processes cannot all be killed: {error}"));
        }
    }

    /// Sends a signal to every start as `Terminate` does, or kills them all.
    pub(super) fn stop_all(&mut self, kill: bool) {
        let ids: Vec<InstanceId> = self.starts.values().map(|start| start.held.id).collect();
        for id in ids {
            if kill {
                self.kill_tree(id);
            } else {
                self.terminate(id, nix::libc::SIGTERM);
            }
        }
    }

    /// Something of a start is ready.
    pub(super) fn ready(&mut self, epoll: &Epoll, token: u64) {
        let (key, part) = Part::of(token);
        if self.store.has(key) {
            return self.stored_hung_up(epoll, key);
        }
        if self.execs.has(key) {
            return self.exec_ready(epoll, key, part);
        }
        match part {
            Part::Main => self.first_ready(epoll, key),
            Part::Named => self.named_ready(epoll, key),
            Part::Output(stream) => self.output_ready(epoll, key, stream),
            Part::Cgroup => self.leftovers(epoll, key),
        }
    }

    fn output_ready(&mut self, epoll: &Epoll, key: u64, stream: Stream) {
        let crowded = self.starts.len() > OPEN_LOGS_MAX;
        let Some(start) = self.starts.get_mut(&key) else { return };
        let mut said = Vec::new();
        match start.output.turn(stream, self.turn, &mut self.buffer, &mut said) {
            Turn::Carried(_) | Turn::Idle => {}
            Turn::Blocked => {
                unwatch_pipe(epoll, &start.output, stream);
                self.journal.blocked.insert((key, stream));
            }
            Turn::Ended => {
                unwatch_pipe(epoll, &start.output, stream);
                start.output.close(stream, &mut said);
                if start.output.is_blocked() {
                    self.journal.blocked.insert((key, stream));
                }
            }
        }
        if crowded {
            start.output.rest();
        }
        if let Some(path) = start.output.take_rotated() {
            self.packer.add(path);
        }
        for (name, line) in start.output.take_found() {
            self.say(key, &format!("{FOUND}{name}"), line, true);
        }
        said.into_iter().for_each(|text| self.warn(key, text));
    }

    /// The main process has ended: deals with what it left behind.
    fn main_ended(&mut self, epoll: &Epoll, key: u64, exit: Exit) {
        let Some(start) = self.starts.get_mut(&key) else { return };
        start.life = Life::Ending { exit, at: clock::mono(), asked: false, watch: None };
        if start.group.is_some() {
            self.leftovers(epoll, key);
        } else {
            self.ending.insert(key);
            self.sweep = true;
            self.kill_execs_of(key);
        }
    }

    /// With a cgroup: ends the start if nothing lives in it, otherwise deals with what does.
    fn leftovers(&mut self, epoll: &Epoll, key: u64) {
        match self.try_leftovers(epoll, key) {
            Ok(true) => {}
            Ok(false) => self.finish(epoll, key),
            Err(error) => {
                // Not known to happen. An end that is never reported would be worse than a
                // process that may be left: it is told.
                self.warn(key, format!("cannot tell whether its processes are gone: {error}"));
                self.finish(epoll, key);
            }
        }
    }

    /// Whether something of it lives.
    fn try_leftovers(&mut self, epoll: &Epoll, key: u64) -> io::Result<bool> {
        let Some(start) = self.starts.get_mut(&key) else { return Ok(true) };
        let must_kill = start.must_kill();
        let (Some(group), Life::Ending { asked, watch: watching, .. }) =
            (&start.group, &mut start.life)
        else {
            return Ok(true);
        };
        if watching.is_none() {
            let events = group.events()?;
            if !cgroup::read_populated(&events)? {
                return Ok(false);
            }
            let event = EpollEvent::new(EpollFlags::EPOLLPRI, Part::Cgroup.token(key));
            epoll.add(&events, event)?;
            *watching = Some(events);
        }
        if must_kill {
            group.kill()?;
        } else if !*asked && let Some(signal) = start.stop {
            *asked = true;
            group.signal(signal)?;
        }
        match watching {
            Some(events) => cgroup::read_populated(events),
            None => Ok(false),
        }
    }

    /// Nothing of the start lives: carries the rest of its output and reports its end.
    fn finish(&mut self, epoll: &Epoll, key: u64) {
        self.ending.remove(&key);
        let Some(mut start) = self.starts.remove(&key) else { return };
        let Life::Ending { exit, at, ref watch, .. } = start.life else { return };
        self.end_execs_of(epoll, key);
        start.leaders().for_each(|pid| self.notify.forget_sender(pid, key));
        self.notify.forget(key);
        if let Some(events) = watch {
            let _gone = epoll.delete(events);
        }
        for stream in [Stream::Stdout, Stream::Stderr] {
            unwatch_pipe(epoll, &start.output, stream);
        }
        let mut said = Vec::new();
        start.output.finish(&mut self.buffer, &mut said);
        if let Some(path) = start.output.take_rotated() {
            self.packer.add(path);
        }
        self.warnings.extend(said.into_iter().map(|text| warning_of(&start.held, text)));
        self.journal.parting.extend(start.output.take_rest());
        self.let_go(epoll, &start);
        let exit = match (exit, &start.group) {
            // We have not killed it, so somebody else has: the kernel, if it says so.
            (Exit::Signal(nix::libc::SIGKILL), Some(group))
                if !start.kill && group.oom_killed() =>
            {
                Exit::OomKilled
            }
            _ => exit,
        };
        self.remove_group(start.group.take());
        let id = start.held.id;
        start.held.ended = true;
        self.ids.insert(id, Known::Ended(Some(Box::new(start.held))));
        self.outbox.push(Outcome::Exited { id, exit, at });
    }

    fn warn(&mut self, key: u64, text: String) {
        if let Some(start) = self.starts.get(&key) {
            self.warnings.push(warning_of(&start.held, text));
        }
    }

    /// Removes what the runner has made for itself, at its end.
    pub(super) fn clean_up(&mut self) {
        self.packer.stop();
        if let Some(cgroups) = self.cgroups.as_mut() {
            cgroups.remove_all();
        }
    }
}

fn warning_of(held: &Held, message: String) -> Notice {
    let (unit, instance) = (held.unit.clone(), held.instance.clone());
    Notice::Warning { unit, instance, message, controller: None }
}

fn watch(epoll: &Epoll, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
    Ok(epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, token))?)
}

fn unwatch_pipe(epoll: &Epoll, output: &Output, stream: Stream) {
    for (_, pipe) in output.pipes().filter(|(of, _)| *of == stream) {
        let _gone = epoll.delete(pipe);
    }
}
