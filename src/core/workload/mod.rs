//! The controllers: from what is wished and what is seen to what is to be done.
//!
//! Responsible for the vocabulary that all controllers share. A controller is one function,
//! `reconcile`, that reads the present state, takes one bounded step and returns it as
//! [`Intent`]s; calling it twice in the same state must be harmless (level, not edge). It must not
//! know processes, files or requests, and it changes nothing but its own `State`.
//!
//! The core applies the intents at once and calls again until nothing more is intended, so a
//! controller never sees a world in which its own earlier intents are still to happen.

pub mod conditions;
pub mod cronjob;
pub mod daemonset;
pub mod deployment;
mod few;
pub mod history;
pub mod job;
pub mod observations;
pub mod replicaset;
pub mod statefulset;

use super::event::Exit;
use super::report::{Field, Reason, Severity};
use super::spec::{InstanceTemplate, JobSpec};
use super::time::{Millis, Mono, Now, Wall};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use std::collections::BTreeMap;
use std::sync::Arc;

/// At most so many creations and deletions per reconcile (Kubernetes `BurstReplicas`). The core
/// calls again at once, so this bounds the length of a step, not the speed.
pub const BURST: usize = 500;

/// Which stored template an instance was made from: the number of a ReplicaSet or controller
/// revision within its unit. Never used again and never renumbered, unlike the revision number.
pub type SetId = u32;

/// What makes an instance more than one of many.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// Nothing: a deployment's, or a job's without indexes.
    Anonymous,
    /// A statefulset's ordinal.
    Ordinal(u32),
    /// An indexed job's index.
    Index(u32),
    /// A daemonset's node.
    Node {
        /// The node's name, part of the instance's name.
        name: String,
        /// The path that stands for it, with `nodes = { glob = ... }`.
        path: Option<String>,
    },
}

/// Where an instance is in its life, as far as a controller cares (Kubernetes' pod phase).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Made, its main program not started yet (init steps included).
    Pending,
    /// Its main program was started at least once; it may be waiting to be started again.
    Running,
    /// Its program exited 0 and is not started again.
    Succeeded,
    /// Its program failed and is not started again.
    Failed,
    /// It was restarted more often than `[restart] limit` allows and waits for an operator. Not
    /// Failed in Kubernetes' sense: it is not replaced.
    GaveUp,
}

/// One instance as controllers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Its number; a greater one was made later.
    pub slot: u64,
    /// Its name.
    pub name: SmolStr,
    /// What it was made from.
    pub set: SetId,
    /// What makes it more than one of many.
    pub identity: Identity,
    /// Where it is in its life.
    pub phase: Phase,
    /// Since when it is ready, without a break.
    pub ready_since: Option<Mono>,
    /// It was asked to go and has not yet gone.
    pub terminating: bool,
    /// When it was made.
    pub created: Mono,
    /// How often its main program was started again in place.
    pub restarts: u32,
    /// How its program ended last, if it did.
    pub exit: Option<Exit>,
    /// When its program ended last.
    pub ended: Option<Mono>,
    /// Why its last start could not be made; `None` once one has been.
    pub start_failure: Option<String>,
}

impl Observed {
    /// Not ended for good and not on its way out (Kubernetes `IsPodActive`).
    pub fn active(&self) -> bool {
        !self.terminating && !matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// Its program runs and does its work.
    pub fn ready(&self) -> bool {
        self.ready_since.is_some()
    }

    /// Ready for at least `min_ready` (Kubernetes `IsPodAvailable`).
    pub fn available(&self, min_ready: Millis, now: Mono) -> bool {
        self.ready_since.is_some_and(|since| now.since(since) >= min_ready)
    }

    /// When it will be available if it stays ready; `None` if it is not ready or already is.
    pub fn available_at(&self, min_ready: Millis, now: Mono) -> Option<Mono> {
        self.ready_since.map(|since| since.plus(min_ready)).filter(|at| *at > now)
    }
}

/// Whether a unit is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is.
    Run,
    /// It is not, for now: stopped by an operator, not selected for this node, or the daemon
    /// stops. Instances go in the kind's order. No data is removed, no run is counted as failed.
    Stopped,
    /// It is on its way out. Instances go in the kind's order, then the unit.
    Deleting,
}

/// What every controller is told besides its own spec and state.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// The unit's name.
    pub name: &'a str,
    /// What instances are to be made from now.
    pub template: &'a Arc<InstanceTemplate>,
    /// Whether the unit is to run.
    pub mode: Mode,
    /// Both clocks.
    pub now: Now,
}

/// How a new instance is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewName {
    /// Exactly so.
    Fixed(String),
    /// This, a dash, and five characters that the core draws so that the name is new.
    Random(String),
}

/// Something told to people. The core adds time and unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether to worry.
    pub severity: Severity,
    /// What happened.
    pub reason: Reason,
    /// A sentence for people.
    pub message: String,
    /// Further fields.
    pub fields: BTreeMap<&'static str, Field>,
}

impl Note {
    /// All as it should be.
    pub fn normal(reason: Reason, message: impl Into<String>) -> Note {
        Note {
            severity: Severity::Normal,
            reason,
            message: message.into(),
            fields: BTreeMap::new(),
        }
    }

    /// Something went wrong.
    pub fn warning(reason: Reason, message: impl Into<String>) -> Note {
        Note {
            severity: Severity::Warning,
            reason,
            message: message.into(),
            fields: BTreeMap::new(),
        }
    }

    /// The same with one more field.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: Field) -> Note {
        self.fields.insert(name, value);
        self
    }

    /// The same with one more number.
    #[must_use]
    pub fn with_int(self, name: &'static str, value: impl Into<i64>) -> Note {
        self.with(name, Field::Int(value.into()))
    }
}

/// One thing a controller wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Make an instance from this set.
    Create {
        /// The set; its template is found by the state's `template_of`.
        set: SetId,
        /// How it is called.
        name: NewName,
        /// What makes it more than one of many.
        identity: Identity,
    },
    /// Ask an instance to go; one that has ended already is gone at once.
    Delete {
        /// Which.
        slot: u64,
    },
    /// Start a Failed, Succeeded or given-up instance's removal and tell nobody: it has served
    /// as a record of a finished run and is surplus now.
    Forget {
        /// Which.
        slot: u64,
    },
    /// Remove the data directory of an instance that is gone (statefulset).
    RemoveData {
        /// The instance's name.
        instance: String,
    },
    /// Make a job (cronjob).
    CreateJob(NewJob),
    /// Remove a job and what runs of it (cronjob).
    DeleteJob {
        /// The job's name.
        name: String,
    },
    /// Remove the unit itself (a job whose time to live is over).
    RemoveUnit,
    /// Tell people.
    Tell(Note),
}

/// A job that a cronjob makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// Its name.
    pub name: String,
    /// What it is like.
    pub spec: JobSpec,
    /// What its instances are made from.
    pub template: Arc<InstanceTemplate>,
    /// The slot it stands for; `None`: triggered by hand.
    pub scheduled: Option<Wall>,
}

/// What one reconcile comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What to do, in this order.
    pub intents: Vec<Intent>,
    /// Call again by then even if nothing happens; the earliest such instant.
    pub recheck: Option<Mono>,
    /// `Mode::Deleting`: nothing is left, the unit may be forgotten.
    pub gone: bool,
}

impl Outcome {
    /// Adds an intent.
    pub fn push(&mut self, intent: Intent) {
        self.intents.push(intent);
    }

    /// Adds something to tell.
    pub fn tell(&mut self, note: Note) {
        self.intents.push(Intent::Tell(note));
    }

    /// Asks to be called by `at`, if no earlier call is asked for.
    pub fn recheck_at(&mut self, at: Mono) {
        self.recheck = Some(self.recheck.map_or(at, |old| old.min(at)));
    }
}

/// A part of a controller's state that it computes anew at each step: no part of what is
/// remembered, so two states that differ only in it are equal, and nothing is stored for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Computed<T>(pub(crate) T);

impl<T> PartialEq for Computed<T> {
    fn eq(&self, _: &Computed<T>) -> bool {
        true
    }
}

impl<T> Eq for Computed<T> {}

/// The counts that `ctl get` shows (the contract's fields).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// How many are wanted.
    pub desired: u32,
    /// How many there are (not counting ones that go).
    pub current: u32,
    /// How many are ready.
    pub ready: u32,
    /// How many are of the newest revision.
    pub updated: u32,
    /// How many are ready for `min_ready`.
    pub available: u32,
}

/// What a controller's state shows to the outside, whatever its kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The counts.
    pub counts: Counts,
    /// The newest revision's number; 0 if the kind has none.
    pub revision: u64,
    /// The conditions, in the order in which they first appeared.
    pub conditions: Vec<conditions::Condition>,
    /// Deployment, statefulset, daemonset: the newest template runs everywhere and is available.
    pub rolled_out: bool,
    /// Deployment: the roll-out exceeded its progress deadline.
    pub stalled: bool,
}

/// A past or present template of a unit, for `rollout history` and `undo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Its number now.
    pub revision: u64,
    /// The set.
    pub set: SetId,
    /// The template.
    pub template: Arc<InstanceTemplate>,
    /// When it was first used.
    pub created: Wall,
    /// How many instances run of it.
    pub instances: u32,
    /// The numbers it had before (comma list), if any.
    pub earlier: String,
}

/// A stable hash of a template for names: 32-bit FNV-1a over its JSON, with `collision` mixed in,
/// in the safe alphabet. Equality of templates decides about roll-outs, never equality of hashes.
pub fn template_hash(template: &InstanceTemplate, collision: u32) -> String {
    let text = serde_json_like(template);
    let mut hash: u32 = 0x811c_9dc5;
    for byte in text.bytes().chain(collision.to_le_bytes()) {
        hash ^= u32::from(byte);
        hash = hash.wrapping_mul(0x0100_0193);
    }
    super::id::safe_encode(u64::from(hash))
}

/// A deterministic dump: derived `Debug` output is stable for one build of wsup, and the hash is
/// stored with the set, so a change between builds changes no existing name.
fn serde_json_like(template: &InstanceTemplate) -> String {
    format!("{template:?}")
}
