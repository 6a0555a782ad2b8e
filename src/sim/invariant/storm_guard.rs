//! No more programs are started again in any one second than the storm guard allows, whoever's daemon
//! it is; vital ones come first, but for one in so many. That nobody waits for ever shows when the
//! world comes to rest.
//!
//! `k8s-semantics` has no such guard: the promise is wsup's own (`docs/operations.md`, storm guard).

use super::facts::Facts;
use super::{Fault, Invariant, Turn, Verdict};
use crate::core::action::{Action, Spawn, Step};
use crate::core::event::{Event, Exit};
use crate::core::guard::{Hold, PROMPT, VITAL_IN_A_ROW};
use crate::core::id::InstanceId;
use crate::core::time::Mono;
use crate::sim::machine::Machine;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How the last start of an instance ended, as far as the core was told.
#[derive(Clone, Copy, Debug)]
struct Ended {
    id: InstanceId,
    at: Mono,
    exit: Option<Exit>,
}

#[derive(Debug, Default)]
pub(super) struct Guarded {
    ends: BTreeMap<u64, Ended>,
    /// The latest start of each instance, and whether it was an init step.
    starts: BTreeMap<u64, (InstanceId, bool)>,
    /// Restarts of the last second, in the world's time.
    recent: VecDeque<u64>,
    /// Vital instances that were held back when the last turn ended.
    waiting: BTreeSet<u64>,
    vital_in_a_row: u32,
}

impl Invariant for Guarded {
    fn committed(&mut self, facts: &Facts, turn: &Turn<'_>) -> Verdict {
        let guard = turn.core.storm_guard();
        let Some(hold) = guard.holds() else { return Ok(()) };
        for (event, _) in turn.batch {
            self.hear(event, turn.clock.now().mono);
        }
        let waiting: BTreeSet<u64> = self.vital_that_wait(facts, turn);
        for action in turn.effects {
            let Action::Spawn(spawn) = action else { continue };
            let is_restart = self.is_restart(facts, turn, spawn, hold);
            let init = matches!(spawn.step, Step::Init(_));
            self.starts.insert(spawn.id.slot, (spawn.id, init));
            if spawn.template.restart.vital {
                self.vital_in_a_row = self.vital_in_a_row.saturating_add(1);
            }
            if !is_restart {
                continue;
            }
            let at = turn.at();
            self.recent.retain(|then| then.saturating_add(1_000) > at);
            self.recent.push_back(at);
            let limit = guard.restarts_per_second;
            if super::count(self.recent.len()) > limit {
                return Err(format!(
                    "{} is one restart more than {limit} a second",
                    spawn.instance
                ));
            }
            if !spawn.template.restart.vital {
                let passed_over = waiting.intersection(&self.waiting).next();
                if passed_over.is_some() && self.vital_in_a_row < VITAL_IN_A_ROW {
                    return Err(format!("{} begins before a vital instance", spawn.instance));
                }
                self.vital_in_a_row = 0;
            }
        }
        self.waiting = waiting;
        self.ends.retain(|slot, _| !turn.news.is_gone(*slot));
        self.starts.retain(|slot, _| !turn.news.is_gone(*slot));
        Ok(())
    }

    fn fault(&mut self, _: &Facts, _: &Machine, fault: &Fault) -> Verdict {
        match fault {
            Fault::Rebooted => *self = Guarded::default(),
            // Whoever waited may wait for something else now.
            Fault::DaemonDied | Fault::DaemonStarted => self.waiting.clear(),
            Fault::ClockStepped { .. } | Fault::DataGoing(_) | Fault::DataGone(_) => {}
        }
        Ok(())
    }
}

impl Guarded {
    fn hear(&mut self, event: &Event, now: Mono) {
        let ended = match event {
            Event::Exited { id, exit, at } => Ended { id: *id, at: *at, exit: Some(*exit) },
            Event::SpawnFailed { id, .. } => Ended { id: *id, at: now, exit: None },
            _ => return,
        };
        // Of this start or an earlier one, and told once more or not.
        let known = self.ends.get(&ended.id.slot);
        if known.is_none_or(|known| known.id.generation < ended.id.generation) {
            self.ends.insert(ended.id.slot, ended);
        }
    }

    /// Whether this start is surely one that the guard counts. Where it is hard to tell from outside,
    /// it is not: an end that the core asked for may have been somebody's wish.
    fn is_restart(&self, facts: &Facts, turn: &Turn<'_>, spawn: &Spawn, hold: Hold) -> bool {
        let Some(ended) = self.ends.get(&spawn.id.slot) else { return false };
        // A start in between that was lost, with its end, is another daemon's to explain.
        let last = self.starts.get(&spawn.id.slot);
        let Some((_, init)) = last.filter(|(id, _)| *id == ended.id) else { return false };
        let goes_on = *init && ended.exit == Some(Exit::Code(0));
        let wished = turn.is_ending(facts, &ended.id) || facts.meddled.contains(&spawn.unit);
        let prompt = turn.clock.now().mono.since(ended.at) < PROMPT;
        !goes_on && !wished && (hold == Hold::All || !prompt)
    }

    fn vital_that_wait(&self, facts: &Facts, turn: &Turn<'_>) -> BTreeSet<u64> {
        if !facts.places.values().any(|place| place.template.restart.vital) {
            return BTreeSet::new();
        }
        let held = turn.core.instances().into_iter().filter(|view| view.held_back);
        let vital =
            |slot: &u64| facts.places.get(slot).is_some_and(|place| place.template.restart.vital);
        held.map(|view| view.slot).filter(vital).collect()
    }
}
