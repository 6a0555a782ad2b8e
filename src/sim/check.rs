//! Watching the core from outside: what the processes show, not what the core believes.
//!
//! Responsible for the promises that hold at every moment; those that hold once a world has come
//! to rest are in `quiet`. Must not change anything in the world.

use super::machine::{Command, Machine, Process};
use super::world::Clock;
use crate::core::Core;
use crate::core::action::{Action, DataDir, Spawn};
use crate::core::event::{Event, Exit};
use crate::core::id::{InstanceId, Kind, UnitKey};
use crate::core::report::Reason;
use crate::core::request::{Request, Target};
use crate::core::spec::{
    DeploymentSpec, DeploymentStrategy, InstanceTemplate, RestartPolicy, UnitSpec, WorkloadSpec,
};
use crate::core::view::{JobView, KindView};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is known of a deployment from outside.
#[derive(Debug)]
struct Fleet {
    spec: DeploymentSpec,
    /// At most so many may run: the greatest bound of the specs since it was last within the
    /// present one.
    bound: u32,
    /// It was complete, and since then nothing but roll-outs happened to it.
    settled: bool,
}

/// What is known of a job from outside, since it began to exist.
#[derive(Debug, Default)]
struct Ledger {
    succeeded: u32,
    /// Runs that ended well after they were asked to end: they may count or not.
    perhaps_succeeded: u32,
    failed: u32,
    /// The number of failed runs cannot be told from outside any more.
    failed_unsure: bool,
    /// Somebody asked for another run, so the counts begin anew at some time.
    renewed: bool,
    /// Another run has begun; whether it is the one asked for shows in what it starts. The file
    /// may have changed twice in one turn.
    begun: bool,
    finished: bool,
    done_indexes: BTreeSet<u32>,
    /// Its failures are counted by rules that are not looked at here.
    policy_ignores: bool,
    /// What its present run was made from.
    template: Option<Arc<InstanceTemplate>>,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Observer {
    pub(super) broken: Option<String>,
    fleets: BTreeMap<UnitKey, Fleet>,
    jobs: BTreeMap<UnitKey, Ledger>,
    /// Which job stood for a slot of a cronjob: its name and how often that name began to exist.
    slots: BTreeMap<(UnitKey, i64), (UnitKey, u32)>,
    births: BTreeMap<UnitKey, u32>,
    /// The core has asked these to end.
    asked: BTreeSet<InstanceId>,
    /// The present daemon has.
    asked_by_this: BTreeSet<InstanceId>,
    /// The core knows that these have ended.
    known_ends: BTreeSet<InstanceId>,
    /// Data directories that are being removed.
    going: BTreeSet<String>,
    specs_stale: bool,
}

impl Observer {
    /// Notes that a rule was broken; the first one is what counts.
    pub(super) fn fail(&mut self, message: String) {
        if self.broken.is_none() {
            self.broken = Some(message);
        }
    }

    /// A process was started: is it alone in its place?
    pub(super) fn started(&mut self, machine: &Machine, id: InstanceId) {
        let Some(new) = machine.processes.get(&id) else { return };
        for other in machine.alive().filter(|p| p.id != id) {
            if other.id.slot == id.slot {
                self.fail(format!("{} has two processes: {} and {id}", new.instance, other.id));
            }
            let same = other.instance == new.instance && other.unit == new.unit;
            if same && new.unit.kind == Kind::StatefulSet {
                self.fail(format!("two of {} live: {} and {id}", new.instance, other.id));
            }
        }
    }

    /// A command reaches the runner.
    pub(super) fn before_command(&mut self, machine: &Machine, command: &Command) {
        if let Command::Kill(id) = command
            && let Some(process) = machine.processes.get(id)
            && !process.gone
            && !process.warned
            && self.asked_by_this.contains(id)
        {
            self.fail(format!("{} was killed without being asked first", process.instance));
        }
    }

    /// The core is about to be given an event.
    pub(super) fn before_event(&mut self, core: &Core, event: &Event) {
        match event {
            Event::Units(_) => self.specs_stale = true,
            Event::Request(request) => {
                self.specs_stale = true;
                self.note_request(core, request);
            }
            Event::Shutdown => self.interfere_with_all(),
            Event::Tick
            | Event::ClockStepped
            | Event::Spawned { .. }
            | Event::SpawnFailed { .. }
            | Event::Exited { .. }
            | Event::HookDone { .. }
            | Event::ProbeDone { .. }
            | Event::ProbeTold { .. }
            | Event::NodesChanged { .. }
            | Event::DataRemoved { .. } => {}
        }
    }

    fn note_request(&mut self, core: &Core, request: &Request) {
        let target = match request {
            Request::Start(t) | Request::Stop(t) | Request::Restart(t) | Request::Delete(t) => t,
            Request::Signal(t, _) => t,
            // Pausing in mid-flight brings the total within its bound without regard to what is
            // available (deployment/sync.go scale).
            Request::Scale(key, _) | Request::Pause(key) => {
                self.interfere(key);
                return;
            }
            // These may never cost availability.
            Request::Undo(..)
            | Request::ResumeRollout(_)
            | Request::RolloutRestart(_)
            | Request::Suspend(_)
            | Request::Resume(_)
            | Request::Trigger(..) => return,
        };
        match target {
            Target::Unit(key) => {
                self.interfere(key);
                if matches!(request, Request::Restart(_))
                    && let Some(job) = self.jobs.get_mut(key)
                {
                    job.renewed = true;
                }
                for (key, job) in &mut self.jobs {
                    // A stopped or removed cronjob ends its jobs' runs.
                    job.failed_unsure |= core.unit(key).is_some_and(|job| job.owner.is_some());
                }
                if let Some(job) = self.jobs.get_mut(key) {
                    job.failed_unsure = true;
                }
            }
            Target::Instance(name) => {
                if let Some(view) = core.instance(name) {
                    self.interfere(&view.unit);
                    if let Some(job) = self.jobs.get_mut(&view.unit) {
                        job.failed_unsure = true;
                    }
                }
            }
        }
    }

    fn interfere(&mut self, key: &UnitKey) {
        if let Some(fleet) = self.fleets.get_mut(key) {
            fleet.settled = false;
        }
    }

    /// Whatever is not as it should be from now on is not the core's fault.
    pub(super) fn interfere_with_all(&mut self) {
        for fleet in self.fleets.values_mut() {
            fleet.settled = false;
        }
        for job in self.jobs.values_mut() {
            job.failed_unsure = true;
        }
    }

    /// The machine started anew.
    pub(super) fn rebooted(&mut self) {
        self.asked.clear();
        self.known_ends.clear();
        self.interfere_with_all();
    }

    /// The clock was put back: slots that were started may come again (cronjob's own rule for
    /// clocks that are hours wrong).
    pub(super) fn clock_put_back(&mut self) {
        self.slots.clear();
    }

    pub(super) fn daemon_started(&mut self) {
        self.specs_stale = true;
    }

    pub(super) fn daemon_died(&mut self) {
        // The shell's removals die with it; the core must ask again.
        self.going.clear();
        // What it was about to send is lost with it.
        self.asked_by_this.clear();
    }

    /// A directory's removal begins.
    pub(super) fn data_going(&mut self, dir: &DataDir) {
        self.going.insert(dir.instance.clone());
    }

    /// A directory is gone.
    pub(super) fn data_gone(&mut self, machine: &Machine, dir: &DataDir) {
        self.going.remove(&dir.instance);
        let user = machine.alive().find(|p| p.data.as_ref() == Some(dir));
        if let Some(process) = user {
            self.fail(format!("the data of {} was removed while it lives", process.instance));
        }
    }

    /// A turn's records are stored and its effects are about to be carried out.
    pub(super) fn committed(
        &mut self,
        core: &Core,
        machine: &Machine,
        clock: Clock,
        batch: &[(Event, Option<u64>)],
        effects: &[Action],
    ) {
        if std::mem::take(&mut self.specs_stale) {
            self.refresh(core);
        }
        for action in effects {
            if let Action::Terminate { id, .. } = action {
                self.asked.insert(*id);
                self.asked_by_this.insert(*id);
            }
            if let Action::Report(report) = action
                && report.reason == Reason::InstanceStopping
                && let Some(job) = report.unit.as_ref().and_then(|key| self.jobs.get_mut(key))
            {
                // Whether it counts depends on why it has to end.
                job.failed_unsure = true;
            }
        }
        for (event, _) in batch {
            if let Event::Exited { id, .. } = event
                && !self.known_ends.insert(*id)
            {
                // Told once more.
                continue;
            }
            self.note_end(machine, event, clock.at);
            self.count_run(machine, event);
        }
        for action in effects {
            match action {
                Action::Report(report) if report.reason == Reason::JobStarted => {
                    if let Some(key) = &report.unit
                        && let Some(job) = self.jobs.get_mut(key).filter(|job| job.renewed)
                    {
                        *job = Ledger {
                            template: job.template.take(),
                            policy_ignores: job.policy_ignores,
                            renewed: true,
                            begun: true,
                            ..Ledger::default()
                        };
                    }
                }
                Action::Spawn(spawn) => self.check_spawn(core, spawn),
                Action::UnitGone { unit } => self.unit_gone(unit),
                Action::Hook(_)
                | Action::Probe(_)
                | Action::Terminate { .. }
                | Action::KillTree { .. }
                | Action::Signal { .. }
                | Action::Put(_)
                | Action::Drop { .. }
                | Action::Report(_)
                | Action::InstanceGone { .. }
                | Action::RemoveData { .. }
                | Action::WatchNodes { .. }
                | Action::ShutdownComplete => {}
            }
        }
        self.check_fleets(core, machine, clock.at);
        self.check_jobs(core);
    }

    /// The core knows now that a process has ended; if it did its work, that was not the core's
    /// doing.
    fn note_end(&mut self, machine: &Machine, event: &Event, at: u64) {
        let Event::Exited { id, .. } = event else { return };
        if let Some(process) = machine.processes.get(id)
            && !self.asked.contains(id)
            && let Some(fleet) = self.fleets.get_mut(&process.unit)
            && process.main
            && old_enough(process, &fleet.spec, at)
        {
            fleet.settled = false;
        }
    }

    fn refresh(&mut self, core: &Core) {
        let mut seen = BTreeSet::new();
        for view in core.units() {
            let Some(spec) = core.spec(&view.key) else { continue };
            let stopped = view.stopped || view.deleting || view.not_selected;
            if let WorkloadSpec::Deployment(new) = &spec.workload
                && !stopped
            {
                self.refresh_fleet(&view.key, new);
                seen.insert(view.key);
            } else if let WorkloadSpec::Job(_) = &spec.workload {
                self.refresh_job(&view.key, &spec);
            }
        }
        self.fleets.retain(|key, _| seen.contains(key));
    }

    fn refresh_fleet(&mut self, key: &UnitKey, new: &DeploymentSpec) {
        let bound = most(new);
        let fleet = self.fleets.entry(key.clone()).or_insert_with(|| Fleet {
            spec: new.clone(),
            // Whatever it was before, it may still be on its way from there.
            bound: u32::MAX,
            settled: false,
        });
        if fleet.spec != *new {
            fleet.settled = false;
            fleet.spec = new.clone();
        }
        fleet.bound = fleet.bound.max(bound);
    }

    fn refresh_job(&mut self, key: &UnitKey, spec: &UnitSpec) {
        let WorkloadSpec::Job(job) = &spec.workload else { return };
        let fresh = !self.jobs.contains_key(key);
        let ledger = self.jobs.entry(key.clone()).or_default();
        ledger.policy_ignores =
            !job.failure_policy.is_empty() || spec.template.restart.policy != RestartPolicy::Never;
        let template = Some(Arc::clone(&spec.template));
        // Another template means another run, once the present one has ended.
        ledger.renewed |= !fresh && ledger.template != template;
        ledger.template = template;
    }

    fn check_fleets(&mut self, core: &Core, machine: &Machine, at: u64) {
        let mut counts: BTreeMap<&UnitKey, (u32, u32)> = BTreeMap::new();
        for process in machine.processes.values().filter(|p| p.unit.kind == Kind::Deployment) {
            let Some(fleet) = self.fleets.get(&process.unit) else { continue };
            let asked = self.asked.contains(&process.id);
            let entry = counts.entry(&process.unit).or_default();
            if !process.gone && !asked {
                entry.0 += 1;
            }
            // One that has ended without the core's knowledge counts: nobody could know better.
            let ended = self.known_ends.contains(&process.id);
            if process.main && !ended && !asked && old_enough(process, &fleet.spec, at) {
                entry.1 += 1;
            }
        }
        let mut broken = None;
        for (key, fleet) in &mut self.fleets {
            let (active, available) = counts.get(key).copied().unwrap_or_default();
            if active > fleet.bound {
                broken = Some(format!("{key} has {active} instances, {} allowed", fleet.bound));
            }
            let within = most(&fleet.spec);
            if fleet.bound > within
                && core.unit(key).is_some_and(|u| u.rolled_out && u.counts.current <= within)
            {
                fleet.bound = within;
            }
            if fleet.settled && available < least(&fleet.spec) {
                broken = Some(format!(
                    "{key} has {available} available, {} promised",
                    least(&fleet.spec)
                ));
            }
            // The core must know of all of them before it can be held to it.
            if !fleet.settled && available >= fleet.spec.replicas && !fleet.spec.paused {
                fleet.settled =
                    core.unit(key).is_some_and(|unit| unit.counts.available >= fleet.spec.replicas);
            }
        }
        if let Some(broken) = broken {
            self.fail(broken);
        }
    }

    fn unit_gone(&mut self, unit: &UnitKey) {
        self.jobs.remove(unit);
        self.fleets.remove(unit);
        *self.births.entry(unit.clone()).or_default() += 1;
        if unit.kind == Kind::CronJob {
            self.slots.retain(|(cron, _), _| cron != unit);
        }
        self.specs_stale = true;
    }

    fn check_spawn(&mut self, core: &Core, spawn: &Spawn) {
        if let Some(dir) = &spawn.data_dir
            && self.going.contains(&dir.instance)
        {
            self.fail(format!("{} starts while its data is being removed", spawn.instance));
        }
        if spawn.unit.kind != Kind::Job {
            return;
        }
        if !self.jobs.contains_key(&spawn.unit) {
            if let Some(spec) = core.spec(&spawn.unit) {
                self.refresh_job(&spawn.unit, &spec);
            }
            self.check_slot(core, &spawn.unit);
        }
        let index = spawn.vars.iter().find(|(name, _)| *name == "WSUP_ORDINAL");
        let index = index.and_then(|(_, value)| value.parse::<u32>().ok());
        let Some(job) = self.jobs.get_mut(&spawn.unit) else { return };
        if job.begun && job.template.as_ref() == Some(&spawn.template) {
            (job.renewed, job.begun) = (false, false);
        }
        if job.renewed {
            return;
        }
        if job.finished {
            self.fail(format!("{} is finished and {} starts", spawn.unit, spawn.instance));
        } else if let Some(index) = index
            && job.done_indexes.contains(&index)
        {
            self.fail(format!("index {index} of {} succeeded and runs again", spawn.unit));
        }
    }

    fn check_slot(&mut self, core: &Core, job: &UnitKey) {
        let Some(view) = core.unit(job) else { return };
        let (Some(cron), KindView::Job(JobView { scheduled: Some(slot), .. })) =
            (view.owner, view.kind)
        else {
            return;
        };
        let birth = self.births.get(job).copied().unwrap_or_default();
        let this = (job.clone(), birth);
        let first = self.slots.entry((cron.clone(), slot.0)).or_insert_with(|| this.clone());
        if *first != this {
            let message = format!("the slot {} of {cron} is started again by {job}", slot.0);
            self.fail(message);
        }
    }

    /// Counts a run of a job whose end the core has taken to heart.
    fn count_run(&mut self, machine: &Machine, event: &Event) {
        let (id, exit) = match event {
            Event::Exited { id, exit, .. } => (id, *exit),
            Event::SpawnFailed { .. } => {
                // Which unit it was of only the core knows.
                for job in self.jobs.values_mut() {
                    job.failed_unsure = true;
                }
                return;
            }
            _ => return,
        };
        let Some(process) = machine.processes.get(id) else { return };
        let Some(job) = self.jobs.get_mut(&process.unit) else { return };
        let asked = self.asked.contains(id);
        match exit {
            Exit::Code(0) if !process.main => {}
            Exit::Code(0) if asked => job.perhaps_succeeded += 1,
            Exit::Code(0) => {
                job.succeeded += 1;
                job.done_indexes.extend(process.index);
            }
            _ if asked => job.failed_unsure = true,
            _ => job.failed += 1,
        }
    }

    fn check_jobs(&mut self, core: &Core) {
        let mut broken = None;
        for (key, job) in &mut self.jobs {
            let Some(unit) = core.unit(key) else { continue };
            let KindView::Job(view) = unit.kind else { continue };
            job.finished = view.finished.is_some();
            if job.renewed || unit.deleting {
                continue;
            }
            let most = job.succeeded + job.perhaps_succeeded;
            if view.succeeded < job.succeeded.min(view.completions.unwrap_or(u32::MAX))
                || view.succeeded > most
            {
                broken = Some(format!(
                    "{key} shows {} succeeded, {} did",
                    view.succeeded, job.succeeded
                ));
            }
            let sure = !job.failed_unsure && !job.policy_ignores;
            if sure && view.finished.is_none() && view.failed != job.failed {
                broken = Some(format!("{key} shows {} failed, {} did", view.failed, job.failed));
            }
        }
        if let Some(broken) = broken {
            self.fail(broken);
        }
    }
}

/// Whether a process is up for as long as its deployment's `min_ready` says.
fn old_enough(process: &Process, spec: &DeploymentSpec, at: u64) -> bool {
    at.saturating_sub(process.born) >= spec.min_ready.0
}

/// The most instances that a deployment may have.
fn most(spec: &DeploymentSpec) -> u32 {
    match spec.strategy {
        DeploymentStrategy::RollingUpdate { max_surge, .. } => {
            spec.replicas.saturating_add(max_surge.ceil_of(spec.replicas))
        }
        DeploymentStrategy::Recreate => spec.replicas,
    }
}

/// The fewest available instances that a deployment promises.
fn least(spec: &DeploymentSpec) -> u32 {
    match spec.strategy {
        DeploymentStrategy::RollingUpdate { max_surge, max_unavailable } => {
            let (surge, unavailable) =
                (max_surge.ceil_of(spec.replicas), max_unavailable.floor_of(spec.replicas));
            // deployment/util ResolveFenceposts: both zero means one unavailable.
            let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
            spec.replicas.saturating_sub(unavailable)
        }
        DeploymentStrategy::Recreate => 0,
    }
}
