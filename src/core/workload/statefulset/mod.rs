//! StatefulSets: instances with fixed names and data, made and removed in order.
//!
//! Responsible for the order of one sync (Kubernetes `pkg/controller/statefulset/
//! stateful_set_control.go updateStatefulSet`), for the revision of each instance and for which
//! data goes. Must not know processes or files: data is removed by whoever applies the intents,
//! and told by [`State::data_removed`].

mod data;
pub(super) mod seen;
mod update;

use super::history::{Adopted, Revisions, at_rest, complete, started};
use super::replicaset::remove_all;
use super::{
    BURST, Computed, Context, Counts, HistoryEntry, Identity, Intent, Mode, NewName, Observed,
};
use super::{Outcome, Phase, SetId, Status};
use crate::core::id::Revision;
use crate::core::spec::{InstanceTemplate, ManagementPolicy, StatefulSetSpec, StatefulStrategy};
use seen::Seen;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// No set has this identity: nothing was ever to run.
const NO_SET: SetId = 0;

/// What a statefulset remembers: its revisions, data and counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    revisions: Revisions,
    /// The last revision that was rolled out completely, or the first (Kubernetes
    /// `status.currentRevision`).
    current: Option<SetId>,
    /// The newest revision (Kubernetes `status.updateRevision`).
    update: Option<SetId>,
    /// The last revision of which all instances were available at once.
    proven: Option<SetId>,
    seen: Seen,
    /// Ordinals whose instances were made and which have not been scaled away: they own data.
    holders: BTreeSet<u32>,
    /// Ordinals that were scaled away with their data; it goes when the instance is gone, even if
    /// the ordinal is wanted again by then.
    doomed: BTreeSet<u32>,
    /// Instances whose data is being removed.
    removing: BTreeSet<String>,
    /// Of these, those that were asked for in this life of the daemon: a removal that its end
    /// has cut short is asked for again.
    #[serde(skip)]
    asked: BTreeSet<String>,
    /// While stopped, and until each is made again: the revision of each instance that was
    /// stopped, so that a stop in the middle of a roll-out does not finish it.
    parked: BTreeMap<u32, SetId>,
    /// The newest revision when it was stopped; with another one nothing stays parked.
    parked_update: Option<SetId>,
    /// It was stopped when last looked at.
    stopped: bool,
    #[serde(skip)]
    counts: Computed<Counts>,
    #[serde(skip)]
    rolled_out: Computed<bool>,
    /// The last revision whose completion was told.
    announced: Revision,
}

impl State {
    /// The template of a set.
    pub fn template_of(&self, set: SetId) -> Option<&Arc<InstanceTemplate>> {
        self.revisions.get(set).map(|s| &*s.template)
    }

    /// The number of a set now, for WSUP_REVISION and `ctl ps`.
    pub fn revision_of(&self, set: SetId) -> Option<u64> {
        self.revisions.get(set).map(|s| s.revision)
    }

    /// What is shown to the outside.
    pub fn status(&self) -> Status {
        Status {
            counts: self.counts.0.clone(),
            revision: self.revisions.newest(),
            conditions: Vec::new(),
            rolled_out: self.rolled_out.0,
            stalled: false,
        }
    }

    /// Past and present templates, by revision.
    pub fn history(&self) -> Vec<HistoryEntry> {
        self.revisions.history()
    }

    /// The data directory of this instance is gone (or could not be removed, which is told
    /// elsewhere): its ordinal may be made again.
    pub fn data_removed(&mut self, instance: &str) {
        self.removing.remove(instance);
        self.asked.remove(instance);
    }
}

/// Whether a sync goes on after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    GoOn,
    Stop,
}

/// What one sync works on.
struct Sync<'a> {
    spec: &'a StatefulSetSpec,
    context: &'a Context<'a>,
    state: &'a mut State,
    /// One per ordinal, in range or not.
    by_ordinal: BTreeMap<u32, &'a Observed>,
    /// The newest revision.
    update: SetId,
    outcome: Outcome,
}

/// One step of the statefulset controller.
pub fn reconcile(
    spec: &StatefulSetSpec,
    context: &Context<'_>,
    state: &mut State,
    observed: &[Observed],
) -> Outcome {
    let mut outcome = Outcome::default();
    let (by_ordinal, strangers) = sort_out(observed);
    remove_all(strangers, &mut outcome);
    let update = adopt(spec, context, state, observed, &mut outcome);
    state.seen.look(observed);
    state.revisions.count(observed.iter().filter(|one| one.active()).map(|one| one.set));
    let mut sync = Sync { spec, context, state, by_ordinal, update, outcome };
    match context.mode {
        Mode::Run => sync.run(),
        Mode::Stopped => sync.stop(),
        Mode::Deleting => {
            sync.stop();
            sync.remove_data_of_deleted();
            sync.outcome.gone = observed.is_empty() && sync.state.removing.is_empty();
        }
    }
    sync.outcome
}

/// The instance of each ordinal, and those that are no proper instances of this unit. Two of one
/// ordinal cannot be, since one is only made when there is none; if it should happen, the older
/// one has the data.
fn sort_out(observed: &[Observed]) -> (BTreeMap<u32, &Observed>, Vec<&Observed>) {
    let mut sorted: Vec<&Observed> = observed.iter().collect();
    sorted.sort_by_key(|one| one.slot);
    let mut by_ordinal = BTreeMap::new();
    let mut strangers = Vec::new();
    for one in sorted {
        match &one.identity {
            Identity::Ordinal(ordinal) if !by_ordinal.contains_key(ordinal) => {
                by_ordinal.insert(*ordinal, one);
            }
            Identity::Ordinal(_)
            | Identity::Anonymous
            | Identity::Index(_)
            | Identity::Node { .. } => strangers.push(one),
        }
    }
    (by_ordinal, strangers)
}

/// The newest revision: that of the template, unless it is held back by a pause or a stop.
fn adopt(
    spec: &StatefulSetSpec,
    context: &Context<'_>,
    state: &mut State,
    observed: &[Observed],
    outcome: &mut Outcome,
) -> SetId {
    if context.mode != Mode::Run {
        return state.update.unwrap_or(NO_SET);
    }
    if let Some(held) = state.update.filter(|_| spec.paused) {
        return held;
    }
    let Adopted { id, changed } = state.revisions.adopt(context.template, context.now.wall);
    if changed {
        outcome.tell(started(state.revisions.newest()));
        state.seen.updated(observed);
    }
    state.update = Some(id);
    state.current.get_or_insert(id);
    id
}

impl Sync<'_> {
    fn run(&mut self) {
        self.state.stopped = false;
        if self.state.parked_update != Some(self.update) {
            self.state.parked.clear();
        }
        self.settle_data();
        self.ask_for_removal();
        if self.keep_wanted() == Flow::GoOn && self.remove_condemned() == Flow::GoOn {
            self.update_step();
        }
        self.update_status();
        for one in self.by_ordinal.values().filter(|one| one.active()) {
            if let Some(at) = one.available_at(self.spec.min_ready, self.context.now.mono) {
                self.outcome.recheck_at(at);
            }
        }
    }

    /// Everything goes, highest ordinal first; with ordered management one after the other
    /// (Kubernetes promises no order for a set that is deleted; here it is that of a scale-down).
    /// No data goes.
    fn stop(&mut self) {
        if !self.state.stopped {
            self.state.stopped = true;
            self.state.parked_update = Some(self.update);
            let sets = self.by_ordinal.iter().map(|(ordinal, one)| (*ordinal, one.set));
            self.state.parked.extend(sets);
        }
        match self.spec.management_policy {
            ManagementPolicy::Parallel => {
                remove_all(self.by_ordinal.values().rev().copied(), &mut self.outcome);
            }
            ManagementPolicy::OrderedReady => {
                if !self.by_ordinal.values().any(|one| one.terminating) {
                    remove_all(self.by_ordinal.values().rev().copied().take(1), &mut self.outcome);
                }
            }
        }
        self.update_status();
        self.state.counts.0.desired = 0;
        self.state.rolled_out = Computed(false);
    }

    /// Step 3 (Kubernetes `stateful_set_control.go processReplica`): every ordinal in range has a
    /// healthy instance, from the lowest; with ordered management the first that is missing or
    /// not available is waited for.
    fn keep_wanted(&mut self) -> Flow {
        let monotonic = self.monotonic();
        for index in 0..self.spec.replicas {
            if self.outcome.intents.len() >= BURST {
                return Flow::Stop;
            }
            let Some(ordinal) = self.spec.start_ordinal.checked_add(index) else { break };
            let Some(one) = self.by_ordinal.get(&ordinal).copied() else {
                self.create(ordinal);
                if monotonic {
                    return Flow::Stop;
                }
                continue;
            };
            let ended = match one.phase {
                Phase::Failed | Phase::Succeeded => true,
                Phase::Pending | Phase::Running | Phase::GaveUp => false,
            };
            if ended && !one.terminating {
                self.outcome.push(Intent::Forget { slot: one.slot });
                if monotonic {
                    return Flow::Stop;
                }
            } else if monotonic && !self.is_available(one) {
                self.replace_stuck(index, one);
                return Flow::Stop;
            }
        }
        Flow::GoOn
    }

    /// Makes the instance of an ordinal that has none, once its stale data is gone.
    fn create(&mut self, ordinal: u32) {
        let name = instance_name(self.context.name, ordinal);
        if self.state.removing.contains(&name) {
            return;
        }
        let parked = self.state.parked.remove(&ordinal);
        let set = parked
            .filter(|set| self.state.revisions.get(*set).is_some())
            .unwrap_or_else(|| self.target(ordinal.saturating_sub(self.spec.start_ordinal)));
        self.state.holders.insert(ordinal);
        let identity = Identity::Ordinal(ordinal);
        self.outcome.push(Intent::Create { set, name: NewName::Fixed(name), identity });
    }

    /// Step 4 (Kubernetes `stateful_set_control.go processCondemned`): what is out of range goes,
    /// from the highest; with ordered management one at a time, and not past an unhealthy one
    /// other than the lowest unhealthy of all.
    fn remove_condemned(&mut self) -> Flow {
        let monotonic = self.monotonic();
        let condemned: Vec<(u32, &Observed)> = self
            .by_ordinal
            .iter()
            .rev()
            .filter(|(ordinal, _)| !self.in_range(**ordinal))
            .map(|(ordinal, one)| (*ordinal, *one))
            .collect();
        let first_unhealthy =
            condemned.iter().rev().find(|(_, one)| !healthy(one)).map(|(_, one)| one.slot);
        for (ordinal, one) in condemned {
            if one.terminating {
                if monotonic {
                    return Flow::Stop;
                }
                continue;
            }
            // One that has given up serves nobody: it need not be waited for.
            let blocks = one.active() && one.phase != Phase::GaveUp && !self.is_available(one);
            if monotonic && blocks && first_unhealthy != Some(one.slot) {
                return Flow::Stop;
            }
            self.doom(ordinal);
            remove_all([one], &mut self.outcome);
            if monotonic {
                return Flow::Stop;
            }
        }
        Flow::GoOn
    }

    fn monotonic(&self) -> bool {
        match self.spec.management_policy {
            ManagementPolicy::OrderedReady => true,
            ManagementPolicy::Parallel => false,
        }
    }

    fn in_range(&self, ordinal: u32) -> bool {
        ordinal.checked_sub(self.spec.start_ordinal).is_some_and(|index| index < self.spec.replicas)
    }

    /// Ready long enough and here to stay.
    fn is_available(&self, one: &Observed) -> bool {
        one.active() && one.available(self.spec.min_ready, self.context.now.mono)
    }

    /// The instances in range with their indexes, from the lowest.
    fn wanted(&self) -> impl DoubleEndedIterator<Item = (u32, &Observed)> {
        let start = self.spec.start_ordinal;
        let wanted = self.by_ordinal.iter().filter(|(ordinal, _)| self.in_range(**ordinal));
        wanted.map(move |(ordinal, one)| (ordinal.saturating_sub(start), *one))
    }

    /// Counts anew, and notices the end of a roll-out (Kubernetes `stateful_set_utils.go
    /// completeRollingUpdate`, `stateful_set_control.go truncateHistory`).
    fn update_status(&mut self) {
        let replicas = self.spec.replicas;
        let mut counts = Counts { desired: replicas, ..Counts::default() };
        for one in self.by_ordinal.values().filter(|one| one.active()) {
            counts.current += 1;
            counts.ready += u32::from(one.ready());
            counts.available += u32::from(self.is_available(one));
            counts.updated += u32::from(one.set == self.update);
        }
        let runs = self.context.mode == Mode::Run;
        let alone =
            runs && self.by_ordinal.len() == replicas as usize && counts.current == replicas;
        let updated = alone && counts.updated == replicas;
        if updated && counts.ready == replicas && self.rolls() {
            self.state.current = Some(self.update);
        }
        if updated && counts.available == replicas && replicas > 0 {
            self.state.proven = Some(self.update);
        }
        let partition = self.partition();
        let there = self.wanted().all(|(index, one)| index < partition || one.set == self.update);
        let newest = self.state.revisions.holds(self.update, self.context.template);
        if !newest {
            counts.updated = 0;
        }
        let done = newest && alone && there && counts.available == replicas;
        let revision = self.state.revisions.newest();
        if done && self.state.announced != revision {
            self.state.announced = revision;
            self.outcome.tell(complete(revision));
        }
        self.state.counts = Computed(counts);
        self.state.rolled_out = Computed(done);
        if !at_rest(&self.outcome) {
            return;
        }
        let live: Vec<SetId> = [Some(self.update), self.state.current]
            .into_iter()
            .flatten()
            .chain(self.by_ordinal.values().map(|one| one.set))
            .chain(self.state.parked.values().copied())
            .collect();
        self.state.revisions.truncate_unused(self.spec.revision_history_limit, &live);
    }

    fn rolls(&self) -> bool {
        match self.spec.strategy {
            StatefulStrategy::RollingUpdate { .. } => true,
            StatefulStrategy::OnDelete => false,
        }
    }
}

/// Running, ready and here to stay (Kubernetes `stateful_set_utils.go isHealthy`).
fn healthy(one: &Observed) -> bool {
    one.active() && one.ready()
}

/// `<unit>-<ordinal>`.
fn instance_name(unit: &str, ordinal: u32) -> String {
    format!("{unit}-{ordinal}")
}

#[cfg(test)]
mod props;
#[cfg(test)]
mod tests;
