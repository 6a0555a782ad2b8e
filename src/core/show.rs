//! Making views of what is there.
//!
//! Responsible for the words that people see for states and reasons. Changes nothing.

use super::Core;
use super::ask::data_dir;
use super::depends::is_waiting;
use super::id::{Kind, UnitKey};
use super::instance::stop::Rung;
use super::instance::{Instance, Program, State, Waiting};
use super::managed::{Memory, Unit, paused_of, suspend_of};
use super::spec::{UnitSpec, WorkloadSpec};
use super::time::{Mono, Now, Wall};
use super::view::{
    CronView, InstanceState, InstanceView, InvalidView, JobView, KindView, UnitView,
};
use super::workload::{HistoryEntry, Identity};

impl Core {
    /// All units, by kind and name.
    pub fn units(&self) -> Vec<UnitView> {
        self.units.values().map(|unit| self.unit_view(unit)).collect()
    }

    /// One unit.
    pub fn unit(&self, key: &UnitKey) -> Option<UnitView> {
        self.units.get(key).map(|unit| self.unit_view(unit))
    }

    /// Files that are invalid and have no last good version.
    pub fn invalid_files(&self) -> Vec<InvalidView> {
        self.invalid
            .iter()
            .map(|(key, message)| InvalidView { key: key.clone(), message: message.clone() })
            .collect()
    }

    /// The spec in force: the file's with all live changes.
    pub fn spec(&self, key: &UnitKey) -> Option<UnitSpec> {
        self.units.get(key).map(|unit| (*unit.spec).clone())
    }

    /// Past and present templates, oldest first.
    pub fn history(&self, key: &UnitKey) -> Vec<HistoryEntry> {
        self.units.get(key).map(|unit| unit.kept.memory.history()).unwrap_or_default()
    }

    /// All instances, by unit and age.
    pub fn instances(&self) -> Vec<InstanceView> {
        self.units.values().flat_map(|unit| self.views_of(unit, unit.instances.slots())).collect()
    }

    /// The instances of one unit; of a cronjob, those of its jobs.
    pub fn instances_of(&self, key: &UnitKey) -> Vec<InstanceView> {
        let Some(unit) = self.units.get(key) else { return Vec::new() };
        let mut views = self.views_of(unit, unit.instances.slots());
        for job in unit.jobs.iter().filter_map(|job| self.units.get(job)) {
            views.extend(self.views_of(job, job.instances.slots()));
        }
        views
    }

    /// The instance of this name; the youngest, should two units use one name.
    pub fn instance(&self, name: &str) -> Option<InstanceView> {
        let slot = self.names.get(name)?.last()?;
        let unit = self.units.get(&self.instances.get(slot)?.unit)?;
        self.views_of(unit, std::iter::once(*slot)).pop()
    }

    fn views_of(&self, unit: &Unit, slots: impl Iterator<Item = u64>) -> Vec<InstanceView> {
        let mut views: Vec<InstanceView> = slots
            .filter_map(|slot| self.instances.get(&slot))
            .map(|instance| {
                let mut view = instance_view(unit, instance);
                if is_waiting(instance) {
                    view.reason = self.why_waits(&instance.unit);
                }
                if view.held_back {
                    view.reason = Some(format!("{}; {}", why_it_waits(instance), self.why_held()));
                }
                view
            })
            .collect();
        views.sort_by(|a, b| (a.ordinal, &a.node, a.slot).cmp(&(b.ordinal, &b.node, b.slot)));
        views
    }

    fn unit_view(&self, unit: &Unit) -> UnitView {
        let kept = &unit.kept;
        let status = kept.memory.status();
        UnitView {
            key: kept.file.key.clone(),
            description: unit.spec.description.clone(),
            labels: unit.spec.labels.clone(),
            generation: kept.generation,
            revision: status.revision,
            counts: status.counts,
            conditions: status.conditions,
            created_at: kept.created,
            owner: kept.owner.clone(),
            invalid: unit.invalid.clone(),
            stopped: kept.overrides.stopped,
            paused: paused_of(&unit.spec).unwrap_or(false),
            suspended: suspend_of(&unit.spec).unwrap_or(false),
            deleting: kept.deleting,
            not_selected: !self.selected(&unit.spec),
            rolled_out: status.rolled_out,
            stalled: status.stalled,
            overrides: kept.overrides.describe(),
            kind: self.kind_view(unit),
        }
    }

    fn kind_view(&self, unit: &Unit) -> KindView {
        match (&unit.spec.workload, &unit.kept.memory) {
            (WorkloadSpec::Job(spec), Memory::Job(state)) => KindView::Job(JobView {
                active: state.active(),
                succeeded: state.succeeded(),
                failed: state.failed(),
                completions: spec.completions,
                started_at: state.started(),
                completed_at: state.completed_at(),
                finished: state.finished(),
                scheduled: unit.kept.scheduled,
            }),
            (WorkloadSpec::CronJob(spec), Memory::CronJob(state)) => KindView::CronJob(CronView {
                schedule: spec.schedule.clone(),
                time_zone: spec.time_zone.clone(),
                last_schedule: state.last_schedule(),
                next_schedule: if spec.suspend || unit.kept.overrides.stopped {
                    None
                } else {
                    state.next_schedule()
                },
                active: unit
                    .jobs
                    .iter()
                    .filter(|job| self.job_is_active(job))
                    .map(|job| job.name.to_string())
                    .collect(),
            }),
            (
                WorkloadSpec::Deployment(_)
                | WorkloadSpec::StatefulSet(_)
                | WorkloadSpec::DaemonSet(_)
                | WorkloadSpec::Job(_)
                | WorkloadSpec::CronJob(_),
                _,
            ) => KindView::Service,
        }
    }

    fn job_is_active(&self, key: &UnitKey) -> bool {
        self.units.get(key).is_some_and(|unit| match &unit.kept.memory {
            Memory::Job(state) => state.finished().is_none(),
            Memory::Deployment(_)
            | Memory::StatefulSet(_)
            | Memory::DaemonSet(_)
            | Memory::CronJob(_) => false,
        })
    }
}

fn instance_view(unit: &Unit, instance: &Instance) -> InstanceView {
    let (state, reason) = state_words(instance);
    let (started_at, next_start) = match &instance.state {
        State::PostStart { since_wall, .. } | State::Running { since_wall, .. } => {
            (Some(*since_wall), None)
        }
        State::Backoff { until, .. } => (None, Some(wall_of(instance, *until))),
        State::Pending { .. }
        | State::Starting { .. }
        | State::Init { .. }
        | State::Stopping { .. }
        | State::Queued { .. }
        | State::Succeeded
        | State::Failed { .. }
        | State::GaveUp => (None, None),
    };
    let (mut ordinal, mut node, mut node_path) = (None, None, None);
    match &instance.identity {
        Identity::Anonymous => {}
        Identity::Ordinal(n) | Identity::Index(n) => ordinal = Some(*n),
        Identity::Node { name, path } => {
            node = Some(name.clone());
            node_path.clone_from(path);
        }
    }
    InstanceView {
        name: instance.name.to_string(),
        slot: instance.slot,
        unit: instance.unit.clone(),
        owner: unit.kept.owner.clone(),
        state,
        reason,
        says: instance.says.clone(),
        ready: instance.ready_since().is_some(),
        pid: instance.pid(),
        restarts: instance.restarts,
        revision: unit.kept.memory.revision_of(instance.set).unwrap_or(1),
        created_at: instance.created.wall,
        started_at,
        last_exit: instance.last_end.map(|end| end.exit),
        last_exit_at: instance.last_end.map(|end| end.wall),
        next_start,
        held_back: matches!(instance.state, State::Queued { .. }),
        ordinal,
        node,
        node_path,
        ports: (instance.template.ports.iter().map(|spec| spec.name.clone()))
            .zip(instance.ports.iter().copied())
            .collect(),
        data_dir: data_dir(unit, instance),
    }
}

/// What the wall clock will show at a later instant, if it is not stepped.
fn wall_of(instance: &Instance, at: Mono) -> Wall {
    let Now { mono, wall } = instance.created;
    wall.plus(at.since(mono))
}

pub(super) fn state_words(instance: &Instance) -> (InstanceState, Option<String>) {
    match &instance.state {
        State::Pending { why: Waiting::New } => (InstanceState::Pending, None),
        State::Pending { why: Waiting::Dependencies } => (InstanceState::Pending, None),
        State::Pending { why: Waiting::Held } => {
            (InstanceState::Pending, Some("stopped by an operator".to_owned()))
        }
        State::Starting { program: Program::Init(step) } => {
            (InstanceState::Init, Some(format!("init step {} is being started", step + 1)))
        }
        State::Starting { program: Program::Main } => (InstanceState::Starting, None),
        State::Init { step, .. } => (
            InstanceState::Init,
            Some(format!("init step {} of {}", step + 1, instance.template.init.len())),
        ),
        State::PostStart { .. } => {
            (InstanceState::Starting, Some("its post_start hook runs".to_owned()))
        }
        State::Running { ready_since: Some(_), .. } => {
            let reloads = instance.reloading.then(|| "it reloads (RELOADING=1)".to_owned());
            (InstanceState::Ready, reloads)
        }
        State::Running { ready_since: None, probes, .. } => {
            (InstanceState::Running, probes.as_ref().map(|probes| probes.why_not_ready()))
        }
        State::Stopping { rung: Rung::Hook { .. }, .. } => {
            (InstanceState::Stopping, Some("its pre_stop hook runs".to_owned()))
        }
        State::Stopping { rung: Rung::Own { .. }, .. } => {
            (InstanceState::Stopping, Some("it ends by itself (STOPPING=1)".to_owned()))
        }
        State::Stopping { rung: Rung::Asked { kills: 0, .. }, .. } => {
            (InstanceState::Stopping, None)
        }
        State::Stopping { rung: Rung::Asked { .. }, .. } => {
            (InstanceState::Stopping, Some("killed, not gone yet".to_owned()))
        }
        State::Backoff { .. } | State::Queued { .. } => {
            (InstanceState::Backoff, Some(why_it_waits(instance)))
        }
        State::Succeeded => (InstanceState::Succeeded, None),
        State::Failed { message } => (InstanceState::Failed, Some(message.clone())),
        State::GaveUp => (
            InstanceState::Failed,
            Some(format!(
                "{}; restarted too often, waits for `start` or `restart`",
                why_it_waits(instance)
            )),
        ),
    }
}

fn why_it_waits(instance: &Instance) -> String {
    match (&instance.last_failure, instance.last_end) {
        (Some(failure), _) => failure.clone(),
        (None, Some(end)) => format!("ended with {}", end.exit),
        (None, None) => "ended".to_owned(),
    }
}

/// A unit is of the kind that its key says.
pub(super) fn fits(key: &UnitKey, memory: &Memory) -> bool {
    match memory {
        Memory::Deployment(_) => key.kind == Kind::Deployment,
        Memory::StatefulSet(_) => key.kind == Kind::StatefulSet,
        Memory::DaemonSet(_) => key.kind == Kind::DaemonSet,
        Memory::Job(_) => key.kind == Kind::Job,
        Memory::CronJob(_) => key.kind == Kind::CronJob,
    }
}
