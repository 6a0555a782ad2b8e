//! CronJobs. Filled by the controllers' work; see `mod.rs` for the contract.

use super::{Context, Outcome, Status};
use crate::core::schedule::Zones;
use crate::core::spec::CronJobSpec;
use crate::core::time::Wall;
use serde::{Deserialize, Serialize};

/// What a cronjob remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {}

impl State {
    /// What is shown to the outside.
    pub fn status(&self) -> Status {
        Status::default()
    }
    /// The slot started last.
    pub fn last_schedule(&self) -> Option<Wall> {
        None
    }
    /// The next slot.
    pub fn next_schedule(&self) -> Option<Wall> {
        None
    }
}

/// One of a cronjob's jobs, as its controller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedJob {
    /// Its name.
    pub name: String,
    /// `None`: it is not finished; otherwise whether it succeeded.
    pub finished: Option<bool>,
    /// When its first instance was made possible (`status.startTime`).
    pub started: Option<Wall>,
    /// It is on its way out.
    pub terminating: bool,
    /// The slot it stands for; `None`: triggered by hand.
    pub scheduled: Option<Wall>,
    /// It belongs to this cronjob; otherwise it only has a name that the cronjob would use.
    pub owned: bool,
}

/// One step of the cronjob controller.
pub fn reconcile(
    _spec: &CronJobSpec,
    _context: &Context<'_>,
    _state: &mut State,
    _jobs: &[ObservedJob],
    _created: Wall,
    _zones: &dyn Zones,
) -> Outcome {
    Outcome::default()
}
