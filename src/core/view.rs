//! What the outside may see of the core: plain values, made on request.
//!
//! Responsible for turning internal state into words and numbers. Must not format for a terminal
//! or for the wire.

use super::action::DataDir;
use super::event::Exit;
use super::id::{Revision, UnitKey};
use super::time::Wall;
use super::workload::Counts;
use super::workload::conditions::Condition;
use std::collections::BTreeMap;

/// The contract's words for where an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstanceState {
    /// No process yet.
    Pending,
    /// An init step runs.
    Init,
    /// Its program is being started.
    Starting,
    /// Its program runs and is not ready.
    Running,
    /// Its program runs and is ready.
    Ready,
    /// It was asked to end.
    Stopping,
    /// It waits before the next start.
    Backoff,
    /// Done.
    Succeeded,
    /// Not done, and not started again by itself.
    Failed,
}

impl InstanceState {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            InstanceState::Pending => "Pending",
            InstanceState::Init => "Init",
            InstanceState::Starting => "Starting",
            InstanceState::Running => "Running",
            InstanceState::Ready => "Ready",
            InstanceState::Stopping => "Stopping",
            InstanceState::Backoff => "Backoff",
            InstanceState::Succeeded => "Succeeded",
            InstanceState::Failed => "Failed",
        }
    }
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceView {
    /// Its name.
    pub name: String,
    /// Its number; greater is younger.
    pub slot: u64,
    /// The unit it belongs to.
    pub unit: UnitKey,
    /// The cronjob that made its job.
    pub owner: Option<UnitKey>,
    /// Where it is in its life.
    pub state: InstanceState,
    /// Why it is there, for people: what it waits for, why it failed.
    pub reason: Option<String>,
    /// What its process says of itself, for people.
    pub says: Option<String>,
    /// It does its work.
    pub ready: bool,
    /// Its main process.
    pub pid: Option<u32>,
    /// How often it was started again in place.
    pub restarts: u32,
    /// The number of its template; 1 where the kind has no history.
    pub revision: Revision,
    /// When it was made.
    pub created_at: Wall,
    /// When its present process was started.
    pub started_at: Option<Wall>,
    /// How its last process ended.
    pub last_exit: Option<Exit>,
    /// When.
    pub last_exit_at: Option<Wall>,
    /// When it will be started again.
    pub next_start: Option<Wall>,
    /// It might be started again, and is held back by the storm guard.
    pub held_back: bool,
    /// Statefulset: its ordinal. Indexed job: its index.
    pub ordinal: Option<u32>,
    /// Daemonset: its node.
    pub node: Option<String>,
    /// Daemonset by glob: its node's path.
    pub node_path: Option<String>,
    /// Its ports by name, in the order of its file.
    pub ports: Vec<(String, u16)>,
    /// Statefulset: where its data is.
    pub data_dir: Option<DataDir>,
}

/// What only jobs have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobView {
    /// How many run.
    pub active: u32,
    /// How many succeeded.
    pub succeeded: u32,
    /// How many failed.
    pub failed: u32,
    /// How many must succeed.
    pub completions: Option<u32>,
    /// When it began.
    pub started_at: Option<Wall>,
    /// When it ended.
    pub completed_at: Option<Wall>,
    /// Whether it succeeded, once it has ended.
    pub finished: Option<bool>,
    /// The slot of its cronjob that it stands for.
    pub scheduled: Option<Wall>,
}

/// What only cronjobs have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CronView {
    /// The expression.
    pub schedule: String,
    /// The zone; `None`: the machine's.
    pub time_zone: Option<String>,
    /// The slot started last.
    pub last_schedule: Option<Wall>,
    /// The next slot.
    pub next_schedule: Option<Wall>,
    /// Names of its jobs that are not finished.
    pub active: Vec<String>,
}

/// What is particular to the kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KindView {
    /// Deployment, statefulset, daemonset.
    Service,
    /// A job.
    Job(JobView),
    /// A cronjob.
    CronJob(CronView),
}

/// One unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitView {
    /// Kind and name.
    pub key: UnitKey,
    /// Free text.
    pub description: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Counts the changes of its spec, live ones included.
    pub generation: u64,
    /// The number of its newest template.
    pub revision: Revision,
    /// The counts.
    pub counts: Counts,
    /// The conditions.
    pub conditions: Vec<Condition>,
    /// When it was first applied.
    pub created_at: Wall,
    /// The cronjob that made it.
    pub owner: Option<UnitKey>,
    /// Its file is there and invalid, with the first error: the last good version runs on.
    pub invalid: Option<String>,
    /// An operator stopped it.
    pub stopped: bool,
    /// Roll-out steps are held back.
    pub paused: bool,
    /// Job, cronjob: nothing (new) runs.
    pub suspended: bool,
    /// It is on its way out.
    pub deleting: bool,
    /// This node's labels do not match its `node_selector`.
    pub not_selected: bool,
    /// The newest template runs everywhere and is available.
    pub rolled_out: bool,
    /// The roll-out exceeded its deadline.
    pub stalled: bool,
    /// Live changes that are in force, as `field: value`.
    pub overrides: Vec<(String, String)>,
    /// What is particular to the kind.
    pub kind: KindView,
}

/// A file that is there, is invalid, and has no last good version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidView {
    /// As far as the file could be read.
    pub key: UnitKey,
    /// The first error.
    pub message: String,
}

/// What `apply` would do, or did, to one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// New.
    Create,
    /// Its spec differs.
    Update,
    /// Its file is gone.
    Remove,
    /// Its file is invalid.
    Invalid,
}

/// One line of `apply --dry-run` and `diff`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The unit.
    pub key: UnitKey,
    /// What happens to it.
    pub kind: ChangeKind,
    /// Instances are replaced, because the template differs.
    pub rollout: bool,
    /// The values that differ: dotted path, old and new JSON text.
    pub fields: Vec<FieldChange>,
    /// Invalid: the first error.
    pub message: Option<String>,
}

/// One value that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// The dotted path, as in the unit file where the two agree.
    pub path: String,
    /// Before; `None`: it was not there.
    pub old: Option<String>,
    /// After; `None`: it is not there.
    pub new: Option<String>,
}
