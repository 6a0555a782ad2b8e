//! Jobs: runs that are to end with exit 0, a given number of times.
//!
//! Responsible for a job's life: when a run of it begins, what ends it, what is told of it, when
//! it is removed (`pkg/controller/job/job_controller.go` `syncJob`,
//! `pkg/controller/ttlafterfinished`). Counting is `count`'s, the number of instances `manage`'s.
//!
//! Decisions where Kubernetes has nothing to copy:
//! - A job that is stopped ([`Mode::Stopped`]) loses its instances without a failure being
//!   counted, makes none, keeps its counts and its start time, and its active deadline stands
//!   still. It goes on where it was when it may run again. Kubernetes' suspension, in contrast,
//!   resets the start time.
//! - The active deadline is measured by the monotonic clock, so that no step of the wall clock
//!   fails a job. What was spent before a reboot since the last stop is forgotten.
//! - A changed template makes a new run once the present one has ended; a run that never
//!   started an instance takes the new template at once.
//! - Of a finished run the newest instances stay as records ([`RECORDS_KEPT`]).

mod count;
mod indexes;
mod manage;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod tests;

pub use indexes::Indexes;

use super::conditions::{Conditions, Truth, Words};
use super::{
    BURST, Computed, Context, Counts, HistoryEntry, Intent, Mode, Note, Observed, Outcome, Phase,
    SetId, Status,
};
use crate::core::report::{Field, Reason};
use crate::core::spec::{InstanceTemplate, JobSpec, RestartPolicy, SuccessRule};
use crate::core::time::{Now, Wall};
use count::{Attempts, Stopwatch};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// So many ended instances stay as records, of each outcome: enough to look at the logs of a run
/// that went through all the failures that the default `backoff_limit` of 6 allows, and a bound
/// for a work queue of thousands.
pub const RECORDS_KEPT: usize = 10;

/// The job is to fail once its processes are gone.
const FAILURE_TARGET: &str = "FailureTarget";
/// The job is to be complete once its processes are gone.
const SUCCESS_CRITERIA_MET: &str = "SuccessCriteriaMet";
/// The job has failed.
const FAILED: &str = "Failed";
/// The job is complete.
const COMPLETE: &str = "Complete";
/// Nothing of the job runs, as its spec says.
const SUSPENDED: &str = "Suspended";

/// What a job remembers: what was counted, conditions, start and end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Counts the runs of this job; the set of the present run's instances. 0: none yet.
    run: SetId,
    /// What the present run's instances are made from.
    template: Option<Arc<InstanceTemplate>>,
    /// `status.startTime`.
    started: Option<Wall>,
    /// How long it has been active, for the deadline.
    active_for: Stopwatch,
    /// Instances still there whose end was counted.
    counted: BTreeSet<u64>,
    /// Instances still there that were asked to go and count for nothing.
    discarded: BTreeSet<u64>,
    /// Runs that succeeded; of an indexed job: indexes.
    succeeded: u32,
    /// Runs that failed.
    failed: u32,
    /// Indexed: those that succeeded.
    completed_indexes: Indexes,
    /// Indexed, with a limit for each index: those that failed.
    failed_indexes: Indexes,
    /// For the delay before the next attempt.
    attempts: Attempts,
    /// The same for each index that failed and is not decided.
    index_attempts: BTreeMap<u32, Attempts>,
    conditions: Conditions,
    /// When it ended.
    completed: Option<Wall>,
    /// What is shown; computed anew at each step.
    #[serde(skip)]
    counts: Computed<Counts>,
}

impl State {
    /// The template of a set.
    pub fn template_of(&self, set: SetId) -> Option<&Arc<InstanceTemplate>> {
        self.template.as_ref().filter(|_| set == self.run)
    }

    /// Which of the job's runs a set is, from 1.
    pub fn revision_of(&self, set: SetId) -> Option<u64> {
        (set == self.run && set > 0).then(|| u64::from(set))
    }

    /// What is shown to the outside.
    pub fn status(&self) -> Status {
        Status {
            counts: self.counts.0.clone(),
            revision: u64::from(self.run),
            conditions: self.conditions.0.to_vec(),
            rolled_out: false,
            stalled: false,
        }
    }

    /// Jobs have no history of templates.
    pub fn history(&self) -> Vec<HistoryEntry> {
        Vec::new()
    }

    /// Whether it ended, and how: `Some(true)` complete, `Some(false)` failed. Only once all its
    /// processes are gone.
    pub fn finished(&self) -> Option<bool> {
        if self.conditions.holds(COMPLETE) {
            Some(true)
        } else if self.conditions.holds(FAILED) {
            Some(false)
        } else {
            None
        }
    }

    /// When its present run began, or was resumed.
    pub fn started(&self) -> Option<Wall> {
        self.started
    }

    /// When it ended.
    pub fn completed_at(&self) -> Option<Wall> {
        self.completed
    }

    /// How many instances there are that have not ended and are not on their way out.
    pub fn active(&self) -> u32 {
        self.counts.0.current
    }

    /// How many runs succeeded; of an indexed job, how many indexes.
    pub fn succeeded(&self) -> u32 {
        self.succeeded
    }

    /// How many runs failed.
    pub fn failed(&self) -> u32 {
        self.failed
    }

    /// Indexed: which indexes succeeded.
    pub fn completed_indexes(&self) -> &Indexes {
        &self.completed_indexes
    }

    /// Indexed: which indexes failed for good.
    pub fn failed_indexes(&self) -> &Indexes {
        &self.failed_indexes
    }

    /// How many of the wanted completions are there.
    fn done(&self, spec: &JobSpec) -> u32 {
        match spec.completions {
            Some(completions) if spec.indexed => self.completed_indexes.count_below(completions),
            Some(_) | None => self.succeeded,
        }
    }

    /// Indexes beyond the number of completions are none any more: what became of them is
    /// forgotten (`indexed_job_utils.go` `parseIndexesFromString` reads the sets anew at each
    /// sync, up to the present number).
    fn narrow(&mut self, completions: u32) {
        self.completed_indexes.truncate(completions);
        self.failed_indexes.truncate(completions);
        self.index_attempts.split_off(&completions);
        self.succeeded = self.completed_indexes.count_below(completions);
    }

    /// Enough succeeded.
    fn reached(&self, spec: &JobSpec) -> bool {
        match spec.completions {
            Some(completions) => self.done(spec) >= completions,
            None => self.succeeded > 0,
        }
    }

    /// Its outcome is settled, though processes may still be there.
    fn settled(&self) -> bool {
        self.conditions.holds(FAILURE_TARGET) || self.conditions.holds(SUCCESS_CRITERIA_MET)
    }

    fn settle(
        &mut self,
        kind: &'static str,
        reason: impl Into<Words>,
        message: impl Into<Words>,
        now: Wall,
    ) {
        if !self.settled() {
            self.conditions.set(kind, Truth::True, reason, message, now);
        }
    }
}

/// One step of the job controller.
pub fn reconcile(
    spec: &JobSpec,
    context: &Context<'_>,
    state: &mut State,
    observed: &[Observed],
) -> Outcome {
    let mut out = Outcome::default();
    if context.mode == Mode::Deleting {
        remove_all(observed, &mut out);
        return out;
    }
    let there: BTreeSet<u64> = observed.iter().map(|o| o.slot).collect();
    state.counted.retain(|slot| there.contains(slot));
    state.discarded.retain(|slot| there.contains(slot));
    if state.run > 0 && state.started.is_none() && state.finished().is_none() {
        // Nothing was made from the old template.
        state.template = Some(Arc::clone(context.template));
    }
    if state.finished().is_none() && state.run > 0 {
        advance(spec, context, state, observed, &mut out);
    }
    begin_run(spec, context, state, observed, &mut out);
    tidy(context, state, observed, &mut out);
    if state.finished().is_some() {
        expire(spec, context, state, &mut out);
    }
    state.counts = Computed(shown(spec, state, observed));
    out
}

/// The process of an instance that was asked to go has ended, and the instance is about to be
/// forgotten. With a failure policy this is when it is judged, for only now its exit is known
/// (`isPodFailed`, `podReplacementPolicy: Failed`, the only value allowed beside a policy); without
/// one it was counted when it was asked to go.
pub fn ended_leaving(spec: &JobSpec, state: &mut State, ended: &Observed, now: Now) {
    if spec.failure_policy.is_empty() || ended.set != state.run || state.finished().is_some() {
        return;
    }
    let ignore = state.conditions.holds(SUCCESS_CRITERIA_MET);
    let found = count::count(state, spec, &[ended], now.mono, ignore);
    if let Some(message) = &found.fail_job {
        state.settle(FAILURE_TARGET, "PodFailurePolicy", message.clone(), now.wall);
    }
}

/// The unit is on its way out: everything goes, nothing is counted.
fn remove_all(observed: &[Observed], out: &mut Outcome) {
    for instance in observed.iter().filter(|o| !o.terminating).take(BURST) {
        out.push(Intent::Delete { slot: instance.slot });
    }
    out.gone = observed.is_empty();
}

/// Begins the first run, or another one if the template changed and the last one has ended.
fn begin_run(
    spec: &JobSpec,
    context: &Context<'_>,
    state: &mut State,
    observed: &[Observed],
    out: &mut Outcome,
) {
    if context.mode != Mode::Run {
        return;
    }
    let changed = state.template.as_ref() != Some(context.template);
    if state.run > 0 && !(state.finished().is_some() && changed) {
        return;
    }
    let last = observed.iter().map(|o| o.set).max().unwrap_or(0).max(state.run);
    *state = State {
        run: last.saturating_add(1),
        template: Some(Arc::clone(context.template)),
        ..State::default()
    };
    advance(spec, context, state, observed, out);
}

/// One step of a run that has not ended.
fn advance(
    spec: &JobSpec,
    context: &Context<'_>,
    state: &mut State,
    observed: &[Observed],
    out: &mut Outcome,
) {
    let now = context.now;
    let mut mine: Vec<&Observed> = observed.iter().filter(|o| o.set == state.run).collect();
    mine.sort_by_key(|o| o.slot);
    if let (true, Some(completions)) = (spec.indexed, spec.completions) {
        state.narrow(completions);
    }
    keep_time(spec, context, state, out);
    let ignore_leaving = context.mode != Mode::Run || state.conditions.holds(SUCCESS_CRITERIA_MET);
    let found = count::count(state, spec, &mine, now.mono, ignore_leaving);
    if !state.settled() {
        judge(spec, context, state, &mine, &found, out);
    }
    if !state.settled() && context.mode == Mode::Run && !spec.suspend {
        // Instances of a former run that are still on their way out keep the new one waiting.
        let former = observed.iter().any(|o| o.set != state.run && manage::unfinished(o));
        if !former {
            manage::manage(spec, context, state, &mine, out);
        }
    }
    judge_completion(spec, context, state, &mine);
    if spec.suspend && context.mode == Mode::Run && !state.settled() {
        suspend(state, now, out);
    }
    if state.settled() || context.mode != Mode::Run || spec.suspend {
        stop_all(state, &mine, out);
    }
    if state.settled() && !mine.iter().any(|o| manage::unfinished(o)) {
        finish(state, now, out);
    }
}

/// Start time, suspension and the deadline's clock.
fn keep_time(spec: &JobSpec, context: &Context<'_>, state: &mut State, out: &mut Outcome) {
    let now = context.now;
    state.attempts.clamp(now.mono);
    state.index_attempts.values_mut().for_each(|attempts| attempts.clamp(now.mono));
    if state.settled() || context.mode != Mode::Run {
        state.active_for.pause(now.mono);
        return;
    }
    if spec.suspend {
        state.active_for = Stopwatch::default();
        return;
    }
    if state.conditions.holds(SUSPENDED) {
        let message = "the job goes on";
        state.conditions.set(SUSPENDED, Truth::False, "JobResumed", message, now.wall);
        out.tell(Note::normal(Reason::JobResumed, "resumed"));
        state.active_for = Stopwatch::default();
        if state.started.is_some() {
            state.started = Some(now.wall);
        }
    }
    if state.started.is_none() {
        state.started = Some(now.wall);
        out.tell(Note::normal(Reason::JobStarted, "started"));
    }
    state.active_for.start(now.mono);
}

/// Says that the job is suspended, which only a job can be whose outcome is not certain.
fn suspend(state: &mut State, now: Now, out: &mut Outcome) {
    if !state.conditions.holds(SUSPENDED) {
        let message = "the job is suspended";
        state.conditions.set(SUSPENDED, Truth::True, "JobSuspended", message, now.wall);
        out.tell(Note::normal(Reason::JobSuspended, "suspended"));
    }
}

/// Whether the outcome is certain now, in Kubernetes' order: failure policy, limit, deadline,
/// failed indexes, success policy. The first to hold wins and stays.
fn judge(
    spec: &JobSpec,
    context: &Context<'_>,
    state: &mut State,
    mine: &[&Observed],
    found: &count::Counted,
    out: &mut Outcome,
) {
    let now = context.now;
    let fail = |state: &mut State, reason: &'static str, message: Words| {
        state.settle(FAILURE_TARGET, reason, message, now.wall);
    };
    if let Some(message) = &found.fail_job {
        fail(state, "PodFailurePolicy", message.clone().into());
    }
    // Also of failures from before the limit was lowered (`exceedsBackoffLimit`).
    if state.failed > spec.backoff_limit || past_limit_in_place(spec, state, mine) {
        fail(state, "BackoffLimitExceeded", "the job has reached its backoff limit".into());
    }
    if let Some(limit) = spec.active_deadline
        && context.mode == Mode::Run
        && !spec.suspend
    {
        let elapsed = state.active_for.elapsed(now.mono);
        if elapsed >= limit {
            let message = "the job was active longer than its deadline";
            fail(state, "DeadlineExceeded", message.into());
        } else {
            out.recheck_at(now.mono.plus(limit.saturating_sub(elapsed)));
        }
    }
    if let (true, Some(completions)) = (spec.indexed, spec.completions) {
        judge_indexes(spec, state, completions, now);
    }
}

fn judge_indexes(spec: &JobSpec, state: &mut State, completions: u32, now: Now) {
    let failed = state.failed_indexes.count_below(completions);
    if spec.backoff_limit_per_index.is_some() {
        if spec.max_failed_indexes.is_some_and(|max| failed > max) {
            let message = "more indexes have failed than are allowed to";
            state.settle(FAILURE_TARGET, "MaxFailedIndexesExceeded", message, now.wall);
        } else if failed > 0 && failed.saturating_add(state.done(spec)) >= completions {
            state.settle(FAILURE_TARGET, "FailedIndexes", "the job has failed indexes", now.wall);
        }
    }
    if let Some(at) = met_rule(&spec.success_policy, &state.completed_indexes, completions) {
        let message = format!("rule {at} of the success policy is met");
        state.settle(SUCCESS_CRITERIA_MET, "SuccessPolicy", message, now.wall);
    }
}

/// `pkg/controller/job/success_policy.go` `matchSuccessPolicy`: the number of the first rule met.
fn met_rule(rules: &[SuccessRule], done: &Indexes, completions: u32) -> Option<usize> {
    if done.is_empty() {
        return None;
    }
    rules.iter().position(|rule| match (&rule.indexes, rule.count) {
        (None, None) => false,
        (None, Some(count)) => done.count_below(completions) >= count,
        (Some(ranges), count) => {
            let listed: u64 = ranges.iter().map(|(a, b)| u64::from(b.saturating_sub(*a)) + 1).sum();
            let met: u64 = ranges.iter().map(|(a, b)| u64::from(done.count_within(*a, *b))).sum();
            listed > 0 && met >= count.map_or(listed, u64::from)
        }
    })
}

/// `pastBackoffLimitOnFailure`: restarts in place count while their instance is there.
fn past_limit_in_place(spec: &JobSpec, state: &State, mine: &[&Observed]) -> bool {
    if state.template.as_ref().is_none_or(|t| t.restart.policy != RestartPolicy::OnFailure) {
        return false;
    }
    let restarts: u64 = mine
        .iter()
        .filter(|o| manage::unfinished(o) && !state.discarded.contains(&o.slot))
        .map(|o| u64::from(o.restarts))
        .sum();
    // Without a limit (2147483647 in Kubernetes) no number of restarts is too great.
    spec.backoff_limit != u32::MAX && restarts >= u64::from(spec.backoff_limit.max(1))
}

/// Enough succeeded and nothing runs any more.
fn judge_completion(spec: &JobSpec, context: &Context<'_>, state: &mut State, mine: &[&Observed]) {
    if mine.iter().any(|o| o.active()) {
        return;
    }
    if state.reached(spec) {
        let message = "the job has reached its completions";
        state.settle(SUCCESS_CRITERIA_MET, "CompletionsReached", message, context.now.wall);
    }
}

/// Asks every active instance to go. Those that go because the job failed are failures
/// themselves; the others count for nothing.
fn stop_all(state: &mut State, mine: &[&Observed], out: &mut Outcome) {
    let failing = state.conditions.holds(FAILURE_TARGET);
    for instance in mine.iter().filter(|o| o.active()).take(BURST) {
        if !failing {
            state.discarded.insert(instance.slot);
        }
        out.push(Intent::Delete { slot: instance.slot });
    }
}

/// All processes are gone and the outcome is certain: now it is said.
fn finish(state: &mut State, now: Now, out: &mut Outcome) {
    let failed = state.conditions.get(FAILURE_TARGET).cloned();
    let Some(target) =
        failed.clone().or_else(|| state.conditions.get(SUCCESS_CRITERIA_MET).cloned())
    else {
        return;
    };
    let kind = if failed.is_some() { FAILED } else { COMPLETE };
    state.conditions.set(
        kind,
        Truth::True,
        target.reason.clone(),
        target.message.clone(),
        now.wall,
    );
    state.completed = Some(now.wall);
    state.index_attempts.clear();
    let note = if failed.is_some() {
        Note::warning(Reason::JobFailed, format!("failed: {}", target.message))
    } else {
        Note::normal(Reason::JobCompleted, "complete")
    };
    out.tell(
        // Not "reason": that is the event's own, and JSON has one key of a name.
        note.with("cause", Field::Text(target.reason.into_owned()))
            .with_int("succeeded", state.succeeded)
            .with_int("failed", state.failed),
    );
}

/// Removes what is left of former runs, and records beyond the number that is kept.
fn tidy(context: &Context<'_>, state: &mut State, observed: &[Observed], out: &mut Outcome) {
    let mut room = [RECORDS_KEPT; 2];
    let mut newest_first: Vec<&Observed> = observed.iter().filter(|o| !o.terminating).collect();
    newest_first.sort_by_key(|o| std::cmp::Reverse(o.slot));
    let mut removed = 0;
    for instance in newest_first {
        let former = instance.set != state.run;
        let record = !manage::unfinished(instance);
        if removed >= BURST || (former && context.mode != Mode::Run && record) {
            continue;
        }
        if former {
            removed += 1;
            out.push(match record {
                true => Intent::Forget { slot: instance.slot },
                false => Intent::Delete { slot: instance.slot },
            });
            continue;
        }
        if !state.counted.contains(&instance.slot) {
            continue;
        }
        let kind = usize::from(instance.phase == Phase::Succeeded);
        match room.get_mut(kind) {
            Some(left) if *left > 0 => *left -= 1,
            Some(_) | None => {
                removed += 1;
                out.push(Intent::Forget { slot: instance.slot });
            }
        }
    }
}

/// `ttl_after_finished`: the job goes when its time is over, also if the limit was set later.
fn expire(spec: &JobSpec, context: &Context<'_>, state: &State, out: &mut Outcome) {
    let (Some(ttl), Some(completed)) = (spec.ttl_after_finished, state.completed) else { return };
    if context.mode != Mode::Run {
        return;
    }
    let at = completed.plus(ttl);
    if at <= context.now.wall {
        out.push(Intent::RemoveUnit);
    } else {
        out.recheck_at(context.now.mono_at(at));
    }
}

fn shown(spec: &JobSpec, state: &State, observed: &[Observed]) -> Counts {
    let active = || observed.iter().filter(|o| o.set == state.run && o.active());
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let ready = count(active().filter(|o| o.ready()).count());
    let current = count(active().count());
    Counts {
        desired: spec.completions.unwrap_or(spec.parallelism),
        current,
        ready,
        updated: current,
        available: ready,
    }
}
