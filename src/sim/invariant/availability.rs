//! A roll-out never takes a deployment below `replicas - max_unavailable` available instances.
//!
//! Kubernetes semantics, section 2, rolling step: `min_available`. It binds from the moment the
//! deployment was whole until something other than a roll-out happens to it: an operator's stop,
//! scaling, a pause in mid-flight (which brings the total within its bound without regard to what
//! is available, `deployment/sync.go` `scale`), an end that was not the core's doing.

use super::facts::Facts;
use super::{Fault, Invariant, Turn, Verdict};
use crate::core::Core;
use crate::core::event::Event;
use crate::core::id::UnitKey;
use crate::core::request::{Request, Target};
use crate::core::spec::{DeploymentSpec, DeploymentStrategy, WorkloadSpec};
use crate::sim::machine::Machine;
use std::collections::BTreeMap;

/// What is known of a deployment from outside.
#[derive(Debug)]
struct Fleet {
    spec: DeploymentSpec,
    /// It was whole, and since then nothing but roll-outs happened to it.
    settled: bool,
}

#[derive(Debug, Default)]
pub(super) struct Availability {
    fleets: BTreeMap<UnitKey, Fleet>,
}

impl Availability {
    fn interfere(&mut self, key: &UnitKey) {
        if let Some(fleet) = self.fleets.get_mut(key) {
            fleet.settled = false;
        }
    }

    fn interfere_with_all(&mut self) {
        for fleet in self.fleets.values_mut() {
            fleet.settled = false;
        }
    }

    fn refresh(&mut self, facts: &Facts) {
        self.fleets.retain(|key, _| facts.units.get(key).is_some_and(|known| known.on));
        for (key, known) in facts.units.iter().filter(|(_, known)| known.on) {
            let WorkloadSpec::Deployment(new) = &known.spec.workload else { continue };
            let fleet = self
                .fleets
                .entry(key.clone())
                .or_insert_with(|| Fleet { spec: new.clone(), settled: false });
            if fleet.spec != *new {
                fleet.settled = false;
                fleet.spec = new.clone();
            }
        }
    }

    /// If a process that did its work has ended, or does it no longer, that was not the core's doing.
    fn note_ends(&mut self, facts: &Facts, turn: &Turn<'_>) {
        let unfit = turn.news.unfit.iter().map(|(id, _)| id);
        for id in unfit.chain(&turn.news.unready) {
            if let Some(place) = facts.places.get(&id.slot) {
                self.interfere(&place.unit);
            }
        }
        for (id, _) in &turn.news.ends {
            if let Some(process) = turn.machine.processes.get(id)
                && process.main
                && !turn.is_ending(facts, id)
                && let Some(fleet) = self.fleets.get_mut(&process.unit)
                && turn.at().saturating_sub(process.born) >= fleet.spec.min_ready.0
            {
                fleet.settled = false;
            }
        }
    }
}

impl Invariant for Availability {
    fn before_event(&mut self, _: &Facts, core: &Core, event: &Event) -> Verdict {
        match event {
            Event::Request(request) => match request {
                Request::Start(target)
                | Request::Stop(target)
                | Request::Restart(target)
                | Request::Delete(target)
                | Request::Reload(target)
                | Request::Signal(target, _) => match target {
                    Target::Unit(key) => self.interfere(key),
                    Target::Instance(name) => {
                        if let Some(view) = core.instance(name) {
                            self.interfere(&view.unit);
                        }
                    }
                },
                Request::Scale(key, _) | Request::Pause(key) => self.interfere(key),
                // These may never cost availability.
                Request::Undo(..)
                | Request::ResumeRollout(_)
                | Request::RolloutRestart(_)
                | Request::Suspend(_)
                | Request::Resume(_)
                | Request::Trigger(..) => {}
            },
            Event::Shutdown => self.interfere_with_all(),
            _ => {}
        }
        Ok(())
    }

    fn committed(&mut self, facts: &Facts, turn: &Turn<'_>) -> Verdict {
        if turn.news.specs {
            self.refresh(facts);
        }
        self.note_ends(facts, turn);
        for (key, fleet) in &mut self.fleets {
            if facts.shutdown {
                // Also what is stopped later than others, since those need it.
                fleet.settled = false;
            }
            if !turn.news.touched.contains(key) || facts.shutdown {
                continue;
            }
            // One that has ended without the core's knowledge counts: nobody could know better.
            let available = facts
                .believed_of(turn.machine, key)
                .filter(|p| facts.perhaps_available(p, fleet.spec.min_ready, turn.at()))
                .filter(|p| !turn.news.ending.contains(&p.id))
                .count();
            let available = super::count(available);
            let least = least(&fleet.spec);
            if fleet.settled && available < least {
                return Err(format!("{key} has {available} available, {least} promised"));
            }
            // The core must know of all of them before it can be held to it.
            if !fleet.settled && available >= fleet.spec.replicas && !fleet.spec.paused {
                fleet.settled = turn
                    .core
                    .unit(key)
                    .is_some_and(|unit| unit.counts.available >= fleet.spec.replicas);
            }
        }
        Ok(())
    }

    fn fault(&mut self, _: &Facts, _: &Machine, fault: &Fault) -> Verdict {
        if matches!(fault, Fault::Rebooted) {
            self.interfere_with_all();
        }
        Ok(())
    }
}

/// The fewest available instances that a deployment promises.
fn least(spec: &DeploymentSpec) -> u32 {
    match spec.strategy {
        DeploymentStrategy::RollingUpdate { max_surge, max_unavailable } => {
            let (surge, unavailable) =
                (max_surge.ceil_of(spec.replicas), max_unavailable.floor_of(spec.replicas));
            // deployment/util ResolveFenceposts: both zero means one unavailable.
            let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
            spec.replicas.saturating_sub(unavailable)
        }
        DeploymentStrategy::Recreate => 0,
    }
}
