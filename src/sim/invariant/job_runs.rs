//! A job starts nothing that it does not need: nothing once it is finished or certain to fail or to
//! be complete, no index that is done or given up, never more runs than `parallelism` at once.
//!
//! Kubernetes semantics, section 6: wanted active, back-off limit, per-index limit, failure and
//! success policy. Silent between the wish for another run and its first start; about failures once
//! their number cannot be told from outside; about starts of a turn in which the job's file changed
//! too, since they may have been decided under what it said before; about a work queue's runs that were
//! made before the first success and had to wait for another unit: like pods that are pending, they run.

use super::facts::Facts;
use super::ledger::Ledger;
use super::{Invariant, Turn, Verdict, count};
use crate::core::action::{Action, Spawn};
use crate::core::id::{Kind, UnitKey};
use crate::core::report::Reason;
use crate::core::spec::RestartPolicy;
use std::collections::BTreeSet;

#[derive(Debug, Default)]
pub(super) struct JobRuns;

impl Invariant for JobRuns {
    fn committed(&mut self, facts: &Facts, turn: &Turn<'_>) -> Verdict {
        for action in turn.effects {
            let Action::Spawn(spawn) = action else { continue };
            if spawn.unit.kind != Kind::Job {
                continue;
            }
            let Some(job) = facts.jobs.get(&spawn.unit).filter(|job| !job.renewed) else {
                continue;
            };
            if changed_in(turn, &spawn.unit) {
                continue;
            }
            let first = turn.news.created.contains(&spawn.id.slot);
            let index = facts.places.get(&spawn.id.slot).and_then(|place| place.index);
            starts(job, spawn, index, first, made_in(turn, spawn))?;
            if first {
                room(facts, turn, job, spawn)?;
            }
        }
        Ok(())
    }
}

/// Whether a unit's file was found changed in this turn.
fn changed_in(turn: &Turn<'_>, unit: &UnitKey) -> bool {
    turn.effects.iter().any(|action| match action {
        Action::Report(report) => {
            report.reason == Reason::UnitApplied && report.unit.as_ref() == Some(unit)
        }
        _ => false,
    })
}

/// Whether the instance that starts was made in this turn.
fn made_in(turn: &Turn<'_>, spawn: &Spawn) -> bool {
    turn.effects.iter().any(|action| match action {
        Action::Report(report) => {
            report.reason == Reason::InstanceCreated
                && report.unit.as_ref() == Some(&spawn.unit)
                && report.instance.as_ref() == Some(&spawn.instance)
        }
        _ => false,
    })
}

fn starts(job: &Ledger, spawn: &Spawn, index: Option<u32>, first: bool, made: bool) -> Verdict {
    let (unit, instance) = (&spawn.unit, &spawn.instance);
    if job.finished.is_some() {
        return Err(format!("{unit} is finished and {instance} starts"));
    }
    if let Some(index) = index.filter(|index| job.done.contains(index)) {
        return Err(format!("index {index} of {unit} succeeded and runs again"));
    }
    if !first {
        return Ok(());
    }
    let done = if job.spec.indexed { count(job.done.len()) } else { job.succeeded };
    if job.spec.completions.map_or(done > 0 && made, |completions| done >= completions) {
        return Err(format!("{unit} has its completions and {instance} starts"));
    }
    if job.success_rule_met() {
        return Err(format!("{unit} has met its success policy and {instance} starts"));
    }
    if job.unsure {
        return Ok(());
    }
    if job.fail_job {
        return Err(format!("{unit} fails by its failure policy and {instance} starts"));
    }
    if let Some(index) = index.filter(|index| job.given_up.contains(index)) {
        return Err(format!("index {index} of {unit} has failed for good and runs again"));
    }
    if job.policy == RestartPolicy::Never && job.failed > job.spec.backoff_limit {
        return Err(format!("{unit} is past its limit and {instance} starts"));
    }
    Ok(())
}

fn room(facts: &Facts, turn: &Turn<'_>, job: &Ledger, spawn: &Spawn) -> Verdict {
    let living = facts.believed_of(turn.machine, &spawn.unit).map(|p| p.id.slot);
    let made = turn
        .news
        .created
        .iter()
        .copied()
        .filter(|slot| facts.places.get(slot).is_some_and(|place| place.unit == spawn.unit));
    let running: BTreeSet<u64> = living.chain(made).collect();
    if count(running.len()) > job.spec.parallelism {
        return Err(format!(
            "{} runs {} at once, {} allowed",
            spawn.unit,
            running.len(),
            job.spec.parallelism
        ));
    }
    Ok(())
}
