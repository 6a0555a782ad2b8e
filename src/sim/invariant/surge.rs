//! A deployment never has more than `replicas + max_surge` instances that are to stay, and with
//! `recreate` never an old and a new process at once.
//!
//! Kubernetes semantics, section 2, rolling step ("total >= replicas + surge") and recreate ("while
//! any old replica still exists wait; then create the new set"). After a change of the bound the
//! greater one holds until the deployment has come within the smaller; a deployment that was
//! rolling when it was given `recreate` may have both templates until one of them is gone.

use super::facts::Facts;
use super::{Invariant, Turn, Verdict, most};
use crate::core::id::{Kind, UnitKey};
use crate::core::spec::{DeploymentSpec, DeploymentStrategy, InstanceTemplate, WorkloadSpec};
use crate::sim::machine::{Machine, Process};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is known of a deployment from outside.
#[derive(Debug)]
struct Fleet {
    spec: DeploymentSpec,
    /// At most so many may run: the greatest bound of the specs since it was last within the
    /// present one.
    bound: u32,
    /// Processes of several templates may be there, from before the strategy was `recreate`.
    mixed: bool,
}

#[derive(Debug, Default)]
pub(super) struct Surge {
    fleets: BTreeMap<UnitKey, Fleet>,
}

fn template(facts: &Facts, process: &Process) -> Option<Arc<InstanceTemplate>> {
    facts.places.get(&process.id.slot).map(|place| Arc::clone(&place.template))
}

impl Surge {
    fn refresh(&mut self, facts: &Facts) {
        self.fleets.retain(|key, _| facts.units.get(key).is_some_and(|known| known.on));
        for (key, known) in facts.units.iter().filter(|(_, known)| known.on) {
            let WorkloadSpec::Deployment(new) = &known.spec.workload else { continue };
            let fleet = self.fleets.entry(key.clone()).or_insert_with(|| Fleet {
                spec: new.clone(),
                // Whatever it was before, it may still be on its way from there.
                bound: u32::MAX,
                mixed: true,
            });
            let recreates = new.strategy == DeploymentStrategy::Recreate;
            fleet.mixed |= recreates && fleet.spec.strategy != DeploymentStrategy::Recreate;
            fleet.spec = new.clone();
            fleet.bound = fleet.bound.max(most(new));
        }
    }
}

impl Invariant for Surge {
    fn started(&mut self, facts: &Facts, machine: &Machine, new: &Process) -> Verdict {
        if new.unit.kind != Kind::Deployment {
            return Ok(());
        }
        let Some(fleet) = self.fleets.get(&new.unit) else { return Ok(()) };
        if fleet.spec.strategy != DeploymentStrategy::Recreate {
            return Ok(());
        }
        let of = template(facts, new);
        let old = machine
            .alive()
            .find(|p| p.unit == new.unit && p.id != new.id && template(facts, p) != of);
        match old {
            Some(old) if !fleet.mixed => Err(format!(
                "{} recreates, and {} runs beside {} of another template",
                new.unit, new.instance, old.instance
            )),
            Some(_) | None => Ok(()),
        }
    }

    fn committed(&mut self, facts: &Facts, turn: &Turn<'_>) -> Verdict {
        if turn.news.specs {
            self.refresh(facts);
        }
        for (key, fleet) in &mut self.fleets {
            if !turn.news.touched.contains(key) {
                continue;
            }
            let active = turn
                .machine
                .alive()
                .filter(|p| p.unit == *key && !turn.is_ending(facts, &p.id))
                .count();
            let active = super::count(active);
            if active > fleet.bound {
                return Err(format!("{key} has {active} instances, {} allowed", fleet.bound));
            }
            let within = most(&fleet.spec);
            if fleet.bound > within || fleet.mixed {
                let done = turn
                    .core
                    .unit(key)
                    .is_some_and(|unit| unit.rolled_out && unit.counts.current <= within);
                if done {
                    fleet.bound = within;
                    // Old processes that were asked to end may still be there, and a start that
                    // was asked for may still be on its way to the runner.
                    let mut templates = facts
                        .believed_of(turn.machine, key)
                        .map(|process| template(facts, process));
                    let first = templates.next();
                    let views = turn.core.instances_of(key);
                    let mut revisions = views.iter().map(|view| view.revision);
                    let revision = revisions.next();
                    fleet.mixed = templates.any(|other| Some(other) != first)
                        || revisions.any(|other| Some(other) != revision);
                }
            }
        }
        Ok(())
    }
}
