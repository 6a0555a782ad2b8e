//! How large each ReplicaSet is to be.
//!
//! Responsible for the sizes during a roll-out, on scaling and for history clean-up (Kubernetes
//! `pkg/controller/deployment/{rolling,recreate,sync}.go`). Must not touch instances.

use super::super::history::number;
use super::super::replicaset::{Recorded, ReplicaSet};
use super::super::{Note, SetId};
use super::Sync;
use crate::core::report::Reason;
use crate::core::spec::{Amount, DeploymentSpec, DeploymentStrategy};

/// The deployment's numbers after resolution of percentages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// The desired count.
    pub(super) replicas: u32,
    /// How many more may exist; 0 if not rolling.
    pub(super) surge: u32,
    /// How many fewer may be available (Kubernetes `deployment_util.go MaxUnavailable`).
    pub(super) unavailable: u32,
    /// Old and new side by side.
    pub(super) rolling: bool,
}

/// Surge rounded up, unavailable rounded down; if both come to nothing one may be unavailable, or
/// no step could ever be taken (Kubernetes `deployment_util.go ResolveFenceposts`).
pub(super) fn resolve_fenceposts(surge: Amount, unavailable: Amount, replicas: u32) -> (u32, u32) {
    match (surge.ceil_of(replicas), unavailable.floor_of(replicas)) {
        (0, 0) => (0, 1),
        resolved => resolved,
    }
}

impl Bounds {
    pub(super) fn of(spec: &DeploymentSpec) -> Bounds {
        let replicas = spec.replicas;
        match spec.strategy {
            DeploymentStrategy::Recreate => {
                Bounds { replicas, surge: 0, unavailable: 0, rolling: false }
            }
            DeploymentStrategy::RollingUpdate { max_surge, max_unavailable } => {
                let (surge, unavailable) = resolve_fenceposts(max_surge, max_unavailable, replicas);
                Bounds { replicas, surge, unavailable: unavailable.min(replicas), rolling: true }
            }
        }
    }

    /// How many there may be at most.
    pub(super) fn max_total(self) -> u32 {
        self.replicas.saturating_add(self.surge)
    }

    /// How many must be available at least.
    pub(super) fn min_available(self) -> u32 {
        self.replicas - self.unavailable.min(self.replicas)
    }

    /// The size of the new set, now `wanted`, if `total` are wanted of all sets (Kubernetes
    /// `deployment_util.go NewRSNewReplicas`).
    pub(super) fn room_for_new(self, total: u32, wanted: u32) -> u32 {
        if !self.rolling {
            return self.replicas;
        }
        let room = self.max_total().saturating_sub(total);
        wanted.saturating_add(room.min(self.replicas.saturating_sub(wanted)))
    }
}

impl Sync<'_> {
    /// Gives a set a size under the present bounds and tells if it changed (Kubernetes `sync.go
    /// scaleReplicaSet`). Returns whether it changed.
    pub(super) fn resize(&mut self, id: SetId, size: u32) -> bool {
        let recorded = Recorded { desired: self.bounds.replicas, max: self.bounds.max_total() };
        let Some(set) = self.state.sets.iter_mut().find(|s| s.id() == id) else {
            return false;
        };
        let from = set.wanted;
        set.recorded = recorded;
        set.wanted = size;
        if from == size {
            return false;
        }
        let reason = if size > from { Reason::ScaledUp } else { Reason::ScaledDown };
        let revision = set.stored.revision;
        let note = Note::normal(reason, format!("revision {revision} from {from} to {size}"))
            .with_int("revision", number(revision))
            .with_int("from", from)
            .with_int("to", size);
        self.outcome.tell(note);
        true
    }

    /// One roll-out step. Returns the new set, if there is one by now.
    pub(super) fn roll(&mut self, new: Option<SetId>) -> Option<SetId> {
        if self.bounds.rolling { Some(self.roll_rolling()) } else { self.roll_recreate(new) }
    }

    /// Kubernetes `rolling.go rolloutRolling`.
    fn roll_rolling(&mut self) -> SetId {
        let before = self.state.last_id;
        let new = self.make_new();
        let made = self.state.last_id != before;
        if !made && !self.grow_new(new) && !self.shrink_old(new) {
            self.clean_up_if_complete(new);
        }
        new
    }

    /// Kubernetes `rolling.go reconcileNewReplicaSet`.
    fn grow_new(&mut self, new: SetId) -> bool {
        let Some(wanted) = self.state.set(new).map(|s| s.wanted) else { return false };
        let replicas = self.bounds.replicas;
        if wanted == replicas {
            return false;
        }
        if wanted > replicas {
            return self.resize(new, replicas);
        }
        let size = self.bounds.room_for_new(self.total_wanted(), wanted);
        self.resize(new, size)
    }

    /// Kubernetes `rolling.go reconcileOldReplicaSets`.
    fn shrink_old(&mut self, new: SetId) -> bool {
        let unavailable_new =
            self.state.set(new).map_or(0, |s| s.wanted.saturating_sub(self.available(s)));
        let room = self
            .total_wanted()
            .saturating_sub(self.bounds.min_available())
            .saturating_sub(unavailable_new);
        if room == 0 {
            return false;
        }
        // Both bounds from the state before this step, as in Kubernetes, where the second half
        // reads a status that the first has not yet changed.
        let healthy = self.total_available().saturating_sub(self.bounds.min_available());
        let cleaned = self.remove_unhealthy(new, room);
        let drained = self.drain(new, healthy);
        cleaned || drained
    }

    /// Kubernetes `rolling.go cleanupUnhealthyReplicas`: oldest set first.
    fn remove_unhealthy(&mut self, new: SetId, mut room: u32) -> bool {
        let mut changed = false;
        for (id, wanted) in self.old_sets(new) {
            let available = self.state.set(id).map_or(0, |s| self.available(s));
            let removed = room.min(wanted.saturating_sub(available));
            if removed > 0 {
                changed |= self.resize(id, wanted - removed);
                room -= removed;
            }
        }
        changed
    }

    /// Kubernetes `rolling.go scaleDownOldReplicaSetsForRollingUpdate`: oldest set first.
    fn drain(&mut self, new: SetId, mut surplus: u32) -> bool {
        let mut changed = false;
        for (id, wanted) in self.old_sets(new) {
            let removed = surplus.min(wanted);
            if removed > 0 {
                changed |= self.resize(id, wanted - removed);
                surplus -= removed;
            }
        }
        changed
    }

    /// The other sets that are to have instances, oldest first, with their sizes.
    fn old_sets(&self, new: SetId) -> Vec<(SetId, u32)> {
        let old = self.state.sets.iter().filter(|s| s.id() != new && s.active());
        old.map(|s| (s.id(), s.wanted)).collect()
    }

    /// Kubernetes `recreate.go rolloutRecreate`.
    fn roll_recreate(&mut self, new: Option<SetId>) -> Option<SetId> {
        let mut changed = false;
        for (id, _) in new.map_or_else(|| self.old_sets(SetId::MAX), |id| self.old_sets(id)) {
            changed |= self.resize(id, 0);
        }
        if changed || self.others_exist(new) {
            return new;
        }
        let id = self.make_new();
        if !self.resize(id, self.bounds.replicas) {
            self.clean_up_if_complete(id);
        }
        Some(id)
    }

    /// Whether anything of another set is there, the ones that are going too (Kubernetes
    /// `recreate.go oldPodsRunning`).
    fn others_exist(&self, new: Option<SetId>) -> bool {
        self.observed.unfinished_sets().any(|set| Some(set) != new)
    }

    /// Whether the desired count has changed since a set was last sized (Kubernetes `sync.go
    /// isScalingEvent`).
    pub(super) fn scaling_event(&self) -> bool {
        let active = self.state.sets.iter().filter(|s| s.active());
        active.into_iter().any(|s| s.recorded.desired != self.bounds.replicas)
    }

    /// Kubernetes `sync.go scale`. Returns whether a size changed. In every case the present
    /// bounds are recorded, so that one change of the desired count is one scaling event.
    pub(super) fn scale(&mut self, new: Option<SetId>) -> bool {
        let active: Vec<SetId> =
            self.state.sets.iter().filter(|s| s.active()).map(ReplicaSet::id).collect();
        let youngest = self.state.sets.last().map(ReplicaSet::id);
        match (active.as_slice(), new.or(youngest)) {
            ([], None) => false,
            // Kubernetes does not wait here; a pause in the middle of a Recreate would start the
            // new version beside the old one.
            ([], Some(id)) if !self.bounds.rolling && self.others_exist(Some(id)) => false,
            ([], Some(id)) => self.resize(id, self.bounds.replicas),
            ([only], _) => self.resize(*only, self.bounds.replicas),
            (several, _) => {
                if self.saturated(new) {
                    let mut shrunk = false;
                    for id in several.iter().filter(|id| Some(**id) != new) {
                        shrunk |= self.resize(*id, 0);
                    }
                    shrunk || self.keep_sizes(new.as_slice())
                } else if self.bounds.rolling {
                    self.scale_in_proportion(several)
                } else {
                    self.keep_sizes(several)
                }
            }
        }
    }

    /// Records the present bounds without a change of size.
    fn keep_sizes(&mut self, sets: &[SetId]) -> bool {
        for id in sets {
            if let Some(size) = self.state.set(*id).map(|s| s.wanted) {
                self.resize(*id, size);
            }
        }
        false
    }

    /// Kubernetes `deployment_util.go IsSaturated`.
    fn saturated(&self, new: Option<SetId>) -> bool {
        let replicas = self.bounds.replicas;
        new.and_then(|id| self.state.set(id)).is_some_and(|s| {
            s.wanted == replicas
                && s.recorded.desired == replicas
                && self.tally(s.id()).available == replicas
        })
    }

    /// The third part of Kubernetes `sync.go scale`: what is added or removed is spread over the
    /// sets in proportion to their sizes, so that a roll-out that is under way stays as far along
    /// as it is.
    fn scale_in_proportion(&mut self, active: &[SetId]) -> bool {
        let mut sets: Vec<(SetId, i64, i64)> = active
            .iter()
            .filter_map(|id| self.state.set(*id))
            .map(|s| (s.id(), i64::from(s.wanted), i64::from(s.recorded.max)))
            .collect();
        let replicas = self.bounds.replicas;
        let allowed = if replicas == 0 { 0 } else { i64::from(self.bounds.max_total()) };
        let add = allowed - sets.iter().map(|(_, size, _)| size).sum::<i64>();
        // Largest first; of equal ones the younger when adding, the older when removing.
        sets.sort_by(|a, b| {
            let by_age = if add > 0 { b.0.cmp(&a.0) } else { a.0.cmp(&b.0) };
            b.1.cmp(&a.1).then(by_age)
        });
        let mut added = 0;
        for (_, size, max) in &mut sets {
            if add != 0 && add != added {
                let share = proportion(*size, *max, allowed);
                let left = add - added;
                let share = if add > 0 { share.min(left) } else { share.max(left) };
                *size += share;
                added += share;
            }
        }
        if let Some((_, size, _)) = sets.first_mut() {
            *size = (*size + add - added).max(0);
        }
        let mut changed = false;
        for (id, size, _) in sets {
            changed |= self.resize(id, u32::try_from(size).unwrap_or(0));
        }
        changed
    }

    /// Kubernetes `rolling.go rolloutRolling`: history is only cleaned up when all is done.
    fn clean_up_if_complete(&mut self, new: SetId) {
        let all = self.tallies.iter().fold(0u32, |sum, (_, t)| sum.saturating_add(t.active));
        let tally = self.tally(new);
        let replicas = self.bounds.replicas;
        if all == replicas && tally.active == replicas && tally.available == replicas {
            self.clean_up(Some(new));
        }
    }

    /// Kubernetes `sync.go cleanupDeployment`: the oldest beyond the limit, but one that is still
    /// in use is skipped, not replaced by a younger one.
    pub(super) fn clean_up(&mut self, new: Option<SetId>) {
        if self.spec.revision_history_limit == u32::MAX {
            return;
        }
        let mut old: Vec<&ReplicaSet> =
            self.state.sets.iter().filter(|s| Some(s.id()) != new).collect();
        let surplus = old.len().saturating_sub(self.spec.revision_history_limit as usize);
        old.sort_by_key(|s| s.stored.revision);
        let gone: Vec<SetId> = old
            .iter()
            .take(surplus)
            .filter(|s| !s.active() && self.tally(s.id()).present == 0)
            .map(|s| s.id())
            .collect();
        self.state.sets.retain(|s| !gone.contains(&s.id()));
    }
}

/// How many to add to a set of this size that was sized when `recorded` were allowed, now that
/// `allowed` are: rounded to the nearest, halves away from zero (Kubernetes `deployment_util.go
/// getReplicaSetFraction`). All of it goes when none are allowed.
pub(super) fn proportion(size: i64, recorded: i64, allowed: i64) -> i64 {
    if allowed == 0 {
        return -size;
    }
    let recorded = recorded.max(1);
    let share = size.saturating_mul(allowed).saturating_mul(2).saturating_add(recorded);
    share / (recorded * 2) - size
}
