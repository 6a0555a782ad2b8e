//! The door between the control socket and the daemon's loop.
//!
//! Responsible for carrying calls to the one thread that owns the core and answers back. Must not
//! look into the core by itself: whoever wants to read hands in a function.
//!
//! The loop's duties:
//! - take calls from [`Inbox::calls`] in batches, like other events;
//! - answer a [`Call::Request`] and a [`Call::Apply`] only after `Core::settle` and after what the
//!   turn changed is stored, so that an answered change is durable;
//! - run a [`Call::Read`] on a settled core, so that whoever reads after an answer sees its effect;
//! - [`Inbox::announce`] the core's version after every turn.

use crate::api::events::EventLog;
use crate::core::Core;
use crate::core::request::{Answer, Request};
use crate::core::view::Change;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// How many calls may wait for the loop. Each client has one call under way at a time, so this
/// also bounds how many clients are served at once; further ones wait in their own task.
pub const CALLS_MAX: usize = 256;

/// Who asks: the client's credentials as the kernel tells them (`SO_PEERCRED`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// User id.
    pub uid: u32,
    /// Process number; `None` where the kernel does not say.
    pub pid: Option<i32>,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "uid {} pid {pid}", self.uid),
            None => write!(f, "uid {}", self.uid),
        }
    }
}

/// A function that reads from the core and sends what it found to whoever asked.
pub type Reader = Box<dyn FnOnce(&Core) + Send>;

/// What the loop is asked to do.
pub enum Call {
    /// `Core::handle(Event::Request(..))`.
    Request {
        /// What is asked for.
        request: Request,
        /// By whom, for the daemon's log.
        who: Peer,
        /// Where the answer goes.
        reply: oneshot::Sender<Answer>,
    },
    /// Call it with the core.
    Read(Reader),
    /// Read the unit files anew and apply them, or only tell what that would change.
    Apply {
        /// Change nothing.
        dry_run: bool,
        /// By whom, for the daemon's log.
        who: Peer,
        /// Where the outcome goes; the error is a sentence (a directory that cannot be read).
        reply: oneshot::Sender<Result<ApplyOutcome, String>>,
    },
    /// End the daemon.
    Shutdown {
        /// Alone: what runs is not stopped.
        keep_running: bool,
        /// By whom, for the daemon's log.
        who: Peer,
        /// What will be, for people; the error is why it will not.
        reply: oneshot::Sender<Result<String, String>>,
    },
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Call::Request { request, who, .. } => {
                f.debug_struct("Request").field("request", request).field("who", who).finish()
            }
            Call::Read(_) => f.write_str("Read"),
            Call::Shutdown { keep_running, who, .. } => f
                .debug_struct("Shutdown")
                .field("keep_running", keep_running)
                .field("who", who)
                .finish(),
            Call::Apply { dry_run, who, .. } => {
                f.debug_struct("Apply").field("dry_run", dry_run).field("who", who).finish()
            }
        }
    }
}

/// What reading the unit files came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplyOutcome {
    /// What changed, or would: one for each unit that is not unchanged.
    pub changes: Vec<Change>,
    /// How many valid units are as they were.
    pub unchanged: usize,
    /// The mistakes of all invalid files, each rendered for a terminal without colours. Not empty
    /// exactly if at least one file is invalid.
    pub diagnostics: Vec<String>,
    /// Further lines for people, such as warnings.
    pub messages: Vec<String>,
}

/// What does not change while a daemon runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonFacts {
    /// Its process number.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// When it started, in milliseconds since the epoch.
    pub started_at: crate::core::time::Wall,
    /// Its node's name.
    pub node: String,
    /// `system`, `user` or `dev`.
    pub mode: String,
    /// Where durable state is.
    pub state_dir: PathBuf,
    /// Where sockets are.
    pub runtime_dir: PathBuf,
    /// Where logs are: `UNIT/INSTANCE.log` below it.
    pub log_dir: PathBuf,
    /// Where unit files are read from.
    pub units_dirs: Vec<PathBuf>,
}

/// The runner that the daemon has at present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunnerFacts {
    /// Its process number; `None`: it is being started.
    pub pid: Option<u32>,
    /// How it holds instances: `cgroup` or `group`.
    pub mode: String,
    /// How many runners there are: more than one where one has not enough descriptors.
    pub runners: usize,
    /// The directories of all runners' cgroups, where there are any.
    pub cgroups: Vec<PathBuf>,
    /// The process numbers of all runners.
    pub pids: Vec<u32>,
    /// Why there are no cgroups.
    pub why_no_cgroup: Option<String>,
}

/// The server's end: cheap to clone.
#[derive(Clone, Debug)]
pub struct Door {
    calls: mpsc::Sender<Call>,
    changes: watch::Receiver<u64>,
    runner: watch::Receiver<RunnerFacts>,
    events: EventLog,
    daemon: Arc<DaemonFacts>,
}

/// The loop's end.
#[derive(Debug)]
pub struct Inbox {
    /// What is asked.
    pub calls: mpsc::Receiver<Call>,
    changes: watch::Sender<u64>,
    runner: watch::Sender<RunnerFacts>,
}

/// The loop is gone: the daemon is ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the daemon is stopping")
    }
}

/// Makes a door and its other end.
pub fn door(daemon: DaemonFacts, events: EventLog) -> (Door, Inbox) {
    let (calls_tx, calls_rx) = mpsc::channel(CALLS_MAX);
    let (changes_tx, changes_rx) = watch::channel(0);
    let (runner_tx, runner_rx) = watch::channel(RunnerFacts::default());
    let door = Door {
        calls: calls_tx,
        changes: changes_rx,
        runner: runner_rx,
        events,
        daemon: Arc::new(daemon),
    };
    (door, Inbox { calls: calls_rx, changes: changes_tx, runner: runner_tx })
}

impl Inbox {
    /// Tells those who wait for a change that `Core::version` is now this. To be called after
    /// every turn; does nothing if the version is the one announced last.
    pub fn announce(&self, version: u64) {
        self.changes.send_if_modified(|old| {
            let changed = *old != version;
            *old = version;
            changed
        });
    }

    /// Tells which runner there is now.
    pub fn runner_is(&self, facts: RunnerFacts) {
        self.runner.send_replace(facts);
    }
}

impl Door {
    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// If the daemon is ending.
    pub async fn request(&self, request: Request, who: Peer) -> Result<Answer, Closed> {
        let (reply, answer) = oneshot::channel();
        self.send(Call::Request { request, who, reply }).await?;
        answer.await.map_err(|_| Closed)
    }

    /// Runs a function on the core and gives its result.
    ///
    /// # Errors
    /// If the daemon is ending.
    pub async fn read<T: Send + 'static>(
        &self,
        function: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> Result<T, Closed> {
        let (reply, answer) = oneshot::channel();
        let reader: Reader = Box::new(move |core| {
            // A client that went away while waiting needs no answer.
            let _ = reply.send(function(core));
        });
        self.send(Call::Read(reader)).await?;
        answer.await.map_err(|_| Closed)
    }

    /// Has the unit files read anew.
    ///
    /// # Errors
    /// If the daemon is ending.
    pub async fn apply(
        &self,
        dry_run: bool,
        who: Peer,
    ) -> Result<Result<ApplyOutcome, String>, Closed> {
        let (reply, answer) = oneshot::channel();
        self.send(Call::Apply { dry_run, who, reply }).await?;
        answer.await.map_err(|_| Closed)
    }

    /// Has the daemon end.
    ///
    /// # Errors
    /// If it is ending already.
    pub async fn shutdown(
        &self,
        keep_running: bool,
        who: Peer,
    ) -> Result<Result<String, String>, Closed> {
        let (reply, answer) = oneshot::channel();
        self.send(Call::Shutdown { keep_running, who, reply }).await?;
        answer.await.map_err(|_| Closed)
    }

    /// A receiver that wakes whenever something that a view shows may have changed. What happened
    /// before this call does not wake it, so read first and wait afterwards only if a receiver
    /// was taken before the reading.
    pub fn changes(&self) -> watch::Receiver<u64> {
        let mut changes = self.changes.clone();
        changes.mark_unchanged();
        changes
    }

    /// The last events.
    pub fn events(&self) -> &EventLog {
        &self.events
    }

    /// What does not change while the daemon runs.
    pub fn daemon(&self) -> &DaemonFacts {
        &self.daemon
    }

    /// The present runner.
    pub fn runner(&self) -> RunnerFacts {
        self.runner.borrow().clone()
    }

    async fn send(&self, call: Call) -> Result<(), Closed> {
        self.calls.send(call).await.map_err(|_| Closed)
    }
}
