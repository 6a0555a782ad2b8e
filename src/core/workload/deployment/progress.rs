//! What a deployment says about itself: counts, conditions, progress.
//!
//! Responsible for the conditions Available, Progressing and ReplicaFailure and for the progress
//! deadline (Kubernetes `pkg/controller/deployment/progress.go`, `sync.go calculateStatus`). Must
//! not change sizes: a roll-out that makes no progress is reported, neither stopped nor undone.

use super::super::conditions::{Condition, Truth, Words};
use super::super::history::{self, number};
use super::super::{Counts, Note, SetId};
use super::Sync;
use crate::core::report::Reason;
use crate::core::time::Millis;

/// At least so many are available as must be.
pub(super) const AVAILABLE: &str = "Available";
/// The roll-out gets on.
pub(super) const PROGRESSING: &str = "Progressing";
/// An instance cannot be started.
pub(super) const FAILURE: &str = "ReplicaFailure";

const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const NEW_AVAILABLE: &str = "NewReplicaSetAvailable";
const UPDATED: &str = "ReplicaSetUpdated";
const FAILED_CREATE: &str = "FailedCreate";
const PAUSED: &str = "DeploymentPaused";
const RESUMED: &str = "DeploymentResumed";

/// Whether a Progressing condition says that the deadline has passed.
pub(super) fn timed_out(condition: &Condition) -> bool {
    condition.reason == TIMED_OUT
}

/// Whether a Progressing condition says that the roll-out is complete.
pub(super) fn is_complete(condition: &Condition) -> bool {
    condition.reason == NEW_AVAILABLE
}

impl Sync<'_> {
    /// Writes the Progressing condition and starts its clock anew, as every write of it does.
    pub(super) fn progressing(
        &mut self,
        status: Truth,
        reason: &'static str,
        message: impl Into<Words>,
    ) -> bool {
        let now = self.context.now;
        let changed = self.state.conditions.set(PROGRESSING, status, reason, message, now.wall);
        self.state.conditions.touch(PROGRESSING, now.wall);
        self.state.progress_at = Some(now.mono);
        changed
    }

    fn progressing_reason(&self) -> &str {
        self.state.conditions.get(PROGRESSING).map_or("", |c| &*c.reason)
    }

    /// Kubernetes `progress.go`/`sync.go checkPausedConditions`: a pause is no lack of progress,
    /// but it does not hide one that was already reported.
    pub(super) fn pause_condition(&mut self) {
        if self.spec.progress_deadline.is_none() || self.progressing_reason() == TIMED_OUT {
            return;
        }
        let paused = self.progressing_reason() == PAUSED;
        if self.spec.paused && !paused {
            self.progressing(Truth::Unknown, PAUSED, "the deployment is paused");
        } else if !self.spec.paused && paused {
            self.progressing(Truth::Unknown, RESUMED, "the deployment is resumed");
        }
    }

    /// Counts anew and writes the conditions. `estimate`: a roll-out step was due, so progress is
    /// judged too (Kubernetes `progress.go syncRolloutStatus`; else `sync.go
    /// syncDeploymentStatus`).
    pub(super) fn update_status(&mut self, new: Option<SetId>, estimate: bool) {
        let counts = self.count(new);
        self.available_condition(&counts);
        self.failure_condition(new);
        let replicas = self.bounds.replicas;
        let complete = new.is_some()
            && counts.updated == replicas
            && counts.current == replicas
            && counts.available == replicas;
        if estimate {
            self.estimate(&counts, complete);
        }
        self.state.counts = counts;
        self.state.rolled_out = complete;
    }

    fn count(&self, new: Option<SetId>) -> Counts {
        let mut counts = Counts { desired: self.bounds.replicas, ..Counts::default() };
        for (id, tally) in self.tallies.iter() {
            counts.current = counts.current.saturating_add(tally.active);
            counts.ready = counts.ready.saturating_add(tally.ready);
            counts.available = counts.available.saturating_add(tally.available);
            if Some(id) == new {
                counts.updated = tally.active;
            }
        }
        counts
    }

    /// Kubernetes `sync.go calculateStatus`.
    fn available_condition(&mut self, counts: &Counts) {
        let (status, reason, message) = if counts.available >= self.bounds.min_available() {
            (Truth::True, "MinimumReplicasAvailable", "enough instances are available")
        } else {
            (Truth::False, "MinimumReplicasUnavailable", "too few instances are available")
        };
        self.state.conditions.set(AVAILABLE, status, reason, message, self.context.now.wall);
    }

    /// An instance cannot be started: the new set's first, else an old one's; of several the one
    /// that was made first (Kubernetes `progress.go getReplicaFailures`, where it is the creation
    /// of a pod that fails; unlike there it is kept up to date while paused).
    fn failure_condition(&mut self, new: Option<SetId>) {
        let failing = self.observed.failing();
        let failing = failing.filter_map(|one| one.start_failure.as_ref().map(|why| (one, why)));
        match failing.min_by_key(|(one, _)| (Some(one.set) != new, one.slot)) {
            None => self.state.conditions.remove(FAILURE),
            Some((one, why)) => {
                let message = format!("{}: {why}", one.name);
                let now = self.context.now.wall;
                self.state.conditions.set(FAILURE, Truth::True, FAILED_CREATE, message, now);
            }
        }
    }

    /// Kubernetes `progress.go syncRolloutStatus`, `requeueStuckDeployment`.
    fn estimate(&mut self, counts: &Counts, complete: bool) {
        let revision = self.state.newest_revision();
        let deadline = self.spec.progress_deadline;
        let settled =
            counts.current == counts.updated && self.progressing_reason() == NEW_AVAILABLE;
        match deadline {
            None => {
                self.state.conditions.remove(PROGRESSING);
                self.state.progress_at = None;
            }
            Some(_) if settled => {}
            Some(_) if complete => {
                self.progressing(Truth::True, NEW_AVAILABLE, "the roll-out is complete");
            }
            Some(_) if self.has_progressed(counts) => {
                self.progressing(Truth::True, UPDATED, "the roll-out makes progress");
            }
            Some(deadline) => self.check_deadline(deadline, revision),
        }
        if let Some(deadline) = deadline {
            self.recheck_deadline(deadline);
        }
        if complete && self.state.announced != revision {
            self.state.announced = revision;
            self.outcome.tell(history::complete(revision));
        }
    }

    /// Kubernetes `deployment_util.go DeploymentProgressing`.
    fn has_progressed(&self, counts: &Counts) -> bool {
        let before = &self.state.counts;
        let old = |c: &Counts| c.current.saturating_sub(c.updated);
        counts.updated > before.updated
            || old(counts) < old(before)
            || counts.ready > before.ready
            || counts.available > before.available
    }

    /// Whether a deadline runs: none does before the first roll-out, and none after a complete one
    /// (a later crash is not a failed roll-out) or after it has passed.
    fn clock_runs(&self) -> bool {
        !["", TIMED_OUT, NEW_AVAILABLE].contains(&self.progressing_reason())
    }

    /// Kubernetes `deployment_util.go DeploymentTimedOut`: once past, it stays so until there is
    /// progress.
    fn check_deadline(&mut self, deadline: Millis, revision: u64) {
        let now = self.context.now.mono;
        // A clock that is behind what was noted was started anew by a reboot.
        let since = self.state.progress_at.map_or(now, |at| at.min(now));
        self.state.progress_at = Some(since);
        if !self.clock_runs() || now.since(since) <= deadline {
            return;
        }
        let message = format!("no progress for {deadline}");
        let wall = self.context.now.wall;
        self.state.conditions.set(PROGRESSING, Truth::False, TIMED_OUT, message.clone(), wall);
        let note = Note::warning(Reason::RolloutStalled, message);
        self.outcome.tell(note.with_int("revision", number(revision)));
    }

    /// Kubernetes `progress.go requeueStuckDeployment`; "strictly before now" is a millisecond on.
    fn recheck_deadline(&mut self, deadline: Millis) {
        if let Some(since) = self.state.progress_at.filter(|_| self.clock_runs()) {
            self.outcome.recheck_at(since.plus(deadline).plus(Millis(1)));
        }
    }
}
