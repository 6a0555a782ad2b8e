//! How many runs of a job are wanted now, which are too many, which are to be made.
//!
//! Responsible for one step towards the wanted number (`pkg/controller/job/job_controller.go`
//! `manageJob`, `indexed_job_utils.go` `firstPendingIndexes`). Must not count ends nor decide
//! whether the job is over.
//!
//! A run that was asked to go and has not gone keeps its place until it is gone, so on one
//! machine never more than `parallelism` processes, and never two of one index, run side by side
//! (Kubernetes' `podReplacementPolicy: Failed`).

use super::State;
use crate::core::spec::JobSpec;
use crate::core::time::Mono;
use crate::core::workload::{BURST, Context, Identity, Intent, NewName, Observed, Outcome, Phase};
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Its process may still be there.
pub(super) fn unfinished(instance: &Observed) -> bool {
    !matches!(instance.phase, Phase::Succeeded | Phase::Failed)
}

/// Takes one step: removes what is too many, or else makes what is missing.
pub(super) fn manage(
    spec: &JobSpec,
    context: &Context<'_>,
    state: &mut State,
    mine: &[&Observed],
    out: &mut Outcome,
) {
    let mut active: Vec<&Observed> = mine.iter().copied().filter(|o| o.active()).collect();
    active.sort_by_key(|instance| removal_rank(instance));
    let want = wanted(spec, state, count(active.len()));
    let surplus = surplus(spec, state, &active, want);
    if !surplus.is_empty() {
        for slot in surplus.into_iter().take(BURST) {
            state.discarded.insert(slot);
            out.push(Intent::Delete { slot });
        }
        return;
    }
    let leaving = mine.iter().filter(|o| o.terminating && unfinished(o)).count();
    let missing = want.saturating_sub(count(active.len())).saturating_sub(count(leaving));
    let missing = missing.min(count(BURST));
    if missing > 0 {
        create(spec, context, state, mine, missing, out);
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// How many are to run at once now.
fn wanted(spec: &JobSpec, state: &State, active: u32) -> u32 {
    match spec.completions {
        // A work queue: the first success tells the others that there is nothing left to begin.
        None if state.succeeded > 0 => active,
        None => spec.parallelism,
        Some(completions) => {
            let done = state.done(spec);
            spec.parallelism.min(completions.saturating_sub(done))
        }
    }
}

/// The order in which runs are removed (`controller_utils.go` `ActivePodsWithRanks`): Pending
/// before Running, not ready before ready, ready for a shorter time first, more restarts first,
/// younger first.
fn removal_rank(
    instance: &Observed,
) -> (bool, bool, Reverse<Option<Mono>>, Reverse<u32>, Reverse<u64>) {
    (
        instance.phase != Phase::Pending,
        instance.ready(),
        Reverse(instance.ready_since),
        Reverse(instance.restarts),
        Reverse(instance.slot),
    )
}

/// The slots of the runs that are too many, from a list in the order of removal: of an indexed
/// job first those that have no index to work on, then duplicates, all but the best.
fn surplus(spec: &JobSpec, state: &State, active: &[&Observed], want: u32) -> Vec<u64> {
    let mut remove = Vec::new();
    let mut keep = Vec::new();
    let mut taken = BTreeSet::new();
    for instance in active.iter().rev() {
        let useful = !spec.indexed
            || match instance.identity {
                Identity::Index(index) => pending(spec, state, index) && taken.insert(index),
                Identity::Anonymous | Identity::Ordinal(_) | Identity::Node { .. } => false,
            };
        if useful { keep.push(instance.slot) } else { remove.push(instance.slot) }
    }
    // `keep` is now best first: what is beyond the wanted number goes, the worst first.
    let beyond = keep.split_off(keep.len().min(want as usize));
    remove.extend(beyond.into_iter().rev());
    remove
}

/// The index is wanted and not decided yet.
fn pending(spec: &JobSpec, state: &State, index: u32) -> bool {
    spec.completions.is_some_and(|completions| index < completions)
        && !state.completed_indexes.contains(index)
        && !state.failed_indexes.contains(index)
}

fn create(
    spec: &JobSpec,
    context: &Context<'_>,
    state: &State,
    mine: &[&Observed],
    missing: u32,
    out: &mut Outcome,
) {
    let template = state.template.as_deref().unwrap_or(context.template);
    let now = context.now.mono;
    if spec.backoff_limit_per_index.is_none()
        && let Some(at) = state.attempts.not_before(template).filter(|at| *at > now)
    {
        // While a delay runs nothing at all is made.
        out.recheck_at(at);
        return;
    }
    if !spec.indexed {
        for _ in 0..missing {
            out.push(Intent::Create {
                set: state.run,
                name: NewName::Random(context.name.to_owned()),
                identity: Identity::Anonymous,
            });
        }
        return;
    }
    let taken: BTreeSet<u32> = mine
        .iter()
        .filter(|o| unfinished(o))
        .filter_map(|o| match o.identity {
            Identity::Index(index) => Some(index),
            Identity::Anonymous | Identity::Ordinal(_) | Identity::Node { .. } => None,
        })
        .collect();
    let mut missing = missing;
    let completions = spec.completions.unwrap_or(0);
    let mut next = 0;
    while missing > 0 && next < completions {
        let index = next;
        let done = &state.completed_indexes;
        let decided = done.end_of(index).or_else(|| state.failed_indexes.end_of(index));
        next = decided.unwrap_or(index).saturating_add(1);
        if decided.is_some() || taken.contains(&index) {
            continue;
        }
        let not_before = state.index_attempts.get(&index).and_then(|a| a.not_before(template));
        if let Some(at) = not_before.filter(|at| *at > now) {
            out.recheck_at(at);
            continue;
        }
        missing -= 1;
        out.push(Intent::Create {
            set: state.run,
            name: NewName::Random(format!("{}-{index}", context.name)),
            identity: Identity::Index(index),
        });
    }
}
