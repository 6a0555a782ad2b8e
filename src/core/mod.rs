//! The pure core: decides everything, does nothing.
//!
//! `handle(now, event)` takes what happened, `settle(now)` lets the controllers decide,
//! `poll_action()` hands out what is to be done, `next_deadline()` says when to call again with
//! [`event::Event::Tick`]. The simulator, `apply --dry-run` and the daemon drive this same core.
//!
//! No I/O, no clock, no randomness, no threads, no logging: time and entropy are inputs.

pub mod action;
pub mod event;
pub mod id;
pub mod instance;
pub mod record;
pub mod report;
pub mod request;
pub mod schedule;
pub mod signal;
pub mod spec;
pub mod time;
pub mod view;
pub mod workload;

use action::Action;
use event::{Event, Found, UnitsRead};
use id::{UnitKey, UnitName};
use request::Answer;
use schedule::Zones;
use spec::UnitSpec;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use time::{Mono, Now};
use view::{Change, InstanceView, InvalidView, UnitView};
use workload::HistoryEntry;

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
}

/// The whole state of a daemon that is not in its files and sockets.
#[derive(Clone)]
pub struct Core {
    config: Config,
    actions: VecDeque<Action>,
}

impl Core {
    /// An empty core.
    pub fn new(config: Config) -> Core {
        Core { config, actions: VecDeque::new() }
    }

    /// Takes up what an earlier daemon left. To be called once, before any event.
    pub fn restore(&mut self, _now: Now, _found: Found) {
        let _ = &self.config;
    }

    /// Takes one event. A request is answered; the answer is `None` for all other events.
    pub fn handle(&mut self, _now: Now, _event: Event) -> Option<Answer> {
        None
    }

    /// Lets the controllers of all units that something happened to decide, until nothing more is
    /// to be decided. To be called once after a batch of events, before the actions are taken.
    pub fn settle(&mut self, _now: Now) {}

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to send [`Event::Tick`].
    pub fn next_deadline(&self) -> Option<Mono> {
        None
    }

    /// Rises whenever something that a view shows may have changed.
    pub fn version(&self) -> u64 {
        0
    }

    /// What applying these files would change. Changes nothing.
    pub fn plan(&self, _read: &UnitsRead) -> Vec<Change> {
        Vec::new()
    }

    /// All units, by kind and name.
    pub fn units(&self) -> Vec<UnitView> {
        Vec::new()
    }

    /// One unit.
    pub fn unit(&self, _key: &UnitKey) -> Option<UnitView> {
        None
    }

    /// Files that are invalid and have no last good version.
    pub fn invalid_files(&self) -> Vec<InvalidView> {
        Vec::new()
    }

    /// The spec in force: the file's with all live changes.
    pub fn spec(&self, _key: &UnitKey) -> Option<UnitSpec> {
        None
    }

    /// Past and present templates, oldest first.
    pub fn history(&self, _key: &UnitKey) -> Vec<HistoryEntry> {
        Vec::new()
    }

    /// All instances, by unit and name.
    pub fn instances(&self) -> Vec<InstanceView> {
        Vec::new()
    }

    /// The instances of one unit; of a cronjob, those of its jobs.
    pub fn instances_of(&self, _key: &UnitKey) -> Vec<InstanceView> {
        Vec::new()
    }

    /// The instance of this name.
    pub fn instance(&self, _name: &str) -> Option<InstanceView> {
        None
    }
}
