//! Counting ended runs of a job, each exactly once.
//!
//! Responsible for what an end adds: to the counts, to the indexes, to the delay before the next
//! attempt (`pkg/controller/job/job_controller.go` `getNewFinishedPods`, `backoff_utils.go`,
//! `pod_failure_policy.go`). Must not create or remove anything.

use super::State;
use crate::core::event::Exit;
use crate::core::spec::{FailureAction, FailureRule, InstanceTemplate, JobSpec};
use crate::core::time::{Millis, Mono};
use crate::core::workload::{Identity, Observed, Phase};
use serde::{Deserialize, Serialize};

/// Failures since the last success, and when the last of them ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Attempts {
    /// Failures in a row, the ignored ones included.
    pub(super) failures: u32,
    /// The part of them that counts against the limit for each index.
    pub(super) counted: u32,
    /// When the last one ended.
    pub(super) last: Option<Mono>,
}

impl Attempts {
    /// The instant before which no new attempt is made (`getRemainingTimeForFailuresCount`): the
    /// template's first delay, growing with each further failure, from the last failure's end.
    pub(super) fn not_before(&self, template: &InstanceTemplate) -> Option<Mono> {
        let backoff = template.restart.backoff;
        let last = self.last?;
        let mut delay = backoff.initial.min(backoff.max);
        for _ in 1..self.failures {
            let next = delay.scaled(backoff.factor_milli).min(backoff.max);
            if next == delay {
                break;
            }
            delay = next;
        }
        (self.failures > 0).then(|| last.plus(delay))
    }

    fn fail(&mut self, at: Mono, counts: bool) {
        self.failures = self.failures.saturating_add(1);
        self.counted = self.counted.saturating_add(u32::from(counts));
        self.last = Some(self.last.map_or(at, |last| last.max(at)));
    }

    /// A reading from before a reboot is of no use any more: the delay begins anew.
    pub(super) fn clamp(&mut self, now: Mono) {
        self.last = self.last.map(|last| last.min(now));
    }
}

/// How one run ended.
enum End {
    Success,
    Failure,
}

/// What a round of counting found.
#[derive(Default)]
pub(super) struct Counted {
    /// A rule of the failure policy ends the job: the message.
    pub(super) fail_job: Option<String>,
}

/// Counts every end that was not counted yet. `ignore_leaving`: an instance that was asked to go
/// and has not ended is none of the job's failures.
pub(super) fn count(
    state: &mut State,
    spec: &JobSpec,
    mine: &[&Observed],
    now: Mono,
    ignore_leaving: bool,
) -> Counted {
    let mut found = Counted::default();
    let mut successes: Vec<Mono> = Vec::new();
    let mut failures: Vec<Mono> = Vec::new();
    for instance in mine {
        if state.counted.contains(&instance.slot) || state.discarded.contains(&instance.slot) {
            continue;
        }
        let end = match instance.phase {
            // Nobody can say how it ended: never taken for success.
            Phase::Succeeded if instance.exit == Some(Exit::Unknown) => End::Failure,
            Phase::Succeeded => End::Success,
            Phase::Failed => End::Failure,
            Phase::Pending | Phase::Running | Phase::GaveUp => {
                if !instance.terminating {
                    continue;
                }
                if ignore_leaving {
                    state.discarded.insert(instance.slot);
                    continue;
                }
                if !spec.failure_policy.is_empty() {
                    // Its exit decides, and it has none yet: see `ended_leaving`.
                    continue;
                }
                // Removed by somebody else's hand: a failure, at once (`isPodFailed`).
                End::Failure
            }
        };
        state.counted.insert(instance.slot);
        let at = instance.ended.unwrap_or(now).min(now);
        let index = match (spec.indexed, &instance.identity) {
            (true, Identity::Index(index)) if in_range(spec, *index) => Some(*index),
            // Without an index, or with one that is not wanted: it counts for nothing.
            (true, _) => continue,
            (false, _) => None,
        };
        match end {
            End::Success => {
                successes.push(at);
                succeed(state, index);
            }
            End::Failure => {
                failures.push(at);
                fail(state, spec, instance, index, at, &mut found);
            }
        }
    }
    delay(&mut state.attempts, &successes, &failures);
    found
}

fn in_range(spec: &JobSpec, index: u32) -> bool {
    spec.completions.is_some_and(|completions| index < completions)
}

fn succeed(state: &mut State, index: Option<u32>) {
    match index {
        // The number of indexes that succeeded is the count; one that succeeds twice counts once.
        Some(index) if !state.completed_indexes.insert(index) => {}
        Some(_) | None => state.succeeded = state.succeeded.saturating_add(1),
    }
    if let Some(index) = index {
        state.index_attempts.remove(&index);
    }
}

fn fail(
    state: &mut State,
    spec: &JobSpec,
    instance: &Observed,
    index: Option<u32>,
    at: Mono,
    found: &mut Counted,
) {
    let (action, rule) = matching_rule(spec, instance);
    let counts = match action {
        FailureAction::Ignore => false,
        FailureAction::FailJob | FailureAction::FailIndex | FailureAction::Count => true,
    };
    if counts {
        state.failed = state.failed.saturating_add(1);
    }
    if action == FailureAction::FailJob && found.fail_job.is_none() {
        let exit = instance.exit.map_or_else(|| "no exit".to_owned(), |exit| exit.to_string());
        found.fail_job = Some(format!(
            "instance {} failed with {exit}, matching rule {rule} of the failure policy",
            instance.name
        ));
    }
    let (Some(index), Some(limit)) = (index, spec.backoff_limit_per_index) else { return };
    let attempts = state.index_attempts.entry(index).or_default();
    attempts.fail(at, counts);
    if action == FailureAction::FailIndex || attempts.counted > limit {
        state.failed_indexes.insert(index);
    }
}

/// What the first matching rule says, and its number. A run that was removed before it ended has
/// no exit to judge by.
fn matching_rule(spec: &JobSpec, instance: &Observed) -> (FailureAction, usize) {
    let ended = matches!(instance.phase, Phase::Succeeded | Phase::Failed);
    let code = instance.exit.and_then(Exit::shell_code).filter(|code| ended && *code != 0);
    let matches = |rule: &FailureRule| {
        code.is_some_and(|code| rule.exit_codes.contains(&code) != rule.negate)
    };
    spec.failure_policy
        .iter()
        .position(matches)
        .and_then(|at| spec.failure_policy.get(at).map(|rule| (rule.action, at)))
        .unwrap_or((FailureAction::Count, 0))
}

/// `backoff_utils.go` `newBackoffRecord`: a success forgets the failures that ended not later.
fn delay(attempts: &mut Attempts, successes: &[Mono], failures: &[Mono]) {
    if let Some(success) = successes.iter().max() {
        *attempts = Attempts::default();
        for at in failures.iter().filter(|at| *at > success) {
            attempts.fail(*at, true);
        }
        return;
    }
    for at in failures {
        attempts.fail(*at, true);
    }
}

/// The spans of a run's clock: how long the job has been active, over stops of the daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Stopwatch {
    /// Up to the last pause.
    spent: Millis,
    /// Running since.
    since: Option<Mono>,
}

impl Stopwatch {
    /// Lets it run, unless it does.
    pub(super) fn start(&mut self, now: Mono) {
        // A reading ahead of the clock is from before a reboot.
        if self.since.is_none_or(|since| since > now) {
            self.since = Some(now);
        }
    }

    /// Holds it.
    pub(super) fn pause(&mut self, now: Mono) {
        if let Some(since) = self.since.take() {
            self.spent = self.spent.saturating_add(now.since(since));
        }
    }

    /// What it shows.
    pub(super) fn elapsed(&self, now: Mono) -> Millis {
        self.spent.saturating_add(self.since.map_or(Millis::ZERO, |since| now.since(since)))
    }
}
