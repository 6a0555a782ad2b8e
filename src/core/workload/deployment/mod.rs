//! Deployments: a template, a number of instances, and how to get from one template to the next.
//!
//! Responsible for the order of one sync (Kubernetes `pkg/controller/deployment/
//! deployment_controller.go syncDeployment`) and for the deployment's memory. Sizes are decided in
//! `rollout`, conditions in `progress`, instances in `replicaset`. Must not know processes.

mod progress;
mod rollout;

use super::conditions::{Condition, Conditions, Truth};
use super::history::{same, started, store};
use super::observations::{Observations, Tallies};
use super::replicaset::{self, Recorded, ReplicaSet, Tally};
use super::{Computed, Context, Counts, HistoryEntry, Mode, Observed, Outcome, SetId, Status};
use crate::core::id::Revision;
use crate::core::spec::{DeploymentSpec, InstanceTemplate};
use crate::core::time::Mono;
use rollout::Bounds;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::sync::Arc;

/// What a deployment remembers: its ReplicaSets, conditions and counts.
///
/// Two states are equal if a daemon that goes on from one would do the same as from the other:
/// how the instances are counts only while a roll-out's progress is judged by it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// In the order of first use, which is their age.
    sets: SmallVec<[ReplicaSet; 1]>,
    /// The last identity given out.
    last_id: SetId,
    /// How often a template's hash was taken by another.
    collisions: u32,
    conditions: Conditions,
    counts: Counts,
    /// Since when the roll-out has made no progress.
    progress_at: Option<Mono>,
    /// The newest template runs everywhere.
    rolled_out: bool,
    /// The last revision whose completion was told.
    announced: Revision,
    /// It was stopped when last looked at; the sizes are those to go back to.
    stopped: bool,
}

impl PartialEq for State {
    fn eq(&self, other: &State) -> bool {
        let State {
            sets,
            last_id,
            collisions,
            conditions,
            counts,
            progress_at,
            rolled_out,
            announced,
            stopped,
        } = self;
        let counted = (counts, rolled_out) == (&other.counts, &other.rolled_out);
        *sets == other.sets
            && *last_id == other.last_id
            && *collisions == other.collisions
            && *conditions == other.conditions
            && *progress_at == other.progress_at
            && *announced == other.announced
            && *stopped == other.stopped
            && (counted || (self.judges_no_progress() && other.judges_no_progress()))
    }
}

impl Eq for State {}

impl State {
    /// Kubernetes `progress.go syncRolloutStatus`: a roll-out that is complete is not judged again.
    fn judges_no_progress(&self) -> bool {
        self.conditions.get(progress::PROGRESSING).is_some_and(progress::is_complete)
    }

    /// What is said of the instances at the moment.
    pub(crate) fn of_the_moment(&self) -> impl Iterator<Item = &Condition> {
        self.conditions.of_the_moment()
    }

    /// Takes that up again after the daemon's end.
    pub(crate) fn put_back(&mut self, conditions: Vec<Condition>) {
        self.conditions.put_back(conditions);
    }

    /// The template of a set.
    pub fn template_of(&self, set: SetId) -> Option<&Arc<InstanceTemplate>> {
        self.set(set).map(|s| &*s.stored.template)
    }

    /// The number of a set now, for WSUP_REVISION and `ctl ps`.
    pub fn revision_of(&self, set: SetId) -> Option<u64> {
        self.set(set).map(|s| s.stored.revision)
    }

    /// What is shown to the outside.
    pub fn status(&self) -> Status {
        Status {
            counts: self.counts.clone(),
            revision: self.newest_revision(),
            conditions: self.conditions.0.to_vec(),
            rolled_out: self.rolled_out,
            stalled: self.conditions.get(progress::PROGRESSING).is_some_and(progress::timed_out),
        }
    }

    /// Past and present templates, by revision.
    pub fn history(&self) -> Vec<HistoryEntry> {
        let mut entries: Vec<HistoryEntry> =
            self.sets.iter().map(|s| s.stored.entry(s.instances.0)).collect();
        entries.sort_by_key(|e| e.revision);
        entries
    }

    fn set(&self, id: SetId) -> Option<&ReplicaSet> {
        self.sets.iter().find(|s| s.id() == id)
    }

    /// The set of this template: the oldest, should there be several (Kubernetes
    /// `deployment_util.go FindNewReplicaSet`).
    fn find(&self, template: &Arc<InstanceTemplate>) -> Option<SetId> {
        self.sets.iter().find(|s| same(&s.stored.template, template)).map(ReplicaSet::id)
    }

    fn newest_revision(&self) -> Revision {
        self.sets.iter().map(|s| s.stored.revision).max().unwrap_or(0)
    }
}

/// What one sync works on.
struct Sync<'a> {
    spec: &'a DeploymentSpec,
    context: &'a Context<'a>,
    state: &'a mut State,
    observed: &'a Observations,
    tallies: Tallies,
    bounds: Bounds,
    outcome: Outcome,
}

/// One step of the deployment controller.
pub fn reconcile(
    spec: &DeploymentSpec,
    context: &Context<'_>,
    state: &mut State,
    observed: &Observations,
) -> Outcome {
    let tallies = observed.tallies(spec.min_ready, context.now.mono);
    for set in &mut state.sets {
        set.instances = Computed(tallies.of(set.id()).active);
    }
    let bounds = Bounds::of(spec);
    let outcome = Outcome::default();
    let mut sync = Sync { spec, context, state, observed, tallies, bounds, outcome };
    match context.mode {
        Mode::Run => sync.run(),
        Mode::Stopped => sync.stop(),
        Mode::Deleting => {
            sync.stop();
            sync.outcome.gone = observed.is_empty();
        }
    }
    sync.outcome
}

impl Sync<'_> {
    /// Kubernetes `deployment_controller.go syncDeployment`, then the ReplicaSets' own syncs.
    fn run(&mut self) {
        replicaset::forget_ended(self.observed, &mut self.outcome);
        self.resume();
        let mut new = self.existing_new();
        self.pause_condition();
        let estimate = if self.spec.paused {
            self.scale(new);
            self.clean_up(new);
            false
        } else if self.scaling_event() && self.scale(new) {
            false
        } else {
            new = self.roll(new);
            true
        };
        self.update_status(new, estimate);
        self.sync_sets();
        if let Some(at) = self.observed.next_available(self.spec.min_ready, self.context.now.mono) {
            self.outcome.recheck_at(at);
        }
    }

    /// Everything goes; what was wanted is kept for the day it runs again.
    fn stop(&mut self) {
        self.state.stopped = true;
        replicaset::remove_all(self.observed.staying(), &mut self.outcome);
        let new = self.state.find(self.context.template);
        self.update_status(new, false);
        self.state.counts.desired = 0;
        self.state.rolled_out = false;
    }

    /// After a stop. A template that came meanwhile has nothing to replace step by step, so the
    /// former one is not started for its sake; a roll-out that was under way goes on as it was.
    fn resume(&mut self) {
        if !self.state.stopped {
            return;
        }
        self.state.stopped = false;
        self.state.progress_at = self.state.progress_at.map(|_| self.context.now.mono);
        let new = self.state.find(self.context.template).and_then(|id| self.state.set(id));
        let fresh = new.is_none_or(|s| !s.active());
        if !fresh || self.spec.paused || self.observed.iter().any(Observed::active) {
            return;
        }
        let active: Vec<SetId> =
            self.state.sets.iter().filter(|s| s.active()).map(ReplicaSet::id).collect();
        for id in active {
            self.resize(id, 0);
        }
    }

    /// The set of the present template, with the greatest number of all (Kubernetes `sync.go
    /// getNewReplicaSet` for a set that exists).
    fn existing_new(&mut self) -> Option<SetId> {
        let id = self.state.find(self.context.template)?;
        let old = self.state.sets.iter().filter(|s| s.id() != id).map(|s| s.stored.revision).max();
        let raised = old.unwrap_or(0).saturating_add(1);
        let set = self.state.sets.iter_mut().find(|s| s.id() == id)?;
        let progressing = self.state.conditions.get(progress::PROGRESSING).is_some();
        if set.stored.raise(raised) {
            self.outcome.tell(started(raised));
            self.found("FoundNewReplicaSet", "an earlier revision is rolled out again");
        } else if !progressing {
            self.found("FoundNewReplicaSet", "the revision was found");
        }
        Some(id)
    }

    /// The set of the present template, made if need be, sized as far as there is room
    /// (Kubernetes `sync.go getNewReplicaSet`, `deployment_util.go NewRSNewReplicas`).
    fn make_new(&mut self) -> SetId {
        if let Some(id) = self.state.find(self.context.template) {
            return id;
        }
        let id = self.state.last_id.saturating_add(1);
        let revision = self.state.newest_revision().saturating_add(1);
        let template = self.context.template;
        let hashes: Vec<&str> = self.state.sets.iter().map(|s| s.stored.hash.as_str()).collect();
        let mut collisions = self.state.collisions;
        let wall = self.context.now.wall;
        let stored = store(id, revision, template, wall, &mut collisions, &hashes);
        self.state.collisions = collisions;
        self.state.last_id = id;
        let recorded = Recorded { desired: self.bounds.replicas, max: self.bounds.max_total() };
        self.state.sets.push(ReplicaSet { stored, wanted: 0, recorded, instances: Computed(0) });
        self.outcome.tell(started(revision));
        self.found("NewReplicaSetCreated", "a new revision was made");
        let size = self.bounds.room_for_new(self.total_wanted(), 0);
        self.resize(id, size);
        id
    }

    /// A roll-out begins: its clock starts (Kubernetes `sync.go getNewReplicaSet`). While paused
    /// none begins, and what was said of the one before stands until it goes on.
    fn found(&mut self, reason: &'static str, message: &'static str) {
        if self.spec.progress_deadline.is_some() && !self.spec.paused {
            self.progressing(Truth::True, reason, message);
        }
    }

    fn sync_sets(&mut self) {
        for set in &self.state.sets {
            replicaset::reconcile(self.context.name, set, self.observed, &mut self.outcome);
        }
        // Of a set that is not known: nothing can be said for keeping it.
        for id in self.observed.sets().filter(|id| self.state.set(*id).is_none()) {
            let unknown = self.observed.iter().filter(|one| one.set == id && one.active());
            replicaset::remove_all(unknown, &mut self.outcome);
        }
    }

    fn tally(&self, id: SetId) -> Tally {
        self.tallies.of(id)
    }

    /// How many of a set are available, not counting any that are already surplus: they are about
    /// to go and protect nobody.
    fn available(&self, set: &ReplicaSet) -> u32 {
        self.tally(set.id()).available.min(set.wanted)
    }

    fn total_wanted(&self) -> u32 {
        self.state.sets.iter().fold(0, |sum, s| sum.saturating_add(s.wanted))
    }

    fn total_available(&self) -> u32 {
        self.state.sets.iter().fold(0, |sum, s| sum.saturating_add(self.available(s)))
    }
}

#[cfg(test)]
mod props;
#[cfg(test)]
mod status_tests;
#[cfg(test)]
mod tests;
