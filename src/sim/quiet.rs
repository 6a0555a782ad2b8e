//! The calm after a storm: with no new input and nothing that goes wrong, all comes to rest.
//!
//! Responsible for letting that happen and for the promises that hold then. Must not judge what
//! happens on the way: see `invariant`.

use super::machine::Fate;
use super::world::{Happening, World};
use crate::core::Core;
use crate::core::action::Action;
use crate::core::event::{Event, Exit, Found};
use crate::core::id::Kind;
use crate::core::view::{InstanceState, KindView, UnitView};

/// A calm lasts at most so long: longer than any back-off, deadline and time to live.
const CALM_MAX: u64 = 4 * 3_600_000;
/// Cronjobs are asked again to make no jobs after so many turns: one may have come, or have been
/// resumed, by what was wished before the calm.
const HUSH_TURNS: u64 = 64;
/// The core takes at most so many turns in that time; more means that it runs in circles.
const TURNS_MAX: u64 = 30_000;

impl World {
    /// Lets the world come to rest and looks at it then.
    pub fn calm(&mut self) {
        if self.is_broken() {
            return;
        }
        self.calm = true;
        self.profile = self.stormy.calmed();
        self.note(format_args!("CALM"));
        let (until, turns) = (self.clock.at + CALM_MAX, self.turns);
        self.let_runs_end();
        self.let_all_be_well();
        self.hush_cronjobs();
        let mut hushed = (self.life, self.turns);
        while !self.is_broken() && self.next_at().is_some_and(|at| at <= until) {
            self.advance();
            let again = hushed.0 != self.life || self.turns - hushed.1 >= HUSH_TURNS;
            if again && self.daemon.is_some() {
                hushed = (self.life, self.turns);
                self.hush_cronjobs();
            }
            if self.turns - turns > TURNS_MAX {
                self.observer.fail("the core does not come to rest".to_owned());
            }
        }
        self.clock.at = until;
        if !self.is_broken()
            && let Err(broken) = self.at_rest()
        {
            self.observer.fail(broken);
        }
    }

    /// A run of a job that hangs would hang for ever.
    fn let_runs_end(&mut self) {
        let hang: Vec<_> = self
            .machine
            .alive()
            .filter(|p| p.unit.kind == Kind::Job && p.temper.ends.is_none())
            .map(|p| p.id)
            .collect();
        for id in hang {
            let delay = self.random.span(10_000);
            self.later(delay, Happening::Fate(Fate::MainEnds(id, Exit::Code(0))));
        }
    }

    fn at_rest(&mut self) -> Result<(), String> {
        let Some(daemon) = &self.daemon else { return Err("no daemon came back".to_owned()) };
        let core = &daemon.core;
        self.processes_are_known(core)?;
        for unit in core.units() {
            at_rest(core, &unit)?;
            if unit.key.kind == Kind::DaemonSet {
                self.nodes_are_served(core, &unit)?;
            }
        }
        self.files_are_applied(core)?;
        self.memory_is_whole(core)
    }

    /// No process lives that nobody knows of, and none is believed to live that does not.
    fn processes_are_known(&self, core: &Core) -> Result<(), String> {
        let views = core.instances();
        for process in self.machine.alive() {
            let known = views.iter().find(|view| view.slot == process.id.slot);
            if known.is_none_or(|view| view.pid != Some(process.pid)) {
                return Err(format!("{} ({}) is an orphan", process.instance, process.id));
            }
        }
        for view in &views {
            let Some(pid) = view.pid else { continue };
            if !self.machine.alive().any(|p| p.pid == pid && p.id.slot == view.slot) {
                return Err(format!("{} is believed to run as {pid}", view.name));
            }
        }
        Ok(())
    }

    fn nodes_are_served(&self, core: &Core, unit: &UnitView) -> Result<(), String> {
        if is_off(unit) {
            return Ok(());
        }
        let wanted: Vec<&str> = match self.nodes.get(&unit.key) {
            Some(nodes) => nodes.keys().map(String::as_str).collect(),
            None => return Err(format!("{} never asked for its nodes", unit.key)),
        };
        let views = core.instances_of(&unit.key);
        let mut served: Vec<&str> = views.iter().filter_map(|v| v.node.as_deref()).collect();
        served.sort_unstable();
        let held = views.iter().any(|v| v.state != InstanceState::Ready);
        if held || unit.paused {
            // Somebody holds up the change from an old instance to a new one.
            served.dedup();
        }
        if wanted != served {
            return Err(format!("{} serves {served:?}, nodes are {wanted:?}", unit.key));
        }
        Ok(())
    }

    /// What the files say is there; what no file says is not.
    fn files_are_applied(&self, core: &Core) -> Result<(), String> {
        for unit in core.units() {
            let known = self.files.contains_key(&unit.key) || self.invalid.contains_key(&unit.key);
            if unit.owner.is_none() && !known {
                return Err(format!("{} has no file and is still there", unit.key));
            }
        }
        Ok(())
    }

    /// A daemon that starts now finds everything as it is and has nothing to do.
    fn memory_is_whole(&self, core: &Core) -> Result<(), String> {
        let now = self.clock.now();
        let mut next = Core::new(self.config(1));
        next.restore(
            now,
            Found {
                records: self.store.records(),
                living: self.machine.held(),
                refused: self.machine.refused(),
                wall: now.wall,
            },
        );
        for (unit, nodes) in &self.nodes {
            let event = Event::NodesChanged { unit: unit.clone(), nodes: nodes.clone() };
            next.handle(now, event);
        }
        next.handle(now, Event::Units(self.read_files(false)));
        next.settle(now);
        while let Some(action) = next.poll_action() {
            if let Action::Spawn(_)
            | Action::Terminate { .. }
            | Action::KillTree { .. }
            | Action::RemoveData { .. }
            | Action::InstanceGone { .. }
            | Action::UnitGone { .. } = &action
            {
                let action = super::trace::ShowAction(&action);
                return Err(format!("a new daemon would do this: {action}"));
            }
        }
        for (old, new) in core.units().iter().zip(next.units().iter()) {
            if old != new {
                return Err(format!("a new daemon sees\n{new:#?}\ninstead of\n{old:#?}"));
            }
        }
        if core.instances() != next.instances() {
            return Err("a new daemon sees other instances".to_owned());
        }
        Ok(())
    }
}

/// It is not to run, whatever its counts say.
fn is_off(unit: &UnitView) -> bool {
    unit.stopped || unit.deleting || unit.not_selected
}

/// A unit at rest has all it wants, unless somebody or something holds it.
fn at_rest(core: &Core, unit: &UnitView) -> Result<(), String> {
    let key = &unit.key;
    let views = core.instances_of(key);
    if unit.deleting {
        return Err(format!("{key} is still being removed"));
    }
    let held = views
        .iter()
        .any(|view| matches!(view.state, InstanceState::Failed | InstanceState::Pending));
    for view in &views {
        match view.state {
            InstanceState::Pending | InstanceState::Ready => {}
            InstanceState::Succeeded | InstanceState::Failed => {}
            InstanceState::Init
            | InstanceState::Starting
            | InstanceState::Running
            | InstanceState::Stopping
            | InstanceState::Backoff => {
                return Err(format!("{} is still {}", view.name, view.state.as_str()));
            }
        }
    }
    let active = views.iter().filter(|v| v.state == InstanceState::Ready).count();
    if is_off(unit) {
        return if active == 0 { Ok(()) } else { Err(format!("{key} is off and {active} run")) };
    }
    match &unit.kind {
        KindView::Service => {
            let counts = &unit.counts;
            if !held
                && !unit.paused
                && (counts.ready != counts.desired || active != counts.desired as usize)
            {
                return Err(format!("{key} is at rest with {counts:?}, {active} run"));
            }
            if key.kind == Kind::Deployment && !held && !unit.paused && !unit.rolled_out {
                return Err(format!("{key} is at rest and not rolled out: {counts:?}"));
            }
        }
        KindView::Job(job) => {
            let parallelism = match core.spec(key).map(|spec| spec.workload) {
                Some(crate::core::spec::WorkloadSpec::Job(job)) => job.parallelism,
                _ => 0,
            };
            let owner_off = unit
                .owner
                .as_ref()
                .and_then(|owner| core.unit(owner))
                .is_some_and(|owner| is_off(&owner));
            let waits = unit.suspended || parallelism == 0 || owner_off || held;
            if job.finished.is_none() && !waits {
                return Err(format!("{key} neither ends nor waits: {job:?}"));
            }
        }
        KindView::CronJob(_) => {}
    }
    Ok(())
}
