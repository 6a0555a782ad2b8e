//! A unit as the core keeps it: what its file says, what operators changed since, what its
//! controller remembers.
//!
//! Responsible for live changes ("overrides") and how they end, and for what is remembered of a
//! unit over the end of the daemon. Must not decide about instances.

use super::depends::Offers;
use super::id::{Kind, UnitKey};
use super::spec::{InstanceTemplate, UnitSpec, WorkloadSpec};
use super::time::{Mono, Wall};
use super::workload::conditions::Condition;
use super::workload::observations::Observations;
use super::workload::{
    HistoryEntry, SetId, Status, cronjob, daemonset, deployment, job, statefulset,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use smallvec::SmallVec;
use smol_str::SmolStr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Live changes: each stays until the unit file's own value of that field changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Overrides {
    /// `scale`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// `rollout pause` and `resume`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// `suspend` and `resume`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// `stop`: not a field of the file, so it stays until `start`.
    pub stopped: bool,
    /// `rollout undo`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<Arc<InstanceTemplate>>,
    /// `rollout restart`, in milliseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarted_at: Option<i64>,
}

impl Overrides {
    /// Ends every live change whose field differs between the two versions of the file.
    pub fn drop_changed(&mut self, old: &UnitSpec, new: &UnitSpec) {
        if replicas_of(old) != replicas_of(new) {
            self.replicas = None;
        }
        if paused_of(old) != paused_of(new) {
            self.paused = None;
        }
        if suspend_of(old) != suspend_of(new) {
            self.suspend = None;
        }
        if old.template != new.template {
            self.template = None;
            self.restarted_at = None;
        }
    }

    /// What is in force, as `field: value`.
    pub fn describe(&self) -> Vec<(String, String)> {
        let mut list = Vec::new();
        let mut say = |field: &str, value: String| list.push((field.to_owned(), value));
        if let Some(replicas) = self.replicas {
            say("replicas", replicas.to_string());
        }
        if let Some(paused) = self.paused {
            say("rollout.paused", paused.to_string());
        }
        if let Some(suspend) = self.suspend {
            say("suspend", suspend.to_string());
        }
        if self.stopped {
            say("stopped", "true".to_owned());
        }
        if self.template.is_some() {
            say("process", "as before, by `rollout undo`".to_owned());
        }
        if self.restarted_at.is_some() {
            say("restarted", "by `rollout restart`".to_owned());
        }
        list
    }
}

/// The field that `scale` changes, in kinds that have it.
pub fn replicas_of(spec: &UnitSpec) -> Option<u32> {
    match &spec.workload {
        WorkloadSpec::Deployment(d) => Some(d.replicas),
        WorkloadSpec::StatefulSet(s) => Some(s.replicas),
        WorkloadSpec::DaemonSet(_) | WorkloadSpec::Job(_) | WorkloadSpec::CronJob(_) => None,
    }
}

/// The field that `rollout pause` changes, in kinds that have it.
pub fn paused_of(spec: &UnitSpec) -> Option<bool> {
    match &spec.workload {
        WorkloadSpec::Deployment(d) => Some(d.paused),
        WorkloadSpec::StatefulSet(s) => Some(s.paused),
        WorkloadSpec::DaemonSet(d) => Some(d.paused),
        WorkloadSpec::Job(_) | WorkloadSpec::CronJob(_) => None,
    }
}

/// The field that `suspend` changes, in kinds that have it.
pub fn suspend_of(spec: &UnitSpec) -> Option<bool> {
    match &spec.workload {
        WorkloadSpec::Job(j) => Some(j.suspend),
        WorkloadSpec::CronJob(c) => Some(c.suspend),
        WorkloadSpec::Deployment(_) | WorkloadSpec::StatefulSet(_) | WorkloadSpec::DaemonSet(_) => {
            None
        }
    }
}

/// What a unit's controller remembers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Memory {
    /// See [`deployment::State`].
    Deployment(deployment::State),
    /// See [`statefulset::State`].
    StatefulSet(statefulset::State),
    /// See [`daemonset::State`].
    DaemonSet(daemonset::State),
    /// See [`job::State`].
    Job(job::State),
    /// See [`cronjob::State`].
    CronJob(cronjob::State),
}

impl Memory {
    /// Nothing remembered yet.
    pub fn new(kind: Kind) -> Memory {
        match kind {
            Kind::Deployment => Memory::Deployment(deployment::State::default()),
            Kind::StatefulSet => Memory::StatefulSet(statefulset::State::default()),
            Kind::DaemonSet => Memory::DaemonSet(daemonset::State::default()),
            Kind::Job => Memory::Job(job::State::default()),
            Kind::CronJob => Memory::CronJob(cronjob::State::default()),
        }
    }

    /// The template of a set.
    pub fn template_of(&self, set: SetId) -> Option<&Arc<InstanceTemplate>> {
        match self {
            Memory::Deployment(state) => state.template_of(set),
            Memory::StatefulSet(state) => state.template_of(set),
            Memory::DaemonSet(state) => state.template_of(set),
            Memory::Job(state) => state.template_of(set),
            Memory::CronJob(_) => None,
        }
    }

    /// The number of a set now.
    pub fn revision_of(&self, set: SetId) -> Option<u64> {
        match self {
            Memory::Deployment(state) => state.revision_of(set),
            Memory::StatefulSet(state) => state.revision_of(set),
            Memory::DaemonSet(state) => state.revision_of(set),
            Memory::Job(state) => state.revision_of(set),
            Memory::CronJob(_) => None,
        }
    }

    /// What is shown to the outside.
    pub fn status(&self) -> Status {
        match self {
            Memory::Deployment(state) => state.status(),
            Memory::StatefulSet(state) => state.status(),
            Memory::DaemonSet(state) => state.status(),
            Memory::Job(state) => state.status(),
            Memory::CronJob(state) => state.status(),
        }
    }

    /// What a deployment says of its instances at the moment.
    pub(crate) fn of_the_moment(&self) -> impl Iterator<Item = &Condition> {
        let deployment = match self {
            Memory::Deployment(state) => Some(state),
            Memory::StatefulSet(_) | Memory::DaemonSet(_) | Memory::Job(_) | Memory::CronJob(_) => {
                None
            }
        };
        deployment.into_iter().flat_map(deployment::State::of_the_moment)
    }

    /// Takes that up again after the daemon's end.
    pub(crate) fn put_back(&mut self, conditions: Vec<Condition>) {
        match self {
            Memory::Deployment(state) => state.put_back(conditions),
            Memory::StatefulSet(_) | Memory::DaemonSet(_) | Memory::Job(_) | Memory::CronJob(_) => {
            }
        }
    }

    /// Past and present templates.
    pub fn history(&self) -> Vec<HistoryEntry> {
        match self {
            Memory::Deployment(state) => state.history(),
            Memory::StatefulSet(state) => state.history(),
            Memory::DaemonSet(state) => state.history(),
            Memory::Job(_) | Memory::CronJob(_) => Vec::new(),
        }
    }
}

/// The part of a unit that is remembered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    /// What its file says, or what its cronjob made it of.
    pub file: Arc<UnitSpec>,
    /// What operators changed since.
    #[serde(default)]
    pub overrides: Overrides,
    /// What its controller remembers.
    pub memory: Memory,
    /// Counts changes of the spec.
    pub generation: u64,
    /// When it was first applied.
    pub created: Wall,
    /// The cronjob that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<UnitKey>,
    /// The slot of that cronjob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled: Option<Wall>,
    /// It is on its way out.
    #[serde(default)]
    pub deleting: bool,
    /// A new run of the job was asked for and begins once the present one has ended.
    #[serde(default)]
    pub rerun: bool,
}

/// A unit that is gone although its file is still there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buried {
    /// What the file said then.
    pub file: UnitSpec,
    /// It is a job that finished and whose time to live is over: an `apply` does not run it
    /// again as long as its file says the same.
    pub finished: bool,
    /// It is a job that completed.
    #[serde(default)]
    pub complete: bool,
}

/// A unit.
#[derive(Clone, Debug)]
pub struct Unit {
    /// What is remembered over the end of the daemon.
    pub kept: Remembered,
    /// The spec in force: the file's with all overrides.
    pub spec: Arc<UnitSpec>,
    /// The first error of its file, while that is invalid.
    pub invalid: Option<String>,
    /// What is to be made under this identity once this one is gone.
    pub successor: Option<Box<UnitSpec>>,
    /// Its instances as its controller sees them.
    pub instances: Observations,
    /// Cronjob: its jobs.
    pub jobs: BTreeSet<UnitKey>,
    /// Daemonset: the nodes that are there; `None`: not told yet.
    pub nodes: Option<BTreeMap<String, Option<String>>>,
    /// The names that it depends on, as they are indexed.
    pub depends_on: BTreeSet<SmolStr>,
    /// Its dependencies are not there: no instance of it is started.
    pub waits: bool,
    /// What it is for those that depend on it; kept up to date while there are any.
    pub offers: Offers,
    /// When its controller wants to be called again.
    pub recheck: Option<Mono>,
    /// What was last given to the store.
    pub stored: Option<Remembered>,
    /// What was last given to the store of what is said of the instances at the moment.
    pub(crate) status_stored: SmallVec<[Condition; 1]>,
    /// The text of `kept.file` as the store has it, for the file it was made of.
    pub text: Option<(Arc<UnitSpec>, Box<RawValue>)>,
}

impl Unit {
    /// A new unit.
    pub fn new(file: UnitSpec, now: Wall) -> Unit {
        let memory = Memory::new(file.kind());
        Unit::from_kept(Remembered {
            file: Arc::new(file),
            overrides: Overrides::default(),
            memory,
            generation: 1,
            created: now,
            owner: None,
            scheduled: None,
            deleting: false,
            rerun: false,
        })
    }

    /// A unit that was remembered.
    pub fn from_kept(kept: Remembered) -> Unit {
        let spec = in_force(&kept.file, &kept.overrides);
        Unit {
            kept,
            spec,
            invalid: None,
            successor: None,
            instances: Observations::default(),
            jobs: BTreeSet::new(),
            nodes: None,
            depends_on: BTreeSet::new(),
            waits: false,
            offers: Offers::default(),
            recheck: None,
            stored: None,
            status_stored: SmallVec::new(),
            text: None,
        }
    }

    /// Takes a new version of the file. Returns whether the spec in force changed.
    pub fn apply(&mut self, file: UnitSpec) -> bool {
        self.kept.overrides.drop_changed(&self.kept.file, &file);
        self.kept.file = Arc::new(file);
        self.refresh()
    }

    /// Computes the spec in force anew after a change of file or overrides. Returns whether it
    /// differs; the generation rises if so.
    pub fn refresh(&mut self) -> bool {
        let spec = in_force(&self.kept.file, &self.kept.overrides);
        if self.spec == spec {
            return false;
        }
        self.spec = spec;
        self.kept.generation = self.kept.generation.saturating_add(1);
        true
    }
}

fn in_force(file: &Arc<UnitSpec>, overrides: &Overrides) -> Arc<UnitSpec> {
    if *overrides == (Overrides { stopped: overrides.stopped, ..Overrides::default() }) {
        return Arc::clone(file);
    }
    let mut spec = UnitSpec::clone(file);
    match &mut spec.workload {
        WorkloadSpec::Deployment(d) => {
            d.replicas = overrides.replicas.unwrap_or(d.replicas);
            d.paused = overrides.paused.unwrap_or(d.paused);
        }
        WorkloadSpec::StatefulSet(s) => {
            s.replicas = overrides.replicas.unwrap_or(s.replicas);
            s.paused = overrides.paused.unwrap_or(s.paused);
        }
        WorkloadSpec::DaemonSet(d) => d.paused = overrides.paused.unwrap_or(d.paused),
        WorkloadSpec::Job(j) => j.suspend = overrides.suspend.unwrap_or(j.suspend),
        WorkloadSpec::CronJob(c) => c.suspend = overrides.suspend.unwrap_or(c.suspend),
    }
    if let Some(template) = &overrides.template {
        spec.template = Arc::clone(template);
    }
    if let Some(at) = overrides.restarted_at {
        Arc::make_mut(&mut spec.template).restarted_at = Some(at);
    }
    Arc::new(spec)
}
