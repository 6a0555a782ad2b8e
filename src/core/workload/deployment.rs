//! Deployments. Filled by the controllers' work; see `mod.rs` for the contract.

use super::{Context, HistoryEntry, Observed, Outcome, SetId, Status};
use crate::core::spec::{DeploymentSpec, InstanceTemplate};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a deployment remembers: its ReplicaSets, conditions and counts.
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

/// One step of the deployment controller.
pub fn reconcile(
    _spec: &DeploymentSpec,
    _context: &Context<'_>,
    _state: &mut State,
    _observed: &[Observed],
) -> Outcome {
    Outcome::default()
}
