//! Every end of a job's run is counted exactly once, as success or failure, by the rules of its
//! failure policy and restart policy; and a job is complete or failed only for a reason, and only
//! when nothing of it lives.
//!
//! Kubernetes semantics, section 6: failure counting, failure policy, per-index limit, success
//! policy, terminal conditions. Silent about failures once a run was asked to end, an operator or a
//! reboot took part or the rules changed ([`super::ledger::Ledger::unsure`]), and about all counts
//! between the wish for another run and its first start.

use super::facts::Facts;
use super::ledger::Ledger;
use super::{Invariant, Turn, Verdict, count, job_view};
use crate::core::id::{Kind, UnitKey};
use crate::core::spec::RestartPolicy;
use crate::core::view::JobView;

#[derive(Debug, Default)]
pub(super) struct JobCount;

impl Invariant for JobCount {
    fn committed(&mut self, facts: &Facts, turn: &Turn<'_>) -> Verdict {
        for key in turn.news.touched.iter().filter(|key| key.kind == Kind::Job) {
            let Some(job) = facts.jobs.get(key).filter(|job| !job.renewed) else { continue };
            let Some((view, deleting)) = job_view(turn.core, key) else { continue };
            if deleting {
                continue;
            }
            counts(key, job, &view)?;
            match view.finished {
                Some(outcome) if job.finished.is_none() => {
                    let living = facts.believed_of(turn.machine, key).next();
                    if let Some(process) = living {
                        let name = &process.instance;
                        return Err(format!("{key} has ended and {name} lives"));
                    }
                    ends_for_a_reason(key, job, outcome)?;
                }
                Some(_) | None => {}
            }
        }
        Ok(())
    }
}

fn counts(key: &UnitKey, job: &Ledger, view: &JobView) -> Verdict {
    let most = job.succeeded + job.perhaps_succeeded;
    let least = job.succeeded.min(view.completions.unwrap_or(u32::MAX));
    if view.succeeded < least || view.succeeded > most {
        return Err(format!("{key} shows {} succeeded, {} did", view.succeeded, job.succeeded));
    }
    if !job.unsure && view.finished.is_none() && view.failed != job.failed {
        return Err(format!("{key} shows {} failed, {} did", view.failed, job.failed));
    }
    Ok(())
}

fn ends_for_a_reason(key: &UnitKey, job: &Ledger, outcome: bool) -> Verdict {
    let spec = &job.spec;
    if outcome {
        let done = if spec.indexed { count(job.done.len()) } else { job.succeeded };
        let most = done + job.perhaps_succeeded;
        let by_policy = !spec.success_policy.is_empty() && most > 0;
        if most < spec.completions.unwrap_or(1) && !by_policy {
            return Err(format!("{key} is complete with {most} of {:?}", spec.completions));
        }
        return Ok(());
    }
    if job.unsure || job.deadline {
        return Ok(());
    }
    let limit = spec.backoff_limit;
    let past_limit = match job.policy {
        RestartPolicy::Never => job.failed > limit,
        RestartPolicy::OnFailure | RestartPolicy::Always => job.bad_ends >= limit.max(1),
    };
    if !past_limit && !job.fail_job && job.given_up.is_empty() {
        return Err(format!(
            "{key} has failed for no reason: {} failed, {} ended badly, limit {limit}",
            job.failed, job.bad_ends
        ));
    }
    Ok(())
}
