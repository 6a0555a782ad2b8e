//! DaemonSets: one instance on each node.
//!
//! Responsible for who runs where (Kubernetes `pkg/controller/daemon/daemon_controller.go manage`)
//! and for moving to a new template within bounds (`daemon/update.go`, in `update`). Must not know
//! what a node is: nodes come as names, from whoever watches the machine.
//!
//! Names: the instance of a node is `<unit>-<node>`. With surge two may be there at once; the one
//! that comes second is `<unit>-<node>-<5 random>`, since the first still has the name.

mod update;

use super::history::{Adopted, Revisions, at_rest, complete, started};
use super::replicaset::remove_all;
use super::statefulset::seen::Seen;
use super::{
    BURST, Computed, Context, Counts, HistoryEntry, Identity, Intent, Mode, NewName, Observed,
};
use super::{Outcome, Phase, SetId, Status};
use crate::core::id::Revision;
use crate::core::spec::{DaemonSetSpec, DaemonStrategy, InstanceTemplate};
use crate::core::time::{Millis, Mono};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// After the first failure on a node it is waited so long before the next (Kubernetes
/// `cmd/kube-controller-manager/app/apps.go startDaemonSetController`).
const FAILED_DELAY_FIRST: Millis = Millis::from_secs(1);
/// The delay doubles up to this.
const FAILED_DELAY_MAX: Millis = Millis::from_secs(15 * 60);

/// When a node's instance failed last, and how long the next replacement waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Failure {
    delay: Millis,
    at: Mono,
}

/// No set has this identity: nothing was ever to run.
const NO_SET: SetId = 0;

/// What a daemonset remembers: its revisions, back-offs and counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    revisions: Revisions,
    /// The newest revision.
    update: Option<SetId>,
    seen: Seen,
    /// Nodes whose instance failed.
    failures: BTreeMap<String, Failure>,
    /// While stopped, and until each is made again: the revision on each node, so that a stop in
    /// the middle of a roll-out does not finish it.
    parked: BTreeMap<String, SetId>,
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
}

/// What one sync works on.
struct Sync<'a> {
    spec: &'a DaemonSetSpec,
    context: &'a Context<'a>,
    state: &'a mut State,
    observed: &'a [Observed],
    /// All names that are taken.
    names: BTreeSet<&'a str>,
    /// Every node that is, with all its instances, oldest first.
    nodes: BTreeMap<&'a str, Vec<&'a Observed>>,
    /// The nodes with the paths that stand for them.
    paths: &'a BTreeMap<String, Option<String>>,
    update: SetId,
    outcome: Outcome,
}

/// One step of the daemonset controller. `nodes`: name and path of every node that is now.
pub fn reconcile(
    spec: &DaemonSetSpec,
    context: &Context<'_>,
    state: &mut State,
    observed: &[Observed],
    nodes: &BTreeMap<String, Option<String>>,
) -> Outcome {
    let mut outcome = Outcome::default();
    let update = adopt(spec, context, state, observed, &mut outcome);
    state.seen.look(observed);
    state.revisions.count(observed.iter().filter(|one| one.active()).map(|one| one.set));
    let (placed, strangers) = place(observed, nodes);
    let paths = nodes;
    let nodes = placed;
    let names = observed.iter().map(|one| one.name.as_str()).collect();
    let mut sync = Sync { spec, context, state, observed, names, nodes, paths, update, outcome };
    match context.mode {
        Mode::Run => {
            // `podsShouldBeOnNode`: not supposed to run there any more, so it goes at once.
            remove_all(strangers, &mut sync.outcome);
            sync.run();
        }
        Mode::Stopped => sync.stop(),
        Mode::Deleting => {
            sync.stop();
            sync.outcome.gone = observed.is_empty();
        }
    }
    sync.outcome
}

/// The newest revision: that of the template, unless it is held back by a pause or a stop.
fn adopt(
    spec: &DaemonSetSpec,
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
    id
}

type Placed<'a> = BTreeMap<&'a str, Vec<&'a Observed>>;

/// The instances of each node that is, and those of no such node (Kubernetes
/// `daemon_controller.go getNodesToDaemonPods`).
fn place<'a>(
    observed: &'a [Observed],
    nodes: &'a BTreeMap<String, Option<String>>,
) -> (Placed<'a>, Vec<&'a Observed>) {
    let mut placed: Placed<'a> = nodes.keys().map(|name| (name.as_str(), Vec::new())).collect();
    let mut strangers = Vec::new();
    for one in observed {
        let there = match &one.identity {
            Identity::Node { name, .. } => placed.get_mut(name.as_str()),
            Identity::Anonymous | Identity::Ordinal(_) | Identity::Index(_) => None,
        };
        match there {
            Some(there) => there.push(one),
            None => strangers.push(one),
        }
    }
    for there in placed.values_mut() {
        there.sort_by_key(|one| (one.created, one.slot));
    }
    (placed, strangers)
}

impl<'a> Sync<'a> {
    fn run(&mut self) {
        self.state.stopped = false;
        if self.state.parked_update != Some(self.update) {
            self.state.parked.clear();
        }
        let nodes = &self.nodes;
        self.state.parked.retain(|node, _| nodes.contains_key(node.as_str()));
        let now = self.context.now.mono;
        self.state.failures.retain(|_, failure| !expired(*failure, now));
        let before = self.outcome.intents.len();
        self.manage();
        if self.outcome.intents.len() == before {
            // The update step counts what there is; after a change it is due in the next sync.
            self.update_step();
        }
        self.update_status();
        for one in self.observed.iter().filter(|one| one.active()) {
            if let Some(at) = one.available_at(self.spec.min_ready, now) {
                self.outcome.recheck_at(at);
            }
        }
    }

    fn stop(&mut self) {
        if !self.state.stopped {
            self.state.stopped = true;
            self.state.parked_update = Some(self.update);
            for (node, there) in &self.nodes {
                if let Some(one) = there.iter().find(|one| one.active()) {
                    self.state.parked.insert((*node).to_owned(), one.set);
                }
            }
        }
        remove_all(self.observed, &mut self.outcome);
        self.update_status();
        self.state.counts.0.desired = 0;
        self.state.rolled_out = Computed(false);
    }

    /// Each node has its instance (Kubernetes `daemon_controller.go manage`,
    /// `podsShouldBeOnNode`).
    fn manage(&mut self) {
        let nodes: Vec<(&'a str, Vec<&'a Observed>)> =
            self.nodes.iter().map(|(node, there)| (*node, there.clone())).collect();
        for (node, there) in nodes {
            if self.outcome.intents.len() >= BURST {
                return;
            }
            if there.is_empty() {
                let parked = self.state.parked.remove(node);
                let set = parked.filter(|set| self.state.revisions.get(*set).is_some());
                self.create(node, set.unwrap_or(self.update));
                continue;
            }
            let running = self.let_go_of_ended(node, &there);
            if running.len() < 2 {
                continue;
            }
            if self.allows_surge() {
                self.prune_surged(&running);
            } else {
                remove_all(running.iter().skip(1).copied(), &mut self.outcome);
            }
        }
    }

    /// Failed ones go, with a delay that grows by node; Succeeded ones at once. Returns the rest
    /// that is not on its way out.
    fn let_go_of_ended(&mut self, node: &str, there: &[&'a Observed]) -> Vec<&'a Observed> {
        let mut running = Vec::new();
        for one in there.iter().filter(|one| !one.terminating) {
            match one.phase {
                Phase::Failed => self.let_go_of_failed(node, one.slot),
                Phase::Succeeded => self.outcome.push(Intent::Forget { slot: one.slot }),
                Phase::Pending | Phase::Running | Phase::GaveUp => running.push(*one),
            }
        }
        running
    }

    /// Kubernetes `daemon_controller.go failedPodsBackoff`, `client-go util/flowcontrol/backoff.go
    /// IsInBackOffSinceUpdate`.
    fn let_go_of_failed(&mut self, node: &str, slot: u64) {
        let now = self.context.now.mono;
        let before = self.state.failures.get(node).copied();
        if let Some(Failure { delay, at }) = before
            && now.since(at) < delay
        {
            self.outcome.recheck_at(at.plus(delay));
            return;
        }
        let delay = before
            .map_or(FAILED_DELAY_FIRST, |f| f.delay.saturating_add(f.delay).min(FAILED_DELAY_MAX));
        self.state.failures.insert(node.to_owned(), Failure { delay, at: now });
        self.outcome.push(Intent::Forget { slot });
    }

    /// With surge one old and one new may be there, while the old one works and the new one does
    /// not yet.
    fn prune_surged(&mut self, running: &[&'a Observed]) {
        let mut new = running.iter().copied().filter(|one| one.set == self.update);
        let mut old = running.iter().copied().filter(|one| one.set != self.update);
        let (oldest_new, oldest_old) = (new.next(), old.next());
        let mut going: Vec<&Observed> = new.chain(old).collect();
        if let (Some(new), Some(old)) = (oldest_new, oldest_old)
            && (!old.ready() || self.is_available(new))
        {
            going.push(old);
        }
        remove_all(going, &mut self.outcome);
    }

    fn create(&mut self, node: &str, set: SetId) {
        let plain = format!("{}-{node}", self.context.name);
        let taken = self.names.contains(plain.as_str());
        let name = if taken { NewName::Random(plain) } else { NewName::Fixed(plain) };
        let path = self.paths.get(node).cloned().flatten();
        let identity = Identity::Node { name: node.to_owned(), path };
        self.outcome.push(Intent::Create { set, name, identity });
    }

    fn is_available(&self, one: &Observed) -> bool {
        one.active() && one.available(self.spec.min_ready, self.context.now.mono)
    }

    /// Counts nodes (Kubernetes `daemon_controller.go updateDaemonSetStatus`; a node on which an
    /// old and a new one run counts by the better of them), notices the end of a roll-out, and
    /// drops old history.
    fn update_status(&mut self) {
        let mut counts = Counts::default();
        let mut done = true;
        for there in self.nodes.values() {
            let active = || there.iter().filter(|one| one.active());
            counts.desired += 1;
            counts.current += u32::from(active().next().is_some());
            counts.ready += u32::from(active().any(|one| one.ready()));
            counts.available += u32::from(active().any(|one| self.is_available(one)));
            counts.updated += u32::from(active().any(|one| one.set == self.update));
            done &= active().next().is_some()
                && active().all(|one| one.set == self.update && self.is_available(one));
        }
        if !self.state.revisions.holds(self.update, self.context.template) {
            counts.updated = 0;
            done = false;
        }
        let revision = self.state.revisions.newest();
        if done && self.context.mode == Mode::Run && self.state.announced != revision {
            self.state.announced = revision;
            self.outcome.tell(complete(revision));
        }
        self.state.counts = Computed(counts);
        self.state.rolled_out = Computed(done);
        if !at_rest(&self.outcome) {
            return;
        }
        let live: Vec<SetId> = std::iter::once(self.update)
            .chain(self.observed.iter().map(|one| one.set))
            .chain(self.state.parked.values().copied())
            .collect();
        self.state.revisions.truncate_old(self.spec.revision_history_limit, &live);
    }
}

/// A node that has been well for twice the longest delay begins anew.
fn expired(failure: Failure, now: Mono) -> bool {
    now.since(failure.at) > FAILED_DELAY_MAX.saturating_add(FAILED_DELAY_MAX)
}

#[cfg(test)]
mod props;
#[cfg(test)]
mod tests;
