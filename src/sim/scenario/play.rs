//! The stage: a daemon with the real core, a made-up machine, and a clock that jumps from one
//! thing that happens to the next.
//!
//! Responsible for the order of things within an instant, and for doing with actions what the
//! daemon does. Messages take no time, so a timeline shows the controllers' own delays only.

use super::nodes;
use super::process::{Behaviours, ends_a_program};
use super::script::{Deed, Script};
use crate::core::action::{Action, Spawn, Step};
use crate::core::event::{Event, Exit, Found, UnitsRead};
use crate::core::guard::StormGuard;
use crate::core::id::{InstanceId, UnitName};
use crate::core::report::Report;
use crate::core::request::Request;
use crate::core::schedule::Zones;
use crate::core::spec::UnitSpec;
use crate::core::time::{Millis, Mono, Now, Wall};
use crate::core::view::{InstanceView, UnitView};
use crate::core::{Config, Core};
use crate::sim::machine::{Command, Consequences, Fate, KILL, Machine};
use crate::sim::random::Random;
use crate::sim::store::Store;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

/// What the machine's own clock shows at the beginning: it has run for a while.
const UPTIME: u64 = 3_000;
/// A simulation ends after so many events at the latest: some minutes of computing, and far more
/// lines than anybody reads. What needs more is mostly a unit that ends and starts for ever.
pub const EVENTS_MAX: u64 = 20_000_000;

/// What is said to a change that nobody is there for.
const ABSENT: &str = "no daemon runs";

/// What a simulation is made of.
pub struct Setting<'a> {
    /// The units at the beginning.
    pub units: Vec<UnitSpec>,
    /// The units of each directory that the script names, by the name it gives.
    pub later: BTreeMap<String, Vec<UnitSpec>>,
    /// The script.
    pub script: Script,
    /// When it begins.
    pub from: Wall,
    /// How long it lasts; what happens at its last instant is part of it.
    pub length: Millis,
    /// It ends after so many events of the core at the latest: [`EVENTS_MAX`].
    pub events_max: u64,
    /// Where made-up names come from.
    pub seed: u64,
    /// The time zones.
    pub zones: Arc<dyn Zones + Send + Sync>,
    /// What the words of a command ask for.
    pub resolve: &'a Resolve,
}

/// From the words of a verb of `wsup ctl` to what is asked of the core; or why they ask nothing.
pub type Resolve = dyn Fn(&Core, &[String]) -> Result<Vec<Request>, String>;

/// One line of the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Wall,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The daemon tells of an event.
    Event(Box<Report>),
    /// Somebody enters a command.
    Command(Vec<String>),
    /// The daemon answers that it is done.
    Answer(String),
    /// The daemon refuses.
    Refusal(String),
    /// The unit files are others now: those of this directory.
    Units(String),
    /// The daemon is killed, and will be back after so long.
    Killed(Millis),
    /// The daemon is told to stop.
    Stopping,
    /// The daemon has stopped, and will be back after so long.
    Stopped(Millis),
}

/// How things stand at the end.
#[derive(Clone, Debug)]
pub struct End {
    /// When.
    pub at: Wall,
    /// The units; none while no daemon runs.
    pub units: Vec<UnitView>,
    /// The instances; none while no daemon runs.
    pub instances: Vec<InstanceView>,
    /// Whether a daemon runs.
    pub daemon: bool,
    /// It was ended early because there was too much to tell.
    pub cut: bool,
}

enum Happening {
    Fate(Fate),
    Change(usize),
    DaemonStarts,
}

enum Input {
    /// With the runner's number, if it is the runner's.
    Event(Event, Option<u64>),
    Command(Vec<String>),
}

/// A simulation on its way: an iterator over its timeline.
pub struct Play<'a> {
    setting: Setting<'a>,
    behaviours: Behaviours,
    at: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    machine: Machine,
    store: Store,
    /// Which directory's units there are.
    files: Option<String>,
    core: Option<Core>,
    life: u64,
    /// How long a daemon that is stopping will be away.
    away: Millis,
    inbox: Vec<Input>,
    random: Random,
    events: u64,
    told: VecDeque<Entry>,
}

impl fmt::Debug for Play<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Play").field("at", &self.at).field("events", &self.events).finish()
    }
}

impl Iterator for Play<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        while self.told.is_empty() {
            if !self.advance() {
                return None;
            }
        }
        self.told.pop_front()
    }
}

impl<'a> Play<'a> {
    /// A simulation before its first instant.
    pub fn new(mut setting: Setting<'a>) -> Play<'a> {
        let behaviours = Behaviours::new(setting.script.behaviours.clone());
        let all = setting.units.iter_mut().chain(setting.later.values_mut().flatten());
        all.for_each(|unit| behaviours.gate(unit));
        let mut play = Play {
            behaviours,
            at: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            machine: Machine::default(),
            store: Store::default(),
            files: None,
            core: None,
            life: 0,
            away: Millis::ZERO,
            inbox: Vec::new(),
            random: Random::new(setting.seed),
            events: 0,
            told: VecDeque::new(),
            setting,
        };
        play.later(0, Happening::DaemonStarts);
        let times: Vec<u64> = play.setting.script.changes.iter().map(|c| c.at.0).collect();
        for (number, at) in times.into_iter().enumerate() {
            play.later(at, Happening::Change(number));
        }
        play
    }

    /// How things stand. To be asked when the timeline has ended.
    pub fn end(&self) -> End {
        let core = self.core.as_ref();
        let cut = self.events >= self.setting.events_max;
        let at = if cut { self.at } else { self.setting.length.0 };
        End {
            at: self.setting.from.plus(Millis(at)),
            units: core.map(Core::units).unwrap_or_default(),
            instances: core.map(Core::instances).unwrap_or_default(),
            daemon: core.is_some(),
            cut,
        }
    }

    fn now(&self) -> Now {
        Now { mono: Mono(self.at + UPTIME), wall: self.setting.from.plus(Millis(self.at)) }
    }

    fn later(&mut self, delay: u64, what: Happening) {
        self.sequence += 1;
        self.queue.insert((self.at.saturating_add(delay), self.sequence), what);
    }

    fn tell(&mut self, what: What) {
        self.told.push_back(Entry { at: self.now().wall, what });
    }

    /// Lets the next thing happen. False: it is over.
    fn advance(&mut self) -> bool {
        if self.events >= self.setting.events_max {
            return false;
        }
        let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
        if queued.is_some_and(|at| at <= self.at) {
            if let Some((_, happening)) = self.queue.pop_first() {
                self.happen(happening);
            }
            return true;
        }
        let deadline = self.core.as_ref().and_then(Core::next_deadline);
        let deadline = deadline.map(|mono| mono.0.saturating_sub(UPTIME));
        if !self.inbox.is_empty() || deadline.is_some_and(|at| at <= self.at) {
            self.turn();
            return true;
        }
        let next = match (queued, deadline) {
            (Some(a), Some(b)) => a.min(b),
            (Some(at), None) | (None, Some(at)) => at,
            (None, None) => return false,
        };
        if next > self.setting.length.0 {
            return false;
        }
        self.at = next;
        true
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Fate(fate) => {
                let consequences = self.machine.befall(self.at, fate, |at| Mono(at + UPTIME));
                self.follow(consequences);
            }
            Happening::Change(number) => {
                if let Some(change) = self.setting.script.changes.get(number) {
                    let what = change.what.clone();
                    self.change(what);
                }
            }
            Happening::DaemonStarts => self.start_daemon(),
        }
    }

    fn change(&mut self, what: Deed) {
        match what {
            Deed::Command(words) => self.inbox.push(Input::Command(words)),
            Deed::Units(dir) => {
                self.files = Some(dir.clone());
                self.tell(What::Units(dir));
                let read = self.read_files();
                self.inbox.push(Input::Event(read, None));
            }
            Deed::Daemon { kill: true, down_for } => {
                if self.core.take().is_none() {
                    return self.tell(What::Refusal(ABSENT.to_owned()));
                }
                // What it was about to hear is not lost: the runner keeps it.
                self.inbox.clear();
                self.tell(What::Killed(down_for));
                self.later(down_for.0, Happening::DaemonStarts);
            }
            Deed::Daemon { kill: false, down_for } => {
                if self.core.is_none() {
                    return self.tell(What::Refusal(ABSENT.to_owned()));
                }
                self.away = down_for;
                self.tell(What::Stopping);
                self.inbox.push(Input::Event(Event::Shutdown, None));
            }
        }
    }

    fn read_files(&self) -> Event {
        let valid = match &self.files {
            None => self.setting.units.clone(),
            Some(dir) => self.setting.later.get(dir).cloned().unwrap_or_default(),
        };
        Event::Units(UnitsRead { valid, invalid: BTreeMap::new(), explicit: false })
    }

    /// A new daemon: reads its store, asks the runner what lives, reads the unit files.
    fn start_daemon(&mut self) {
        if self.core.is_some() {
            return;
        }
        let now = self.now();
        let mut core = Core::new(self.config());
        self.life += 1;
        let found = Found {
            records: self.store.records(),
            living: self.machine.held(),
            refused: self.machine.refused(),
            wall: now.wall,
        };
        core.restore(now, found);
        self.core = Some(core);
        self.inbox.clear();
        let backlog = self.machine.unacked.iter().cloned();
        self.inbox.extend(backlog.map(|(number, event)| Input::Event(event, Some(number))));
        let read = self.read_files();
        self.inbox.push(Input::Event(read, None));
    }

    fn config(&self) -> Config {
        let all = self.setting.units.iter().chain(self.setting.later.values().flatten());
        // A node that every unit may run on; where two ask for different values, the first wins.
        let mut node_labels = BTreeMap::new();
        for (key, value) in all.flat_map(|unit| &unit.node_selector) {
            node_labels.entry(key.clone()).or_insert_with(|| value.clone());
        }
        Config {
            seed: self.setting.seed.wrapping_add(self.life),
            node: UnitName::new(nodes::MACHINE).unwrap_or_else(|_| unreachable!("a label")),
            node_labels,
            zones: Arc::clone(&self.setting.zones),
            storm_guard: StormGuard::default(),
        }
    }

    /// One turn of the daemon's loop.
    fn turn(&mut self) {
        let inputs = std::mem::take(&mut self.inbox);
        let now = self.now();
        let Some(mut core) = self.core.take() else {
            for input in inputs {
                if let Input::Command(words) = input {
                    self.tell(What::Command(words));
                    self.tell(What::Refusal(ABSENT.to_owned()));
                }
            }
            return;
        };
        if core.next_deadline().is_some_and(|at| at <= now.mono) {
            self.events += 1;
            core.handle(now, Event::Tick);
        }
        let mut heard = Vec::new();
        for input in inputs {
            self.events += 1;
            match input {
                Input::Event(event, number) => {
                    core.handle(now, event);
                    heard.extend(number);
                }
                Input::Command(words) => self.command(&mut core, now, words),
            }
        }
        core.settle(now);
        let mut effects = Vec::new();
        while let Some(action) = core.poll_action() {
            match action {
                Action::Put(record) => self.store.put(record),
                Action::Drop { key, durable } => self.store.remove(&key, durable),
                Action::Report(report) => self.tell(What::Event(report)),
                other => effects.push(other),
            }
        }
        self.core = Some(core);
        heard.into_iter().for_each(|number| self.machine.acknowledge(number));
        effects.into_iter().for_each(|effect| self.execute(effect));
    }

    fn command(&mut self, core: &mut Core, now: Now, words: Vec<String>) {
        let requests = (self.setting.resolve)(core, &words);
        self.tell(What::Command(words));
        match requests {
            Ok(requests) => {
                for request in requests {
                    match core.handle(now, Event::Request(request)) {
                        Some(Ok(done)) => {
                            done.messages.into_iter().for_each(|m| self.tell(What::Answer(m)));
                        }
                        Some(Err(refusal)) => self.tell(What::Refusal(refusal.to_string())),
                        None => {}
                    }
                }
            }
            Err(why) => self.tell(What::Refusal(why)),
        }
    }

    fn execute(&mut self, action: Action) {
        match action {
            Action::Spawn(spawn) => self.spawn(spawn),
            Action::CannotStart { id, message } => {
                self.inbox.push(Input::Event(Event::SpawnFailed { id, message }, None));
            }
            Action::Terminate { id, signal } => self.obey(Command::Terminate(id, signal)),
            Action::KillTree { id } => self.obey(Command::Kill(id)),
            Action::Signal { id, signal } => self.signal(id, signal),
            Action::Hook(spawn) => {
                if let Step::Hook(hook) = spawn.step {
                    let event = Event::HookDone { id: spawn.id, hook, failure: None };
                    self.inbox.push(Input::Event(event, None));
                }
            }
            Action::Probe(spawn) => self.probe(&spawn),
            Action::RemoveData { unit, dir } => {
                let instance = dir.instance;
                self.inbox.push(Input::Event(Event::DataRemoved { unit, instance }, None));
            }
            Action::WatchNodes { unit, nodes: Some(wish) } => {
                let nodes = nodes::nodes(&wish);
                self.inbox.push(Input::Event(Event::NodesChanged { unit, nodes }, None));
            }
            Action::ShutdownComplete => {
                self.core = None;
                self.inbox.clear();
                self.machine.reboot();
                self.tell(What::Stopped(self.away));
                self.later(self.away.0, Happening::DaemonStarts);
            }
            Action::WatchNodes { nodes: None, .. }
            | Action::Sockets { .. }
            | Action::Put(_)
            | Action::Drop { .. }
            | Action::Report(_)
            | Action::InstanceGone { .. }
            | Action::UnitGone { .. } => {}
        }
    }

    fn spawn(&mut self, spawn: Box<Spawn>) {
        let core = self.core.as_ref();
        let owner = core.and_then(|core| core.unit(&spawn.unit)).and_then(|unit| unit.owner);
        let temper = self.behaviours.temper(&spawn, owner.as_ref());
        let command = Command::Spawn(spawn);
        let consequences = self.machine.obey(self.at, command, Some(temper), &mut self.random);
        self.follow(consequences);
    }

    /// A probe is answered at once.
    fn probe(&mut self, spawn: &Spawn) {
        let Step::Probe(kind) = spawn.step else { return };
        if let Some(answer) = self.machine.probe(self.at, spawn.id, kind) {
            let event =
                Event::ProbeDone { id: spawn.id, kind, answer, message: "not ready".to_owned() };
            self.inbox.push(Input::Event(event, None));
        }
    }

    fn obey(&mut self, command: Command) {
        let consequences = self.machine.obey(self.at, command, None, &mut self.random);
        self.follow(consequences);
    }

    /// A signal that an operator sends. One that ends a program is answered as the stop signal is.
    fn signal(&mut self, id: InstanceId, signal: i32) {
        let Some(process) = self.machine.processes.get(&id).filter(|p| p.ended.is_none()) else {
            return;
        };
        let after = match process.temper.stops_in {
            _ if signal == KILL => Some(0),
            Some((after, _)) if ends_a_program(signal) => Some(after),
            Some(_) | None => None,
        };
        if let Some(after) = after {
            self.later(after, Happening::Fate(Fate::MainEnds(id, Exit::Signal(signal))));
        }
    }

    fn follow(&mut self, consequences: Consequences) {
        for (delay, fate) in consequences.fates {
            self.later(delay, Happening::Fate(fate));
        }
        if self.core.is_none() {
            return;
        }
        for number in consequences.events {
            if let Some(event) = self.machine.event(number).cloned() {
                self.inbox.push(Input::Event(event, Some(number)));
            }
        }
    }
}
