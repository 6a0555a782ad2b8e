//! What `ctl top` says over the control socket: documented in `docs/json.md`, stable as `types`.

use serde::{Deserialize, Serialize};

/// What instances and units use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Top {
    /// Over what time rates were measured, in milliseconds.
    pub interval_ms: u64,
    /// One for each unit that has a running instance.
    pub units: Vec<UnitUse>,
    /// One for each running instance.
    pub instances: Vec<InstanceUse>,
}

/// Figures of an instance, or their sums over a unit's instances.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Used {
    /// How many CPUs are busy with it.
    pub cpu: f64,
    /// CPU time since its start, in seconds.
    pub cpu_seconds: f64,
    /// Bytes of memory.
    pub memory: u64,
    /// Processes and threads.
    pub tasks: u64,
    /// Bytes read from storage since its start; null: may not be seen.
    pub io_read: Option<u64>,
    /// Bytes written to storage since its start, or null.
    pub io_write: Option<u64>,
    /// Bytes read a second, or null.
    pub io_read_rate: Option<f64>,
    /// Bytes written a second, or null.
    pub io_write_rate: Option<f64>,
}

impl Used {
    /// Adds another's figures.
    pub fn add(&mut self, other: &Used) {
        let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (one, other) => one.or(other),
        };
        let rate = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a + b),
            (one, other) => one.or(other),
        };
        self.cpu += other.cpu;
        self.cpu_seconds += other.cpu_seconds;
        self.memory = self.memory.saturating_add(other.memory);
        self.tasks = self.tasks.saturating_add(other.tasks);
        self.io_read = sum(self.io_read, other.io_read);
        self.io_write = sum(self.io_write, other.io_write);
        self.io_read_rate = rate(self.io_read_rate, other.io_read_rate);
        self.io_write_rate = rate(self.io_write_rate, other.io_write_rate);
    }
}

/// Where an instance's figures are from: `cgroup`, or `processes` (their sum from /proc).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources {
    /// Of the CPU time.
    pub cpu: String,
    /// Of the memory.
    pub memory: String,
    /// Of the tasks.
    pub tasks: String,
    /// Of the bytes read and written, or null.
    pub io: Option<String>,
}

/// What an instance uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceUse {
    /// Its name.
    pub name: String,
    /// Its unit's name.
    pub unit: String,
    /// Its unit's kind.
    pub kind: String,
    /// The cronjob that made its job, as `kind/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its main process.
    pub pid: u32,
    /// The figures.
    #[serde(flatten)]
    pub used: Used,
    /// Where they are from.
    pub sources: Sources,
}

/// What a unit's instances use together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnitUse {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// How many instances were measured.
    pub instances: u32,
    /// The sums.
    #[serde(flatten)]
    pub used: Used,
}
