//! What is said over the control socket: documented in `docs/json.md`, stable.
//!
//! Responsible for the form of every answer and for making it from the core's views. A field may
//! be added; none is renamed, removed or given another meaning within `/v1`.

mod error;

pub use error::{ApiError, ErrorBody, ErrorCode};

use crate::api::door::{ApplyOutcome, DaemonFacts, RunnerFacts};
use crate::core::action::DataDir;
use crate::core::event::Exit;
use crate::core::id::UnitKey;
use crate::core::report::{Field, Report};
use crate::core::signal;
use crate::core::time::Wall;
use crate::core::view::{
    Change, ChangeKind, CronView, FieldChange, InstanceView, InvalidView, JobView, KindView,
    UnitView,
};
use crate::core::workload::conditions::Condition;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// An instant for the wire: RFC 3339 in UTC. Instants that no calendar holds become the epoch.
pub fn time(wall: Wall) -> Timestamp {
    Timestamp::from_millisecond(wall.0).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// One instance: an element of `ps -o json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// Its unit's name.
    pub unit: String,
    /// Its unit's kind.
    pub kind: String,
    /// The cronjob that made its job, as `kind/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Pending, Init, Starting, Running, Ready, Stopping, Backoff, Succeeded or Failed.
    pub state: String,
    /// Why it is in that state, or null.
    pub reason: Option<String>,
    /// What its process says of itself (`STATUS=` of sd_notify(3)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
    /// Whether it does its work.
    pub ready: bool,
    /// Its main process, or null.
    pub pid: Option<u32>,
    /// How often it was started again in place.
    pub restarts: u32,
    /// The number of its template.
    pub revision: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its present process was started, or null.
    pub started_at: Option<Timestamp>,
    /// With which code its last process exited, or null.
    pub exit_code: Option<i32>,
    /// By which signal its last process was ended, or null.
    pub signal: Option<String>,
    /// `OOMKilled`: the kernel's OOM killer ended its last process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_reason: Option<String>,
    /// When its last process ended, or null.
    pub last_exit_at: Option<Timestamp>,
    /// When it will be started again, or null.
    pub next_start: Option<Timestamp>,
    /// Statefulset: its ordinal. Indexed job: its index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<u32>,
    /// Daemonset: its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Daemonset by glob: the path that stands for its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_path: Option<String>,
    /// Its ports by name, if it has any.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, u16>,
    /// Statefulset: where its data is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
}

/// Where an instance's data is.
fn data_path(dir: &DataDir, unit: &UnitKey, state_dir: &Path) -> PathBuf {
    match &dir.base {
        Some(base) => Path::new(base).join(&dir.instance),
        None => state_dir.join("data").join(unit.name.as_str()).join(&dir.instance),
    }
}

impl Instance {
    /// From the core's view; data directories without a path of their own are below `state_dir`.
    pub fn new(view: &InstanceView, state_dir: &Path) -> Instance {
        let (exit_code, signal) = match view.last_exit {
            Some(Exit::Code(code)) => (Some(code), None),
            Some(Exit::Signal(signal)) => (None, Some(signal::shown(signal))),
            Some(Exit::OomKilled) => (None, Some(signal::shown(signal::KILL))),
            Some(Exit::Unknown) | None => (None, None),
        };
        let exit_reason = match view.last_exit {
            Some(Exit::OomKilled) => Some("OOMKilled".to_owned()),
            Some(Exit::Code(_) | Exit::Signal(_) | Exit::Unknown) | None => None,
        };
        Instance {
            name: view.name.clone(),
            unit: view.unit.name.to_string(),
            kind: view.unit.kind.to_string(),
            owner: view.owner.as_ref().map(UnitKey::to_string),
            state: view.state.as_str().to_owned(),
            reason: view.reason.clone(),
            says: view.says.clone(),
            ready: view.ready,
            pid: view.pid,
            restarts: view.restarts,
            revision: view.revision,
            created_at: time(view.created_at),
            started_at: view.started_at.map(time),
            exit_code,
            signal,
            exit_reason,
            last_exit_at: view.last_exit_at.map(time),
            next_start: view.next_start.map(time),
            ordinal: view.ordinal,
            node: view.node.clone(),
            node_path: view.node_path.clone(),
            ports: view.ports.iter().cloned().collect(),
            data_dir: view.data_dir.as_ref().map(|dir| data_path(dir, &view.unit, state_dir)),
        }
    }
}

/// A typed statement about a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionJson {
    /// Such as `Available`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// A CamelCase word.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// When `status` last changed.
    pub last_transition: Timestamp,
}

impl From<&Condition> for ConditionJson {
    fn from(c: &Condition) -> Self {
        ConditionJson {
            kind: c.kind.to_string(),
            status: c.status.as_str().to_owned(),
            reason: c.reason.to_string(),
            message: c.message.to_string(),
            last_transition: time(c.last_transition),
        }
    }
}

/// What only jobs have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// How many instances run.
    pub active: u32,
    /// How many have succeeded.
    pub succeeded: u32,
    /// How many have failed.
    pub failed: u32,
    /// How many must succeed, or null.
    pub completions: Option<u32>,
    /// When it began, or null.
    pub started_at: Option<Timestamp>,
    /// When it ended, or null.
    pub completed_at: Option<Timestamp>,
    /// True: complete; false: failed; null: neither yet.
    pub finished: Option<bool>,
    /// The slot of its cronjob that it stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled: Option<Timestamp>,
}

impl From<&JobView> for Job {
    fn from(v: &JobView) -> Self {
        Job {
            active: v.active,
            succeeded: v.succeeded,
            failed: v.failed,
            completions: v.completions,
            started_at: v.started_at.map(time),
            completed_at: v.completed_at.map(time),
            finished: v.finished,
            scheduled: v.scheduled.map(time),
        }
    }
}

/// What only cronjobs have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronJob {
    /// The expression.
    pub schedule: String,
    /// The zone; null: the machine's.
    pub time_zone: Option<String>,
    /// The slot started last, or null.
    pub last_schedule: Option<Timestamp>,
    /// The next slot, or null.
    pub next_schedule: Option<Timestamp>,
    /// The names of its jobs that are not finished.
    pub active: Vec<String>,
}

impl From<&CronView> for CronJob {
    fn from(v: &CronView) -> Self {
        CronJob {
            schedule: v.schedule.clone(),
            time_zone: v.time_zone.clone(),
            last_schedule: v.last_schedule.map(time),
            next_schedule: v.next_schedule.map(time),
            active: v.active.clone(),
        }
    }
}

/// What is particular to the kind; its fields stand beside the unit's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Particular {
    /// A cronjob's.
    CronJob(CronJob),
    /// A job's.
    Job(Job),
    /// Nothing further.
    Service {},
}

/// One unit: an element of `get -o json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Free text, or null.
    pub description: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Counts the changes of its spec, live ones included.
    pub generation: u64,
    /// The number of its newest template.
    pub revision: u64,
    /// How many instances are wanted.
    pub desired: u32,
    /// How many there are.
    pub current: u32,
    /// How many are ready.
    pub ready: u32,
    /// How many are of the newest template.
    pub updated: u32,
    /// How many have been ready for `min_ready`.
    pub available: u32,
    /// Typed statements.
    pub conditions: Vec<ConditionJson>,
    /// When it was first applied.
    pub created_at: Timestamp,
    /// The cronjob that made it, as `kind/name`, or null.
    pub owner: Option<String>,
    /// Its file's first mistake, or null: the last good version runs.
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
    /// Live changes in force.
    pub overrides: BTreeMap<String, String>,
    /// What is particular to the kind.
    #[serde(flatten)]
    pub particular: Particular,
}

impl From<&UnitView> for Unit {
    fn from(v: &UnitView) -> Self {
        Unit {
            name: v.key.name.to_string(),
            kind: v.key.kind.to_string(),
            description: v.description.clone(),
            labels: v.labels.clone(),
            generation: v.generation,
            revision: v.revision,
            desired: v.counts.desired,
            current: v.counts.current,
            ready: v.counts.ready,
            updated: v.counts.updated,
            available: v.counts.available,
            conditions: v.conditions.iter().map(ConditionJson::from).collect(),
            created_at: time(v.created_at),
            owner: v.owner.as_ref().map(UnitKey::to_string),
            invalid: v.invalid.clone(),
            stopped: v.stopped,
            paused: v.paused,
            suspended: v.suspended,
            deleting: v.deleting,
            not_selected: v.not_selected,
            rolled_out: v.rolled_out,
            stalled: v.stalled,
            overrides: v.overrides.iter().cloned().collect(),
            particular: match &v.kind {
                KindView::Service => Particular::Service {},
                KindView::Job(job) => Particular::Job(job.into()),
                KindView::CronJob(cron) => Particular::CronJob(cron.into()),
            },
        }
    }
}

impl Unit {
    /// `kind/name`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

/// A unit file that is invalid and has no last good version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvalidFile {
    /// The name, as far as the file could be read.
    pub name: String,
    /// The kind, as far as the file could be read.
    pub kind: String,
    /// The first mistake.
    pub message: String,
}

impl From<&InvalidView> for InvalidFile {
    fn from(v: &InvalidView) -> Self {
        InvalidFile {
            name: v.key.name.to_string(),
            kind: v.key.kind.to_string(),
            message: v.message.clone(),
        }
    }
}

/// What `ps` without `-o json` shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overview {
    /// The instances, by unit and name.
    pub instances: Vec<Instance>,
    /// The units they may belong to.
    pub units: Vec<Unit>,
    /// Files without a last good version.
    pub invalid: Vec<InvalidFile>,
}

/// One event: a line of `events -o json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When it happened.
    pub time: Timestamp,
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub severity: String,
    /// One of the reasons of the contract.
    pub reason: String,
    /// The unit's kind, or null: the daemon itself.
    pub kind: Option<String>,
    /// The unit's name, or null.
    pub name: Option<String>,
    /// The instance's name, or null.
    pub instance: Option<String>,
    /// A sentence.
    pub message: String,
    /// The fields of that reason.
    #[serde(flatten)]
    pub fields: BTreeMap<String, Value>,
}

impl From<&Report> for Event {
    fn from(r: &Report) -> Self {
        let value = |field: &Field| match field {
            Field::Int(n) => Value::from(*n),
            Field::Text(text) => Value::from(text.clone()),
            Field::Time(wall) => Value::from(time(*wall).to_string()),
        };
        Event {
            time: time(r.time),
            severity: match r.severity {
                crate::core::report::Severity::Normal => "Normal".to_owned(),
                crate::core::report::Severity::Warning => "Warning".to_owned(),
            },
            reason: r.reason.as_str().to_owned(),
            kind: r.unit.as_ref().map(|u| u.kind.to_string()),
            name: r.unit.as_ref().map(|u| u.name.to_string()),
            instance: r.instance.clone(),
            message: r.message.clone(),
            fields: r.fields.iter().map(|(k, v)| ((*k).to_owned(), value(v))).collect(),
        }
    }
}

/// The daemon: `version -o json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Daemon {
    /// Its version.
    pub version: String,
    /// Its process number.
    pub pid: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// Its node's name.
    pub node: String,
    /// `system`, `user` or `dev`.
    pub mode: String,
    /// Where durable state is.
    pub state_dir: PathBuf,
    /// Where sockets are.
    pub runtime_dir: PathBuf,
    /// Where logs are.
    pub log_dir: PathBuf,
    /// Where unit files are read from.
    pub units_dirs: Vec<PathBuf>,
    /// The runner's process number, or null.
    pub runner_pid: Option<u32>,
    /// How the runner holds instances.
    pub runner_mode: String,
    /// How many runners there are.
    #[serde(default)]
    pub runners: usize,
}

impl Daemon {
    /// Puts the facts together.
    pub fn new(daemon: &DaemonFacts, runner: RunnerFacts) -> Daemon {
        Daemon {
            version: daemon.version.clone(),
            pid: daemon.pid,
            started_at: time(daemon.started_at),
            node: daemon.node.clone(),
            mode: daemon.mode.clone(),
            state_dir: daemon.state_dir.clone(),
            runtime_dir: daemon.runtime_dir.clone(),
            log_dir: daemon.log_dir.clone(),
            units_dirs: daemon.units_dirs.clone(),
            runner_pid: runner.pid,
            runner_mode: runner.mode,
            runners: runner.runners,
        }
    }
}

/// One value that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldJson {
    /// The dotted path.
    pub path: String,
    /// Before, as JSON text; null: it was not there.
    pub old: Option<String>,
    /// After, as JSON text; null: it is not there.
    pub new: Option<String>,
}

impl From<&FieldChange> for FieldJson {
    fn from(v: &FieldChange) -> Self {
        FieldJson { path: v.path.clone(), old: v.old.clone(), new: v.new.clone() }
    }
}

/// What became, or would become, of one unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitChange {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// `create`, `update`, `remove` or `invalid`.
    pub change: String,
    /// Its instances are replaced.
    pub rollout: bool,
    /// The values that differ.
    pub fields: Vec<FieldJson>,
    /// `invalid`: the first mistake, otherwise null.
    pub message: Option<String>,
}

impl From<&Change> for UnitChange {
    fn from(v: &Change) -> Self {
        UnitChange {
            name: v.key.name.to_string(),
            kind: v.key.kind.to_string(),
            change: match v.kind {
                ChangeKind::Create => "create",
                ChangeKind::Update => "update",
                ChangeKind::Remove => "remove",
                ChangeKind::Invalid => "invalid",
            }
            .to_owned(),
            rollout: v.rollout,
            fields: v.fields.iter().map(FieldJson::from).collect(),
            message: v.message.clone(),
        }
    }
}

/// The answer to `apply` and `diff`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// One for each unit that is not unchanged.
    pub changes: Vec<UnitChange>,
    /// How many units are as they were.
    pub unchanged: usize,
    /// The mistakes of invalid files, for a terminal.
    pub diagnostics: Vec<String>,
    /// Further lines for people.
    pub messages: Vec<String>,
}

impl From<ApplyOutcome> for Applied {
    fn from(v: ApplyOutcome) -> Self {
        Applied {
            changes: v.changes.iter().map(UnitChange::from).collect(),
            unchanged: v.unchanged,
            diagnostics: v.diagnostics,
            messages: v.messages,
        }
    }
}

/// The answer to a verb that changes something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acted {
    /// One line for each thing that changed.
    pub messages: Vec<String>,
    /// The names of what was made.
    pub created: Vec<String>,
    /// Of several targets, those that it was refused for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ApiError>,
}

/// A past or present template: an element of `rollout history -o json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// Its number.
    pub revision: u64,
    /// The numbers it had before, if any.
    pub earlier: String,
    /// When it was first used.
    pub created_at: Timestamp,
    /// How many instances run of it.
    pub instances: u32,
    /// It is the newest.
    pub current: bool,
    /// What differs from the template before it; empty for the oldest.
    pub changes: Vec<FieldJson>,
    /// What the template says: name and value, for people.
    #[serde(default)]
    pub facts: Vec<(String, String)>,
}

/// Everything about one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// The instance that was asked for; null: a unit was.
    pub instance: Option<Instance>,
    /// The unit, or the instance's unit.
    pub unit: Option<Unit>,
    /// What the unit is made from: name and value, for people.
    pub facts: Vec<(String, String)>,
    /// A unit's instances.
    pub instances: Vec<Instance>,
    /// A cronjob's jobs.
    pub jobs: Vec<Unit>,
    /// The events about it, oldest first.
    pub events: Vec<Event>,
}

/// How far a roll-out or a wait has got: a line of `/v1/rollout/status` and `/v1/wait`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// A sentence.
    pub message: String,
    /// It is over, and well; this is the last line.
    pub done: bool,
    /// It is over, and not well; this is the last line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ApiError>,
}

/// One line of a watched list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched<T> {
    /// `added`, `modified`, `removed`, or `synced` once after the first state was sent.
    pub change: String,
    /// The thing as it is now, or was last; null for `synced`.
    pub object: Option<T>,
}

/// What is asked of the daemon: the body of `POST /v1/actions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// What to do.
    #[serde(flatten)]
    pub verb: Verb,
    /// What to do it to: `kind/name`, a name, an instance's name.
    #[serde(default)]
    pub targets: Vec<String>,
    /// All units that no cronjob made, instead of `targets`.
    #[serde(default)]
    pub all: bool,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Verb {
    /// Run what was stopped.
    Start,
    /// Stop, and stay stopped.
    Stop,
    /// Stop and start again in place.
    Restart,
    /// Job, cronjob: run nothing (new).
    Suspend,
    /// Job, cronjob: go on.
    Resume,
    /// Have programs read their configuration anew.
    Reload,
    /// Send a signal to main processes.
    Signal {
        /// By name or number.
        signal: String,
    },
    /// Remove.
    Delete,
    /// Change the desired count.
    Scale {
        /// To this.
        replicas: u32,
    },
    /// Go back to a former template.
    RolloutUndo {
        /// Which; null: the one before the newest.
        to_revision: Option<u64>,
    },
    /// Take no roll-out step.
    RolloutPause,
    /// Go on with the roll-out.
    RolloutResume,
    /// Replace all instances, step by step.
    RolloutRestart,
    /// Make a job of a cronjob now.
    Trigger {
        /// Its name; null: a generated one.
        name: Option<String>,
    },
}
