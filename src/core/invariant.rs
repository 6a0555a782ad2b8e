//! What must hold between any two events, whatever happened before.
//!
//! Responsible for checking, not for repairing. The simulator calls [`check`] after every step.

use super::Core;
use super::id::UnitKey;
use super::show::fits;
use super::workload::Identity;
use std::collections::BTreeMap;

/// Checks every invariant.
///
/// # Errors
/// A sentence that names the first one that is broken, and by what.
pub fn check(core: &Core) -> Result<(), String> {
    indexes_agree(core)?;
    super::depends::agrees(core)?;
    super::guard::agrees(core)?;
    super::ports::agrees(core)?;
    one_instance_per_identity(core)?;
    no_forgotten_work(core)
}

/// The indexes say the same as what they index.
fn indexes_agree(core: &Core) -> Result<(), String> {
    for (slot, instance) in &core.instances {
        let Some(unit) = core.units.get(&instance.unit) else {
            return Err(format!("{} belongs to no unit", instance.name));
        };
        match unit.instances.find(*slot) {
            None => return Err(format!("{} is not known to its unit", instance.name)),
            Some(seen) if *seen != instance.observed() => {
                return Err(format!("{} is not as its controller sees it", instance.name));
            }
            Some(_) => {}
        }
        if !core.names.get(&instance.name).is_some_and(|slots| slots.contains(slot)) {
            return Err(format!("{} cannot be found by name", instance.name));
        }
    }
    for (key, unit) in &core.units {
        if !fits(key, &unit.kept.memory) {
            return Err(format!("{key} has another kind's memory"));
        }
        if let Some(slot) = unit.instances.slots().find(|slot| !core.instances.contains_key(slot)) {
            return Err(format!("{key} knows of instance {slot}, which is not there"));
        }
        if unit.instances != unit.instances.iter().cloned().collect() {
            return Err(format!("{key} counts its instances wrongly"));
        }
        for job in &unit.jobs {
            if core.units.get(job).is_none_or(|j| j.kept.owner.as_ref() != Some(key)) {
                return Err(format!("{key} counts {job}, which is not its own"));
            }
        }
    }
    Ok(())
}

/// Of one ordinal there is at most one instance, ever: its successor is made when it is gone.
fn one_instance_per_identity(core: &Core) -> Result<(), String> {
    let mut seen: BTreeMap<(&UnitKey, u32), &str> = BTreeMap::new();
    for instance in core.instances.values() {
        if let Identity::Ordinal(ordinal) = instance.identity
            && let Some(other) = seen.insert((&instance.unit, ordinal), &instance.name)
        {
            return Err(format!("{other} and {} share an ordinal", instance.name));
        }
    }
    Ok(())
}

/// After a settle nothing is left to be decided, and whatever waits for a time has a deadline.
fn no_forgotten_work(core: &Core) -> Result<(), String> {
    if let Some(key) = core.dirty.first() {
        return Err(format!("{key} is still to be reconciled"));
    }
    if let Some(slot) = core.changed.first() {
        return Err(format!("instance {slot} is still to be stored"));
    }
    let earliest = core.timers.next();
    for instance in core.instances.values() {
        if let Some(at) = instance.deadline()
            && earliest.is_none_or(|first| first > at)
        {
            return Err(format!("{} waits for {at:?}, which nobody will call", instance.name));
        }
    }
    Ok(())
}
