//! What has been seen from outside so far, and the little that all invariants ask of it.
//!
//! Responsible for remembering, once for all invariants: which start is whose, which the core asked
//! to end, which ends it was told of, what each unit is to be. Must not judge.

use super::Fault;
use super::ledger::Ledgers;
use super::tally::Tallies;
use crate::core::Core;
use crate::core::action::{Action, Spawn};
use crate::core::event::{Event, Exit};
use crate::core::id::{InstanceId, UnitKey};
use crate::core::report::{Reason, Report};
use crate::core::request::{Request, Target};
use crate::core::spec::{InstanceTemplate, UnitSpec};
use crate::core::time::{Millis, Wall};
use crate::sim::machine::{Machine, Process};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a unit is to be, as the core says since its last change.
#[derive(Clone, Debug)]
pub(in super::super) struct Known {
    /// The spec in force.
    pub(super) spec: UnitSpec,
    /// It is to run: nobody stopped or removed it, and this node may have it.
    pub(super) on: bool,
    /// The cronjob that made it.
    pub(super) owner: Option<UnitKey>,
    /// When it was first applied.
    pub(super) created: Wall,
}

/// Where an instance belongs, from what its starts were given.
#[derive(Clone, Debug)]
pub(in super::super) struct Place {
    pub(super) unit: UnitKey,
    pub(super) instance: String,
    /// Statefulset: ordinal. Indexed job: index.
    pub(super) index: Option<u32>,
    /// The node.
    pub(super) node: Option<String>,
    pub(super) template: Arc<InstanceTemplate>,
    /// Its latest start.
    pub(super) generation: u32,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(in super::super) struct Facts {
    /// The core asked these starts to end, before the present turn.
    pub(super) ending: BTreeSet<InstanceId>,
    /// The present daemon sent the stop signal to these.
    pub(super) warned_by_this: BTreeSet<InstanceId>,
    /// The core was told of these ends.
    pub(super) known_ends: BTreeSet<InstanceId>,
    /// The core was told that these could not be started.
    pub(super) refused: BTreeSet<InstanceId>,
    /// When, in the world's time, the core was told of these starts.
    pub(super) known_starts: BTreeMap<InstanceId, u64>,
    /// Instances by slot, from their first start until they are gone.
    pub(super) places: BTreeMap<u64, Place>,
    names: BTreeMap<(UnitKey, String), u64>,
    /// Units that depended on others at some time. Instances of them may have been made long before
    /// their first start, which is when they are seen from outside.
    pub(super) waiters: BTreeSet<UnitKey>,
    /// All units.
    pub(super) units: BTreeMap<UnitKey, Known>,
    /// The nodes that the core was told of.
    pub(super) nodes: BTreeMap<UnitKey, BTreeSet<String>>,
    /// Operators concerned themselves with these in the events of the coming turn.
    pub(super) meddled: BTreeSet<UnitKey>,
    /// Jobs.
    pub(super) jobs: Ledgers,
    /// Answers of probes and hooks.
    pub(super) tallies: Tallies,
    /// Everything is on its way out.
    pub(super) shutdown: bool,
    stale: bool,
}

/// What one turn of the daemon brought, beside its events and effects.
#[derive(Debug, Default)]
pub(in super::super) struct News {
    /// Instances that are started for the first time.
    pub(super) created: Vec<u64>,
    /// Starts that are asked to end from now.
    pub(super) ending: BTreeSet<InstanceId>,
    /// Those of them that a controller or an operator wishes gone; the others are to be started
    /// again in place.
    pub(super) wished: BTreeSet<InstanceId>,
    /// Starts that are asked to end because a probe or a hook found them unfit, and why.
    pub(super) unfit: Vec<(InstanceId, String)>,
    /// Starts that are not ready any more.
    pub(super) unready: Vec<InstanceId>,
    /// Ends that the core was told of, each once.
    pub(super) ends: Vec<(InstanceId, Exit)>,
    /// Refused starts that the core was told of, each once.
    pub(super) refusals: Vec<InstanceId>,
    /// Units that something happened to.
    pub(super) touched: BTreeSet<UnitKey>,
    /// The specs in force may have changed.
    pub(super) specs: bool,
    /// Instances that are gone for good.
    gone: Vec<u64>,
}

impl News {
    /// The instance is gone for good from now.
    pub(super) fn is_gone(&self, slot: u64) -> bool {
        self.gone.contains(&slot)
    }
}

impl Facts {
    pub(super) fn before_event(&mut self, core: &Core, event: &Event) {
        match event {
            Event::Units(_) => self.stale = true,
            Event::Request(request) => {
                self.stale = true;
                self.note_request(core, request);
            }
            Event::Shutdown => {
                self.shutdown = true;
                self.meddled.extend(self.units.keys().cloned());
            }
            Event::NodesChanged { unit, nodes } => {
                self.nodes.insert(unit.clone(), nodes.keys().cloned().collect());
            }
            Event::Tick
            | Event::ClockStepped
            | Event::Spawned { .. }
            | Event::SpawnFailed { .. }
            | Event::Exited { .. }
            | Event::HookDone { .. }
            | Event::ProbeDone { .. }
            | Event::ProbeTold { .. }
            | Event::WatchdogFed { .. }
            | Event::StatusTold { .. }
            | Event::Announced { .. }
            | Event::PortTaken { .. }
            | Event::DataRemoved { .. } => {}
        }
        self.jobs.before_event(&self.meddled, event);
    }

    fn note_request(&mut self, core: &Core, request: &Request) {
        let key = match request {
            Request::Start(target)
            | Request::Stop(target)
            | Request::Restart(target)
            | Request::Delete(target)
            | Request::Reload(target)
            | Request::Signal(target, _) => match target {
                Target::Unit(key) => Some(key.clone()),
                Target::Instance(name) => core.instance(name).map(|view| view.unit),
            },
            Request::Scale(key, _)
            | Request::Undo(key, _)
            | Request::Pause(key)
            | Request::ResumeRollout(key)
            | Request::RolloutRestart(key)
            | Request::Suspend(key)
            | Request::Resume(key)
            | Request::Trigger(key, _) => Some(key.clone()),
        };
        let Some(key) = key else { return };
        // What happens to a cronjob happens to its jobs, and the other way round.
        let owner = self.units.get(&key).and_then(|known| known.owner.clone());
        let jobs = self.units.iter().filter(|(_, known)| known.owner.as_ref() == Some(&key));
        let jobs: Vec<UnitKey> = jobs.map(|(job, _)| job.clone()).collect();
        self.meddled.extend(jobs);
        self.meddled.extend(owner);
        self.meddled.insert(key);
    }

    /// Takes in what a turn's events and effects say.
    pub(super) fn turn(
        &mut self,
        core: &Core,
        machine: &Machine,
        at: u64,
        batch: &[(Event, Option<u64>)],
        effects: &[Action],
    ) -> News {
        let mut news = News { specs: std::mem::take(&mut self.stale), ..News::default() };
        for (event, _) in batch {
            self.hear(event, at, &mut news);
            self.tallies.hear(event, at);
        }
        for action in effects {
            self.see(action, &mut news);
            self.tallies.see(action, at);
        }
        if news.specs {
            self.refresh(core);
        }
        let mut jobs = std::mem::take(&mut self.jobs);
        jobs.turn(self, machine, effects, &news);
        self.jobs = jobs;
        news
    }

    /// The turn is over: what was news is so from now.
    pub(super) fn turned(&mut self, core: &Core, effects: &[Action], news: News) {
        self.jobs.turned(core, &news);
        self.ending.extend(news.ending);
        self.meddled.clear();
        for slot in news.gone {
            self.places.remove(&slot);
        }
        let places = &self.places;
        self.tallies.turned(effects, |id| {
            places.get(&id.slot).is_some_and(|place| place.generation == id.generation)
        });
    }

    fn hear(&mut self, event: &Event, at: u64, news: &mut News) {
        let id = match event {
            Event::Spawned { id, .. } => {
                self.known_starts.entry(*id).or_insert(at);
                id
            }
            Event::Exited { id, exit, .. } => {
                // It may be told once more.
                if self.known_ends.insert(*id) {
                    news.ends.push((*id, *exit));
                }
                id
            }
            Event::SpawnFailed { id, .. } => {
                if self.refused.insert(*id) {
                    news.refusals.push(*id);
                }
                id
            }
            Event::HookDone { id, .. }
            | Event::ProbeDone { id, .. }
            | Event::ProbeTold { id, .. }
            | Event::WatchdogFed { id, .. }
            | Event::StatusTold { id, .. }
            | Event::Announced { id, .. }
            | Event::PortTaken { id, .. } => id,
            Event::NodesChanged { unit, .. } | Event::DataRemoved { unit, .. } => {
                news.touched.insert(unit.clone());
                return;
            }
            Event::Tick
            | Event::ClockStepped
            | Event::Units(_)
            | Event::Request(_)
            | Event::Shutdown => return,
        };
        if let Some(place) = self.places.get(&id.slot) {
            news.touched.insert(place.unit.clone());
        }
    }

    fn see(&mut self, action: &Action, news: &mut News) {
        match action {
            Action::Spawn(spawn) => self.see_spawn(spawn, news),
            Action::Terminate { id, .. } => {
                news.ending.insert(*id);
                self.warned_by_this.insert(*id);
            }
            Action::Report(report) => self.see_report(report, news),
            Action::UnitGone { unit } => {
                news.touched.insert(unit.clone());
                // A unit of the same name may be made in the same turn.
                news.specs = true;
            }
            Action::InstanceGone { unit, instance } => {
                news.touched.insert(unit.clone());
                news.gone.extend(self.names.remove(&(unit.clone(), instance.clone())));
            }
            Action::Hook(_)
            | Action::Probe(_)
            | Action::KillTree { .. }
            | Action::Signal { .. }
            | Action::Put(_)
            | Action::Drop { .. }
            | Action::RemoveData { .. }
            | Action::CannotStart { .. }
            | Action::WatchNodes { .. }
            | Action::Sockets { .. }
            | Action::ShutdownComplete => {}
        }
    }

    fn see_spawn(&mut self, spawn: &Spawn, news: &mut News) {
        news.touched.insert(spawn.unit.clone());
        if let Some(place) = self.places.get_mut(&spawn.id.slot) {
            place.generation = spawn.id.generation;
            return;
        }
        let var = |wanted: &str| {
            spawn.vars.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.clone())
        };
        news.created.push(spawn.id.slot);
        // A job that a cronjob has just made.
        news.specs |= !self.units.contains_key(&spawn.unit);
        self.names.insert((spawn.unit.clone(), spawn.instance.clone()), spawn.id.slot);
        self.places.insert(
            spawn.id.slot,
            Place {
                unit: spawn.unit.clone(),
                instance: spawn.instance.clone(),
                index: var("WSUP_ORDINAL").and_then(|value| value.parse().ok()),
                node: var("WSUP_NODE"),
                template: Arc::clone(&spawn.template),
                generation: spawn.id.generation,
            },
        );
    }

    fn see_report(&mut self, report: &Report, news: &mut News) {
        if let Some(unit) = &report.unit {
            news.touched.insert(unit.clone());
        }
        news.specs |= report.reason == Reason::JobCreated;
        if !matches!(report.reason, Reason::InstanceStopping | Reason::InstanceUnready) {
            return;
        }
        let name = report.unit.clone().zip(report.instance.clone());
        let slot = name.and_then(|name| self.names.get(&name));
        if let Some((slot, place)) = slot.and_then(|slot| Some((*slot, self.places.get(slot)?))) {
            let id = InstanceId { slot, generation: place.generation };
            if report.reason == Reason::InstanceUnready {
                news.unready.push(id);
                return;
            }
            news.ending.insert(id);
            // One that a probe or a hook found unfit is told of with the reason first.
            if report.message.starts_with("asked to end") {
                news.wished.insert(id);
            } else {
                news.unfit.push((id, report.message.clone()));
            }
        }
    }

    fn refresh(&mut self, core: &Core) {
        self.units.clear();
        for view in core.units() {
            let Some(spec) = core.spec(&view.key) else { continue };
            let on = !(view.stopped || view.deleting || view.not_selected);
            if !spec.depends_on.is_empty() {
                self.waiters.insert(view.key.clone());
            }
            let known = Known { spec, on, owner: view.owner, created: view.created_at };
            self.units.insert(view.key, known);
        }
    }

    pub(super) fn fault(&mut self, machine: &Machine, fault: &Fault) {
        self.jobs.fault(fault);
        self.tallies.fault(machine, fault);
        match fault {
            Fault::Rebooted => {
                self.ending.clear();
                self.known_ends.clear();
                self.known_starts.clear();
                self.refused.clear();
                self.places.clear();
                self.names.clear();
            }
            Fault::DaemonStarted => {
                self.stale = true;
                self.nodes.clear();
            }
            Fault::DaemonDied => {
                // What it was about to send is lost with it.
                self.warned_by_this.clear();
                self.meddled.clear();
                self.shutdown = false;
            }
            Fault::ClockStepped { .. } | Fault::DataGoing(_) | Fault::DataGone(_) => {}
        }
    }

    /// As far as the core can know, the process is there.
    pub(super) fn believed(&self, process: &Process) -> bool {
        !self.known_ends.contains(&process.id)
    }

    /// It may be available in the core's eyes: nothing that is not so can be.
    pub(super) fn perhaps_available(&self, process: &Process, min_ready: Millis, at: u64) -> bool {
        process.main
            && self.believed(process)
            && !self.ending.contains(&process.id)
            && at.saturating_sub(process.born) >= min_ready.0
    }

    /// It must be available in the core's eyes, before the present turn.
    pub(super) fn surely_available(&self, process: &Process, min_ready: Millis, at: u64) -> bool {
        let told = self.known_starts.get(&process.id);
        let plain = self.places.get(&process.id.slot).is_some_and(|place| {
            let template = &place.template;
            template.startup.is_none()
                && template.readiness.is_none()
                && template.lifecycle.post_start.is_none()
        });
        plain
            && self.perhaps_available(process, min_ready, at)
            && told.is_some_and(|told| at.saturating_sub(*told) >= min_ready.0)
    }

    /// The processes of a unit that are there in the core's eyes.
    pub(super) fn believed_of<'m>(
        &'m self,
        machine: &'m Machine,
        unit: &'m UnitKey,
    ) -> impl Iterator<Item = &'m Process> {
        machine.processes.values().filter(move |p| p.unit == *unit && self.believed(p))
    }
}
