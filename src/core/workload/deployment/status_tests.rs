//! Tables of what a deployment says about itself: conditions with their reasons, the progress
//! deadline, and when it wants to be looked at again. One row is one sync.

use super::super::replicaset::fake::*;
use super::progress::{AVAILABLE, FAILURE, PROGRESSING};
use super::tests::{Set, count, ok, spec, template_at, with_sets};
use super::*;
use crate::core::spec::DeploymentStrategy;
use crate::core::table::{Rule, by};
use crate::core::time::{Millis, Wall};

const DEADLINE: u64 = 600_000;

/// When the conditions that a row begins with were written: before START.
const BEFORE: Wall = Wall(START.wall.0 - 3_600_000);

/// Of three, one may be there more and none fewer.
fn three() -> DeploymentSpec {
    spec(3, count(1), count(0))
}

fn paused() -> DeploymentSpec {
    DeploymentSpec { paused: true, ..three() }
}

fn no_deadline(spec: DeploymentSpec) -> DeploymentSpec {
    DeploymentSpec { progress_deadline: None, ..spec }
}

fn said(state: &State, kind: &str) -> String {
    let condition = state.conditions.get(kind);
    condition.map_or_else(String::new, |c| format!("{}/{}", c.status.as_str(), c.reason))
}

/// `True/Reason` as the condition it is.
fn progressing(state: &mut State, text: &str) {
    let Some((status, reason)) = text.split_once('/') else { return };
    let status = match status {
        "True" => Truth::True,
        "False" => Truth::False,
        _ => Truth::Unknown,
    };
    state.conditions.set(PROGRESSING, status, reason.to_owned(), "as before", BEFORE);
}

/// Before a sync: which sets there are, which has the present template, the Progressing condition,
/// for how long (ms) it has been so, and (updated, current, ready, available) as last counted.
struct Before<'a> {
    sets: &'a [Set],
    new: Option<usize>,
    said: &'a str,
    ago: u64,
    counts: (u32, u32, u32, u32),
}

fn look(spec: &DeploymentSpec, before: &Before<'_>) -> (State, Outcome) {
    let (mut state, observed) = with_sets(before.sets);
    progressing(&mut state, before.said);
    if !before.said.is_empty() {
        state.progress_at = Some(START.mono.minus(Millis(before.ago)));
    }
    let (updated, current, ready, available) = before.counts;
    state.counts = Counts { desired: spec.replicas, current, ready, updated, available };
    let template = template_at(before.new);
    let context = Context { name: "api", template: &template, mode: Mode::Run, now: START };
    let outcome = reconcile(spec, &context, &mut state, &observed.into_iter().collect());
    (state, outcome)
}

const CREATED: &str = "True/NewReplicaSetCreated";
const FOUND: &str = "True/FoundNewReplicaSet";
const UPDATED: &str = "True/ReplicaSetUpdated";
const COMPLETE: &str = "True/NewReplicaSetAvailable";
const TIMED_OUT: &str = "False/ProgressDeadlineExceeded";
const PAUSED: &str = "Unknown/DeploymentPaused";
const RESUMED: &str = "Unknown/DeploymentResumed";

#[test]
fn progress() {
    // All three are of the newest template, two of them available.
    let half: &[Set] = &[(3, 3, 4, 2, 1)];
    // One of four is of the newest template, and not available.
    let begun: &[Set] = &[ok(3, 3, 4), (1, 3, 4, 0, 1)];
    let done: &[Set] = &[ok(3, 3, 4)];
    // The second set runs in full.
    let undone: &[Set] = &[ok(0, 3, 4), ok(3, 3, 4)];
    let one_old: &[Set] = &[(0, 3, 4, 1, 0), ok(3, 3, 4)];
    let was = |sets, new, said, ago, counts| Before { sets, new: Some(new), said, ago, counts };
    let none = Before { sets: &[], new: None, said: "", ago: 0, counts: (0, 0, 0, 0) };
    let recreate = DeploymentSpec { strategy: DeploymentStrategy::Recreate, ..three() };
    // (rule, spec, before, the condition after, whether its clock began anew)
    type Row<'a> = (Rule, DeploymentSpec, Before<'a>, &'a str, bool);
    #[rustfmt::skip]
    let rows: Vec<Row<'_>> = vec![
        (by("deployment/sync.go getNewReplicaSet", "a set is made"), three(), none, CREATED, true),
        (by("deployment/sync.go getNewReplicaSet", "a set is made for a later template"), three(), Before { new: None, ..was(done, 0, COMPLETE, 9, (3, 3, 3, 3)) }, CREATED, true),
        (by("deployment/sync.go getNewReplicaSet", "a set is found, and nothing was said before"), three(), was(half, 0, "", 0, (3, 3, 2, 2)), FOUND, true),
        (by("wsup", "an earlier set is rolled out again: a new clock, not the completion of long ago"), three(), was(undone, 0, COMPLETE, DEADLINE * 9, (3, 3, 3, 3)), FOUND, true),
        (by("wsup", "an earlier set again, out of a stalled roll-out: that one is over"), three(), was(begun, 0, TIMED_OUT, DEADLINE, (1, 4, 3, 3)), UPDATED, true),
        (by("deployment/sync.go getNewReplicaSet", "of none wanted, made and complete at once"), spec(0, count(1), count(0)), Before { sets: &[], new: None, said: "", ago: 0, counts: (0, 0, 0, 0) }, COMPLETE, true),
        (by("deployment/util.go DeploymentProgressing", "updated rose"), three(), was(begun, 1, CREATED, 9, (0, 4, 3, 3)), UPDATED, true),
        (by("deployment/util.go DeploymentProgressing", "the old ones became fewer"), three(), was(begun, 1, CREATED, 9, (1, 5, 3, 3)), UPDATED, true),
        (by("deployment/util.go DeploymentProgressing", "ready rose"), three(), was(begun, 1, CREATED, 9, (1, 4, 2, 3)), UPDATED, true),
        (by("deployment/util.go DeploymentProgressing", "available rose"), three(), was(begun, 1, CREATED, 9, (1, 4, 3, 2)), UPDATED, true),
        (by("deployment/util.go DeploymentProgressing", "nothing rose: the clock runs on"), three(), was(begun, 1, CREATED, 9, (1, 4, 3, 3)), CREATED, false),
        (by("deployment/util.go DeploymentProgressing", "less of all is no progress"), three(), was(begun, 1, UPDATED, 9, (2, 5, 4, 4)), UPDATED, false),
        (by("deployment/util.go DeploymentProgressing", "again"), three(), was(begun, 1, UPDATED, 9, (0, 4, 3, 3)), UPDATED, true),
        (by("deployment/util.go DeploymentComplete", "all are new and available"), three(), was(done, 0, UPDATED, 9, (3, 3, 3, 3)), COMPLETE, true),
        (by("deployment/util.go DeploymentComplete", "not while one is not available"), three(), was(half, 0, UPDATED, 9, (3, 3, 2, 2)), UPDATED, false),
        (by("deployment/util.go DeploymentComplete", "not while an old one is there"), three(), was(one_old, 1, UPDATED, 9, (3, 4, 4, 4)), UPDATED, false),
        (by("deployment/util.go DeploymentComplete", "not below the desired count"), three(), was(&[(3, 3, 4, 2, 0)], 0, UPDATED, 9, (2, 2, 2, 2)), UPDATED, false),
        (by("deployment/util.go DeploymentComplete", "Recreate, when the new ones are there"), recreate.clone(), was(undone, 1, UPDATED, 9, (3, 3, 3, 3)), COMPLETE, true),
        (by("deployment/progress.go syncRolloutStatus", "complete stays complete, its clock stands"), three(), was(done, 0, COMPLETE, 9, (3, 3, 3, 3)), COMPLETE, false),
        (by("deployment/progress.go syncRolloutStatus", "a later crash is no failed roll-out"), three(), was(half, 0, COMPLETE, DEADLINE * 9, (3, 3, 3, 3)), COMPLETE, false),
        (by("deployment/progress.go syncRolloutStatus", "nor is its mending progress"), three(), was(half, 0, COMPLETE, 9, (3, 3, 1, 1)), COMPLETE, false),
        (by("deployment/util.go DeploymentTimedOut", "at the deadline not yet"), three(), was(begun, 1, UPDATED, DEADLINE, (1, 4, 3, 3)), UPDATED, false),
        (by("deployment/util.go DeploymentTimedOut", "strictly after it"), three(), was(begun, 1, UPDATED, DEADLINE + 1, (1, 4, 3, 3)), TIMED_OUT, false),
        (by("deployment/util.go DeploymentTimedOut", "of a set that was just made"), three(), was(begun, 1, CREATED, DEADLINE + 1, (1, 4, 3, 3)), TIMED_OUT, false),
        (by("deployment/util.go DeploymentTimedOut", "of a set that was found"), three(), was(begun, 1, FOUND, DEADLINE + 1, (1, 4, 3, 3)), TIMED_OUT, false),
        (by("deployment/util.go DeploymentTimedOut", "after a pause, from the resumption"), three(), was(begun, 1, RESUMED, DEADLINE + 1, (1, 4, 3, 3)), TIMED_OUT, false),
        (by("deployment/util.go DeploymentTimedOut", "not after completion, though the old ones are back"), three(), was(begun, 1, COMPLETE, DEADLINE + 1, (1, 4, 3, 3)), COMPLETE, false),
        (by("deployment/util.go DeploymentTimedOut", "progress at the last moment comes first"), three(), was(begun, 1, UPDATED, DEADLINE + 1, (0, 4, 3, 3)), UPDATED, true),
        (by("deployment/util.go DeploymentTimedOut", "stays until there is progress"), three(), was(begun, 1, TIMED_OUT, 9, (1, 4, 3, 3)), TIMED_OUT, false),
        (by("deployment/progress.go syncRolloutStatus", "progress clears it"), three(), was(begun, 1, TIMED_OUT, DEADLINE * 9, (1, 4, 2, 2)), UPDATED, true),
        (by("deployment/progress.go syncRolloutStatus", "completion clears it"), three(), was(done, 0, TIMED_OUT, DEADLINE * 9, (3, 3, 3, 3)), COMPLETE, true),
        (by("deployment/progress.go syncRolloutStatus", "no deadline, no condition"), no_deadline(three()), was(begun, 1, UPDATED, 9, (0, 4, 3, 3)), "", false),
        (by("deployment/progress.go syncRolloutStatus", "nor one that a deadline has left"), no_deadline(three()), was(begun, 1, TIMED_OUT, 9, (1, 4, 3, 3)), "", false),
        (by("deployment/util.go HasProgressDeadline", "a set is made without one"), no_deadline(three()), Before { sets: &[], new: None, said: "", ago: 0, counts: (0, 0, 0, 0) }, "", false),
        (by("deployment/sync.go checkPausedConditions", "a pause"), paused(), was(begun, 1, UPDATED, DEADLINE - 1, (1, 4, 3, 3)), PAUSED, true),
        (by("deployment/sync.go checkPausedConditions", "a pause of what was complete"), paused(), was(done, 0, COMPLETE, DEADLINE * 9, (3, 3, 3, 3)), PAUSED, true),
        (by("deployment/sync.go checkPausedConditions", "a pause goes on"), paused(), was(begun, 1, PAUSED, DEADLINE * 9, (1, 4, 3, 3)), PAUSED, false),
        (by("deployment/sync.go checkPausedConditions", "a pause from birth"), paused(), Before { sets: &[], new: None, said: "", ago: 0, counts: (0, 0, 0, 0) }, PAUSED, true),
        (by("deployment/sync.go checkPausedConditions", "a pause does not hide a time-out"), paused(), was(begun, 1, TIMED_OUT, 9, (1, 4, 3, 3)), TIMED_OUT, false),
        (by("deployment/sync.go checkPausedConditions", "no deadline, nothing about a pause"), no_deadline(paused()), was(begun, 1, "", 0, (1, 4, 3, 3)), "", false),
        (by("wsup", "an earlier template during a pause: still paused"), paused(), was(begun, 0, PAUSED, 9, (1, 4, 3, 3)), PAUSED, false),
        (by("wsup", "an earlier template during a pause does not clear a time-out"), paused(), was(begun, 0, TIMED_OUT, 9, (1, 4, 3, 3)), TIMED_OUT, false),
        (by("deployment/sync.go checkPausedConditions", "resumed: the clock begins anew"), three(), was(begun, 1, PAUSED, DEADLINE * 9, (1, 4, 3, 3)), RESUMED, true),
        (by("deployment/sync.go checkPausedConditions", "resumed, and progress in the same sync"), three(), was(begun, 1, PAUSED, 9, (1, 4, 3, 2)), UPDATED, true),
        (by("deployment/sync.go checkPausedConditions", "resumed, and complete all the while"), three(), was(done, 0, PAUSED, 9, (3, 3, 3, 3)), COMPLETE, true),
        (by("deployment/sync.go checkPausedConditions", "resumed only once"), three(), was(begun, 1, RESUMED, 9, (1, 4, 3, 3)), RESUMED, false),
        (by("deployment/sync.go syncDeploymentStatus", "a scaling sync judges no progress"), spec(6, count(1), count(0)), was(begun, 1, CREATED, 9, (0, 4, 2, 2)), CREATED, false),
        (by("deployment/sync.go syncDeploymentStatus", "nor a time-out"), spec(6, count(1), count(0)), was(begun, 1, UPDATED, DEADLINE + 1, (1, 4, 3, 3)), UPDATED, false),
    ];
    for (rule, spec, before, after, renewed) in rows {
        let (state, _) = look(&spec, &before);
        assert_eq!(said(&state, PROGRESSING), after, "{rule}");
        let old = (!before.said.is_empty()).then(|| START.mono.minus(Millis(before.ago)));
        let old = if after.is_empty() { None } else { old };
        let clock = if renewed { Some(START.mono) } else { old };
        assert_eq!(state.progress_at, clock, "{rule}");
        assert_eq!(state.status().stalled, after == TIMED_OUT, "{rule}");
        if let Some(condition) = state.conditions.get(PROGRESSING) {
            // SetDeploymentCondition: the transition time moves when the status flips.
            let same = before.said.split('/').next() == Some(condition.status.as_str());
            let flipped = if same { BEFORE } else { START.wall };
            assert_eq!(condition.last_transition, flipped, "{rule}: transition");
        }
    }
}

#[test]
fn availability() {
    const YES: &str = "True/MinimumReplicasAvailable";
    const NO: &str = "False/MinimumReplicasUnavailable";
    let one_less = || spec(3, count(1), count(1));
    let slow = |ms| DeploymentSpec { min_ready: Millis(ms), ..three() };
    let recreate = DeploymentSpec { strategy: DeploymentStrategy::Recreate, ..one_less() };
    // An instance of the kit with slot 1 has been ready for so long, with slot 3 for 2 s less.
    const READY: u64 = 5_000_000 - 1000;
    type Row<'a> = (Rule, DeploymentSpec, &'a [Set], Option<usize>, &'a str);
    #[rustfmt::skip]
    let rows: &[Row<'_>] = &[
        (by("deployment/sync.go calculateStatus", "all are available"), three(), &[ok(3, 3, 4)], Some(0), YES),
        (by("deployment/sync.go calculateStatus", "one too few"), three(), &[(3, 3, 4, 2, 1)], Some(0), NO),
        (by("deployment/sync.go calculateStatus", "max_unavailable of them may be missing"), one_less(), &[(3, 3, 4, 2, 1)], Some(0), YES),
        (by("deployment/sync.go calculateStatus", "one more than that"), one_less(), &[(3, 3, 4, 1, 2)], Some(0), NO),
        (by("deployment/sync.go calculateStatus", "old ones serve as well"), three(), &[ok(3, 3, 4), (1, 3, 4, 0, 1)], Some(1), YES),
        (by("deployment/sync.go calculateStatus", "none wanted is enough"), spec(0, count(1), count(0)), &[], None, YES),
        (by("deployment/sync.go calculateStatus", "nothing is there yet"), three(), &[], None, NO),
        (by("deployment/sync.go calculateStatus", "with Recreate none may be missing"), recreate, &[(3, 3, 3, 2, 1)], Some(0), NO),
        (by("podutil.go IsPodAvailable", "ready for exactly min_ready"), slow(READY - 2000), &[ok(3, 3, 4)], Some(0), YES),
        (by("podutil.go IsPodAvailable", "a millisecond less for the youngest"), slow(READY - 1999), &[ok(3, 3, 4)], Some(0), NO),
        (by("deployment/sync.go calculateStatus", "also while it is paused"), paused(), &[(3, 3, 4, 2, 1)], Some(0), NO),
    ];
    for (rule, spec, sets, new, after) in rows {
        let before = Before { sets, new: *new, said: "", ago: 0, counts: (0, 0, 0, 0) };
        assert_eq!(said(&look(spec, &before).0, AVAILABLE), *after, "{rule}");
    }
}

/// Two sets, the second of the present template; one sync. The ReplicaFailure condition: its
/// status and reason, and its message.
fn failure(spec: &DeploymentSpec, mode: Mode, observed: &[Observed]) -> (String, String) {
    let (mut state, _) = with_sets(&[ok(3, 3, 4), ok(1, 3, 4)]);
    state.conditions.set(FAILURE, Truth::True, "FailedCreate", "of long ago", BEFORE);
    let template = template_at(Some(1));
    let context = Context { name: "api", template: &template, mode, now: START };
    reconcile(spec, &context, &mut state, &observed.iter().cloned().collect());
    let message = state.conditions.get(FAILURE).map_or("", |c| &*c.message);
    (said(&state, FAILURE), message.to_owned())
}

#[test]
fn instances_that_cannot_be_started() {
    const FAILED: &str = "True/FailedCreate";
    let old = || instance(1, 1);
    let new = |slot| instance(slot, 2);
    let gave_up = new(2).cannot_start("no such file").phase(super::super::Phase::GaveUp);
    type Row<'a> = (Rule, DeploymentSpec, Mode, Vec<Observed>, (&'a str, &'a str));
    #[rustfmt::skip]
    let rows: Vec<Row<'_>> = vec![
        (by("replica_set_utils.go calculateStatus", "one of the new set"), three(), Mode::Run, vec![old(), new(2).cannot_start("no such file")], (FAILED, "i-2: no such file")),
        (by("replica_set_utils.go calculateStatus", "waiting for its first start, which failed"), three(), Mode::Run, vec![new(2).pending().cannot_start("no such file")], (FAILED, "i-2: no such file")),
        (by("replica_set_utils.go calculateStatus", "all can be started: the condition goes"), three(), Mode::Run, vec![old(), new(2)], ("", "")),
        (by("replica_set_utils.go calculateStatus", "a crash is no failed start"), three(), Mode::Run, vec![old(), new(2).unready()], ("", "")),
        (by("deployment/progress.go getReplicaFailures", "one of an old set"), three(), Mode::Run, vec![old().cannot_start("no such user"), new(2)], (FAILED, "i-1: no such user")),
        (by("deployment/progress.go getReplicaFailures", "the new set's before an old one's"), three(), Mode::Run, vec![old().cannot_start("no such user"), new(2).cannot_start("no such file")], (FAILED, "i-2: no such file")),
        (by("wsup", "of several the one that was made first"), three(), Mode::Run, vec![new(3).cannot_start("later"), new(2).cannot_start("first")], (FAILED, "i-2: first")),
        (by("controller_utils.go IsPodActive", "one that goes does not count"), three(), Mode::Run, vec![new(2).cannot_start("no such file").going()], ("", "")),
        (by("wsup", "one that gave up over it does"), three(), Mode::Run, vec![gave_up], (FAILED, "i-2: no such file")),
        (by("wsup", "also while it is paused"), paused(), Mode::Run, vec![new(2).cannot_start("no such file")], (FAILED, "i-2: no such file")),
        (by("wsup", "also without a deadline"), no_deadline(three()), Mode::Run, vec![new(2).cannot_start("no such file")], (FAILED, "i-2: no such file")),
        (by("wsup", "nothing is started while it is stopped"), three(), Mode::Stopped, vec![], ("", "")),
    ];
    for (rule, spec, mode, observed, (condition, message)) in rows {
        let after = failure(&spec, mode, &observed);
        assert_eq!((after.0.as_str(), after.1.as_str()), (condition, message), "{rule}");
    }
}

#[test]
fn when_it_is_looked_at_again() {
    let begun: &[Set] = &[ok(3, 3, 4), (1, 3, 4, 0, 1)];
    let was = |said, ago| Before { sets: begun, new: Some(1), said, ago, counts: (1, 4, 3, 3) };
    let done =
        Before { sets: &[ok(3, 3, 4)], new: Some(0), said: COMPLETE, ago: 9, counts: (3, 3, 3, 3) };
    // What is seen of the slots 1 to 3: ready for a little less than 5,000 s.
    let slow = |ms| DeploymentSpec { min_ready: Millis(ms), ..three() };
    // (rule, spec, before, in how many milliseconds)
    #[rustfmt::skip]
    let rows = [
        (by("deployment/progress.go requeueStuckDeployment", "a moment after the deadline"), three(), was(UPDATED, 1000), Some(DEADLINE - 1000 + 1)),
        (by("deployment/progress.go requeueStuckDeployment", "at the deadline, a moment later"), three(), was(UPDATED, DEADLINE), Some(1)),
        (by("deployment/progress.go requeueStuckDeployment", "after progress, from now"), three(), Before { counts: (0, 4, 3, 3), ..was(CREATED, 1000) }, Some(DEADLINE + 1)),
        (by("deployment/progress.go requeueStuckDeployment", "not once it has timed out"), three(), was(TIMED_OUT, 1000), None),
        (by("deployment/progress.go requeueStuckDeployment", "not once it is complete"), three(), done, None),
        (by("deployment/progress.go requeueStuckDeployment", "not without a deadline"), no_deadline(three()), was("", 0), None),
        (by("deployment/progress.go requeueStuckDeployment", "not while it is paused"), paused(), was(PAUSED, 1000), None),
        (by("replica_set.go syncReplicaSet", "when the next one becomes available"), no_deadline(slow(5_000_000)), was("", 0), Some(1000)),
        (by("replica_set.go syncReplicaSet", "also while it is paused"), DeploymentSpec { paused: true, ..slow(5_000_000) }, was(PAUSED, 0), Some(1000)),
        (by("wsup", "the earlier of the two"), slow(5_000_000), was(UPDATED, 1000), Some(1000)),
    ];
    for (rule, spec, before, expected) in rows {
        let (_, outcome) = look(&spec, &before);
        let after = outcome.recheck.map(|at| at.since(START.mono).0);
        assert_eq!(after, expected, "{rule}");
    }
}

#[test]
fn a_clock_that_began_anew() {
    // After a reboot the monotonic clock is behind what was noted: no time has passed.
    let before = Before {
        sets: &[ok(3, 3, 4), (1, 3, 4, 0, 1)],
        new: Some(1),
        said: UPDATED,
        ago: 0,
        counts: (1, 4, 3, 3),
    };
    let (mut state, observed) = with_sets(before.sets);
    progressing(&mut state, before.said);
    state.progress_at = Some(START.mono.plus(Millis(DEADLINE * 5)));
    state.counts = Counts { desired: 3, current: 4, ready: 3, updated: 1, available: 3 };
    let template = template_at(before.new);
    let context = Context { name: "api", template: &template, mode: Mode::Run, now: START };
    let outcome = reconcile(&three(), &context, &mut state, &observed.into_iter().collect());
    assert_eq!(said(&state, PROGRESSING), UPDATED);
    assert_eq!(outcome.recheck, Some(START.mono.plus(Millis(DEADLINE + 1))));
}
