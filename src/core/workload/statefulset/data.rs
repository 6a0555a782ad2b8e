//! Which data directories of a statefulset go.
//!
//! Responsible for the two retention rules (Kubernetes `stateful_set_utils.go
//! claimOwnerMatchesSetAndPod`, `updateClaimOwnerRefForSetAndPod`). Data goes only for a scale-down
//! or for the deletion of the unit, only if the unit says so, and only when the instance is gone.

use super::super::Intent;
use super::{Sync, instance_name};
use crate::core::spec::Retention;

impl Sync<'_> {
    /// An instance is asked to go because the unit was scaled down.
    pub(super) fn doom(&mut self, ordinal: u32) {
        if self.spec.when_scaled == Retention::Delete {
            self.state.doomed.insert(ordinal);
        }
    }

    /// Ordinals that were scaled away and whose instances are gone own no data any more. Judged
    /// once, by the rule of that moment: data that was left behind under `retain` stays when the
    /// rule changes.
    pub(super) fn settle_data(&mut self) {
        let delete = self.spec.when_scaled == Retention::Delete;
        if !delete {
            self.state.doomed.clear();
        }
        let given_up: Vec<u32> = self
            .state
            .holders
            .iter()
            .copied()
            .filter(|ordinal| !self.by_ordinal.contains_key(ordinal))
            .filter(|ordinal| !self.in_range(*ordinal) || self.state.doomed.contains(ordinal))
            .collect();
        for ordinal in given_up {
            self.state.holders.remove(&ordinal);
            self.state.doomed.remove(&ordinal);
            self.state.parked.remove(&ordinal);
            if delete {
                self.remove_data(ordinal);
            }
        }
    }

    /// The unit goes: so does the data of its wanted ordinals if it says so, once all instances
    /// are gone. What a scale-down has doomed goes by that rule.
    pub(super) fn remove_data_of_deleted(&mut self) {
        if !self.by_ordinal.is_empty() {
            return;
        }
        self.settle_data();
        let holders = std::mem::take(&mut self.state.holders);
        if self.spec.when_deleted == Retention::Delete {
            for ordinal in holders {
                self.remove_data(ordinal);
            }
        }
        self.ask_for_removal();
    }

    fn remove_data(&mut self, ordinal: u32) {
        self.state.removing.insert(instance_name(self.context.name, ordinal));
    }

    /// Asks once, and once more in each life of the daemon, for what is still to be removed.
    pub(super) fn ask_for_removal(&mut self) {
        for instance in &self.state.removing {
            if self.state.asked.insert(instance.clone()) {
                self.outcome.push(Intent::RemoveData { instance: instance.clone() });
            }
        }
    }
}
