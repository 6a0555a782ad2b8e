//! The life of one instance: init steps, start, hooks and probes, restart with back-off, the stop
//! ladder.
//!
//! Responsible for the state machine `step(input)`; every pair of state and input is decided in a
//! match without a wildcard over states. `begin` is the way to a start, `health` the way from a start
//! to ready, `stop` the way to the end. What is not true in a state cannot be read in it: process
//! numbers, deadlines and reasons are inside the variants. Must not know controllers, units'
//! specs beyond the template, or the outside world: it answers with [`Effect`]s.

mod announced;
mod begin;
mod health;
#[cfg(test)]
mod health_tests;
mod observed;
pub mod probe;
#[cfg(test)]
mod probe_tests;
pub mod restart;
pub mod stop;
#[cfg(test)]
mod tests;
mod watchdog;
mod words;

use super::action::{Hook, Step};
use super::event::{Announcement, Exit};
use super::guard::Hold;
use super::id::{InstanceId, UnitKey};
use super::report::{Field, Reason};
use super::spec::{InstanceTemplate, RestartPolicy};
use super::time::{Mono, Now, Wall};
use super::workload::{Identity, Note, Phase, SetId};
use probe::{Answer, Probes};
use restart::{Streak, Verdict};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use std::sync::Arc;
use stop::{Rung, Then};
use words::exit_note;

/// The exit code that stands for a program that could not be started, as in POSIX shells.
pub const START_FAILED: i32 = 127;

/// How a program ended last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// How.
    pub exit: Exit,
    /// When, for durations.
    pub at: Mono,
    /// When, for people.
    pub wall: Wall,
}

/// Why an instance has no process and waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    /// It was just made.
    New,
    /// An operator stopped it.
    Held,
    /// What its unit depends on is not there.
    Dependencies,
}

/// Which program, in a form that can be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    /// The init step of this number.
    Init(usize),
    /// The main program.
    Main,
}

impl From<Program> for Step {
    fn from(program: Program) -> Step {
        match program {
            Program::Init(step) => Step::Init(step),
            Program::Main => Step::Main,
        }
    }
}

/// Where an instance is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// No process yet.
    Pending {
        /// Why.
        why: Waiting,
    },
    /// A spawn was asked for and is not answered yet.
    Starting {
        /// Of which program.
        program: Program,
    },
    /// An init step runs.
    Init {
        /// Which.
        step: usize,
        /// Its process.
        pid: u32,
    },
    /// The main program runs, and its `post_start` hook has not returned yet.
    PostStart {
        /// Its process.
        pid: u32,
        /// Since when.
        since: Mono,
        /// The same by the wall clock.
        since_wall: Wall,
        /// When the hook counts as failed.
        until: Mono,
    },
    /// The main program runs.
    Running {
        /// Its process.
        pid: u32,
        /// Since when.
        since: Mono,
        /// The same by the wall clock.
        since_wall: Wall,
        /// Since when it does its work; `None`: not yet, or not at the moment.
        ready_since: Option<Mono>,
        /// Its probes, if it has any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        probes: Option<Box<Probes>>,
    },
    /// It is being stopped; its process, or what that left behind, still lives.
    Stopping {
        /// The process, once it is known.
        pid: Option<u32>,
        /// How far that has come.
        rung: Rung,
        /// What follows.
        then: Then,
        /// Its program has asked to be waited for until then before it is killed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        extended: Option<Mono>,
    },
    /// It waits before the next start.
    Backoff {
        /// Until when.
        until: Mono,
        /// Of which program.
        program: Program,
    },
    /// It may begin again as soon as the storm guard lets it.
    Queued {
        /// Since when.
        since: Mono,
        /// With which program.
        program: Program,
    },
    /// Its program exited 0 and is not started again.
    Succeeded,
    /// Its program failed and is not started again.
    Failed {
        /// Why, for people.
        message: String,
    },
    /// It was restarted more often than `[restart] limit` allows.
    GaveUp,
}

/// One instance. It is remembered as it is, but for its template, which its unit remembers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Instance {
    /// Its number.
    pub slot: u64,
    /// Its name.
    pub name: SmolStr,
    /// The unit it belongs to.
    pub unit: UnitKey,
    /// The stored template it was made from.
    pub set: SetId,
    /// That template.
    #[serde(skip)]
    pub template: Arc<InstanceTemplate>,
    /// What makes it more than one of many.
    pub identity: Identity,
    /// When it was made.
    pub created: Now,
    /// Counts its starts.
    pub generation: u32,
    /// How often the main program was started again in place.
    pub restarts: u32,
    /// Memory of its restarts.
    pub streak: Streak,
    /// How a program of it ended last.
    pub last_end: Option<End>,
    /// Why a start failed last, until one succeeds.
    pub last_failure: Option<String>,
    /// All init steps are done.
    pub initialised: bool,
    /// It is on its way out.
    pub leaving: bool,
    /// An operator keeps it stopped.
    pub held: bool,
    /// Its ports, in the order of the template's; empty before its first start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// Where it is in its life.
    pub state: State,
    /// No run of it may begin: what its unit depends on is not there.
    #[serde(skip)]
    pub gated: bool,
    /// Which of its restarts the storm guard holds back; `None`: there is no guard. Not remembered: it
    /// is in the daemon's configuration.
    #[serde(skip)]
    pub guard: Option<Hold>,
    /// Probes of which its process said that all is well before they were looked at. Not remembered:
    /// a new daemon is told again.
    #[serde(skip)]
    pub early: Vec<probe::Kind>,
    /// What its process says of itself, for people (`STATUS=` of sd_notify(3)). Not remembered either.
    #[serde(skip)]
    pub says: Option<String>,
    /// Its process says that it reads its configuration anew. Not remembered either.
    #[serde(skip)]
    pub reloading: bool,
}

/// What can happen to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// It was just made and may begin, or what it depends on has come or gone.
    Begin,
    /// A start was answered.
    Spawned {
        /// The process.
        pid: u32,
    },
    /// A start was refused.
    SpawnFailed {
        /// Why.
        message: &'a str,
    },
    /// Its process and all that it left behind are gone.
    Exited {
        /// How the process ended.
        exit: Exit,
        /// When.
        at: Mono,
    },
    /// A probe was answered, or the program said by itself what the probe is about.
    Probed {
        /// Which probe.
        kind: probe::Kind,
        /// It was asked for.
        asked: bool,
        /// The answer.
        answer: Answer,
        /// Why, for people.
        message: &'a str,
    },
    /// The program gave a sign of life.
    Fed {
        /// It says that it is not well.
        trigger: bool,
    },
    /// The program says what becomes of it.
    Announced(Announcement),
    /// A hook has returned.
    HookDone {
        /// Which.
        hook: Hook,
        /// How it failed, if it did.
        failure: Option<&'a str>,
    },
    /// Its deadline has come.
    Tick,
    /// The storm guard lets it begin.
    Admitted,
    /// It is to go for good.
    Leave,
    /// An operator stops it.
    Hold,
    /// An operator starts it.
    Release,
    /// An operator wants it stopped and started again.
    Restart,
}

/// What an instance asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Start this program, as the generation the instance now has.
    Spawn(Program),
    /// Ask the process of this generation to end.
    Terminate(i32),
    /// Kill the tree of this generation.
    Kill,
    /// Ask this probe about the process of this generation.
    Probe(probe::Kind),
    /// Run this hook for the process of this generation.
    Hook(Hook),
    /// It begins to wait for what its unit depends on: tell people.
    Waits,
    /// Tell people.
    Tell(Note),
    /// It is gone for good.
    Gone,
}

impl Instance {
    /// The start that is under way or was last.
    pub fn id(&self) -> InstanceId {
        InstanceId { slot: self.slot, generation: self.generation }
    }

    /// Whether a process of it may live.
    pub fn has_process(&self) -> bool {
        match self.state {
            State::Starting { .. }
            | State::Init { .. }
            | State::PostStart { .. }
            | State::Running { .. }
            | State::Stopping { .. } => true,
            State::Pending { .. }
            | State::Backoff { .. }
            | State::Queued { .. }
            | State::Succeeded
            | State::Failed { .. }
            | State::GaveUp => false,
        }
    }

    /// Its process, if it is known.
    pub fn pid(&self) -> Option<u32> {
        match self.state {
            State::Init { pid, .. } | State::PostStart { pid, .. } | State::Running { pid, .. } => {
                Some(pid)
            }
            State::Stopping { pid, .. } => pid,
            State::Pending { .. }
            | State::Starting { .. }
            | State::Backoff { .. }
            | State::Queued { .. }
            | State::Succeeded
            | State::Failed { .. }
            | State::GaveUp => None,
        }
    }

    /// When it wants to be looked at again.
    pub fn deadline(&self) -> Option<Mono> {
        match &self.state {
            State::Stopping { rung, extended, .. } => Some(rung.due(*extended)),
            State::PostStart { until, .. } | State::Backoff { until, .. } => Some(*until),
            State::Running { probes, .. } => probes.as_ref()?.next_question(),
            State::Pending { .. }
            | State::Starting { .. }
            | State::Init { .. }
            | State::Queued { .. }
            | State::Succeeded
            | State::Failed { .. }
            | State::GaveUp => None,
        }
    }

    /// Since when it is ready.
    pub fn ready_since(&self) -> Option<Mono> {
        self.standing()?.ready_since
    }

    /// Where it is as far as a controller cares.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Succeeded => Phase::Succeeded,
            State::Failed { .. } => Phase::Failed,
            State::GaveUp => Phase::GaveUp,
            State::Pending { .. } | State::Init { .. } => Phase::Pending,
            State::Starting { program }
            | State::Backoff { program, .. }
            | State::Queued { program, .. } => match program {
                Program::Init(_) => Phase::Pending,
                Program::Main if self.restarts == 0 && self.last_end.is_none() => Phase::Pending,
                Program::Main => Phase::Running,
            },
            State::PostStart { .. } | State::Running { .. } | State::Stopping { .. } => {
                Phase::Running
            }
        }
    }

    /// Takes one step. The effects are to be carried out in their order.
    pub fn step(&mut self, now: Now, input: Input<'_>, effects: &mut Vec<Effect>) {
        match input {
            Input::Begin => self.begin(now, effects),
            Input::Spawned { pid } => self.spawned(now, pid, effects),
            Input::SpawnFailed { message } => self.spawn_failed(now, message, effects),
            Input::Exited { exit, at } => self.exited(now, exit, at, effects),
            Input::Probed { kind, asked, answer, message } => {
                self.probed(now, asked, (kind, answer), message, effects);
            }
            Input::Fed { trigger } => self.fed(now, trigger, effects),
            Input::Announced(word) => self.announced(now, word, effects),
            Input::HookDone { hook, failure } => match hook {
                Hook::PostStart => self.post_start_done(now, failure, effects),
                Hook::PreStop => self.pre_stop_done(now, failure, effects),
                Hook::Reload => effects.push(health::reloaded(failure)),
            },
            Input::Tick => self.tick(now, effects),
            Input::Admitted => self.admitted(now, effects),
            Input::Leave => {
                self.leaving = true;
                self.stop(now, effects);
            }
            Input::Hold => {
                self.held = true;
                self.stop(now, effects);
            }
            Input::Release => self.release(effects),
            Input::Restart => self.restart(now, effects),
        }
    }

    fn spawned(&mut self, now: Now, pid: u32, effects: &mut Vec<Effect>) {
        match &mut self.state {
            State::Starting { program: Program::Init(step) } => {
                self.state = State::Init { step: *step, pid };
                self.last_failure = None;
            }
            State::Starting { program: Program::Main } => {
                self.last_failure = None;
                self.started(now, pid, effects);
            }
            // The wish to stop came first; the runner has the stop signal already.
            State::Stopping { pid: known, .. } => *known = Some(pid),
            State::Pending { .. }
            | State::Init { .. }
            | State::PostStart { .. }
            | State::Running { .. }
            | State::Backoff { .. }
            | State::Queued { .. }
            | State::Succeeded
            | State::Failed { .. }
            | State::GaveUp => {}
        }
    }

    fn spawn_failed(&mut self, now: Now, message: &str, effects: &mut Vec<Effect>) {
        match self.state {
            State::Starting { program } => {
                self.last_failure = Some(message.to_owned());
                effects.push(Effect::Tell(Note::warning(Reason::InstanceStartFailed, message)));
                // A shell's word for a program that it could not start; for controllers it is a
                // failed run like any other.
                let exit = Exit::Code(START_FAILED);
                self.last_end = Some(End { exit, at: now.mono, wall: now.wall });
                self.after_end(now, program, exit, now.mono, message, effects);
            }
            State::Stopping { .. } => self.stopped(now, Then::Wish, None, effects),
            State::Pending { .. }
            | State::Init { .. }
            | State::PostStart { .. }
            | State::Running { .. }
            | State::Backoff { .. }
            | State::Queued { .. }
            | State::Succeeded
            | State::Failed { .. }
            | State::GaveUp => {}
        }
    }

    fn exited(&mut self, now: Now, exit: Exit, at: Mono, effects: &mut Vec<Effect>) {
        let wall = now.wall.minus(now.mono.since(at));
        match self.state {
            // An end before its start was heard of: the daemon was away in between.
            State::Starting { program } => {
                self.program_ended(now, program, exit, at, wall, effects)
            }
            State::Init { step, .. } => {
                self.program_ended(now, Program::Init(step), exit, at, wall, effects);
            }
            State::PostStart { .. } | State::Running { .. } => {
                self.program_ended(now, Program::Main, exit, at, wall, effects);
            }
            State::Stopping { then, .. } => {
                self.last_end = Some(End { exit, at, wall });
                self.stopped(now, then, Some((exit, at, wall)), effects);
            }
            State::Pending { .. }
            | State::Backoff { .. }
            | State::Queued { .. }
            | State::Succeeded
            | State::Failed { .. }
            | State::GaveUp => {}
        }
    }

    fn program_ended(
        &mut self,
        now: Now,
        program: Program,
        exit: Exit,
        at: Mono,
        wall: Wall,
        effects: &mut Vec<Effect>,
    ) {
        self.last_end = Some(End { exit, at, wall });
        let step = match program {
            Program::Init(step) => Some(step),
            Program::Main => None,
        };
        effects.push(Effect::Tell(exit_note(exit, step)));
        let what = match step {
            Some(step) => format!("init step {} ended with {exit}", step + 1),
            None => format!("ended with {exit}"),
        };
        self.after_end(now, program, exit, at, &what, effects);
    }

    fn after_end(
        &mut self,
        now: Now,
        program: Program,
        exit: Exit,
        at: Mono,
        what: &str,
        effects: &mut Vec<Effect>,
    ) {
        if let Program::Init(step) = program
            && exit.is_success()
        {
            let next = step + 1;
            self.initialised = next >= self.template.init.len();
            self.spawn(if self.initialised { Program::Main } else { Program::Init(next) }, effects);
            return;
        }
        let mut restart = self.template.restart;
        if matches!(program, Program::Init(_)) && restart.policy == RestartPolicy::Always {
            // computeInitContainerActions: Always acts as OnFailure for init steps.
            restart.policy = RestartPolicy::OnFailure;
        }
        match self.streak.judge(&restart, exit, at, now.mono) {
            Verdict::Again(until) if until <= now.mono => self.start_again(now, program, effects),
            Verdict::Again(until) => {
                let delay = until.since(now.mono);
                self.state = State::Backoff { until, program };
                effects.push(Effect::Tell(
                    Note::warning(Reason::BackOff, format!("{what}; next start in {delay}"))
                        .with("delay", Field::Text(delay.to_string())),
                ));
            }
            Verdict::Succeeded => self.state = State::Succeeded,
            Verdict::Failed => self.state = State::Failed { message: what.to_owned() },
            Verdict::GaveUp => {
                self.state = State::GaveUp;
                effects.push(Effect::Tell(Note::warning(
                    Reason::InstanceFailed,
                    format!("{what}; restarted too often, waits for `start` or `restart`"),
                )));
            }
        }
    }

    fn tick(&mut self, now: Now, effects: &mut Vec<Effect>) {
        match &mut self.state {
            State::Backoff { until, program } if *until <= now.mono => {
                let program = *program;
                self.start_again(now, program, effects);
            }
            State::PostStart { .. } => self.post_start_late(now, effects),
            State::Running { .. } => self.heed(now, effects),
            State::Stopping { .. } => self.next_rung(now, effects),
            State::Pending { .. }
            | State::Starting { .. }
            | State::Init { .. }
            | State::Backoff { .. }
            | State::Queued { .. }
            | State::Succeeded
            | State::Failed { .. }
            | State::GaveUp => {}
        }
    }

    fn restart(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.held = false;
        match self.state {
            State::Starting { .. }
            | State::Init { .. }
            | State::PostStart { .. }
            | State::Running { .. }
            | State::Stopping { .. } => self.stop(now, effects),
            State::Pending { .. }
            | State::Backoff { .. }
            | State::Queued { .. }
            | State::GaveUp => self.release(effects),
            State::Succeeded | State::Failed { .. } => {}
        }
    }
}
