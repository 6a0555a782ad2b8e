//! Everything the core can ask for.
//!
//! Responsible for the vocabulary of outputs. An action says what is to be done; how is the
//! shell's business. Each action that starts something names the event that completes it.

use super::id::{InstanceId, UnitKey};
use super::instance::probe;
use super::record::Record;
use super::report::Report;
use super::spec::{InstanceTemplate, Lifecycle, Reload, SocketSpec};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;

/// Which of an instance's programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The init step of this number, from 0.
    Init(usize),
    /// The main program.
    Main,
    /// A hook beside the main program.
    Hook(Hook),
    /// A probe of the main program.
    Probe(probe::Kind),
}

/// A program that runs beside the main one at a certain moment of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// After the start.
    PostStart,
    /// Before the stop signal.
    PreStop,
    /// When an operator asks for it (`ctl reload`).
    Reload,
}

impl Hook {
    /// Its words; empty if there is no such hook.
    pub fn command(self, lifecycle: &Lifecycle) -> &[String] {
        let command = match self {
            Hook::PostStart => &lifecycle.post_start,
            Hook::PreStop => &lifecycle.pre_stop,
            Hook::Reload => {
                return match &lifecycle.reload {
                    Some(Reload::Command(words)) => words,
                    Some(Reload::Signal(_)) | None => &[],
                };
            }
        };
        command.as_deref().unwrap_or_default()
    }
}

/// A program to be started, a hook to be run or a probe to be asked.
#[derive(Clone, Debug)]
pub struct Spawn {
    /// Which start, or the start that the hook or probe is about; the completing events carry it.
    pub id: InstanceId,
    /// The unit it belongs to.
    pub unit: UnitKey,
    /// The instance's name.
    pub instance: String,
    /// Which program.
    pub step: Step,
    /// What it is made from.
    pub template: Arc<InstanceTemplate>,
    /// The variables that wsup adds: WSUP_UNIT and so on, JOB_COMPLETION_INDEX. In order; they
    /// can be referred to by `$(NAME)`. WSUP_DATA_DIR, WSUP_CONTROL and NOTIFY_SOCKET are not
    /// among them: their values are paths, so the shell adds them.
    pub vars: Vec<(Cow<'static, str>, String)>,
    /// The data directory it needs, made before the start.
    pub data_dir: Option<DataDir>,
    /// Its ports, whose numbers are also among the variables. Whoever starts it finds out whether somebody
    /// else has one: see `Event::PortTaken`.
    pub ports: Vec<u16>,
    /// The unit that has the sockets: its own, or the cronjob that made it.
    pub listener: UnitKey,
    /// Sockets to hand over.
    pub sockets: Arc<[SocketSpec]>,
}

/// A statefulset instance's data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir {
    /// `[statefulset] data_dir`, if the unit gives one.
    pub base: Option<String>,
    /// The instance's name: the directory's own.
    pub instance: String,
}

/// Everything the core can ask for.
#[derive(Clone, Debug)]
pub enum Action {
    /// A start that cannot be made, for people: answer with `SpawnFailed`. Not decided on within the core,
    /// so that a failure without a back-off is tried once a turn.
    CannotStart {
        /// Which start.
        id: InstanceId,
        /// Why.
        message: String,
    },
    /// Start a program. Completed by `Spawned` or `SpawnFailed`, and a `Spawned` by `Exited`.
    Spawn(Box<Spawn>),
    /// Run a hook among the processes of this start. Completed by `HookDone`, unless the start
    /// has ended before.
    Hook(Box<Spawn>),
    /// Ask a probe about the process of this start. Completed by `ProbeDone`, unless the start
    /// has ended before.
    Probe(Box<Spawn>),
    /// Ask a program to end: send the signal to its main process; what the main process leaves
    /// behind when it ends gets the signal too, and is not killed before `KillTree`.
    Terminate {
        /// Which start.
        id: InstanceId,
        /// The signal.
        signal: i32,
    },
    /// Kill everything of this start with SIGKILL.
    KillTree {
        /// Which start.
        id: InstanceId,
    },
    /// Send a signal to the main process, on an operator's behalf.
    Signal {
        /// Which start.
        id: InstanceId,
        /// The signal.
        signal: i32,
    },
    /// Put a record into the store.
    Put(Record),
    /// Take a record out of the store.
    Drop {
        /// The record's key.
        key: String,
        /// Which store.
        durable: bool,
    },
    /// Tell people. Goes to `ctl events`, the daemon's own log and the `dev` terminal.
    Report(Box<Report>),
    /// An instance is gone for good: its log files are now history.
    InstanceGone {
        /// The unit it belonged to.
        unit: UnitKey,
        /// Its name.
        instance: String,
    },
    /// A unit is gone for good.
    UnitGone {
        /// The unit.
        unit: UnitKey,
    },
    /// Remove a data directory. Completed by `DataRemoved`.
    RemoveData {
        /// The statefulset.
        unit: UnitKey,
        /// Whose directory.
        dir: DataDir,
    },
    /// Tell of the nodes that a daemonset counts, now and whenever they change, by
    /// `NodesChanged`. Replaces an earlier wish for the same unit.
    WatchNodes {
        /// The daemonset.
        unit: UnitKey,
        /// What it counts as a node; `None`: it is gone, stop watching.
        nodes: Option<super::spec::Nodes>,
    },
    /// These are the unit's listening sockets from now on; none, once it is gone.
    Sockets {
        /// The unit.
        unit: UnitKey,
        /// All of them.
        sockets: Arc<[SocketSpec]>,
    },
    /// Everything has ended after `Event::Shutdown`: the daemon may go.
    ShutdownComplete,
}
