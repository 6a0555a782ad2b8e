//! The pure core: decides everything, does nothing.
//!
//! `handle(now, event)` takes what happened, `settle(now)` lets the controllers decide,
//! `poll_action()` hands out what is to be done, `next_deadline()` says when to call again with
//! [`event::Event::Tick`]. The simulator, `apply --dry-run` and the daemon drive this same core.
//!
//! No I/O, no clock, no randomness, no threads, no logging: time and entropy are inputs.

pub mod action;
mod apply;
mod ask;
mod depends;
pub mod encoded;
pub mod event;
pub mod guard;
pub mod id;
pub mod instance;
pub mod invariant;
pub mod managed;
mod ports;
pub mod record;
mod remember;
pub mod report;
pub mod request;
mod requests;
mod restore;
pub mod schedule;
mod settle;
mod show;
pub mod signal;
pub mod spec;
#[cfg(test)]
pub(crate) mod table;
mod template;
#[cfg(test)]
mod tests;
pub mod time;
mod timers;
pub mod view;
pub mod workload;

use action::Action;
use event::Event;
use guard::{Guard, StormGuard};
use id::{InstanceId, UnitKey, UnitName};
use instance::{Effect, Input, Instance, probe};
use managed::{Buried, Unit};
use ports::Ports;
use report::{Field, Reason, Report, Severity};
use request::Answer;
use schedule::Zones;
use smol_str::SmolStr;
use spec::ProbeHandler;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use time::{Mono, Now};
use timers::{Timer, Timers};
use workload::Note;

/// Room for so many actions is kept from one turn to the next: more than nearly any turn has.
const ACTIONS_KEPT: usize = 64;

/// What the core is told once, at its start.
#[derive(Clone)]
pub struct Config {
    /// Where generated names come from: any number, another one at each start.
    pub seed: u64,
    /// This node's name: a DNS label.
    pub node: UnitName,
    /// This node's labels, for `node_selector`.
    pub node_labels: BTreeMap<String, String>,
    /// The zone database.
    pub zones: Arc<dyn Zones + Send + Sync>,
    /// How many restarts may begin in a second.
    pub storm_guard: StormGuard,
}

/// The whole state of a daemon that is not in its files and sockets.
#[derive(Clone)]
pub struct Core {
    config: Config,
    /// Everything by identity. Ordered maps, so that the same inputs give the same outputs. Values are
    /// boxed, so that the maps themselves stay small enough for the processor's caches.
    units: BTreeMap<UnitKey, Box<Unit>>,
    instances: BTreeMap<u64, Box<Instance>>,
    /// Instances by name, for operators; two units of different kinds may use one name.
    names: BTreeMap<SmolStr, BTreeSet<u64>>,
    ports: Ports,
    /// Units by the names that they depend on.
    dependents: BTreeMap<SmolStr, BTreeSet<UnitKey>>,
    /// Units that are gone while their file is still there.
    tombstones: BTreeMap<UnitKey, Buried>,
    /// Files that are invalid and have no last good version.
    invalid: BTreeMap<UnitKey, String>,
    /// Units that something happened to since the last settle.
    dirty: BTreeSet<UnitKey>,
    /// Instances whose memory must be stored.
    changed: BTreeSet<u64>,
    timers: Timers,
    guard: Guard,
    actions: VecDeque<Action>,
    /// Room for the effects of one step, empty between steps.
    effects: Vec<Effect>,
    /// State of the generator of names (splitmix64).
    random: u64,
    /// Counts the daemon's lives: the high half of slots.
    epoch: u32,
    next_slot: u32,
    version: u64,
    shutdown: Option<Shutdown>,
}

/// How far the daemon's end has come: kinds are stopped in this order, each when all before it
/// are gone, so that servers go before the databases that they use and agents watch to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shutdown {
    Servers,
    Databases,
    Agents,
    Done,
}

impl Core {
    /// An empty core.
    pub fn new(config: Config) -> Core {
        let guard = Guard::new(config.storm_guard);
        Core {
            random: config.seed,
            config,
            units: BTreeMap::new(),
            instances: BTreeMap::new(),
            names: BTreeMap::new(),
            ports: Ports::default(),
            dependents: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            invalid: BTreeMap::new(),
            dirty: BTreeSet::new(),
            changed: BTreeSet::new(),
            timers: Timers::default(),
            guard,
            actions: VecDeque::new(),
            effects: Vec::new(),
            epoch: 1,
            next_slot: 0,
            version: 0,
            shutdown: None,
        }
    }

    /// Takes one event. A request is answered; the answer is `None` for all other events.
    pub fn handle(&mut self, now: Now, event: Event) -> Option<Answer> {
        match event {
            Event::Tick => self.tick(now),
            Event::ClockStepped => self.clock_stepped(),
            Event::Spawned { id, pid } => self.step_started(now, id, Input::Spawned { pid }),
            Event::SpawnFailed { id, message } => {
                self.step_started(now, id, Input::SpawnFailed { message: &message });
            }
            Event::Exited { id, exit, at } => {
                self.step_started(now, id, Input::Exited { exit, at });
            }
            Event::HookDone { id, hook, failure } => {
                let failure = failure.as_deref();
                self.step_started(now, id, Input::HookDone { hook, failure });
            }
            Event::ProbeDone { id, kind, answer, message } => {
                let message = message.as_str();
                self.step_started(now, id, Input::Probed { kind, asked: true, answer, message });
            }
            Event::ProbeTold { id, kind, answer, message } => {
                let message = message.as_str();
                self.step_started(now, id, Input::Probed { kind, asked: false, answer, message });
            }
            Event::WatchdogFed { id, trigger } => {
                self.step_started(now, id, Input::Fed { trigger });
            }
            Event::StatusTold { id, text } => {
                if let Some(instance) = self.instances.get_mut(&id.slot)
                    && instance.generation == id.generation
                {
                    instance.says = Some(text).filter(|text| !text.is_empty());
                    self.version = self.version.saturating_add(1);
                }
            }
            Event::Announced { id, word } => self.step_started(now, id, Input::Announced(word)),
            Event::PortTaken { id, port, by } => self.port_taken(now, id, port, by.as_deref()),
            Event::NodesChanged { unit, nodes } => {
                if let Some(unit_state) = self.units.get_mut(&unit)
                    && unit_state.nodes.as_ref() != Some(&nodes)
                {
                    unit_state.nodes = Some(nodes);
                    self.dirty.insert(unit);
                }
            }
            Event::DataRemoved { unit, instance } => self.data_removed(unit, &instance),
            Event::Units(read) => self.apply(now, read),
            Event::Request(request) => return Some(self.request(now, request)),
            Event::Shutdown => self.begin_shutdown(now),
        }
        None
    }

    /// Whether there is an instance of this unit and name.
    pub fn has_instance(&self, unit: &UnitKey, name: &str) -> bool {
        let slots = self.names.get(name).into_iter().flatten();
        slots.filter_map(|slot| self.instances.get(slot)).any(|one| one.unit == *unit)
    }

    /// The probes of this start that its program answers by itself with `READY=1`.
    pub fn ready_probes(&self, id: InstanceId) -> Vec<probe::Kind> {
        let instance = self.instances.get(&id.slot).filter(|one| one.generation == id.generation);
        let Some(instance) = instance else { return Vec::new() };
        let by_notify = |kind: &probe::Kind| {
            kind.spec(&instance.template).is_some_and(|spec| spec.handler == ProbeHandler::Notify)
        };
        [probe::Kind::Startup, probe::Kind::Readiness].into_iter().filter(by_notify).collect()
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front();
        if action.is_none() {
            // The next turn begins at the same place again, which is in the processor's caches, and
            // not behind what the last great turn needed.
            self.actions.clear();
            self.actions.shrink_to(ACTIONS_KEPT);
        }
        action
    }

    /// When to send [`Event::Tick`].
    pub fn next_deadline(&self) -> Option<Mono> {
        self.timers.next()
    }

    /// Rises whenever something that a view shows may have changed.
    pub fn version(&self) -> u64 {
        self.version
    }

    fn tick(&mut self, now: Now) {
        while let Some(timer) = self.timers.pop_due(now.mono) {
            match timer {
                Timer::Instance(slot) => self.step(now, slot, Input::Tick),
                Timer::Guard => self.guard_due(),
                Timer::Unit(key) => {
                    if let Some(unit) = self.units.get_mut(&key) {
                        unit.recheck = None;
                        self.dirty.insert(key);
                    }
                }
            }
        }
    }

    /// All deadlines that were computed from the wall clock are void: cronjobs' and jobs'.
    fn clock_stepped(&mut self) {
        self.dirty.extend(self.units.keys().cloned());
    }

    fn data_removed(&mut self, key: UnitKey, instance: &str) {
        if let Some(unit) = self.units.get_mut(&key)
            && let managed::Memory::StatefulSet(state) = &mut unit.kept.memory
        {
            state.data_removed(instance);
            self.dirty.insert(key);
        }
    }

    fn begin_shutdown(&mut self, now: Now) {
        if self.shutdown.is_none() {
            self.shutdown = Some(Shutdown::Servers);
            self.report(
                now,
                None,
                None,
                Note::normal(Reason::DaemonStopping, "stopping everything"),
            );
            self.dirty.extend(self.units.keys().cloned());
        }
    }

    /// Gives an instance something that answers one of its starts; answers to earlier starts are
    /// dropped here and nowhere else.
    fn step_started(&mut self, now: Now, id: InstanceId, input: Input<'_>) {
        match self.instances.get(&id.slot) {
            Some(instance) if instance.generation == id.generation => {
                self.step(now, id.slot, input);
            }
            Some(_) | None => {}
        }
    }

    /// Adds something to tell to the actions.
    fn report(&mut self, now: Now, unit: Option<&UnitKey>, instance: Option<&str>, note: Note) {
        let Note { severity, reason, message, fields } = note;
        self.actions.push_back(Action::Report(Box::new(Report {
            time: now.wall,
            severity,
            reason,
            unit: unit.cloned(),
            instance: instance.map(str::to_owned),
            message,
            fields,
        })));
    }

    /// The next number of the generator (splitmix64, public domain algorithm by S. Vigna).
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `prefix-xxxxx`, where the suffix is drawn so that no instance and no job has the name.
    fn fresh_name(&mut self, prefix: &str) -> String {
        loop {
            let name = format!("{prefix}-{}", id::suffix(self.draw()));
            let is_job = UnitName::new(&name)
                .is_ok_and(|n| self.units.contains_key(&UnitKey::new(id::Kind::Job, n)));
            if !self.names.contains_key(name.as_str()) && !is_job {
                return name;
            }
        }
    }
}

/// A note with an instance's end of waiting, used by several modules.
fn text(value: impl Into<String>) -> Field {
    Field::Text(value.into())
}

impl Severity {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Normal => "Normal",
            Severity::Warning => "Warning",
        }
    }
}
