//! What goes wrong, and what people want, at random moments.
//!
//! Responsible for choosing and doing: wishes of operators, edits of files, nodes that come and
//! go, daemons that die, machines that start anew, clocks that are stepped.

use super::invariant::Fault;
use super::random::Random;
use super::workload::{self, Sight};
use super::world::{Happening, World};
use crate::core::event::Event;
use crate::core::id::{Kind, UnitKey};
use crate::core::request::Request;
use crate::core::spec::Nodes;
use std::collections::BTreeMap;

/// A world has at most so many unit files.
const FILES_MAX: usize = 5;

impl World {
    /// The unit files that a world begins with.
    pub(super) fn first_files(&mut self) {
        let count = self.random.between(1, FILES_MAX as u64);
        for number in 0..count {
            self.new_file(number);
        }
    }

    fn new_file(&mut self, number: u64) {
        let kind = match self.random.weighted(&[30, 20, 15, 20, 15]) {
            0 => Kind::Deployment,
            1 => Kind::StatefulSet,
            2 => Kind::DaemonSet,
            3 => Kind::Job,
            _ => Kind::CronJob,
        };
        if let Some(key) = workload::key(kind, number) {
            let mut spec = workload::unit(&mut self.random, key.clone());
            self.health.give(&mut spec);
            self.guarded.give(&mut spec);
            self.note(format_args!("FILE {key} {:?}", spec.workload));
            self.files.insert(key, spec);
        }
    }

    fn random_file(&mut self) -> Option<UnitKey> {
        let at = usize::try_from(self.random.below(self.files.len() as u64)).ok()?;
        self.files.keys().nth(at).cloned()
    }

    /// Somebody wishes something; the next wish follows later.
    pub(super) fn wish(&mut self) {
        if self.calm {
            return;
        }
        let gap = self.random.span(self.profile.wish_gap);
        self.later(gap, Happening::Wish);
        match self.random.weighted(&[60, 25, 15]) {
            0 => self.ask(),
            1 => {
                self.edit_files();
                let explicit = self.random.coin();
                let delay = self.random.span(500);
                self.later(delay, Happening::Files(self.life, explicit));
            }
            _ => self.change_nodes(),
        }
    }

    fn ask(&mut self) {
        let Some(daemon) = &self.daemon else { return };
        let units: Vec<UnitKey> = daemon.core.units().into_iter().map(|unit| unit.key).collect();
        let instances: Vec<String> =
            daemon.core.instances().into_iter().map(|instance| instance.name).collect();
        let sight = Sight { units: &units, instances: &instances };
        if let Some(request) = workload::request(&mut self.random, &sight) {
            self.deliver(self.life, Event::Request(request), None);
        }
    }

    fn edit_files(&mut self) {
        match self.random.weighted(&[70, 12, 12, 6]) {
            0 => {
                let Some(key) = self.random_file() else { return };
                self.invalid.remove(&key);
                if let Some(spec) = self.files.get_mut(&key) {
                    workload::edit(&mut self.random, spec);
                    self.health.edit(spec);
                    self.guarded.edit(spec);
                    self.trace.line(self.clock.at, format_args!("EDIT {key} {:?}", spec.workload));
                }
            }
            1 => {
                if let Some(key) = self.random_file() {
                    self.note(format_args!("FILE {key} removed"));
                    self.files.remove(&key);
                    self.invalid.remove(&key);
                }
            }
            2 if self.files.len() < FILES_MAX => {
                let number = self.random.below(FILES_MAX as u64);
                self.new_file(number);
            }
            2 => {}
            _ => {
                // A file becomes invalid: what it said before runs on.
                if let Some(key) = self.random_file() {
                    self.note(format_args!("FILE {key} invalid"));
                    self.files.remove(&key);
                    self.invalid.insert(key, "unknown key `replica`".to_owned());
                }
            }
        }
    }

    /// The nodes that a daemonset finds at first.
    pub(super) fn new_nodes(&mut self, wish: &Nodes) -> BTreeMap<String, Option<String>> {
        let random = &mut self.random;
        let numbered = |word: &str, count: u64| -> BTreeMap<String, Option<String>> {
            (0..count).map(|n| (format!("{word}{n}"), None)).collect()
        };
        match wish {
            Nodes::Machine => BTreeMap::from([("sim".to_owned(), None)]),
            Nodes::Cpus => numbered("cpu", random.between(1, 4)),
            Nodes::Numa => numbered("numa", random.between(1, 2)),
            Nodes::Glob(_) => (0..random.below(5)).map(card).collect(),
        }
    }

    fn change_nodes(&mut self) {
        let at = usize::try_from(self.random.below(self.nodes.len() as u64)).unwrap_or(0);
        let Some(unit) = self.nodes.keys().nth(at).cloned() else { return };
        let (name, path) = card(self.random.below(5));
        if let Some(nodes) = self.nodes.get_mut(&unit)
            && nodes.remove(&name).is_none()
        {
            nodes.insert(name, path);
        }
        let delay = self.random.span(100);
        self.later(delay, Happening::Nodes(self.life, unit));
    }

    /// Something goes wrong; the next fault follows later.
    pub(super) fn fault(&mut self) {
        if self.calm {
            return;
        }
        let gap = self.random.span(self.profile.fault_gap);
        self.later(gap, Happening::Fault);
        match self.random.weighted(&[40, 12, 25, 8]) {
            0 => self.kill_daemon(),
            1 => self.reboot(),
            2 => self.step_clock(),
            _ => self.deliver(self.life, Event::Shutdown, None),
        }
    }

    fn reboot(&mut self) {
        self.note(format_args!("REBOOT"));
        self.kill_daemon();
        self.store.reboot();
        self.machine.reboot();
        self.clock.reboot();
        self.observer.fault(&self.machine, &Fault::Rebooted);
    }

    fn step_clock(&mut self) {
        let by = step(&mut self.random);
        self.note(format_args!("CLOCK stepped by {by} ms"));
        self.clock.step_wall(by);
        let wall = self.clock.now().wall.0;
        self.observer.fault(&self.machine, &Fault::ClockStepped { by, wall });
        self.deliver(self.life, Event::ClockStepped, None);
    }

    /// Asks that no new jobs be made, so that the world can come to rest.
    pub(super) fn hush_cronjobs(&mut self) {
        let Some(daemon) = &self.daemon else { return };
        let crons: Vec<UnitKey> = daemon
            .core
            .units()
            .into_iter()
            .filter(|unit| unit.key.kind == Kind::CronJob && !unit.suspended)
            .map(|unit| unit.key)
            .collect();
        for key in crons {
            self.deliver(self.life, Event::Request(Request::Suspend(key)), None);
        }
    }
}

fn card(number: u64) -> (String, Option<String>) {
    (format!("card{number}"), Some(format!("/dev/card{number}")))
}

fn step(random: &mut Random) -> i64 {
    let by = match random.below(3) {
        0 => random.below(2_000),
        1 => random.below(7_200_000),
        _ => random.below(40 * 86_400_000),
    };
    let by = i64::try_from(by).unwrap_or(0);
    if random.coin() { by } else { -by }
}
