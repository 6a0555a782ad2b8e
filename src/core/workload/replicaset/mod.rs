//! ReplicaSets, under the hood of deployments: so many instances of one template.
//!
//! Responsible for keeping a set at its wanted size and for whom to remove first (Kubernetes
//! `pkg/controller/replicaset/replica_set.go`, `pkg/controller/controller_utils.go`). Must not
//! decide sizes: that is the deployment's.

use super::history::Stored;
use super::observations::Observations;
use super::{BURST, Computed, Identity, Intent, NewName, Observed, Outcome, Phase, SetId};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// Under which bounds of the deployment a set was last sized (Kubernetes annotations
/// `deployment.kubernetes.io/desired-replicas` and `max-replicas`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The deployment's desired count then.
    pub desired: u32,
    /// The same plus the surge.
    pub max: u32,
}

/// One template of a deployment and how many instances of it are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaSet {
    /// The template and its number.
    pub stored: Stored,
    /// How many are wanted.
    pub wanted: u32,
    /// The bounds it was last sized under.
    pub recorded: Recorded,
    /// How many there were when last looked at (not counting ones that go).
    #[serde(skip)]
    pub(crate) instances: Computed<u32>,
}

impl ReplicaSet {
    /// Its identity.
    pub fn id(&self) -> SetId {
        self.stored.id
    }

    /// Whether it is to have any instance (Kubernetes `FilterActiveReplicaSets`).
    pub fn active(&self) -> bool {
        self.wanted > 0
    }
}

/// What is seen of one set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Neither ended nor going.
    pub active: u32,
    /// Of these, ready.
    pub ready: u32,
    /// Of these, ready long enough.
    pub available: u32,
    /// All there are, the ended and the going too.
    pub present: u32,
}

/// Whom to remove first: the lesser (Kubernetes `ActivePodsWithRanks`, with exact ages instead of
/// logarithmic ones). Before all of its rules: one that has given up does nothing for anybody.
pub fn removal_order(a: &Observed, b: &Observed) -> Ordering {
    let phase = |one: &Observed| match one.phase {
        Phase::GaveUp => 0,
        Phase::Pending => 1,
        Phase::Running | Phase::Succeeded | Phase::Failed => 2,
    };
    phase(a)
        .cmp(&phase(b))
        .then_with(|| a.ready().cmp(&b.ready()))
        .then_with(|| b.ready_since.cmp(&a.ready_since))
        .then_with(|| b.restarts.cmp(&a.restarts))
        .then_with(|| b.created.cmp(&a.created))
        .then_with(|| b.slot.cmp(&a.slot))
}

/// Creates what is missing of a set or removes what is too much, within what is left of [`BURST`].
/// One that goes is no longer counted, so it does not hold back its replacement.
pub fn reconcile(unit: &str, set: &ReplicaSet, observed: &Observations, outcome: &mut Outcome) {
    let left = BURST.saturating_sub(outcome.intents.len());
    let (count, wanted) = (observed.active_of(set.id()) as usize, set.wanted as usize);
    if count < wanted {
        let prefix = format!("{unit}-{}", set.stored.hash);
        for _ in 0..left.min(wanted - count) {
            outcome.push(Intent::Create {
                set: set.id(),
                name: NewName::Random(prefix.clone()),
                identity: Identity::Anonymous,
            });
        }
    } else if count > wanted {
        let mut active: Vec<&Observed> =
            observed.iter().filter(|one| one.set == set.id() && one.active()).collect();
        active.sort_by(|a, b| removal_order(a, b));
        for one in active.iter().take(left.min(count - wanted)) {
            outcome.push(Intent::Delete { slot: one.slot });
        }
    }
}

/// Lets go of what has ended for good; it is replaced like one that never was.
pub fn forget_ended(observed: &Observations, outcome: &mut Outcome) {
    for one in observed.ended() {
        outcome.push(Intent::Forget { slot: one.slot });
    }
}

/// Asks every instance to go, whatever its state; at most [`BURST`] per call.
pub fn remove_all<'a>(observed: impl IntoIterator<Item = &'a Observed>, outcome: &mut Outcome) {
    let left = BURST.saturating_sub(outcome.intents.len());
    for one in observed.into_iter().filter(|one| !one.terminating).take(left) {
        outcome.push(match one.phase {
            Phase::Succeeded | Phase::Failed => Intent::Forget { slot: one.slot },
            Phase::Pending | Phase::Running | Phase::GaveUp => Intent::Delete { slot: one.slot },
        });
    }
}

#[cfg(test)]
#[allow(dead_code)] // A kit: not every test file uses every part.
pub(crate) mod fake;
#[cfg(test)]
mod tests;
