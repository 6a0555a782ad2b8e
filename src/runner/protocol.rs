//! What the daemon and the runner say to each other.
//!
//! Responsible for the messages, their frames, and the meaning of repeating one. Must not do any
//! I/O and must not know how a process is started.
//!
//! A frame is a little-endian `u32` length and that many bytes of JSON, over a unix stream socket.
//! JSON, because a newer daemon must be able to talk to an older runner: fields may be added.
//! Descriptors travel beside the bytes of the frame that speaks of them (SCM_RIGHTS), so they
//! need no place in the frame.
//!
//! Rules that both sides rely on:
//! - The daemon speaks first: [`Command::Hello`]. The runner answers [`Notice::Welcome`], then
//!   sends every event that no daemon has acknowledged, in order.
//! - Events are numbered from 1 over the runner's life and are kept until an [`Command::Ack`]
//!   covers them. A daemon may see one twice (never out of order on one connection).
//! - Every command may be repeated: a `Spawn` of a known start, and a command for an unknown one,
//!   do nothing. A start is known until its `SpawnFailed` or `Exited` is acknowledged.
//! - Each start gives exactly one `Spawned` or `SpawnFailed`, and after a `Spawned` exactly one
//!   `Exited`, once no process of it lives and all its output is in its log.

pub use super::bytes::Bytes;
pub use super::frame::{Decoder, FRAME_MAX, FrameError, check_version, encode};
use crate::core::event::{Event, Exit};
use crate::core::id::{InstanceId, UnitKey};
use crate::core::spec::Resources;
use crate::core::time::Mono;
use crate::os::holder::Address;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of this protocol. Raised when an old peer would misunderstand a new one.
pub const PROTOCOL: u32 = 1;

/// The socket's name in the runtime directory.
pub const SOCKET_NAME: &str = "runner.sock";

/// Who a program runs as. Names are resolved by the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// The supplementary groups' numbers.
    #[serde(default)]
    pub groups: Vec<u32>,
}

/// One resource limit. `None` stands for "unlimited".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RlimitPlan {
    /// Its name as in unit files: `nofile`, `core`, ... (RLIMIT_ in lower case without prefix).
    pub resource: String,
    /// The limit in force.
    pub soft: Option<u64>,
    /// How far the program may raise it.
    pub hard: Option<u64>,
}

/// What the kernel is to keep a program from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SandboxPlan {
    /// No execve gives it more rights.
    pub no_new_privileges: bool,
    /// The capabilities that it may ever have, by name; a user other than root has them from the
    /// start. `None`: no bound.
    pub capabilities: Option<Vec<String>>,
    /// Trees that it may not write; absolute.
    pub read_only: Vec<Bytes>,
    /// Trees within those that it may write; absolute. The deepest path that is named decides.
    pub read_write: Vec<Bytes>,
    /// An empty /tmp and /var/tmp of its own.
    pub private_tmp: bool,
    /// No network but a loopback of its own.
    pub private_network: bool,
}

/// What a runner can do beyond the first version, by name ([`Welcome::features`]). A plan that
/// asks for more than the runner knows must not be sent to it: it would be started without.
pub mod feature {
    /// Knows [`super::SpawnPlan::resources`].
    pub const RESOURCES: &str = "resources";
    /// Knows [`super::SpawnPlan::sandbox`].
    pub const SANDBOX: &str = "sandbox";
    /// Knows [`super::Command::Exec`].
    pub const EXEC: &str = "exec";
    /// Knows [`super::SpawnPlan::notify`].
    pub const NOTIFY: &str = "notify";
    /// Knows [`super::SpawnPlan::sockets`].
    pub const SOCKETS: &str = "sockets";
    /// Knows [`super::Command::DropStored`].
    pub const STORE: &str = "store";
    /// Knows [`super::SpawnPlan::awaited`].
    pub const LOG_PROBES: &str = "log_probes";
    /// All that this version knows.
    pub const ALL: &[&str] = &[RESOURCES, SANDBOX, EXEC, NOTIFY, SOCKETS, STORE, LOG_PROBES];
}

/// Where a program's output goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogPlan {
    /// Nowhere: `/dev/null`.
    #[serde(rename = "none")]
    None,
    /// Into rotated files.
    #[serde(rename = "file")]
    File {
        /// The present file, `<log dir>/UNIT/INSTANCE.log`. Its directory is made if missing.
        path: Bytes,
        /// A file is rotated before it grows beyond this many bytes (a longer line has a file of
        /// its own).
        max_size: u64,
        /// How many files there are at most, the present one included; at least 1.
        max_files: u32,
        /// Whether the others than the present one are compressed.
        #[serde(default)]
        compress: bool,
    },
    /// Into the journal.
    #[serde(rename = "journald")]
    Journald,
    /// To the daemon's own stdout and stderr, which travel beside the bytes of the command, in
    /// this order (SCM_RIGHTS).
    #[serde(rename = "inherit")]
    Inherit,
}

/// A program to be started, with nothing left to look up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpawnPlan {
    /// Which start; comes back in its events.
    pub id: InstanceId,
    /// The unit it belongs to.
    pub unit: UnitKey,
    /// The instance's name, for messages.
    pub instance: String,
    /// The files that are tried as the program, in order; see [`candidates`].
    pub candidates: Vec<Bytes>,
    /// The words of the command, the program's name first.
    pub argv: Vec<Bytes>,
    /// The whole environment, each `NAME=VALUE`. Where there are no cgroups, WSUP_KIND, WSUP_UNIT
    /// and WSUP_INSTANCE in it are how a process that left its session is recognised.
    pub envp: Vec<Bytes>,
    /// Where it starts.
    pub cwd: Bytes,
    /// Who it runs as; `None`: as the runner.
    #[serde(default)]
    pub credentials: Option<Credentials>,
    /// File mode creation mask; `None`: 0022.
    #[serde(default)]
    pub umask: Option<u32>,
    /// -20 to 19; `None`: the runner's.
    #[serde(default)]
    pub nice: Option<i32>,
    /// -1000 to 1000; `None`: the runner's.
    #[serde(default)]
    pub oom_score_adj: Option<i32>,
    /// CPU numbers; `None`: all that the runner may use.
    #[serde(default)]
    pub cpu_affinity: Option<Vec<u32>>,
    /// Resource limits; what is not named stays the runner's.
    #[serde(default)]
    pub rlimits: Vec<RlimitPlan>,
    /// Limits of its cgroup; what cannot be enforced is warned of.
    #[serde(default)]
    pub resources: Resources,
    /// What it is kept from; `None`: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Box<SandboxPlan>>,
    /// The unit that has the sockets, if it is another one: the cronjob that made its job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener: Option<UnitKey>,
    /// Listening sockets that it is handed from descriptor 3 on, with LISTEN_FDS, LISTEN_FDNAMES and
    /// LISTEN_PID (sd_listen_fds(3)). Those of the unit that are not among them are closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sockets: Vec<SocketPlan>,
    /// It may speak for itself (sd_notify(3)): NOTIFY_SOCKET is added to its environment.
    #[serde(default)]
    pub notify: bool,
    /// Regular expressions by name: the first line of its output that matches one is told, as [`FOUND`]
    /// and the name among what it has said.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub awaited: BTreeMap<String, String>,
    /// Where stdout and stderr go.
    pub log: LogPlan,
    /// Whether its output begins a new run in the log (what `logs --previous` counts by). False
    /// for the steps after the first of one start of an instance: init steps, then the program.
    #[serde(default = "yes")]
    pub new_run: bool,
}

fn yes() -> bool {
    true
}

/// Where a socket listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Listen {
    /// On the network.
    Inet(std::net::SocketAddr),
    /// On a file.
    Unix {
        /// Its path; absolute.
        path: Bytes,
        /// Its mode; `None`: 0666.
        mode: Option<u32>,
        /// Its owner; `None`: the runner's.
        uid: Option<u32>,
        /// Its group; `None`: the runner's.
        gid: Option<u32>,
    },
}

impl Listen {
    /// As unit files write it.
    pub fn text(&self) -> String {
        match self {
            Listen::Inet(address) => address.to_string(),
            Listen::Unix { path, .. } => format!("unix:{}", path.to_text()),
        }
    }

    /// To find out who has it.
    pub(super) fn address(&self) -> Address {
        match self {
            Listen::Inet(address) => Address::Inet(*address),
            Listen::Unix { path, .. } => Address::Unix(path.to_text()),
        }
    }
}

/// A listening socket. Two that are equal are one socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketPlan {
    /// Its name, unique in its unit: what LISTEN_FDNAMES calls it.
    pub name: String,
    /// Where it listens.
    pub listen: Listen,
    /// Datagrams, not streams.
    #[serde(default)]
    pub udp: bool,
    /// Each start has one of its own, by SO_REUSEPORT.
    #[serde(default)]
    pub reuse_port: bool,
}

/// A program that is to be run beside a start: a hook or a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecPlan {
    /// Its number; comes back in its answer. Never used twice on one connection.
    pub number: u64,
    /// What it writes comes back with its answer, at most [`EXEC_TEXT_MAX`] bytes of it. Otherwise
    /// it goes where the start's own output goes.
    pub capture: bool,
    /// The program. It belongs to the start `plan.id`, lives in its tree and ends with it.
    pub plan: SpawnPlan,
}

/// So much of what a program writes comes back with its answer; the rest is read and dropped.
pub const EXEC_TEXT_MAX: usize = 1 << 10;

/// How a program that was run beside a start has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecEnd {
    /// It ran.
    Exited(Exit),
    /// It could not be run; the whole reason, for people.
    Failed(String),
}

/// The files to try for a program's name, as execvp does it: the name itself if it has a slash,
/// otherwise each directory of `path` (the program's own PATH). An empty directory is the
/// working directory.
pub fn candidates(program: &str, path: Option<&str>) -> Vec<Bytes> {
    if program.contains('/') {
        return vec![Bytes::from(program)];
    }
    // execvp's own default where PATH is not set (confstr _CS_PATH).
    path.unwrap_or("/bin:/usr/bin")
        .split(':')
        .map(|dir| match dir {
            "" => Bytes::from(format!("./{program}")),
            dir => Bytes::from(format!("{}/{program}", dir.trim_end_matches('/'))),
        })
        .collect()
}

/// From the daemon to the runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// The first words. Answered by [`Notice::Welcome`] and all unacknowledged events. A newer
    /// connection that says Hello takes the place of an older one.
    Hello {
        /// [`PROTOCOL`] of the daemon.
        protocol: u32,
    },
    /// Start a program. Answered by `Spawned` or `SpawnFailed`.
    Spawn(Box<SpawnPlan>),
    /// Send the signal to the main process; what it leaves behind when it ends gets the signal
    /// too and may live until `KillTree`.
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
    /// Send a signal to the main process and change nothing else.
    Signal {
        /// Which start.
        id: InstanceId,
        /// The signal.
        signal: i32,
    },
    /// Run a program beside a start. Answered by [`Notice::ExecDone`]. It belongs to this connection:
    /// it is killed when the connection ends.
    Exec(Box<ExecPlan>),
    /// Kill such a program, with all that is in its session's process group. It is answered as ever.
    KillExec {
        /// Which.
        number: u64,
    },
    /// The unit wants these sockets from now on: they are opened, and others of it are closed. One that
    /// cannot be opened is warned of, and tried again with the next start.
    Sockets {
        /// The unit.
        unit: UnitKey,
        /// All that it wants.
        wanted: Vec<SocketPlan>,
    },
    /// This instance is gone for good: what it gave to keep is closed.
    DropStored(Keeper),
    /// The daemon has taken all events up to this number to heart.
    Ack {
        /// The last such event's number.
        upto: u64,
    },
    /// What happens when this connection ends: `stop_all`: everything gets SIGTERM, a second
    /// later SIGKILL, and the runner goes too. Holds for this connection; default false.
    SetLastWill {
        /// Whether to stop everything.
        stop_all: bool,
    },
    /// Go as soon as nothing lives. Events that were not acknowledged are dropped then.
    Shutdown,
}

/// How the runner keeps hold of everything that an instance starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TreeMode {
    /// One cgroup for each start, below this directory.
    Cgroup {
        /// The directory.
        path: String,
    },
    /// Sessions, process groups and adoption of orphans.
    ProcessGroups {
        /// Why there are no cgroups.
        reason: String,
    },
}

/// With the name of a [`SpawnPlan::awaited`] behind it: the line that matched. No program can say that.
pub const FOUND: &str = "FOUND:";

/// The name in [`Held::said`] and [`Notice::Told`] that stands for EXTEND_TIMEOUT_USEC: the instant, in
/// milliseconds of the clock that [`Mono`] is, for a daemon may hear of it late.
pub const EXTEND_UNTIL: &str = "EXTEND_UNTIL_MSEC";

/// A start is handed at most so many descriptors, sockets and what it had kept.
pub const SOCKETS_MAX: usize = 60;

/// An instance that descriptors are kept for (`FDSTORE=1` of sd_notify(3)), from one start to the next.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Keeper {
    /// The unit it belongs to.
    pub unit: UnitKey,
    /// Its name.
    pub instance: String,
}

/// A start that the runner knows: its process was started and no daemon has acknowledged its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Which start.
    pub id: InstanceId,
    /// The main process's number; that of another than was started, if the program has named one.
    pub pid: u32,
    /// The unit it belongs to.
    pub unit: UnitKey,
    /// The instance's name.
    pub instance: String,
    /// It has ended: its `Exited` is among the events that follow.
    #[serde(default)]
    pub ended: bool,
    /// What it has said of itself and what still holds: READY, STATUS, STOPPING, RELOADING, MAINPID,
    /// [`EXTEND_UNTIL`], and as FDSTORE how many descriptors are kept for it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub said: BTreeMap<String, String>,
}

/// What became of a start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The program runs (execve has succeeded).
    Spawned {
        /// Which start.
        id: InstanceId,
        /// The main process's number.
        pid: u32,
    },
    /// The program could not be started; nothing of it is left.
    SpawnFailed {
        /// Which start.
        id: InstanceId,
        /// The whole reason, for people.
        message: String,
    },
    /// The main process has ended, nothing of it lives, and its output is in its log.
    Exited {
        /// Which start.
        id: InstanceId,
        /// How the main process ended.
        exit: Exit,
        /// When the main process ended.
        at: Mono,
    },
}

impl Outcome {
    /// Which start it is about.
    pub fn id(&self) -> InstanceId {
        match self {
            Outcome::Spawned { id, .. }
            | Outcome::SpawnFailed { id, .. }
            | Outcome::Exited { id, .. } => *id,
        }
    }

    /// Whether it is the last that is heard of the start.
    pub fn is_last(&self) -> bool {
        match self {
            Outcome::Spawned { .. } => false,
            Outcome::SpawnFailed { .. } | Outcome::Exited { .. } => true,
        }
    }
}

impl From<Outcome> for Event {
    fn from(outcome: Outcome) -> Event {
        match outcome {
            Outcome::Spawned { id, pid } => Event::Spawned { id, pid },
            Outcome::SpawnFailed { id, message } => Event::SpawnFailed { id, message },
            Outcome::Exited { id, exit, at } => Event::Exited { id, exit, at },
        }
    }
}

/// What a runner says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// [`PROTOCOL`] of the runner.
    pub protocol: u32,
    /// The runner's process number.
    pub pid: u32,
    /// How trees are held.
    pub mode: TreeMode,
    /// Every start that was spawned and whose end no daemon has acknowledged.
    pub living: Vec<Held>,
    /// How many unacknowledged events follow at once.
    pub pending: u64,
    /// How many starts it can hold, by its limit of descriptors.
    #[serde(default = "unbounded")]
    pub capacity: u64,
    /// The units that it holds sockets open for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listening: Vec<UnitKey>,
    /// The instances that it keeps descriptors for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keepers: Vec<Keeper>,
    /// What it can do beyond the first version: names of [`feature`].
    #[serde(default)]
    pub features: Vec<String>,
}

/// An older runner does not know its bound.
fn unbounded() -> u64 {
    u64::MAX
}

/// From the runner to the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// The answer to Hello.
    Welcome(Box<Welcome>),
    /// Something became of a start.
    Event {
        /// Its number, for `Ack`.
        seq: u64,
        /// What it is.
        outcome: Outcome,
    },
    /// A start has said this of itself (sd_notify(3)): names and values. Not numbered: what lasts of it
    /// is in [`Held::said`] for a daemon that comes later.
    Told {
        /// Which start.
        id: InstanceId,
        /// What.
        said: BTreeMap<String, String>,
    },
    /// A program that was run beside a start has ended. Not numbered: nobody but the daemon that
    /// asked for it can make anything of it.
    ExecDone {
        /// Which.
        number: u64,
        /// How.
        end: ExecEnd,
        /// What it wrote, if that was captured.
        #[serde(default)]
        text: String,
    },
    /// Something that people should know and that changes nothing (output that could not be
    /// written). Not numbered; lost if no daemon listens.
    Warning {
        /// The unit it is about.
        unit: UnitKey,
        /// The instance it is about.
        instance: String,
        /// What is the matter.
        message: String,
        /// The cgroup controller that a limit of the unit needs and that is not there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        controller: Option<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::{Kind, UnitName};

    fn plan() -> SpawnPlan {
        SpawnPlan {
            id: InstanceId { slot: 7, generation: 2 },
            unit: UnitKey::new(Kind::Deployment, UnitName::new("api").unwrap()),
            instance: "api-x-y".into(),
            candidates: candidates("true", Some("/bin:")),
            argv: vec![Bytes::from("true"), Bytes::from(vec![0xff, b'x'])],
            envp: vec![Bytes::from("A=ä\n\"")],
            cwd: Bytes::from("/"),
            credentials: None,
            umask: Some(0o22),
            nice: None,
            oom_score_adj: None,
            cpu_affinity: None,
            rlimits: vec![RlimitPlan { resource: "core".into(), soft: Some(0), hard: None }],
            resources: Resources { memory: Some(1), ..Resources::default() },
            sandbox: Some(Box::new(SandboxPlan {
                read_only: vec![Bytes::from("/")],
                ..SandboxPlan::default()
            })),
            log: LogPlan::File {
                path: Bytes::from("/x.log"),
                max_size: 10,
                max_files: 2,
                compress: false,
            },
            notify: true,
            listener: Some(UnitKey::new(Kind::CronJob, UnitName::new("api").unwrap())),
            sockets: Vec::new(),
            awaited: BTreeMap::new(),
            new_run: true,
        }
    }

    #[test]
    fn messages_survive_the_wire_in_any_cut() {
        let id = InstanceId { slot: 1 << 40, generation: 1 };
        let all = vec![
            Command::Hello { protocol: PROTOCOL },
            Command::Spawn(Box::new(plan())),
            Command::Terminate { id, signal: 15 },
            Command::KillTree { id },
            Command::Signal { id, signal: 1 },
            Command::Exec(Box::new(ExecPlan { number: 9, capture: true, plan: plan() })),
            Command::KillExec { number: 9 },
            Command::Sockets {
                unit: plan().unit,
                wanted: vec![SocketPlan {
                    name: "http".into(),
                    listen: Listen::Inet("[::1]:80".parse().unwrap()),
                    udp: false,
                    reuse_port: false,
                }],
            },
            Command::Ack { upto: u64::MAX },
            Command::SetLastWill { stop_all: true },
            Command::Shutdown,
        ];
        let bytes: Vec<u8> = all.iter().flat_map(|c| encode(c).unwrap()).collect();
        for cut in [1, 3, 4, 5, 64, bytes.len()] {
            let mut decoder = Decoder::<Command>::new();
            let mut got = Vec::new();
            for piece in bytes.chunks(cut) {
                decoder.feed(piece);
                while let Some(message) = decoder.next_message().unwrap() {
                    got.push(message);
                }
            }
            assert_eq!(got, all, "cut into pieces of {cut}");
        }
    }

    #[test]
    fn a_bad_frame_is_an_error() {
        let mut decoder = Decoder::<Command>::new();
        decoder.feed(&u32::MAX.to_le_bytes());
        assert!(matches!(decoder.next_message(), Err(FrameError::TooLong(_))));
        let mut decoder = Decoder::<Command>::new();
        decoder.feed(&3u32.to_le_bytes());
        decoder.feed(b"{}}");
        assert!(matches!(decoder.next_message(), Err(FrameError::Json(_))));
        let long = Command::Spawn(Box::new(SpawnPlan {
            argv: vec![Bytes::from("x".repeat(FRAME_MAX))],
            ..plan()
        }));
        assert!(matches!(encode(&long), Err(FrameError::TooLong(_))));
    }

    #[test]
    fn fields_may_be_added() {
        let text = br#"{"hello":{"protocol":1,"new":true}}"#;
        let mut decoder = Decoder::<Command>::new();
        decoder.feed(&(text.len() as u32).to_le_bytes());
        decoder.feed(text);
        assert_eq!(decoder.next_message().unwrap(), Some(Command::Hello { protocol: 1 }));
    }

    #[test]
    fn candidates_are_those_of_execvp() {
        let text = |list: Vec<Bytes>| list.iter().map(Bytes::to_text).collect::<Vec<_>>();
        assert_eq!(text(candidates("./x", Some("/bin"))), ["./x"]);
        assert_eq!(text(candidates("x", Some("/a/::b"))), ["/a/x", "./x", "b/x"]);
        assert_eq!(text(candidates("x", None)), ["/bin/x", "/usr/bin/x"]);
    }
}
