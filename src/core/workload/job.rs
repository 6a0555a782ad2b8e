//! Jobs. Filled by the controllers' work; see `mod.rs` for the contract.

use super::{Context, HistoryEntry, Observed, Outcome, SetId, Status};
use crate::core::spec::{InstanceTemplate, JobSpec};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a job remembers: what was counted, conditions, start and end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {}

impl State {
    /// The template of a set.
    pub fn template_of(&self, _set: SetId) -> Option<&Arc<InstanceTemplate>> {
        None
    }
    /// The number of a set now, for WSUP_REVISION and `ctl ps`.
    pub fn revision_of(&self, _set: SetId) -> Option<u64> {
        None
    }
    /// What is shown to the outside.
    pub fn status(&self) -> Status {
        Status::default()
    }
    /// Past and present templates, by revision.
    pub fn history(&self) -> Vec<HistoryEntry> {
        Vec::new()
    }
}

/// One step of the job controller.
pub fn reconcile(
    _spec: &JobSpec,
    _context: &Context<'_>,
    _state: &mut State,
    _observed: &[Observed],
) -> Outcome {
    Outcome::default()
}
impl State {
    /// Not filled yet.
    pub fn finished(&self) -> Option<bool> {
        None
    }
    /// Not filled yet.
    pub fn started(&self) -> Option<crate::core::time::Wall> {
        None
    }
    /// Not filled yet.
    pub fn completed_at(&self) -> Option<crate::core::time::Wall> {
        None
    }
    /// Not filled yet.
    pub fn active(&self) -> u32 {
        0
    }
    /// Not filled yet.
    pub fn succeeded(&self) -> u32 {
        0
    }
    /// Not filled yet.
    pub fn failed(&self) -> u32 {
        0
    }
}
