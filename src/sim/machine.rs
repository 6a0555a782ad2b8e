//! The made-up machine below the daemon: a runner and its processes.
//!
//! Responsible for what a process does once it was started, and for what the runner tells of it:
//! each start gives one `Spawned` or `SpawnFailed`, and after a `Spawned` one `Exited` when
//! nothing of it lives, kept until the daemon has taken it to heart. Must not know the core.

use super::random::Random;
use crate::core::action::{DataDir, Spawn, Step};
use crate::core::event::{Event, Exit, Living};
use crate::core::id::{InstanceId, UnitKey};
use crate::core::instance::probe::{self, Answer};
use crate::core::spec::InstanceTemplate;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// SIGKILL.
pub(super) const KILL: i32 = 9;

/// What a process does by itself and when asked to end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Temper {
    /// It ends by itself after so long, in this way.
    pub(super) ends: Option<(u64, Exit)>,
    /// It does its work so long after its start; `None`: never. For its probes.
    pub(super) ready_in: Option<u64>,
    /// It ends so long after the stop signal; `None`: it ignores it.
    pub(super) stops_in: Option<(u64, Exit)>,
    /// It leaves something behind that lives until it is killed, or so long.
    pub(super) leaves: Option<u64>,
    /// How long SIGKILL takes.
    pub(super) kill_takes: u64,
}

/// A process, or what it left behind.
#[derive(Clone, Debug)]
pub(super) struct Process {
    /// Which start.
    pub(super) id: InstanceId,
    /// The unit it belongs to.
    pub(super) unit: UnitKey,
    /// The instance it belongs to.
    pub(super) instance: String,
    /// It is the main program, not an init step.
    pub(super) main: bool,
    /// Statefulset: ordinal. Indexed job: index.
    pub(super) index: Option<u32>,
    /// What it was made from.
    pub(super) template: Arc<InstanceTemplate>,
    /// Its data directory.
    pub(super) data: Option<DataDir>,
    /// Its number.
    pub(super) pid: u32,
    /// When it was started, in the world's milliseconds.
    pub(super) born: u64,
    /// What it is like.
    pub(super) temper: Temper,
    /// How and when the main process ended.
    pub(super) ended: Option<(Exit, u64)>,
    /// Nothing of it lives any more.
    pub(super) gone: bool,
    /// It was asked to end or killed by the daemon.
    pub(super) asked: bool,
    /// The stop signal came.
    pub(super) warned: bool,
    /// SIGKILL came.
    pub(super) killed: bool,
}

/// What the runner is told to do.
#[derive(Clone, Debug)]
pub(super) enum Command {
    Spawn(Box<Spawn>),
    Terminate(InstanceId, i32),
    Kill(InstanceId),
    Signal(InstanceId, i32),
}

impl Command {
    pub(super) fn slot(&self) -> u64 {
        match self {
            Command::Spawn(spawn) => spawn.id.slot,
            Command::Terminate(id, _) | Command::Kill(id) | Command::Signal(id, _) => id.slot,
        }
    }
}

/// What will happen to a process later.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// Its main process ends.
    MainEnds(InstanceId, Exit),
    /// What it left behind ends.
    RestEnds(InstanceId),
    /// It says that it does its work, where a probe waits for its word.
    Tells(InstanceId, probe::Kind),
}

/// Runner and processes.
#[derive(Clone, Debug, Default)]
pub(super) struct Machine {
    /// Every start whose end no daemon has acknowledged.
    pub(super) processes: BTreeMap<InstanceId, Process>,
    /// Events that no daemon has acknowledged, by number, in order.
    pub(super) unacked: VecDeque<(u64, Event)>,
    next_event: u64,
    next_pid: u32,
}

/// What came of a command: fates with their delays, and the numbers of new events.
#[derive(Debug, Default)]
pub(super) struct Consequences {
    pub(super) fates: Vec<(u64, Fate)>,
    pub(super) events: Vec<u64>,
    pub(super) started: Option<InstanceId>,
}

impl Machine {
    fn tell(&mut self, event: Event, consequences: &mut Consequences) {
        self.next_event += 1;
        self.unacked.push_back((self.next_event, event));
        consequences.events.push(self.next_event);
    }

    /// The event of this number, if it is not acknowledged yet.
    pub(super) fn event(&self, number: u64) -> Option<&Event> {
        self.unacked.iter().find(|(n, _)| *n == number).map(|(_, event)| event)
    }

    /// The daemon has taken this event to heart.
    pub(super) fn acknowledge(&mut self, number: u64) {
        let Some(at) = self.unacked.iter().position(|(n, _)| *n == number) else { return };
        if let Some((_, Event::Exited { id, .. })) = self.unacked.remove(at) {
            self.processes.remove(&id);
        }
    }

    /// What the runner answers to a new daemon: every start it holds, ended ones included.
    pub(super) fn held(&self) -> Vec<Living> {
        self.processes.values().map(|p| Living { id: p.id, pid: p.pid }).collect()
    }

    /// Starts whose refusal the daemon has not acknowledged.
    pub(super) fn refused(&self) -> Vec<InstanceId> {
        self.unacked
            .iter()
            .filter_map(|(_, event)| match event {
                Event::SpawnFailed { id, .. } => Some(*id),
                _ => None,
            })
            .collect()
    }

    /// Carries out a command at `now`. `temper`: what the process to be started is like; `None`:
    /// it cannot be started.
    pub(super) fn obey(
        &mut self,
        now: u64,
        command: Command,
        temper: Option<Temper>,
        random: &mut Random,
    ) -> Consequences {
        let mut consequences = Consequences::default();
        match command {
            Command::Spawn(spawn) => self.start(now, *spawn, temper, &mut consequences),
            Command::Terminate(id, signal) => {
                if let Some(process) = self.processes.get_mut(&id).filter(|p| !p.gone) {
                    process.asked = true;
                    process.warned = true;
                    if process.ended.is_none() {
                        let (after, exit) = match process.temper.stops_in {
                            Some(stop) => stop,
                            None => return consequences,
                        };
                        let exit =
                            if exit == Exit::Signal(15) { Exit::Signal(signal) } else { exit };
                        consequences.fates.push((after, Fate::MainEnds(id, exit)));
                    }
                }
            }
            Command::Kill(id) => {
                if let Some(process) = self.processes.get_mut(&id).filter(|p| !p.gone) {
                    process.asked = true;
                    process.killed = true;
                    let after = process.temper.kill_takes;
                    if process.ended.is_none() {
                        consequences.fates.push((after, Fate::MainEnds(id, Exit::Signal(KILL))));
                    }
                    consequences.fates.push((after, Fate::RestEnds(id)));
                }
            }
            Command::Signal(id, signal) => {
                let lives = self.processes.get(&id).is_some_and(|p| p.ended.is_none());
                if lives && (signal == KILL || random.coin()) {
                    consequences.fates.push((0, Fate::MainEnds(id, Exit::Signal(signal))));
                }
            }
        }
        consequences
    }

    fn start(&mut self, now: u64, spawn: Spawn, temper: Option<Temper>, out: &mut Consequences) {
        if self.processes.contains_key(&spawn.id) {
            return;
        }
        let Some(temper) = temper else {
            let message = "no such file or directory".to_owned();
            self.tell(Event::SpawnFailed { id: spawn.id, message }, out);
            return;
        };
        self.next_pid += 1;
        let (id, pid) = (spawn.id, 1_000 + self.next_pid);
        let index = spawn
            .vars
            .iter()
            .find(|(name, _)| *name == "WSUP_ORDINAL")
            .and_then(|(_, value)| value.parse().ok());
        self.processes.insert(
            id,
            Process {
                id,
                unit: spawn.unit.clone(),
                instance: spawn.instance.clone(),
                main: spawn.step == Step::Main,
                index,
                template: Arc::clone(&spawn.template),
                data: spawn.data_dir.clone(),
                pid,
                born: now,
                temper,
                ended: None,
                gone: false,
                asked: false,
                warned: false,
                killed: false,
            },
        );
        self.tell(Event::Spawned { id, pid }, out);
        out.started = Some(id);
        if let Some((after, exit)) = temper.ends {
            out.fates.push((after, Fate::MainEnds(id, exit)));
        }
        for kind in [probe::Kind::Startup, probe::Kind::Readiness] {
            let waits = kind.spec(&spawn.template).is_some_and(|spec| spec.handler.is_pushed());
            if let (true, Some(after)) = (waits && spawn.step == Step::Main, temper.ready_in) {
                out.fates.push((after, Fate::Tells(id, kind)));
            }
        }
    }

    /// What a probe of this process is answered at `now`: nothing if it does not run.
    pub(super) fn probe(&self, now: u64, id: InstanceId, kind: probe::Kind) -> Option<Answer> {
        let process = self.processes.get(&id).filter(|p| p.ended.is_none())?;
        let ready = process.temper.ready_in.is_some_and(|after| now >= process.born + after);
        Some(match kind {
            probe::Kind::Liveness => Answer::Success,
            probe::Kind::Startup | probe::Kind::Readiness if ready => Answer::Success,
            probe::Kind::Startup | probe::Kind::Readiness => Answer::Failure,
        })
    }

    /// Lets something happen to a process. `mono`: the clock that goes into reports, by the
    /// world's time.
    pub(super) fn befall(
        &mut self,
        now: u64,
        fate: Fate,
        mono: impl Fn(u64) -> crate::core::time::Mono,
    ) -> Consequences {
        let mut consequences = Consequences::default();
        let (Fate::MainEnds(id, _) | Fate::RestEnds(id) | Fate::Tells(id, _)) = fate;
        let Some(process) = self.processes.get_mut(&id).filter(|p| !p.gone) else {
            return consequences;
        };
        match fate {
            Fate::MainEnds(id, exit) => {
                if process.ended.is_some() {
                    return consequences;
                }
                process.ended = Some((exit, now));
                match process.temper.leaves {
                    // Without a wish to stop, the runner kills at once what was left behind.
                    Some(_) if !process.asked => {
                        let after = process.temper.kill_takes;
                        consequences.fates.push((after, Fate::RestEnds(id)));
                        return consequences;
                    }
                    Some(rest) if !process.killed => {
                        consequences.fates.push((rest, Fate::RestEnds(id)));
                        return consequences;
                    }
                    Some(_) | None => {}
                }
            }
            Fate::Tells(id, kind) => {
                if process.ended.is_none() {
                    let message = "said that it is ready".to_owned();
                    let answer = Answer::Success;
                    self.tell(Event::ProbeTold { id, kind, answer, message }, &mut consequences);
                }
                return consequences;
            }
            Fate::RestEnds(_) if process.ended.is_none() => return consequences,
            Fate::RestEnds(_) => {}
        }
        process.gone = true;
        if let Some((exit, at)) = process.ended {
            self.tell(Event::Exited { id, exit, at: mono(at) }, &mut consequences);
        }
        consequences
    }

    /// The machine starts anew: nothing lives, nothing is remembered.
    pub(super) fn reboot(&mut self) {
        self.processes.clear();
        self.unacked.clear();
    }

    /// Everything that lives.
    pub(super) fn alive(&self) -> impl Iterator<Item = &Process> {
        self.processes.values().filter(|p| !p.gone)
    }
}
