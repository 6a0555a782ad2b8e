//! `post_start` runs once for each start and daemon, before any probe; `pre_stop` runs before the stop
//! signal, at most once for each start and daemon, never for a program that has ended; the signal does
//! not come before it has returned or the grace period is over.
//!
//! Kubernetes semantics, section 10 ("run preStop (only if grace > 0; abandoned at grace)") and section
//! 11 ("hooks run at least once": a new daemon runs the one again that its predecessor left).

use super::facts::Facts;
use super::tally::Tally;
use super::{Invariant, Turn, Verdict};
use crate::core::action::{Action, Hook, Step};
use crate::core::id::InstanceId;
use crate::core::time::Millis;

#[derive(Debug, Default)]
pub(super) struct Hooks;

impl Invariant for Hooks {
    fn committed(&mut self, facts: &Facts, turn: &Turn<'_>) -> Verdict {
        for action in turn.effects {
            match action {
                Action::Hook(spawn) => {
                    let Some(tally) = facts.tallies.get(spawn.id) else {
                        return Err(format!("{:?} of {}, which has none", spawn.step, spawn.id));
                    };
                    run(facts, spawn.id, tally, spawn.step)?;
                }
                Action::Terminate { id, .. } => {
                    if let Some(tally) = facts.tallies.get(*id) {
                        signal(facts, turn, *id, tally)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn has_pre_stop(tally: &Tally) -> bool {
    let template = &tally.template;
    let grace = template.process.termination_grace_period;
    template.lifecycle.pre_stop.is_some() && grace > Millis::ZERO
}

fn run(facts: &Facts, id: InstanceId, tally: &Tally, step: Step) -> Verdict {
    match step {
        Step::Hook(Hook::PostStart) => {
            if tally.post_start.times > 1 {
                return Err(format!("{id} runs its post_start hook twice"));
            }
            if tally.announced || facts.ending.contains(&id) {
                return Err(format!("{id} runs its post_start hook too late"));
            }
        }
        Step::Hook(Hook::PreStop) => {
            if !has_pre_stop(tally) {
                return Err(format!("{id} runs a pre_stop hook that it has not"));
            }
            if tally.pre_stop.times > 1 {
                return Err(format!("{id} runs its pre_stop hook twice"));
            }
            if tally.signalled {
                return Err(format!("{id} runs its pre_stop hook after the signal"));
            }
            if tally.known_since.is_none() {
                return Err(format!("{id} runs its pre_stop hook before it has begun"));
            }
        }
        Step::Hook(Hook::Reload) | Step::Probe(_) | Step::Init(_) | Step::Main => {}
    }
    Ok(())
}

fn signal(facts: &Facts, turn: &Turn<'_>, id: InstanceId, tally: &Tally) -> Verdict {
    if !has_pre_stop(tally) {
        return Ok(());
    }
    let grace = tally.template.process.termination_grace_period;
    match tally.pre_stop.since {
        Some(since) if tally.pre_stop.times > 0 => {
            let over = turn.at().saturating_sub(since) >= grace.0;
            if !tally.pre_stop.done && !over {
                return Err(format!("{id} gets the signal while its pre_stop hook runs"));
            }
        }
        // Where it was asked to end before, an earlier daemon may have run it.
        Some(_) | None if tally.known_before && !facts.ending.contains(&id) => {
            return Err(format!("{id} gets the signal without its pre_stop hook"));
        }
        Some(_) | None => {}
    }
    Ok(())
}
