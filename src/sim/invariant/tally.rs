//! What the core was told of probes and hooks, counted from outside.
//!
//! Responsible for counting answers as Kubernetes' rules say (semantics, sections 9 to 11), for each
//! start alone, and apart from `core::instance`: an answer counts if it was asked for by this daemon
//! and is about this start. A daemon's end ends its questions and hooks, and counts begin anew as with
//! a new kubelet; what was reached stays. Must not judge.

use super::Fault;
use crate::core::action::{Action, Hook, Spawn, Step};
use crate::core::event::Event;
use crate::core::id::InstanceId;
use crate::core::instance::probe::{Answer, Kind};
use crate::core::spec::InstanceTemplate;
use crate::sim::machine::Machine;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One probe of one start.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Count {
    /// Questions without an answer yet.
    pub(super) open: u32,
    /// So many successes in a row, up to now.
    pub(super) good: u32,
    /// So many failures in a row, up to now.
    pub(super) bad: u32,
    /// The successes in a row have reached their threshold at some time.
    pub(super) reached: bool,
    /// An answer came in the present turn.
    pub(super) fresh: bool,
}

impl Count {
    fn add(&mut self, answer: Answer, threshold: u32) {
        self.fresh = true;
        match answer {
            Answer::Success => (self.good, self.bad) = (self.good.saturating_add(1), 0),
            Answer::Failure => (self.good, self.bad) = (0, self.bad.saturating_add(1)),
            // It says nothing about the program, and the row goes on.
            Answer::Error => {}
        }
        self.reached |= self.good >= threshold;
    }
}

/// A hook of one start, as far as the present daemon goes.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Ran {
    /// When it was begun first, by whichever daemon.
    pub(super) since: Option<u64>,
    /// It was begun so often.
    pub(super) times: u32,
    /// It has returned.
    pub(super) done: bool,
    /// It has failed.
    pub(super) failed: bool,
}

/// One start of a main program.
#[derive(Clone, Debug)]
pub(in super::super) struct Tally {
    pub(super) template: Arc<InstanceTemplate>,
    startup: Count,
    readiness: Count,
    liveness: Count,
    pub(super) post_start: Ran,
    /// The `post_start` hook has succeeded, whoever's daemon it was.
    pub(super) announced: bool,
    pub(super) pre_stop: Ran,
    /// When the core was first told of the start.
    pub(super) known_since: Option<u64>,
    /// The core was told of it before the present turn.
    pub(super) known_before: bool,
    /// The present daemon has sent the stop signal, before the present turn.
    pub(super) signalled: bool,
}

impl Tally {
    pub(super) fn of(&self, kind: Kind) -> &Count {
        match kind {
            Kind::Startup => &self.startup,
            Kind::Readiness => &self.readiness,
            Kind::Liveness => &self.liveness,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut Count {
        match kind {
            Kind::Startup => &mut self.startup,
            Kind::Readiness => &mut self.readiness,
            Kind::Liveness => &mut self.liveness,
        }
    }

    /// The startup probe, if there is one, has succeeded.
    pub(super) fn started(&self) -> bool {
        self.template.startup.is_none() || self.startup.reached
    }
}

/// All starts of main programs with probes or hooks.
#[derive(Debug, Default)]
pub(in super::super) struct Tallies {
    starts: BTreeMap<InstanceId, Tally>,
}

impl Tallies {
    pub(super) fn get(&self, id: InstanceId) -> Option<&Tally> {
        self.starts.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&InstanceId, &Tally)> {
        self.starts.iter()
    }

    /// Takes in an event that the core was given.
    pub(super) fn hear(&mut self, event: &Event, at: u64) {
        match event {
            Event::Spawned { id, .. } => {
                if let Some(tally) = self.starts.get_mut(id) {
                    tally.known_since.get_or_insert(at);
                }
            }
            Event::ProbeDone { id, kind, answer, .. } => self.answered(*id, *kind, *answer),
            Event::ProbeTold { id, kind, answer, .. } => {
                let Some(tally) = self.starts.get_mut(id) else { return };
                let Some(spec) = kind.spec(&tally.template) else { return };
                if spec.handler.is_pushed() {
                    let threshold = spec.success_threshold;
                    tally.of_mut(*kind).add(*answer, threshold);
                }
            }
            Event::HookDone { id, hook, failure } => {
                let Some(tally) = self.starts.get_mut(id) else { return };
                let ran = match hook {
                    Hook::PostStart => &mut tally.post_start,
                    Hook::PreStop => &mut tally.pre_stop,
                    Hook::Reload => return,
                };
                (ran.done, ran.failed) = (true, failure.is_some());
                tally.announced |= *hook == Hook::PostStart && failure.is_none();
            }
            _ => {}
        }
    }

    fn answered(&mut self, id: InstanceId, kind: Kind, answer: Answer) {
        let Some(tally) = self.starts.get_mut(&id) else { return };
        let threshold = kind.spec(&tally.template).map_or(1, |spec| spec.success_threshold);
        let count = tally.of_mut(kind);
        if count.open > 0 {
            count.open -= 1;
            count.add(answer, threshold);
        }
    }

    /// Takes in what the core asks for.
    pub(super) fn see(&mut self, action: &Action, at: u64) {
        match action {
            Action::Spawn(spawn) if spawn.step == Step::Main => self.begin(spawn),
            Action::Probe(spawn) => {
                let tally = self.starts.get_mut(&spawn.id);
                if let (Some(tally), Step::Probe(kind)) = (tally, spawn.step) {
                    tally.of_mut(kind).open += 1;
                }
            }
            Action::Hook(spawn) => {
                let Some(tally) = self.starts.get_mut(&spawn.id) else { return };
                let ran = match spawn.step {
                    Step::Hook(Hook::PostStart) => &mut tally.post_start,
                    Step::Hook(Hook::PreStop) => &mut tally.pre_stop,
                    Step::Hook(Hook::Reload) | Step::Probe(_) | Step::Init(_) | Step::Main => {
                        return;
                    }
                };
                ran.since.get_or_insert(at);
                ran.times += 1;
            }
            _ => {}
        }
    }

    fn begin(&mut self, spawn: &Spawn) {
        let template = &spawn.template;
        let plain = template.startup.is_none()
            && template.readiness.is_none()
            && template.liveness.is_none()
            && template.lifecycle.post_start.is_none()
            && template.lifecycle.pre_stop.is_none();
        if plain {
            return;
        }
        let tally = Tally {
            template: Arc::clone(template),
            startup: Count::default(),
            readiness: Count::default(),
            liveness: Count::default(),
            post_start: Ran::default(),
            announced: false,
            pre_stop: Ran::default(),
            known_since: None,
            known_before: false,
            signalled: false,
        };
        self.starts.insert(spawn.id, tally);
    }

    /// The turn is over. `is_present`: it is the latest start of an instance that is there.
    pub(super) fn turned(&mut self, effects: &[Action], is_present: impl Fn(InstanceId) -> bool) {
        self.starts.retain(|id, _| is_present(*id));
        for tally in self.starts.values_mut() {
            tally.known_before = tally.known_since.is_some();
            for count in [&mut tally.startup, &mut tally.readiness, &mut tally.liveness] {
                count.fresh = false;
            }
        }
        for action in effects {
            if let Action::Terminate { id, .. } = action
                && let Some(tally) = self.starts.get_mut(id)
            {
                tally.signalled = true;
            }
        }
    }

    pub(super) fn fault(&mut self, machine: &Machine, fault: &Fault) {
        match fault {
            Fault::Rebooted => self.starts.clear(),
            Fault::DaemonDied => {
                for tally in self.starts.values_mut() {
                    for ran in [&mut tally.post_start, &mut tally.pre_stop] {
                        *ran = Ran { since: ran.since, ..Ran::default() };
                    }
                    tally.signalled = false;
                    for count in [&mut tally.startup, &mut tally.readiness, &mut tally.liveness] {
                        *count = Count { reached: count.reached, ..Count::default() };
                    }
                }
            }
            // It finds what lives, or has ended unheard of.
            Fault::DaemonStarted => {
                for (id, tally) in &mut self.starts {
                    if let Some(process) = machine.processes.get(id) {
                        tally.known_since.get_or_insert(process.born);
                        tally.known_before = true;
                    }
                }
            }
            Fault::ClockStepped { .. } | Fault::DataGoing(_) | Fault::DataGone(_) => {}
        }
    }
}
