//! Order between units: `depends_on`.
//!
//! Responsible for what a unit offers to those that depend on it, for whose instances wait, and for
//! saying why, down to the first cause. A run of a program that has begun is never ended for a
//! dependency that went away; the next one waits for it. Must not know how instances are started.
//!
//! Work is done when an offer changes, and only for the units that depend on that one.

use super::Core;
use super::id::{Kind, UnitKey, UnitName};
use super::instance::{Input, Instance, State, Waiting};
use super::managed::{Memory, Unit, replicas_of};
use super::show::state_words;
use super::spec::{
    DaemonStrategy, Dependency, DependencyCondition, StatefulStrategy, WorkloadSpec,
};
use super::time::Now;
use super::workload::Phase;
use super::workload::conditions::{Condition, Truth};
use smol_str::SmolStr;
use std::collections::BTreeSet;

/// Of so many dependencies that are not there it is said why.
const TOLD_MAX: usize = 3;
/// Kinds that can be depended on, in the order in which a bare name is looked for.
const KINDS: [Kind; 4] = [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::Job];

/// What a unit is for others at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    available: bool,
    started: bool,
    complete: bool,
}

impl Offers {
    fn of(unit: &Unit) -> Offers {
        let complete = is_complete(&unit.kept.memory);
        let available = complete || is_available(unit);
        Offers { available, started: available || has_started(unit), complete }
    }

    fn holds(self, condition: DependencyCondition) -> bool {
        match condition {
            DependencyCondition::Available => self.available,
            DependencyCondition::Started => self.started,
            DependencyCondition::Complete => self.complete,
        }
    }
}

/// Nothing but a job is ever complete, and only for that is a job available.
fn is_complete(memory: &Memory) -> bool {
    match memory {
        Memory::Job(state) => state.finished() == Some(true),
        Memory::Deployment(_)
        | Memory::StatefulSet(_)
        | Memory::DaemonSet(_)
        | Memory::CronJob(_) => false,
    }
}

/// So many of the desired instances are available as a roll-out leaves at least, and at least one.
fn is_available(unit: &Unit) -> bool {
    let status = unit.kept.memory.status();
    let (desired, available) = (status.counts.desired, status.counts.available);
    let missing = match &unit.spec.workload {
        // Its condition Available says it.
        WorkloadSpec::Deployment(_) => {
            let holds = |c: &Condition| c.kind == "Available" && c.status == Truth::True;
            return desired > 0 && available > 0 && status.conditions.iter().any(holds);
        }
        WorkloadSpec::StatefulSet(spec) => match spec.strategy {
            StatefulStrategy::RollingUpdate { max_unavailable, .. } => {
                max_unavailable.floor_of(desired).max(1)
            }
            StatefulStrategy::OnDelete => 0,
        },
        // Nobody knows of how many yet, nor whether they are those that are counted.
        WorkloadSpec::DaemonSet(_) if unit.nodes.is_none() => return false,
        WorkloadSpec::DaemonSet(spec) => match spec.strategy {
            DaemonStrategy::RollingUpdate { max_unavailable, .. } => {
                max_unavailable.ceil_of(desired)
            }
            DaemonStrategy::OnDelete => 0,
        },
        WorkloadSpec::Job(_) | WorkloadSpec::CronJob(_) => return false,
    };
    desired > 0 && available >= desired.saturating_sub(missing).max(1)
}

/// The main programs of all desired instances were started; of a job, of one.
fn has_started(unit: &Unit) -> bool {
    let began = |phase| match phase {
        Phase::Running | Phase::Succeeded | Phase::Failed | Phase::GaveUp => true,
        Phase::Pending => false,
    };
    let count = unit.instances.iter().filter(|one| !one.terminating && began(one.phase)).count();
    match unit.kept.file.kind() {
        Kind::Job => count > 0,
        Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet | Kind::CronJob => {
            let desired = unit.kept.memory.status().counts.desired;
            desired > 0 && u32::try_from(count).unwrap_or(u32::MAX) >= desired
        }
    }
}

/// `NAME` or `KIND/NAME`, as files write it.
fn written(text: &str) -> (Option<Kind>, &str) {
    match text.split_once('/') {
        Some((kind, name)) => (Kind::parse(kind), name),
        None => (None, text),
    }
}

impl Core {
    /// The unit's dependencies may be others than before: `depends_on` was read.
    pub(super) fn index_dependencies(&mut self, now: Now, key: &UnitKey) {
        for name in self.index(key) {
            // Nobody may have asked before what it offers. Who did is told here: it may differ from
            // what they know, and that it did would not be seen any more once it has settled.
            for other in self.named(&name) {
                self.offer(now, &other);
            }
        }
        self.gate(now, key, false);
    }

    /// All units are restored, their instances not yet: until those are known, who depends on
    /// something waits.
    pub(super) fn index_all(&mut self) {
        let keys: Vec<UnitKey> = self.units.keys().cloned().collect();
        for key in keys {
            self.index(&key);
            if let Some(unit) = self.units.get_mut(&key) {
                unit.waits = !unit.depends_on.is_empty();
            }
        }
    }

    /// The instances are restored too.
    pub(super) fn gate_all(&mut self, now: Now) {
        let names: Vec<SmolStr> = self.dependents.keys().cloned().collect();
        names.iter().for_each(|name| self.look_at(name));
        let waiting = self.units.iter().filter(|(_, unit)| unit.waits);
        let waiting: Vec<UnitKey> = waiting.map(|(key, _)| key.clone()).collect();
        waiting.iter().for_each(|key| self.gate(now, key, false));
    }

    /// Brings the index up to what the unit's spec says. Gives the names that it depends on.
    fn index(&mut self, key: &UnitKey) -> BTreeSet<SmolStr> {
        let Some(unit) = self.units.get_mut(key) else { return BTreeSet::new() };
        let names = unit.spec.depends_on.iter().map(|dep| written(&dep.unit).1.into());
        let wanted: BTreeSet<SmolStr> = names.collect();
        let former = std::mem::replace(&mut unit.depends_on, wanted.clone());
        self.unindex(key, former.difference(&wanted));
        for name in &wanted {
            self.dependents.entry(name.clone()).or_default().insert(key.clone());
        }
        wanted
    }

    fn look_at(&mut self, name: &str) {
        for key in self.named(name) {
            if let Some(unit) = self.units.get_mut(&key) {
                unit.offers = Offers::of(unit);
            }
        }
    }

    /// A unit is gone.
    pub(super) fn forget_dependencies(&mut self, now: Now, key: &UnitKey, unit: &Unit) {
        self.unindex(key, unit.depends_on.iter());
        self.gate_dependents(now, key);
    }

    fn unindex<'n>(&mut self, key: &UnitKey, names: impl Iterator<Item = &'n SmolStr>) {
        for name in names {
            if let Some(all) = self.dependents.get_mut(name) {
                all.remove(key);
                if all.is_empty() {
                    self.dependents.remove(name);
                }
            }
            if self.shutdown.is_some() {
                // It may have waited for this one to end, and nobody else will tell it.
                let released = self.named(name);
                self.dirty.extend(released);
            }
        }
    }

    fn named(&self, name: &str) -> Vec<UnitKey> {
        let Ok(name) = UnitName::new(name) else { return Vec::new() };
        let keys = KINDS.into_iter().map(|kind| UnitKey::new(kind, name.clone()));
        keys.filter(|key| self.units.contains_key(key)).collect()
    }

    /// A unit has settled: whoever depends on it is told if what it offers is not as before.
    pub(super) fn offer(&mut self, now: Now, key: &UnitKey) {
        if !self.dependents.contains_key(key.name.as_str()) {
            return;
        }
        let Some(unit) = self.units.get_mut(key) else { return };
        let offers = Offers::of(unit);
        if std::mem::replace(&mut unit.offers, offers) != offers {
            self.gate_dependents(now, key);
        }
    }

    pub(super) fn gate_dependents(&mut self, now: Now, key: &UnitKey) {
        let dependents = self.dependents.get(key.name.as_str()).cloned().unwrap_or_default();
        dependents.iter().for_each(|dependent| self.gate(now, dependent, false));
    }

    /// A unit has settled: what of it has waited is started, if it need not wait any more.
    pub(super) fn open_gate(&mut self, now: Now, key: &UnitKey) {
        if self.units.get(key).is_some_and(|unit| unit.waits) {
            self.gate(now, key, true);
        }
    }

    /// Lets the unit's instances wait at once, or start that have waited. They are started only once
    /// their controller has settled (`settled`): it may be about to replace them.
    fn gate(&mut self, now: Now, key: &UnitKey, settled: bool) {
        let Some(unit) = self.units.get(key) else { return };
        let waits = !unit.spec.depends_on.iter().all(|dep| self.is_met(dep));
        if unit.waits && !waits && !settled {
            self.dirty.insert(key.clone());
            return;
        }
        let Some(unit) = self.units.get_mut(key) else { return };
        if std::mem::replace(&mut unit.waits, waits) == waits {
            return;
        }
        let slots: Vec<u64> = unit.instances.slots().collect();
        for slot in slots {
            let Some(instance) = self.instances.get_mut(&slot) else { continue };
            instance.gated = waits;
            // Who is held back by the storm guard is to wait for this instead.
            let queued = matches!(instance.state, State::Queued { .. });
            if (!waits && is_waiting(instance)) || (waits && queued) {
                self.step(now, slot, Input::Begin);
            }
        }
    }

    fn is_met(&self, dependency: &Dependency) -> bool {
        match self.meant(dependency) {
            Some(key) => self.units.get(&key).is_some_and(|u| u.offers.holds(dependency.condition)),
            None => self.was_complete(dependency),
        }
    }

    /// The unit that a dependency means, if it is there. A bare name that could mean several was
    /// refused when the files were read.
    fn meant(&self, dependency: &Dependency) -> Option<UnitKey> {
        let (kind, name) = written(&dependency.unit);
        self.named(name).into_iter().find(|key| kind.is_none_or(|kind| kind == key.kind))
    }

    /// A job that completed and whose time to live is over was complete all the same.
    fn was_complete(&self, dependency: &Dependency) -> bool {
        let (kind, name) = written(&dependency.unit);
        let Ok(name) = UnitName::new(name) else { return false };
        kind.is_none_or(|kind| kind == Kind::Job)
            && self.tombstones.get(&UnitKey::new(Kind::Job, name)).is_some_and(|b| b.complete)
    }

    /// While the daemon stops: whether something that depends on this unit still has a process.
    pub(super) fn is_needed(&self, key: &UnitKey) -> bool {
        let dependents = self.dependents.get(key.name.as_str()).into_iter().flatten();
        let mut units = dependents.filter(|dependent| self.edges(dependent).any(|on| on == *key));
        // Of a circle (of a version that runs on and a new one, each valid beside the other's) nobody
        // waits for anybody, or the end would never come.
        units.any(|dependent| self.has_processes(dependent) && !self.leads_to(key, dependent))
    }

    /// The units that a unit depends on and that are there.
    fn edges(&self, key: &UnitKey) -> impl Iterator<Item = UnitKey> {
        let unit = self.units.get(key).into_iter();
        unit.flat_map(|unit| &unit.spec.depends_on).filter_map(|dep| self.meant(dep))
    }

    /// Whether a unit depends on another, by whatever way.
    fn leads_to(&self, from: &UnitKey, to: &UnitKey) -> bool {
        let (mut seen, mut left) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(key) = left.pop() {
            if key == *to {
                return true;
            }
            if seen.insert(key.clone()) {
                left.extend(self.edges(&key));
            }
        }
        false
    }

    fn has_processes(&self, key: &UnitKey) -> bool {
        let unit = self.units.get(key);
        let mut slots = unit.into_iter().flat_map(|unit| unit.instances.slots());
        slots.any(|slot| self.instances.get(&slot).is_some_and(|one| one.has_process()))
    }

    /// While the daemon stops: what this unit depends on may have waited for it.
    pub(super) fn release_dependencies(&mut self, key: &UnitKey) {
        let Some(unit) = self.units.get(key) else { return };
        if unit.spec.depends_on.is_empty() || self.has_processes(key) {
            return;
        }
        let keys: Vec<UnitKey> =
            self.edges(key).filter(|other| self.has_processes(other)).collect();
        self.dirty.extend(keys);
    }

    /// Why the unit's instances wait, for people, down to the first cause; `None`: they need not.
    pub(super) fn why_waits(&self, key: &UnitKey) -> Option<String> {
        self.causes(key, &mut Vec::new())
    }

    /// `way`: the units that lead here.
    fn causes(&self, key: &UnitKey, way: &mut Vec<UnitKey>) -> Option<String> {
        let unit = self.units.get(key)?;
        let unmet: Vec<&Dependency> =
            unit.spec.depends_on.iter().filter(|dep| !self.is_met(dep)).collect();
        if unmet.is_empty() {
            return None;
        }
        let mut told: Vec<String> =
            unmet.iter().take(TOLD_MAX).map(|dep| self.cause(key, dep, way)).collect();
        if unmet.len() > TOLD_MAX {
            told.push(format!("{} more", unmet.len() - TOLD_MAX));
        }
        Some(format!("waits for {}", told.join("; and for ")))
    }

    fn cause(&self, of: &UnitKey, dependency: &Dependency, way: &mut Vec<UnitKey>) -> String {
        let Some(key) = self.meant(dependency) else {
            return format!("`{}`: there is no such unit", dependency.unit);
        };
        let end = match (dependency.condition, key.kind) {
            (DependencyCondition::Started, _) => "to be started",
            (DependencyCondition::Complete, _) | (_, Kind::Job) => "to complete",
            (DependencyCondition::Available, _) => "to be available",
        };
        if way.contains(&key) || key == *of {
            return format!("{key} {end}, which waits for this one");
        }
        way.push(of.clone());
        let further = self.causes(&key, way);
        way.pop();
        match further {
            Some(further) => format!("{key} {end}, which {further}"),
            None => format!("{key} {end}: {}", self.state_of(&key)),
        }
    }

    /// What keeps a unit from being what others wait for.
    fn state_of(&self, key: &UnitKey) -> String {
        let Some(unit) = self.units.get(key) else { return "it is gone".to_owned() };
        if unit.kept.deleting {
            return "it is being removed".to_owned();
        }
        if unit.kept.overrides.stopped {
            return "it is stopped".to_owned();
        }
        if let Memory::Job(state) = &unit.kept.memory
            && state.finished() == Some(false)
        {
            return "it failed".to_owned();
        }
        let instances = unit.instances.slots().filter_map(|slot| self.instances.get(&slot));
        // A job is waited for also while its program does well.
        let of_job = key.kind == Kind::Job;
        let mut poor = instances.filter(|one| of_job || one.ready_since().is_none());
        let Some(instance) = poor.next() else {
            return match replicas_of(&unit.spec) {
                Some(0) => "no instance of it is wanted".to_owned(),
                Some(_) | None => "it has not begun".to_owned(),
            };
        };
        let (state, reason) = state_words(instance);
        let mut text = format!("{} is in {}", instance.name, state.as_str());
        if let Some(reason) = reason {
            text = format!("{text} ({reason})");
        }
        match &instance.last_failure {
            Some(failure) => format!("{text}: {failure}"),
            None => match instance.last_end.filter(|_| !instance.has_process()) {
                Some(end) => format!("{text}: it ended with {}", end.exit),
                None => text,
            },
        }
    }
}

/// Whether it waits for dependencies.
pub(super) fn is_waiting(instance: &Instance) -> bool {
    matches!(instance.state, State::Pending { why: Waiting::Dependencies })
}

/// Checks that the index says what the units say, and that whoever has to wait does.
///
/// # Errors
/// What does not agree.
pub(super) fn agrees(core: &Core) -> Result<(), String> {
    for (name, keys) in &core.dependents {
        let known =
            |key: &UnitKey| core.units.get(key).is_some_and(|u| u.depends_on.contains(name));
        if let Some(key) = keys.iter().find(|key| !known(key)) {
            return Err(format!("{key} is listed as one that depends on {name}"));
        }
    }
    for (key, unit) in &core.units {
        let listed = |name: &SmolStr| core.dependents.get(name).is_some_and(|k| k.contains(key));
        if let Some(name) = unit.depends_on.iter().find(|name| !listed(name)) {
            return Err(format!("{key} depends on {name}, which does not know it"));
        }
        if unit.waits == unit.spec.depends_on.iter().all(|dep| core.is_met(dep)) {
            return Err(format!("{key} is wrong about whether it has to wait"));
        }
        if core.dependents.contains_key(key.name.as_str()) && unit.offers != Offers::of(unit) {
            return Err(format!("{key} offers something else than it is"));
        }
        let slots = unit.instances.slots().filter_map(|slot| core.instances.get(&slot));
        for instance in slots {
            if instance.gated != unit.waits || (is_waiting(instance) && !unit.waits) {
                return Err(format!("{} waits, or does not, against its unit", instance.name));
            }
        }
    }
    Ok(())
}
