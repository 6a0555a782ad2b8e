//! The world around a core: time, what is going to happen, and the daemon that drives the core.
//!
//! Responsible for the order in which things happen and for doing with actions what the daemon
//! does: records are stored before the first effect of a turn, effects go out in order, events
//! are acknowledged last. Must not judge: see `invariant` and `quiet`.

use super::Summary;
use super::guarded::Guarded;
use super::health::Health;
use super::invariant::{Fault, Observer};
use super::machine::{Command, Consequences, Fate, Machine};
use super::profile::Profile;
use super::random::Random;
use super::store::Store;
use super::trace::{ShowAction, ShowEvent, Trace};
use super::workload::NODE_LABEL;
use crate::core::action::{Action, DataDir};
use crate::core::event::{Event, Found, UnitsRead};
use crate::core::id::{InstanceId, UnitKey, UnitName};
use crate::core::schedule::Zones;
use crate::core::spec::{Nodes, UnitSpec};
use crate::core::time::{Mono, Now, Wall};
use crate::core::{Config, Core, invariant};
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::sync::Arc;

/// When a world begins: 2026-03-28T20:00:00Z, some hours before the clocks of Berlin change.
const BEGINNING: i64 = 1_774_728_000_000;
/// The daemon takes at most so many events in one turn.
const TURN_MAX: usize = 16;

/// The zones of a made-up machine: rules without a database.
#[derive(Debug)]
struct FixedZones;

impl Zones for FixedZones {
    fn zone(&self, name: Option<&str>) -> Option<TimeZone> {
        match name {
            None | Some("UTC") => Some(TimeZone::UTC),
            Some("Europe/Berlin") => TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").ok(),
            Some(_) => None,
        }
    }
}

/// What is going to happen.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    /// A command reaches the runner. With the daemon's life that sent it.
    Command(u32, Command),
    /// Something happens to a process.
    Fate(Fate),
    /// A program says that it is ready.
    Speaks(InstanceId),
    /// The runner's event of this number reaches the daemon of this life.
    Notice(u32, u64),
    /// An event reaches the daemon of this life.
    Event(u32, Event),
    /// The daemon of this life has removed a data directory.
    DataGone(u32, UnitKey, DataDir),
    /// The daemon of this life is to be told of nodes.
    Nodes(u32, UnitKey),
    /// The daemon of this life sees the unit files.
    Files(u32, bool),
    /// The daemon of this life takes a turn.
    Wake(u32),
    /// A new daemon starts.
    DaemonStarts,
    /// Somebody wishes something.
    Wish,
    /// Something goes wrong.
    Fault,
}

/// A daemon.
#[derive(Clone)]
pub(super) struct Daemon {
    pub(super) core: Core,
    /// Events that wait for the next turn, with the runner's number of those it sent.
    inbox: Vec<(Event, Option<u64>)>,
    awake: bool,
}

/// The world's clocks, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// Since the world began.
    pub(super) at: u64,
    booted: u64,
    wall_offset: i64,
}

impl Clock {
    pub(super) fn now(&self) -> Now {
        let wall = BEGINNING.saturating_add(i64::try_from(self.at).unwrap_or(i64::MAX));
        Now { mono: self.mono(self.at), wall: Wall(wall.saturating_add(self.wall_offset)) }
    }

    fn mono(&self, at: u64) -> Mono {
        // A machine that has just started shows a few seconds already.
        Mono(at.saturating_sub(self.booted).saturating_add(3_000))
    }

    fn at_of(&self, mono: Mono) -> u64 {
        mono.0.saturating_add(self.booted).saturating_sub(3_000)
    }

    pub(super) fn step_wall(&mut self, by: i64) {
        self.wall_offset = self.wall_offset.saturating_add(by);
    }

    pub(super) fn reboot(&mut self) {
        self.booted = self.at;
    }
}

/// A whole made-up machine with a daemon on it.
pub struct World {
    pub(super) random: Random,
    pub(super) profile: Profile,
    pub(super) stormy: Profile,
    pub(super) calm: bool,
    pub(super) clock: Clock,
    pub(super) queue: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    pub(super) daemon: Option<Daemon>,
    pub(super) life: u32,
    pub(super) store: Store,
    pub(super) machine: Machine,
    /// The unit files.
    pub(super) files: BTreeMap<UnitKey, UnitSpec>,
    /// Files that are invalid for now.
    pub(super) invalid: BTreeMap<UnitKey, String>,
    /// Nodes that are there, for each daemonset that asked.
    pub(super) nodes: BTreeMap<UnitKey, BTreeMap<String, Option<String>>>,
    watched: BTreeMap<UnitKey, Nodes>,
    /// Messages about one instance arrive in order.
    last_message: BTreeMap<u64, u64>,
    pub(super) health: Health,
    pub(super) guarded: Guarded,
    pub(super) observer: Observer,
    pub(super) trace: Trace,
    steps: u64,
    pub(super) turns: u64,
    started: u64,
    ticks_in_a_row: u32,
}

impl World {
    /// The world of this seed.
    pub fn new(seed: u64, transcript: bool) -> World {
        let mut random = Random::new(seed);
        let stormy = Profile::draw(&mut random);
        let mut world = World {
            profile: stormy,
            stormy,
            random,
            calm: false,
            clock: Clock { at: 0, booted: 0, wall_offset: 0 },
            queue: BTreeMap::new(),
            sequence: 0,
            daemon: None,
            life: 0,
            store: Store::default(),
            machine: Machine::default(),
            files: BTreeMap::new(),
            invalid: BTreeMap::new(),
            nodes: BTreeMap::new(),
            watched: BTreeMap::new(),
            last_message: BTreeMap::new(),
            health: Health::new(seed),
            guarded: Guarded::new(seed),
            observer: Observer::default(),
            trace: Trace::new(transcript),
            steps: 0,
            turns: 0,
            started: 0,
            ticks_in_a_row: 0,
        };
        world.first_files();
        world.later(0, Happening::DaemonStarts);
        world
    }

    /// How many events the core was given so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// A rule was broken.
    pub fn is_broken(&self) -> bool {
        self.observer.broken.is_some()
    }

    /// How it went.
    pub fn summary(self) -> Summary {
        Summary {
            steps: self.steps,
            started: self.started,
            elapsed: self.clock.at,
            hash: self.trace.hash(),
            transcript: self.trace.text(),
            broken: self.observer.broken,
        }
    }

    /// How long the next storm is, in steps.
    pub fn storm_length(&mut self) -> u64 {
        self.random.between(100, 1_500)
    }

    /// Lets everything happen that can happen, for so many steps.
    pub fn storm(&mut self, steps: u64) {
        self.calm = false;
        self.profile = self.stormy;
        let until = self.steps + steps;
        self.answer_what_is_open();
        self.later(0, Happening::Wish);
        let gap = self.random.between(0, self.profile.fault_gap);
        self.later(gap, Happening::Fault);
        while self.steps < until && !self.is_broken() && self.advance() {}
    }

    pub(super) fn later(&mut self, delay: u64, what: Happening) {
        self.sequence += 1;
        self.queue.insert((self.clock.at.saturating_add(delay), self.sequence), what);
    }

    pub(super) fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.line(self.clock.at, what);
    }

    /// When the next thing happens, in the world's time.
    pub(super) fn next_at(&self) -> Option<u64> {
        let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
        let deadline = self
            .daemon
            .as_ref()
            .and_then(|daemon| daemon.core.next_deadline())
            .map(|mono| self.clock.at_of(mono));
        match (queued, deadline) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Lets the next thing happen. False: nothing will ever happen again.
    pub(super) fn advance(&mut self) -> bool {
        let Some(next) = self.next_at() else { return false };
        self.clock.at = self.clock.at.max(next);
        let due = self.queue.first_key_value().is_some_and(|((at, _), _)| *at <= self.clock.at);
        match if due { self.queue.pop_first() } else { None } {
            Some((_, happening)) => self.happen(happening),
            // The deadline of the core came first.
            None => self.turn(),
        }
        true
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Command(life, command) => {
                if life == self.life && self.daemon.is_some() {
                    self.obey(command);
                }
            }
            Happening::Fate(fate) => {
                if !(self.calm && self.is_whim(fate)) {
                    let clock = self.clock;
                    let consequences =
                        self.machine.befall(self.clock.at, fate, |at| clock.mono(at));
                    self.note(format_args!("  {fate:?}"));
                    self.follow(consequences);
                }
            }
            Happening::Speaks(id) => self.speak(id),
            Happening::Notice(life, number) => {
                if let Some(event) = self.machine.event(number).cloned() {
                    if self.random.permille(self.profile.repeats) {
                        let again = self.random.span(self.profile.message);
                        self.later(again, Happening::Event(life, event.clone()));
                    }
                    self.deliver(life, event, Some(number));
                }
            }
            Happening::Event(life, event) => self.deliver(life, event, None),
            Happening::DataGone(life, unit, dir) => {
                if life == self.life {
                    let fault = Fault::DataGone(dir.clone());
                    self.observer.fault(&self.machine, &fault);
                    let instance = dir.instance;
                    self.deliver(life, Event::DataRemoved { unit, instance }, None);
                }
            }
            Happening::Nodes(life, unit) => {
                if let Some(nodes) = self.nodes.get(&unit).cloned()
                    && self.watched.contains_key(&unit)
                {
                    self.deliver(life, Event::NodesChanged { unit, nodes }, None);
                }
            }
            Happening::Files(life, explicit) => {
                let read = self.read_files(explicit);
                self.deliver(life, Event::Units(read), None);
            }
            Happening::Wake(life) => {
                if life == self.life {
                    self.turn();
                }
            }
            Happening::DaemonStarts => self.start_daemon(),
            Happening::Wish => self.wish(),
            Happening::Fault => self.fault(),
        }
    }

    /// In the calm a server does not end by itself.
    fn is_whim(&self, fate: Fate) -> bool {
        match fate {
            Fate::MainEnds(id, _) => {
                self.machine.processes.get(&id).is_some_and(|p| {
                    !p.asked && p.main && p.unit.kind != crate::core::id::Kind::Job
                })
            }
            Fate::RestEnds(_) | Fate::Tells(..) => false,
        }
    }

    pub(super) fn read_files(&self, explicit: bool) -> UnitsRead {
        UnitsRead {
            valid: self.files.values().cloned().collect(),
            invalid: self.invalid.clone(),
            explicit,
        }
    }

    /// Puts an event into the daemon's inbox and sees to it that it wakes up.
    pub(super) fn deliver(&mut self, life: u32, event: Event, number: Option<u64>) {
        if life != self.life {
            return;
        }
        let late = self.random.span(self.profile.wake);
        let Some(daemon) = &mut self.daemon else { return };
        daemon.inbox.push((event, number));
        if !std::mem::replace(&mut daemon.awake, true) {
            self.later(late, Happening::Wake(life));
        }
    }

    fn obey(&mut self, command: Command) {
        let temper = match &command {
            Command::Spawn(spawn) => self.profile.temper(&mut self.random, spawn, self.calm),
            Command::Terminate(..) | Command::Kill(_) | Command::Signal(..) => None,
        };
        self.observer.before_command(&self.machine, &command);
        let consequences = self.machine.obey(self.clock.at, command, temper, &mut self.random);
        if let Some(id) = consequences.started {
            self.started += 1;
            self.note(format_args!("  runner started {id}"));
            self.observer.started(&self.machine, id);
            self.draw_manner(id);
        }
        self.follow(consequences);
    }

    fn follow(&mut self, consequences: Consequences) {
        for (delay, fate) in consequences.fates {
            self.later(delay, Happening::Fate(fate));
        }
        for number in consequences.events {
            self.send_notice(number);
        }
    }

    /// Sends an event of the runner to the daemon; those about one instance stay in order.
    fn send_notice(&mut self, number: u64) {
        let Some(event) = self.machine.event(number) else { return };
        let (slot, is_exit) = match event {
            Event::Spawned { id, .. } | Event::SpawnFailed { id, .. } => (id.slot, false),
            Event::Exited { id, .. } => (id.slot, true),
            Event::ProbeTold { id, .. } => (id.slot, false),
            _ => return,
        };
        let late = if is_exit { self.profile.late } else { 0 };
        let delay = self.random.span(self.profile.message) + self.random.span(late);
        let at = self.in_order(slot.wrapping_mul(2), delay);
        self.later(at, Happening::Notice(self.life, number));
    }

    /// The delay, made long enough that nothing about the same thing is overtaken.
    fn in_order(&mut self, about: u64, delay: u64) -> u64 {
        let last = self.last_message.entry(about).or_default();
        *last = (*last).max(self.clock.at + delay);
        *last - self.clock.at
    }

    /// A new daemon: reads its store, asks the runner what lives, reads the unit files.
    pub(super) fn start_daemon(&mut self) {
        if self.daemon.is_some() {
            return;
        }
        self.life += 1;
        let life = self.life;
        self.note(format_args!("DAEMON {life} starts"));
        self.last_message.clear();
        self.watched.clear();
        let now = self.clock.now();
        let seed = self.random.draw();
        let mut core = Core::new(self.config(seed));
        let found = Found {
            records: self.store.records(),
            living: self.machine.held(),
            refused: self.machine.refused(),
            wall: now.wall,
        };
        core.restore(now, found);
        self.daemon = Some(Daemon { core, inbox: Vec::new(), awake: false });
        self.observer.fault(&self.machine, &Fault::DaemonStarted);
        let read = self.read_files(false);
        self.deliver(self.life, Event::Units(read), None);
        let numbers: Vec<u64> = self.machine.unacked.iter().map(|(number, _)| *number).collect();
        for number in numbers {
            self.send_notice(number);
        }
        self.pass_all_on();
        self.turn();
    }

    /// The daemon is gone, and with it what it was about to do.
    pub(super) fn kill_daemon(&mut self) {
        if self.daemon.take().is_some() {
            let life = self.life;
            self.note(format_args!("DAEMON {life} dies"));
            self.observer.fault(&self.machine, &Fault::DaemonDied);
            let down = self.random.span(200_000);
            self.later(down, Happening::DaemonStarts);
        }
    }

    pub(super) fn config(&self, seed: u64) -> Config {
        // The only name that this world's node has; it is a label, so this cannot fail.
        let node = UnitName::new("sim").unwrap_or_else(|_| unreachable!("a label"));
        Config {
            seed,
            node,
            node_labels: BTreeMap::from([NODE_LABEL].map(|(k, v)| (k.to_owned(), v.to_owned()))),
            zones: Arc::new(FixedZones),
            storm_guard: self.guarded.guard,
        }
    }

    /// One turn of the daemon's loop.
    fn turn(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        let now = self.clock.now();
        self.turns += 1;
        daemon.awake = false;
        let taken = daemon.inbox.len().min(TURN_MAX);
        let mut batch: Vec<(Event, Option<u64>)> = daemon.inbox.drain(..taken).collect();
        if !daemon.inbox.is_empty() {
            daemon.awake = true;
            self.later(0, Happening::Wake(self.life));
        }
        self.count_ticks(batch.is_empty());
        if daemon.core.next_deadline().is_some_and(|at| at <= now.mono) {
            let place = usize::try_from(self.random.below(batch.len() as u64 + 1)).unwrap_or(0);
            batch.insert(place, (Event::Tick, None));
        }
        for (event, _) in &batch {
            self.trace.line(self.clock.at, format_args!("> {}", ShowEvent(event)));
            self.steps += 1;
            self.observer.before_event(&daemon.core, event);
            let answer = daemon.core.handle(now, event.clone());
            if let Some(answer) = answer {
                self.trace.line(self.clock.at, format_args!("= {answer:?}"));
            }
        }
        daemon.core.settle(now);
        if let Err(broken) = invariant::check(&daemon.core) {
            self.observer.fail(broken);
        }
        self.finish_turn(daemon, batch);
    }

    fn count_ticks(&mut self, only_tick: bool) {
        self.ticks_in_a_row = if only_tick { self.ticks_in_a_row + 1 } else { 0 };
        // Far more than instances that can be due one after the other.
        if self.ticks_in_a_row > 100_000 {
            self.observer.fail("the core asks for one tick after the other".to_owned());
        }
    }

    fn finish_turn(&mut self, mut daemon: Daemon, batch: Vec<(Event, Option<u64>)>) {
        let mut actions = Vec::new();
        while let Some(action) = daemon.core.poll_action() {
            actions.push(action);
        }
        let dies = self.random.permille(self.profile.daemon_dies);
        if dies && self.random.permille(300) {
            // Before its records were stored: nothing of this turn has ever been.
            self.daemon = Some(daemon);
            self.note(format_args!("DAEMON before commit"));
            self.kill_daemon();
            return;
        }
        let mut effects = Vec::new();
        for action in actions {
            self.trace.line(self.clock.at, format_args!("< {}", ShowAction(&action)));
            match action {
                Action::Put(record) => self.store.put(record),
                Action::Drop { key, durable } => self.store.remove(&key, durable),
                other => effects.push(other),
            }
        }
        self.observer.committed(&daemon.core, &self.machine, self.clock, &batch, &effects);
        self.daemon = Some(daemon);
        let reached = if dies {
            usize::try_from(self.random.below(effects.len() as u64 + 1)).unwrap_or(0)
        } else {
            effects.len()
        };
        for effect in effects.into_iter().take(reached) {
            self.execute(effect);
        }
        if dies {
            self.note(format_args!("DAEMON after {reached} effects"));
            self.kill_daemon();
            return;
        }
        for number in batch.into_iter().filter_map(|(_, number)| number) {
            self.machine.acknowledge(number);
        }
    }

    fn execute(&mut self, action: Action) {
        let command = match action {
            Action::Spawn(spawn) => Command::Spawn(spawn),
            Action::CannotStart { id, message } => {
                let event = Event::SpawnFailed { id, message };
                return self.later(0, Happening::Event(self.life, event));
            }
            Action::Terminate { id, signal } => Command::Terminate(id, signal),
            Action::KillTree { id } => Command::Kill(id),
            Action::Signal { id, signal } => Command::Signal(id, signal),
            Action::Hook(spawn) | Action::Probe(spawn) => return self.beside(&spawn),
            Action::RemoveData { unit, dir } => {
                self.observer.fault(&self.machine, &Fault::DataGoing(dir.clone()));
                let delay = self.random.span(10_000);
                self.later(delay, Happening::DataGone(self.life, unit, dir));
                return;
            }
            Action::WatchNodes { unit, nodes } => return self.watch(unit, nodes),
            Action::ShutdownComplete => return self.shutdown_complete(),
            Action::Put(_)
            | Action::Drop { .. }
            | Action::Report(_)
            | Action::InstanceGone { .. }
            | Action::UnitGone { .. }
            | Action::Sockets { .. } => return,
        };
        let delay = self.random.span(self.profile.message);
        let delay = self.in_order(command.slot().wrapping_mul(2).wrapping_add(1), delay);
        self.later(delay, Happening::Command(self.life, command));
    }

    fn watch(&mut self, unit: UnitKey, nodes: Option<Nodes>) {
        match nodes {
            None => {
                self.watched.remove(&unit);
                self.nodes.remove(&unit);
            }
            Some(wish) => {
                if self.watched.insert(unit.clone(), wish.clone()) != Some(wish.clone())
                    || !self.nodes.contains_key(&unit)
                {
                    let nodes = self.new_nodes(&wish);
                    self.nodes.insert(unit.clone(), nodes);
                }
                let delay = self.random.span(1_000);
                self.later(delay, Happening::Nodes(self.life, unit));
            }
        }
    }

    fn shutdown_complete(&mut self) {
        if let Some(process) = self.machine.alive().next() {
            let message = format!("{} lives after the shutdown", process.instance);
            self.observer.fail(message);
        }
        let life = self.life;
        self.note(format_args!("DAEMON {life} ends"));
        self.daemon = None;
        self.observer.fault(&self.machine, &Fault::DaemonDied);
        // The runner goes too, with what was not acknowledged.
        self.machine.reboot();
        let down = self.random.span(3_600_000);
        self.later(down, Happening::DaemonStarts);
    }
}
