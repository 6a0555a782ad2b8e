//! `[resources]` of a unit as files of a cgroup.
//!
//! Responsible for which file each limit is and what is written into it (cgroups(7), the kernel's
//! `admin-guide/cgroup-v2.rst`), and for reading what the kernel did about it. Must not know when
//! a start is made.

use super::{Cgroups, Group, why, write};
use crate::core::spec::Resources;
use std::fs;
use std::io;

/// The period of `cpu.max`, in microseconds: the kernel's default, and Kubernetes'.
const PERIOD: u64 = 100_000;

/// The least quota that the kernel takes, in microseconds. Less CPU than that is rounded up, as
/// kubelet does (`cm/helpers_linux.go`, `MinQuotaPeriod`).
const QUOTA_MIN: u64 = 1_000;

/// A cgroup controller that some limit needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::runner) enum Controller {
    Memory,
    Cpu,
    Pids,
    Io,
}

impl Controller {
    /// The kernel's name.
    pub(in crate::runner) const fn name(self) -> &'static str {
        match self {
            Controller::Memory => "memory",
            Controller::Cpu => "cpu",
            Controller::Pids => "pids",
            Controller::Io => "io",
        }
    }
}

/// A limit that is not enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::runner) struct Missing {
    /// What it needs.
    pub(in crate::runner) controller: Controller,
    /// The keys of the unit that are without effect.
    pub(in crate::runner) keys: Vec<&'static str>,
    /// Why, for people.
    pub(in crate::runner) reason: String,
}

/// One file to write.
struct Setting {
    controller: Controller,
    key: &'static str,
    file: &'static str,
    text: String,
}

fn settings(resources: &Resources) -> Vec<Setting> {
    use Controller::{Cpu, Io, Memory, Pids};
    let quota = |milli: u64| {
        let quota = milli.saturating_mul(PERIOD / 1_000).max(QUOTA_MIN);
        format!("{quota} {PERIOD}")
    };
    let rows = [
        (Memory, "memory", "memory.max", resources.memory.map(|n| n.to_string())),
        // One process of an instance that is killed for its memory leaves half an instance. All
        // go, as in Kubernetes (kubelet, `singleProcessOOMKill` off).
        (Memory, "memory", "memory.oom.group", resources.memory.map(|_| "1".to_owned())),
        (Memory, "memory_high", "memory.high", resources.memory_high.map(|n| n.to_string())),
        (Memory, "memory_swap", "memory.swap.max", resources.memory_swap.map(|n| n.to_string())),
        (Cpu, "cpu", "cpu.max", resources.cpu_milli.map(quota)),
        (Cpu, "cpu_weight", "cpu.weight", resources.cpu_weight.map(|n| n.to_string())),
        (Pids, "pids", "pids.max", resources.pids.map(|n| n.to_string())),
        (Io, "io_weight", "io.weight", resources.io_weight.map(|n| format!("default {n}"))),
    ];
    let some = |(controller, key, file, text): (Controller, _, _, Option<String>)| {
        Some(Setting { controller, key, file, text: text? })
    };
    rows.into_iter().filter_map(some).collect()
}

/// The limits of a unit where none can be enforced.
pub(in crate::runner) fn none_enforced(resources: &Resources, reason: &str) -> Vec<Missing> {
    let mut missing = Vec::new();
    for setting in settings(resources) {
        note(&mut missing, &setting, reason);
    }
    missing
}

fn note(missing: &mut Vec<Missing>, setting: &Setting, reason: &str) {
    let (controller, key) = (setting.controller, setting.key);
    match missing.iter_mut().find(|m| m.controller == controller && m.reason == reason) {
        Some(found) if found.keys.contains(&key) => {}
        Some(found) => found.keys.push(key),
        None => missing.push(Missing { controller, keys: vec![key], reason: reason.to_owned() }),
    }
}

impl Cgroups {
    /// Writes a unit's limits into a start's cgroup. Gives those that cannot be had here.
    ///
    /// # Errors
    /// The kernel refuses a value: which, and why. The program must not be started then.
    pub(in crate::runner) fn limit(
        &mut self,
        group: &Group,
        resources: &Resources,
    ) -> Result<Vec<Missing>, String> {
        let mut missing = Vec::new();
        for setting in settings(resources) {
            if let Err(reason) = self.enable(setting.controller) {
                note(&mut missing, &setting, &reason);
                continue;
            }
            match write(&group.dir.join(setting.file), &setting.text) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let reason = format!("this kernel has no {}", setting.file);
                    note(&mut missing, &setting, &reason);
                }
                Err(error) => {
                    return Err(format!("{} {}: {}", setting.file, setting.text, why(&error)));
                }
            }
        }
        Ok(missing)
    }

    /// Switches a controller on for all starts, at the first one that needs it: every controller
    /// makes every start a little slower.
    fn enable(&mut self, controller: Controller) -> Result<(), String> {
        if self.enabled.contains(&controller) {
            return Ok(());
        }
        self.place.enable(controller)?;
        let file = self.dir.join("cgroup.subtree_control");
        write(&file, &format!("+{}", controller.name())).map_err(|error| {
            format!(
                "cannot switch the {} controller on in {}: {}",
                controller.name(),
                self.dir.display(),
                why(&error)
            )
        })?;
        self.enabled.insert(controller);
        Ok(())
    }
}

impl Group {
    /// Whether the kernel's OOM killer killed anything in it. Each start has a cgroup of its own,
    /// so what is counted there is this start's.
    pub(in crate::runner) fn oom_killed(&self) -> bool {
        let events = fs::read_to_string(self.dir.join("memory.events")).unwrap_or_default();
        counts(&events, "oom_kill") || counts(&events, "oom_group_kill")
    }
}

/// Whether a `NAME NUMBER` line's number is above zero.
fn counts(events: &str, name: &str) -> bool {
    events
        .lines()
        .filter_map(|line| line.split_once(' '))
        .any(|(key, count)| key == name && count.trim().parse().is_ok_and(|n: u64| n > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_a_file() {
        let all = Resources {
            memory: Some(1 << 20),
            memory_high: Some(4096),
            memory_swap: Some(0),
            cpu_milli: Some(1_500),
            cpu_weight: Some(7),
            pids: Some(200),
            io_weight: Some(100),
        };
        let written: Vec<String> =
            settings(&all).iter().map(|s| format!("{} {}", s.file, s.text)).collect();
        assert_eq!(
            written,
            [
                "memory.max 1048576",
                "memory.oom.group 1",
                "memory.high 4096",
                "memory.swap.max 0",
                "cpu.max 150000 100000",
                "cpu.weight 7",
                "pids.max 200",
                "io.weight default 100",
            ]
        );
        let little = Resources { cpu_milli: Some(1), ..Resources::default() };
        assert!(settings(&little).iter().all(|s| s.text == "1000 100000"));
        assert!(settings(&Resources::default()).is_empty());
    }

    #[test]
    fn what_is_missing_is_named_once_for_each_controller() {
        let wanted = Resources {
            memory: Some(1),
            memory_high: Some(1),
            pids: Some(1),
            ..Resources::default()
        };
        let missing = none_enforced(&wanted, "no");
        let shown: Vec<_> = missing.iter().map(|m| (m.controller.name(), m.keys.clone())).collect();
        assert_eq!(shown, [("memory", vec!["memory", "memory_high"]), ("pids", vec!["pids"])]);
    }

    #[test]
    fn a_kill_for_memory_is_read_from_the_events() {
        let quiet = "low 0\nhigh 3\nmax 12\noom 1\noom_kill 0\noom_group_kill 0\n";
        assert!(!counts(quiet, "oom_kill"));
        let killed = "oom 1\noom_kill 3\noom_group_kill 1\n";
        assert!(counts(killed, "oom_kill") && counts(killed, "oom_group_kill"));
        assert!(!counts("", "oom_kill"));
    }
}
