//! Letting the controllers decide, and carrying out inside the core what they intend.
//!
//! Responsible for the turn: every unit that something happened to is reconciled until it intends
//! nothing more, then what changed is given to the store. Must not contain a rule of any kind of
//! unit.

use super::action::{Action, DataDir, Step};
use super::event::Exit;
use super::guard::Place;
use super::id::{Kind, UnitKey, UnitName};
use super::instance::{Effect, Input, Instance, State};
use super::managed::{Buried, Memory, Unit};
use super::report::Reason;
use super::spec::{UnitSpec, WorkloadSpec};
use super::time::Now;
use super::timers::Timer;
use super::workload::cronjob::ObservedJob;
use super::workload::{
    Context, Identity, Intent, Mode, NewJob, NewName, Note, Observed, Outcome, Phase, SetId,
    cronjob, daemonset, deployment, job, statefulset,
};
use super::{Config, Core, Shutdown, restore};
use smol_str::SmolStr;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One unit is reconciled at most so often in one turn. Each step makes or removes up to
/// `workload::BURST` instances, so this is far above what any unit needs; a controller that never
/// comes to rest is a fault that must not hang the daemon.
const ROUNDS_MAX: usize = 10_000;

impl Core {
    /// Lets the controllers of all units that something happened to decide, until nothing more is
    /// to be decided. To be called once after a batch of events, before the actions are taken.
    pub fn settle(&mut self, now: Now) {
        let mut touched = false;
        loop {
            while let Some(key) = self.dirty.pop_first() {
                touched = true;
                self.settle_unit(now, &key);
            }
            if !self.release_held(now) && !self.advance_shutdown() {
                break;
            }
        }
        self.tell_held(now);
        touched |= !self.changed.is_empty();
        self.store_changed_instances();
        if touched {
            self.version = self.version.saturating_add(1);
        }
    }

    pub(super) fn settle_unit(&mut self, now: Now, key: &UnitKey) {
        for _ in 0..ROUNDS_MAX {
            self.dirty.remove(key);
            let Some(outcome) = self.reconcile(now, key) else { return };
            let at_rest = outcome.intents.is_empty();
            let (gone, recheck) = (outcome.gone, outcome.recheck);
            for intent in outcome.intents {
                self.carry_out(now, key, intent);
            }
            if gone {
                self.unit_gone(now, key);
                return;
            }
            if at_rest && !self.dirty.contains(key) {
                let Some(unit) = self.units.get_mut(key) else { return };
                let recheck = recheck.map(|at| at.max(now.mono.plus(super::time::Millis(1))));
                if unit.recheck != recheck {
                    let old = std::mem::replace(&mut unit.recheck, recheck);
                    self.timers.shift(Timer::Unit(key.clone()), old, recheck);
                }
                break;
            }
        }
        let Some(unit) = self.units.get_mut(key) else { return };
        unit.store(&mut self.actions);
        if let Some(owner) = waits_for(unit).cloned()
            && self.units.contains_key(&owner)
        {
            self.dirty.insert(owner);
        }
        self.open_gate(now, key);
        self.offer(now, key);
        if self.shutdown.is_some() {
            self.release_dependencies(key);
        }
    }

    /// Whether this node's labels hold all that the unit asks for.
    pub(super) fn selected(&self, spec: &UnitSpec) -> bool {
        selected(&self.config, spec)
    }

    fn reconcile(&mut self, now: Now, key: &UnitKey) -> Option<Outcome> {
        let owner_stopped = key.kind == Kind::Job && self.owner_stopped(key);
        // What others still need is stopped after them.
        let shutdown = self.shutdown.filter(|_| !self.is_needed(key));
        let jobs = self.observe_jobs(key);
        let unit = self.units.get_mut(key)?;
        let mode = mode_of(unit, &self.config, shutdown, owner_stopped);
        let Unit { spec, kept, instances: observed, nodes, .. } = &mut **unit;
        let observed = &*observed;
        let context = Context { name: key.name.as_str(), template: &spec.template, mode, now };
        let outcome = match (&spec.workload, &mut kept.memory) {
            (WorkloadSpec::Deployment(spec), Memory::Deployment(state)) => {
                deployment::reconcile(spec, &context, state, observed)
            }
            (WorkloadSpec::StatefulSet(spec), Memory::StatefulSet(state)) => {
                statefulset::reconcile(spec, &context, state, observed)
            }
            (WorkloadSpec::DaemonSet(spec), Memory::DaemonSet(state)) => match nodes {
                Some(nodes) => daemonset::reconcile(spec, &context, state, observed, nodes),
                // Until the nodes are known nothing is missing and nothing is too many.
                None if mode == Mode::Run => Outcome::default(),
                None => daemonset::reconcile(spec, &context, state, observed, &BTreeMap::new()),
            },
            (WorkloadSpec::Job(spec), Memory::Job(state)) => {
                let busy = observed.iter().any(|o| o.active() || o.terminating);
                if kept.rerun && !busy {
                    kept.rerun = false;
                    // A job that was finished runs again: its cronjob counts it.
                    self.dirty.extend(kept.owner.clone());
                    *state = job::State::default();
                    self.dirty.insert(key.clone());
                    return Some(forget_all(observed));
                }
                job::reconcile(spec, &context, state, observed)
            }
            (WorkloadSpec::CronJob(spec), Memory::CronJob(state)) => {
                cronjob::reconcile(spec, &context, state, &jobs, kept.created, &*self.config.zones)
            }
            // A unit's memory is made from its kind, and a unit never changes its kind.
            (
                WorkloadSpec::Deployment(_)
                | WorkloadSpec::StatefulSet(_)
                | WorkloadSpec::DaemonSet(_)
                | WorkloadSpec::Job(_)
                | WorkloadSpec::CronJob(_),
                memory,
            ) => {
                *memory = Memory::new(key.kind);
                Outcome::default()
            }
        };
        Some(outcome)
    }

    /// Whether the cronjob that made this job is stopped.
    fn owner_stopped(&self, job: &UnitKey) -> bool {
        let owner = self.units.get(job).and_then(|unit| unit.kept.owner.as_ref());
        let owner = owner.and_then(|owner| self.units.get(owner));
        owner.is_some_and(|owner| owner.kept.overrides.stopped)
    }

    fn observe_jobs(&self, key: &UnitKey) -> Vec<ObservedJob> {
        if key.kind != Kind::CronJob {
            return Vec::new();
        }
        // Its own jobs, and those whose name it would use but that belong to somebody else.
        let first = UnitKey::new(Kind::Job, key.name.clone());
        let prefix = format!("{}-", key.name);
        let by_name = self
            .units
            .range(first..)
            .take_while(|(k, _)| {
                k.kind == Kind::Job && (k.name == key.name || k.name.as_str().starts_with(&prefix))
            })
            .filter(|(k, _)| k.name != key.name);
        let triggered = self.units.get(key).into_iter().flat_map(|cron| {
            cron.jobs
                .iter()
                .filter(|job| !job.name.as_str().starts_with(&prefix))
                .filter_map(|job| self.units.get_key_value(job))
        });
        by_name
            .chain(triggered)
            .map(|(job_key, job)| {
                let (finished, started) = match &job.kept.memory {
                    Memory::Job(state) => (state.finished(), state.started()),
                    Memory::Deployment(_)
                    | Memory::StatefulSet(_)
                    | Memory::DaemonSet(_)
                    | Memory::CronJob(_) => (None, None),
                };
                ObservedJob {
                    name: job_key.name.to_string(),
                    finished,
                    started,
                    terminating: job.kept.deleting,
                    scheduled: job.kept.scheduled,
                    owned: job.kept.owner.as_ref() == Some(key),
                }
            })
            .collect()
    }

    fn carry_out(&mut self, now: Now, key: &UnitKey, intent: Intent) {
        match intent {
            Intent::Create { set, name, identity } => self.create(now, key, set, name, identity),
            Intent::Delete { slot } | Intent::Forget { slot } => {
                self.step(now, slot, Input::Leave);
            }
            Intent::RemoveData { instance } => {
                let base = self.units.get(key).and_then(|unit| match &unit.spec.workload {
                    WorkloadSpec::StatefulSet(s) => s.data_dir.clone(),
                    WorkloadSpec::Deployment(_)
                    | WorkloadSpec::DaemonSet(_)
                    | WorkloadSpec::Job(_)
                    | WorkloadSpec::CronJob(_) => None,
                });
                self.actions.push_back(Action::RemoveData {
                    unit: key.clone(),
                    dir: DataDir { base, instance },
                });
            }
            Intent::CreateJob(job) => {
                self.create_job(now, key, job);
            }
            Intent::DeleteJob { name } => {
                if let Ok(name) = UnitName::new(&name) {
                    self.delete_unit(&UnitKey::new(Kind::Job, name));
                }
            }
            Intent::RemoveUnit => self.remove_finished(key),
            Intent::Tell(note) => self.report(now, Some(key), None, note),
        }
    }

    fn create(&mut self, now: Now, key: &UnitKey, set: SetId, name: NewName, identity: Identity) {
        let name: SmolStr = match name {
            NewName::Fixed(name) => name.into(),
            NewName::Random(prefix) => self.fresh_name(&prefix).into(),
        };
        let Some(unit) = self.units.get_mut(key) else { return };
        let template = unit.kept.memory.template_of(set).unwrap_or(&unit.spec.template);
        let slot = (u64::from(self.epoch) << 32) | u64::from(self.next_slot);
        let instance = Instance {
            slot,
            name: name.clone(),
            unit: key.clone(),
            set,
            template: Arc::clone(template),
            identity,
            created: now,
            generation: 0,
            restarts: 0,
            streak: super::instance::restart::Streak::default(),
            last_end: None,
            last_failure: None,
            initialised: false,
            leaving: false,
            held: false,
            state: State::Pending { why: super::instance::Waiting::New },
            ports: Vec::new(),
            gated: unit.waits,
            guard: self.guard.config().holds(),
            early: Vec::new(),
            says: None,
            reloading: false,
        };
        unit.instances.insert(instance.observed());
        self.next_slot = self.next_slot.wrapping_add(1);
        self.names.entry(name.clone()).or_default().insert(slot);
        self.instances.insert(slot, Box::new(instance));
        self.report(now, Some(key), Some(&name), Note::normal(Reason::InstanceCreated, "created"));
        self.step(now, slot, Input::Begin);
    }

    /// Makes a job of a cronjob. Does nothing if a unit of that name is there.
    pub(super) fn create_job(&mut self, now: Now, owner: &UnitKey, new: NewJob) -> bool {
        let Ok(name) = UnitName::new(&new.name) else { return false };
        let key = UnitKey::new(Kind::Job, name);
        if self.units.contains_key(&key) {
            return false;
        }
        let Some(cron) = self.units.get_mut(owner) else { return false };
        let spec = UnitSpec {
            key: key.clone(),
            workload: WorkloadSpec::Job(new.spec),
            template: new.template,
            ..(*cron.spec).clone()
        };
        cron.jobs.insert(key.clone());
        let mut unit = Unit::new(spec, now.wall);
        unit.kept.owner = Some(owner.clone());
        unit.kept.scheduled = new.scheduled;
        self.units.insert(key.clone(), Box::new(unit));
        self.index_dependencies(now, &key);
        self.dirty.insert(key);
        true
    }

    /// Sends a unit on its way out.
    pub(super) fn delete_unit(&mut self, key: &UnitKey) {
        let Some(unit) = self.units.get_mut(key) else { return };
        unit.kept.deleting = true;
        if !unit.spec.sockets.is_empty() && unit.kept.owner.is_none() {
            // Its instances have them until they end; meanwhile a unit that wants them next takes them over.
            let sockets = Arc::from([]);
            self.actions.push_back(Action::Sockets { unit: key.clone(), sockets });
        }
        self.dirty.insert(key.clone());
        if let Some(owner) = unit.kept.owner.clone()
            && self.units.contains_key(&owner)
        {
            self.dirty.insert(owner);
        }
    }

    /// A finished job whose time to live is over goes, and its file does not bring it back.
    fn remove_finished(&mut self, key: &UnitKey) {
        let Some(unit) = self.units.get(key) else { return };
        if unit.kept.owner.is_none() {
            let file = UnitSpec::clone(&unit.kept.file);
            let complete =
                matches!(&unit.kept.memory, Memory::Job(s) if s.finished() == Some(true));
            self.bury(Buried { file, finished: true, complete });
        }
        self.delete_unit(key);
    }

    fn unit_gone(&mut self, now: Now, key: &UnitKey) {
        let Some(unit) = self.units.remove(key) else { return };
        debug_assert!(unit.instances.is_empty(), "{key} went before its instances");
        self.timers.shift(Timer::Unit(key.clone()), unit.recheck, None);
        self.actions.push_back(Action::Drop { key: restore::unit_record_key(key), durable: true });
        if !unit.status_stored.is_empty() {
            let key = restore::status_record_key(key);
            self.actions.push_back(Action::Drop { key, durable: false });
        }
        if key.kind == Kind::DaemonSet {
            self.actions.push_back(Action::WatchNodes { unit: key.clone(), nodes: None });
        }
        self.forget_dependencies(now, key, &unit);
        if !unit.spec.sockets.is_empty() && unit.kept.owner.is_none() {
            let sockets = Arc::from([]);
            self.actions.push_back(Action::Sockets { unit: key.clone(), sockets });
        }
        let reason =
            if unit.kept.owner.is_some() { Reason::JobDeleted } else { Reason::UnitRemoved };
        self.report(now, Some(key), None, Note::normal(reason, "removed"));
        self.actions.push_back(Action::UnitGone { unit: key.clone() });
        if let Some(owner) = &unit.kept.owner
            && let Some(cron) = self.units.get_mut(owner)
        {
            cron.jobs.remove(key);
            self.dirty.insert(owner.clone());
        }
        // Its file may have become invalid while it was on its way out.
        match (unit.successor, unit.invalid) {
            (Some(spec), invalid) => {
                self.add_unit(now, *spec);
                if let Some(next) = self.units.get_mut(key) {
                    next.invalid = invalid;
                }
            }
            (None, Some(message)) => {
                self.invalid.insert(key.clone(), message);
            }
            (None, None) => {}
        }
    }

    /// Takes one step of an instance and carries out its effects.
    pub(super) fn step(&mut self, now: Now, slot: u64, input: Input<'_>) {
        let Some(instance) = self.instances.get_mut(&slot) else { return };
        let mut effects = std::mem::take(&mut self.effects);
        let (before, deadline) = (instance.standing(), instance.deadline());
        let place = Place::of(instance);
        let exited = matches!(input, Input::Exited { .. });
        instance.step(now, input, &mut effects);
        let (id, unit, name) = (instance.id(), instance.unit.clone(), instance.name.clone());
        self.timers.shift(Timer::Instance(slot), deadline, instance.deadline());
        self.guard.shift(slot, place, Place::of(instance));
        // A thousand probes a second that find all well are nobody's business: neither the
        // controller's nor the store's.
        if before.is_none() || before != instance.standing() {
            self.changed.insert(slot);
            // What its controller does not see is not its controller's business either.
            if let Some(owner) = self.units.get_mut(&unit)
                && owner.instances.update(slot, |seen| instance.show(seen))
            {
                self.dirty.insert(unit.clone());
            }
        }
        for effect in effects.drain(..) {
            match effect {
                Effect::Spawn(program) => {
                    let ports = self.allot_ports(now, slot);
                    // What is remembered of a start is stored before the start is asked for.
                    self.store_instance(slot);
                    match ports {
                        Ok(()) => self.ask_for(slot, program.into(), Action::Spawn),
                        Err(message) => self.cannot_start(slot, message),
                    }
                }
                Effect::Hook(hook) => {
                    self.store_instance(slot);
                    self.ask_for(slot, Step::Hook(hook), Action::Hook);
                }
                Effect::Probe(kind) => self.ask_for(slot, Step::Probe(kind), Action::Probe),
                Effect::Waits => {
                    if let Some(why) = self.why_waits(&unit) {
                        let note = Note::normal(Reason::InstanceWaiting, why);
                        self.report(now, Some(&unit), Some(&name), note);
                    }
                }
                Effect::Terminate(signal) => {
                    self.actions.push_back(Action::Terminate { id, signal });
                }
                Effect::Kill => self.actions.push_back(Action::KillTree { id }),
                Effect::Tell(note) => self.report(now, Some(&unit), Some(&name), note),
                Effect::Gone => {
                    self.judge_last(now, slot, exited);
                    self.instance_gone(now, slot);
                }
            }
        }
        self.effects = effects;
    }

    /// The process of an instance that leaves has ended: its job may still have to judge how.
    /// `exited`: by an exit, not because its start failed.
    fn judge_last(&mut self, now: Now, slot: u64, exited: bool) {
        let Some(instance) = self.instances.get(&slot).filter(|i| i.has_process()) else { return };
        let Some(unit) = self.units.get_mut(&instance.unit) else { return };
        let spec = Arc::clone(&unit.spec);
        if let (WorkloadSpec::Job(spec), Memory::Job(state)) =
            (&spec.workload, &mut unit.kept.memory)
        {
            let mut ended = instance.observed();
            // An exit from before counts for nothing, nor does an init step's exit 0.
            ended.exit = ended.exit.filter(|_| exited);
            let main = instance.initialised || instance.template.init.is_empty();
            let success = main && ended.exit.is_some_and(Exit::is_success);
            ended.phase = if success { Phase::Succeeded } else { Phase::Failed };
            job::ended_leaving(spec, state, &ended, now);
        }
    }

    fn instance_gone(&mut self, now: Now, slot: u64) {
        let Some(instance) = self.instances.remove(&slot) else { return };
        self.timers.shift(Timer::Instance(slot), instance.deadline(), None);
        self.guard.shift(slot, Place::of(&instance), None);
        self.changed.remove(&slot);
        self.ports.release(&instance);
        if let Some(slots) = self.names.get_mut(&instance.name) {
            slots.remove(&slot);
            if slots.is_empty() {
                self.names.remove(&instance.name);
            }
        }
        if let Some(unit) = self.units.get_mut(&instance.unit) {
            unit.instances.remove(slot);
            self.dirty.insert(instance.unit.clone());
        }
        let key = restore::instance_record_key(slot);
        self.actions.push_back(Action::Drop { key, durable: false });
        let (unit, name) = (instance.unit, instance.name);
        let note = Note::normal(Reason::InstanceDeleted, "gone");
        self.report(now, Some(&unit), Some(&name), note);
        self.actions.push_back(Action::InstanceGone { unit, instance: name.into() });
    }

    /// Goes on to the next kinds once all of the present ones are gone. Returns whether something
    /// is to be settled again.
    fn advance_shutdown(&mut self) -> bool {
        let Some(stage) = self.shutdown else { return false };
        let living = || self.instances.values().filter(|i| i.has_process());
        // What waits for a dependent of a later stage does not hold that stage up.
        let busy = living().any(|i| stage_of(i.unit.kind) <= stage && !self.is_needed(&i.unit));
        let last = stage == Shutdown::Agents && living().next().is_some();
        if busy || last || stage == Shutdown::Done {
            return false;
        }
        let next = match stage {
            Shutdown::Servers => Shutdown::Databases,
            Shutdown::Databases => Shutdown::Agents,
            Shutdown::Agents | Shutdown::Done => Shutdown::Done,
        };
        self.shutdown = Some(next);
        if next == Shutdown::Done {
            self.actions.push_back(Action::ShutdownComplete);
        }
        self.dirty.extend(self.units.keys().cloned());
        true
    }
}

/// Whether a unit is to run now. `owner_stopped`: the cronjob that made it is not.
fn mode_of(unit: &Unit, config: &Config, shutdown: Option<Shutdown>, owner_stopped: bool) -> Mode {
    if unit.kept.deleting {
        return Mode::Deleting;
    }
    let stopped = unit.kept.overrides.stopped
        || owner_stopped
        || unit.kept.rerun
        || !selected(config, &unit.spec)
        || shutdown.is_some_and(|stage| stage >= stage_of(unit.kept.file.kind()));
    if stopped { Mode::Stopped } else { Mode::Run }
}

fn selected(config: &Config, spec: &UnitSpec) -> bool {
    spec.node_selector.iter().all(|(k, v)| config.node_labels.get(k) == Some(v))
}

/// The cronjob of a job that has finished: it is called again when one of its jobs begins to exist,
/// ends or goes, and not at each step of it.
fn waits_for(unit: &Unit) -> Option<&UnitKey> {
    let owner = unit.kept.owner.as_ref()?;
    let finished = match &unit.kept.memory {
        Memory::Job(state) => state.finished().is_some(),
        Memory::Deployment(_)
        | Memory::StatefulSet(_)
        | Memory::DaemonSet(_)
        | Memory::CronJob(_) => false,
    };
    finished.then_some(owner)
}

/// When the daemon stops, which kinds go together.
fn stage_of(kind: Kind) -> Shutdown {
    match kind {
        Kind::Deployment | Kind::Job | Kind::CronJob => Shutdown::Servers,
        Kind::StatefulSet => Shutdown::Databases,
        Kind::DaemonSet => Shutdown::Agents,
    }
}

/// The records of a finished run go when a new run begins.
fn forget_all(observed: &[Observed]) -> Outcome {
    let mut outcome = Outcome::default();
    for instance in observed {
        outcome.push(Intent::Forget { slot: instance.slot });
    }
    outcome
}
