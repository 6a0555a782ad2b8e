//! What an operator can ask of the core, and what is answered.
//!
//! Responsible for the vocabulary of `wsup ctl` verbs that change something. Reading is done
//! through `core::view` and needs no request.

use super::id::{Revision, UnitKey};
use std::fmt;

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A unit, known by kind and name.
    Unit(UnitKey),
    /// An instance, known by name.
    Instance(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Unit(key) => write!(f, "{key}"),
            Target::Instance(name) => f.write_str(name),
        }
    }
}

/// A change that an operator asks for. Whoever sends it has found the target already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Run what was stopped. An instance that gave up is tried again.
    Start(Target),
    /// Stop and stay stopped, also over a restart of the daemon.
    Stop(Target),
    /// Stop and start again in place, all instances of a unit at once; a finished job runs anew.
    Restart(Target),
    /// Send a signal to the main process of each instance.
    Signal(Target, i32),
    /// Make the program of each instance read its configuration anew, as `[lifecycle] reload` says.
    Reload(Target),
    /// Remove: an instance is replaced by its controller, a unit is gone until it is applied again.
    Delete(Target),
    /// Change the desired count of a deployment or statefulset.
    Scale(UnitKey, u32),
    /// Go back to a former template: the one before the latest, or the one given.
    Undo(UnitKey, Option<Revision>),
    /// Take no roll-out step until resumed.
    Pause(UnitKey),
    /// Go on.
    ResumeRollout(UnitKey),
    /// Replace all instances, step by step, by ones of the same template.
    RolloutRestart(UnitKey),
    /// Job, cronjob: nothing (new) runs until resumed.
    Suspend(UnitKey),
    /// Job, cronjob: go on.
    Resume(UnitKey),
    /// Make a job of a cronjob now, under this name or a generated one.
    Trigger(UnitKey, Option<String>),
}

/// What was done, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// One line for each thing that changed, such as `deployment/api scaled from 3 to 5`.
    pub messages: Vec<String>,
    /// The names of what was made: a triggered job's.
    pub created: Option<String>,
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such unit or instance (exit code 3).
    NotFound(String),
    /// It makes no sense for this target, with the reason and the remedy (exit code 1).
    Invalid(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotFound(text) | Refusal::Invalid(text) => f.write_str(text),
        }
    }
}

/// The answer to a request.
pub type Answer = Result<Done, Refusal>;
