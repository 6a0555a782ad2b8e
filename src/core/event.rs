//! Everything that can happen to the core.
//!
//! Responsible for the vocabulary of inputs. Each event says what was observed, never what is to
//! be done about it.

use super::action::Hook;
use super::id::{InstanceId, UnitKey};
use super::instance::probe;
use super::record::Record;
use super::request::Request;
use super::spec::UnitSpec;
use super::time::{Mono, Wall};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It called exit with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// The kernel's OOM killer ended it, with SIGKILL (Kubernetes' reason `OOMKilled`).
    OomKilled,
    /// It is gone and nobody can say how (its parent died with it): never taken for success.
    Unknown,
}

impl Exit {
    /// Whether it is exit code 0.
    pub const fn is_success(self) -> bool {
        matches!(self, Exit::Code(0))
    }

    /// The code as a shell and Kubernetes count it: 128 + signal for a death by signal.
    pub const fn shell_code(self) -> Option<i32> {
        match self {
            Exit::Code(code) => Some(code),
            Exit::Signal(signal) => Some(128 + signal),
            Exit::OomKilled => Some(128 + super::signal::KILL),
            Exit::Unknown => None,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit code {code}"),
            Exit::Signal(signal) => match super::signal::name(*signal) {
                Some(name) => f.write_str(name),
                None => write!(f, "signal {signal}"),
            },
            Exit::OomKilled => f.write_str("SIGKILL, out of memory (OOMKilled)"),
            Exit::Unknown => f.write_str("an unknown exit status"),
        }
    }
}

/// What the runner knows of a process that lives when a new daemon meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Living {
    /// Which start it is.
    pub id: InstanceId,
    /// Its process number, for display.
    pub pid: u32,
}

/// What a program says of its own course (sd_notify(3)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// Its start or its end takes longer, at most until then (`EXTEND_TIMEOUT_USEC=`).
    Extend(Mono),
    /// This process of its tree is its main process from now on (`MAINPID=`); the runner follows it.
    MainPid(u32),
    /// It has begun to end by itself (`STOPPING=1`).
    Stopping,
    /// It has begun to read its configuration anew (`RELOADING=1`); `false`: it has done so.
    Reloading(bool),
}

/// Everything that can happen to the core.
#[derive(Clone, Debug)]
pub enum Event {
    /// The deadline that the core asked for has come.
    Tick,
    /// The wall clock was stepped: deadlines by the wall clock must be computed anew.
    ClockStepped,
    /// A process was started; answers `Action::Spawn`.
    Spawned {
        /// Which start.
        id: InstanceId,
        /// Its process number, for display.
        pid: u32,
    },
    /// A process could not be started; answers `Action::Spawn`.
    SpawnFailed {
        /// Which start.
        id: InstanceId,
        /// The whole reason, for people: step, cause, remedy.
        message: String,
    },
    /// A process has ended, and so has all that it left behind: no process of this start lives.
    /// Completes every start that was `Spawned`.
    Exited {
        /// Which start.
        id: InstanceId,
        /// How the main process ended.
        exit: Exit,
        /// When the main process ended, which may be long ago if no daemon was there to hear it.
        at: Mono,
    },
    /// A hook has returned; answers `Action::Hook`.
    HookDone {
        /// Which start it was run for.
        id: InstanceId,
        /// Which hook.
        hook: Hook,
        /// How it failed, for people; `None`: it did not.
        failure: Option<String>,
    },
    /// A probe was answered; answers `Action::Probe`.
    ProbeDone {
        /// Which start it is about.
        id: InstanceId,
        /// Which probe.
        kind: probe::Kind,
        /// The answer.
        answer: probe::Answer,
        /// Why, for people.
        message: String,
    },
    /// A program said by itself what a probe of the kinds `notify` and `log` is about.
    ProbeTold {
        /// Which start it is about.
        id: InstanceId,
        /// Which probe.
        kind: probe::Kind,
        /// What it said.
        answer: probe::Answer,
        /// The same for people.
        message: String,
    },
    /// A program gave a sign of life (`WATCHDOG=` of sd_notify(3)).
    WatchdogFed {
        /// Which start it is about.
        id: InstanceId,
        /// It says that it is not well.
        trigger: bool,
    },
    /// A program says for people how it is (`STATUS=` of sd_notify(3)).
    StatusTold {
        /// Which start it is about.
        id: InstanceId,
        /// What it says.
        text: String,
    },
    /// A program says by itself what becomes of it (sd_notify(3)).
    Announced {
        /// Which start it is about.
        id: InstanceId,
        /// What.
        word: Announcement,
    },
    /// Somebody else has a port of a start that was asked for, which was therefore not made. Answers
    /// `Action::Spawn` unless that is asked for once more.
    PortTaken {
        /// Which start.
        id: InstanceId,
        /// The port.
        port: u16,
        /// Who has it, for people.
        by: Option<String>,
    },
    /// The set of nodes of a daemonset has changed: each node's name, and its path if it has one.
    NodesChanged {
        /// The daemonset.
        unit: UnitKey,
        /// All nodes that are there now, by name.
        nodes: BTreeMap<String, Option<String>>,
    },
    /// A data directory is gone; answers `Action::RemoveData`.
    DataRemoved {
        /// The statefulset.
        unit: UnitKey,
        /// The name of the instance it belonged to.
        instance: String,
    },
    /// The unit files were read.
    Units(UnitsRead),
    /// Somebody asks for something. Answered at once by `Core::handle`'s result.
    Request(Request),
    /// The daemon is to end and take everything with it.
    Shutdown,
}

/// The outcome of reading the unit directories.
#[derive(Clone, Debug, Default)]
pub struct UnitsRead {
    /// Every valid unit.
    pub valid: Vec<UnitSpec>,
    /// Units whose file is there but invalid: the last good version runs on. With the first
    /// error's text.
    pub invalid: BTreeMap<UnitKey, String>,
    /// An operator asked for it (`ctl apply`, SIGHUP), so units that were deleted by hand come
    /// back. Otherwise the daemon noticed a change by itself.
    pub explicit: bool,
}

/// What a new daemon finds when it starts.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Every record of the durable and the volatile store.
    pub records: Vec<Record>,
    /// Processes that the runner holds, and those whose `Exited` it has still to deliver: that
    /// event follows.
    pub living: Vec<Living>,
    /// Starts that the runner could not make and whose `SpawnFailed` it has still to deliver: that
    /// event follows.
    pub refused: Vec<InstanceId>,
    /// The wall clock at the daemon's start.
    pub wall: Wall,
}
