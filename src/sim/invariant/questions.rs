//! A probe is asked one question at a time, of a start that runs and was not asked to end: not before
//! its initial delay, the others not before the startup probe has succeeded, the startup probe not
//! after, and none before the `post_start` hook has succeeded.
//!
//! Kubernetes semantics, section 9 ("liveness and readiness are not run until it succeeded; after that
//! the startup probe is not run for this process", "delay counts from process start") and section 11.

use super::facts::Facts;
use super::{Invariant, Turn, Verdict};
use crate::core::action::{Action, Spawn, Step};
use crate::core::instance::probe::Kind;

#[derive(Debug, Default)]
pub(super) struct Questions;

impl Invariant for Questions {
    fn committed(&mut self, facts: &Facts, turn: &Turn<'_>) -> Verdict {
        for action in turn.effects {
            if let Action::Probe(spawn) = action
                && let Step::Probe(kind) = spawn.step
            {
                question(facts, turn, spawn, kind)?;
            }
        }
        Ok(())
    }
}

fn question(facts: &Facts, turn: &Turn<'_>, spawn: &Spawn, kind: Kind) -> Verdict {
    let (id, word) = (spawn.id, kind.as_str());
    let spec = kind.spec(&spawn.template).filter(|spec| !spec.handler.is_pushed());
    let (Some(spec), Some(tally)) = (spec, facts.tallies.get(id)) else {
        return Err(format!("{id} has no {word} probe that asks"));
    };
    if tally.of(kind).open > 1 {
        return Err(format!("{id} is asked a second {word} question before the first is answered"));
    }
    if facts.ending.contains(&id) || tally.known_since.is_none() {
        return Err(format!("{id} does not run and its {word} probe asks"));
    }
    match (kind, tally.started()) {
        (Kind::Startup, true) => return Err(format!("{id} has started and is asked once more")),
        (Kind::Readiness | Kind::Liveness, false) => {
            return Err(format!("{id} has not started and its {word} probe asks"));
        }
        (Kind::Startup, false) | (Kind::Readiness | Kind::Liveness, true) => {}
    }
    if tally.template.lifecycle.post_start.is_some() && !tally.announced {
        return Err(format!(
            "{id} is asked by its {word} probe before its post_start hook is done"
        ));
    }
    let born = turn.machine.processes.get(&id).map(|process| process.born);
    if born.is_some_and(|born| turn.at() < born.saturating_add(spec.initial_delay.0)) {
        return Err(format!("{id} is asked by its {word} probe before its initial delay is over"));
    }
    Ok(())
}
