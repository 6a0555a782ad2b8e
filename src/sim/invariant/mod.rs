//! What must hold at every moment of a world, judged from outside: by what processes do, not by
//! what the core believes.
//!
//! One file for each promise; each begins with the promise in one sentence and the section of the
//! Kubernetes semantics that it stems from. [`Invariant`] is what they have in common, [`Facts`] what
//! they all ask. What holds only once a world has come to rest is in `quiet`. Must not change
//! anything in the world.

mod availability;
mod cron;
mod daemon_budget;
mod data;
mod facts;
mod hooks;
mod job_count;
mod job_runs;
mod ledger;
mod one_process;
mod oracle;
mod questions;
mod ready;
mod stateful_order;
mod storm_guard;
mod surge;
mod tally;
mod unfit;
mod warned;

use super::machine::{Command, Machine, Process};
use super::world::Clock;
use crate::core::Core;
use crate::core::action::{Action, DataDir};
use crate::core::event::Event;
use crate::core::id::{InstanceId, UnitKey};
use crate::core::spec::{DeploymentSpec, DeploymentStrategy};
use crate::core::view::{JobView, KindView};
use facts::{Facts, News};

/// Nothing, or the promise that was broken and by what.
type Verdict = Result<(), String>;

/// One promise. Every method is a moment at which it may look; it looks where it has to.
trait Invariant: std::fmt::Debug {
    /// A command is about to reach the runner.
    fn before_command(&mut self, _: &Facts, _: &Machine, _: &Command) -> Verdict {
        Ok(())
    }

    /// The runner has started a process.
    fn started(&mut self, _: &Facts, _: &Machine, _: &Process) -> Verdict {
        Ok(())
    }

    /// The core is about to be given an event; `facts.meddled` is up to date.
    fn before_event(&mut self, _: &Facts, _: &Core, _: &Event) -> Verdict {
        Ok(())
    }

    /// A turn's records are stored and its effects are about to be carried out.
    fn committed(&mut self, _: &Facts, _: &Turn<'_>) -> Verdict {
        Ok(())
    }

    /// Something happened to the world itself.
    fn fault(&mut self, _: &Facts, _: &Machine, _: &Fault) -> Verdict {
        Ok(())
    }
}

/// One turn of the daemon.
struct Turn<'a> {
    core: &'a Core,
    machine: &'a Machine,
    clock: Clock,
    batch: &'a [(Event, Option<u64>)],
    effects: &'a [Action],
    news: &'a News,
}

impl Turn<'_> {
    /// When it is, in the world's time.
    fn at(&self) -> u64 {
        self.clock.at
    }

    /// The core has asked it to end, in this turn or before.
    fn is_ending(&self, facts: &Facts, id: &InstanceId) -> bool {
        facts.ending.contains(id) || self.news.ending.contains(id)
    }
}

/// What happens to the world itself.
#[derive(Debug)]
pub(super) enum Fault {
    /// The machine started anew.
    Rebooted,
    /// A new daemon has read what was stored.
    DaemonStarted,
    /// The daemon is gone.
    DaemonDied,
    /// The wall clock was stepped, and shows this now.
    ClockStepped {
        /// By so many milliseconds.
        by: i64,
        /// What it shows now.
        wall: i64,
    },
    /// A data directory's removal begins.
    DataGoing(DataDir),
    /// A data directory is gone.
    DataGone(DataDir),
}

/// Everybody who watches.
#[derive(Debug)]
pub(super) struct Observer {
    /// The first promise that was broken.
    pub(super) broken: Option<String>,
    facts: Facts,
    invariants: Vec<Box<dyn Invariant + Send>>,
}

impl Default for Observer {
    fn default() -> Self {
        Observer {
            broken: None,
            facts: Facts::default(),
            invariants: vec![
                Box::<one_process::OneProcess>::default(),
                Box::<warned::Warned>::default(),
                Box::<availability::Availability>::default(),
                Box::<surge::Surge>::default(),
                Box::<stateful_order::StatefulOrder>::default(),
                Box::<daemon_budget::DaemonBudget>::default(),
                Box::<data::Data>::default(),
                Box::<job_count::JobCount>::default(),
                Box::<job_runs::JobRuns>::default(),
                Box::<cron::Cron>::default(),
                Box::<questions::Questions>::default(),
                Box::<ready::Ready>::default(),
                Box::<unfit::Unfit>::default(),
                Box::<hooks::Hooks>::default(),
                Box::<storm_guard::Guarded>::default(),
            ],
        }
    }
}

impl Observer {
    /// Notes that a promise was broken; the first one is what counts.
    pub(super) fn fail(&mut self, message: String) {
        if self.broken.is_none() {
            self.broken = Some(message);
        }
    }

    fn ask(&mut self, mut look: impl FnMut(&mut dyn Invariant, &Facts) -> Verdict) {
        for invariant in &mut self.invariants {
            if let Err(message) = look(invariant.as_mut(), &self.facts)
                && self.broken.is_none()
            {
                self.broken = Some(message);
            }
        }
    }

    /// A command is about to reach the runner.
    pub(super) fn before_command(&mut self, machine: &Machine, command: &Command) {
        self.ask(|invariant, facts| invariant.before_command(facts, machine, command));
    }

    /// The runner has started a process.
    pub(super) fn started(&mut self, machine: &Machine, id: InstanceId) {
        if let Some(process) = machine.processes.get(&id) {
            self.ask(|invariant, facts| invariant.started(facts, machine, process));
        }
    }

    /// The core is about to be given an event.
    pub(super) fn before_event(&mut self, core: &Core, event: &Event) {
        self.facts.before_event(core, event);
        self.ask(|invariant, facts| invariant.before_event(facts, core, event));
    }

    /// A turn's records are stored and its effects are about to be carried out.
    pub(super) fn committed(
        &mut self,
        core: &Core,
        machine: &Machine,
        clock: Clock,
        batch: &[(Event, Option<u64>)],
        effects: &[Action],
    ) {
        let news = self.facts.turn(core, machine, clock.at, batch, effects);
        let turn = Turn { core, machine, clock, batch, effects, news: &news };
        self.ask(|invariant, facts| invariant.committed(facts, &turn));
        self.facts.turned(core, effects, news);
    }

    /// Something happened to the world itself.
    pub(super) fn fault(&mut self, machine: &Machine, fault: &Fault) {
        self.facts.fault(machine, fault);
        self.ask(|invariant, facts| invariant.fault(facts, machine, fault));
    }
}

/// The most instances that a deployment may have.
fn most(spec: &DeploymentSpec) -> u32 {
    match spec.strategy {
        DeploymentStrategy::RollingUpdate { max_surge, .. } => {
            spec.replicas.saturating_add(max_surge.ceil_of(spec.replicas))
        }
        DeploymentStrategy::Recreate => spec.replicas,
    }
}

/// What is particular to a job, and whether it is on its way out.
fn job_view(core: &Core, key: &UnitKey) -> Option<(JobView, bool)> {
    let unit = core.unit(key)?;
    match unit.kind {
        KindView::Job(view) => Some((view, unit.deleting)),
        KindView::Service | KindView::CronJob(_) => None,
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
